//! The credential of a Google Cloud instance, from its metadata server.
//!
//! `object_store` has the same, and reads the application default credentials of the user first, where there are some: another
//! identity than the one that `instance-account = true` names.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::GcpCredential;
use object_store::{CredentialProvider, Error, HeaderValue, Result};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::direct::{self, Answer};
use super::http::{Connector, client_options};

/// The metadata server's name, and its address where the name is not known.
/// <https://cloud.google.com/compute/docs/metadata/querying-metadata>
const SERVERS: [&str; 2] = ["metadata.google.internal", "169.254.169.254"];

/// A token is replaced so long before it expires. The server itself makes a new one five minutes before.
const MARGIN: Duration = Duration::from_secs(240);

/// Fetches tokens of the instance's service account, and keeps one while it is valid.
#[derive(Debug)]
pub(super) struct InstanceAccount {
    client: HttpClient,
    servers: Vec<String>,
    token: Mutex<Option<Token>>,
}

#[derive(Debug)]
struct Token {
    credential: Arc<GcpCredential>,
    renew: Instant,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

impl InstanceAccount {
    /// Uses the server that `GCE_METADATA_HOST` names, or the usual one.
    pub(super) fn new() -> Result<InstanceAccount> {
        let servers = match std::env::var("GCE_METADATA_HOST") {
            Ok(server) => vec![server],
            Err(_) => SERVERS.map(str::to_owned).to_vec(),
        };
        // The server is as near as the host of the instance, and speaks HTTP.
        let options = client_options(Some("http://")).with_connect_timeout(Duration::from_secs(1));
        Ok(InstanceAccount { client: Connector.connect(&options)?, servers, token: Mutex::default() })
    }

    async fn fetch(&self) -> Result<Token> {
        let mut failed = failure("no metadata server".into());
        for server in &self.servers {
            match self.fetch_from(server).await {
                Ok(token) => return Ok(token),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn fetch_from(&self, server: &str) -> Result<Token> {
        let url = format!("http://{server}/computeMetadata/v1/instance/service-accounts/default/token");
        let mut request = direct::request("GET", &url, String::new(), &url).map_err(|e| failure(e.into()))?;
        request.headers_mut().insert("metadata-flavor", HeaderValue::from_static("Google"));
        let asked = Instant::now();
        let Answer { status, body } = direct::send(&self.client, request).await.map_err(|e| failure(e.into()))?;
        if status != 200 {
            // The words of `object_store`, where a retry may succeed.
            let refused =
                if status >= 500 || status == 429 { "Server returned non-2xx status code: " } else { "status " };
            return Err(failure(format!("{refused}{status} from the metadata server `{server}`: {body}").into()));
        }
        // The answer holds the token: it is not shown.
        let granted: Granted = serde_json::from_str(&body)
            .map_err(|_| failure(format!("the metadata server `{server}` answers without a token").into()))?;
        let valid = Duration::from_secs(granted.expires_in).saturating_sub(MARGIN);
        Ok(Token { credential: Arc::new(GcpCredential { bearer: granted.access_token }), renew: asked + valid })
    }
}

#[async_trait]
impl CredentialProvider for InstanceAccount {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> Result<Arc<GcpCredential>> {
        let mut token = self.token.lock().await;
        match &*token {
            Some(token) if token.renew > Instant::now() => Ok(token.credential.clone()),
            _ => Ok(token.insert(self.fetch().await?).credential.clone()),
        }
    }
}

fn failure(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: "GCS", source }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// A metadata server whose tokens are numbered and valid for so many seconds.
    async fn server(valid: u64) -> InstanceAccount {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let next = AtomicUsize::new(0);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (reader, mut writer) = stream.split();
                let mut lines = BufReader::new(reader).lines();
                let mut head = String::new();
                while let Ok(Some(line)) = lines.next_line().await
                    && !line.is_empty()
                {
                    head += &(line.to_lowercase() + "\n");
                }
                assert!(head.starts_with("get /computemetadata/v1/instance/service-accounts/default/token "), "{head}");
                assert!(head.contains("\nmetadata-flavor: google\n"), "{head}");
                let number = next.fetch_add(1, Ordering::Relaxed);
                let body = format!(r#"{{"access_token":"token-{number}","expires_in":{valid},"token_type":"Bearer"}}"#);
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                writer.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        InstanceAccount { servers: vec![address], ..InstanceAccount::new().unwrap() }
    }

    #[tokio::test]
    async fn a_token_is_kept_while_it_is_valid() {
        for (valid, second) in [(3_600, "token-0"), (60, "token-1")] {
            let account = server(valid).await;
            assert_eq!(account.get_credential().await.unwrap().bearer, "token-0");
            assert_eq!(account.get_credential().await.unwrap().bearer, second, "valid for {valid} s");
        }
    }
}
