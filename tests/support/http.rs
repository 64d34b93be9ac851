//! A plain HTTP/1.1 client, and `lakeport serve` at work.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use serde_json::Value;

use super::lake_folder::Installation;
use super::process::{signal, wait_until};

/// The header of a body of lines.
pub const LINES: (&str, &str) = ("Content-Type", "application/x-ndjson");

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// With names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Sends one request on a connection of its own.
pub fn request(
    to: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    // A server that refuses does not wait for the body.
    let _ = stream.write_all(body);
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status line: `{line}`")))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = Vec::new();
    match length {
        Some(length) => {
            body.resize(length, 0);
            reader.read_exact(&mut body)?;
        }
        None => _ = reader.read_to_end(&mut body)?,
    }
    Ok(Response { status, headers, body })
}

/// `lakeport serve` at work; dropping it kills it.
pub struct Serving {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
}

impl Serving {
    /// Starts to serve on a free port, and waits until it listens.
    pub fn start(installation: &Installation) -> Serving {
        Serving::start_with(installation, &[])
    }

    /// The same with further arguments.
    pub fn start_with(installation: &Installation, arguments: &[&str]) -> Serving {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        Serving::start_command(installation.command(&arguments))
    }

    /// The same with a command that serves.
    pub fn start_command(mut command: Command) -> Serving {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (told, address) = mpsc::channel();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("{line}");
                *kept.lock().unwrap() += &format!("{line}\n");
                if let Some((_, address)) = line.split_once("listening on http://") {
                    let end = address.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit());
                    let _ = told.send(address[..end.unwrap_or(address.len())].parse().unwrap());
                }
            }
        });
        match address.recv_timeout(PATIENCE) {
            Ok(address) => Serving { child, address, log },
            Err(_) => {
                let _ = child.kill();
                panic!("it does not serve: {}", log.lock().unwrap())
            }
        }
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends it a signal.
    pub fn signal(&self, number: i32) {
        signal(&self.child, number);
    }

    /// Sends lines to a source.
    pub fn ingest(&self, source: &str, lines: &str) -> Response {
        self.post(&format!("/v1/ingest/{source}"), &[("Content-Type", "application/x-ndjson")], lines.as_bytes())
    }

    /// Sends a body.
    pub fn post(&self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        request(self.address, "POST", target, headers, body).unwrap()
    }

    /// Asks for what there is.
    pub fn get(&self, target: &str) -> Response {
        request(self.address, "GET", target, &[], b"").unwrap()
    }

    /// Asks it to end, and returns what it logged once it has ended with this exit code.
    pub fn log_after_stop(mut self, code: i32) -> String {
        signal(&self.child, libc::SIGTERM);
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(code), "{}", self.log());
        wait_until("the log is read to its end", || Arc::strong_count(&self.log) == 1);
        self.log()
    }

    /// Kills it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits for that.
    pub fn stop(mut self) -> ExitStatus {
        signal(&self.child, libc::SIGTERM);
        self.child.wait().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
