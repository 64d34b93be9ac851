//! `POST /{FunctionName}`: from a request to what is done about it.

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;

use super::{Binding, Invocation, Reply, failed};
use crate::answer::{Answer, Problem, Reason, with_type};
use crate::ingest::read_body;
use crate::server::Shared;

/// What is done about invocations.
#[async_trait]
pub trait Functions: Send + Sync + 'static {
    /// Returns the trigger of a function.
    fn binding(&self, function: &str) -> Option<Binding>;

    /// Does what an invocation asks for. `id` is the host's name for it, for logs.
    ///
    /// The server lets the call end even if the host goes away.
    async fn invoke(&self, function: &str, id: &str, invocation: Invocation) -> Reply;
}

/// Answers an invocation. What cannot be parsed fails, so that the platform tries again and somebody sees it.
pub(crate) async fn invoke(shared: &Arc<Shared>, name: String, head: Parts, body: Incoming) -> Result<Answer, Problem> {
    let functions = shared.functions.get().expect("the route is there only with them").clone();
    let binding =
        functions.binding(&name).ok_or_else(|| Problem::new(Reason::NotFound, "there is no function of this name"))?;
    let mut charge = shared.budget.charge();
    let body = read_body(body, &shared.settings, &mut charge).await?;
    shared.metrics.body_bytes(body.len());
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
