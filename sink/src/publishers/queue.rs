//! The deliveries that wait, in the partition's state ([`super::keys`]). Pure but for reading that
//! state, which is why any number can wait and a restart forgets none.

use super::keys::{self, Place};
use super::plan::Told;
use eventlog::ReadError;
use eventlog::overlay::Overlay;
use schemas::time::DAY_MS;
use schemas::{Conversion, ConversionStatus, DeliveryOrder, Destination, UnixMillis};
use serde::{Deserialize, Serialize};

/// How long it is kept what publishers know of a conversion, after it last changed: longer than
/// the default deadline, in which later revisions are expected.
pub const TOLD_KEPT_MS: i64 = 200 * DAY_MS;

/// A delivery that is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub order: DeliveryOrder,
    /// Attempts since it was asked for; `order.attempts` counts all there ever were.
    #[serde(default)]
    pub tries: u32,
    /// When it is its turn; none behind another one in its lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<UnixMillis>,
}

impl Waiting {
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            destination: self.order.destination.clone(),
            conversion: self.order.message.conversion_id.to_string(),
            revision: self.order.message.revision,
        }
    }
}

fn damaged(what: &str) -> ReadError {
    ReadError::Damaged(format!("the deliverer's state holds {what} that cannot be read"))
}

/// What a destination has to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    Now(Place),
    At(UnixMillis),
    Nothing,
}

/// The queue of a partition, with changes that are not committed yet.
pub struct Queue<'a> {
    pub state: Overlay<'a>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl<'a> Queue<'a> {
    #[must_use]
    pub fn new(state: Overlay<'a>) -> Self {
        Self { state, key: Vec::new(), value: Vec::new() }
    }

    /// What publishers know of a conversion.
    pub fn told(&mut self, conversion: &str) -> Result<Option<Told>, ReadError> {
        if !self.state.get(&keys::told(conversion), &mut self.value)? {
            return Ok(None);
        }
        parse_told(&self.value).map(|(told, _)| Some(told)).ok_or_else(|| damaged("a conversion"))
    }

    /// Publishers know this much of it now.
    pub fn set_told(&mut self, conversion: &Conversion, now: UnixMillis) -> Result<(), ReadError> {
        let id = conversion.conversion_id.to_string();
        let key = keys::told(&id);
        if self.state.get(&key, &mut self.value)?
            && let Some((_, at)) = parse_told(&self.value)
        {
            self.state.delete(&keys::told_expiry(at.plus_ms(TOLD_KEPT_MS), &id));
        }
        let mut value = vec![status_code(conversion.status)];
        value.extend_from_slice(&conversion.revision.to_be_bytes());
        value.extend_from_slice(&now.0.to_be_bytes());
        self.state.put(&key, &value);
        self.state.put(&keys::told_expiry(now.plus_ms(TOLD_KEPT_MS), &id), &[]);
        Ok(())
    }

    /// Forgets conversions that nothing is expected of any more.
    pub fn forget_told(&mut self, now: UnixMillis, at_most: usize) -> Result<(), ReadError> {
        let (from, end) = keys::told_expiries(now);
        for _ in 0..at_most {
            if !self.state.first_in(&from, &end, &mut self.key, &mut self.value)? {
                return Ok(());
            }
            let id = keys::conversion_of_expiry(&self.key).ok_or_else(|| damaged("an expiry"))?;
            self.state.delete(&keys::told(id));
            self.state.delete(&self.key);
        }
        Ok(())
    }

    /// Puts a delivery into its lane; false when it is there already.
    pub fn add(&mut self, order: DeliveryOrder, due: UnixMillis) -> Result<bool, ReadError> {
        let created = order.asked_at;
        let mut waiting = Waiting { order, tries: 0, due_at: None };
        let place = waiting.place();
        if self.get(&place)?.is_some() {
            return Ok(false);
        }
        if self.first_of_lane(&place)?.is_none() {
            waiting.due_at = Some(due);
            self.state.put(&place.timer(due), &[]);
        }
        self.state.put(&place.age(created), &[]);
        self.put(&place, &waiting)?;
        Ok(true)
    }

    fn put(&mut self, place: &Place, waiting: &Waiting) -> Result<(), ReadError> {
        let json = serde_json::to_vec(waiting).map_err(|_| damaged("a delivery"))?;
        self.state.put(&place.message(), &json);
        Ok(())
    }

    pub fn get(&mut self, place: &Place) -> Result<Option<Waiting>, ReadError> {
        if !self.state.get(&place.message(), &mut self.value)? {
            return Ok(None);
        }
        serde_json::from_slice(&self.value).map(Some).map_err(|_| damaged("a delivery"))
    }

    fn first_of_lane(&mut self, place: &Place) -> Result<Option<Waiting>, ReadError> {
        let (from, end) = place.lane();
        if !self.state.first_in(&from, &end, &mut self.key, &mut self.value)? {
            return Ok(None);
        }
        serde_json::from_slice(&self.value).map(Some).map_err(|_| damaged("a delivery"))
    }

    /// The attempt failed: it is tried again at `due`.
    pub fn again(&mut self, mut waiting: Waiting, due: UnixMillis) -> Result<(), ReadError> {
        let place = waiting.place();
        if let Some(before) = waiting.due_at {
            self.state.delete(&place.timer(before));
        }
        waiting.due_at = Some(due);
        self.state.put(&place.timer(due), &[]);
        self.put(&place, &waiting)
    }

    /// It is done with; the next one of its lane has its turn at `now`.
    pub fn done(&mut self, waiting: &Waiting, now: UnixMillis) -> Result<(), ReadError> {
        let place = waiting.place();
        self.state.delete(&place.message());
        self.state.delete(&place.age(waiting.order.asked_at));
        let Some(due) = waiting.due_at else { return Ok(()) };
        self.state.delete(&place.timer(due));
        if let Some(next) = self.first_of_lane(&place)? {
            self.again(next, now)?;
        }
        Ok(())
    }

    /// The deliveries created before a time, the oldest first, at most so many; those for which
    /// `skip` holds are left alone, and end the search.
    pub fn created_before(
        &mut self,
        before: UnixMillis,
        at_most: usize,
        skip: impl Fn(&Place) -> bool,
    ) -> Result<Vec<Waiting>, ReadError> {
        let (mut from, end) = keys::ages(before);
        let mut found = Vec::new();
        // Those under way are looked past, and there are few of them.
        for _ in 0..at_most.saturating_mul(2) {
            if found.len() >= at_most
                || !self.state.first_in(&from, &end, &mut self.key, &mut self.value)?
            {
                break;
            }
            let (place, _) = Place::of_age(&self.key).ok_or_else(|| damaged("an age"))?;
            from.clone_from(&self.key);
            from.push(0);
            if !skip(&place) {
                found.extend(self.get(&place)?);
            }
        }
        Ok(found)
    }

    /// When the oldest one was created.
    pub fn oldest(&mut self) -> Result<Option<UnixMillis>, ReadError> {
        let (from, end) = keys::ages(UnixMillis(i64::MAX));
        if !self.state.first_in(&from, &end, &mut self.key, &mut self.value)? {
            return Ok(None);
        }
        Ok(Place::of_age(&self.key).map(|(_, created)| created))
    }

    /// The first of a destination's deliveries that is due, and when the next one is that is not
    /// left out by `skip`: at once when there is one.
    pub fn first_due(
        &mut self,
        destination: &Destination,
        now: UnixMillis,
        skip: impl Fn(&Place) -> bool,
    ) -> Result<Due, ReadError> {
        let (mut from, end) = keys::all_timers(destination);
        while self.state.first_in(&from, &end, &mut self.key, &mut self.value)? {
            let (place, due) = Place::of_timer(&self.key).ok_or_else(|| damaged("a timer"))?;
            if !skip(&place) {
                return Ok(if due <= now { Due::Now(place) } else { Due::At(due) });
            }
            from.clone_from(&self.key);
            from.push(0);
        }
        Ok(Due::Nothing)
    }

    /// The destinations that have something waiting, each with its first time.
    pub fn destinations(&mut self) -> Result<Vec<(Destination, UnixMillis)>, ReadError> {
        let (mut from, end) = keys::every_timer();
        let mut found = Vec::new();
        while self.state.first_in(&from, &end, &mut self.key, &mut self.value)? {
            let (place, due) = Place::of_timer(&self.key).ok_or_else(|| damaged("a timer"))?;
            (_, from) = keys::all_timers(&place.destination);
            found.push((place.destination, due));
        }
        Ok(found)
    }

    /// Destinations that answered 410, each with what was configured then.
    pub fn disabled(&mut self) -> Result<Vec<(Destination, String)>, ReadError> {
        let (mut from, end) = keys::every_disabled();
        let mut found = Vec::new();
        while self.state.first_in(&from, &end, &mut self.key, &mut self.value)? {
            let destination =
                keys::destination_of_disabled(&self.key).ok_or_else(|| damaged("a destination"))?;
            found.push((destination, String::from_utf8_lossy(&self.value).into_owned()));
            from.clone_from(&self.key);
            from.push(0);
        }
        Ok(found)
    }

    pub fn set_disabled(&mut self, destination: &Destination, fingerprint: &str) {
        self.state.put(&keys::disabled(destination), fingerprint.as_bytes());
    }

    pub fn set_enabled(&mut self, destination: &Destination) {
        self.state.delete(&keys::disabled(destination));
    }
}

const fn status_code(status: ConversionStatus) -> u8 {
    match status {
        ConversionStatus::Pending => b'P',
        ConversionStatus::Success => b'S',
        ConversionStatus::Rejected => b'R',
    }
}

fn parse_told(value: &[u8]) -> Option<(Told, UnixMillis)> {
    let (status, rest) = value.split_first()?;
    let status = *ConversionStatus::ALL.iter().find(|it| status_code(**it) == *status)?;
    let revision = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
    let at = i64::from_be_bytes(rest.get(4..12)?.try_into().ok()?);
    Some((Told { status, revision }, UnixMillis(at)))
}
