//! From a location to a store: builders, credentials, retries, and the address that people see.
//!
//! Every builder is given exactly one credential, by name: left to themselves, all of them end up asking the
//! instance-metadata service, which hangs outside of a cloud and is somebody else's identity inside of one.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use secrecy::ExposeSecret;

use super::direct::AzureDelete;
use super::local::LocalLake;
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

/// How long a store is asked again before a failure is a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// While opening, with a person waiting.
    Short,
    /// While running: outages of minutes pass by themselves.
    Long,
}

/// A store, rooted at the lake's folder.
pub(super) struct Root {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) local: Option<Arc<LocalLake>>,
    pub(super) azure: Option<Arc<AzureDelete>>,
    pub(super) flavor: Flavor,
    pub(super) base: String,
}

impl Root {
    pub(super) fn local(local: LocalLake) -> Root {
        let base = local.base();
        let store = Arc::new(local.store().clone());
        Root { store, local: Some(Arc::new(local)), azure: None, flavor: Flavor::Local, base }
    }

    pub(super) fn memory(name: &str) -> Root {
        let base = base_url(&Location::Memory(name.to_owned()));
        Root { store: super::memory_store(name), local: None, azure: None, flavor: Flavor::Memory, base }
    }

    pub(super) fn with_base_of(mut self, location: &Location) -> Root {
        self.base = base_url(location);
        self
    }

    /// Makes the client of a remote location; sends nothing.
    pub(super) fn open(location: &Location, patience: Patience) -> Result<Root> {
        let (store, flavor): (Arc<dyn ObjectStore>, _) = match location {
            Location::Local(_) => return Err(Error::internal("a local lake was opened as a remote one")),
            Location::Memory(name) => return Ok(Root::memory(name)),
            Location::Azure { prefix, .. } => (below(azure(location, patience)?, prefix)?, Flavor::Azure),
            Location::S3 { prefix, .. } => (below(s3(location, patience)?, prefix)?, Flavor::S3),
            Location::Gcs { prefix, .. } => (below(gcs(location, patience)?, prefix)?, Flavor::Gcs),
        };
        let azure = AzureDelete::of(location, patience)?.map(Arc::new);
        Ok(Root { store, local: None, azure, flavor, base: base_url(location) })
    }
}

fn below(store: impl ObjectStore, prefix: &str) -> Result<Arc<dyn ObjectStore>> {
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

/// What every HTTP client of a lake is made with.
pub(super) fn client_options(endpoint: Option<&str>) -> ClientOptions {
    ClientOptions::new()
        // A part of 8 MiB has to pass within it, over a slow line.
        .with_timeout(Duration::from_secs(60))
        .with_connect_timeout(Duration::from_secs(5))
        // Emulators and stores on the own network; the scheme is the user's word.
        .with_allow_http(endpoint.is_some_and(|e| e.starts_with("http://")))
}

fn retries(patience: Patience) -> RetryConfig {
    match patience {
        Patience::Short => RetryConfig {
            backoff: BackoffConfig { max_backoff: Duration::from_secs(1), ..Default::default() },
            max_retries: 3,
            retry_timeout: Duration::from_secs(20),
        },
        Patience::Long => {
            RetryConfig { max_retries: 10, retry_timeout: Duration::from_secs(180), ..Default::default() }
        }
    }
}

fn not_that(store: &str) -> Error {
    Error::internal(format!("the location of another store was opened as {store}"))
}

/// The client of an Azure location, at the container's root.
pub(super) fn azure(location: &Location, patience: Patience) -> Result<MicrosoftAzure> {
    let Location::Azure { account, container, endpoint, credential, .. } = location else {
        return Err(not_that("Azure"));
    };
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(container)
        .with_client_options(client_options(endpoint.as_deref()))
        .with_retry(retries(patience));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    builder = match credential {
        AzureCredential::AccountKey(key) => {
            builder.with_access_key(key.expose_secret()).with_credential_type("access_key")
        }
        AzureCredential::Sas(sas) => {
            builder.with_config(AzureConfigKey::SasKey, sas.expose_secret()).with_credential_type("sas_token")
        }
        AzureCredential::ClientSecret { tenant, client, secret } => builder
            .with_client_secret_authorization(client, secret.expose_secret(), tenant)
            .with_credential_type("client_secret"),
        AzureCredential::ManagedIdentity => managed_identity(builder),
    };
    builder.build().map_err(|e| super::error::explain("open", &base_url(location), &e))
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
pub(super) fn s3(location: &Location, patience: Patience) -> Result<AmazonS3> {
    let Location::S3 { bucket, region, endpoint, credential, .. } = location else {
        return Err(not_that("S3"));
    };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_client_options(client_options(endpoint.as_deref()))
        .with_retry(retries(patience));
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    builder = match credential {
        S3Credential::Keys { id, secret, session_token } => {
            let builder = builder.with_access_key_id(id).with_secret_access_key(secret.expose_secret());
            match session_token {
                Some(token) => builder.with_token(token.expose_secret()),
                None => builder,
            }
        }
        S3Credential::InstanceRole => instance_role(builder),
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
pub(super) fn gcs(location: &Location, patience: Patience) -> Result<GoogleCloudStorage> {
    let Location::Gcs { bucket, endpoint, credential, .. } = location else {
        return Err(not_that("Google Cloud Storage"));
    };
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket)
        .with_client_options(client_options(endpoint.as_deref()))
        .with_retry(retries(patience));
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    builder = match credential {
        GcsCredential::ServiceAccountKey(key) => builder.with_service_account_key(key.expose_secret()),
        // The builder's own search ends there; nothing else is configured that it could find first.
        GcsCredential::InstanceAccount => builder,
        // Without a credential of its own the builder would go and look for one although it signs nothing.
        GcsCredential::Anonymous => builder.with_bearer_token("anonymous").with_skip_signature(true),
    };
    builder.build().map_err(|e| super::error::explain("open", &base_url(location), &e))
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
        let resolved = azure(&key, Patience::Short).unwrap().credentials().get_credential().await.unwrap();
        assert!(matches!(*resolved, Resolved::AccessKey(_)));
        for token in ["?sv=1&sig=a%3D", "sv=1&sig=a%3D"] {
            let sas = azure_location(None, AzureCredential::Sas(token.into()));
            let resolved = azure(&sas, Patience::Short).unwrap().credentials().get_credential().await.unwrap();
            let pairs = [("sv", "1"), ("sig", "a=")].map(|(name, value)| (name.to_owned(), value.to_owned()));
            assert_eq!(*resolved, Resolved::SASToken(pairs.to_vec()));
        }
        let client = AzureCredential::ClientSecret { tenant: "t".into(), client: "c".into(), secret: "SECRET".into() };
        azure(&azure_location(None, client), Patience::Short).unwrap();
        azure(&azure_location(None, AzureCredential::ManagedIdentity), Patience::Short).unwrap();

        let keys = S3Credential::Keys { id: "id".into(), secret: "SECRET".into(), session_token: Some("token".into()) };
        let resolved =
            s3(&s3_location(None, keys), Patience::Short).unwrap().credentials().get_credential().await.unwrap();
        assert_eq!((resolved.key_id.as_str(), resolved.token.as_deref()), ("id", Some("token")));
        s3(&s3_location(None, S3Credential::InstanceRole), Patience::Short).unwrap();
    }

    #[tokio::test]
    async fn google_clients_take_a_key_or_none_and_name_what_is_wrong() {
        gcs(&gcs_location(None, GcsCredential::Anonymous), Patience::Short).unwrap();
        // What emulators take for a key: it asks nobody for a token.
        let emulator = r#"{"private_key":"","private_key_id":"","client_email":"","disable_oauth":true}"#;
        let client = gcs(
            &gcs_location(Some("http://127.0.0.1:1"), GcsCredential::ServiceAccountKey(emulator.into())),
            Patience::Short,
        );
        assert_eq!(client.unwrap().credentials().get_credential().await.unwrap().bearer, "");
        let broken = gcs_location(None, GcsCredential::ServiceAccountKey(r#"{"private_key":"SECRET"}"#.into()));
        let refused = gcs(&broken, Patience::Short).unwrap_err().to_string();
        assert!(refused.starts_with("cannot open `gs://exports/product/`: "), "{refused}");
        assert!(!refused.contains("SECRET"), "{refused}");
    }

    #[test]
    fn an_account_key_that_is_none_is_refused_without_repeating_it() {
        let refused = azure(&azure_location(None, AzureCredential::AccountKey("not base64!".into())), Patience::Short);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.starts_with("cannot open `abfss://exports@contoso.dfs.core.windows.net/product/hourly/`: "));
        assert!(!refused.contains("not base64!"), "{refused}");
    }
}
