//! Waiting for a log that is unwell: brokers that restart, elect leaders or have just been asked to
//! make the topics. For the start of a role; once it runs, each loop has its own way of waiting.

use crate::{OpenError, ReadError};
use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// An error that may pass by itself.
pub trait MayPass: Display {
    fn may_pass(&self) -> bool;
}

impl MayPass for ReadError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl MayPass for OpenError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// Tries until it succeeds, for as long as the error is one that may pass, and says so each time.
/// Never gives up by itself: race it against being told to stop. `what` is what cannot be done, e.g.
/// `"the configuration cannot be read"`.
///
/// # Errors
/// The first that will not pass.
pub async fn retried<T, E: MayPass, F: Future<Output = Result<T, E>>>(
    what: &str,
    attempt: impl FnMut() -> F,
) -> Result<T, E> {
    retried_after(PAUSE, what, attempt).await
}

async fn retried_after<T, E: MayPass, F: Future<Output = Result<T, E>>>(
    pause: Duration,
    what: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    loop {
        match attempt().await {
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, "{what}; trying again");
                tokio::time::sleep(pause).await;
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_what_will_not_is_told() {
        let mut outcomes = vec![
            Err(ReadError::Damaged("broken".to_string())),
            Ok(7),
            Err(ReadError::Unavailable("electing".to_string())),
            Err(ReadError::Unavailable("away".to_string())),
        ];
        let mut attempt = || {
            let outcome = outcomes.pop().unwrap();
            async { outcome }
        };
        assert_eq!(retried_after(Duration::ZERO, "unreadable", &mut attempt).await, Ok(7));
        let error = retried_after(Duration::ZERO, "unreadable", &mut attempt).await.unwrap_err();
        assert!(matches!(error, ReadError::Damaged(_)));
    }
}
