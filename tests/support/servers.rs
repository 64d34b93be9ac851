//! Azurite and moto on loopback, each for one test: started on a free port, ended when dropped.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(60);

/// Azurite's well-known account, in its documentation.
pub const AZURITE_ACCOUNT: &str = "devstoreaccount1";
pub const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A server process. Dropping it ends it.
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Azure Blob Storage.
    pub fn azurite() -> Server {
        let program = tool("Azurite", "node/node_modules/.bin/azurite-blob");
        Server::start(&program, |port| {
            let port = port.to_string();
            let fixed = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck", "--silent"];
            ["--blobHost", "127.0.0.1", "--blobPort", &port].into_iter().chain(fixed).map(str::to_owned).collect()
        })
    }

    /// S3.
    pub fn moto() -> Server {
        let program = tool("moto", "py/bin/moto_server");
        Server::start(&program, |port| ["-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned).to_vec())
    }

    /// `http://127.0.0.1:{port}`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn start(program: &Path, arguments: impl Fn(u16) -> Vec<String>) -> Server {
        let port = free_port();
        let child = Command::new(program)
            .args(arguments(port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start `{}`: {e}", program.display()));
        let mut server = Server { child, port };
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = server.child.try_wait().expect("a child can be waited for") {
                panic!("`{}` ended with {status} before it listened on port {port}", program.display());
            }
            assert!(begun.elapsed() < START, "`{}` does not listen on port {port}", program.display());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only where it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An account SAS of Azurite over containers and blobs, valid until `expiry`.
/// <https://learn.microsoft.com/en-us/rest/api/storageservices/create-account-sas>
pub fn account_sas(permissions: &str, expiry: &str) -> String {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use hmac::{Hmac, KeyInit, Mac};
    let version = "2019-12-12";
    let text = format!("{AZURITE_ACCOUNT}\n{permissions}\nb\nsco\n\n{expiry}\n\n\n{version}\n");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&BASE64_STANDARD.decode(AZURITE_KEY).unwrap()).unwrap();
    mac.update(text.as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let mut query = url::form_urlencoded::Serializer::new(String::from("?"));
    query.extend_pairs([("sv", version), ("ss", "b"), ("srt", "sco"), ("sp", permissions), ("se", expiry)]);
    query.append_pair("sig", &signature).finish()
}

/// A port of the loopback interface on which nothing listens.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").port()
}

fn tool(name: &str, path: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools").join(path);
    assert!(program.exists(), "{name} is not installed; run `./dev setup`");
    program
}
