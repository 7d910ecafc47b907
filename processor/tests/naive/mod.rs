//! The naive implementation of the rules over a whole partition: one model for each root offer, fed
//! with the records in log order. Whoever uses it tells it the time, and what was really written.
//! The simulation does, and so do the tests on real processes.

use history::Report;
use keyring::Keyring;
use model::{Arrival, Line, Model, Verdict, believed, lines, refuse};
use schemas::{
    Catalog, Command, CommandKind, Decision, Document, Flag, Input, OfferId, Postback, Reason,
    Redecide, ResolvedClick, UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

#[path = "../../rules/tests/naive/limits.rs"]
mod limits;
#[path = "../../rules/tests/naive/model.rs"]
pub mod model;
#[path = "../../rules/tests/naive/reversal.rs"]
mod reversal;
#[path = "../../rules/tests/naive/sequence.rs"]
mod sequence;

/// What the models want to know of a postback.
pub mod history {
    #[derive(Debug, Clone)]
    pub struct Report {
        pub event: &'static str,
        pub amount: Option<&'static str>,
        pub transaction: Option<&'static str>,
    }
}

/// One partition. Errors are sentences for people.
pub struct Naive {
    /// The partition's clock, which only the user of this sets.
    pub clock: UnixMillis,
    pub models: BTreeMap<OfferId, Model>,
    /// Remembers the postbacks that belong to no offer.
    without_click: Model,
    /// Decisions that were really written and are not compared yet.
    pub written: VecDeque<Decision>,
    keyring: Arc<Keyring>,
    /// The models' names of conversions and their ids.
    ids: BTreeMap<String, String>,
    keys: BTreeMap<String, String>,
    /// What timers should have done since the last decision of an input.
    timers: Vec<Line>,
}

impl Naive {
    pub fn new(keyring: Arc<Keyring>) -> Self {
        Self {
            clock: UnixMillis(0),
            models: BTreeMap::new(),
            without_click: Model::default(),
            written: VecDeque::new(),
            keyring,
            ids: BTreeMap::new(),
            keys: BTreeMap::new(),
            timers: Vec::new(),
        }
    }

    /// From now on this configuration is in force.
    pub fn configure(&mut self, catalog: &Catalog) {
        for root in catalog.offers().map(|offer| &offer.root) {
            self.models.entry(root.clone()).or_default().catalog = only(catalog, root);
        }
    }

    /// Everything that is due by `clock` happens.
    pub fn pass_to(&mut self, clock: UnixMillis) {
        for model in self.models.values_mut() {
            model.pass_to(clock);
            self.timers.append(&mut model.lines);
        }
    }

    fn step_without_click(&mut self, postback: &Postback) -> Result<(), String> {
        self.without_click.now = self.clock;
        let id = postback.postback_id.to_string();
        if self.without_click.is_repeat(postback.received_at, &id) {
            return Ok(());
        }
        self.compare_step(vec![without_click(postback)])
    }

    /// Takes an input, and compares what it led to.
    pub fn step(&mut self, input: &Input) -> Result<(), String> {
        let token = match input {
            Input::Postback(postback) => postback.parameter("gk_click_id").unwrap_or_default(),
            Input::Command(command) => &command.click_id,
            Input::Redecide(command) => return self.step_again(command),
            Input::ClickDetails(_) => return Ok(()),
        };
        let Ok(click) = self.keyring.open(token) else {
            return match input {
                Input::Postback(postback) => self.step_without_click(postback),
                _ => Err(format!("a command for the click {token:?}, which nobody made")),
            };
        };
        let model = self.models.get_mut(&click.root_offer).ok_or("an offer that is not there")?;
        model.now = self.clock;
        let is_repeat = match input {
            Input::Postback(postback) => post(model, &click, postback),
            Input::Command(command) => {
                let key = self.keys.get(command.conversion_id.as_str());
                by_hand(model, key.map_or("", String::as_str), command)
            }
            Input::Redecide(_) | Input::ClickDetails(_) => true,
        };
        let expected = std::mem::take(&mut model.lines);
        if is_repeat { Ok(()) } else { self.compare_step(expected) }
    }

    /// Takes postbacks that are put back, or only asked about. All have clicks of ours: nobody puts
    /// others back.
    fn step_again(&mut self, command: &Redecide) -> Result<(), String> {
        let Some(first) = command.postbacks.first() else { return Ok(()) };
        let open = |postback: &Postback| {
            let token = postback.parameter("gk_click_id").unwrap_or_default();
            self.keyring.open(token).map_err(|error| error.to_string())
        };
        let root = open(first)?.root_offer;
        let clicks: Vec<_> = command.postbacks.iter().map(open).collect::<Result<_, _>>()?;
        if clicks.iter().any(|click| click.root_offer != root) {
            return Err("the models judge postbacks of one root offer at a time".to_owned());
        }
        let model = self.models.get_mut(&root).ok_or("an offer that is not there")?;
        model.now = self.clock;
        if model.is_repeat(command.issued_at, &command.command_id.to_string()) {
            return Ok(());
        }
        let mut tried = command.preview.then(|| model.clone());
        let mut each = Vec::new();
        for (postback, click) in command.postbacks.iter().zip(&clicks) {
            let model = tried.as_mut().unwrap_or(&mut *model);
            let id = postback.postback_id.to_string();
            model.redecide(click, |model| judge(model, click, postback, id.clone()));
            let mut lines = std::mem::take(&mut model.lines);
            if command.preview {
                lines.retain(|line| matches!(line, Line::Redecision(..)));
            }
            each.push(lines);
        }
        each.into_iter().try_for_each(|expected| self.compare_step(expected))
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

    /// Compares what timers did since the last input.
    pub fn compare_timers(&mut self) -> Result<(), String> {
        let timers = std::mem::take(&mut self.timers);
        let mut expected: Vec<_> = timers.into_iter().map(|line| self.translate(line)).collect();
        let mut found = Vec::new();
        let by_timer = |it: &mut Decision| {
            it.postback.is_none() && it.command.is_none() && it.redecision.is_none()
        };
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
            Line::Postback { conversion: None, .. } | Line::Command(_) | Line::Redecision(..) => {}
        }
        line
    }
}

/// The conversions that lines are about.
fn names(lines: &[Line]) -> impl Iterator<Item = &str> {
    lines.iter().filter_map(|line| match line {
        Line::Row { conversion, .. } => Some(conversion.as_str()),
        Line::Postback { .. } | Line::Command(_) | Line::Redecision(..) => None,
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

/// Rules 1 to 3.
fn without_click(postback: &Postback) -> Line {
    let value = |name| postback.parameter(name).unwrap_or_default();
    let (event, click) = (value("cnv_event_id"), value("gk_click_id"));
    let is_macro = |text: &str| text.contains('{') && text.contains('}');
    let reason = if event.is_empty() {
        Reason::MissingEvent
    } else if is_macro(event) || is_macro(click) {
        Reason::MacroNotReplaced
    } else if click.is_empty() {
        Reason::MissingClickId
    } else {
        Reason::InvalidClickId
    };
    let (outcome, reason, conversion) = refuse(reason);
    Line::Postback { outcome, reason, conversion }
}

/// The models take words that live for ever; there are few different ones.
fn interned(text: &str) -> &'static str {
    static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = words.get(text) {
        return known;
    }
    let word: &'static str = Box::leak(text.to_owned().into_boxed_str());
    words.insert(word);
    word
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
    let text = |name: &str| postback.parameter(name).map(interned);
    let report = Report {
        event: text("cnv_event_id").unwrap_or_default(),
        amount: text("revenue"),
        transaction: text("transaction_id"),
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
    let unreadable = report.amount.is_some_and(|amount| amount.parse::<i64>().is_err());
    let flags = [
        unreadable.then_some(Flag::InvalidRevenue),
        doubted.then_some(Flag::ImplausibleEventTime),
        model.redecided.then_some(Flag::Redecided),
    ];
    let mut parameters = postback.parameters.clone();
    parameters.sort();
    let arrival = Arrival {
        report,
        id,
        received_at,
        happened_at: plausible.unwrap_or(received_at),
        timed: sent_at.is_some(),
        flags: flags.into_iter().flatten().collect(),
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
