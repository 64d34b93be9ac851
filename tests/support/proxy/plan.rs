//! What a seed does to requests.

use std::time::Duration;

use super::super::random::Random;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends before the store hears of the request.
    ResetBefore,
    /// The connection ends in the middle of the request's body; the store takes no half request.
    CutRequest,
    /// The store does what it is asked to, and the connection ends instead of a reply.
    ResetAfter,
    /// The same, in the middle of the reply.
    CutReply,
    /// The store does what it is asked to, and the reply says 500.
    HidesEffect,
    /// The connection ends, and the store hears of the request later: of another process, or of none.
    LandsLate(Duration),
    /// No reply comes for so long, and then the connection ends; the store does not hear of the request.
    Stall(Duration),
    /// The store does what it is asked to at once, and the reply comes that much later, if somebody still waits.
    LateReply(Duration),
    /// The request comes that much later, and its reply too.
    Delay(Duration),
    /// The store does not hear of it: a gateway refuses with this status, and may say when to come again.
    Refusal { status: u16, retry_after: bool },
}

impl Fault {
    /// The kinds of faults, as counts name them.
    pub const KINDS: [&str; 10] = [
        "reset before",
        "cut request",
        "reset after",
        "cut reply",
        "hidden effect",
        "lands late",
        "stall",
        "late reply",
        "delay",
        "refusal",
    ];

    fn of(kind: &str, random: &mut Random) -> Fault {
        let mut time = |from, to| Duration::from_millis(random.within(from..=to));
        match kind {
            "reset before" => Fault::ResetBefore,
            "cut request" => Fault::CutRequest,
            "reset after" => Fault::ResetAfter,
            "cut reply" => Fault::CutReply,
            "hidden effect" => Fault::HidesEffect,
            "lands late" => Fault::LandsLate(time(20, 900)),
            "stall" => Fault::Stall(time(100, 600)),
            "late reply" => Fault::LateReply(time(100, 600)),
            "delay" => Fault::Delay(time(5, 120)),
            _ => Fault::Refusal { status: random.one_of(&[500, 503, 429]), retry_after: random.happens(300) },
        }
    }
}

/// Which requests of a run meet which faults: a seed chooses some kinds, how often they come, and then for each request.
#[derive(Debug, Clone)]
pub struct Plan {
    seed: u64,
    kinds: Vec<&'static str>,
    per_mille: u64,
}

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Plan {
        let mut random = Random::new(seed);
        let per_mille = random.one_of(&[20, 60, 120, 200]);
        // All of them together hide what a few of them do when they come often.
        let mut kinds: Vec<_> = Fault::KINDS.into_iter().filter(|_| random.happens(500)).collect();
        if kinds.is_empty() {
            kinds.push(random.one_of(&Fault::KINDS));
        }
        Plan { seed, kinds, per_mille }
    }

    /// What happens to a run's request of this number, counted from 0, and how its connection ends where it does: true for a
    /// reset, false for a plain end.
    pub fn fault(&self, number: u64) -> Option<(&'static str, Fault, bool)> {
        let mut random = Random::new(self.seed ^ number.wrapping_add(1).wrapping_mul(0xD6E8_FEB8_6659_FD93));
        random.happens(self.per_mille).then(|| {
            let kind = random.one_of(&self.kinds);
            (kind, Fault::of(kind, &mut random), random.happens(700))
        })
    }
}

#[test]
fn a_seed_decides_everything_and_all_seeds_together_have_every_fault() {
    let of = |seed| (0..300).map(|number| Plan::new(seed).fault(number)).collect::<Vec<_>>();
    assert_eq!(of(7), of(7));
    assert_ne!(of(7), of(8));
    let met: std::collections::BTreeSet<_> = (0..30).flat_map(of).flatten().map(|(kind, ..)| kind).collect();
    assert_eq!(met, Fault::KINDS.into());
}
