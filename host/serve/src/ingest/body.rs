//! Reads a body within its limits of bytes and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::answer::{Problem, Reason};
use crate::budget::Charge;
use crate::settings::{Settings, Timeouts};

/// Reads a body as it is sent.
pub(crate) async fn read(mut body: Incoming, settings: &Settings, charge: &mut Charge) -> Result<Bytes, Problem> {
    let limit = settings.limits.body_bytes;
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let pace = Pace::new(&settings.timeouts);
    let mut read = BytesMut::new();
    loop {
        let frame = timeout_at(pace.deadline(read.len()), body.frame()).await;
        let frame = frame.map_err(|_| pace.too_slow(read.len()))?;
        let Some(frame) = frame else { return Ok(read.freeze()) };
        let invalid = |_| Problem::new(Reason::InvalidBody, "the body ends early, or its chunks are invalid").closing();
        let frame = frame.map_err(invalid)?;
        // Trailers are dropped.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit - read.len() {
            return Err(too_large(limit));
        }
        charge.grow(data.len()).map_err(|_| no_memory())?;
        read.extend_from_slice(&data);
    }
}

/// When a body is too slow.
struct Pace<'a> {
    begun: Instant,
    timeouts: &'a Timeouts,
}

impl<'a> Pace<'a> {
    fn new(timeouts: &'a Timeouts) -> Self {
        Pace { begun: Instant::now(), timeouts }
    }

    /// The latest time for the next bytes, after so many.
    fn deadline(&self, read: usize) -> Instant {
        let Timeouts { body, body_idle, body_rate, .. } = *self.timeouts;
        let earned = Duration::from_secs_f64(read as f64 / f64::from(body_rate.max(1)));
        let by_rate = self.begun + body_idle + earned;
        by_rate.min(Instant::now() + body_idle).min(self.begun + body)
    }

    fn too_slow(&self, read: usize) -> Problem {
        let Timeouts { body, body_idle, body_rate, .. } = self.timeouts;
        Problem::new(
            Reason::BodyTimeout,
            format!(
                "{read} bytes came in {:.1} s, expected at least {body_rate} bytes a second, no pause of {} s and the end within {} s",
                self.begun.elapsed().as_secs_f64(),
                body_idle.as_secs_f64(),
                body.as_secs_f64()
            ),
        )
        .closing()
    }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Reason::BodyTooLarge, format!("the body has more than {limit} bytes: send fewer records at a time"))
        .closing()
}

/// All requests together hold what they may.
pub(super) fn no_memory() -> Problem {
    Problem::new(Reason::NoMemory, "the server holds as many bodies as it may").retry_after(Duration::from_secs(1))
}
