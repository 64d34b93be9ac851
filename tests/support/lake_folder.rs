//! A scratch installation: a configuration, its input, a local lake, and the real binary.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

use super::avro;

/// The real binary.
pub const LAKEPORT: &str = env!("CARGO_BIN_EXE_lakeport");

/// A folder with a configuration `lakeport.toml`, whose lake is `lake`.
pub struct Installation {
    folder: tempfile::TempDir,
}

impl Installation {
    /// One with this configuration.
    pub fn new(configuration: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("lakeport.toml"), configuration).unwrap();
        Installation { folder }
    }

    /// One whose export `signals` reads `files`, with further lines of its configuration.
    pub fn exporting(files: &str, more: &str) -> Self {
        Self::new(&format!(
            "[sources.signals]\nfiles = \"{files}\"\n\n[exports.signals]\nsource = \"signals\"\n{more}\n"
        ))
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its lake's folder.
    pub fn lake(&self) -> PathBuf {
        self.path().join("lake")
    }

    /// Writes a file into its folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Appends to a file in its folder, as a source that goes on does.
    pub fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path().join(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// The binary, to be run in the folder with `args`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(LAKEPORT);
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command.env("LAKEPORT_CACHE_DIR", cache()).env_remove("LAKEPORT_FAIL_POINT").env("NO_COLOR", "1");
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Starts the binary.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs the binary and wants it to succeed; answers with its standard output.
    pub fn run_ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what it exports, and answers with the summary of its only export.
    pub fn export(&self) -> Value {
        let summary: Value = serde_json::from_str(&self.run_ok(&["run", "--json"])).unwrap();
        summary["exports"][0].clone()
    }

    /// Its dead letters, oldest first.
    pub fn dead_letters(&self) -> Vec<Value> {
        let letters = self.run_ok(&["dead-letters", "--json"]);
        letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Every file that readers see, below the lake: its path, and its bytes.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        visible_files(&self.lake())
    }

    /// Every object of the log folder.
    pub fn log(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.lake().join("_lakeport"), &self.lake(), &mut files);
        files
    }

    /// Every line of those files, in the order of their paths.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        for (path, bytes) in self.files() {
            let bytes = bytes.strip_suffix(b"\n").unwrap_or_else(|| panic!("`{path}` ends in half a line"));
            lines.extend(bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        }
        lines
    }

    /// How often each value of the member `id` stands in the files.
    pub fn ids(&self) -> BTreeMap<String, usize> {
        ids_of(self.files())
    }

    /// The last commit in an export's log.
    pub fn last_commit(&self, export: &str) -> Value {
        let log = self.log();
        let prefix = format!("_lakeport/{export}/0/log/");
        let mut commits = log.iter().filter(|(path, _)| path.starts_with(&prefix)).filter_map(|(_, bytes)| {
            let entry: Value = serde_json::from_slice(bytes).unwrap();
            (entry["type"] == "commit").then_some(entry)
        });
        commits.next_back().expect("no commit in the log")
    }
}

/// Every file that readers see, below the folder of a lake: its path, and its bytes.
pub fn visible_files(lake: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(lake).into_iter().flatten() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_str().unwrap().starts_with('_') {
            collect(&path, lake, &mut files);
        }
    }
    files
}

/// How often each value of the member `id` stands in files, which are whole.
pub fn ids_of(files: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for (path, bytes) in files {
        for record in records_of(&path, &bytes) {
            *ids.entry(record["id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    ids
}

/// The JSON records of a whole file of lines, or of the bodies in an Avro file of messages.
pub fn records_of(path: &str, bytes: &[u8]) -> Vec<Value> {
    let json = |line: &[u8]| serde_json::from_slice(line).unwrap_or_else(|e| panic!("`{path}`: {e}"));
    if path.ends_with(".avro") {
        return avro::bodies(bytes).iter().map(|body| json(body)).collect();
    }
    assert!(bytes.ends_with(b"\n"), "`{path}` ends in half a line");
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(json).collect()
}

/// One compile cache for all tests, with the built-in plugins in it from the start: a process that is killed while it compiles them
/// leaves nothing to the next one, so what a test finds that kills by the clock would depend on how fast the machine is.
pub fn cache() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile-cache");
        let compiled = Command::new(LAKEPORT).args(["plugin", "compile"]).env("LAKEPORT_CACHE_DIR", &folder).output();
        let compiled = compiled.unwrap();
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        folder
    });
    &FOLDER
}

fn collect(folder: &Path, root: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, root, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}

/// A signal of `id`, sent at `minute` minutes after 2019-09-10T11:00Z.
pub fn signal(id: usize, minute: usize) -> String {
    let (hour, minute) = (11 + minute / 60, minute % 60);
    format!(
        r#"{{"name":"BrewStarted","id":"{id}","signalTime":"2019-09-10T{hour}:{minute:02}:00Z","deviceId":"d{}","note":"{}"}}"#,
        id % 17,
        "x".repeat(id % 50)
    )
}

/// `count` signals over three hours, one in ten an hour late.
pub fn signals(count: usize) -> String {
    (0..count)
        .map(|id| {
            let minute = 60 + id * 120 / count;
            signal(id, if id % 10 == 0 { minute - 60 } else { minute }) + "\n"
        })
        .collect()
}

/// Every ID of [`signals`], once.
pub fn every_id(count: usize) -> BTreeMap<String, usize> {
    (0..count).map(|id| (id.to_string(), 1)).collect()
}
