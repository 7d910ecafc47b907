//! One connection's loop: take a turn, wait for its time, send, note the answer.

use crate::connection::{Connect, Connection};
use crate::ledger::Ledger;
use crate::mix::{Kind, Mix};
use crate::pool::Pool;
use crate::record::{Ending, Recorder, Times};
use crate::request::{Gain, Links, Planned, gain, plan, settle};
use crate::resend::Resends;
use crate::schedule::{Schedule, Turn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What all connections of a run share.
pub struct Shared {
    pub links: Links,
    pub mix: Mix,
    pub seed: u64,
    pub timeout: Duration,
    pub schedule: Schedule,
    pub shards: Vec<Shard>,
    pub ledger: Option<Mutex<Ledger>>,
    /// The user wants no more.
    pub stopped: AtomicBool,
}

/// What the connections of one thread share, so that threads do not wait for each other.
pub struct Shard {
    pub number: u8,
    pub pool: Mutex<Pool>,
    pub recorder: Mutex<Recorder>,
    pub resends: Resends,
}

impl Shared {
    /// Everything that was recorded so far.
    pub fn recorded(&self) -> Recorder {
        let run = self.schedule.end() - self.schedule.start();
        let mut all = Recorder::new(run, &self.schedule.parts());
        self.shards.iter().for_each(|shard| all.merge(&lock(&shard.recorder)));
        all
    }
}

/// Nobody holds one of these locks over anything that can fail half-way.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends until the schedule has no more turns. An error is one of the ledger's file.
pub async fn work<C: Connect>(
    shared: &Shared,
    shard: &Shard,
    mut connection: Connection<C>,
) -> std::io::Result<()> {
    // Turns that are overdue when the run is over plus the time of one answer are not sent any more:
    // a target that stands still must not hold the run for ever.
    let last_start = shared.schedule.end() + shared.timeout;
    while let Some(turn) = shared.schedule.next() {
        if let Some(intended) = turn.intended
            && intended > Instant::now()
        {
            tokio::time::sleep_until(intended).await;
        }
        if shared.stopped.load(Ordering::Relaxed) {
            break;
        }
        let now = Instant::now();
        match turn.intended {
            Some(intended) if now > last_start => {
                let kind = shared.mix.kind(shared.seed, turn.number);
                let offset = intended - shared.schedule.start();
                lock(&shard.recorder).unsent(kind, offset, now - intended);
            }
            _ => take_turn(shared, shard, &mut connection, turn, now).await?,
        }
    }
    Ok(())
}

async fn take_turn<C: Connect>(
    shared: &Shared,
    shard: &Shard,
    connection: &mut Connection<C>,
    turn: Turn,
    start: Instant,
) -> std::io::Result<()> {
    let planned =
        plan(&shared.links, &shared.mix, shared.seed, turn.number, &mut lock(&shard.pool));
    let kind = planned.kind;
    let asked = if kind == Kind::Retry {
        lose_an_answer(shared, shard, connection, &planned).await?;
        Instant::now()
    } else {
        start
    };
    let exchanged = exchange(shared, connection, asked, &planned).await;
    let times = Times {
        intended: turn.intended.unwrap_or(start) - shared.schedule.start(),
        lag: turn.intended.map_or(Duration::ZERO, |intended| start - intended),
        service: start.elapsed(),
    };
    note_sent(shared, shard, &exchanged, &planned)?;
    // Users do not follow a link again by themselves, and nobody retries what is forged.
    let is_postback = !matches!(kind, Kind::Click | Kind::Forged);
    let send_again = is_postback && shard.resends.is_on() && exchanged.is_to_be_sent_again();
    let given_back = if send_again { shard.resends.add(planned, 0) } else { Some(planned) };
    let is_lost = send_again && given_back.is_some();
    if let Some(planned) = given_back {
        settle(&shared.links, planned, &exchanged.gained, &mut lock(&shard.pool));
    }
    let mut recorder = lock(&shard.recorder);
    recorder.sent(kind, exchanged.ending, exchanged.status, times);
    recorder.given_up += u64::from(is_lost);
    if let Some(surprise) = exchanged.surprise {
        recorder.surprise(surprise);
    }
    Ok(())
}

/// Sends a request whose answer nobody waits for: it may be taken, or not.
async fn lose_an_answer<C: Connect>(
    shared: &Shared,
    shard: &Shard,
    connection: &mut Connection<C>,
    planned: &Planned,
) -> std::io::Result<()> {
    // What cannot be sent is seen when it is sent again.
    let _ = connection.abandon(Instant::now(), &planned.place, &planned.path_and_query).await;
    connection.give_up();
    match &shared.ledger {
        Some(ledger) => lock(ledger).write(None, planned.kind, shard.number, planned.note),
        None => Ok(()),
    }
}

/// What came of sending one request.
pub struct Exchanged {
    pub ending: Ending,
    pub status: Option<u16>,
    pub gained: Gain,
    pub surprise: Option<String>,
}

impl Exchanged {
    /// A tracker sends again what got a 5xx or no answer.
    pub fn is_to_be_sent_again(&self) -> bool {
        self.status.is_none_or(|status| status >= 500)
    }
}

/// Sends one request and reads what its answer means; the time for it counts from `start`.
pub async fn exchange<C: Connect>(
    shared: &Shared,
    connection: &mut Connection<C>,
    start: Instant,
    planned: &Planned,
) -> Exchanged {
    match connection.get(start, &planned.place, &planned.path_and_query).await {
        Ok(answer) => {
            let (kind, location) = (planned.kind, answer.location.as_deref());
            let gained = gain(&shared.links, kind, answer.status, location, &answer.body);
            let (ending, surprise) = judge(kind, answer.status, &gained);
            Exchanged { ending, status: Some(answer.status), gained, surprise }
        }
        Err(lost) => {
            connection.give_up();
            let (ending, gained) = (Ending::Failed, Gain::Nothing);
            Exchanged { ending, status: None, gained, surprise: Some(lost.0) }
        }
    }
}

/// Keeps in the ledger what was accepted, and what may have been taken: whatever got a 5xx or no
/// answer.
pub fn note_sent(
    shared: &Shared,
    shard: &Shard,
    exchanged: &Exchanged,
    planned: &Planned,
) -> std::io::Result<()> {
    let Some(ledger) = &shared.ledger else { return Ok(()) };
    let id = match exchanged.gained {
        Gain::Accepted(id) => Some(id),
        _ if matches!(planned.kind, Kind::Click | Kind::Forged) => return Ok(()),
        _ if exchanged.is_to_be_sent_again() => None,
        _ => return Ok(()),
    };
    lock(ledger).write(id, planned.kind, shard.number, planned.note)
}

/// What an answer means, and what to tell the user about it.
fn judge(kind: Kind, status: u16, gained: &Gain) -> (Ending, Option<String>) {
    match (gained, status) {
        (Gain::Unreadable(what), _) => (Ending::Surprise, Some(format!("{kind}: {what}"))),
        (_, status) if status == kind.expected_status() => (Ending::AsExpected, None),
        (_, 429 | 503) => (Ending::Shed, None),
        _ => {
            let expected = kind.expected_status();
            (Ending::Surprise, Some(format!("{kind}: answered {status}, not {expected}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_by_kind() {
        let cases = [
            (Kind::Click, 302, Gain::ClickId("a".into()), Ending::AsExpected),
            (Kind::Click, 302, Gain::Unreadable("x"), Ending::Surprise),
            (Kind::Click, 410, Gain::Nothing, Ending::Surprise),
            (Kind::Click, 503, Gain::Nothing, Ending::Shed),
            (Kind::Forged, 403, Gain::Nothing, Ending::AsExpected),
            (Kind::Forged, 429, Gain::Nothing, Ending::Shed),
            (Kind::Valid, 403, Gain::Nothing, Ending::Surprise),
            (Kind::Valid, 503, Gain::Nothing, Ending::Shed),
        ];
        for (kind, status, gained, expected) in cases {
            assert_eq!(judge(kind, status, &gained).0, expected, "{kind} {status}");
        }
    }
}
