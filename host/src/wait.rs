//! Waiting for a value that another task sends.

use tokio::sync::watch::Receiver;
use tokio::sync::watch::error::RecvError;

/// Returns when `is_so` holds for the value that was sent last.
///
/// Unlike [`Receiver::wait_for`], it returns no guard of that value: an arm of `tokio::select!` holds a guard as long as it runs, and
/// while one is held whoever sends blocks its thread. Where every thread of the runtime blocks, the arm never ends.
///
/// # Errors
/// The sender is gone.
#[expect(clippy::disallowed_methods, reason = "the guard is dropped at once")]
pub async fn until<T>(receiver: &mut Receiver<T>, is_so: impl FnMut(&T) -> bool) -> Result<(), RecvError> {
    receiver.wait_for(is_so).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waited_in_an_arm_does_not_keep_others_from_sending() {
        let (sender, mut receiver) = tokio::sync::watch::channel(true);
        let sent = tokio::select! {
            Ok(()) = until(&mut receiver, |value| *value) => {
                let sending = tokio::task::spawn_blocking(move || sender.send_replace(false));
                tokio::time::timeout(std::time::Duration::from_secs(30), sending).await
            }
        };
        assert!(sent.expect("sending blocks").unwrap());
        assert!(until(&mut receiver, |value| *value).await.is_err(), "the sender is gone");
    }
}
