//! Which process wrote an entry, so that another one on the same machine can tell whether it still lives.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// One process of one boot of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// The machine, since it was started.
    boot: String,
    /// The namespace that `id` counts in: two containers of one machine both have a process 1.
    namespace: String,
    id: u32,
    /// When it was started, in the kernel's ticks: numbers are used again.
    started: u64,
}

impl Process {
    /// This process; `None` where the system does not say enough to recognise it.
    pub fn this() -> Option<&'static Process> {
        static THIS: LazyLock<Option<Process>> = LazyLock::new(Process::look_up);
        THIS.as_ref()
    }

    fn look_up() -> Option<Process> {
        let id = std::process::id();
        // A `/proc` of another namespace has other numbers: nothing can be looked up in it.
        let own = std::fs::read_link("/proc/self").ok()?;
        if own.to_str()?.parse() != Ok(id) {
            return None;
        }
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?.to_str()?.to_owned();
        let (_, started) = stat(id)?;
        Some(Process { boot: boot()?, namespace, id, started })
    }

    /// Whether it is certain that the process has ended. A process of another machine, or another container, never is.
    pub fn is_gone(&self) -> bool {
        let Some(this) = Process::this() else { return false };
        if (&self.boot, &self.namespace) != (&this.boot, &this.namespace) {
            return false;
        }
        let Ok(id) = i32::try_from(self.id) else { return false };
        // SAFETY: signal 0 is sent to nobody: the call only says whether it could be.
        let is_missing =
            unsafe { libc::kill(id, 0) } != 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH);
        // What cannot be read may be hidden from this user.
        is_missing || stat(self.id).is_some_and(|(state, started)| started != self.started || "ZX".contains(state))
    }
}

/// The boot of this machine. In debug builds `LAKEPORT_BOOT` replaces it: tests run processes of two machines.
fn boot() -> Option<String> {
    if cfg!(debug_assertions)
        && let Ok(boot) = std::env::var("LAKEPORT_BOOT")
    {
        return Some(boot);
    }
    Some(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned())
}

/// The state of a process, and when it was started.
fn stat(id: u32) -> Option<(char, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.nth(18)?.parse().ok()?))
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.boot, self.namespace, self.id, self.started)
    }
}

impl FromStr for Process {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split(' ');
        let (Some(boot), Some(namespace), Some(id), Some(started), None) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            return Err(());
        };
        Ok(Process {
            boot: boot.into(),
            namespace: namespace.into(),
            id: id.parse().map_err(drop)?,
            started: started.parse().map_err(drop)?,
        })
    }
}

/// As text in JSON. What a later version may write there reads as `None`.
pub(super) mod text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Process;

    pub(in crate::commit) fn serialize<S: Serializer>(
        process: &Option<Process>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        process.as_ref().map(ToString::to_string).serialize(serializer)
    }

    pub(in crate::commit) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Process>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(text.and_then(|text| text.parse().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_gone_when_it_has_ended_and_not_before() {
        let this = Process::this().expect("Linux says which process this is").clone();
        assert_eq!(this.to_string().parse(), Ok(this.clone()));
        assert!(!this.is_gone());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (_, started) = stat(child.id()).unwrap();
        let process = Process { id: child.id(), started, ..this.clone() };
        assert!(!process.is_gone());
        assert!(Process { started: started + 1, ..process.clone() }.is_gone(), "its number was used again");
        for elsewhere in [
            Process { boot: "another".into(), started: 1, ..process.clone() },
            Process { namespace: "pid:[1]".into(), started: 1, ..process.clone() },
        ] {
            assert!(!elsewhere.is_gone(), "{elsewhere} is not of this machine, or container");
        }
        child.kill().unwrap();
        while !process.is_gone() {
            std::thread::yield_now();
        }
        assert!(process.is_gone(), "a zombie has ended");
        child.wait().unwrap();
        assert!(process.is_gone());
    }
}
