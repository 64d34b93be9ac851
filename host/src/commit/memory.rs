//! What this process may hold in memory of objects that it reads whole, over all exports.

use tokio::sync::{Semaphore, SemaphorePermit};

/// 256 MiB. An object that is larger is held alone.
const KIBIBYTES: u32 = 256 << 10;

static FREE: Semaphore = Semaphore::const_new(KIBIBYTES as usize);

/// Waits until `bytes` more may be held, which they may be as long as the permit lives. Whoever holds one asks for no other.
pub(super) async fn hold(bytes: u64) -> SemaphorePermit<'static> {
    let kibibytes = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).min(KIBIBYTES);
    FREE.acquire_many(kibibytes).await.expect("it is never closed")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::hold;

    #[tokio::test]
    async fn a_large_object_is_held_alone_and_others_wait() {
        let small = hold(1 << 20).await;
        let large = hold(u64::MAX);
        tokio::pin!(large);
        assert!(timeout(Duration::from_millis(20), &mut large).await.is_err(), "something else is held");
        drop(small);
        let large = large.await;
        assert!(timeout(Duration::from_millis(20), hold(1 << 10)).await.is_err(), "nothing is free");
        drop(large);
        drop(hold(1 << 10).await);
    }
}
