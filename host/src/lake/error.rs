//! What a store or a file system refused, as people read it: which object, why, and what to do.

use std::error::Error as StdError;
use std::io;

use object_store::client::{HttpError, HttpErrorKind};

use super::Lake;
use crate::Error;

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
    let message = format!("cannot {operation} `{url}`: {}", scrub(&error.to_string()));
    let explained = Error::lake(message);
    match help(error) {
        Some(help) => explained.with_help(help),
        None => explained,
    }
}

fn help(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    let chain = || std::iter::successors(Some(error), |&e| e.source());
    // An HTTP client's failure has an `io::Error` of its own further down, which is not about files.
    if let Some(http) = chain().find_map(|e| e.downcast_ref::<HttpError>()) {
        return match http.kind() {
            HttpErrorKind::Connect => Some("check the lake's URL, the network and the proxy settings, then run again"),
            HttpErrorKind::Timeout => Some("the store does not answer in time: check the network, then run again"),
            _ => None,
        };
    }
    if let Some(io) = chain().find_map(|e| e.downcast_ref::<io::Error>()) {
        return io_help(io);
    }
    let error = chain().find_map(|e| e.downcast_ref::<object_store::Error>())?;
    match error {
        _ if has_status(error, "403 Forbidden") || has_status(error, "401 Unauthorized") => Some(
            "check the credential, and that it may read, write, list and delete here \
             (Azure: `Storage Blob Data Contributor`, or a SAS with `racwdl` for a container; \
             S3: `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject`, `s3:ListBucket`; GCS: `Storage Object User`)",
        ),
        _ if is_not_found(error) => {
            Some("the container or bucket is gone, or the URL names another one: check it, then run again")
        }
        _ => None,
    }
}

/// Whether a store answered 404. Lists report it as a generic error, so that only the text tells.
pub(super) fn is_not_found(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { .. }) || has_status(error, "404 Not Found")
}

fn has_status(error: &object_store::Error, status: &str) -> bool {
    error.to_string().contains(&format!("status code: {status}"))
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
