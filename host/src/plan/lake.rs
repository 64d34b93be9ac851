//! Lakes: where they are, and who asks.

use std::path::PathBuf;
use std::time::Duration;

use super::Secret;

/// A place in an object store.
#[derive(Debug, Clone)]
pub struct LakePlan {
    pub name: String,
    pub location: Location,
    /// The folder of the commit log, below the lake's root: `_lakeport`.
    pub log_folder: String,
    /// How long a request that fails for a reason that may pass is made again.
    pub retry_for: Duration,
}

/// A lake's URL, taken apart, with its credential.
#[derive(Debug, Clone)]
pub enum Location {
    /// A folder, absolute.
    Local(PathBuf),
    /// In this process only, for tests: the name tells lakes apart.
    Memory(String),
    /// Azure Data Lake Storage Gen2 or Blob, through the Blob API. The container is the file system.
    Azure {
        account: String,
        container: String,
        prefix: String,
        endpoint: Option<String>,
        credential: AzureCredential,
    },
    S3 {
        bucket: String,
        prefix: String,
        region: String,
        endpoint: Option<String>,
        credential: S3Credential,
    },
    Gcs {
        bucket: String,
        prefix: String,
        endpoint: Option<String>,
        credential: GcsCredential,
    },
}

impl Location {
    /// Whether one of the two places is within the other.
    pub fn overlaps(&self, other: &Location) -> bool {
        let (Some(one), Some(two)) = (self.place(), other.place()) else { return false };
        one.starts_with(&two) || two.starts_with(&one)
    }

    /// The folders that lead to it, as a path; `None` where others cannot be in it.
    fn place(&self) -> Option<PathBuf> {
        Some(match self {
            Location::Local(folder) => folder.clone(),
            Location::Memory(_) => return None,
            Location::Azure { account, container, prefix, .. } => [&**account, container, prefix].iter().collect(),
            Location::S3 { bucket, prefix, .. } => ["s3", bucket, prefix].iter().collect(),
            Location::Gcs { bucket, prefix, .. } => ["gs", bucket, prefix].iter().collect(),
        })
    }

    /// The key, below this place, of the object `name` in a container or bucket; `None` where it is not in this place. A local
    /// folder is the container of its own name.
    pub fn key_of(&self, container: &str, name: &str) -> Option<String> {
        let (own, prefix) = match self {
            Location::Local(folder) => (folder.file_name()?.to_str()?, ""),
            Location::Memory(name) => (name.as_str(), ""),
            Location::Azure { container, prefix, .. } => (container.as_str(), prefix.as_str()),
            Location::S3 { bucket, prefix, .. } | Location::Gcs { bucket, prefix, .. } => {
                (bucket.as_str(), prefix.as_str())
            }
        };
        let below = match prefix {
            "" => name,
            prefix => name.strip_prefix(prefix)?.strip_prefix('/')?,
        };
        (own == container && !below.is_empty()).then(|| below.to_owned())
    }
}

/// How Azure is told who asks. Never the instance-metadata service unless [`AzureCredential::ManagedIdentity`] says so.
#[derive(Debug, Clone)]
pub enum AzureCredential {
    AccountKey(Secret),
    /// A shared access signature, with or without the leading `?`.
    Sas(Secret),
    ClientSecret {
        tenant: String,
        client: String,
        secret: Secret,
    },
    ManagedIdentity,
}

/// How S3 is told who asks.
#[derive(Debug, Clone)]
pub enum S3Credential {
    Keys {
        id: Secret,
        secret: Secret,
        session_token: Option<Secret>,
    },
    /// The instance's or the pod's own role, by opting in.
    InstanceRole,
}

/// How Google Cloud Storage is told who asks.
#[derive(Debug, Clone)]
pub enum GcsCredential {
    /// A service account's key, the JSON text.
    ServiceAccountKey(Secret),
    /// The instance's own service account, by opting in.
    InstanceAccount,
    /// No signature: emulators and public buckets.
    Anonymous,
}
