//! Standard input through a spool: runs that are stopped and killed while one pipe goes on.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::lake_folder::{Installation, every_id, signals};
use crate::support::process::{signal, wait_until};
use crate::support::random::Random;

fn installation(every: &str) -> Installation {
    Installation::new(&format!(
        "[sources.live]\nstdin = true\n[exports.signals]\nsource = \"live\"\nflush = {{ every = \"{every}\" }}\n"
    ))
}

fn begin(installation: &Installation, input: &std::io::PipeReader) -> Child {
    let mut command = installation.command(&["run", "--spool", "spool"]);
    command.stdin(input.try_clone().unwrap()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// How many lines the spool has.
fn spooled(installation: &Installation) -> usize {
    let files = std::fs::read_dir(installation.path().join("spool")).into_iter().flatten().flatten();
    files.map(|file| std::fs::read(file.path()).unwrap_or_default()).map(|bytes| ids_in(&bytes)).sum()
}

fn ids_in(bytes: &[u8]) -> usize {
    bytes.windows(5).filter(|window| window == b"\"id\":").count()
}

#[test]
fn runs_that_are_stopped_again_and_again_export_each_line_of_a_pipe_once() {
    let installation = installation("30ms");
    let (input, mut writer) = std::io::pipe().unwrap();
    let text = signals(2_000);
    let writes = std::thread::spawn(move || {
        let mut random = Random::new(17);
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            // Lines are cut anywhere.
            let (now, later) = rest.split_at(rest.len().min(random.within(1..=3_000) as usize));
            writer.write_all(now).unwrap();
            rest = later;
            std::thread::sleep(Duration::from_millis(random.within(0..=8)));
        }
    });
    let mut random = Random::new(18);
    while !writes.is_finished() {
        let mut child = begin(&installation, &input);
        std::thread::sleep(Duration::from_millis(random.within(50..=700)));
        signal(&child, libc::SIGTERM);
        child.wait().unwrap();
    }
    writes.join().unwrap();
    begin(&installation, &input).wait().unwrap();
    // A line that was being written when a run ended is in two pieces: both are dead letters.
    let (ids, letters) = (installation.ids(), installation.dead_letters());
    assert!(ids.values().all(|times| *times == 1), "{ids:?}");
    let pieces: String = letters.iter().map(|letter| letter["record"].as_str().unwrap_or_default()).collect();
    assert_eq!(ids.len() + ids_in(pieces.as_bytes()), 2_000, "{letters:?}");
}

#[test]
fn what_a_killed_run_had_in_its_spool_is_exported_once() {
    let installation = installation("1h");
    let (input, mut writer) = std::io::pipe().unwrap();
    for number in 0..3_usize {
        let mut child = begin(&installation, &input);
        let text: String = signals(300).split_inclusive('\n').skip(number * 100).take(100).collect();
        writer.write_all(text.as_bytes()).unwrap();
        wait_until("the spool has the lines", || spooled(&installation) == (number + 1) * 100);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    drop(writer);
    assert!(begin(&installation, &input).wait().unwrap().success());
    assert_eq!(installation.ids(), every_id(300));
    assert!(installation.dead_letters().is_empty());
}
