//! How much of a long test runs: a sample in `./dev test`, all of it in `./dev soak`. Unit tests of the host include this file too.

/// Returns how many repetitions of a long test to step over: `one_in`, or fewer where `LAKEPORT_SOAK` gives a larger share of
/// them in percent. With `LAKEPORT_SOAK=100`, it is 1.
///
/// `one_in` is a prime that no inner loop of the test has as its length, so that the sample meets all inner cases.
pub fn stride(one_in: usize) -> usize {
    match std::env::var("LAKEPORT_SOAK") {
        Ok(share) => {
            let share = share.parse().ok().filter(|share| (1..=100).contains(share));
            let share: usize = share.expect("LAKEPORT_SOAK is a share in percent, from 1 to 100");
            one_in.min(100_usize.div_ceil(share))
        }
        Err(_) => one_in,
    }
}
