//! Filters that misbehave: each mode of the test filter, what the host says of it, and that a fresh instance works.

use std::time::{Duration, Instant};

use lakeport::Kind;
use lakeport::plan::Limits;
use lakeport::plugin::Failure;
use test_guests::filter;

use super::{bodies, limits, open_filter, sandbox};

/// The failure of a filter of `mode`, after showing that it stays failed and that a fresh instance works.
fn filter_fails(limits: Limits, mode: filter::Mode) -> Failure {
    let toolbox = sandbox().toolbox();
    let mut odd = open_filter(&toolbox, limits, mode).unwrap();
    let column = [bodies(&[r#"{"a":1}"#; 20])];
    let failure = odd.evaluate(20, &column).unwrap_err();
    assert_eq!(odd.evaluate(20, &column).unwrap_err(), failure, "it is not called again");
    assert!(failure.to_string().starts_with("plugin `odd` "), "{failure}");
    let mut fresh = open_filter(&toolbox, limits, filter::Mode::Behave).unwrap();
    assert_eq!(fresh.evaluate(20, &column).unwrap().keep.true_count(), 20);
    failure
}

fn broke(limits: Limits, mode: filter::Mode) -> String {
    match filter_fails(limits, mode) {
        Failure::BrokeRule(text) => text,
        other => panic!("{mode:?}: {other:?}"),
    }
}

#[test]
fn filters_that_misbehave_fail_alone_and_by_name() {
    use filter::Mode::*;
    for mode in [
        Behave,
        Loop,
        LoopInOpen,
        Recurse,
        Grow,
        GrowAndRecover,
        TrapOnSome,
        FloodStdout,
        FloodStderr,
        FloodOneLine,
        ForgeLogLine,
        Sleep,
        Exit,
        Fail,
        RefuseConfig,
        ShortBitmap,
        LongBitmap,
        RejectOutOfRange,
        RejectTwice,
        RejectOdd,
        InvalidUtf8,
        HugeReasons,
        BadPointer,
        LookAround,
    ] {
        // Without a wildcard: a mode that is not tested does not compile.
        match mode {
            Behave => behaves(mode),
            Loop => loops(),
            LoopInOpen => loops_in_open(),
            Recurse => recurses(),
            Grow => grows(),
            GrowAndRecover => recovers(),
            TrapOnSome => traps_on_some(),
            FloodStdout | FloodStderr => floods(mode, 99_900),
            FloodOneLine => floods(mode, 1),
            ForgeLogLine | Sleep => behaves(mode),
            Exit => exits(),
            Fail => fails(),
            RefuseConfig => refuses_config(),
            ShortBitmap => {
                assert!(broke(limits(), mode).ends_with("it gave 2 bytes of `keep` for 20 rows, expected 3"))
            }
            LongBitmap => assert!(broke(limits(), mode).ends_with("it gave 4 bytes of `keep` for 20 rows, expected 3")),
            RejectOutOfRange => assert!(broke(limits(), mode).ends_with("it rejected row 20 of a batch of 20 rows")),
            RejectTwice => assert!(broke(limits(), mode).ends_with("expected distinct and rising rows")),
            RejectOdd => rejects_odd(),
            InvalidUtf8 => assert!(broke(limits(), mode).contains("utf-8"), "{}", broke(limits(), mode)),
            HugeReasons => huge_reasons(),
            BadPointer => bad_pointer(),
            LookAround => sees_nothing(),
        }
    }
}

fn behaves(mode: filter::Mode) {
    let toolbox = sandbox().toolbox();
    let mut odd = open_filter(&toolbox, limits(), mode).unwrap();
    let started = Instant::now();
    assert_eq!(odd.evaluate(3, &[bodies(&["{}"; 3])]).unwrap().keep.true_count(), 3);
    assert!(started.elapsed() < Duration::from_secs(5), "{mode:?} took {:?}", started.elapsed());
}

fn loops() {
    let started = Instant::now();
    let failure = filter_fails(limits(), filter::Mode::Loop);
    assert_eq!(failure, Failure::Timeout("plugin `odd` took longer in `evaluate` than its limit of 300ms".into()));
    assert!(started.elapsed() < Duration::from_secs(10));
}

fn loops_in_open() {
    let toolbox = sandbox().toolbox();
    let error = open_filter(&toolbox, limits(), filter::Mode::LoopInOpen).err().unwrap();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (Kind::Plugin, "plugin `odd` took longer in `open` than its limit of 300ms")
    );
    assert_eq!(toolbox.usage()["odd"].traps, 1);
}

fn recurses() {
    let failure = filter_fails(limits(), filter::Mode::Recurse);
    assert!(matches!(&failure, Failure::Trap(text) if text.contains("`evaluate`")), "{failure:?}");
}

fn grows() {
    let Failure::Trap(text) = filter_fails(limits(), filter::Mode::Grow) else { panic!("a trap") };
    assert!(text.contains("after it was refused more memory than its limit of 64MiB (`limits.memory`)"), "{text}");
}

fn recovers() {
    let toolbox = sandbox().toolbox();
    let limits = Limits { memory: 8 << 20, time: Duration::from_secs(5), ..Limits::default() };
    let mut odd = open_filter(&toolbox, limits, filter::Mode::GrowAndRecover).unwrap();
    assert_eq!(odd.evaluate(3, &[bodies(&["{}"; 3])]).unwrap().keep.true_count(), 3);
    let peak = toolbox.usage()["odd"].peak_memory;
    assert!((6 << 20..=8 << 20).contains(&peak), "{peak}");
}

fn traps_on_some() {
    let toolbox = sandbox().toolbox();
    let open = || open_filter(&toolbox, limits(), filter::Mode::TrapOnSome).unwrap();
    let fine = bodies(&[r#"{"trap":false}"#; 4]);
    assert_eq!(open().evaluate(4, &[fine]).unwrap().keep.true_count(), 4);
    let Failure::Trap(text) = open().evaluate(2, &[bodies(&["{}", r#"{"trap":true}"#])]).unwrap_err() else {
        panic!("a trap")
    };
    assert!(text.starts_with("plugin `odd` trapped in `evaluate`: "), "{text}");
    assert!(text.ends_with("met a trap"), "the panic's own message is in it: {text}");
    assert_eq!(toolbox.usage()["odd"].traps, 1);
}

fn floods(mode: filter::Mode, cut: u64) {
    let toolbox = sandbox().toolbox();
    let limits = Limits { time: Duration::from_secs(20), ..Limits::default() };
    let mut odd = open_filter(&toolbox, limits, mode).unwrap();
    assert_eq!(odd.evaluate(3, &[bodies(&["{}"; 3])]).unwrap().keep.true_count(), 3);
    assert_eq!(toolbox.usage()["odd"].log_lines_cut, cut, "{mode:?}");
}

fn exits() {
    let failure = filter_fails(limits(), filter::Mode::Exit);
    assert_eq!(failure, Failure::Trap("plugin `odd` trapped in `evaluate`: it ended its own process".into()));
}

fn fails() {
    let failure = filter_fails(limits(), filter::Mode::Fail);
    assert_eq!(failure, Failure::Refused("plugin `odd` failed in `evaluate`: no luck today".into()));
}

fn refuses_config() {
    let error = open_filter(&sandbox().toolbox(), limits(), filter::Mode::RefuseConfig).err().unwrap();
    assert_eq!(error.kind, Kind::Config);
    assert_eq!(error.message, "plugin `odd` does not accept its settings: mode: never\\u{1b}[2J");
}

fn rejects_odd() {
    let toolbox = sandbox().toolbox();
    let mut odd = open_filter(&toolbox, limits(), filter::Mode::RejectOdd).unwrap();
    let verdict = odd.evaluate(5, &[bodies(&["{}"; 5])]).unwrap();
    assert_eq!(verdict.keep.values().iter().collect::<Vec<_>>(), [true, false, true, false, true]);
    let rejected: Vec<(u32, &str)> = verdict.rejected.iter().map(|r| (r.row, r.reason.as_str())).collect();
    assert_eq!(rejected, [(1, "row 1 is odd"), (3, "row 3 is odd")]);
    let usage = &toolbox.usage()["odd"];
    assert_eq!((usage.rows_in, usage.rows_out, usage.rejected), (5, 3, 2));
}

fn huge_reasons() {
    let tight = Limits { transfer: 1 << 20, ..limits() };
    let text = broke(tight, filter::Mode::HugeReasons);
    assert!(text.ends_with("it passed more than its limit of 1MiB"), "{text}");
    let mut wide = open_filter(&sandbox().toolbox(), limits(), filter::Mode::HugeReasons).unwrap();
    let verdict = wide.evaluate(2, &[bodies(&["{}"; 2])]).unwrap();
    assert!(verdict.rejected.iter().all(|rejection| rejection.reason.len() <= 1024), "reasons are cut");
}

fn bad_pointer() {
    let error = open_filter(&sandbox().toolbox(), limits(), filter::Mode::BadPointer).err().unwrap();
    assert_eq!(error.kind, Kind::Plugin);
    assert!(error.message.contains("asked for the column `name`, expected an RFC 6901 pointer"), "{error}");
}

fn sees_nothing() {
    let mut odd = open_filter(&sandbox().toolbox(), limits(), filter::Mode::LookAround).unwrap();
    let verdict = odd.evaluate(1, &[bodies(&["{}"])]).unwrap();
    assert_eq!(
        verdict.rejected[0].reason,
        "files 0 written false connect Some(PermissionDenied) resolved false variables 0 arguments 0"
    );
    assert!(!std::path::Path::new("/tmp/lakeport-was-here").exists());
}
