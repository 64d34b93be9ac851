//! Secrets, and the files that they are read from again.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use super::Location;
use super::{AzureCredential, GcsCredential, S3Credential};

/// A secret of a configuration. It is never shown.
#[derive(Debug, Clone)]
pub struct Secret {
    value: SecretString,
    /// The file that holds it, where it may be replaced.
    file: Option<PathBuf>,
}

impl Secret {
    /// Reads the secret in a file.
    ///
    /// # Errors
    /// The system's words, where it cannot be read.
    pub fn in_file(file: PathBuf) -> std::io::Result<Secret> {
        Ok(Secret { value: read(&file)?, file: Some(file) })
    }

    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }

    /// Reads the file again, and returns whether it holds another secret now.
    fn reread(&mut self) -> Result<bool, String> {
        let Some(file) = &self.file else { return Ok(false) };
        let shown = file.display();
        let value = read(file).map_err(|error| format!("cannot read the file `{shown}`: {error}"))?;
        if value.expose_secret().is_empty() {
            return Err(format!("the file `{shown}` is empty"));
        }
        let is_new = value.expose_secret() != self.expose();
        self.value = value;
        Ok(is_new)
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(value: T) -> Secret {
        Secret { value: value.into().into(), file: None }
    }
}

/// The text of a file, without the end of its line.
fn read(file: &Path) -> std::io::Result<SecretString> {
    let text = SecretString::from(std::fs::read_to_string(file)?);
    Ok(text.expose_secret().trim_end_matches(['\r', '\n']).into())
}

impl Location {
    /// Returns whether a secret of the credential is in a file.
    pub fn has_secret_files(&self) -> bool {
        self.clone().secrets().iter().any(|secret| secret.file.is_some())
    }

    /// Reads the files of the credential again, and returns whether one has changed.
    ///
    /// # Errors
    /// Which file cannot be read, and why.
    pub fn reread_secrets(&mut self) -> Result<bool, String> {
        let mut is_new = false;
        for secret in self.secrets() {
            is_new |= secret.reread()?;
        }
        Ok(is_new)
    }

    fn secrets(&mut self) -> Vec<&mut Secret> {
        match self {
            Location::Azure { credential, .. } => match credential {
                AzureCredential::AccountKey(secret)
                | AzureCredential::Sas(secret)
                | AzureCredential::ClientSecret { secret, .. } => vec![secret],
                AzureCredential::ManagedIdentity => vec![],
            },
            Location::S3 { credential, .. } => match credential {
                S3Credential::Keys { id, secret, session_token } => {
                    [id, secret].into_iter().chain(session_token).collect()
                }
                S3Credential::InstanceRole => vec![],
            },
            Location::Gcs { credential, .. } => match credential {
                GcsCredential::ServiceAccountKey(secret) => vec![secret],
                GcsCredential::InstanceAccount | GcsCredential::Anonymous => vec![],
            },
            Location::Local(_) | Location::Memory(_) => vec![],
        }
    }
}
