//! The end of a server: what it accepted comes into the lake as far as the time allows.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use lakeport::telemetry::{Live, State};

use crate::direct::Direct;
use crate::intake::Intake;

/// How often it is looked at whether an export is at work that has something to do.
const LOOK: Duration = Duration::from_millis(50);

/// An intake that tells what it accepted and is not in the lake.
#[async_trait]
pub trait Drain: lakeport_serve::Intake {
    /// Waits until everything that was accepted is in the lake, or no export is at work that would bring it there.
    async fn drain(&self) {}

    /// The sources of which records are kept that are not in the lake, and how many there are.
    fn left(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// It keeps nothing.
impl Drain for Direct {}

#[async_trait]
impl Drain for Intake {
    async fn drain(&self) {
        let all = join_all(self.logs.iter().map(|(_, log)| log.wait_for_export(log.wal.next())));
        let nobody_is_at_work = async {
            while self.is_draining() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            _ = all => {}
            () = nobody_is_at_work => {}
        }
    }

    fn left(&self) -> Vec<(String, u64)> {
        let left =
            self.logs.iter().map(|(source, log)| (source.to_owned(), log.wal.backlog(log.all_exported()).records));
        left.filter(|(_, records)| *records > 0).collect()
    }
}

impl Intake {
    /// Whether an export is at work that has not everything of its source's log in its lake.
    fn is_draining(&self) -> bool {
        self.exports.iter().any(|export| {
            let is_behind =
                self.logs.get(&export.source).is_some_and(|log| log.exported_by(&export.name) < log.wal.next());
            is_behind && export.live.iter().any(|live| is_at_work(live))
        })
    }
}

/// Whether an export is at work, or about to be, with a store that answers.
fn is_at_work(live: &Live) -> bool {
    match live.condition().state {
        State::AtWork => true,
        State::Opening => live.retries.outage().is_none(),
        State::Waiting | State::StandingBy | State::Failed | State::Ended => false,
    }
}
