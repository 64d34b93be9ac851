//! The AWS Lambda function: what streams, queues and buckets bring is in the lake once, whatever the platform delivers.
//!
//! A binary of its own, for Cargo builds the function for the tests of its package only.

mod events;
mod invocations;
mod platform;
mod queues;
mod streams;
mod traces;

#[path = "../support"]
mod support {
    pub mod collector;
    pub mod lambda;
    pub mod ministack;
    #[expect(dead_code, reason = "other suites need the rest")]
    pub mod random;
    pub mod tools;
}
