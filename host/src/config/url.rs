//! The URLs of lakes, taken apart. Pure text: nothing is looked up.

use super::value::{Complaint, suggest};

/// A lake's place, without a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A path as it was written.
    Folder(String),
    Memory(String),
    Azure {
        account: String,
        container: String,
        prefix: String,
    },
    S3 {
        bucket: String,
        prefix: String,
    },
    Gcs {
        bucket: String,
        prefix: String,
    },
}

const SCHEMES: [&str; 6] = ["https", "abfss", "abfs", "s3", "gs", "file"];
const HELP: &str = "write `./lake`, `/folder`, `https://{account}.dfs.core.windows.net/{filesystem}/{folder}`, \
     `abfss://{filesystem}@{account}.dfs.core.windows.net/{folder}`, `s3://{bucket}/{folder}` or `gs://{bucket}/{folder}`";

/// Takes a lake's URL apart. Complaints never hold what could be secret: a query, a password.
pub fn parse(url: &str) -> Result<Place, Complaint> {
    if let Some(name) = url.strip_prefix("memory:") {
        super::value::name(name)?;
        return Ok(Place::Memory(name.to_owned()));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return match url {
            "." | ".." => Ok(Place::Folder(url.to_owned())),
            _ if ["./", "../", "/"].iter().any(|start| url.starts_with(start)) => Ok(Place::Folder(url.to_owned())),
            _ => Err(Complaint::new("neither a folder nor a URL", HELP)),
        };
    };
    if rest.contains(['?', '#']) {
        let help = "take out what follows the path; a shared access signature goes into `sas-token = \"env:LAKE_SAS\"`";
        return Err(Complaint::new("a URL with a query", help));
    }
    if scheme == "file" {
        return match rest.strip_prefix('/') {
            Some(_) if !rest.contains('%') => Ok(Place::Folder(rest.to_owned())),
            _ => Err(Complaint::new(
                "not a folder of this machine",
                "write `file:///folder`, or the path alone: `/folder`",
            )),
        };
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match scheme {
        "https" => {
            if host.contains('@') {
                return Err(Complaint::new(
                    "a URL with a user",
                    "credentials have keys of their own: `account-key`, `sas-token`",
                ));
            }
            let account = account(host)?;
            let (container, prefix) = path.split_once('/').unwrap_or((path, ""));
            if container.is_empty() {
                let help = format!("add it: `https://{host}/myfilesystem/`");
                return Err(Complaint::new("the file system's name is missing", help));
            }
            Ok(Place::Azure { account, container: bucket(container, "file system")?, prefix: folder(prefix)? })
        }
        "abfss" | "abfs" => {
            let Some((container, host)) = host.split_once('@').filter(|(container, _)| !container.is_empty()) else {
                let help = format!("add it: `{scheme}://myfilesystem@{host}/`");
                return Err(Complaint::new("the file system's name is missing", help));
            };
            let (account, container) = (account(host)?, bucket(container, "file system")?);
            Ok(Place::Azure { account, container, prefix: folder(path)? })
        }
        "s3" => Ok(Place::S3 { bucket: bucket(host, "bucket")?, prefix: folder(path)? }),
        "gs" => Ok(Place::Gcs { bucket: bucket(host, "bucket")?, prefix: folder(path)? }),
        "http" => Err(Complaint::new(
            "a plain `http://` address",
            "write the store's own URL, and the address of an emulator into `endpoint`",
        )),
        _ => Err(Complaint::new(format!("unknown kind of URL `{scheme}://`"), suggest(scheme, SCHEMES))),
    }
}

/// The account of an Azure host.
fn account(host: &str) -> Result<String, Complaint> {
    let account = [".dfs.core.windows.net", ".blob.core.windows.net"].iter().find_map(|end| host.strip_suffix(end));
    let right = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    account.filter(right).map(str::to_owned).ok_or_else(|| {
        let help = "write `{account}.dfs.core.windows.net` or `{account}.blob.core.windows.net`; the account is \
                    lower-case letters and digits";
        Complaint::new("not the host of an Azure storage account", help)
    })
}

fn bucket(name: &str, what: &str) -> Result<String, Complaint> {
    let help = format!("a {what}'s name is lower-case letters, digits, `-`, `.` and `_`");
    if name.is_empty() {
        return Err(Complaint::new(format!("the {what}'s name is missing"), help));
    }
    let bytes = name.strip_prefix('$').unwrap_or(name).bytes();
    let mut bytes = bytes.peekable();
    let right = bytes.peek().is_some()
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte));
    if right { Ok(name.to_owned()) } else { Err(Complaint::new(format!("not a {what}'s name"), help)) }
}

/// The folders below a store's root, without slashes around them.
fn folder(path: &str) -> Result<String, Complaint> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(String::new());
    }
    for segment in path.split('/') {
        if segment.is_empty() || segment == "." || segment == ".." {
            return Err(Complaint::new(
                "a folder with an empty segment, `.` or `..`",
                "write the folders' names, with one `/` between",
            ));
        }
        if let Some(c) = segment.chars().find(|c| !(c.is_alphanumeric() || "-._=+ ~@$".contains(*c))) {
            return Err(Complaint::new(
                format!("`{c}` in a folder's name"),
                "use letters, digits, `-`, `.`, `_`, `=` and `+`",
            ));
        }
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn azure(container: &str, prefix: &str) -> Place {
        Place::Azure { account: "contoso".into(), container: container.into(), prefix: prefix.into() }
    }

    #[test]
    fn every_documented_url_is_taken_apart() {
        for (url, place) in [
            ("./lake", Place::Folder("./lake".into())),
            ("/data/lake", Place::Folder("/data/lake".into())),
            ("file:///data/lake", Place::Folder("/data/lake".into())),
            ("memory:test", Place::Memory("test".into())),
            (
                "https://contoso.dfs.core.windows.net/myfilesystem/directory1/directory2/",
                azure("myfilesystem", "directory1/directory2"),
            ),
            ("https://contoso.blob.core.windows.net/myfilesystem", azure("myfilesystem", "")),
            ("abfss://exports@contoso.dfs.core.windows.net/product/", azure("exports", "product")),
            ("abfs://exports@contoso.dfs.core.windows.net", azure("exports", "")),
            ("s3://bucket/a/b", Place::S3 { bucket: "bucket".into(), prefix: "a/b".into() }),
            ("gs://bucket", Place::Gcs { bucket: "bucket".into(), prefix: String::new() }),
        ] {
            assert_eq!(parse(url), Ok(place), "{url}");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_with_what_to_write() {
        for (url, message) in [
            ("lake", "neither a folder nor a URL"),
            ("", "neither a folder nor a URL"),
            ("ftp://host/x", "unknown kind of URL `ftp://`"),
            ("http://127.0.0.1:10000/x", "a plain `http://` address"),
            ("https://contoso.dfs.core.windows.net/", "the file system's name is missing"),
            ("abfss://contoso.dfs.core.windows.net/x", "the file system's name is missing"),
            ("https://example.com/x", "not the host of an Azure storage account"),
            ("https://a.b.dfs.core.windows.net/x", "not the host of an Azure storage account"),
            ("s3://", "the bucket's name is missing"),
            ("s3://Bucket/", "not a bucket's name"),
            ("s3://bucket/a/../b", "a folder with an empty segment, `.` or `..`"),
            ("s3://bucket//a", "a folder with an empty segment, `.` or `..`"),
            ("s3://bucket/a%2Fb", "`%` in a folder's name"),
            ("https://contoso.blob.core.windows.net/c?sig=hunter2", "a URL with a query"),
            ("file://host/x", "not a folder of this machine"),
            ("memory:", "`` cannot be a name"),
        ] {
            assert_eq!(parse(url).unwrap_err().message, message, "{url}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_parser_and_no_prefix_leaves_the_root(url in "(s3://|https://|abfss://|gs://|memory:|file://|)[a-z./@:?%é ]{0,30}") {
            if let Ok(Place::S3 { prefix, .. } | Place::Gcs { prefix, .. } | Place::Azure { prefix, .. }) = parse(&url) {
                proptest::prop_assert!(prefix.is_empty() || prefix.split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
        }
    }
}
