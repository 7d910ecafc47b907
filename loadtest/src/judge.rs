//! Judges what ClickHouse holds by what [`crate::expect`] says: each postback's outcome, each click's
//! conversions, and their money.

use crate::expect::{self, End, Event, Micros, Sent, Shares};
use crate::ledger::{Entry, Names};
use crate::verify::uuid;
use anyhow::Result;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

/// Codes as the tables hold them; a row says which by its place, from 1.
pub const OUTCOMES: [&str; 5] = ["accepted", "duplicate", "rejected", "waiting", "ignored"];
pub const STATUSES: [&str; 3] = ["Pending", "Success", "Rejected"];
pub const REASONS: [&str; 8] = [
    "",
    "MACRO_NOT_REPLACED",
    "MISSING_CLICK_ID",
    "MISSING_EVENT",
    "INVALID_CLICK_ID",
    "WAITING_SEQUENCE",
    "HOLD",
    "DUPLICATE",
];

fn text(values: &[&'static str], place: u8) -> &'static str {
    usize::from(place).checked_sub(1).and_then(|at| values.get(at)).copied().unwrap_or("another")
}

/// What became of a postback.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    conversion: u64,
    outcome: u8,
    reason: u8,
}

impl Outcome {
    /// From a row behind its id.
    pub fn of(row: &[u8]) -> Self {
        let mut conversion = [0; 8];
        conversion.copy_from_slice(&row[..8]);
        Self { conversion: u64::from_le_bytes(conversion), outcome: row[8], reason: row[9] }
    }

    fn outcome(self) -> &'static str {
        text(&OUTCOMES, self.outcome)
    }

    fn reason(self) -> &'static str {
        text(&REASONS, self.reason)
    }
}

/// How a conversion stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion {
    id: u64,
    status: u8,
    reason: u8,
    money: [Micros; 3],
}

impl Conversion {
    /// From a row.
    pub fn of(row: &[u8; 34]) -> Self {
        let long = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&row[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let money = [10, 18, 26].map(|at| long(at).cast_signed());
        Self { id: long(0), status: row[8], reason: row[9], money }
    }
}

/// An event of a click of a run.
type ClickKey = (usize, u8, u16, u32);

/// What was sent of one event of a click, and found.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    sent: Sent,
    /// Accepted postbacks that were decided not to be duplicates.
    first: u32,
    seen: u32,
    conversion: u64,
}

/// Sums of one event of one share.
#[derive(Debug, Clone, Default)]
struct Totals {
    expected: u64,
    found: u64,
    counts: [u64; 3],
    /// Of those in Success: revenue, payout, reward.
    expected_money: [i128; 3],
    money: [i128; 3],
}

/// What was expected, and what there is.
pub struct Judge {
    /// The events of each link of each run; nothing where there is no configuration for it.
    events: Vec<Vec<Option<Vec<Event>>>>,
    names: Vec<Names>,
    clicks: HashMap<ClickKey, Vec<Group>>,
    conversions: HashMap<u64, Conversion>,
    outcomes: BTreeMap<(&'static str, &'static str), u64>,
    totals: BTreeMap<(String, usize), (String, Totals)>,
    /// Shares that are judged in part, and why.
    partly: BTreeSet<String>,
    differences: Vec<String>,
    count: u64,
}

/// Differences that are kept to be shown.
const KEPT_MAX: usize = 100;

impl Judge {
    pub fn new(ledgers: &[(Names, Vec<Entry>)], shares: Option<&Shares>) -> Result<Self> {
        let mut judge = Self {
            events: Vec::new(),
            names: ledgers.iter().map(|(names, _)| names.clone()).collect(),
            clicks: HashMap::new(),
            conversions: HashMap::new(),
            outcomes: BTreeMap::new(),
            totals: BTreeMap::new(),
            partly: BTreeSet::new(),
            differences: Vec::new(),
            count: 0,
        };
        for (names, _) in ledgers {
            let events = names.links.iter().map(|link| match shares {
                None => Ok(None),
                Some(shares) => judge.known(&link.share, shares, &names.targets[link.target]),
            });
            let events = events.collect::<Result<_>>()?;
            judge.events.push(events);
        }
        for (run, (_, entries)) in ledgers.iter().enumerate() {
            for entry in entries {
                if let Some(group) = judge.group(run, entry) {
                    match entry.is_accepted() {
                        true => group.sent.accepted += 1,
                        false => group.sent.unknown += 1,
                    }
                }
            }
        }
        Ok(judge)
    }

    /// The events of a share, if all that they ask for is known here.
    fn known(&mut self, share: &str, all: &Shares, ids: &[String]) -> Result<Option<Vec<Event>>> {
        let events = all.events(share, ids)?;
        for (event, beyond) in events.iter().filter_map(|it| Some((it, it.beyond?))) {
            let text = format!("{share}: {} has {beyond}, which is not judged here", event.id);
            self.partly.insert(text);
        }
        let is_known = events.iter().all(|it| it.beyond.is_none());
        Ok(is_known.then_some(events))
    }

    /// The event of a click that a postback names.
    fn group(&mut self, run: usize, entry: &Entry) -> Option<&mut Group> {
        let note = entry.note;
        if expect::refusal(entry.kind, note).is_some() {
            return None;
        }
        let link = &self.names[run].links[usize::from(note.link)];
        let events = self.names[run].targets[link.target].len();
        let key = (run, entry.shard, note.link, note.click?);
        let groups = self.clicks.entry(key).or_insert_with(|| vec![Group::default(); events]);
        groups.get_mut(usize::from(note.event))
    }

    fn differs(&mut self, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.differences.len() < KEPT_MAX {
            self.differences.push(text());
        }
    }

    /// A postback that is there.
    pub fn postback(&mut self, run: usize, entry: &Entry, found: Outcome) {
        *self.outcomes.entry((found.outcome(), found.reason())).or_default() += 1;
        let (kind, note) = (entry.kind, entry.note);
        let described = |expected: &str| {
            format!(
                "{}: {kind} is {} {}, not {expected}",
                uuid(&entry.id),
                found.outcome(),
                found.reason()
            )
        };
        if let Some(reason) = expect::refusal(kind, note) {
            if (found.outcome(), found.reason()) != ("rejected", reason) {
                self.differs(|| described(&format!("rejected {reason}")));
            }
            return;
        }
        let is_first = match found.outcome() {
            "accepted" | "waiting" => true,
            "duplicate" => false,
            // Caps, budgets and the like reject; where the configuration is known there are none.
            "rejected" if self.events[run][usize::from(note.link)].is_none() => return,
            _ => return self.differs(|| described("accepted, waiting or duplicate")),
        };
        let Some(group) = self.group(run, entry) else { return };
        group.seen += 1;
        group.first += u32::from(is_first);
        if found.conversion != 0 {
            group.conversion = found.conversion;
        }
    }

    /// A conversion, of whichever postback.
    pub fn conversion(&mut self, conversion: Conversion) {
        self.conversions.insert(conversion.id, conversion);
    }

    /// Everything has been seen.
    pub fn end(&mut self) {
        let clicks = std::mem::take(&mut self.clicks);
        for ((run, shard, link, click), groups) in &clicks {
            let who = |event: usize| {
                let names = &self.names[*run];
                let link = &names.links[usize::from(*link)];
                let event = &names.targets[link.target][event];
                format!(
                    "click {click} of {} (ledger {}, thread {shard}), {event}",
                    link.share,
                    run + 1
                )
            };
            let judged = self.events[*run][usize::from(*link)].clone();
            let mut differences = Vec::new();
            for (at, group) in groups.iter().enumerate() {
                // What is missing is told elsewhere.
                let whole = group.seen == group.sent.accepted && group.seen > 0;
                let most_one = group.first <= 1;
                let none = group.first == 0 && group.sent.unknown == 0;
                if judged.is_some() && whole && (!most_one || none) {
                    let firsts = group.first;
                    let of = group.seen;
                    differences.push(format!(
                        "{}: {firsts} of {of} postbacks converted, not one",
                        who(at)
                    ));
                }
            }
            if let Some(events) = judged {
                let sent: Vec<Sent> = groups.iter().map(|it| it.sent).collect();
                for (at, end) in expect::ends(&events, &sent).into_iter().enumerate() {
                    let share = &self.names[*run].links[usize::from(*link)].share;
                    let found = self.conversions.get(&groups[at].conversion);
                    let (_, totals) = self
                        .totals
                        .entry((share.clone(), at))
                        .or_insert_with(|| (events[at].id.clone(), Totals::default()));
                    if groups[at].sent.accepted == 0 {
                        continue;
                    }
                    if let Some(wrong) = totals.add(&events[at], end, found) {
                        differences.push(format!("{}: {wrong}", who(at)));
                    }
                }
            }
            for text in differences {
                self.differs(|| text);
            }
        }
        self.clicks = clicks;
    }

    pub fn is_clean(&self) -> bool {
        self.count == 0
    }

    /// What was compared, and the first differences.
    pub fn report(&self, shown: usize) -> String {
        let mut text = String::from("\noutcomes: ");
        let counts = self.outcomes.iter().map(|((outcome, reason), count)| {
            let reason = if reason.is_empty() { String::new() } else { format!(" {reason}") };
            format!("{count} {outcome}{reason}")
        });
        text += &counts.collect::<Vec<_>>().join(", ");
        if !self.totals.is_empty() {
            let _ = write!(text, "\n\n{}", self.table());
        }
        for partly in &self.partly {
            let _ = write!(text, "\nNOT JUDGED in full: {partly}");
        }
        if self.events.iter().flatten().all(Option::is_none) && self.partly.is_empty() {
            text += "\nNOT JUDGED: duplicates, sequences and money, since no --config was given";
        }
        for difference in self.differences.iter().take(shown) {
            let _ = write!(text, "\n{difference}");
        }
        let _ = match self.count {
            0 => write!(text, "\nevery outcome and every amount is as the rules say"),
            count => write!(text, "\n{count} outcomes or amounts differ"),
        };
        text
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        let head = "share|event|conversions|expected|pending|success|rejected|revenue|expected|payout|expected|reward|expected";
        table.set_header(head.split('|'));
        for ((share, _), (event, it)) in &self.totals {
            let money = |micros: i128| format!("{:.2}", micros as f64 / 1e6);
            let mut cells = vec![share.clone(), event.clone()];
            cells.extend([it.found, it.expected].map(|it| it.to_string()));
            cells.extend(it.counts.map(|it| it.to_string()));
            for (found, expected) in it.money.iter().zip(it.expected_money) {
                cells.extend([money(*found), money(expected)]);
            }
            table.add_row(cells);
        }
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }
}

impl Totals {
    /// Adds a conversion that was to end so; says what is wrong with the one found.
    fn add(&mut self, event: &Event, end: End, found: Option<&Conversion>) -> Option<String> {
        let promised = [event.revenue, event.payout, event.reward];
        self.expected += 1;
        let Some(found) = found else { return Some("there is no conversion".to_owned()) };
        self.found += 1;
        if let Some(count) = usize::from(found.status).checked_sub(1) {
            self.counts[count] += 1;
        }
        let (status, reason) = (text(&STATUSES, found.status), text(&REASONS, found.reason));
        let may_be = match end {
            // A short hold may be over by now.
            End::Converted if event.is_held => vec![("Pending", "HOLD"), ("Success", "")],
            End::Converted => vec![("Success", "")],
            End::Waiting => vec![("Pending", "WAITING_SEQUENCE")],
            End::Either | End::Nothing if event.is_held => {
                vec![("Pending", "WAITING_SEQUENCE"), ("Pending", "HOLD"), ("Success", "")]
            }
            End::Either | End::Nothing => vec![("Pending", "WAITING_SEQUENCE"), ("Success", "")],
        };
        let fits = may_be.iter().any(|(may, why)| {
            // A conversion that counts keeps telling why it waited or was held.
            *may == status && (*why == reason || status == "Success")
        });
        let counts = match (fits, may_be.as_slice()) {
            (true, _) => status == "Success",
            (false, [("Success", _), ..]) => true,
            _ => false,
        };
        if counts {
            self.expected_money
                .iter_mut()
                .zip(promised)
                .for_each(|(sum, it)| *sum += i128::from(it));
        }
        if status == "Success" {
            self.money.iter_mut().zip(found.money).for_each(|(sum, it)| *sum += i128::from(it));
        }
        if !fits {
            let (may, why) = may_be[0];
            return Some(format!("{status} {reason}, not {may} {why}"));
        }
        (found.money != promised).then(|| {
            let text =
                |money: [Micros; 3]| money.map(|it| format!("{}", it as f64 / 1e6)).join(", ");
            format!("revenue, payout and reward are {}, not {}", text(found.money), text(promised))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::LinkName;
    use crate::mix::Kind;
    use crate::request::{Note, Shape};

    const CONFIG: &str = "kind: Offer\nid: o\nevents:\n\
        - {id: Install, sequence: 1, revenue: 0.5}\n- {id: Level, sequence: 2, revenue: 2, pending_time: 1d}\n\
        ---\nkind: Share\nid: s\noffer: o\n";

    fn entry(id: u8, kind: Kind, event: u8, shape: Shape) -> Entry {
        let click = (shape == Shape::Fine && kind != Kind::MacroNotReplaced).then_some(1);
        Entry { id: [id; 16], kind, shard: 0, note: Note { link: 0, event, shape, click } }
    }

    fn place(values: &[&str], value: &str) -> u8 {
        values.iter().position(|it| *it == value).map_or(0, |at| at as u8 + 1)
    }

    fn outcome(outcome: &str, reason: &str, conversion: u64) -> Outcome {
        let (outcome, reason) = (place(&OUTCOMES, outcome), place(&REASONS, reason));
        Outcome { conversion, outcome, reason }
    }

    fn conversion(id: u64, status: &str, reason: &str, revenue: Micros) -> Conversion {
        let (status, reason) = (place(&STATUSES, status), place(&REASONS, reason));
        Conversion { id, status, reason, money: [revenue, revenue, 0] }
    }

    fn judged(entries: &[(Entry, Outcome)], conversions: &[Conversion]) -> Judge {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("o.yaml");
        std::fs::write(&path, CONFIG).unwrap();
        let link = LinkName { share: "s".to_owned(), target: 0 };
        let events = vec!["Install".to_owned(), "Level".to_owned()];
        let names = Names { links: vec![link], targets: vec![events] };
        let ledger = (names, entries.iter().map(|it| it.0).collect());
        let mut judge = Judge::new(&[ledger], Some(&Shares::read(&path).unwrap())).unwrap();
        for (entry, found) in entries.iter().filter(|it| it.0.is_accepted()) {
            judge.postback(0, entry, *found);
        }
        conversions.iter().for_each(|it| judge.conversion(*it));
        judge.end();
        judge
    }

    #[test]
    fn what_is_right_is_clean() {
        let fine = |id, kind, event| entry(id, kind, event, Shape::Fine);
        let judge = judged(
            &[
                (fine(1, Kind::OutOfOrder, 1), outcome("waiting", "WAITING_SEQUENCE", 8)),
                (fine(2, Kind::Valid, 0), outcome("accepted", "", 7)),
                (fine(3, Kind::Duplicate, 0), outcome("duplicate", "", 7)),
                (fine(4, Kind::MacroNotReplaced, 0), outcome("rejected", "MACRO_NOT_REPLACED", 0)),
                (
                    entry(5, Kind::Malformed, 0, Shape::EmptyEvent),
                    outcome("rejected", "MISSING_EVENT", 0),
                ),
            ],
            &[
                conversion(7, "Success", "", 500_000),
                conversion(8, "Pending", "HOLD", 2_000_000),
                conversion(9, "Rejected", "", 1),
            ],
        );
        assert!(judge.is_clean(), "{}", judge.report(10));
        assert!(judge.report(10).contains("every outcome and every amount"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let install = entry(1, Kind::Valid, 0, Shape::Fine);
        let again = entry(2, Kind::Duplicate, 0, Shape::Fine);
        let level = entry(3, Kind::OutOfOrder, 1, Shape::Fine);
        let lost = Entry { id: [0; 16], ..install };
        let empty = entry(4, Kind::Malformed, 0, Shape::EmptyEvent);
        let accepted = outcome("accepted", "", 7);
        let success = conversion(7, "Success", "", 500_000);
        type Case<'c> = (&'c [(Entry, Outcome)], &'c [Conversion], &'c str);
        let cases: [Case<'_>; 8] = [
            (&[(install, accepted)], &[], "there is no conversion"),
            (
                &[(install, accepted)],
                &[conversion(7, "Success", "", 400_000)],
                "are 0.4, 0.4, 0, not 0.5",
            ),
            (
                &[(install, accepted)],
                &[conversion(7, "Pending", "HOLD", 500_000)],
                "Pending HOLD, not Success",
            ),
            (&[(install, accepted), (again, accepted)], &[success], "2 of 2 postbacks converted"),
            (&[(install, outcome("duplicate", "", 7))], &[success], "0 of 1 postbacks converted"),
            (
                &[(install, outcome("rejected", "", 0))],
                &[success],
                "not accepted, waiting or duplicate",
            ),
            (&[(empty, accepted)], &[], "not rejected MISSING_EVENT"),
            (
                &[(level, outcome("waiting", "WAITING_SEQUENCE", 7))],
                &[conversion(7, "Success", "", 2_000_000)],
                "not Pending WAITING_SEQUENCE",
            ),
        ];
        for (entries, conversions, expected) in cases {
            let judge = judged(entries, conversions);
            let report = judge.report(10);
            assert!(!judge.is_clean() && report.contains(expected), "{expected}: {report}");
        }
        // The one whose answer was lost may have been the first.
        let duplicate = (install, outcome("duplicate", "", 7));
        assert!(judged(&[duplicate, (lost, Outcome::default())], &[success]).is_clean());
    }
}
