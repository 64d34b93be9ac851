//! OTLP as JSON, and the variables of OpenTelemetry that say where it goes.

use lakeport::error::{Error, Result};
use serde_json::{Value, json};

/// A finished span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub trace: [u8; 16],
    pub id: [u8; 8],
    pub parent: Option<[u8; 8]>,
    pub name: String,
    /// It answers a request; else it is internal.
    pub is_server: bool,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub began: i64,
    pub ended: i64,
    pub attributes: Vec<(&'static str, Value)>,
    pub error: Option<String>,
}

/// What a span continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    pub trace: [u8; 16],
    pub span: Option<[u8; 8]>,
    pub is_sampled: bool,
}

impl Parent {
    /// Reads a `traceparent` of W3C Trace Context: `00-TRACE-SPAN-FLAGS`. Later versions may have more behind it.
    pub fn parse(text: &str) -> Option<Parent> {
        let mut parts = text.split('-');
        let mut part = |length: usize| {
            let is_hex =
                |part: &&str| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            parts.next().filter(is_hex)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        if version == "ff" || version == "00" && parts.next().is_some() {
            return None;
        }
        let (mut parent, mut id) = (Parent { trace: [0; 16], span: None, is_sampled: false }, [0; 8]);
        hex::decode_to_slice(trace, &mut parent.trace).ok()?;
        hex::decode_to_slice(span, &mut id).ok()?;
        parent.is_sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        parent.span = Some(id);
        (parent.trace != [0; 16] && id != [0; 8]).then_some(parent)
    }
}

/// Where spans go, and what they say of this process.
pub struct Settings {
    pub url: reqwest::Url,
    pub headers: reqwest::header::HeaderMap,
    service: String,
    attributes: Vec<(String, String)>,
}

impl Settings {
    /// What the variables say; `None` where they name no collector, or switch it off.
    ///
    /// # Errors
    /// Of kind `Config`. Values of headers are secrets, and are not shown.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Settings>> {
        let set = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let is_off = set("OTEL_SDK_DISABLED").is_some_and(|off| off.eq_ignore_ascii_case("true"))
            || set("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter == "none");
        let (name, url) = match (set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), set("OTEL_EXPORTER_OTLP_ENDPOINT")) {
            (Some(url), _) => ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url),
            (None, Some(base)) => ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/v1/traces", base.trim_end_matches('/'))),
            (None, None) => return Ok(None),
        };
        if is_off {
            return Ok(None);
        }
        // A URL may hold a password.
        let wrong = |what: String| Error::config(what).with_help("for example `http://127.0.0.1:4318`");
        let url = reqwest::Url::parse(&url).map_err(|error| wrong(format!("`{name}` is no URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(format!("`{name}` has the scheme `{}`, expected `http` or `https`", url.scheme())));
        }
        let protocol = set("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| set("OTEL_EXPORTER_OTLP_PROTOCOL"));
        if protocol.as_deref() == Some("grpc") {
            return Err(wrong("`OTEL_EXPORTER_OTLP_PROTOCOL` is `grpc`, expected `http/json`".to_owned()));
        }
        let headers = set("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| set("OTEL_EXPORTER_OTLP_HEADERS"));
        Ok(Some(Settings {
            url,
            headers: headers.map(|headers| self::headers(&headers)).transpose()?.unwrap_or_default(),
            service: set("OTEL_SERVICE_NAME").unwrap_or_else(|| "lakeport".to_owned()),
            attributes: set("OTEL_RESOURCE_ATTRIBUTES").map(|text| pairs(&text)).unwrap_or_default(),
        }))
    }

    /// The address, for people: without a password or a query.
    pub fn shown(&self) -> String {
        format!("{}{}", self.url.origin().ascii_serialization(), self.url.path())
    }

    /// A request's body.
    pub fn body(&self, spans: &[Span]) -> Vec<u8> {
        let text = |value: &str| json!({ "stringValue": value });
        let mut resource = vec![
            json!({ "key": "service.name", "value": text(&self.service) }),
            json!({ "key": "service.version", "value": text(env!("CARGO_PKG_VERSION")) }),
            json!({ "key": "process.pid", "value": { "intValue": std::process::id().to_string() } }),
        ];
        resource.extend(self.attributes.iter().map(|(key, value)| json!({ "key": key, "value": text(value) })));
        let spans: Vec<_> = spans.iter().map(Span::json).collect();
        let scope = json!({ "name": "lakeport", "version": env!("CARGO_PKG_VERSION") });
        let scoped = json!({ "scope": scope, "spans": spans });
        let whole = json!({ "resourceSpans": [{ "resource": { "attributes": resource }, "scopeSpans": [scoped] }] });
        whole.to_string().into_bytes()
    }
}

impl Span {
    fn json(&self) -> Value {
        let nanos = |micros: i64| micros.saturating_mul(1_000).to_string();
        let attribute = |(key, value): &(&str, Value)| json!({ "key": key, "value": value });
        let mut span = json!({
            "traceId": hex::encode(self.trace),
            "spanId": hex::encode(self.id),
            "name": self.name,
            "kind": if self.is_server { 2 } else { 1 },
            "startTimeUnixNano": nanos(self.began),
            "endTimeUnixNano": nanos(self.ended),
            "attributes": self.attributes.iter().map(attribute).collect::<Vec<_>>(),
        });
        if let Some(parent) = self.parent {
            span["parentSpanId"] = hex::encode(parent).into();
        }
        if let Some(error) = &self.error {
            span["status"] = json!({ "code": 2, "message": error });
        }
        span
    }
}

/// `key=value` pairs, percent-encoded, with commas between them.
fn pairs(text: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text.trim()).decode_utf8_lossy().into_owned();
    text.split(',').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decoded(key), decoded(value))).collect()
}

fn headers(text: &str) -> Result<reqwest::header::HeaderMap> {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(text) {
        let wrong = |what| Error::config(format!("`OTEL_EXPORTER_OTLP_HEADERS`: {what} of a header cannot be used"));
        let mut value = HeaderValue::from_str(&value).map_err(|_| wrong("the value"))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("the name"))?, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_one_of_w3c() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = Parent::parse(good).unwrap();
        assert_eq!(hex::encode(parent.trace), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((parent.span.map(hex::encode).as_deref(), parent.is_sampled), (Some("b7ad6b7169203331"), true));
        assert!(!Parent::parse(&good.replace("-01", "-00")).unwrap().is_sampled);
        assert!(Parent::parse(&format!("{}-more", good.replace("00-0a", "01-0a"))).is_some());
        for wrong in [
            "",
            "00",
            &good.to_uppercase(),
            &format!("{good}-more"),
            &good.replace("00-0a", "ff-0a"),
            &good.replace("b7ad6b7169203331", "0000000000000000"),
            &good.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
            &good.replace("0af7", "\u{e9}f7"),
        ] {
            assert_eq!(Parent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn variables_say_where_spans_go() {
        let read = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> =
                set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            Settings::read(&move |name: &str| {
                set.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
            })
        };
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://user:password@collector:4318/otlp/");
        assert!(read(&[]).unwrap().is_none() && read(&[(base.0, " ")]).unwrap().is_none());
        let settings = read(&[base, ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=se%20cret,x=y")]).unwrap().unwrap();
        assert_eq!(settings.shown(), "https://collector:4318/otlp/v1/traces");
        assert_eq!((settings.headers["api-key"].as_bytes(), settings.headers.len()), (&b"se cret"[..], 2));
        assert!(!format!("{:?}", settings.headers).contains("cret"));
        let own = read(&[base, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/t")]).unwrap().unwrap();
        assert_eq!(own.url.as_str(), "http://c/t");
        assert!(read(&[base, ("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
        for wrong in [(base.0, "collector"), (base.0, "ftp://c"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")] {
            assert!(read(&[wrong, base]).is_err(), "{wrong:?}");
        }
        let wrong = read(&[base, ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=se\ncret")]).err().unwrap();
        assert!(!wrong.to_string().contains("cret"), "{wrong}");
    }
}
