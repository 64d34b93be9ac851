//! Takes records over HTTP, on the open internet.
//!
//! A [`Server`] owns its accept loop, so that every wait has a limit: for headers, for bodies, for idle connections, for the end.
//! It authenticates a request before it reads the body, turns the body into JSON records, one a line, and hands them to an
//! [`Intake`], which keeps them durably. It answers after that, and never before.
//!
//! ```no_run
//! # async fn example(intake: std::sync::Arc<dyn lakeport_serve::Intake>) -> lakeport_serve::Result<()> {
//! use lakeport_serve::{Key, Server, Settings};
//!
//! let mut settings = Settings::new("127.0.0.1:8080".parse().unwrap());
//! settings.keys.push(Key::bearer("sensors", "a-token-of-at-least-16-bytes").for_sources(["telemetry"]));
//! let clock = lakeport_serve::system_clock();
//! let server = Server::bind(settings, intake, clock).await?;
//! println!("listening on {}", server.address());
//! server.run(std::future::pending()).await;
//! # Ok(())
//! # }
//! ```
//!
//! `docs/serve.md` is the reference of routes, answers, limits and security.

mod answer;
mod auth;
mod budget;
mod connection;
mod error;
mod escape;
pub mod functions;
mod ingest;
mod intake;
mod metrics;
mod refusals;
mod route;
mod server;
mod settings;
mod tls;

pub use auth::{Key, Sources};
pub use error::{Error, Result};
pub use ingest::key_of;
pub use intake::{
    Accepted, Batch, Envelope, ExportHealth, Family, FamilyKind, Health, IdempotencyKey, Identity, Intake, Refusal,
    Sample, SourceInfo,
};
pub use server::{Handle, Server, Stopped};
pub use settings::{Clock, Limits, MetricsAddress, Settings, Timeouts, system_clock};
pub use tls::Tls;
