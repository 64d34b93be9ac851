//! Processes under way: signals, and waiting for what they do.

use std::fs;
use std::path::Path;
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use super::lake_folder::Installation;

/// How long anything may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a signal to a child.
pub fn signal(child: &Child, signal: i32) {
    // SAFETY: sends a signal to a child of this process; touches no memory.
    let sent = unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) };
    assert_eq!(sent, 0);
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not so after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// `lakeport run --follow` at work; dropping it ends it.
pub struct Following(pub Option<Child>);

impl Following {
    /// Starts to follow.
    pub fn start(installation: &Installation) -> Self {
        Following(Some(installation.spawn(&["run", "--follow"])))
    }

    /// Waits until it has `file` open: it reads it, or waits at its end.
    pub fn wait_for(&self, file: &Path) {
        let fds = format!("/proc/{}/fd", self.0.as_ref().unwrap().id());
        let file = file.canonicalize().unwrap();
        wait_until(&format!("{} is open", file.display()), || {
            fs::read_dir(&fds).unwrap().flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == file))
        });
    }

    /// Sends it a signal and waits for the end.
    pub fn end(mut self, number: i32) -> Output {
        let child = self.0.take().unwrap();
        signal(&child, number);
        child.wait_with_output().unwrap()
    }

    /// Presses Ctrl-C and wants everything to have gone well; answers with standard output.
    pub fn stop(self) -> String {
        let output = self.end(libc::SIGINT);
        assert!(output.status.success(), "{:?}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // Fails only where it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
