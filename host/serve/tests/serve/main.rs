//! The server as clients see it: over TCP, in front of an intake in memory.

mod connections;
mod events;
mod ingest;
mod security;
mod support;
