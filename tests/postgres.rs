//! A real database in the lake: PostgreSQL through wal2json, compared with its own SELECT by readers that are not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::lake_folder::{Installation, LAKEPORT, cache};
use crate::support::postgres::{Database, Replication, example, installed};
use crate::support::process::Following;
use crate::support::shared_data::shared_data;
use crate::support::tools::{printed, python, root, tool};

const TABLES: [&str; 3] = ["accounts", "branches", "history"];
const ACCOUNTS: u32 = 1000;
const PUBLIC: &str = "https://contoso.dfs.core.windows.net/exports/bank/";

const CONFIGURATION: &str = r#"
[lakes.main]
url = "./lake"

[sources.bank]
files = ["initial/*.ndjson", "changes/*.ndjson"]
envelope = "wal2json"

[exports.bank]
type = "table"
source = "bank"
format = { plugin = "cdm-csv", dates = "iso" }
public-url = "https://contoso.dfs.core.windows.net/exports/"
snapshots = { every = "1s", keep = "1h" }

[exports.bank.tables.accounts]
created = "/created_at"
partition = "month"

[exports.bank.tables.branches]
created = "/created_at"

[exports.bank.tables.history]
write = "append-only"
"#;

/// Writes the statement that shows a table's rows, an array of texts each: values as a file of the Common Data Model has them.
const SELECT: &str = r"
SELECT format('SELECT json_build_array(%s) FROM %I', string_agg(CASE type
    WHEN 'boolean' THEN format($f$CASE WHEN %1$I THEN 'True' WHEN NOT %1$I THEN 'False' END$f$, name)
    WHEN 'timestamp with time zone' THEN format($f$replace((%I AT TIME ZONE 'UTC')::text, ' ', 'T') || 'Z'$f$, name)
    WHEN 'timestamp without time zone' THEN format($f$replace(%I::text, ' ', 'T')$f$, name)
    WHEN 'bytea' THEN format($f$encode(%I, 'hex')$f$, name)
    -- A cast to text would take the blanks off a character(8).
    ELSE format($f$CASE WHEN %1$I IS NOT NULL THEN format('%%s', %1$I) END$f$, name)
  END, ', ' ORDER BY place), 'TABLE') AS statement
FROM (
  SELECT attname AS name, attnum AS place, format_type(atttypid, NULL) AS type
  FROM pg_attribute WHERE attrelid = 'TABLE'::regclass AND attnum > 0 AND NOT attisdropped
) AS columns
\gexec
";

/// Cells, `None` for null.
type Row = Vec<Option<String>>;

/// A database with the example's tables, whose sessions are half an hour off, as the stream's texts are.
fn bank() -> Database {
    let database = Database::start();
    database.psql("ALTER DATABASE postgres SET timezone = 'Asia/Kolkata'");
    database.psql(&format!("\\set accounts {ACCOUNTS}\n{}", fs::read_to_string(example("tables.sql")).unwrap()));
    database
}

fn replicate(database: &Database, installation: &Installation) -> Replication {
    let folder = installation.path();
    database.replicate(&TABLES, &folder.join("initial"), &folder.join("changes/000001.ndjson"))
}

/// pgbench with the example's transaction, in two sessions.
fn pgbench(database: &Database, arguments: &[&str]) -> Child {
    let mut command = database.client("pgbench");
    command.args(["--no-vacuum", "--client=2", "--define", &format!("accounts={ACCOUNTS}"), "--file"]);
    command.arg(example("changes.sql")).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn change(database: &Database, transactions: u32) {
    let status = pgbench(database, &["--transactions", &transactions.to_string()]).wait().unwrap();
    assert!(status.success(), "pgbench ended with {status}");
}

/// What the database itself says of a table: its columns, and its rows in order.
fn selected(database: &Database, table: &str) -> (Vec<String>, Vec<Row>) {
    let columns = database.psql(&format!(
        "SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped \
         ORDER BY attnum"
    ));
    let rows = database.psql(&SELECT.replace("TABLE", table));
    let mut rows: Vec<Row> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rows.sort();
    (columns.lines().map(str::to_owned).collect(), rows)
}

/// A table as the readers found it.
struct Found {
    columns: Vec<String>,
    rows: Vec<Row>,
}

impl Found {
    fn place(&self, column: &str) -> usize {
        let place = self.columns.iter().position(|name| name == column);
        place.unwrap_or_else(|| panic!("no `{column}` among {:?}", self.columns))
    }

    fn version(&self, row: &Row) -> u64 {
        row[self.place("versionnumber")].as_ref().unwrap().parse().unwrap()
    }

    fn deletes(&self, row: &Row) -> bool {
        row[self.place("IsDelete")].as_deref() == Some("True")
    }

    /// The newest version of every row that is not deleted.
    fn newest(self) -> Found {
        let mut newest = BTreeMap::new();
        let mut rows = self.rows.clone();
        rows.sort_by_key(|row| self.version(row));
        for row in rows {
            newest.insert(row[self.place("Id")].clone(), row);
        }
        let rows = newest.into_values().filter(|row| !self.deletes(row)).collect();
        Found { rows, ..self }
    }

    /// Some columns of every row, in order.
    fn cells(&self, columns: &[String]) -> Vec<Row> {
        let places: Vec<_> = columns.iter().map(|column| self.place(column)).collect();
        let mut rows: Vec<Row> =
            self.rows.iter().map(|row| places.iter().map(|place| row[*place].clone()).collect()).collect();
        rows.sort();
        rows
    }
}

/// Every table of the lake, as DuckDB, Polars and PyArrow agree on it.
fn found(installation: &Installation) -> BTreeMap<String, Found> {
    let tables: Value =
        serde_json::from_str(&python(installation.path(), "cdm_tables.py", &["lake/bank", PUBLIC])).unwrap();
    let table = |table: &Value| Found {
        columns: serde_json::from_value(table["columns"].clone()).unwrap(),
        rows: serde_json::from_value(table["rows"].clone()).unwrap(),
    };
    tables.as_object().unwrap().iter().map(|(name, of)| (name.clone(), table(of))).collect()
}

/// Compares every table, cell by cell, and lets Microsoft's SDK and schema judge what describes them.
fn assert_same(database: &Database, installation: &Installation) {
    let found = found(installation);
    assert_eq!(found.keys().collect::<Vec<_>>(), TABLES);
    for (name, table) in found {
        let (columns, expected) = selected(database, &name);
        let ids: Vec<_> = table.rows.iter().map(|row| row[table.place("Id")].clone()).collect();
        let table = if name == "history" {
            table.newest()
        } else {
            let distinct: BTreeSet<_> = ids.iter().collect();
            assert_eq!(distinct.len(), ids.len(), "`{name}` has a row twice");
            table
        };
        let rows = table.cells(&columns);
        let missing: Vec<_> = expected.iter().filter(|row| rows.binary_search(row).is_err()).take(3).collect();
        let surplus: Vec<_> = rows.iter().filter(|row| expected.binary_search(row).is_err()).take(3).collect();
        assert!(
            rows == expected,
            "`{name}`: {} rows, expected {}; {columns:?}\nmissing: {missing:?}\nsurplus: {surplus:?}",
            rows.len(),
            expected.len()
        );
    }
    python(installation.path(), "cdm_sdk.py", &["lake/bank", PUBLIC]);
    if let Some(schema) = shared_data("model-json.schema.json") {
        python(installation.path(), "cdm_schema.py", &["lake/bank/model.json", schema.to_str().unwrap()]);
    }
}

#[test]
fn every_cell_in_the_lake_is_what_the_databases_own_select_shows() {
    let database = bank();
    let installation = Installation::new(CONFIGURATION);
    let replication = replicate(&database, &installation);
    installation.run_ok(&["run", "--quiet"]);
    let partitions: Vec<_> = installation.files().into_keys().filter(|path| path.contains("/accounts/")).collect();
    assert!(partitions.len() > 12, "a month each: {partitions:?}");

    let following = Following::start(&installation);
    change(&database, 300);
    database.psql("ALTER TABLE accounts ADD COLUMN tier text");
    database
        .psql("UPDATE accounts SET tier = CASE aid % 3 WHEN 0 THEN '' WHEN 1 THEN 'gold \"1\"' END WHERE aid < 100");
    change(&database, 300);
    database.psql("ALTER TABLE accounts DROP COLUMN score");
    // Those that have everything: their values come through the stream this time.
    database.psql("UPDATE accounts SET bid = 2 WHERE aid < 0");
    database.psql("UPDATE accounts SET risk = 'NaN', note = NULL, balance = -balance WHERE aid = -1");
    // Its long note does not change with its key.
    database.psql("UPDATE accounts SET aid = -60 WHERE aid = -6");
    change(&database, 300);
    database.psql("UPDATE history SET delta = 0, filler = NULL WHERE hid <= 5");
    database.psql("DELETE FROM history WHERE hid <= 3");
    database.catch_up(&replication);
    following.stop();
    installation.run_ok(&["run", "--quiet", "--full", "bank"]);

    assert_same(&database, &installation);
    let found = found(&installation);
    let accounts = &found["accounts"];
    assert_eq!(accounts.columns.last().unwrap(), "tier", "what is new goes last");
    assert!(accounts.columns.iter().any(|column| column == "score"), "what is gone stays");
    let history = &found["history"];
    let deleted = history.rows.iter().filter(|row| history.deletes(row)).count();
    // Each transaction adds one; five were updated, three deleted.
    assert_eq!((history.rows.len(), deleted), (2 * 900 + 5 + 3, 3));
}

#[test]
fn a_change_that_the_stream_repeats_and_one_before_the_initial_state_do_no_harm() {
    let database = bank();
    let installation = Installation::new(CONFIGURATION);
    let replication = replicate(&database, &installation);
    change(&database, 200);
    database.catch_up(&replication);
    installation.run_ok(&["run", "--quiet"]);
    // As after a crash of what follows the stream: it gets again what it had not confirmed.
    let changes = fs::read(installation.path().join("changes/000001.ndjson")).unwrap();
    installation.write("changes/000002.ndjson", &changes[..]);
    installation.run_ok(&["run", "--quiet", "--full", "bank"]);
    assert_same(&database, &installation);
}

#[test]
fn readers_of_the_model_always_find_whole_files_while_the_writer_is_killed_and_restarted() {
    const SECONDS: &str = "30";
    let database = bank();
    let installation = Installation::new(CONFIGURATION);
    let replication = replicate(&database, &installation);
    let mut reader = Command::new(tool("py/bin/python"));
    reader.arg(root().join("tests/verify/cdm_loop.py")).args(["lake/bank", PUBLIC, SECONDS]);
    let reader = reader.current_dir(installation.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut load = pgbench(&database, &["--rate=200", "--time", SECONDS]);
    let mut kills = 0;
    while load.try_wait().unwrap().is_none() {
        let following = Following::start(&installation);
        // From within the start to after some snapshots.
        std::thread::sleep(Duration::from_millis(300 + kills * 733 % 4000));
        following.end(libc::SIGKILL);
        kills += 1;
    }
    assert!(kills > 5, "killed {kills} times only");
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(counts["models"].as_u64().unwrap() > 3, "{counts}");

    database.catch_up(&replication);
    installation.run_ok(&["run", "--quiet", "--full", "bank"]);
    assert_same(&database, &installation);
}

#[test]
fn what_the_examples_readme_shows_works() {
    let installation = Installation::new(&fs::read_to_string(example("lakeport.toml")).unwrap());
    for entry in fs::read_dir(example("")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            installation.write(path.file_name().unwrap().to_str().unwrap(), fs::read(&path).unwrap());
        }
    }
    let binary = Path::new(LAKEPORT).parent().unwrap();
    let path = format!("{}:{}:{}", tool("py/bin").display(), binary.display(), std::env::var("PATH").unwrap());
    let page = fs::read_to_string(example("README.md")).unwrap();
    let mut shown = Vec::new();
    for block in page.split("\n```").skip(1).step_by(2) {
        let (language, script) = block.split_once('\n').unwrap();
        let mut command = match language {
            "sh" => Command::new("sh"),
            "python" => Command::new(tool("py/bin/python")),
            other => panic!("a block of `{other}`"),
        };
        command.args(if language == "sh" { &["-e", "-c"][..] } else { &["-c"] }).arg(script);
        command.env("PATH", &path).env("LAKEPORT_CACHE_DIR", cache()).env("NO_COLOR", "1");
        command.env("POSTGRES", installed(""));
        shown.push(printed(installation.path(), command));
    }
    assert!(shown.len() >= 3, "{shown:#?}");
    let compared = shown[0].lines().filter(|line| line.ends_with("the same")).count();
    assert_eq!(compared, TABLES.len(), "{}", shown[0]);
}
