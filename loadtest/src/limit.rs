//! A time limit for one request after another. A timer costs as much to set and to put away as all
//! the arithmetic of a request, and nearly every answer comes long before its limit; so one timer
//! stays set over many requests, and is set anew when it fires too early for the one under way.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// The time limit of each request of a connection.
pub struct Limit {
    timeout: Duration,
    /// Fires at the limit of this request or an earlier one; none before the first that waits.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Limit {
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, timer: None }
    }

    /// What a future gives; none when it is not ready within the limit from `start` on.
    pub async fn keep<T>(&mut self, start: Instant, future: impl Future<Output = T>) -> Option<T> {
        let deadline = start + self.timeout;
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(value));
            }
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            loop {
                ready!(timer.as_mut().poll(cx));
                if timer.deadline() >= deadline {
                    return Poll::Ready(None);
                }
                timer.as_mut().reset(deadline);
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn each_request_has_the_whole_time() {
        let second = Duration::from_secs(1);
        let mut limit = Limit::new(2 * second);
        let began = Instant::now();
        // Whether it waits or not, and however far the one before had come.
        assert_eq!(limit.keep(Instant::now(), async { 1 }).await, Some(1));
        for _ in 0..5 {
            let answer = async { sleep(second + second / 2).await };
            assert!(limit.keep(Instant::now(), answer).await.is_some());
        }
        assert_eq!(began.elapsed(), 15 * second / 2);
        for _ in 0..2 {
            let began = Instant::now();
            assert_eq!(limit.keep(began, pending::<()>()).await, None);
            let waited = began.elapsed();
            assert!((2 * second..2 * second + second / 10).contains(&waited), "{waited:?}");
        }
        // What is ready at the last moment is an answer.
        assert_eq!(limit.keep(Instant::now() - 3 * second, async { 1 }).await, Some(1));
        assert_eq!(limit.keep(Instant::now() - 3 * second, pending::<()>()).await, None);
    }
}
