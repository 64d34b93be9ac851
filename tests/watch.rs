//! `lakeport status --watch`: at a terminal, in a pipe, and as JSON.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::lake_folder::{Installation, signals};
use crate::support::process::{signal, wait_until};

fn exported() -> Installation {
    let installation = Installation::exporting("in.ndjson", "");
    installation.write("in.ndjson", signals(20));
    installation.export();
    installation
}

/// A command at a terminal of 80 columns.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    fn start(installation: &Installation, arguments: &[&str]) -> Terminal {
        let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let (mut ours, mut theirs) = (0, 0);
        // SAFETY: the descriptors and the size outlive the call; the null pointers mean no name and the usual settings.
        let opened = unsafe {
            libc::openpty(
                &raw mut ours,
                &raw mut theirs,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                &raw const size as *mut _,
            )
        };
        assert_eq!(opened, 0);
        // SAFETY: both were opened above and are nobody else's.
        let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
        let mut command = installation.command(arguments);
        command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
        let child = command.spawn().unwrap();
        drop(command);
        let keyboard = File::from(ours);
        let (mut reading, screen) = (keyboard.try_clone().unwrap(), Arc::new(Mutex::new(String::new())));
        let kept = screen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end of the child is an error of the terminal.
            while let Ok(read @ 1..) = reading.read(&mut bytes) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Terminal { child, keyboard, screen }
    }

    fn seen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn at_a_terminal_it_draws_over_itself_and_q_ends_it() {
    let installation = exported();
    let mut terminal = Terminal::start(&installation, &["status", "--watch=100ms"]);
    wait_until("it was drawn three times", || terminal.seen().matches("last commit").count() >= 3);
    terminal.keyboard.write_all(b"xq").unwrap();
    assert!(terminal.child.wait().unwrap().success());
    wait_until("the first screen is back", || terminal.seen().ends_with("\x1b[?1049l"));
    let seen = terminal.seen();
    assert!(seen.starts_with("\x1b[?1049h\x1b[?25l\x1b[H"), "{seen:?}");
    assert!(seen.contains("every 100ms; q ends") && seen.contains("signals") && seen.contains("ended"), "{seen:?}");
    let frame = seen.split("\x1b[H").nth(2).unwrap();
    assert!(frame.split("\r\n").all(|line| line.replace("\x1b[K", "").replace("\x1b[J", "").chars().count() <= 80));
    assert!(frame.ends_with("\x1b[K\x1b[J"), "{frame:?}");
}

#[test]
fn ctrl_c_gives_the_terminal_back() {
    let installation = exported();
    let mut terminal = Terminal::start(&installation, &["status", "--watch"]);
    wait_until("it was drawn", || terminal.seen().contains("last commit"));
    signal(&terminal.child, libc::SIGINT);
    assert!(terminal.child.wait().unwrap().success());
    wait_until("the first screen is back", || terminal.seen().ends_with("\x1b[?25h\x1b[?1049l"));
}

#[test]
fn without_a_terminal_blocks_and_json_lines_come_and_rates_move() {
    let installation = exported();
    let mut text = installation.command(&["status", "--watch=100ms"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(text.stdout.take().unwrap()).lines().map_while(Result::ok);
    let lines: Vec<String> = lines.take(12).collect();
    assert!(lines.iter().all(|line| !line.contains('\x1b') && line.chars().count() <= 80), "{lines:?}");
    assert!(lines.iter().filter(|line| line.starts_with("signals ")).count() >= 2, "{lines:?}");
    // Nobody reads it any more: that is its end.
    assert!(text.wait().unwrap().success());

    let mut json = installation.command(&["status", "--json", "--watch=100ms"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(json.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!((&first["exports"][0]["export"], &first["exports"][0]["records"]), (&"signals".into(), &20.into()));
    installation.append("in.ndjson", &signals(5));
    installation.export();
    wait_until("the lines follow", || {
        let next: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
        assert!(next["time"].as_str().unwrap() > first["time"].as_str().unwrap(), "{next}");
        next["exports"][0]["records"] == 25
    });
    signal(&json, libc::SIGTERM);
    assert!(json.wait().unwrap().success());
}

#[test]
fn a_lake_that_is_away_is_shown_and_waited_for() {
    let installation = exported();
    let lake = installation.lake();
    let mut json = installation.command(&["status", "--json", "--watch=100ms"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(json.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap()).unwrap();
    assert_eq!(next()["exports"][0]["records"], 20);
    let away = lake.with_extension("away");
    std::fs::rename(&lake, &away).unwrap();
    std::fs::write(&lake, "no folder").unwrap();
    wait_until("it says why", || next()["error"]["message"].is_string());
    std::fs::remove_file(&lake).unwrap();
    std::fs::rename(&away, &lake).unwrap();
    wait_until("it goes on", || next()["exports"][0]["records"] == 20);
    signal(&json, libc::SIGINT);
    assert!(json.wait().unwrap().success());
}
