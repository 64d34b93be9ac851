//! The Lambda function at work: its binary, and a Runtime API of one function to invoke it through.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

/// The real binary.
pub const BOOTSTRAP: &str = env!("CARGO_BIN_EXE_lakeport-lambda");
/// How long anything may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of a function, with `lakeport.toml` in it. The lake is in `lake`.
pub struct Deployed(tempfile::TempDir);

impl Deployed {
    /// One with this configuration.
    pub fn new(configuration: &str) -> Deployed {
        let deployed = Deployed(tempfile::tempdir().unwrap());
        deployed.write("lakeport.toml", configuration);
        deployed
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Every file that readers see in the lake, by its path.
    pub fn files(&self) -> BTreeMap<PathBuf, String> {
        let (lake, mut files) = (self.path().join("lake"), BTreeMap::new());
        collect(&lake, &lake, &mut files);
        files
    }

    /// How many records of an export's first partition were refused.
    pub fn letters(&self, export: &str) -> usize {
        let folder = self.path().join("lake/_lakeport").join(export).join("0/dead-letters");
        assert!(folder.is_dir(), "{}", folder.display());
        let mut files = BTreeMap::new();
        collect(&folder, &folder, &mut files);
        files.values().map(|file| file.lines().count()).sum()
    }

    /// How often each `id` is in the lake.
    pub fn ids(&self) -> BTreeMap<String, usize> {
        ids(self.files().values())
    }
}

/// Collects the files below a folder, by their paths below `root`.
fn collect(folder: &Path, root: &Path, files: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            files.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read_to_string(&path).unwrap());
        } else if path.file_name().unwrap() != "_lakeport" {
            collect(&path, root, files);
        }
    }
}

/// How often each `id` is in files of JSON lines.
pub fn ids<'a>(files: impl IntoIterator<Item = &'a String>) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for line in files.into_iter().flat_map(|file| file.lines()) {
        let record: Value = serde_json::from_str(line).unwrap();
        *ids.entry(record["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    ids
}

/// What an invocation was answered with.
#[derive(Debug)]
pub enum Answer {
    Response(Value),
    Error(Value),
    /// The process ended before there was an answer.
    Died,
}

impl Answer {
    /// The response, which is wanted.
    pub fn response(self) -> Value {
        match self {
            Answer::Response(response) => response,
            other => panic!("{other:?}"),
        }
    }

    /// The error's message, which is wanted.
    pub fn error(self) -> String {
        match self {
            Answer::Error(error) => error["errorMessage"].as_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        }
    }
}

/// An instance of a function at work; dropping it kills it.
pub struct Instance {
    child: Child,
    invocations: Sender<(Value, Duration)>,
    answers: Receiver<Answer>,
}

impl Instance {
    pub fn start(deployed: &Deployed) -> Instance {
        Instance::start_with(deployed, &[])
    }

    /// The same with further variables in its environment.
    pub fn start_with(deployed: &Deployed, variables: &[(&str, &str)]) -> Instance {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (invocations, next) = channel();
        let (answered, answers) = channel();
        let next = Arc::new(Mutex::new(next));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (next, answered) = (next.clone(), answered.clone());
                std::thread::spawn(move || serve(stream, &next, &answered));
            }
        });
        let child = command(deployed, address).envs(variables.iter().copied()).spawn().unwrap();
        Instance { child, invocations, answers }
    }

    /// Invokes the function, which has a minute.
    pub fn invoke(&mut self, event: Value) -> Answer {
        self.invoke_within(event, Duration::from_secs(60))
    }

    /// Invokes the function, which has `time`.
    pub fn invoke_within(&mut self, event: Value, time: Duration) -> Answer {
        self.begin(event, time);
        self.answer()
    }

    /// Invokes the function and does not wait.
    pub fn begin(&self, event: Value, time: Duration) {
        self.invocations.send((event, time)).unwrap();
    }

    /// Waits for the answer.
    pub fn answer(&mut self) -> Answer {
        let begun = Instant::now();
        loop {
            if let Ok(answer) = self.answers.recv_timeout(Duration::from_millis(20)) {
                return answer;
            }
            if self.child.try_wait().unwrap().is_some() {
                return Answer::Died;
            }
            assert!(begun.elapsed() < PATIENCE, "no answer after {PATIENCE:?}");
        }
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits for that.
    pub fn stop(mut self) -> ExitStatus {
        // SAFETY: sends a signal to a child of this process; touches no memory.
        let sent = unsafe { libc::kill(i32::try_from(self.child.id()).unwrap(), libc::SIGTERM) };
        assert_eq!(sent, 0);
        self.child.wait().unwrap()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary, as the platform starts it.
pub fn command(deployed: &Deployed, runtime_api: SocketAddr) -> Command {
    let mut command = Command::new(BOOTSTRAP);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
    command.env("LAKEPORT_CACHE_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile-cache"));
    command.env("LAMBDA_TASK_ROOT", deployed.path()).env("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string());
    command.env("AWS_LAMBDA_FUNCTION_NAME", "lakeport").env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
    command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512").env("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/21/[$LATEST]1");
    command
}

/// Answers the requests of one connection.
#[expect(clippy::disallowed_methods, reason = "the real binary reads the real clock")]
fn serve(stream: TcpStream, next: &Mutex<Receiver<(Value, Duration)>>, answered: &Sender<Answer>) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    for request in 1_u64.. {
        let (target, body) = read_request(&mut reader)?;
        if target.ends_with("/runtime/invocation/next") {
            let (event, time) = next.lock().unwrap().recv().ok()?;
            let end = SystemTime::now() + time;
            let (event, deadline) =
                (event.to_string(), end.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis());
            let head = format!(
                "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {request}\r\nLambda-Runtime-Deadline-Ms: {deadline}\r\n\
                 Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:123456789012:function:lakeport\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                event.len()
            );
            writer.write_all(head.as_bytes()).ok()?;
            writer.write_all(event.as_bytes()).ok()?;
            continue;
        }
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
        let answer = if target.ends_with("/response") { Answer::Response(body) } else { Answer::Error(body) };
        writer.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").ok()?;
        answered.send(answer).ok()?;
    }
    None
}

/// The target and the body of the next request; `None` where there is none any more.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    let mut read_line = |reader: &mut BufReader<TcpStream>| {
        line.clear();
        (reader.read_line(&mut line).ok()? > 0).then(|| line.trim_end().to_owned())
    };
    let target = read_line(reader)?.split(' ').nth(1)?.to_owned();
    let (mut length, mut is_chunked) = (0, false);
    loop {
        let header = read_line(reader)?.to_lowercase();
        let Some((name, value)) = header.split_once(':') else { break };
        match name {
            "content-length" => length = value.trim().parse().ok()?,
            "transfer-encoding" => is_chunked = value.contains("chunked"),
            _ => {}
        }
    }
    let mut body = Vec::new();
    loop {
        if is_chunked {
            length = u64::from_str_radix(&read_line(reader)?, 16).ok()?;
        }
        reader.by_ref().take(length).read_to_end(&mut body).ok()?;
        if !is_chunked {
            return Some((target, body));
        }
        read_line(reader)?;
        if length == 0 {
            return Some((target, body));
        }
    }
}
