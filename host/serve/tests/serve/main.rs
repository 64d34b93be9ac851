//! The server as clients see it: over TCP, in front of an intake in memory.

mod attacks;
mod capture;
mod connections;
mod events;
mod ingest;
mod operations;
mod security;
mod support;
