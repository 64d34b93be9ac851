//! A shell in mount namespaces of its own: what it mounts, nobody else sees, and it is gone with the shell.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::lake_folder::{Installation, LAKEPORT, cache};

/// The shell, in an installation's folder.
pub struct Mounts {
    shell: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stderr: String,
}

impl Mounts {
    /// Starts the shell.
    pub fn new(installation: &Installation) -> Mounts {
        // As root, a user namespace is not needed; as anyone else, it makes one root in it.
        let ways: [&[&str]; 2] = [&["--mount"], &["--map-root-user", "--mount"]];
        let way = ways.into_iter().find(|way| {
            let probe = "mount -t tmpfs tmpfs /mnt";
            Command::new("unshare")
                .args(*way)
                .args(["sh", "-c", probe])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|s| s.success())
        });
        let way = way.expect(
            "this test mounts a small file system of its own: it needs `unshare` (util-linux), and to be root with \
             CAP_SYS_ADMIN or to be allowed user namespaces (`sysctl kernel.unprivileged_userns_clone=1`)",
        );
        let mut shell = Command::new("unshare")
            .args(way)
            .arg("sh")
            .current_dir(installation.path())
            .env("LAKEPORT_CACHE_DIR", cache())
            .env("LAKEPORT", LAKEPORT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, answers) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        Mounts { shell, commands, answers, folder: installation.path().to_owned() }
    }

    /// Runs a command; `"$LAKEPORT"` is the real binary.
    pub fn run(&mut self, command: &str) -> Ended {
        writeln!(self.commands, "( {command} ) </dev/null >.out 2>.err; echo $?").unwrap();
        let mut code = String::new();
        self.answers.read_line(&mut code).unwrap();
        let stderr = fs::read_to_string(self.folder.join(".err")).unwrap();
        Ended { code: code.trim().parse().unwrap(), stderr }
    }

    /// Runs a command that must succeed.
    pub fn run_ok(&mut self, command: &str) {
        let ended = self.run(command);
        assert_eq!(ended.code, 0, "`{command}`: {}", ended.stderr);
    }

    /// What the shell sees at `path`, which is absolute.
    pub fn at(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.shell.id(), path.display()))
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        // Fails only where it has ended by itself.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
