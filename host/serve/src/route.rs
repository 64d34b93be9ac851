//! From a request to its route, and from a problem to its answer.

use std::sync::Arc;
use std::time::Instant;

use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Request, StatusCode, Version};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::answer::{Answer, Problem, Reason, json, with_type};
use crate::auth::Caller;
use crate::functions;
use crate::ingest;
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
    Root,
    Unknown,
}

const INGEST: &str = "/v1/ingest/";

/// The description of the routes of [`Face::All`].
const OPENAPI: &str = include_str!("../openapi.json");

impl Route {
    fn of(path: &str, face: Face) -> Route {
        match path {
            "/healthz" => Route::Live,
            "/readyz" => Route::Ready,
            "/metrics" if face.has_metrics() => Route::Metrics,
            "/v1/openapi.json" if face.has_ingest() => Route::Description,
            "/" if face == Face::Functions => Route::Root,
            path if face == Face::Functions => match path.strip_prefix('/') {
                Some(name) if !name.contains('/') => Route::Function(name.to_owned()),
                _ => Route::Unknown,
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
            Route::Root => "/",
            Route::Unknown => "",
        }
    }
}

/// Answers a request, and counts it.
pub(crate) async fn handle(shared: &Arc<Shared>, face: Face, request: Request<Incoming>) -> Answer {
    let begun = Instant::now();
    let _active = shared.metrics.active();
    let route = Route::of(request.uri().path(), face);
    let name = route.name();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut key = "-".to_owned();
    let answer = match answer(shared, face, route, request, &mut key).await {
        Ok(answer) => answer,
        Err(problem) => {
            shared.metrics.refusal(problem.reason);
            shared.refusals.log(&path, &key, &problem);
            problem.into_answer()
        }
    };
    shared.metrics.request(&method, name, answer.status().as_u16(), begun.elapsed());
    answer
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
        Route::Live => get(health(shared.intake.health().not_live)),
        Route::Ready => get(health(shared.not_ready())),
        Route::Metrics => {
            let is_open = face == Face::Metrics && shared.settings.metrics.as_ref().is_some_and(|metrics| metrics.open);
            let caller = match is_open {
                true => Caller::anyone(),
                false => shared.keys.identify(&head, (shared.clock)())?,
            };
            caller.name().clone_into(key);
            caller.may_read_metrics()?;
            get(exposition(shared))
        }
        Route::Description => get(with_type(StatusCode::OK, "application/json", OPENAPI)),
        Route::Root => get(health(Vec::new())),
        Route::Function(name) if head.method == Method::POST => functions::invoke(shared, name, head, body).await,
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

/// 200 without reasons, else 503 with them.
fn health(reasons: Vec<String>) -> Answer {
    #[derive(Serialize)]
    struct Health {
        status: &'static str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        reasons: Vec<String>,
    }
    match reasons.is_empty() {
        true => json(StatusCode::OK, &Health { status: "ok", reasons }),
        false => json(StatusCode::SERVICE_UNAVAILABLE, &Health { status: "failing", reasons }),
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
        let of = |path| Route::of(path, Face::All);
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
        assert_eq!(Route::of("/metrics", Face::Ingest), Route::Unknown);
        assert_eq!(Route::of("/v1/ingest/a", Face::Metrics), Route::Unknown);
        for face in [Face::All, Face::Ingest, Face::Metrics, Face::Functions] {
            assert_eq!(Route::of("/healthz", face), Route::Live);
        }
        assert_eq!(Route::of("/telemetry", Face::Functions), Route::Function("telemetry".to_owned()));
        assert_eq!(Route::of("/v1/ingest/a", Face::Functions), Route::Unknown);
        assert_eq!(Route::of("/", Face::Functions), Route::Root);
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
