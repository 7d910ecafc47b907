//! One partition's deliveries: what a turn does to the state, and what is to be sent after it. No
//! HTTP and no clock here; the edge is [`super::run`].

use super::config::{DECISIONS_PER_TURN, EXPIRIES_PER_TURN, STARTS_PER_TURN};
use super::gates::{Admission, Gates, fingerprint};
use super::keys::Place;
use super::plan;
use super::queue::{Due, Queue};
use super::schedule::{Answer, RETRY_MS, judge};
use eventlog::overlay::Overlay;
use eventlog::{Commit, Offset, PartitionState, ReadError, Record, StoredRecord};
use schemas::codec::{self, DecodeError};
use schemas::{
    Catalog, Conversion, Decision, DeliveryAttempt, DeliveryKind, DeliveryOrder, DeliveryOutcome,
    DeliveryProblem, Destination, PublisherMessage, PublisherPostback, Topic, UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

/// A request to be made.
#[derive(Debug, Clone)]
pub struct Begin {
    pub place: Place,
    pub order: DeliveryOrder,
    pub postback: PublisherPostback,
}

/// A request that was made.
#[derive(Debug, Clone)]
pub struct Finished {
    pub place: Place,
    pub answer: Answer,
    pub began_at: UnixMillis,
    /// Chance, from 0 to 1, for the wait before the next attempt.
    pub unit: f64,
}

/// Why a turn could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A record of a newer writer.
    #[error("decisions/{partition} at {offset}: {source}")]
    Newer { partition: u32, offset: Offset, source: DecodeError },
}

/// A partition as it is worked on.
pub struct Desk {
    partition: u32,
    /// When to look at a destination again; the same in the order of times.
    wakes: BTreeMap<Destination, UnixMillis>,
    by_time: BTreeSet<(UnixMillis, Destination)>,
    /// Not to be called just now: looked at again when the edge says so.
    blocked: HashSet<Destination>,
    in_flight: HashSet<Place>,
    /// To be ended without a request.
    ended: Vec<(Place, DeliveryOutcome)>,
    /// Read, and not taken yet.
    unread: VecDeque<StoredRecord>,
    /// After those.
    read_to: Offset,
}

impl Desk {
    /// Finds what waits; tells the gates which destinations are disabled.
    pub fn open(
        partition: u32,
        next_offset: Offset,
        state: &dyn PartitionState,
        gates: &Gates,
    ) -> Result<Self, ReadError> {
        let mut queue = Queue::new(Overlay::new(state));
        let mut desk = Self {
            partition,
            wakes: BTreeMap::new(),
            by_time: BTreeSet::new(),
            blocked: HashSet::new(),
            in_flight: HashSet::new(),
            ended: Vec::new(),
            unread: VecDeque::new(),
            read_to: next_offset,
        };
        for (destination, due) in queue.destinations()? {
            desk.wake(&destination, due);
        }
        for (destination, fingerprint) in queue.disabled()? {
            gates.disable(&destination, &fingerprint);
        }
        Ok(desk)
    }

    /// Whether more decisions can be taken.
    #[must_use]
    pub fn wants_records(&self) -> bool {
        self.unread.is_empty()
    }

    pub fn give(&mut self, records: Vec<StoredRecord>, next_offset: Offset) {
        self.unread.extend(records);
        self.read_to = next_offset;
    }

    /// How many requests of this partition are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    fn wake(&mut self, destination: &Destination, at: UnixMillis) {
        let at = match self.wakes.get(destination) {
            Some(before) if *before <= at => return,
            _ => at,
        };
        self.set_wake(destination, Some(at));
    }

    fn set_wake(&mut self, destination: &Destination, at: Option<UnixMillis>) {
        if let Some(before) = self.wakes.remove(destination) {
            self.by_time.remove(&(before, destination.clone()));
        }
        if let Some(at) = at {
            self.wakes.insert(destination.clone(), at);
            self.by_time.insert((at, destination.clone()));
        }
    }

    /// Takes what was answered and what was decided; none when nothing changed.
    pub fn settle(
        &mut self,
        state: &dyn PartitionState,
        answered: Vec<Finished>,
        (catalog, gates): (&Catalog, &Gates),
        now: UnixMillis,
    ) -> Result<Option<Commit>, TurnError> {
        let mut turn =
            Turn { queue: Queue::new(Overlay::new(state)), rows: Vec::new(), catalog, now };
        let had_unread = !self.unread.is_empty();
        for finished in answered {
            self.in_flight.remove(&finished.place);
            self.wake(&finished.place.destination, now);
            if let Some((outcome, fingerprint)) = turn.answered(&finished)? {
                if outcome == DeliveryOutcome::Disabled {
                    tracing::warn!(destination = %finished.place.destination, "a publisher answered 410 Gone: nothing more is sent there until the postback is changed or something is resent to it");
                    turn.queue.set_disabled(&finished.place.destination, &fingerprint);
                    gates.disable(&finished.place.destination, &fingerprint);
                }
                count(outcome);
            }
        }
        for (place, outcome) in std::mem::take(&mut self.ended) {
            self.wake(&place.destination, now);
            if turn.end(&place, outcome)? {
                count(outcome);
            }
        }
        let in_flight = &self.in_flight;
        let expired =
            turn.queue.created_before(now.plus_ms(-RETRY_MS), EXPIRIES_PER_TURN, |place| {
                in_flight.contains(place)
            })?;
        for waiting in expired {
            let place = waiting.place();
            turn.end(&place, DeliveryOutcome::Expired)?;
            self.wake(&place.destination, now);
            count(DeliveryOutcome::Expired);
        }
        turn.queue.forget_told(now, EXPIRIES_PER_TURN)?;
        let mut next_offset = None;
        for _ in 0..DECISIONS_PER_TURN {
            let Some(stored) = self.unread.front() else { break };
            let offset = stored.offset;
            let decision = match codec::decode::<Decision>(&stored.record.value) {
                Ok(decision) => decision,
                Err(DecodeError::Malformed(error)) => {
                    // The sink writes the dead letter: it reads the same topic.
                    tracing::error!(
                        partition = self.partition,
                        offset = stored.offset,
                        error,
                        "a decision cannot be read; its publishers are not told"
                    );
                    metrics::counter!("gokart_delivery_unreadable_total").increment(1);
                    Decision::default()
                }
                Err(source) => {
                    let (partition, offset) = (self.partition, stored.offset);
                    return Err(TurnError::Newer { partition, offset, source });
                }
            };
            let decided = decision.postback.as_ref().map_or(0, |it| it.config_version);
            let ordered = decision.deliveries.iter().map(|order| order.config_version);
            let version = ordered.fold(decided, u64::max);
            if version > catalog.version {
                // On its way: without it a postback that was just configured would be missed.
                break;
            }
            for order in &decision.deliveries {
                turn.queue.set_enabled(&order.destination);
                gates.enable(&order.destination);
            }
            for destination in turn.decided(decision)? {
                self.wake(&destination, now);
            }
            next_offset = Some(offset + 1);
            self.unread.pop_front();
        }
        if self.unread.is_empty() && had_unread {
            next_offset = Some(self.read_to);
        }
        let Turn { queue, rows, .. } = turn;
        let state_changes = queue.state.into_changes();
        if next_offset.is_none() && state_changes.is_empty() {
            return Ok(None);
        }
        let next_offset = next_offset.unwrap_or(match self.unread.front() {
            Some(stored) => stored.offset,
            None => self.read_to,
        });
        let record = |row: &DeliveryAttempt| {
            let value = codec::encode(row).into();
            (Topic::Deliveries, self.partition, Record { key: bytes::Bytes::new(), value, at: now })
        };
        Ok(Some(Commit { outputs: rows.iter().map(record).collect(), state_changes, next_offset }))
    }

    /// Looks again at the destinations that could not be called just now.
    pub fn look_again(&mut self, now: UnixMillis) {
        for destination in std::mem::take(&mut self.blocked) {
            self.wake(&destination, now);
        }
    }

    /// The requests that may be made now, from the committed state.
    pub fn begin(
        &mut self,
        state: &dyn PartitionState,
        (catalog, gates): (&Catalog, &Gates),
        now: UnixMillis,
    ) -> Result<Vec<Begin>, ReadError> {
        let mut queue = Queue::new(Overlay::new(state));
        let mut begun = Vec::new();
        let ready: Vec<Destination> = self
            .by_time
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, destination)| destination.clone())
            .collect();
        for destination in ready {
            let postback = destination.find(catalog);
            while begun.len() < STARTS_PER_TURN && self.ended.len() < EXPIRIES_PER_TURN {
                let (in_flight, ended) = (&self.in_flight, &self.ended);
                let busy = |place: &Place| {
                    in_flight.contains(place) || ended.iter().any(|(it, _)| it == place)
                };
                let place = match queue.first_due(&destination, now, busy)? {
                    Due::Now(place) => place,
                    Due::At(at) => {
                        self.set_wake(&destination, Some(at));
                        break;
                    }
                    Due::Nothing => {
                        self.set_wake(&destination, None);
                        break;
                    }
                };
                let Some(postback) = postback else {
                    self.ended.push((place, DeliveryOutcome::Cancelled));
                    continue;
                };
                match gates.admit(&destination, postback, now) {
                    Admission::Blocked => {
                        self.set_wake(&destination, None);
                        self.blocked.insert(destination.clone());
                        break;
                    }
                    Admission::Later(at) => {
                        self.set_wake(&destination, Some(at));
                        break;
                    }
                    Admission::Disabled => self.ended.push((place, DeliveryOutcome::Disabled)),
                    Admission::Go => match queue.get(&place)? {
                        Some(waiting) => {
                            self.in_flight.insert(place.clone());
                            let postback = postback.clone();
                            begun.push(Begin { place, order: waiting.order, postback });
                        }
                        None => {
                            gates.finished(&destination, None, now);
                            let what = "the deliverer's state holds a timer of nothing";
                            return Err(ReadError::Damaged(what.to_owned()));
                        }
                    },
                }
            }
        }
        Ok(begun)
    }

    /// When the oldest delivery that waits was created.
    pub fn oldest(&self, state: &dyn PartitionState) -> Result<Option<UnixMillis>, ReadError> {
        Queue::new(Overlay::new(state)).oldest()
    }
}

fn count(outcome: DeliveryOutcome) {
    metrics::counter!("gokart_deliveries_total", "outcome" => outcome.code()).increment(1);
}

/// The changes of one turn.
struct Turn<'a> {
    queue: Queue<'a>,
    rows: Vec<DeliveryAttempt>,
    catalog: &'a Catalog,
    now: UnixMillis,
}

impl Turn<'_> {
    /// What became of the delivery, with the fingerprint of its postback; none when it is not
    /// there any more.
    fn answered(
        &mut self,
        finished: &Finished,
    ) -> Result<Option<(DeliveryOutcome, String)>, ReadError> {
        let Some(mut waiting) = self.queue.get(&finished.place)? else { return Ok(None) };
        waiting.tries += 1;
        waiting.order.attempts += 1;
        let answer = &finished.answer;
        let (kind, created_at) = (waiting.order.kind, waiting.order.asked_at);
        let verdict = judge(answer, kind, waiting.tries, created_at, self.now, finished.unit);
        let postback = finished.place.destination.find(self.catalog);
        let fingerprint = postback.map(fingerprint).unwrap_or_default();
        self.rows.push(DeliveryAttempt {
            attempted_at: finished.began_at,
            outcome: verdict.outcome,
            problem: answer.problem,
            http_status: answer.status.unwrap_or(0),
            latency_ms: answer.latency_ms,
            next_attempt_at: verdict.next_at,
            ..row(&waiting.order, postback, self.now)
        });
        match verdict.next_at {
            Some(next) => self.queue.again(waiting, next)?,
            None => self.queue.done(&waiting, self.now)?,
        }
        Ok(Some((verdict.outcome, fingerprint)))
    }

    /// Ends a delivery without a request; false when it is not there any more.
    fn end(&mut self, place: &Place, outcome: DeliveryOutcome) -> Result<bool, ReadError> {
        let Some(mut waiting) = self.queue.get(place)? else { return Ok(false) };
        waiting.order.attempts += 1;
        let postback = place.destination.find(self.catalog);
        self.rows.push(DeliveryAttempt { outcome, ..row(&waiting.order, postback, self.now) });
        self.queue.done(&waiting, self.now)?;
        Ok(true)
    }

    /// Queues what a decision gives to tell; the destinations that have something new.
    fn decided(&mut self, decision: Decision) -> Result<Vec<Destination>, ReadError> {
        let mut touched = Vec::new();
        for conversion in &decision.conversions {
            touched.extend(self.converted(conversion)?);
        }
        for order in decision.deliveries {
            touched.extend(self.order(order)?);
        }
        Ok(touched)
    }

    fn converted(&mut self, conversion: &Conversion) -> Result<Vec<Destination>, ReadError> {
        let id = conversion.conversion_id.to_string();
        let told = self.queue.told(&id)?;
        let destinations = plan::destinations(self.catalog, conversion, told);
        let is_newer = told.is_none_or(|told| told.revision < conversion.revision);
        if is_newer && (told.is_some() || !destinations.is_empty()) {
            self.queue.set_told(conversion, self.now)?;
        }
        let mut touched = Vec::new();
        for destination in destinations {
            let name = plan::offer_name(self.catalog, conversion);
            touched.extend(self.order(DeliveryOrder {
                delivery_id: plan::delivery_id(&destination, &id, conversion.revision),
                kind: DeliveryKind::Conversion,
                destination,
                attempts: 0,
                asked_at: self.now,
                config_version: 0,
                message: PublisherMessage::of(conversion, &name),
            })?);
        }
        Ok(touched)
    }

    fn order(&mut self, order: DeliveryOrder) -> Result<Option<Destination>, ReadError> {
        let destination = order.destination.clone();
        let postback = destination.find(self.catalog);
        let waiting_row = row(&order, postback, self.now);
        if !self.queue.add(order, self.now)? {
            return Ok(None);
        }
        self.rows.push(waiting_row);
        count(DeliveryOutcome::Waiting);
        Ok(Some(destination))
    }
}

/// A row as it is before anything was tried.
fn row(
    order: &DeliveryOrder,
    postback: Option<&PublisherPostback>,
    now: UnixMillis,
) -> DeliveryAttempt {
    let message = &order.message;
    DeliveryAttempt {
        delivery_id: order.delivery_id.clone(),
        attempt: order.attempts,
        kind: order.kind,
        created_at: order.asked_at,
        attempted_at: now,
        tenant: message.tenant.clone(),
        publisher_id: message.publisher_id.clone(),
        share_id: message.share_id.clone(),
        offer_id: message.offer_id.clone(),
        event_id: message.event_id.clone(),
        click_id: message.click_id.clone(),
        conversion_id: message.conversion_id.clone(),
        revision: message.revision,
        status: message.status,
        destination: order.destination.clone(),
        method: postback.map_or("", |it| it.form.method()).to_owned(),
        url: postback.map(|it| it.url.without_secrets()).unwrap_or_default(),
        outcome: DeliveryOutcome::Waiting,
        problem: None::<DeliveryProblem>,
        http_status: 0,
        latency_ms: 0,
        next_attempt_at: None,
        test: message.test,
    }
}
