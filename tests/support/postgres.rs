//! A PostgreSQL server of one test, on loopback, and what feeds a lake from it: the initial state, and the stream of changes.
//!
//! The initial state is read in the snapshot that the slot exports when it is created: it holds exactly what was committed before the
//! stream begins, so that no change is in both and none in neither. Its rows have the oldest position that the slot may decode
//! from as their version: no change of the stream is older. (The slot's consistent point would not do: a transaction that was
//! under way there may have changes before it.)

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::process::{signal, wait_until};
use super::servers::free_port;

/// What a machine needs, in the words of `./dev setup`.
const MISSING: &str = "PostgreSQL 15 or newer with wal2json is not installed; as root, `apt-get update && apt-get install -y \
                       postgresql-15 postgresql-15-wal2json`, then `./dev setup`";

/// How wal2json is asked to write. Numbers stay bare, since version 2.5 knows no other way.
const OPTIONS: [&str; 8] = [
    "format-version=2",
    "include-lsn=1",
    "include-timestamp=1",
    "include-pk=1",
    "include-types=1",
    "include-typmod=1",
    // A domain's value is text then, of the type below the domain: NaN and infinities are not lost.
    "include-domain-data-type=1",
    "include-transaction=1",
];

/// The slot of a test's only stream.
const SLOT: &str = "lakeport";

/// A server. Dropping it ends it.
pub struct Database {
    server: Child,
    port: u16,
    /// Removed when the server has ended.
    _folder: tempfile::TempDir,
}

impl Database {
    /// One with an empty database, which is of no use after a crash of the machine.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The server runs as somebody who may not see the folders that the plugin is in.
        fs::copy(installed("wal2json.so"), folder.path().join("wal2json.so")).unwrap();
        let account = account();
        if let Some((user, group)) = account {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let data = folder.path().join("data");
        let program = |name: &str| {
            let mut command = Command::new(installed("bin").join(name));
            if let Some((user, group)) = account {
                command.uid(user).gid(group);
            }
            command.current_dir(folder.path()).stdin(Stdio::null()).arg("-D").arg(&data);
            command
        };
        let options = ["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"];
        let output = program("initdb").args(options).output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));

        let port = free_port();
        let settings = [
            "wal_level=logical".to_owned(),
            "fsync=off".to_owned(),
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            format!("dynamic_library_path={}:$libdir", folder.path().display()),
        ];
        let log = folder.path().join("log");
        let mut command = program("postgres");
        command.args(settings.iter().flat_map(|setting| ["-c", setting]));
        let server = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut database = Database { server, port, _folder: folder };
        wait_until("the server answers", || {
            let ended = database.server.try_wait().unwrap();
            assert!(ended.is_none(), "the server ended: {}", fs::read_to_string(&log).unwrap());
            database.client("pg_isready").stdout(Stdio::null()).status().unwrap().success()
        });
        database
    }

    /// What statements print: a row a line, columns between `|`, nothing for null.
    pub fn psql(&self, script: &str) -> String {
        let mut client = self.session("");
        let mut child = client.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut input, script_bytes) = (child.stdin.take().unwrap(), script.as_bytes().to_vec());
        let writer = std::thread::spawn(move || input.write_all(&script_bytes));
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
        writer.join().unwrap().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// A program of PostgreSQL's, to be run against the database.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(installed("bin").join(program));
        command.args(["--host=127.0.0.1", "--username=postgres"]).arg(format!("--port={}", self.port));
        command.env("PGDATABASE", "postgres").stdin(Stdio::null());
        command
    }

    /// psql, with more of a connection string, reading statements from its standard input.
    fn session(&self, connection: &str) -> Command {
        let mut command = self.client("psql");
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
        command.arg(format!("--dbname=dbname=postgres {connection}")).stdout(Stdio::piped());
        command
    }

    /// Writes the tables' rows to `{folder}/{table}.ndjson`, as wal2json would, and then whatever changes to `changes`, until what is
    /// returned is dropped.
    pub fn replicate(&self, tables: &[&str], folder: &Path, changes: &Path) -> Replication {
        let mut holder = self.session("replication=database").stdin(Stdio::piped()).spawn().unwrap();
        let statement = format!("CREATE_REPLICATION_SLOT {SLOT} LOGICAL wal2json EXPORT_SNAPSHOT;\n");
        let mut statements = holder.stdin.take().unwrap();
        statements.write_all(statement.as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut answer).unwrap();
        // Name, consistent point, snapshot, plugin.
        let snapshot = answer.split('|').nth(2).unwrap_or_else(|| panic!("no snapshot in `{answer}`"));

        fs::create_dir_all(folder).unwrap();
        let functions = fs::read_to_string(example("initial.sql")).unwrap();
        for table in tables {
            let rows = self.psql(&format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSET TRANSACTION SNAPSHOT '{snapshot}';\n{functions}\n\
                 SELECT pg_temp.copy_of('{table}', restart_lsn) FROM pg_replication_slots WHERE slot_name = '{SLOT}' \\gexec\n"
            ));
            fs::write(folder.join(format!("{table}.ndjson")), rows).unwrap();
        }
        // The snapshot lasts as long as the session that exported it.
        drop(statements);
        assert!(holder.wait().unwrap().success());

        fs::create_dir_all(changes.parent().unwrap()).unwrap();
        // The follower makes it with the first change only, and appends to what is there.
        File::create(changes).unwrap();
        let mut follower = self.client("pg_recvlogical");
        follower.args(["--dbname=postgres", "--start", "--no-loop", "--fsync-interval=1", "--slot", SLOT, "--file"]);
        follower.arg(changes).args(OPTIONS.iter().flat_map(|option| ["--option", option]));
        Replication { follower: follower.spawn().unwrap(), changes: changes.to_owned() }
    }

    /// Waits until the stream has brought everything that was committed before.
    pub fn catch_up(&self, replication: &Replication) {
        // A message in the log comes after all of it, in the file as in the log; no two stand at the same position.
        let mark = self.psql(
            "SELECT mark FROM (SELECT pg_current_wal_insert_lsn()::text AS mark OFFSET 0) AS position, \
             LATERAL pg_logical_emit_message(true, 'lakeport', mark)",
        );
        let mark = format!(r#""content":"{}""#, mark.trim());
        wait_until(&format!("the stream has {mark}"), || {
            fs::read_to_string(&replication.changes).unwrap().contains(&mark)
        });
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // At once, and its processes with it.
        signal(&self.server, libc::SIGQUIT);
        let _ = self.server.wait();
    }
}

/// `pg_recvlogical` at work. Dropping it ends it.
pub struct Replication {
    follower: Child,
    changes: PathBuf,
}

impl Drop for Replication {
    fn drop(&mut self) {
        // Fails only where it has ended by itself.
        let _ = self.follower.kill();
        let _ = self.follower.wait();
    }
}

/// A file of `examples/postgres`.
pub fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/postgres").join(name)
}

/// Something that `./dev setup` has found or installed.
pub fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/postgres").join(name);
    path.canonicalize().unwrap_or_else(|_| panic!("{MISSING}"))
}

/// Whom the server runs as: PostgreSQL refuses root. User and group of Debian's account for it, or of nobody.
fn account() -> Option<(u32, u32)> {
    // The owner of this process's own folder is who it runs as.
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let found = fields.into_iter().find(|fields| fields[0] == name)?;
        Some((found[2].parse().ok()?, found[3].parse().ok()?))
    };
    Some(of("postgres").or_else(|| of("nobody")).expect("a system has an account `nobody`"))
}
