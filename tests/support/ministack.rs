//! ministack on loopback: AWS for one test, started on a free port, ended when dropped.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::tools::tool;

/// How long it may take to start, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);

/// A process of it.
pub struct Ministack {
    child: Child,
    port: u16,
    /// Where it puts what functions are made of.
    _folder: tempfile::TempDir,
}

impl Ministack {
    /// Starts some of its services.
    pub fn start(services: &str) -> Ministack {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (port, folder) = (listener.local_addr().unwrap().port(), tempfile::tempdir().unwrap());
        drop(listener);
        let mut command = Command::new(tool("py/bin/python"));
        command.args(["-m", "ministack"]);
        command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string()).env("SERVICES", services);
        // Whatever else listens does so on every interface.
        command.env("IOT_MTLS_ENABLED", "0").env("SFTP_ENABLED", "0").env("TMPDIR", folder.path());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut ministack = Ministack { child, port, _folder: folder };
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(ministack.child.try_wait().unwrap().is_none(), "ministack ended before it listened on port {port}");
            assert!(begun.elapsed() < START, "ministack does not listen on port {port}");
            std::thread::sleep(Duration::from_millis(50));
        }
        ministack
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Ministack {
    /// It ends the functions that it runs.
    fn drop(&mut self) {
        // SAFETY: sends a signal to a child of this process; touches no memory.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let begun = Instant::now();
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if begun.elapsed() > Duration::from_secs(5) {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
