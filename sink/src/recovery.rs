//! What a member that has just been given partitions must do first: the plans that somebody, most
//! often itself before a crash, wrote down and did not commit.
//!
//! A plan of which this member has every partition is carried out under its own token, so that
//! ClickHouse drops what is still on its way from before. A plan of which it got only some partitions
//! (a rebalance of a cluster, in the middle of a flush) cannot be repeated as a whole, so what it got
//! becomes a plan of its own, with a token of its own that is the same for whoever tries again with
//! the same partitions. What is there already is looked for first ([`crate::bring`]).

use crate::error::Error;
use crate::kept::short_hash;
use crate::plan::{OffsetRange, Plan, PlanNote, Source};
use eventlog::{Offset, Position};
use std::collections::BTreeMap;

/// Where to begin.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// To be carried out first, in this order.
    pub plans: Vec<Plan>,
    /// Where to read on after that, for every partition.
    pub starts: BTreeMap<Source, Offset>,
}

/// Reads the notes beside the positions of everything that a member owns.
pub fn recover<'a>(owned: impl Iterator<Item = &'a Position>) -> Result<Recovery, Error> {
    let mut recovery = Recovery::default();
    let mut open: BTreeMap<String, (usize, BTreeMap<Source, OffsetRange>)> = BTreeMap::new();
    for position in owned {
        let source = (position.topic, position.partition);
        let mut start = position.next_offset;
        if !position.note.is_empty() {
            let note = read_note(position)?;
            start = note.end;
            let range = OffsetRange { from: position.next_offset, end: note.end };
            let (of, ranges) = open.entry(note.plan).or_default();
            *of = note.of;
            ranges.insert(source, range);
        }
        recovery.starts.insert(source, start);
    }
    for (id, (of, ranges)) in open {
        let id = if ranges.len() == of { id } else { part_id(&id, ranges.keys()) };
        recovery.plans.push(Plan { id, ranges });
    }
    Ok(recovery)
}

/// The same for the same partitions.
fn part_id<'a>(whole: &str, sources: impl Iterator<Item = &'a Source>) -> String {
    let names: Vec<String> =
        sources.map(|(topic, partition)| format!("{topic}/{partition}")).collect();
    format!("{whole}/{:016x}", short_hash(&names.join(",")))
}

fn read_note(position: &Position) -> Result<PlanNote, Error> {
    let unreadable = |problem: String| Error::Note {
        topic: position.topic,
        partition: position.partition,
        next_offset: position.next_offset,
        problem,
    };
    let note: PlanNote = serde_json::from_str(&position.note)
        .map_err(|error| unreadable(format!("not a plan: {error}")))?;
    if note.end < position.next_offset {
        return Err(unreadable(format!("its end {} lies before it", note.end)));
    }
    Ok(note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::Topic::{Clicks, Decisions};

    fn plan(id: &str, ranges: &[(Source, (u64, u64))]) -> Plan {
        let range =
            |&(source, (from, end)): &(Source, (u64, u64))| (source, OffsetRange { from, end });
        Plan { id: id.to_owned(), ranges: ranges.iter().map(range).collect() }
    }

    fn check(owned: &[Position], plans: &[Plan], starts: &[(Source, u64)]) {
        let expected = Recovery { plans: plans.to_vec(), starts: starts.iter().copied().collect() };
        assert_eq!(recover(owned.iter()).unwrap(), expected);
    }

    #[test]
    fn what_was_written_down_is_carried_out_again() {
        let whole = plan("p", &[((Clicks, 0), (3, 8)), ((Decisions, 1), (0, 9))]);
        let noted = whole.written_down();
        let both = [((Clicks, 0), 8), ((Decisions, 1), 9)];
        check(&noted, std::slice::from_ref(&whole), &both);
        check(&whole.done(), &[], &both);
        check(&[], &[], &[]);
        // Only one of the two partitions came to us.
        let part = plan("p/ff070c168c988bb1", &[((Clicks, 0), (3, 8))]);
        check(&noted[..1], std::slice::from_ref(&part), &both[..1]);
        // The other one had been committed already.
        let mixed = [noted[0].clone(), whole.done()[1].clone()];
        check(&mixed, &[part], &both);
    }

    #[test]
    fn a_part_keeps_its_token_when_it_is_tried_again() {
        let ranges = [((Clicks, 0), (3, 8)), ((Clicks, 1), (0, 9)), ((Decisions, 1), (0, 9))];
        let noted = plan("p", &ranges).written_down();
        let token = |owned: &[Position]| {
            let recovery = recover(owned.iter()).unwrap();
            assert_eq!(recovery.plans.len(), 1, "what is left of a plan goes together");
            recovery.plans[0].token("clicks")
        };
        let back: Vec<Position> = noted[..2].iter().rev().cloned().collect();
        assert_eq!(token(&noted[..2]), token(&back));
        let tokens = [&noted[..], &noted[..2], &noted[1..], &noted[..1], &noted[1..2]].map(token);
        let different: std::collections::BTreeSet<_> = tokens.iter().collect();
        assert_eq!(different.len(), tokens.len(), "{tokens:?}");
    }

    #[test]
    fn a_note_that_is_not_ours_stops_the_sink() {
        for note in
            ["x", "{}", r#"{"plan":"p","end":2,"of":1}"#, r#"{"plan":"p","end":9,"of":1,"x":1}"#]
        {
            let position =
                Position { topic: Clicks, partition: 0, next_offset: 3, note: note.to_owned() };
            assert!(matches!(recover([&position].into_iter()), Err(Error::Note { .. })), "{note}");
        }
    }
}
