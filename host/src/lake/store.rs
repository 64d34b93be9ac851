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
    pub(super) flavor: Flavor,
    pub(super) base: String,
}

impl Root {
    pub(super) fn local(local: LocalLake) -> Root {
        let base = local.base();
        Root { store: Arc::new(local.store().clone()), local: Some(Arc::new(local)), flavor: Flavor::Local, base }
    }

    pub(super) fn memory(name: &str) -> Root {
        let base = base_url(&Location::Memory(name.to_owned()));
        Root { store: super::memory_store(name), local: None, flavor: Flavor::Memory, base }
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
        Ok(Root { store, local: None, flavor, base: base_url(location) })
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
