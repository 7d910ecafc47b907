//! One connection's loop: take a turn, wait for its time, send, note the answer.

use crate::connection::{Connect, Connection};
use crate::ledger::Ledger;
use crate::mix::{Kind, Mix};
use crate::pool::Pool;
use crate::record::{Ending, Recorder, Times};
use crate::request::{Gain, Links, Planned, gain, plan, settle};
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
    pub pool: Mutex<Pool>,
    pub recorder: Mutex<Recorder>,
    pub ledger: Option<Mutex<Ledger>>,
    /// The user wants no more.
    pub stopped: AtomicBool,
}

/// Nobody holds one of these locks over anything that can fail half-way.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends until the schedule has no more turns. An error is one of the ledger's file.
pub async fn work<C: Connect>(shared: &Shared, connect: C) -> std::io::Result<()> {
    let mut connection = Connection::new(connect);
    // Turns that are overdue when the run is over plus the time of one answer are not sent any more:
    // a target that stands still must not hold the run for ever.
    let last_start = shared.schedule.end() + shared.timeout;
    while let Some(turn) = shared.schedule.next() {
        if let Some(intended) = turn.intended {
            tokio::time::sleep_until(intended).await;
        }
        if shared.stopped.load(Ordering::Relaxed) {
            break;
        }
        let now = Instant::now();
        match turn.intended {
            Some(intended) if now > last_start => {
                let kind = shared.mix.kind(shared.seed, turn.number);
                lock(&shared.recorder).unsent(kind, now - intended);
            }
            _ => take_turn(shared, &mut connection, turn).await?,
        }
    }
    Ok(())
}

async fn take_turn<C: Connect>(
    shared: &Shared,
    connection: &mut Connection<C>,
    turn: Turn,
) -> std::io::Result<()> {
    let Planned { kind, authority, path_and_query, subject } =
        plan(&shared.links, &shared.mix, shared.seed, turn.number, &mut lock(&shared.pool));
    let start = Instant::now();
    let asked = connection.get(&authority, &path_and_query);
    let answer = tokio::time::timeout(shared.timeout, asked).await;
    let times = Times {
        lag: turn.intended.map_or(Duration::ZERO, |intended| start - intended),
        service: start.elapsed(),
    };

    let (ending, status, gained, surprise) = match answer {
        Ok(Ok(answer)) => {
            let location = answer.location.as_deref();
            let gained = gain(&shared.links, kind, answer.status, location, &answer.body);
            let (ending, surprise) = judge(kind, answer.status, &gained);
            (ending, Some(answer.status), gained, surprise)
        }
        Ok(Err(lost)) => {
            connection.give_up();
            (Ending::Failed, None, Gain::Nothing, Some(lost.0))
        }
        Err(_) => {
            connection.give_up();
            (Ending::Failed, None, Gain::Nothing, Some("no answer in time".to_owned()))
        }
    };
    if let (Gain::Accepted(id), Some(ledger)) = (&gained, &shared.ledger) {
        lock(ledger).write(*id, kind)?;
    }
    settle(&shared.links, subject, &gained, &mut lock(&shared.pool));
    let mut recorder = lock(&shared.recorder);
    recorder.sent(kind, ending, status, times);
    if let Some(surprise) = surprise {
        recorder.surprise(surprise);
    }
    Ok(())
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
