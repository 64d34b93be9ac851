//! `POST /v1/ingest/{source}`: from a request to kept records.

mod binary;
mod body;
mod content;
mod encoding;
mod event;
mod identity;
mod query;
mod records;
mod webhook;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;

use self::content::Content;
use self::encoding::Encoding;
use self::query::Query;
use self::records::{Parsed, Rules};
use crate::answer::{Answer, Problem, Reason, RecordErrors, empty, json};
use crate::auth::Caller;
use crate::budget::Charge;
use crate::intake::{Accepted, Batch, Envelope, IdempotencyKey, Refusal, SourceInfo};
use crate::server::Shared;

pub(crate) use body::read as read_body;
pub(crate) use webhook::{METHODS, options};

/// What a source took.
#[derive(Serialize)]
struct Taken<'a> {
    position: &'a str,
    records: u32,
    duplicates: u32,
    /// What `?partial=allow` left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<&'a RecordErrors>,
}

/// What a request asks for, as its target and its headers say.
pub(crate) struct Asked {
    source: SourceInfo,
    query: Query,
    encoding: Encoding,
    content: Content,
    idempotency: Option<String>,
}

impl Asked {
    /// Reads what a request for the source `name` asks for, and refuses what can be refused without its body.
    pub(crate) fn of(shared: &Shared, name: &str, query: &str, headers: &HeaderMap) -> Result<Asked, Problem> {
        let source = shared.intake.source(name).ok_or_else(|| {
            Problem::new(Reason::NotFound, "there is no source of this name that takes records over HTTP")
        })?;
        Ok(Asked {
            query: Query::parse(query)?,
            encoding: Encoding::of(headers)?,
            content: Content::of(headers, source.envelope)?,
            idempotency: identity::header(headers)?,
            source,
        })
    }
}

/// Takes the records of a request. Everything that can be refused by the headers is refused before the body is read.
pub(crate) async fn ingest(
    shared: &Arc<Shared>,
    name: &str,
    caller: Caller,
    head: Parts,
    body: Incoming,
) -> Result<Answer, Problem> {
    caller.may_send_to(name)?;
    let asked = Asked::of(shared, name, head.uri.query().unwrap_or_default(), &head.headers)?;
    let mut charge = shared.budget.charge();
    let raw = body::read(body, &shared.settings, &mut charge).await?;
    shared.metrics.body_bytes(raw.len());
    if let Some(pending) = caller.pending {
        pending.verify(&raw)?;
    }
    take(shared, name, asked, raw, charge).await
}

/// Takes the records of a body.
pub(crate) async fn take(
    shared: &Arc<Shared>,
    name: &str,
    asked: Asked,
    raw: Bytes,
    charge: Charge,
) -> Result<Answer, Problem> {
    let Asked { source, query, encoding, content, idempotency } = asked;
    let most = shared.settings.limits.records;
    let rules = Rules { name: name.to_owned(), source, content, idempotency, most, partial: query.partial };
    let (parsed, charge) = match decode(shared, encoding, rules, raw, charge).await? {
        Decoded::Records(parsed, charge) => (parsed, charge),
        Decoded::GridValidation(code) => return Ok(grid_validation(name, &code)),
        Decoded::GridFarewell => {
            tracing::warn!(source = name, "Event Grid deleted the subscription: it sends no more events");
            return Ok(empty(StatusCode::OK));
        }
    };
    if parsed.batch.records == 0 {
        // A batch of CloudEvents without events, which is one.
        return Ok(json(
            StatusCode::OK,
            &Taken { position: "", records: 0, duplicates: 0, rejected: parsed.rejected.as_ref() },
        ));
    }
    let accepted = append(shared, name, parsed.batch, charge).await?;
    shared.metrics.records(name, &accepted);
    let status = match query.wait && !accepted.committed {
        true => committed(shared, name, &accepted).await,
        false if accepted.committed => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    let Accepted { position, records, duplicates, .. } = &accepted;
    let rejected = parsed.rejected.as_ref();
    Ok(json(status, &Taken { position, records: *records, duplicates: *duplicates, rejected }))
}

/// The key by which a record of a source is recognised, where its envelope has one: a CloudEvent's `source` and `id`, or `topic` and
/// `id` of an event of Event Grid.
pub fn key_of(source: &str, envelope: Envelope, record: &[u8]) -> Option<IdempotencyKey> {
    let text = std::str::from_utf8(record).ok()?;
    match envelope {
        Envelope::CloudEvents => event::cloud_event(source, text).ok(),
        Envelope::EventGrid => event::grid_event(source, text).ok(),
        Envelope::Plain | Envelope::Other => None,
    }
}

/// What a body is, once it is read.
enum Decoded {
    Records(Parsed, Charge),
    GridValidation(String),
    GridFarewell,
}

/// Decompresses and parses on a thread that may be busy, as many at a time as there are processors.
async fn decode(
    shared: &Arc<Shared>,
    encoding: Encoding,
    rules: Rules,
    raw: Bytes,
    mut charge: Charge,
) -> Result<Decoded, Problem> {
    let permit = shared.decoders.clone().acquire_owned().await.expect("it is never closed");
    let limit = shared.settings.limits.decoded_bytes;
    let decoding = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        let body = encoding.decode(raw, limit, &mut charge)?;
        match rules.content {
            Content::GridValidation => return event::validation_code(&body).map(Decoded::GridValidation),
            Content::GridFarewell => return Ok(Decoded::GridFarewell),
            _ => {}
        }
        // The records are a copy of the body.
        charge.grow(body.len()).map_err(|_| body::no_memory())?;
        Ok(Decoded::Records(records::parse(&rules, &body)?, charge))
    });
    decoding.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a body could not be parsed: a defect");
        Err(Problem::new(Reason::StorageFailed, "the server failed; the reason is in its log"))
    })
}

/// Answers Event Grid's handshake. The address that came with the code is never fetched.
fn grid_validation(source: &str, code: &str) -> Answer {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Validation<'a> {
        validation_response: &'a str,
    }
    tracing::info!(source, "Event Grid asked whether its events are wanted, and was answered");
    json(StatusCode::OK, &Validation { validation_response: code })
}

/// Has the records kept. A client that goes away does not stop it half way.
async fn append(shared: &Arc<Shared>, name: &str, batch: Batch, charge: Charge) -> Result<Accepted, Problem> {
    let intake = shared.intake.clone();
    let source = name.to_owned();
    let appending = tokio::spawn(async move {
        let result = intake.append(&source, batch).await;
        drop(charge);
        result
    });
    let result = appending.await.unwrap_or_else(|error| Err(Refusal::Failed(error.to_string())));
    result.map_err(|refusal| refused(name, refusal))
}

/// Waits for the lake, for a time: 200 once the records are there, else 202.
async fn committed(shared: &Arc<Shared>, name: &str, accepted: &Accepted) -> StatusCode {
    let wait = shared.intake.committed(name, &accepted.position);
    match tokio::time::timeout(shared.settings.timeouts.commit, wait).await {
        Ok(Ok(())) => StatusCode::OK,
        // They are kept, and will be in the lake later.
        Ok(Err(refusal)) => {
            tracing::warn!(source = name, ?refusal, "records are kept, and their commit could not be waited for");
            StatusCode::ACCEPTED
        }
        Err(_) => StatusCode::ACCEPTED,
    }
}

fn refused(source: &str, refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Busy { retry_after } => {
            Problem::new(Reason::Busy, "the source takes no more at this time").retry_after(retry_after)
        }
        Refusal::Full { retry_after } => {
            Problem::new(Reason::Full, "there is no space to keep records").retry_after(retry_after)
        }
        Refusal::NotReady { retry_after } => {
            Problem::new(Reason::NotReady, "the source is starting or stopping").retry_after(retry_after)
        }
        Refusal::TooLarge => {
            Problem::new(Reason::BodyTooLarge, "there are more records than are kept at once: send fewer at a time")
        }
        Refusal::KeyReused => Problem::new(
            Reason::KeyReused,
            "`Idempotency-Key` was used with other records, expected a key of its own for each request",
        ),
        Refusal::Failed(reason) => {
            tracing::error!(source, reason, "records could not be kept");
            Problem::new(Reason::StorageFailed, "the records could not be kept; the reason is in the server's log")
        }
    }
}
