//! The clicks of a run: which there are, and which event each is to have next. A click is taken out
//! while one of its postbacks is under way, so that its events stay in order over all connections.

use crate::mix::scramble;
use std::collections::VecDeque;
use std::sync::Arc;

/// Clicks kept; when there are more, the oldest go.
pub const CLICKS_MAX: usize = 100_000;
/// Accepted postbacks kept to be repeated.
pub const ACCEPTED_MAX: usize = 10_000;

/// A click that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// As it stands in a query.
    pub id: Arc<str>,
    /// Index of its tracking link.
    pub link: u16,
    /// Its number among the clicks of this pool.
    pub number: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Click {
    pub made: Made,
    /// Index of the postback URL that comes next.
    pub next_event: usize,
}

/// A postback that was answered 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub made: Made,
    pub event: usize,
}

#[derive(Debug, Default)]
pub struct Pool {
    clicks: VecDeque<Click>,
    accepted: VecDeque<Accepted>,
    made: u32,
}

impl Pool {
    /// A click that was just made by a link.
    pub fn add_click(&mut self, id: Arc<str>, link: u16) {
        let made = Made { id, link, number: self.made };
        self.made = self.made.wrapping_add(1);
        push_bounded(&mut self.clicks, Click { made, next_event: 0 }, CLICKS_MAX);
    }

    /// The click that has waited longest.
    pub fn take(&mut self) -> Option<Click> {
        self.clicks.pop_front()
    }

    /// A click that has had no event yet.
    pub fn take_fresh(&mut self) -> Option<Click> {
        // New ones are at the back; those that had events come back there too, a few at a time.
        const LOOK_AT: usize = 64;
        let from = self.clicks.len().saturating_sub(LOOK_AT);
        let at = (from..self.clicks.len()).rev().find(|at| self.clicks[*at].next_event == 0)?;
        self.clicks.remove(at)
    }

    /// Gives a click back, to have its next event; one that has had all is let go.
    pub fn give_back(&mut self, click: Click, events: usize) {
        if click.next_event < events {
            push_bounded(&mut self.clicks, click, CLICKS_MAX);
        }
    }

    pub fn add_accepted(&mut self, accepted: Accepted) {
        push_bounded(&mut self.accepted, accepted, ACCEPTED_MAX);
    }

    /// Some postback that was accepted, to be sent again.
    pub fn some_accepted(&self, seed: u64, number: u64) -> Option<Accepted> {
        let count = self.accepted.len() as u64;
        let at = scramble(!seed, number).checked_rem(count)?;
        self.accepted.get(at as usize).cloned()
    }

    /// Some click, whatever has become of it.
    pub fn some_click(&self) -> Option<Made> {
        let of_click = self.clicks.front().map(|click| click.made.clone());
        of_click.or_else(|| self.accepted.front().map(|it| it.made.clone()))
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(id: &str) -> Made {
        Made { id: id.into(), link: 0, number: 0 }
    }

    #[test]
    fn a_click_has_its_events_in_order_and_then_leaves() {
        let mut pool = Pool::default();
        pool.add_click("a".into(), 0);
        for event in 0..3 {
            let click = pool.take().unwrap();
            assert_eq!(click.next_event, event);
            assert_eq!(pool.take(), None, "it is out while its postback is under way");
            pool.give_back(Click { next_event: event + 1, ..click }, 3);
        }
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn a_fresh_click_has_had_nothing() {
        let mut pool = Pool::default();
        pool.give_back(Click { made: made("used"), next_event: 1 }, 3);
        assert_eq!(pool.take_fresh(), None);
        pool.add_click("new".into(), 0);
        pool.give_back(Click { made: made("used too"), next_event: 2 }, 3);
        assert_eq!(pool.take_fresh().unwrap().made.id.as_ref(), "new");
    }

    #[test]
    fn memory_is_bounded() {
        let mut pool = Pool::default();
        for n in 0..CLICKS_MAX + 10 {
            pool.add_click(n.to_string().into(), 0);
            pool.add_accepted(Accepted { made: made("a"), event: 0 });
        }
        assert_eq!((pool.clicks.len(), pool.accepted.len()), (CLICKS_MAX, ACCEPTED_MAX));
        assert_eq!(pool.take().unwrap().made.id.as_ref(), "10");
    }
}
