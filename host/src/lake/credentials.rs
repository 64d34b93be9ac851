//! Credentials in files: read again every few seconds, and at once when the store refuses one.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::CredentialProvider;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::Result;
use crate::plan::Location;

/// How long a credential is used before its files are read again.
const MAX_AGE: Duration = Duration::from_secs(10);

/// What signs requests.
pub(super) type Provider<C> = Arc<dyn CredentialProvider<Credential = C>>;

/// A credential that may be replaced while it is used.
#[async_trait]
pub(super) trait Renewable: fmt::Debug + Send + Sync {
    /// Returns the number of the credential in use.
    fn number(&self) -> u64;

    /// Returns whether there is another credential than number `used`, which was refused. Looks for one.
    async fn is_renewed(&self, used: u64) -> bool;
}

/// A credential that is in files.
pub(super) struct FileCredential<C> {
    /// Makes the provider of a location's credential.
    make: fn(&Location) -> Result<Provider<C>>,
    number: AtomicU64,
    state: Mutex<State<C>>,
}

struct State<C> {
    location: Location,
    provider: Provider<C>,
    read: Instant,
    /// Why a file could not be used, where it was said.
    said: Option<String>,
}

impl<C> FileCredential<C> {
    /// Keeps the credential of `location` up to date.
    pub(super) fn new(location: &Location, make: fn(&Location) -> Result<Provider<C>>) -> Result<Self> {
        let mut location = location.clone();
        // What cannot be read now is what the configuration was read with.
        let said = location.reread_secrets().err();
        let state = State { provider: make(&location)?, location, read: Instant::now(), said };
        Ok(FileCredential { make, number: AtomicU64::new(0), state: Mutex::new(state) })
    }

    /// Reads the files. One that is missing or malformed leaves the credential in use as it is.
    async fn reread(&self, state: &mut State<C>) {
        let mut location = state.location.clone();
        let read =
            tokio::task::spawn_blocking(move || location.reread_secrets().map(|is_new| (is_new, location))).await;
        state.read = Instant::now();
        let problem = match read {
            Ok(Ok((false, _))) => None,
            Ok(Ok((true, location))) => match (self.make)(&location) {
                Ok(provider) => {
                    (state.provider, state.location) = (provider, location);
                    self.number.fetch_add(1, Ordering::Relaxed);
                    tracing::info!("the lake's credential was read again: its file has changed");
                    None
                }
                Err(error) => Some(error.message),
            },
            Ok(Err(problem)) => Some(problem),
            Err(died) => Some(died.to_string()),
        };
        if let Some(problem) = &problem
            && state.said.as_ref() != Some(problem)
        {
            tracing::warn!("the lake's credential stays as it was: {problem}");
        }
        state.said = problem;
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> CredentialProvider for FileCredential<C> {
    type Credential = C;

    async fn get_credential(&self) -> object_store::Result<Arc<C>> {
        let mut state = self.state.lock().await;
        if state.read.elapsed() >= MAX_AGE {
            self.reread(&mut state).await;
        }
        let provider = state.provider.clone();
        drop(state);
        provider.get_credential().await
    }
}

#[async_trait]
impl<C: fmt::Debug + Send + Sync + 'static> Renewable for FileCredential<C> {
    fn number(&self) -> u64 {
        self.number.load(Ordering::Relaxed)
    }

    async fn is_renewed(&self, used: u64) -> bool {
        let mut state = self.state.lock().await;
        if self.number() == used {
            self.reread(&mut state).await;
        }
        self.number() != used
    }
}

/// Shows nothing of it.
impl<C> fmt::Debug for FileCredential<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileCredential").finish_non_exhaustive()
    }
}
