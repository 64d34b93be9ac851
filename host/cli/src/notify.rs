//! Tells systemd how the server is: `Type=notify` and `WatchdogSec`, where `NOTIFY_SOCKET` is set.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager's socket, where there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Connects to the service manager that the environment names. One that cannot be reached is warned of: the service may be ended.
    pub fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Notifier {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Notifier::default() };
        let connected = address(&name).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.connect_addr(&address)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let socket = connected.inspect_err(|error| tracing::warn!("the service manager at `{name}`: {error}")).ok();
        let is_mine = variable("WATCHDOG_PID").is_none_or(|process| process == std::process::id().to_string());
        let micros = variable("WATCHDOG_USEC").filter(|_| is_mine).and_then(|micros| micros.parse().ok());
        Notifier { socket, watchdog: micros.filter(|micros| *micros > 0).map(Duration::from_micros) }
    }

    /// Tells a state, such as `READY=1`.
    pub fn tell(&self, state: &str) {
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.send(state.as_bytes())) {
            tracing::debug!("the service manager does not take `{state}`: {error}");
        }
    }

    /// Tells twice in each interval of the watchdog that the process works, for as long as it does. Never ends.
    pub async fn keep_alive(&self, is_live: impl Fn() -> bool) {
        let Some(interval) = self.watchdog else { return std::future::pending().await };
        loop {
            if is_live() {
                self.tell("WATCHDOG=1");
            }
            tokio::time::sleep(interval / 2).await;
        }
    }
}

/// An address in the file system, or an abstract one, which begins with `@`.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => abstract_address(name),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &str) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_service_manager_hears_that_the_process_works_until_it_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let notifier = Notifier::from_environment(&|name| match name {
            "NOTIFY_SOCKET" => Some(path.to_str().unwrap().to_owned()),
            "WATCHDOG_USEC" => Some("20000".to_owned()),
            _ => None,
        });
        notifier.tell("READY=1");
        let alive = std::cell::Cell::new(3);
        let is_live = || alive.replace(alive.get().max(1) - 1) > 1;
        tokio::select! {
            () = notifier.keep_alive(is_live) => panic!("it ended"),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        let mut heard = Vec::new();
        let mut bytes = [0; 64];
        while let Ok(read) = manager.recv(&mut bytes) {
            heard.push(String::from_utf8_lossy(&bytes[..read]).into_owned());
        }
        assert_eq!(heard, ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]);
    }

    #[test]
    fn without_a_service_manager_nothing_is_told() {
        Notifier::from_environment(&|_| None).tell("READY=1");
        Notifier::from_environment(&|name| (name == "NOTIFY_SOCKET").then(|| "/none/such".to_owned())).tell("READY=1");
        assert_eq!(address("@abstract").is_ok(), cfg!(target_os = "linux"));
    }
}
