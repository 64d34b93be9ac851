//! From a request to its route, and from a problem to its answer.

use std::sync::Arc;
use std::time::Instant;

use http::header::TRANSFER_ENCODING;
use http::request::Parts;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::Serialize;

use crate::answer::{Answer, Problem, Reason, json, with_type};
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
    Unknown,
}

const INGEST: &str = "/v1/ingest/";

impl Route {
    fn of(path: &str, face: Face) -> Route {
        match path {
            "/healthz" => Route::Live,
            "/readyz" => Route::Ready,
            "/metrics" if face.has_metrics() => Route::Metrics,
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
    let answer = match answer(shared, route, request, &mut key).await {
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
            let caller = shared.keys.identify(&head, (shared.clock)())?;
            caller.name().clone_into(key);
            caller.may_read_metrics()?;
            get(exposition(shared))
        }
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
    let mut encodings = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Problem::new(Reason::InvalidRequest, "`Transfer-Encoding` is there twice, or is not `chunked`")),
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
        for face in [Face::All, Face::Ingest, Face::Metrics] {
            assert_eq!(Route::of("/healthz", face), Route::Live);
        }
    }
}
