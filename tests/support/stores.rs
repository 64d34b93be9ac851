//! Azurite and moto as lakes: what a configuration says of them, and what a client that knows nothing of Lakeport finds there.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::servers::{AZURITE_ACCOUNT, AZURITE_KEY, Server};

/// S3's secret: moto takes any.
const S3_SECRET: &str = "moto-takes-any-secret-access-key";
/// The lake's folder in its container or bucket.
const FOLDER: &str = "product/";

/// A store that listens on loopback.
pub enum Store {
    Azure(Server),
    S3(Server),
}

impl Store {
    /// Starts Azurite.
    pub fn azure() -> Store {
        Store::Azure(Server::azurite())
    }

    /// Starts moto.
    pub fn s3() -> Store {
        Store::S3(Server::moto())
    }

    /// Its own address.
    pub fn url(&self) -> String {
        match self {
            Store::Azure(server) | Store::S3(server) => server.url(),
        }
    }

    /// What a configuration expects in `LAKE_KEY`.
    pub fn secret(&self) -> &'static str {
        match self {
            Store::Azure(_) => AZURITE_KEY,
            Store::S3(_) => S3_SECRET,
        }
    }

    /// The lines of a lake in a container or bucket that is asked for at `address`.
    pub fn lake(&self, address: &str, bucket: &str) -> String {
        match self {
            Store::Azure(_) => format!(
                "url = \"https://{AZURITE_ACCOUNT}.dfs.core.windows.net/{bucket}/{FOLDER}\"\n\
                 endpoint = \"{address}/{AZURITE_ACCOUNT}\"\naccount-key = \"env:LAKE_KEY\""
            ),
            Store::S3(_) => format!(
                "url = \"s3://{bucket}/{FOLDER}\"\nendpoint = \"{address}\"\nregion = \"eu-central-1\"\n\
                 access-key-id = \"test\"\nsecret-access-key = \"env:LAKE_KEY\""
            ),
        }
    }

    /// Every object of a container or bucket; none where there is no such yet.
    pub async fn objects(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        let store = self.client(bucket);
        let listed: Vec<_> = match store.list(None).try_collect().await {
            Err(e) if e.to_string().contains("404 Not Found") => Vec::new(),
            listed => listed.unwrap(),
        };
        let mut objects = BTreeMap::new();
        for meta in listed {
            match store.get(&meta.location).await {
                // It went between the two requests.
                Err(object_store::Error::NotFound { .. }) => {}
                found => {
                    let bytes = found.unwrap().bytes().await.unwrap();
                    objects.insert(meta.location.to_string(), bytes.to_vec());
                }
            }
        }
        objects
    }

    /// Puts other bytes into the place of an object of a lake, or deletes it.
    pub async fn replace(&self, bucket: &str, key: &str, bytes: Option<Vec<u8>>) {
        let (store, key) = (self.client(bucket), Path::from(format!("{FOLDER}{key}")));
        match bytes {
            Some(bytes) => drop(store.put(&key, bytes.into()).await.unwrap()),
            None => store.delete(&key).await.unwrap(),
        }
    }

    fn client(&self, bucket: &str) -> Arc<dyn ObjectStore> {
        match self {
            Store::Azure(server) => {
                let builder = MicrosoftAzureBuilder::new()
                    .with_account(AZURITE_ACCOUNT)
                    .with_access_key(AZURITE_KEY)
                    .with_endpoint(format!("{}/{AZURITE_ACCOUNT}", server.url()));
                Arc::new(builder.with_allow_http(true).with_container_name(bucket).build().unwrap())
            }
            Store::S3(server) => {
                let builder = AmazonS3Builder::new()
                    .with_endpoint(server.url())
                    .with_region("eu-central-1")
                    .with_access_key_id("test")
                    .with_secret_access_key(S3_SECRET);
                Arc::new(builder.with_allow_http(true).with_bucket_name(bucket).build().unwrap())
            }
        }
    }
}

/// What readers see of a lake: its objects by their paths in it, but for what is Lakeport's own.
pub fn visible(objects: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    let mut below = below_lake(objects.clone());
    below.retain(|key, _| !key.starts_with('_'));
    below
}

/// The objects of a lake by their paths in it.
pub fn below_lake(objects: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    objects.into_iter().filter_map(|(key, bytes)| Some((key.strip_prefix(FOLDER)?.to_owned(), bytes))).collect()
}
