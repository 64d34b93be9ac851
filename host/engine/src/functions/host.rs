//! What `host.json` says of a function app: how long an invocation may take, and where its HTTP functions are.

use std::path::Path;
use std::time::Duration;

use lakeport::error::{Error, Result};
use serde::Deserialize;

/// The longest that a delivery is tried, whatever the platform allows.
const LONGEST: Duration = Duration::from_secs(240);
/// The longest times that are kept for what a run has read to be committed, and for the answer.
const COMMIT: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(10);

/// What the Functions host does with an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// How long an invocation may take before the platform ends the process; `None` where it may take any time.
    timeout: Option<Duration>,
    /// What comes before the routes of HTTP functions, without slashes around it; empty where nothing does.
    prefix: String,
    /// Requests of functions that have HTTP triggers alone come as they are.
    forwards: bool,
}

impl Default for Host {
    /// What holds where `host.json` says nothing: on the plan that ends invocations first.
    fn default() -> Host {
        Host { timeout: Some(Duration::from_secs(300)), prefix: "api".to_owned(), forwards: false }
    }
}

/// The members of `host.json` that are read here.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Description {
    function_timeout: Option<String>,
    extensions: Extensions,
    custom_handler: CustomHandler,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Extensions {
    http: Http,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Http {
    route_prefix: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CustomHandler {
    enable_forwarding_http_request: bool,
}

impl Host {
    /// Reads the `host.json` in `folder`; what it does not say is as the platform has it. `variable` returns the app's settings, which
    /// stand over it.
    ///
    /// # Errors
    /// Of kind `Config`: it cannot be read, or has a time that is none.
    pub(crate) fn read(folder: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Host> {
        let path = folder.join("host.json");
        let described: Description = match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                Error::config(format!("cannot read `{}`: {error}", path.display()))
                    .with_help("write it as plain JSON, without comments")
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Description::default(),
            Err(error) => return Err(Error::config(format!("cannot read `{}`: {error}", path.display()))),
        };
        let usual = Host::default();
        let set = |name: &str| variable(&format!("AzureFunctionsJobHost__{name}"));
        let timeout = match set("functionTimeout").or(described.function_timeout) {
            None => usual.timeout,
            Some(text) => timeout(&text).ok_or_else(|| {
                Error::config(format!("`functionTimeout` of the function app is `{text}`, expected a time"))
                    .with_help("for example `\"00:10:00\"` for ten minutes, or `\"-1\"` for any time")
            })?,
        };
        let prefix = set("extensions__http__routePrefix").or(described.extensions.http.route_prefix);
        let prefix = prefix.map_or(usual.prefix, |prefix| prefix.trim_matches('/').to_owned());
        Ok(Host { timeout, prefix, forwards: described.custom_handler.enable_forwarding_http_request })
    }

    /// The part of a path below the prefix of routes. Without a prefix, only an app that has requests forwarded has such paths.
    pub(super) fn route<'a>(&self, path: &'a str) -> Option<&'a str> {
        let path = path.strip_prefix('/')?;
        if self.prefix.is_empty() {
            return self.forwards.then_some(path);
        }
        let (prefix, rest) = path.split_at_checked(self.prefix.len())?;
        rest.strip_prefix('/').filter(|_| prefix.eq_ignore_ascii_case(&self.prefix))
    }

    /// Whether routes stand where the names of functions do.
    pub(crate) fn is_without_prefix(&self) -> bool {
        self.prefix.is_empty() && self.forwards
    }

    /// How long a delivery is tried: to four fifths of what an invocation may take.
    pub(super) fn delivers_for(&self) -> Duration {
        self.timeout.map_or(LONGEST, |timeout| LONGEST.min(timeout * 4 / 5))
    }

    /// How long an invocation takes more work, where it may not take any time: a fifth of the time, at most a minute, is kept for
    /// commits.
    pub(super) fn works_for(&self) -> Option<Duration> {
        self.timeout.map(|timeout| timeout - COMMIT.min(timeout / 5))
    }

    /// How long an invocation is waited for, where it may not take any time.
    pub(super) fn answers_within(&self) -> Option<Duration> {
        self.timeout.map(|timeout| timeout - ANSWER.min(timeout / 20))
    }
}

/// A time as .NET writes it, `[days.]hours:minutes:seconds`; `Some(None)` where it is `-1`, which is any time.
fn timeout(text: &str) -> Option<Option<Duration>> {
    if text == "-1" {
        return Some(None);
    }
    let (days, time) = match text.split_once('.') {
        Some((days, time)) if time.contains(':') => (days, time),
        _ => ("0", text),
    };
    let mut parts = time.splitn(3, ':');
    let mut part = |below: u64| parts.next()?.parse::<u64>().ok().filter(|part| *part < below);
    let (hours, minutes) = (part(24)?, part(60)?);
    let seconds: f64 = parts.next()?.parse().ok().filter(|seconds| (0.0..60.0).contains(seconds))?;
    let days: u64 = days.parse().ok().filter(|days| *days < 10_000)?;
    let whole = Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60) + Duration::from_secs_f64(seconds);
    (!whole.is_zero()).then_some(Some(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Host> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("host.json"), text).unwrap();
        Host::read(folder.path(), &|_| None)
    }

    #[test]
    fn times_are_those_of_the_platform() {
        let seconds = |text: &str| timeout(text).map(|time| time.map(|time| time.as_secs_f64()));
        assert_eq!(seconds("00:05:00"), Some(Some(300.0)));
        assert_eq!(seconds("1.02:03:04.5"), Some(Some(93_784.5)));
        assert_eq!(seconds("00:00:02.5"), Some(Some(2.5)));
        assert_eq!(seconds("-1"), Some(None));
        for wrong in ["", "5", "00:05", "24:00:00", "00:60:00", "00:00:60", "-00:05:00", "00:00:00", "x.00:05:00"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_said_is_as_on_the_platform_and_settings_stand_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::read(folder.path(), &|_| None).unwrap();
        assert_eq!((&host, host.delivers_for().as_secs()), (&read("{}").unwrap(), 240));
        assert_eq!((host.works_for().unwrap().as_secs(), host.answers_within().unwrap().as_secs()), (240, 290));
        let short = read(r#"{"functionTimeout":"00:00:10"}"#).unwrap();
        assert_eq!((short.delivers_for().as_secs(), short.works_for().unwrap().as_secs()), (8, 8));
        let any = read(r#"{"functionTimeout":"-1"}"#).unwrap();
        assert_eq!((any.delivers_for().as_secs(), any.works_for(), any.answers_within()), (240, None, None));
        let set = |name: &str| (name == "AzureFunctionsJobHost__functionTimeout").then(|| "01:00:00".to_owned());
        assert_eq!(Host::read(folder.path(), &set).unwrap().works_for().unwrap().as_secs(), 3_540);
        assert!(read(r#"{"functionTimeout":"5m"}"#).unwrap_err().message.contains("`5m`, expected a time"));
        assert!(read("{ // my app\n}").unwrap_err().message.contains("host.json"));
    }

    #[test]
    fn routes_are_below_the_prefix_that_the_file_says() {
        let prefix = |prefix: &str, forwards: bool| {
            read(&format!(
                r#"{{"extensions":{{"http":{{"routePrefix":"{prefix}"}}}},"customHandler":{{"enableForwardingHttpRequest":{forwards}}}}}"#
            ))
            .unwrap()
        };
        assert_eq!(Host::default().route("/api/shop/orders"), Some("shop/orders"));
        assert_eq!(Host::default().route("/API/orders"), Some("orders"));
        for other in ["/", "/api", "/apis/orders", "/orders", "/äpi/orders"] {
            assert_eq!(Host::default().route(other), None, "{other}");
        }
        assert_eq!(prefix("/v2/shop/", false).route("/v2/shop/orders"), Some("orders"));
        assert_eq!(prefix("v2", true).route("/api/orders"), None);
        // Without a prefix, what is not forwarded has the path of an invocation.
        assert_eq!((prefix("", true).route("/orders"), prefix("", false).route("/orders")), (Some("orders"), None));
    }
}
