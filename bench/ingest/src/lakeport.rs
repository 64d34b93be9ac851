//! `lakeport serve` as a process of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

pub struct Lakeport {
    child: Child,
    pub address: SocketAddr,
    pub lake: PathBuf,
}

impl Lakeport {
    /// Starts it in `folder`, with a commit each second.
    pub fn start(program: &Path, folder: &Path) -> Lakeport {
        let lake = folder.join("lake");
        let config = folder.join("lakeport.toml");
        let text = format!(
            "[lakes.main]\nurl = {lake:?}\n\n[server]\nlog-size = \"8GiB\"\n\n[sources.signals]\nhttp = true\ntime = \"/time\"\ntime-unit = \"epoch-milliseconds\"\n\n\
             [exports.signals]\nsource = \"signals\"\npath = \"{{export}}/{{YYYY}}/{{MM}}/{{dd}}/{{HH}}/{{part}}.{{ext}}\"\nflush = {{ every = \"1s\" }}\n"
        );
        fs::write(&config, text).expect("configuration");
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0"]).arg(&config);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("start");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (told, address) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                match line.split_once("listening on http://") {
                    Some((_, address)) => drop(told.send(address.trim().parse().expect("an address"))),
                    None if line.contains("ERROR") || line.contains("error") => eprintln!("{line}"),
                    None => {}
                }
            }
        });
        let address = address.recv_timeout(Duration::from_secs(60)).expect("it listens");
        Lakeport { child, address, lake }
    }

    /// Returns whether the lake has a file of records.
    pub fn exports(&self) -> bool {
        fs::read_dir(self.lake.join("signals")).is_ok_and(|mut found| found.next().is_some())
    }

    /// Resident memory now and at its highest, in megabytes.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("status");
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024 / 1_000_000
        };
        (of("VmRSS:"), of("VmHWM:"))
    }
}

impl Drop for Lakeport {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
