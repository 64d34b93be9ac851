//! Requests that are made past `object_store`, which has no call for them, with its own signers and HTTP client.

use object_store::HeaderValue;
use object_store::azure::{AzureAuthorizer, AzureCredential};
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpRequest, HttpRequestBody};
use object_store::path::Path;
use url::Url;

use super::credentials::Provider;
use super::error::{explain, scrub};
use super::http::{Connector, client_options};
use super::store;
use crate::plan::Location;
use crate::{Error, Result};

/// What a store answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

/// An HTTP client for a location's endpoint.
pub(super) fn connect(endpoint: Option<&str>, url: &str) -> Result<HttpClient> {
    Connector.connect(&client_options(endpoint)).map_err(|e| explain("open", url, &e))
}

/// A request that is not signed yet. `url` is what people are told where `address` is none.
pub(super) fn request(method: &str, address: &str, body: String, url: &str) -> Result<HttpRequest> {
    let invalid = |e: &dyn std::fmt::Display| Error::lake(format!("cannot address `{url}`: {}", scrub(&e.to_string())));
    let length = HeaderValue::from(body.len());
    let mut request = HttpRequest::new(match body.is_empty() {
        true => HttpRequestBody::empty(),
        false => HttpRequestBody::from(body),
    });
    *request.method_mut() = method.parse().map_err(|e| invalid(&e))?;
    *request.uri_mut() = address.parse().map_err(|e| invalid(&e))?;
    request.headers_mut().insert("content-length", length);
    Ok(request)
}

/// Sends a signed request, once.
pub(super) async fn send(client: &HttpClient, request: HttpRequest) -> Result<Answer, HttpError> {
    let response = client.execute(request).await?;
    let status = response.status().as_u16();
    let body = response.into_body().bytes().await?;
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// The Blob service's own address of a container.
pub(super) fn azure_container(account: &str, container: &str, endpoint: Option<&str>) -> String {
    match endpoint {
        Some(endpoint) => format!("{}/{container}", endpoint.trim_end_matches('/')),
        None => format!("https://{account}.blob.core.windows.net/{container}"),
    }
}

/// Deletes single blobs. `object_store` deletes in batches only, which want more rights of a shared access signature than a
/// delete does, and which Azurite does not take with one at all.
#[derive(Debug)]
pub(super) struct AzureDelete {
    client: HttpClient,
    credential: Provider<AzureCredential>,
    account: String,
    /// The address of the lake's root.
    root: Url,
}

impl AzureDelete {
    /// Deletes in `location`, with this credential.
    pub(super) fn new(location: &Location, credential: Provider<AzureCredential>) -> Result<AzureDelete> {
        let Location::Azure { account, container, prefix, endpoint, .. } = location else {
            return Err(Error::internal("the location of another store was opened as Azure"));
        };
        let url = store::base_url(location);
        let address = azure_container(account, container, endpoint.as_deref());
        let root = Url::parse(&address).map_err(|e| Error::lake(format!("cannot address `{url}`: {e}")))?;
        Ok(AzureDelete {
            client: connect(endpoint.as_deref(), &url)?,
            credential,
            account: account.clone(),
            root: extended(root, prefix.split('/')),
        })
    }

    /// Deletes one blob; that it is absent is fine.
    /// <https://learn.microsoft.com/en-us/rest/api/storageservices/delete-blob>
    pub(super) async fn delete(&self, key: &Path) -> object_store::Result<()> {
        let failed = |source| object_store::Error::Generic { store: "MicrosoftAzure", source };
        let address = extended(self.root.clone(), key.as_ref().split('/'));
        let credential = self.credential.get_credential().await?;
        let mut request =
            request("DELETE", address.as_str(), String::new(), key.as_ref()).map_err(|e| failed(e.into()))?;
        AzureAuthorizer::new(&credential, &self.account).try_authorize(&mut request)?;
        match send(&self.client, request).await.map_err(|e| failed(e.into()))? {
            Answer { status: 202 | 404, .. } => Ok(()),
            // What `object_store` says of a refusal, so that people are helped alike.
            Answer { status, body } => {
                let said = format!("Server returned non-2xx status code: {}: {body}", named(status));
                Err(failed(said.into()))
            }
        }
    }
}

fn named(status: u16) -> String {
    match status {
        401 => "401 Unauthorized".to_owned(),
        403 => "403 Forbidden".to_owned(),
        status => status.to_string(),
    }
}

/// `url` with more segments; their percent signs are characters of the key and encoded again.
fn extended<'a>(mut url: Url, segments: impl Iterator<Item = &'a str>) -> Url {
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments.filter(|segment| !segment.is_empty()));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_percent_signs_in_addresses() {
        let root = Url::parse("http://127.0.0.1:1/account/container").unwrap();
        let url = extended(root, "product/a%2Fb c".split('/'));
        assert_eq!(url.as_str(), "http://127.0.0.1:1/account/container/product/a%252Fb%20c");
    }
}
