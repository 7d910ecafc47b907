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
    pub pool: Mutex<Pool>,
    pub recorder: Mutex<Recorder>,
    pub ledger: Option<Mutex<Ledger>>,
    pub resends: Resends,
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
    let planned =
        plan(&shared.links, &shared.mix, shared.seed, turn.number, &mut lock(&shared.pool));
    let kind = planned.kind;
    let start = Instant::now();
    let exchanged = exchange(shared, connection, &planned).await;
    let times = Times {
        lag: turn.intended.map_or(Duration::ZERO, |intended| start - intended),
        service: start.elapsed(),
    };
    note_accepted(shared, &exchanged.gained, kind)?;
    // Users do not follow a link again by themselves, and nobody retries what is forged.
    let is_postback = !matches!(kind, Kind::Click | Kind::Forged);
    let send_again = is_postback && shared.resends.is_on() && exchanged.is_to_be_sent_again();
    let given_back = if send_again { shared.resends.add(planned, 0) } else { Some(planned) };
    let is_lost = send_again && given_back.is_some();
    if let Some(planned) = given_back {
        settle(&shared.links, planned.subject, &exchanged.gained, &mut lock(&shared.pool));
    }
    let mut recorder = lock(&shared.recorder);
    recorder.sent(kind, exchanged.ending, exchanged.status, times);
    recorder.given_up += u64::from(is_lost);
    if let Some(surprise) = exchanged.surprise {
        recorder.surprise(surprise);
    }
    Ok(())
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

/// Sends one request and reads what its answer means.
pub async fn exchange<C: Connect>(
    shared: &Shared,
    connection: &mut Connection<C>,
    planned: &Planned,
) -> Exchanged {
    let asked = connection.get(&planned.authority, &planned.path_and_query);
    let answer = tokio::time::timeout(shared.timeout, asked).await;
    let mut failed = |what: String| {
        connection.give_up();
        let (ending, gained) = (Ending::Failed, Gain::Nothing);
        Exchanged { ending, status: None, gained, surprise: Some(what) }
    };
    match answer {
        Ok(Ok(answer)) => {
            let (kind, location) = (planned.kind, answer.location.as_deref());
            let gained = gain(&shared.links, kind, answer.status, location, &answer.body);
            let (ending, surprise) = judge(kind, answer.status, &gained);
            Exchanged { ending, status: Some(answer.status), gained, surprise }
        }
        Ok(Err(lost)) => failed(lost.0),
        Err(_) => failed("no answer in time".to_owned()),
    }
}

/// Keeps what was accepted in the ledger.
pub fn note_accepted(shared: &Shared, gained: &Gain, kind: Kind) -> std::io::Result<()> {
    match (gained, &shared.ledger) {
        (Gain::Accepted(id), Some(ledger)) => lock(ledger).write(*id, kind),
        _ => Ok(()),
    }
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
