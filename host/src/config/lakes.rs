//! Lakes: the URL of a place, and the credential that opens it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::section::{At, Errors, Section};
use super::url::{Place, parse};
use super::value::Complaint;
use crate::error::{Error, Result};
use crate::plan::{AzureCredential, GcsCredential, LakePlan, Location, S3Credential};

/// How long the requests of a lake are tried that does not say so.
const DEFAULT_RETRY_FOR: Duration = Duration::from_secs(300);

/// The lake of a file that has none.
const DEFAULT_URL: &str = "./lake";

const AZURE_KEYS: &[&str] =
    &["account-key", "sas-token", "tenant-id", "client-id", "client-secret", "managed-identity"];
const S3_KEYS: &[&str] = &["region", "access-key-id", "secret-access-key", "session-token", "instance-role"];
const GCS_KEYS: &[&str] = &["service-account-key", "instance-account", "anonymous"];

const AZURE_HELP: &str = "add `account-key = \"env:LAKE_KEY\"`, `sas-token = \"env:LAKE_SAS\"`, \
     `client-id`, `client-secret` and `tenant-id`, or `managed-identity = true`";
const S3_HELP: &str = "add `access-key-id = \"env:AWS_ACCESS_KEY_ID\"` and \
     `secret-access-key = \"env:AWS_SECRET_ACCESS_KEY\"`, or `instance-role = true`";
const GCS_HELP: &str =
    "add `service-account-key = \"file:key.json\"`, `instance-account = true`, or `anonymous = true`";

/// The file's lakes; what is wrong with others goes to `errors`.
pub fn resolve(file: &Section<'_>, errors: &mut Errors) -> BTreeMap<String, Arc<LakePlan>> {
    let sections = errors.keep(file.sections("lakes")).unwrap_or_default().into_iter();
    let lakes =
        sections.filter_map(|(name, section)| Some((name.to_owned(), Arc::new(errors.keep(lake(name, &section))?))));
    let mut lakes: BTreeMap<_, _> = lakes.collect();
    if !file.has("lakes") {
        let location = Location::Local(file.cx.resolve(DEFAULT_URL));
        let (name, log_folder) = ("lake".to_owned(), "_lakeport".to_owned());
        lakes.insert(name.clone(), Arc::new(LakePlan { name, location, log_folder, retry_for: DEFAULT_RETRY_FOR }));
    }
    lakes
}

fn lake(name: &str, section: &Section<'_>) -> Result<LakePlan> {
    let url = section.need("url")?;
    let place = parse(url.value).map_err(|complaint| section.cx.complain(url.span.clone(), "`url`", complaint))?;
    let endpoint = endpoint(section, &place)?;
    let location = match place {
        Place::Folder(path) => {
            only(section, "a folder", &[])?;
            Location::Local(section.cx.resolve(&path))
        }
        Place::Memory(name) => {
            only(section, "a lake in memory", &[])?;
            Location::Memory(name)
        }
        Place::Azure { account, container, prefix } => {
            only(section, "an Azure lake", AZURE_KEYS)?;
            let credential = azure(section, &url.span)?;
            Location::Azure { account, container, prefix, endpoint, credential }
        }
        Place::S3 { bucket, prefix } => {
            only(section, "an S3 lake", S3_KEYS)?;
            let region = section.need("region")?.value.to_owned();
            Location::S3 { bucket, prefix, region, endpoint, credential: s3(section, &url.span)? }
        }
        Place::Gcs { bucket, prefix } => {
            only(section, "a Google Cloud Storage lake", GCS_KEYS)?;
            Location::Gcs { bucket, prefix, endpoint, credential: gcs(section, &url.span)? }
        }
    };
    let (log_folder, retry_for) = (log_folder(section)?, section.duration("retry-for", true)?);
    Ok(LakePlan { name: name.to_owned(), location, log_folder, retry_for })
}

/// Refuses a store's keys in another store's lake.
fn only(section: &Section<'_>, what: &str, own: &[&str]) -> Result<()> {
    let all = [AZURE_KEYS, S3_KEYS, GCS_KEYS].concat();
    let Some(foreign) = all.iter().find(|key| section.has(key) && !own.contains(*key)) else { return Ok(()) };
    let error = section.cx.doc.fail(section.key_span(foreign), format!("`{foreign}` is not for {what}"));
    Err(error.with_help("take it out, or mend `url`"))
}

fn endpoint(section: &Section<'_>, place: &Place) -> Result<Option<String>> {
    let Some(At { value, span }) = section.text("endpoint")? else { return Ok(None) };
    let fail = |message: &str| {
        let help = "write the store's address: `endpoint = \"http://127.0.0.1:10000/account\"`";
        section.cx.complain(span.clone(), "`endpoint`", Complaint::new(message, help))
    };
    if matches!(place, Place::Folder(_) | Place::Memory(_)) {
        let error =
            section.cx.doc.fail(section.key_span("endpoint"), "`endpoint` is for stores, and this lake is none");
        return Err(error.with_help("take it out, or mend `url`"));
    }
    let url = url::Url::parse(value).map_err(|_| fail("not a URL"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(fail("not an `http://` or `https://` URL"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(fail("more than an address"));
    }
    Ok(Some(value.trim_end_matches('/').to_owned()))
}

fn azure(section: &Section<'_>, url: &Range<usize>) -> Result<AzureCredential> {
    let key = section.secret("account-key")?.map(AzureCredential::AccountKey);
    let sas = section.secret("sas-token")?.map(AzureCredential::Sas);
    let client =
        match (section.credential("tenant-id")?, section.credential("client-id")?, section.secret("client-secret")?) {
            (Some(tenant), Some(client), Some(secret)) => {
                let (tenant, client) = (tenant.expose().to_owned(), client.expose().to_owned());
                Some(AzureCredential::ClientSecret { tenant, client, secret })
            }
            (None, None, None) => None,
            _ => return Err(incomplete(section, &["tenant-id", "client-id", "client-secret"])),
        };
    let managed = section.flag("managed-identity")?.then_some(AzureCredential::ManagedIdentity);
    exactly_one(section, url, [key, sas, client, managed].into_iter().flatten().collect(), AZURE_HELP)
}

fn s3(section: &Section<'_>, url: &Range<usize>) -> Result<S3Credential> {
    let session_token = section.secret("session-token")?;
    let keys = match (section.credential("access-key-id")?, section.secret("secret-access-key")?) {
        (Some(id), Some(secret)) => Some(S3Credential::Keys { id, secret, session_token }),
        (None, None) if session_token.is_none() => None,
        _ => return Err(incomplete(section, &["access-key-id", "secret-access-key"])),
    };
    let role = section.flag("instance-role")?.then_some(S3Credential::InstanceRole);
    exactly_one(section, url, [keys, role].into_iter().flatten().collect(), S3_HELP)
}

fn gcs(section: &Section<'_>, url: &Range<usize>) -> Result<GcsCredential> {
    let key = section.secret("service-account-key")?.map(GcsCredential::ServiceAccountKey);
    let account = section.flag("instance-account")?.then_some(GcsCredential::InstanceAccount);
    let anonymous = section.flag("anonymous")?.then_some(GcsCredential::Anonymous);
    exactly_one(section, url, [key, account, anonymous].into_iter().flatten().collect(), GCS_HELP)
}

/// A store without a credential would ask the instance-metadata service, wherever that leads.
fn exactly_one<T>(section: &Section<'_>, url: &Range<usize>, mut found: Vec<T>, help: &str) -> Result<T> {
    match (found.pop(), found.len()) {
        (Some(credential), 0) => Ok(credential),
        (Some(_), more) => {
            let error = section.fail(format!("`{}` has {} credentials, and wants one", section.path, more + 1));
            Err(error.with_help("keep one of them"))
        }
        (None, _) => {
            let error = section.cx.doc.fail(url.clone(), format!("`{}` has no credential", section.path));
            Err(error.with_help(help))
        }
    }
}

fn incomplete(section: &Section<'_>, keys: &[&str]) -> Error {
    let missing: Vec<_> = keys.iter().filter(|key| !section.has(key)).map(|key| format!("`{key}`")).collect();
    let error = section.fail(format!("`{}` has a part of a credential", section.path));
    error.with_help(format!("add {} too", missing.join(" and ")))
}

fn log_folder(section: &Section<'_>) -> Result<String> {
    let At { value, span } = section.need("log-folder")?;
    let segment = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let hidden = value.starts_with(['_', '.']) && value.len() > 1 && value != "..";
    if segment && hidden && value.len() <= 64 {
        return Ok(value.to_owned());
    }
    let error = section.cx.doc.fail(span, format!("`{value}` cannot be the commit log's folder"));
    Err(error.with_help(
        "analytics tools must skip it: one name of letters, digits, `-`, `_` and `.` that starts with `_` or `.`, as `_lakeport`",
    ))
}
