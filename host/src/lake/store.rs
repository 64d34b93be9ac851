//! From a location to a store: builders, credentials, retries, and the address that people see.
//!
//! Every builder is given exactly one credential, by name: left to themselves, all of them end up asking the
//! instance-metadata service, which hangs outside of a cloud and is somebody else's identity inside of one.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use object_store::azure::{AzureConfigKey, AzureCredential as StoreCredential, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};

use super::credentials::{FileCredential, Provider, Renewable};
use super::direct::AzureDelete;
use super::http::{self, Connector};
use super::local::LocalLake;
use super::metadata::InstanceAccount;
use crate::plan::{AzureCredential, GcsCredential, Location, S3Credential};
use crate::{Error, Result};

/// What differs between stores that speak the same trait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flavor {
    Local,
    Memory,
    Azure,
    S3,
    Gcs,
}

/// A store that takes objects in parts, each of which can be sent again.
pub trait PartStore: ObjectStore + MultipartStore {}

impl<S: ObjectStore + MultipartStore> PartStore for S {}

/// A store, rooted at the lake's folder.
pub(super) struct Root {
    pub(super) store: Arc<dyn ObjectStore>,
    /// The same one; a folder takes no parts.
    pub(super) parts: Option<Arc<dyn PartStore>>,
    pub(super) local: Option<Arc<LocalLake>>,
    pub(super) azure: Option<Arc<AzureDelete>>,
    pub(super) credential: Option<Arc<dyn Renewable>>,
    pub(super) flavor: Flavor,
    pub(super) base: String,
}

impl Root {
    pub(super) fn local(local: LocalLake) -> Root {
        let base = local.base();
        let store = Arc::new(local.store().clone());
        Root {
            store,
            parts: None,
            local: Some(Arc::new(local)),
            azure: None,
            credential: None,
            flavor: Flavor::Local,
            base,
        }
    }

    pub(super) fn memory_of(store: Arc<dyn PartStore>) -> Root {
        Root::of(store, Flavor::Memory, String::new())
    }

    fn of(store: Arc<dyn PartStore>, flavor: Flavor, base: String) -> Root {
        Root { store: store.clone(), parts: Some(store), local: None, azure: None, credential: None, flavor, base }
    }

    pub(super) fn with_base_of(mut self, location: &Location) -> Root {
        self.base = base_url(location);
        self
    }

    /// Makes the client of a remote location; sends nothing.
    pub(super) fn open(location: &Location) -> Result<Root> {
        let base = base_url(location);
        let (store, flavor, credential): (Arc<dyn PartStore>, _, _) = match location {
            Location::Local(_) => return Err(Error::internal("a local lake was opened as a remote one")),
            Location::Memory(name) => (memory_store(name), Flavor::Memory, None),
            Location::Azure { prefix, .. } => {
                let make = |location: &Location| Ok(azure(location, None)?.credentials().clone());
                let (provider, credential) = renewable(location, make)?;
                let client = azure(location, provider)?;
                let delete = AzureDelete::new(location, client.credentials().clone())?;
                let root = Root::of(below(client, prefix)?, Flavor::Azure, base);
                return Ok(Root { azure: Some(Arc::new(delete)), credential, ..root });
            }
            Location::S3 { prefix, .. } => {
                let (provider, credential) =
                    renewable(location, |location| Ok(s3(location, None)?.credentials().clone()))?;
                (below(s3(location, provider)?, prefix)?, Flavor::S3, credential)
            }
            Location::Gcs { prefix, .. } => {
                let (provider, credential) =
                    renewable(location, |location| Ok(gcs(location, None)?.credentials().clone()))?;
                (below(gcs(location, provider)?, prefix)?, Flavor::Gcs, credential)
            }
        };
        Ok(Root { credential, ..Root::of(store, flavor, base) })
    }
}

/// The provider of a credential that is in files, and the same as what looks for another one. None for others.
type Renewing<C> = (Option<Provider<C>>, Option<Arc<dyn Renewable>>);

fn renewable<C: std::fmt::Debug + Send + Sync + 'static>(
    location: &Location,
    make: fn(&Location) -> Result<Provider<C>>,
) -> Result<Renewing<C>> {
    if !location.has_secret_files() {
        return Ok((None, None));
    }
    let credential = Arc::new(FileCredential::new(location, make)?);
    Ok((Some(credential.clone()), Some(credential)))
}

fn below(store: impl PartStore, prefix: &str) -> Result<Arc<dyn PartStore>> {
    let folder = Path::parse(prefix).map_err(|e| Error::lake(format!("cannot use the folder `{prefix}`: {e}")))?;
    Ok(match folder.is_root() {
        true => Arc::new(store),
        false => Arc::new(PrefixStore::new(store, folder)),
    })
}

/// The lake's address for people, ending in `/`. Query and user information of an endpoint, which may be secret, are left out.
pub(super) fn base_url(location: &Location) -> String {
    let (root, prefix) = match location {
        Location::Local(folder) => (folder.display().to_string(), ""),
        Location::Memory(name) => (format!("memory:{name}"), ""),
        Location::Azure { endpoint: None, account, container, prefix, .. } => {
            (format!("abfss://{container}@{account}.dfs.core.windows.net"), prefix.as_str())
        }
        Location::Azure { endpoint: Some(endpoint), container, prefix, .. } => {
            (format!("{}/{container}", plain(endpoint)), prefix.as_str())
        }
        Location::S3 { endpoint: None, bucket, prefix, .. } => (format!("s3://{bucket}"), prefix.as_str()),
        Location::Gcs { endpoint: None, bucket, prefix, .. } => (format!("gs://{bucket}"), prefix.as_str()),
        Location::S3 { endpoint: Some(endpoint), bucket, prefix, .. }
        | Location::Gcs { endpoint: Some(endpoint), bucket, prefix, .. } => {
            (format!("{}/{bucket}", plain(endpoint)), prefix.as_str())
        }
    };
    let root = root.trim_end_matches('/');
    match prefix.trim_matches('/') {
        "" => format!("{root}/"),
        prefix => format!("{root}/{prefix}/"),
    }
}

fn plain(endpoint: &str) -> String {
    match url::Url::parse(endpoint) {
        Ok(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            // Fails only for URLs without a host, which have no user information either.
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.as_str().trim_end_matches('/').to_owned()
        }
        Err(_) => super::error::scrub(endpoint),
    }
}

/// The clients try once: what is tried again, and for how long, is decided in `retry.rs`.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn not_that(store: &str) -> Error {
    Error::internal(format!("the location of another store was opened as {store}"))
}

/// The client of an Azure location, at the container's root.
pub(super) fn azure(location: &Location, provider: Option<Provider<StoreCredential>>) -> Result<MicrosoftAzure> {
    let Location::Azure { account, container, endpoint, credential, .. } = location else {
        return Err(not_that("Azure"));
    };
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(container)
        .with_client_options(http::client_options(endpoint.as_deref()))
        .with_http_connector(Connector)
        .with_retry(no_retries());
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    builder = match (provider, credential) {
        (Some(provider), _) => builder.with_credentials(provider),
        (None, AzureCredential::AccountKey(key)) => {
            check_account_key(key.expose(), &base_url(location))?;
            builder.with_access_key(key.expose()).with_credential_type("access_key")
        }
        (None, AzureCredential::Sas(sas)) => {
            builder.with_config(AzureConfigKey::SasKey, sas.expose()).with_credential_type("sas_token")
        }
        (None, AzureCredential::ClientSecret { tenant, client, secret }) => builder
            .with_client_secret_authorization(client, secret.expose(), tenant)
            .with_credential_type("client_secret"),
        (None, AzureCredential::ManagedIdentity) => managed_identity(builder),
    };
    builder.build().map_err(|e| super::error::explain("open", &base_url(location), &e))
}

/// Refuses a key that cannot be one, without repeating it.
fn check_account_key(key: &str, url: &str) -> Result<()> {
    match BASE64_STANDARD.decode(key) {
        Ok(_) => Ok(()),
        Err(_) => {
            let message = format!("the account key of `{url}` is malformed: expected base64");
            Err(Error::lake(message).with_help("copy the whole key from the storage account, without quotes or spaces"))
        }
    }
}

/// A pod's workload identity where the platform gives one, else the machine's, found as the platform announces it.
fn managed_identity(mut builder: MicrosoftAzureBuilder) -> MicrosoftAzureBuilder {
    let announced = [
        ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
        ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
        ("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile),
        ("IDENTITY_ENDPOINT", AzureConfigKey::MsiEndpoint),
    ];
    let mut federated = false;
    for (name, key) in announced {
        if let Ok(value) = std::env::var(name) {
            federated |= key == AzureConfigKey::FederatedTokenFile;
            builder = builder.with_config(key, value);
        }
    }
    builder.with_credential_type(if federated { "workload_identity" } else { "managed_identity" })
}

/// The client of an S3 location, at the bucket's root.
pub(super) fn s3(location: &Location, provider: Option<Provider<AwsCredential>>) -> Result<AmazonS3> {
    let Location::S3 { bucket, region, endpoint, credential, .. } = location else {
        return Err(not_that("S3"));
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_client_options(http::client_options(endpoint.as_deref()))
        .with_http_connector(Connector)
        .with_retry(no_retries());
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    builder = match (provider, credential) {
        (Some(provider), _) => builder.with_credentials(provider),
        (None, S3Credential::Keys { id, secret, session_token }) => {
            let builder = builder.with_access_key_id(id.expose()).with_secret_access_key(secret.expose());
            match session_token {
                Some(token) => builder.with_token(token.expose()),
                None => builder,
            }
        }
        (None, S3Credential::InstanceRole) => instance_role(builder),
    };
    builder.build().map_err(|e| super::error::explain("open", &base_url(location), &e))
}

/// The role of a pod or a task where the platform announces one, else the instance's.
fn instance_role(mut builder: AmazonS3Builder) -> AmazonS3Builder {
    let announced = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
        ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
        ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
    ];
    for (name, key) in announced {
        if let Ok(value) = std::env::var(name) {
            builder = builder.with_config(key, value);
        }
    }
    builder
}

/// The client of a Google Cloud Storage location, at the bucket's root.
pub(super) fn gcs(location: &Location, provider: Option<Provider<GcpCredential>>) -> Result<GoogleCloudStorage> {
    let Location::Gcs { bucket, endpoint, credential, .. } = location else {
        return Err(not_that("Google Cloud Storage"));
    };
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket)
        .with_client_options(http::client_options(endpoint.as_deref()))
        .with_http_connector(Connector)
        .with_retry(no_retries());
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    builder = match (provider, credential) {
        // The key may name the service's address too.
        (Some(provider), GcsCredential::ServiceAccountKey(key)) => {
            builder.with_service_account_key(key.expose()).with_credentials(provider)
        }
        (Some(provider), _) => builder.with_credentials(provider),
        (None, GcsCredential::ServiceAccountKey(key)) => builder.with_service_account_key(key.expose()),
        (None, GcsCredential::InstanceAccount) => {
            let account = InstanceAccount::new().map_err(|e| super::error::explain("open", &base_url(location), &e))?;
            builder.with_credentials(Arc::new(account))
        }
        // Without a credential of its own the builder would go and look for one although it signs nothing.
        (None, GcsCredential::Anonymous) => builder.with_bearer_token("anonymous").with_skip_signature(true),
    };
    builder.build().map_err(|e| super::error::explain("open", &base_url(location), &e))
}

/// The in-memory lakes of this process, by name: two opens of one name share it.
fn memory_store(name: &str) -> Arc<InMemory> {
    static STORES: LazyLock<Mutex<HashMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);
    let mut stores = STORES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    stores.entry(name.to_owned()).or_default().clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gcs_location(endpoint: Option<&str>, credential: GcsCredential) -> Location {
        Location::Gcs {
            bucket: "exports".into(),
            prefix: "/product/".into(),
            endpoint: endpoint.map(str::to_owned),
            credential,
        }
    }

    fn azure_location(endpoint: Option<&str>, credential: AzureCredential) -> Location {
        Location::Azure {
            account: "contoso".into(),
            container: "exports".into(),
            prefix: "product/hourly".into(),
            endpoint: endpoint.map(str::to_owned),
            credential,
        }
    }

    fn s3_location(endpoint: Option<&str>, credential: S3Credential) -> Location {
        Location::S3 {
            bucket: "exports".into(),
            prefix: String::new(),
            region: "eu-central-1".into(),
            endpoint: endpoint.map(str::to_owned),
            credential,
        }
    }

    #[test]
    fn addresses_for_people_hold_no_secret() {
        let shown = |location: Location| base_url(&location);
        let sas = || AzureCredential::Sas("?sig=SECRET".into());
        assert_eq!(shown(azure_location(None, sas())), "abfss://exports@contoso.dfs.core.windows.net/product/hourly/");
        assert_eq!(
            shown(azure_location(Some("https://me:SECRET@blob.example/x/?sig=SECRET"), sas())),
            "https://blob.example/x/exports/product/hourly/"
        );
        assert_eq!(shown(gcs_location(None, GcsCredential::Anonymous)), "gs://exports/product/");
        assert_eq!(shown(s3_location(None, S3Credential::InstanceRole)), "s3://exports/");
        assert_eq!(
            shown(s3_location(Some("http://s3.local:9000/"), S3Credential::InstanceRole)),
            "http://s3.local:9000/exports/"
        );
    }

    #[tokio::test]
    async fn every_credential_makes_a_client_of_its_kind() {
        use object_store::azure::AzureCredential as Resolved;
        let key = azure_location(None, AzureCredential::AccountKey("U0VDUkVU".into()));
        let resolved = azure(&key, None).unwrap().credentials().get_credential().await.unwrap();
        assert!(matches!(*resolved, Resolved::AccessKey(_)));
        for token in ["?sv=1&sig=a%3D", "sv=1&sig=a%3D"] {
            let sas = azure_location(None, AzureCredential::Sas(token.into()));
            let resolved = azure(&sas, None).unwrap().credentials().get_credential().await.unwrap();
            let pairs = [("sv", "1"), ("sig", "a=")].map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(*resolved, Resolved::SASToken(pairs.to_vec()));
        }
        let client = AzureCredential::ClientSecret { tenant: "t".into(), client: "c".into(), secret: "SECRET".into() };
        azure(&azure_location(None, client), None).unwrap();
        azure(&azure_location(None, AzureCredential::ManagedIdentity), None).unwrap();

        let keys = S3Credential::Keys { id: "id".into(), secret: "SECRET".into(), session_token: Some("token".into()) };
        let resolved = s3(&s3_location(None, keys), None).unwrap().credentials().get_credential().await.unwrap();
        assert_eq!((resolved.key_id.as_str(), resolved.token.as_deref()), ("id", Some("token")));
        s3(&s3_location(None, S3Credential::InstanceRole), None).unwrap();
    }

    #[tokio::test]
    async fn google_clients_take_a_key_or_none_and_name_what_is_wrong() {
        gcs(&gcs_location(None, GcsCredential::Anonymous), None).unwrap();
        // What emulators take for a key: it asks nobody for a token.
        let emulator = r#"{"private_key":"","private_key_id":"","client_email":"","disable_oauth":true}"#;
        let client =
            gcs(&gcs_location(Some("http://127.0.0.1:1"), GcsCredential::ServiceAccountKey(emulator.into())), None);
        assert_eq!(client.unwrap().credentials().get_credential().await.unwrap().bearer, "");
        let broken = gcs_location(None, GcsCredential::ServiceAccountKey(r#"{"private_key":"SECRET"}"#.into()));
        let refused = gcs(&broken, None).unwrap_err().to_string();
        assert!(refused.starts_with("cannot open `gs://exports/product/`: "), "{refused}");
        assert!(!refused.contains("SECRET"), "{refused}");
    }

    #[test]
    fn an_account_key_that_is_none_is_refused_without_repeating_it() {
        let refused = azure(&azure_location(None, AzureCredential::AccountKey("not base64!".into())), None);
        let refused = refused.unwrap_err().to_string();
        let url = "abfss://exports@contoso.dfs.core.windows.net/product/hourly/";
        assert!(refused.starts_with(&format!("the account key of `{url}` is malformed: expected base64")), "{refused}");
        assert!(!refused.contains("not base64!"), "{refused}");
    }
}
