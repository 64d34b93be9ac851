//! Keeps the binary at work as a service manager does, kills it, and writes down what it did.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::Job;
use crate::support::lake_folder::Installation;
use crate::support::process::signal;
use crate::support::proxy::Proxy;
use crate::support::random::Random;
use crate::support::stores::{Store, below_lake};

/// How long a process may take to end: a request may hang, and a follower may be waiting.
const PATIENCE: Duration = Duration::from_secs(90);

/// One installation, the proxy in front of its lake, and its process.
pub struct Supervisor<'a> {
    store: &'a Store,
    proxy: Proxy,
    installation: Installation,
    bucket: String,
    process: Option<Child>,
    runtime: Runtime,
    /// The clock of the next process, in minutes ahead of the machine's.
    minutes: u64,
    /// Every other seed's processes have one thread for all that waits.
    has_one_worker: bool,
    done: Vec<String>,
    counts: BTreeMap<&'static str, usize>,
    /// How to run this seed again.
    again: String,
}

impl<'a> Supervisor<'a> {
    pub fn new(store: &'a Store, seed: u64, exports: &str, test: &'static str) -> Self {
        let proxy = Proxy::with_faults(&store.url(), seed);
        let bucket = format!("chaos-{seed}");
        let lake = store.lake(&proxy.url(), &bucket);
        let installation = Installation::new(&format!("[lakes.main]\n{lake}\n{exports}"));
        Supervisor {
            store,
            proxy,
            installation,
            bucket,
            process: None,
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            minutes: 0,
            has_one_worker: seed.is_multiple_of(2),
            done: Vec::new(),
            counts: BTreeMap::new(),
            again: format!("LAKEPORT_CHAOS_SEED={seed} ./dev test {test}"),
        }
    }

    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Writes down what was done.
    pub fn note(&mut self, what: impl Into<String>) {
        self.done.push(what.into());
    }

    /// What happened how often, faults included.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        self.proxy.counts().into_iter().chain(self.counts.clone()).collect()
    }

    /// Starts a process where none is at work: one that follows or one that ends by itself, now and then with a kill at one of its
    /// steps.
    pub fn keep_at_work(&mut self, random: &mut Random) {
        if let Some(mut child) = self.process.take() {
            match child.try_wait().unwrap() {
                None => {
                    self.process = Some(child);
                    return;
                }
                Some(status) => self.judge(status, false),
            }
        }
        self.minutes += random.within(0..=2);
        let arguments: &[&str] =
            if random.happens(600) { &["run", "--quiet", "--follow"] } else { &["run", "--quiet"] };
        let mut command = self.installation.command(arguments);
        command.env("LAKE_KEY", self.store.secret()).env("LAKEPORT_CLOCK_AHEAD", (self.minutes * 60).to_string());
        // As on a machine of one core: whatever blocks a thread of the runtime blocks all of it.
        if self.has_one_worker {
            command.env("TOKIO_WORKER_THREADS", "1");
        }
        let mut what = format!("start {arguments:?}, {} minutes ahead", self.minutes);
        if random.happens(300) {
            let passage = random.within(1..=60);
            command.env("LAKEPORT_FAIL_POINT", format!("*:{passage}"));
            what += &format!(", killed at passage {passage}");
        }
        self.note(what);
        self.process = Some(command.stdout(Stdio::null()).stderr(self.log()).spawn().unwrap());
    }

    /// Kills or stops the process, or leaves it at work.
    pub fn disturb(&mut self, random: &mut Random) {
        match (random.within(0..=9), self.process.take()) {
            (6, Some(child)) => {
                self.note("stop");
                signal(&child, libc::SIGTERM);
                let status = wait(child, "it does not end after SIGTERM");
                self.judge(status, true);
            }
            (choice, process) => {
                self.process = process;
                if choice < 6 {
                    self.kill();
                }
            }
        }
    }

    /// Between two processes, moves a file of an export out of the lake, to where the installation has `moved`, or edits it.
    ///
    /// A file is left alone where the process was killed between two requests: the file is published, and what was staged for it is
    /// not deleted yet. `docs/commit-log.md` says that its new records are published once more then.
    pub fn meddle(&mut self, export: &str, job: &dyn Job, random: &mut Random) {
        self.kill();
        // What a user takes has to be all that was there.
        self.proxy.settle();
        let objects = self.objects();
        let below = |folder: String| objects.iter().filter(move |(key, _)| key.starts_with(&folder));
        let staged: Vec<_> = below(format!("_lakeport/{export}/0/stage/")).map(|(_, bytes)| bytes).collect();
        let is_settled = |(key, bytes): &(&String, &Vec<u8>)| {
            !staged.iter().any(|staged| job.has_what_is_staged(key, bytes, staged))
        };
        let (files, unsettled): (Vec<_>, Vec<_>) = below(format!("{export}/")).partition(is_settled);
        *self.counts.entry("left alone").or_default() += unsettled.len();
        if files.is_empty() {
            return;
        }
        let (key, bytes) = random.one_of(&files);
        let edits = key.ends_with(".ndjson") && random.happens(500);
        let now = edits.then(|| [b"\n", &bytes[..]].concat());
        self.note(format!("{} {key}", if edits { "edit" } else { "move" }));
        if !edits {
            self.installation.write(&format!("moved/{}/{key}", self.done.len()), bytes);
        }
        self.runtime.block_on(self.store.replace(&self.bucket, key, now));
        *self.counts.entry(if edits { "edited" } else { "moved" }).or_default() += 1;
    }

    /// Ends the bad days and the process, runs once more, which has to go well, and brings the lake here.
    pub fn finish(&mut self, arguments: &[&str]) {
        self.kill();
        self.proxy.calm();
        let mut command = self.installation.command(arguments);
        command.env("LAKE_KEY", self.store.secret());
        command.env("LAKEPORT_CLOCK_AHEAD", ((self.minutes + 10) * 60).to_string());
        self.note(format!("{arguments:?} on a good day"));
        let child = command.stdout(Stdio::null()).stderr(self.log()).spawn().unwrap();
        let status = wait(child, "the last run does not end");
        assert!(status.success(), "the last run: {status}");
        self.proxy.settle();
        for (key, bytes) in self.objects() {
            self.installation.write(&format!("lake/{key}"), bytes);
        }
    }

    /// Every object of the lake, by its path there; none where there is no container yet.
    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        below_lake(self.runtime.block_on(self.store.objects(&self.bucket)))
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            self.note("kill");
            child.kill().unwrap();
            let status = child.wait().unwrap();
            self.judge(status, false);
        }
    }

    /// What a supervisor makes of an end: everything here is started again as it was; anything else would need a human.
    fn judge(&mut self, status: ExitStatus, was_stopped: bool) {
        let what = match (status.signal(), status.code()) {
            (Some(libc::SIGKILL), _) => "killed",
            (_, Some(0)) => "ended well",
            (_, Some(4)) => "ended for the store",
            (_, Some(130)) if was_stopped => "stopped early",
            // The signal came before anybody listened for it.
            (Some(libc::SIGTERM), _) if was_stopped => "stopped early",
            // What a process asked for that has ended may come about once its successor is at work, which takes it for another owner.
            (_, Some(6)) if self.proxy.counts().get("lands late").is_some_and(|late| *late > 0) => {
                "overtaken by the past"
            }
            _ => panic!("it ended with {status}, which no restart mends"),
        };
        *self.counts.entry(what).or_default() += 1;
        self.note(format!("it {what}"));
    }

    fn log(&self) -> File {
        OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap()
    }

    fn log_path(&self) -> std::path::PathBuf {
        self.installation.path().join("lakeport.log")
    }
}

/// Waits for a process that has to end.
fn wait(mut child: Child, otherwise: &str) -> ExitStatus {
    let begun = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status,
            None if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("after {PATIENCE:?}, {otherwise}");
            }
        }
    }
}

impl Drop for Supervisor<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.process.take() {
            // Fails only where it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log_path()).unwrap_or_default();
            eprintln!("what was done: {:#?}\nfaults: {:?}\nlog:\n{log}", self.done, self.proxy.counts());
            eprintln!("to run it again: {}", self.again);
        }
    }
}
