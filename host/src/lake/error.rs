//! What a store or a file system refused, as people read it: which object, why, and what to do.

use std::error::Error as StdError;
use std::io;

use super::Lake;
use super::failure::{Failure, causes};
use super::http::{NetworkError, NetworkErrorKind};
use super::retry::RetriesExhausted;
use crate::Error;
use crate::telemetry::human;

/// A store's own words are kept up to this many bytes: some answer with whole pages.
const MAX_MESSAGE: usize = 700;

impl Lake {
    pub(super) fn error(&self, operation: &str, key: &str, error: object_store::Error) -> Error {
        explain(operation, &self.url(key), &error)
    }

    pub(super) fn io_error(&self, operation: &str, key: &str, error: io::Error) -> Error {
        explain(operation, &self.url(key), &error)
    }
}

/// `cannot {operation} {url}: {the store's words}`, with what to do where the cause is a known one.
pub(super) fn explain(operation: &str, url: &str, error: &(dyn StdError + 'static)) -> Error {
    let explained = Error::lake(format!("cannot {operation} `{url}`: {}", words(error)));
    match help(error) {
        Some(help) => explained.with_help(help),
        None => explained,
    }
}

/// What went wrong, without what may be secret: the store's own words, or why there were none.
pub(super) fn words(error: &(dyn StdError + 'static)) -> String {
    let said = match Failure::of(error) {
        Failure::Network(_) => {
            causes(error).find(|cause| cause.is::<NetworkError>()).map(|cause| scrub(&cause.to_string()))
        }
        Failure::Status(200..=299, said) => Some(format!("the store answers with an error: {}", scrub(&said))),
        Failure::Status(_, said) => Some(format!("the store answers {}", scrub(&said))),
        Failure::Other => None,
    };
    let said = said.unwrap_or_else(|| scrub(&error.to_string()));
    match causes(error).find_map(|cause| cause.downcast_ref::<RetriesExhausted>()) {
        Some(RetriesExhausted { tries, time, .. }) => {
            format!("{said}; tried {tries} times in {}", human::seconds(time.as_secs_f64()))
        }
        None => said,
    }
}

fn help(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    match Failure::of(error) {
        Failure::Network(kind) => Some(network_help(kind)),
        Failure::Status(status, said) => status_help(status, &said),
        Failure::Other => io_help(causes(error).find_map(|cause| cause.downcast_ref::<io::Error>())?),
    }
}

fn network_help(kind: NetworkErrorKind) -> &'static str {
    match kind {
        NetworkErrorKind::UnknownHost => "check the lake's URL and `endpoint` for a typing error, and the name server",
        NetworkErrorKind::NameServer => "check the network and the name server, then run again",
        NetworkErrorKind::Certificate => {
            "check the address and the clock; where a store or a proxy has a certificate of its own, add its root certificate \
             to the system's"
        }
        NetworkErrorKind::Refused | NetworkErrorKind::Unreachable => {
            "check the lake's URL, the network and the proxy settings, then run again"
        }
        NetworkErrorKind::Closed | NetworkErrorKind::Timeout | NetworkErrorKind::Other => {
            "check the network and the store, then run again"
        }
    }
}

/// What to do about a status. The codes in the body are those of Azure and S3.
fn status_help(status: u16, said: &str) -> Option<&'static str> {
    let says = |codes: &[&str]| codes.iter().any(|code| said.contains(code));
    Some(match status {
        _ if says(&["AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraint"]) => {
            "set `region` to the bucket's region"
        }
        _ if says(&["RequestTimeTooSkewed"]) => "set this machine's clock: the store refuses requests of another time",
        _ if says(&["ExpiredToken", "token is expired", "Signature not valid in the specified time frame"]) => {
            "check the credential: it has expired; where it is in a `file:`, a new one there is used at once"
        }
        401 => "check the credential: the store does not know it, or it has expired",
        403 if says(&["AuthenticationFailed", "InvalidAccessKeyId", "SignatureDoesNotMatch"]) => {
            "check the credential: the store does not accept it; it is wrong, or belongs to another account"
        }
        403 if says(&["AuthorizationFailure", "IpAuthorization"]) => {
            "check the credential's rights, and the firewall of the storage account: it may not let this machine in"
        }
        403 => {
            "check the credential, and that it may read, write, list and delete here \
             (Azure: `Storage Blob Data Contributor`, or a SAS with `racwdl` for a container; \
             S3: `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject`, `s3:ListBucket`; GCS: `Storage Object User`)"
        }
        404 => "the container or bucket is gone, or the URL names another one: check it, then run again",
        301 => "set `region` to the bucket's region, or `endpoint` to its address",
        _ => return None,
    })
}

/// Whether a store answered 404. Lists report it as a generic error, so that only the text tells.
pub(super) fn is_not_found(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) || matches!(Failure::of(error), Failure::Status(404, _))
}

fn io_help(error: &io::Error) -> Option<&'static str> {
    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
        return Some("the process may not open more files: raise the limit with `ulimit -n 4096`, then run again");
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space, then run again: what was committed is safe, and the rest is exported then")
        }
        io::ErrorKind::PermissionDenied => {
            Some("give the user that runs this the right to read, write and create in the lake's folder")
        }
        io::ErrorKind::ReadOnlyFilesystem => Some("mount the lake's folder writable, or choose another folder"),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            Some("a file is where the lake needs a folder: move it away")
        }
        io::ErrorKind::CrossesDevices => Some("the whole lake has to be on one file system"),
        io::ErrorKind::Unsupported => Some(
            "exactly-once needs hard links, which this file system does not have, or not for other users' files: \
             choose a folder on another one, and always run as the same user",
        ),
        _ => None,
    }
}

/// A message without what may be secret in it, on one line: URLs lose their query (SAS tokens, signatures) and their user
/// information; signatures that stand alone are masked.
pub(super) fn scrub(message: &str) -> String {
    let mut out = String::with_capacity(message.len().min(MAX_MESSAGE));
    for word in message.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&scrub_word(word));
        if out.len() > MAX_MESSAGE {
            let cut = (0..=MAX_MESSAGE).rev().find(|&at| out.is_char_boundary(at)).unwrap_or(0);
            out.truncate(cut);
            out.push('…');
            break;
        }
    }
    out
}

fn scrub_word(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(scheme) = word.find("://") {
        let rest = scheme + 3;
        if let Some(query) = word[rest..].find('?') {
            let start = rest + query;
            let end = word[start..].find(['"', '\'', '`', ')', '>', '<', ',']).map_or(word.len(), |at| start + at);
            word.replace_range(start..end, "");
        }
        let authority = word[rest..].find('/').map_or(word.len(), |at| rest + at);
        if let Some(at) = word[rest..authority].rfind('@') {
            // `abfss://container@account` has the container there, which is no secret.
            if !word[..scheme].ends_with("abfss") && !word[..scheme].ends_with("abfs") {
                word.replace_range(rest..=rest + at, "");
            }
        }
    }
    for name in ["sig=", "Signature=", "X-Amz-Security-Token="] {
        if let Some(at) = word.find(name) {
            let start = at + name.len();
            let end = word[start..].find(['&', '"', '\'', '`', ')', '<']).map_or(word.len(), |at| start + at);
            word.replace_range(start..end, "***");
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_user_information_and_signatures_leave_messages() {
        let said = scrub(
            "PUT http://127.0.0.1:1/c/k?sv=2024&sig=SECRET%3D in 3s,\n  see (https://me:SECRET@host/x?a=SECRET) or sig=SECRET&se=1",
        );
        assert_eq!(said, "PUT http://127.0.0.1:1/c/k in 3s, see (https://host/x) or sig=***&se=1");
        assert_eq!(
            scrub("at abfss://exports@contoso.dfs.core.windows.net/k"),
            "at abfss://exports@contoso.dfs.core.windows.net/k"
        );
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let said = scrub(&"ä".repeat(2000));
        assert!(said.ends_with('…') && said.len() <= MAX_MESSAGE + 4, "{}", said.len());
    }

    #[test]
    fn a_full_disk_and_exhausted_descriptors_say_what_to_do() {
        let full = explain("write", "/lake/x", &io::Error::from_raw_os_error(libc::ENOSPC));
        assert!(full.message.starts_with("cannot write `/lake/x`: "), "{full}");
        assert!(full.help.as_deref().is_some_and(|h| h.contains("free some space")), "{full}");
        let files = explain("write", "/lake/x", &io::Error::from_raw_os_error(libc::EMFILE));
        assert!(files.help.as_deref().is_some_and(|h| h.contains("ulimit -n")), "{files}");
        let wrapped =
            object_store::Error::Generic { store: "x", source: Box::new(io::Error::from_raw_os_error(libc::EROFS)) };
        let read_only = explain("write", "/lake/x", &wrapped);
        assert!(read_only.help.as_deref().is_some_and(|h| h.contains("writable")), "{read_only}");
    }
}
