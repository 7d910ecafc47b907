//! The naive implementation of the rules as the judge of the pipeline: one model for each root
//! offer, fed with the records in log order and the clock that each commit had. What every commit
//! wrote must be what the models say.

use super::Broken;
use super::cluster::decision;
use super::history::{Past, Taken};
use super::offers::{AMOUNTS, EVENT_NAMES, KEYRING, TRANSACTIONS};
use eventlog::StoredRecord;
use history::Report;
use model::{Arrival, Line, Model, Verdict, believed, refuse};
use processor::ProcessorConfig;
use schemas::{
    Availability, Catalog, Command, CommandKind, Decision, Document, Flag, Input, OfferId,
    Postback, Reason, ResolvedClick, Topic, UnixMillis,
};
use std::collections::{BTreeMap, VecDeque};

#[path = "../../rules/tests/naive/limits.rs"]
mod limits;
#[path = "../../rules/tests/naive/model.rs"]
mod model;
#[path = "../../rules/tests/naive/reversal.rs"]
mod reversal;
#[path = "../../rules/tests/naive/sequence.rs"]
mod sequence;

/// What the models want to know of a postback.
mod history {
    #[derive(Debug, Clone)]
    pub struct Report {
        pub event: &'static str,
        pub amount: Option<&'static str>,
        pub transaction: Option<&'static str>,
    }
}

const LAW: &str = "every commit writes what the naive implementation says";

/// Whether the naive implementation would have written what the commits of a partition wrote.
pub fn agrees(partition: u32, past: &Past, input: &[StoredRecord]) -> Result<(), Broken> {
    let mut naive = Naive::default();
    for (number, taken) in past.taken.iter().enumerate() {
        let records = input.get(taken.from as usize..taken.next as usize).unwrap_or_default();
        naive.commit(taken, records).map_err(|detail| {
            Broken::new(LAW, format!("partition {partition}, commit {number}: {detail}"))
        })?;
    }
    Ok(())
}

#[derive(Default)]
struct Naive {
    clock: UnixMillis,
    models: BTreeMap<OfferId, Model>,
    /// The models' names of conversions and their ids.
    ids: BTreeMap<String, String>,
    keys: BTreeMap<String, String>,
    /// What the ingesters were told last about each scope.
    published: BTreeMap<String, Availability>,
    /// What timers should have done since the last decision of an input.
    timers: Vec<Line>,
    /// Decisions of the commit that are not compared yet.
    written: VecDeque<Decision>,
}

impl Naive {
    fn commit(&mut self, taken: &Taken, records: &[StoredRecord]) -> Result<(), String> {
        for root in taken.catalog.offers().map(|offer| &offer.root) {
            self.models.entry(root.clone()).or_default().catalog = only(&taken.catalog, root);
        }
        let decisions = taken.outputs.iter().filter(|(topic, ..)| *topic == Topic::Decisions);
        self.written.extend(decisions.map(|(.., value)| decision(value)));
        for stored in records {
            let Ok(input) = Input::decode(&stored.record.value) else { continue };
            self.clock = self.clock.max(input.received_at().min(taken.wall));
            self.pass_to(self.clock.plus_ms(-1));
            self.step(&input)?;
        }
        if taken.batch_done {
            if taken.batch_at_end {
                let allowance_ms = ProcessorConfig::default().clock_allowance_ms;
                self.clock = self.clock.max(taken.asked_at.plus_ms(-allowance_ms));
            }
            self.pass_to(self.clock);
        }
        self.compare_timers()?;
        match self.written.pop_front() {
            Some(extra) => Err(format!("nothing should have led to {extra:#?}")),
            None => self.compare_availability(taken),
        }
    }

    fn pass_to(&mut self, clock: UnixMillis) {
        for model in self.models.values_mut() {
            model.pass_to(clock);
            self.timers.append(&mut model.lines);
        }
    }

    fn step(&mut self, input: &Input) -> Result<(), String> {
        let token = match input {
            Input::Postback(postback) => postback.parameter("gk_click_id").unwrap_or_default(),
            Input::Command(command) => &command.click_id,
            Input::ClickDetails(_) => return Ok(()),
        };
        let click = KEYRING.open(token).map_err(|error| error.to_string())?;
        let model = self.models.get_mut(&click.root_offer).ok_or("an offer that is not there")?;
        model.now = self.clock;
        let is_repeat = match input {
            Input::Postback(postback) => post(model, &click, postback),
            Input::Command(command) => {
                let key = self.keys.get(command.conversion_id.as_str());
                by_hand(model, key.map_or("", String::as_str), command)
            }
            Input::ClickDetails(_) => true,
        };
        let expected = std::mem::take(&mut model.lines);
        if is_repeat { Ok(()) } else { self.compare_step(expected) }
    }

    /// What an input led to, after what timers did before it.
    fn compare_step(&mut self, expected: Vec<Line>) -> Result<(), String> {
        self.compare_timers()?;
        let mut found = self.written.pop_front().as_ref().map(lines).unwrap_or_default();
        self.learn(&expected, &found);
        let mut expected: Vec<_> = expected.into_iter().map(|it| self.translate(it)).collect();
        // Conversions that are equal before every rule, as two transactions that came in the same
        // millisecond are, have no order that matters.
        expected.sort();
        found.sort();
        if expected == found {
            return Ok(());
        }
        Err(format!("an input should have led to\n{expected:#?}\nbut led to\n{found:#?}"))
    }

    fn compare_timers(&mut self) -> Result<(), String> {
        let timers = std::mem::take(&mut self.timers);
        let mut expected: Vec<_> = timers.into_iter().map(|line| self.translate(line)).collect();
        let mut found = Vec::new();
        let by_timer = |it: &mut Decision| it.postback.is_none() && it.command.is_none();
        while let Some(decision) = self.written.pop_front_if(by_timer) {
            found.extend(lines(&decision));
        }
        // Timers of one moment have no order that matters.
        expected.sort();
        found.sort();
        if expected == found {
            return Ok(());
        }
        Err(format!("timers should have led to\n{expected:#?}\nbut led to\n{found:#?}"))
    }

    fn compare_availability(&mut self, taken: &Taken) -> Result<(), String> {
        for (topic, _, key, value) in &taken.outputs {
            if *topic == Topic::Availability {
                let key = String::from_utf8_lossy(key).into_owned();
                self.published.insert(key, availability(value));
            }
        }
        for model in self.models.values_mut() {
            model.now = self.clock;
            for (scope, expected) in model.availability() {
                let told = self.published.get(&scope.key());
                let found = told.is_none_or(|it| it.is_available(self.clock));
                if found != expected {
                    return Err(format!("{} takes clicks: {expected}, not {found}", scope.key()));
                }
            }
        }
        Ok(())
    }

    /// A conversion that is new to both is the same one: an input makes at most one.
    fn learn(&mut self, expected: &[Line], found: &[Line]) {
        let key = names(expected).find(|key| !self.ids.contains_key(*key));
        let id = names(found).find(|id| !self.keys.contains_key(*id));
        if let (Some(key), Some(id)) = (key, id) {
            self.ids.insert(key.to_owned(), id.to_owned());
            self.keys.insert(id.to_owned(), key.to_owned());
        }
    }

    /// A model's line, with the ids of the pipeline.
    fn translate(&self, mut line: Line) -> Line {
        match &mut line {
            Line::Postback { conversion: Some(key), .. } | Line::Row { conversion: key, .. } => {
                if let Some(id) = self.ids.get(key) {
                    key.clone_from(id);
                }
            }
            Line::Postback { conversion: None, .. } | Line::Command(_) => {}
        }
        line
    }
}

/// The conversions that lines are about.
fn names(lines: &[Line]) -> impl Iterator<Item = &str> {
    lines.iter().filter_map(|line| match line {
        Line::Row { conversion, .. } => Some(conversion.as_str()),
        Line::Postback { .. } | Line::Command(_) => None,
    })
}

/// The part of a configuration that is about one root offer, with its past.
fn only(catalog: &Catalog, root: &OfferId) -> Catalog {
    let mut own = Catalog::default();
    for version in 1..=catalog.version {
        let offer = catalog.offer_at(root.as_str(), version).filter(|it| it.version == version);
        let shares = catalog.shares().filter(|share| share.offer == *root);
        let shares = shares.filter_map(|share| catalog.share_at(share.id.as_str(), version));
        let shares = shares.filter(|share| share.version == version).cloned().map(Document::Share);
        let documents: Vec<_> =
            offer.cloned().map(Document::Offer).into_iter().chain(shares).collect();
        own.apply(version, documents);
    }
    own
}

/// Takes a postback to its model; true when it repeats one of our own.
fn post(model: &mut Model, click: &ResolvedClick, postback: &Postback) -> bool {
    let id = postback.postback_id.to_string();
    if model.is_repeat(postback.received_at, &id) {
        return true;
    }
    let (outcome, reason, conversion) = judge(model, click, postback, id);
    model.lines.push(Line::Postback { outcome, reason, conversion });
    false
}

fn judge(model: &mut Model, click: &ResolvedClick, postback: &Postback, id: String) -> Verdict {
    let one_of = |list: &[&'static str], name: &str| {
        let value = postback.parameter(name)?;
        list.iter().copied().find(|known| *known == value)
    };
    let report = Report {
        event: one_of(&EVENT_NAMES, "cnv_event_id").unwrap_or_default(),
        amount: one_of(&AMOUNTS, "revenue"),
        transaction: one_of(&TRANSACTIONS, "transaction_id"),
    };
    let is_rejection = postback.parameter("status") == Some("rejected");
    let is_refund = report.amount.is_some_and(|amount| amount.starts_with('-'));
    if report.event.is_empty() && !is_rejection {
        return refuse(Reason::MissingEvent);
    }
    if model.offer_of(click).event(report.event).is_none() && !report.event.is_empty() {
        return refuse(Reason::UnknownEvent);
    }
    let received_at = postback.received_at;
    let sent_at = postback.parameter("event_time").and_then(|text| text.parse().ok());
    let sent_at = sent_at.map(UnixMillis);
    let plausible = sent_at.filter(|at| believed(*at, click.clicked_at(), received_at));
    let doubted = sent_at.is_some() && plausible.is_none();
    let mut parameters = postback.parameters.clone();
    parameters.sort();
    let arrival = Arrival {
        report,
        id,
        received_at,
        happened_at: plausible.unwrap_or(received_at),
        timed: sent_at.is_some(),
        flags: doubted.then_some(Flag::ImplausibleEventTime).into_iter().collect(),
        parameters: format!("{parameters:?}"),
    };
    let slot = (click.key, click.test);
    if is_rejection {
        model.reverse(click, slot, &arrival)
    } else if is_refund {
        model.refund(click, slot, &arrival)
    } else {
        model.convert(click, slot, &arrival)
    }
}

/// Takes a decision by hand to its model; true when it repeats one of our own.
fn by_hand(model: &mut Model, key: &str, command: &Command) -> bool {
    if model.is_repeat(command.issued_at, &command.command_id.to_string()) {
        return true;
    }
    let effect = match command.kind {
        CommandKind::Approve { over_limit } => model.approve(key, over_limit),
        CommandKind::Reject => model.reject(key),
    };
    model.lines.push(Line::Command(effect));
    false
}

fn lines(decision: &Decision) -> Vec<Line> {
    let rows = decision.conversions.iter().map(|row| Line::Row {
        decided_at: row.decided_at,
        conversion: row.conversion_id.to_string(),
        revision: row.revision,
        event: row.event_id.to_string(),
        status: row.status,
        reason: row.reason,
        received_at: row.received_at,
        due_at: row.due_at,
        revenue: row.revenue.0,
        offer_version: row.offer_version,
        sale: row.sale_amount.map(|it| it.0),
        transaction: row.transaction_id.as_deref().map(str::to_owned),
        flags: row.flags.clone(),
    });
    let postback = decision.postback.as_ref().map(|it| Line::Postback {
        outcome: it.outcome,
        reason: it.reason,
        conversion: it.conversion_id.as_ref().map(ToString::to_string),
    });
    let command = decision.command.as_ref().map(|it| Line::Command(it.effect));
    rows.chain(postback).chain(command).collect()
}

fn availability(value: &[u8]) -> Availability {
    schemas::codec::split(value)
        .and_then(|(version, _, body)| schemas::codec::parse_body(version, body))
        .expect("the simulation reads only what encode wrote")
}
