//! `POST /{FunctionName}`: from a request to what is done about it.

use std::sync::Arc;

use async_trait::async_trait;
use http::request::Parts;
use http::{Method, StatusCode};
use hyper::body::Incoming;

use super::{Binding, Invocation, Reply, Trigger, failed, request};
use crate::answer::{Answer, Problem, Reason, with_type};
use crate::ingest::{self, Asked, read_body};
use crate::server::Shared;

/// What is done about invocations.
#[async_trait]
pub trait Functions: Send + Sync + 'static {
    /// Returns the trigger of a function.
    fn binding(&self, function: &str) -> Option<Binding>;

    /// Returns the part of a path below the app's prefix of routes, where the host may have forwarded a request with this path as it
    /// came. Any other path is that of an invocation.
    fn forwarded(&self, path: &str) -> Option<String>;

    /// Returns the function of an HTTP trigger whose path below the prefix of routes this is.
    fn function_at(&self, route: &str) -> Option<String>;

    /// Does what an invocation asks for. `id` is the host's name for it, for logs.
    ///
    /// The server lets the call end even if the host goes away.
    async fn invoke(&self, function: &str, id: &str, invocation: Invocation) -> Reply;
}

/// Takes the records of a request that the host forwards as it came, to a function with an HTTP trigger.
pub(crate) async fn forward(shared: &Arc<Shared>, route: &str, head: Parts, body: Incoming) -> Result<Answer, Problem> {
    let functions = shared.functions.get().expect("the route is there only with them");
    let function = functions
        .function_at(route)
        .ok_or_else(|| Problem::new(Reason::NotFound, "there is no function with an HTTP trigger at this path"))?;
    match head.method {
        Method::OPTIONS => return ingest::options(&head.headers, &shared.settings.webhook_origins),
        Method::POST => {}
        _ => return Err(Problem::method_not_allowed(ingest::METHODS)),
    }
    let query = request::without_keys(head.uri.query().unwrap_or_default());
    let asked = Asked::of(shared, &function, &query, &head.headers)?;
    let mut charge = shared.budget.charge();
    let body = read_body(body, &shared.settings, &mut charge).await?;
    shared.metrics.body_bytes(body.len());
    ingest::take(shared, &function, asked, body, charge).await
}

/// Answers an invocation. What cannot be parsed fails, so that the platform tries again and somebody sees it.
pub(crate) async fn invoke(shared: &Arc<Shared>, name: String, head: Parts, body: Incoming) -> Result<Answer, Problem> {
    let functions = shared.functions.get().expect("the route is there only with them").clone();
    let binding =
        functions.binding(&name).ok_or_else(|| Problem::new(Reason::NotFound, "there is no function of this name"))?;
    let mut charge = shared.budget.charge();
    let body = read_body(body, &shared.settings, &mut charge).await?;
    shared.metrics.body_bytes(body.len());
    if binding.trigger == Trigger::Http {
        return Ok(request::answer(shared, &name, &binding, &body, charge).await);
    }
    let id = head.headers.get("x-azure-functions-invocationid").map(|id| id.as_bytes().escape_ascii().to_string());
    let id = id.unwrap_or_default();
    let invoking = tokio::spawn(async move {
        let reply = match Invocation::parse(&binding, &body) {
            Ok(invocation) => functions.invoke(&name, &id, invocation).await,
            Err(error) => {
                tracing::error!(function = name, id, %error, "an invocation is not what its trigger sends");
                failed(&error.to_string())
            }
        };
        drop(charge);
        reply
    });
    let reply = invoking.await.unwrap_or_else(|error| {
        tracing::error!(%error, "an invocation failed: a defect");
        failed("a defect; it is in the handler's log")
    });
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(with_type(status, "application/json", reply.body))
}
