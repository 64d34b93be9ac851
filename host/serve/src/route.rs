//! From a request to its route, and from a problem to its answer.

use std::sync::Arc;
use std::time::Instant;

use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::answer::{Answer, Problem, Reason, json, with_type};
use crate::functions;
use crate::ingest;
use crate::intake::{ExportHealth, Health};
use crate::metrics;
use crate::server::{Face, Shared};

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Route {
    Ingest(String),
    Live,
    Ready,
    Metrics,
    Description,
    /// Of a custom handler: an invocation, and whether it is there.
    Function(String),
    /// Of a custom handler: a request that is forwarded as it came.
    Forwarded(String),
    Root,
    Unknown,
}

const INGEST: &str = "/v1/ingest/";

/// The description of the routes of [`Face::All`].
const OPENAPI: &str = include_str!("../openapi.json");

impl Route {
    /// The route of a path. `forwarded` returns the part of it below the prefix of routes, where a function app has requests forwarded
    /// that have such a path.
    fn of(path: &str, face: Face, forwarded: impl FnOnce(&str) -> Option<String>) -> Route {
        match path {
            "/healthz" => Route::Live,
            "/readyz" => Route::Ready,
            "/metrics" if face.has_metrics() => Route::Metrics,
            "/v1/openapi.json" if face.has_ingest() => Route::Description,
            "/" if face == Face::Functions => Route::Root,
            path if face == Face::Functions => match (forwarded(path), path.strip_prefix('/')) {
                (Some(route), _) => Route::Forwarded(route),
                (None, Some(name)) if !name.contains('/') => Route::Function(name.to_owned()),
                (None, _) => Route::Unknown,
            },
            path if face.has_ingest() => match path.strip_prefix(INGEST) {
                // A name is compared with those of the sources and used for nothing else.
                Some(name) if !name.is_empty() && !name.contains('/') => match percent_decode_str(name).decode_utf8() {
                    Ok(name) => Route::Ingest(name.into_owned()),
                    Err(_) => Route::Unknown,
                },
                _ => Route::Unknown,
            },
            _ => Route::Unknown,
        }
    }

    /// The name in metrics.
    fn name(&self) -> &'static str {
        match self {
            Route::Ingest(_) => "/v1/ingest/{source}",
            Route::Live => "/healthz",
            Route::Ready => "/readyz",
            Route::Metrics => "/metrics",
            Route::Description => "/v1/openapi.json",
            Route::Function(_) => "/{function}",
            Route::Forwarded(_) => "/{prefix}/{route}",
            Route::Root => "/",
            Route::Unknown => "",
        }
    }
}

/// Whether a custom handler has something of its own at this path, without the slash before it, where a function might be.
pub fn is_reserved(path: &str) -> bool {
    let route = Route::of(&format!("/{path}"), Face::Functions, |_| None);
    !matches!(route, Route::Function(_) | Route::Unknown)
}

/// Answers a request, and counts it.
pub(crate) async fn handle(shared: &Arc<Shared>, face: Face, request: Request<Incoming>) -> Answer {
    let begun = Instant::now();
    let _active = shared.metrics.active();
    let forwarded = |path: &str| shared.functions.get()?.forwarded(path);
    let route = Route::of(request.uri().path(), face, forwarded);
    let name = route.name();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut key = "-".to_owned();
    let span = request_span(&route, request.headers(), &method);
    let answer = match answer(shared, face, route, request, &mut key).instrument(span.clone()).await {
        Ok(answer) => answer,
        Err(problem) => {
            if problem.reason.status().is_server_error() {
                span.record("error", problem.reason.name());
            }
            shared.metrics.refusal(problem.reason);
            shared.refusals.log(&path, &key, &problem);
            problem.into_answer()
        }
    };
    span.record("http.response.status_code", answer.status().as_u16());
    shared.metrics.request(&method, name, answer.status().as_u16(), begun.elapsed());
    answer
}

/// The span of a request that brings something, as part of the client's trace where it names one.
fn request_span(route: &Route, headers: &HeaderMap, method: &Method) -> Span {
    if !matches!(route, Route::Ingest(_) | Route::Function(_) | Route::Forwarded(_)) {
        return Span::none();
    }
    let (method, route) = (metrics::method_name(method), route.name());
    tracing::info_span!(
        target: "otel",
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.server = true,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        error = Empty,
        traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok())
    )
}

/// Answers a request. `key` becomes the name of the caller's key.
async fn answer(
    shared: &Arc<Shared>,
    face: Face,
    route: Route,
    request: Request<Incoming>,
    key: &mut String,
) -> Result<Answer, Problem> {
    let (head, body) = request.into_parts();
    check_head(&head, shared)?;
    let get = |answer: Answer| match head.method {
        Method::GET | Method::HEAD => Ok(answer),
        _ => Err(Problem::method_not_allowed("GET, HEAD")),
    };
    match route {
        Route::Ingest(source) if head.method == Method::POST => {
            let caller = shared.keys.identify(&head, (shared.clock)())?;
            caller.name().clone_into(key);
            ingest::ingest(shared, &source, caller, head, body).await
        }
        Route::Ingest(_) if head.method == Method::OPTIONS => {
            ingest::options(&head.headers, &shared.settings.webhook_origins)
        }
        Route::Ingest(_) => Err(Problem::method_not_allowed(ingest::METHODS)),
        Route::Live => {
            get(health(shared.health().not_live, Details::default(), may_see_metrics(shared, face, &head, key)))
        }
        Route::Ready => {
            let Health { not_ready, warnings, exports, .. } = shared.health();
            get(health(not_ready, Details { warnings, exports }, may_see_metrics(shared, face, &head, key)))
        }
        Route::Metrics => {
            may_see_metrics(shared, face, &head, key)?;
            get(exposition(shared))
        }
        Route::Description => get(with_type(StatusCode::OK, "application/json", OPENAPI)),
        Route::Root => get(health(Vec::new(), Details::default(), Ok(()))),
        Route::Function(name) if head.method == Method::POST => functions::invoke(shared, name, head, body).await,
        Route::Forwarded(route) => functions::forward(shared, &route, head, body).await,
        Route::Function(_) => Err(Problem::method_not_allowed("POST")),
        Route::Unknown => Err(Problem::new(Reason::NotFound, "there is nothing at this path")),
    }
}

/// Refuses heads that are too long, or that two servers might read differently.
fn check_head(head: &Parts, shared: &Shared) -> Result<(), Problem> {
    let most = shared.settings.limits.target_bytes;
    let length = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if length > most {
        return Err(Problem::new(
            Reason::TargetTooLong,
            format!("the target has {length} bytes, expected at most {most}"),
        ));
    }
    if head.version == Version::HTTP_11 && head.headers.get_all(HOST).iter().count() != 1 {
        return Err(Problem::new(Reason::InvalidRequest, "expected one `Host` header").closing());
    }
    let mut encodings = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => {
            let problem =
                Problem::new(Reason::InvalidRequest, "`Transfer-Encoding` is there twice, or is not `chunked`");
            Err(problem.closing())
        }
    }
}

/// Refuses those who may not read metrics. `key` becomes the name of the caller's key.
fn may_see_metrics(shared: &Shared, face: Face, head: &Parts, key: &mut String) -> Result<(), Problem> {
    if face == Face::Metrics && shared.settings.metrics.as_ref().is_some_and(|metrics| metrics.open) {
        return Ok(());
    }
    let caller = shared.keys.identify(head, (shared.clock)())?;
    caller.name().clone_into(key);
    caller.may_read_metrics()
}

/// What is said beside the reasons.
#[derive(Debug, Default, Serialize)]
struct Details {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    exports: Vec<ExportHealth>,
}

/// 200 without reasons, else 503. Reasons and details are for those who may see metrics: they name files and stores.
fn health(reasons: Vec<String>, details: Details, may_see: Result<(), Problem>) -> Answer {
    #[derive(Serialize)]
    struct Body {
        status: &'static str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        reasons: Vec<String>,
        #[serde(flatten)]
        details: Details,
    }
    let (code, status) = match reasons.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    match may_see {
        Ok(()) => json(code, &Body { status, reasons, details }),
        Err(_) => json(code, &Body { status, reasons: Vec::new(), details: Details::default() }),
    }
}

fn exposition(shared: &Shared) -> Answer {
    let mut families = shared.metrics.families(shared.budget.used());
    families.extend(shared.intake.metrics());
    with_type(StatusCode::OK, metrics::CONTENT_TYPE, metrics::render(&families))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_one_segment_decoded_once() {
        let of = |path| Route::of(path, Face::All, |_| None);
        let ingest = |name: &str| Route::Ingest(name.to_owned());
        assert_eq!(of("/v1/ingest/a"), ingest("a"));
        assert_eq!(of("/v1/ingest/a%20b"), ingest("a b"));
        assert_eq!(of("/v1/ingest/%252e"), ingest("%2e"));
        // Compared with names and no more: no file is opened by it.
        assert_eq!(of("/v1/ingest/.."), ingest(".."));
        for unknown in [
            "/v1/ingest/",
            "/v1/ingest",
            "/v1/ingest/a/",
            "/v1/ingest/a/b",
            "/v1/ingest/%ff",
            "/V1/ingest/a",
            "//v1/ingest/a",
            "/",
            "*",
        ] {
            assert_eq!(of(unknown), Route::Unknown, "{unknown}");
        }
    }

    #[test]
    fn each_face_has_its_routes() {
        let forwarded = |path: &str| path.strip_prefix("/api/").map(str::to_owned);
        let of = |path, face| Route::of(path, face, forwarded);
        assert_eq!(of("/metrics", Face::Ingest), Route::Unknown);
        assert_eq!(of("/v1/ingest/a", Face::Metrics), Route::Unknown);
        for face in [Face::All, Face::Ingest, Face::Metrics, Face::Functions] {
            assert_eq!(of("/healthz", face), Route::Live);
        }
        assert_eq!(of("/telemetry", Face::Functions), Route::Function("telemetry".to_owned()));
        assert_eq!(of("/api/a/b", Face::Functions), Route::Forwarded("a/b".to_owned()));
        assert_eq!(of("/v1/ingest/a", Face::Functions), Route::Unknown);
        assert_eq!(of("/", Face::Functions), Route::Root);
        let reserved: Vec<_> = ["", "healthz", "readyz", "metrics", "telemetry", "a/b"]
            .into_iter()
            .filter(|path| is_reserved(path))
            .collect();
        assert_eq!(reserved, ["", "healthz", "readyz", "metrics"]);
    }

    /// Each route, its methods, and every status that they can answer, are in the description; and no others.
    #[test]
    fn the_description_is_complete() {
        let description: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let paths = description["paths"].as_object().unwrap();
        let statuses = |path: &str, method: &str| -> Vec<String> {
            paths[path][method]["responses"].as_object().unwrap().keys().cloned().collect()
        };
        let ingest = Route::Ingest(String::new());
        let names: Vec<_> =
            [&ingest, &Route::Live, &Route::Ready, &Route::Metrics, &Route::Description].map(Route::name).to_vec();
        assert!(paths.keys().all(|path| names.contains(&path.as_str())) && paths.len() == names.len(), "{names:?}");

        let mut post: Vec<_> = Reason::ALL
            .iter()
            .filter(|reason| !matches!(reason, Reason::MethodNotAllowed | Reason::OriginNotAllowed))
            .map(|reason| reason.status().as_u16().to_string())
            .chain(["200", "202", "431"].map(str::to_owned))
            .collect();
        post.sort();
        post.dedup();
        assert_eq!(statuses(ingest.name(), "post"), post);
        let other = [
            (ingest.name(), "options", &["200", "400", "403", "414", "431"][..]),
            ("/healthz", "get", &["200", "400", "414", "431", "503"]),
            ("/readyz", "get", &["200", "400", "414", "431", "503"]),
            ("/metrics", "get", &["200", "400", "401", "403", "414", "431"]),
            ("/v1/openapi.json", "get", &["200", "400", "414", "431"]),
        ];
        for (path, method, expected) in other {
            assert_eq!(statuses(path, method), expected, "{method} {path}");
        }
        let listed = description["components"]["schemas"]["Problem"]["properties"]["type"]["enum"].as_array().unwrap();
        let types: Vec<_> =
            Reason::ALL.iter().map(|reason| format!("urn:lakeport:problem:{}", reason.name())).collect();
        assert_eq!(listed, &types);
    }
}
