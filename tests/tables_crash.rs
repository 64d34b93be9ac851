//! Exports of tables, killed and stopped at every step: no row is lost, none is stale, no version stands twice, and readers of the
//! catalog never find a file missing.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::cdm::Cdm;
use crate::support::lake_folder::{Installation, visible_files};
use crate::support::process::signal;
use crate::support::soak::stride;
use crate::support::stores::{Store, below_lake};
use crate::support::tools;
use crate::tables::{PREFIX, append, change, read};

const ROWS: usize = 24;

/// Two tables, one of each kind, and a third that is linked later; a snapshot with every span.
fn configuration(lead: bool) -> String {
    let lead = if lead { "[exports.crm.tables.lead]\ncolumns = \"infer\"\n" } else { "" };
    format!(
        "[sources.crm]\nfiles = \"crm.ndjson\"\nenvelope = \"change\"\n\n\
         [exports.crm]\ntype = \"table\"\nsource = \"crm\"\nflush = {{ bytes = \"3KiB\" }}\n\
         public-url = \"https://contoso.dfs.core.windows.net/exports/\"\nsnapshots = {{ every = \"1ms\" }}\n\n\
         [exports.crm.tables.account]\ncreated = \"/createdon\"\npartition = \"month\"\ncolumns = \"infer\"\n\n\
         [exports.crm.tables.contact]\nwrite = \"append-only\"\ncolumns = \"infer\"\n\n{lead}"
    )
}

fn account(operation: &str, row: usize, version: u64, size: usize) -> String {
    let created = format!("2020-{:02}-05T00:00:00Z", 1 + row % 3);
    let body = match operation {
        "delete" => Value::Null,
        "patch" => json!({ "size": size }),
        _ => json!({ "size": size, "createdon": created }),
    };
    change(operation, "account", &format!("a{row}"), version, body)
}

fn first_round() -> String {
    let rows = (0..ROWS).flat_map(|row| {
        let body = json!({ "size": row });
        let of = |kind| change("create", kind, &format!("{kind}{row}"), 1, body.clone());
        [account("create", row, 1, row), of("contact"), of("lead")]
    });
    rows.collect()
}

fn second_round() -> String {
    let mut lines = String::new();
    for row in (0..ROWS).step_by(2) {
        lines += &account("patch", row, 2, 100 + row);
        lines += &account("update", row, 1, 999);
        lines += &change("patch", "contact", &format!("contact{row}"), 2, json!({ "size": 100 + row }));
        lines += &change("patch", "lead", &format!("lead{row}"), 2, json!({ "size": 100 + row }));
    }
    lines += &account("delete", 1, 2, 0);
    lines + &change("delete", "contact", "contact1", 2, Value::Null)
}

/// The sizes of the rows of `kind` after both rounds.
fn sizes(kind: &str) -> BTreeMap<String, Option<String>> {
    let prefix = if kind == "account" { "a" } else { kind };
    let size = |row: usize| if row.is_multiple_of(2) { 100 + row } else { row };
    let rows = (0..ROWS).filter(|row| kind != "account" || *row != 1);
    rows.map(|row| (format!("{prefix}{row}"), Some(size(row).to_string()))).collect()
}

/// Every version of the contacts after both rounds, once.
fn versions() -> BTreeMap<(String, String), usize> {
    let first = (0..ROWS).map(|row| ((format!("contact{row}"), "1".to_owned()), 1));
    let second = (0..ROWS).filter(|row| row.is_multiple_of(2) || *row == 1);
    first.chain(second.map(|row| ((format!("contact{row}"), "2".to_owned()), 1))).collect()
}

fn assert_complete(installation: &Installation, what: &str) {
    installation.run_ok(&["run", "--quiet", "--full", "crm"]);
    let cdm = read(installation);
    assert_eq!(cdm.column("account", "size"), sizes("account"), "{what}");
    assert_eq!(cdm.column("lead", "size"), sizes("lead"), "{what}");
    let mut found: BTreeMap<_, usize> = BTreeMap::new();
    for row in cdm.rows("contact") {
        *found.entry((row["Id"].clone().unwrap(), row["versionnumber"].clone().unwrap())).or_default() += 1;
    }
    assert_eq!(found, versions(), "{what}");

    // What is staged is the tables' state, and nothing else; the files are those that the commit knows of.
    let dataset = &installation.last_commit("crm")["dataset"];
    let tables = dataset["tables"].as_object().unwrap();
    let runs = |table: &Value| {
        let runs = |state: &Value| state["runs"].as_array().cloned().unwrap_or_default();
        let both = [runs(&table["rows"]), runs(&table["versions"])].concat();
        both.into_iter().map(|run| run["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let needed: BTreeSet<_> = tables.values().flat_map(runs).collect();
    let staged: BTreeSet<_> = installation.log().into_keys().filter(|path| path.contains("/stage/")).collect();
    assert_eq!(staged, needed, "{what}");
    let count = |table: &Value, of: &str| {
        let partitions = table[of].as_array().cloned().unwrap_or_default();
        partitions.iter().map(|pair| pair[1].as_array().unwrap().len()).sum::<usize>()
    };
    let known: usize = tables.values().map(|table| count(table, "files") + count(table, "retired")).sum();
    assert_eq!(visible_files(&installation.lake()).len(), known + 1, "files and the catalog, {what}");
}

/// A kill at a passage of any fail point, in the run that `disturbed` says; false where that run passed fewer.
fn survives_a_kill(disturbed: usize, passage: usize) -> bool {
    let installation = Installation::new(&configuration(false));
    let mut killed = false;
    for (round, lines) in [first_round(), second_round()].iter().enumerate() {
        append(&installation, lines);
        installation.write("lakeport.toml", configuration(round == 1));
        if round == disturbed {
            let mut command = installation.command(&["run", "--quiet"]);
            let status = command.env("LAKEPORT_FAIL_POINT", format!("*:{passage}")).output().unwrap().status;
            killed = status.signal() == Some(libc::SIGKILL);
            assert!(killed || status.success(), "{status}");
            // Whatever is listed is there, whole, even now.
            if let Some(cdm) = Cdm::open(&installation.lake().join("crm"), PREFIX) {
                cdm.tables().into_iter().for_each(|table| drop(cdm.rows(table)));
            }
        }
        installation.run_ok(&["run", "--quiet"]);
    }
    assert_complete(&installation, &format!("run {disturbed}, killed at passage {passage}"));
    killed
}

#[test]
fn a_kill_at_any_fail_point_loses_no_row_and_doubles_no_version() {
    for disturbed in [0, 1] {
        let passed = (1..).step_by(stride(5)).take_while(|passage| survives_a_kill(disturbed, *passage)).count();
        assert!(passed > 50 / stride(5), "only {passed} fail points were passed");
    }
}

#[test]
fn kills_at_random_times_lose_no_row_and_double_no_version() {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for number in 0..6 {
        let installation = Installation::new(&configuration(false));
        for (round, lines) in [first_round(), second_round()].iter().enumerate() {
            append(&installation, lines);
            installation.write("lakeport.toml", configuration(round == 1));
            for _ in 0..6 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let mut child = installation.spawn(&["run", "--quiet"]);
                std::thread::sleep(Duration::from_micros(20_000 + (random >> 33) % 80_000));
                child.kill().unwrap();
                child.wait().unwrap();
            }
            installation.run_ok(&["run", "--quiet"]);
        }
        assert_complete(&installation, &format!("installation {number}, killed at random times"));
    }
}

#[test]
fn an_owner_of_tables_that_is_stopped_overtaken_and_woken_changes_nothing() {
    for disturbed in [0, 1] {
        for delay in (0..8).step_by(stride(3)).map(|step| 15 + step * 11) {
            let installation = Installation::new(&configuration(false));
            let what = format!("run {disturbed}, stopped after {delay} ms");
            for (round, lines) in [first_round(), second_round()].iter().enumerate() {
                append(&installation, lines);
                installation.write("lakeport.toml", configuration(round == 1));
                if round != disturbed {
                    installation.run_ok(&["run", "--quiet"]);
                    continue;
                }
                let first = installation.spawn(&["run", "--quiet"]);
                std::thread::sleep(Duration::from_millis(delay));
                signal(&first, libc::SIGSTOP);
                installation.run_ok(&["run", "--quiet", "--take-over"]);
                let before = installation.files();
                signal(&first, libc::SIGCONT);
                let output = first.wait_with_output().unwrap();
                let stderr = String::from_utf8_lossy(&output.stderr);
                // It was done before it was stopped, or it was replaced.
                assert!(matches!(output.status.code(), Some(0 | 6)), "{what}: {:?} {stderr}", output.status);
                assert_eq!(installation.files(), before, "{what}, woken");
            }
            assert_complete(&installation, &what);
        }
    }
}

/// How long the reader below reads. LAKEPORT_LOOP_SECONDS lets it read for longer.
const LOOP_SECONDS: u64 = 20;

#[test]
fn a_reader_of_the_catalog_never_finds_a_file_missing_while_the_writer_is_killed_and_started_again() {
    let seconds = std::env::var("LAKEPORT_LOOP_SECONDS").map_or(LOOP_SECONDS, |text| text.parse().unwrap());
    let installation = Installation::new(&configuration(true));
    append(&installation, &first_round());
    let lake = installation.lake().join("crm");
    let arguments = [lake.to_str().unwrap(), PREFIX, &seconds.to_string()].map(str::to_owned);
    let folder = installation.path().to_owned();
    let reader = std::thread::spawn(move || tools::python(&folder, "cdm_loop.py", &arguments));
    let spawn = || -> Child {
        let mut command = installation.command(&["run", "--quiet", "--follow"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let (mut version, mut kills) = (3, 0);
    let ends = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < ends {
        let mut child = spawn();
        for _ in 0..8 {
            version += 1;
            let row = (random >> 40) as usize % ROWS;
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let change = match version % 7 {
                0 => account("delete", row, version, 0),
                _ => account("update", row, version, version as usize),
            };
            installation.append(
                "crm.ndjson",
                &(change + &self::change("update", "contact", "c", version, json!({ "size": version }))),
            );
            std::thread::sleep(Duration::from_micros((random >> 33) % 60_000));
        }
        if let Some(status) = child.try_wait().unwrap() {
            panic!("it ended by itself: {status}, {:?}", child.wait_with_output().unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    let counts: Value = serde_json::from_str(&reader.join().expect("the reader found nothing wrong")).unwrap();
    assert!(kills > 10 && counts["models"].as_u64() > Some(5), "{kills} kills, {counts}");
    eprintln!("{kills} kills in {seconds} s; the reader: {counts}");
    installation.run_ok(&["run", "--quiet", "--full", "crm"]);
    let newest =
        read(&installation).rows("contact").into_iter().filter(|row| row["Id"].as_deref() == Some("c")).count();
    assert_eq!(newest as u64, version - 3, "every version of the contact is there once");
}

#[test]
fn a_file_that_somebody_puts_where_one_of_a_table_is_to_be_gives_way_and_is_kept() {
    let installation = Installation::new(&configuration(false));
    append(&installation, &first_round());
    installation.run_ok(&["run", "--quiet"]);
    append(&installation, &second_round());
    let mut command = installation.command(&["run", "--quiet"]);
    let status = command.env("LAKEPORT_FAIL_POINT", "create-commit:2").output().unwrap().status;
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    let commit = installation.last_commit("crm");
    let new: Vec<_> =
        commit["objects"].as_array().unwrap().iter().filter(|object| object["publication"] == "new").collect();
    let key = new[0]["key"].as_str().unwrap();
    let beside = |number: usize| key.replace(".csv", &format!("-{number}.csv"));
    installation.write(&format!("lake/{key}"), "theirs\n");
    installation.write(&format!("lake/{}", beside(2)), "theirs as well\n");
    let output = installation.run(&["run"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("held bytes that lakeport did not write"), "{said}");
    assert!(said.contains(&beside(3)), "{said}");
    let files = installation.files();
    assert_eq!(files[&beside(2)], b"theirs as well\n");
    assert_eq!(files[&beside(3)], b"theirs\n");
    for number in [2, 3] {
        std::fs::remove_file(installation.lake().join(beside(number))).unwrap();
    }
    installation.write("lakeport.toml", configuration(true));
    installation.run_ok(&["run", "--quiet"]);
    assert_complete(&installation, "with a file of somebody else in the way");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_a_table_that_is_edited_before_its_publication_is_noted_is_kept_in_a_store() {
    for store in [Store::azure(), Store::s3()] {
        let configuration = configuration(false);
        let lake = format!("[lakes.main]\n{}\n{configuration}", store.lake(&store.url(), "edited"));
        let installation = Installation::new(&lake);
        append(&installation, &first_round());
        let run = |point: &str| {
            let mut command = installation.command(&["run"]);
            command.env("LAKE_KEY", store.secret()).env("LAKEPORT_FAIL_POINT", point).output().unwrap()
        };
        // Killed between two requests: published, and what was staged for it not deleted.
        assert_eq!(run("published-object:1").status.signal(), Some(libc::SIGKILL));
        let found = below_lake(store.objects("edited").await);
        let commit = found.iter().rfind(|(key, _)| key.contains("/log/")).unwrap().1;
        let commit: Value = serde_json::from_slice(commit).unwrap();
        let is_left = |object: &&Value| {
            let has = |key: &Value| key.as_str().is_some_and(|key| found.contains_key(key));
            object["publication"] == "new" && has(&object["key"]) && has(&object["content"]["staged"])
        };
        let left = commit["objects"].as_array().unwrap().iter().find(is_left).expect("one is published and staged");
        let key = left["key"].as_str().unwrap();
        store.replace("edited", key, Some(b"edited\n".to_vec())).await;
        let output = run("none:1");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains("held bytes that lakeport did not write"), "{said}");
        let after = below_lake(store.objects("edited").await);
        assert!(after[key] == found[key], "the file is the one that the catalog means");
        assert_eq!(after[&key.replace(".csv", "-2.csv")], b"edited\n");
        assert!(!after.keys().any(|key| key.ends_with("-3.csv")), "{:?}", after.keys());
    }
}
