//! Sends again what was not taken, as trackers do on a 5xx or a lost answer: the same request, after
//! waits that double. Its click stays out of the pool until then, as its later events would wait.

use crate::connection::{Connect, Connection};
use crate::request::{Gain, Planned, settle};
use crate::worker::{Shard, Shared, exchange, lock, note_sent};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// No wait gets longer.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// How often is looked for what is due.
const LOOK: Duration = Duration::from_millis(10);
/// Requests that may wait; what comes on top of them is given up.
const WAITING_MAX: usize = 1_000_000;

/// A request that waits for its next attempt; the earliest is the greatest.
struct Waiting {
    due: Reverse<Instant>,
    /// Attempts again so far.
    attempts: u32,
    planned: Planned,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

/// What is to be sent again.
pub struct Resends {
    /// Attempts again for one request; 0: nobody sends again.
    attempts_max: u32,
    first_wait: Duration,
    waiting: Mutex<BinaryHeap<Waiting>>,
    /// Waiting, or under way.
    open: AtomicUsize,
    /// Nothing new is sent any more.
    is_last_call: AtomicBool,
}

impl Resends {
    pub fn new(attempts_max: u32, first_wait: Duration) -> Self {
        let (waiting, open) = (Mutex::default(), AtomicUsize::new(0));
        Self { attempts_max, first_wait, waiting, open, is_last_call: AtomicBool::new(false) }
    }

    pub fn is_on(&self) -> bool {
        self.attempts_max > 0
    }

    /// Waiting, or under way.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// From now on work ends when nothing is open.
    pub fn last_call(&self) {
        self.is_last_call.store(true, Ordering::Relaxed);
    }

    /// Takes what was not taken, to be sent again; gives it back when that is over.
    pub fn add(&self, planned: Planned, attempts: u32) -> Option<Planned> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts >= self.attempts_max || waiting.len() >= WAITING_MAX {
            return Some(planned);
        }
        let doubled = self.first_wait.saturating_mul(1 << attempts.min(16));
        let due = Reverse(Instant::now() + doubled.min(WAIT_MAX));
        waiting.push(Waiting { due, attempts, planned });
        self.open.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn next_due(&self) -> Option<Waiting> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = waiting.peek().is_some_and(|first| first.due.0 <= Instant::now());
        if is_due { waiting.pop() } else { None }
    }
}

/// Sends again whatever is due, until nothing can come any more. An error is one of the ledger's
/// file.
pub async fn work<C: Connect>(
    shared: &Shared,
    shard: &Shard,
    mut connection: Connection<C>,
) -> std::io::Result<()> {
    let resends = &shard.resends;
    loop {
        if shared.stopped.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Some(Waiting { attempts, planned, .. }) = resends.next_due() else {
            if resends.is_last_call.load(Ordering::Relaxed) && resends.open() == 0 {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
            continue;
        };
        let exchanged = exchange(shared, &mut connection, Instant::now(), &planned).await;
        let accepted = matches!(exchanged.gained, Gain::Accepted(_));
        note_sent(shared, shard, &exchanged, &planned)?;
        let given_back = if accepted || !exchanged.is_to_be_sent_again() {
            Some(planned)
        } else {
            resends.add(planned, attempts + 1)
        };
        let mut recorder = lock(&shard.recorder);
        recorder.resent(accepted, !accepted && given_back.is_some());
        if let Some(surprise) = exchanged.surprise {
            recorder.surprise(surprise);
        }
        drop(recorder);
        if let Some(planned) = given_back {
            settle(&shared.links, planned, &exchanged.gained, &mut lock(&shard.pool));
        }
        resends.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Place;
    use crate::mix::Kind;
    use crate::request::{Note, Shape, Subject};

    fn planned(path: &str) -> Planned {
        Planned {
            kind: Kind::Valid,
            place: Place::new("http", "h"),
            path_and_query: path.to_owned(),
            subject: Subject::Nothing,
            note: Note { link: 0, event: 0, shape: Shape::Fine, click: None },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_and_end() {
        let resends = Resends::new(4, Duration::from_secs(5));
        for (attempts, wait_s) in [(0, 5), (1, 10), (2, 15), (3, 15)] {
            assert!(resends.add(planned("a"), attempts).is_none());
            tokio::time::advance(Duration::from_secs(wait_s) - Duration::from_millis(1)).await;
            assert!(resends.next_due().is_none(), "attempt {attempts} comes too soon");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(resends.next_due().is_some(), "attempt {attempts} does not come");
        }
        assert!(resends.add(planned("a"), 4).is_some(), "four are enough");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_is_due_comes_first() {
        let resends = Resends::new(9, Duration::from_secs(1));
        assert!(resends.add(planned("late"), 2).is_none());
        assert!(resends.add(planned("early"), 0).is_none());
        tokio::time::advance(Duration::from_secs(10)).await;
        let order = [resends.next_due(), resends.next_due()];
        let paths = order.map(|it| it.unwrap().planned.path_and_query);
        assert_eq!(paths, ["early", "late"]);
    }
}
