//! A partition as its runtime drives it: clock, timers, then the record.

use super::checked::Checked;
use super::memory::Memory;
use super::offers::{ROOT, documents};
use rules::invariants::{Audit, check_outcomes};
use rules::{ClickReference, MoreDue, StepInput, fire_due, step};
use schemas::*;
use std::sync::Arc;
use uuid::Uuid;

/// Monday, 2026-01-05T12:00:00Z.
pub const START: UnixMillis = UnixMillis(1_767_614_400_000);

pub struct World {
    pub store: Memory,
    pub catalog: Catalog,
    pub out: Checked,
    pub now: UnixMillis,
    ids: u128,
    /// Everything decided so far.
    pub rows: Vec<Conversion>,
    pub availability: Vec<Availability>,
    /// Holds all of it against the named invariants.
    pub audit: Audit,
}

impl World {
    pub fn new() -> Self {
        let mut catalog = Catalog::default();
        catalog.apply(1, documents());
        Self {
            store: Memory::default(),
            catalog,
            out: Checked::default(),
            now: START,
            ids: 0,
            rows: Vec::new(),
            availability: Vec::new(),
            audit: Audit::default(),
        }
    }

    /// With the offer of the worked cases changed.
    pub fn with(change: impl FnOnce(&mut Offer)) -> Self {
        let mut world = Self::new();
        world.configure(change);
        world
    }

    /// Applies a changed root offer as the next version.
    pub fn configure(&mut self, change: impl FnOnce(&mut Offer)) {
        let mut offer = Offer::clone(self.catalog.offer(ROOT).unwrap());
        change(&mut offer);
        self.apply(Document::Offer(Arc::new(offer)));
    }

    pub fn apply(&mut self, document: Document) {
        self.catalog.apply(self.catalog.version + 1, [document]);
        let Self { store, catalog, out, now, .. } = self;
        rules::configuration_changed(store, catalog, |_| true, *now, out).unwrap();
        self.collect();
    }

    fn next_id(&mut self) -> Uuid {
        self.ids += 1;
        Uuid::from_u128(self.ids << 16 | 0x7000)
    }

    /// A click now, at a share.
    pub fn click_at(&mut self, share: &str) -> ResolvedClick {
        let random = (self.next_id().as_u128() as u64).to_be_bytes();
        ResolvedClick {
            key: ClickKey::new(self.now, random),
            root_offer: OfferId::new(ROOT).unwrap(),
            share: ShareId::new(share).unwrap(),
            config_version: self.catalog.version,
            country: Some(*b"US"),
            platform: Some(Platform::Ios),
            member: None,
            test: false,
            subs: SubIds::default(),
            details: false,
        }
    }

    pub fn click(&mut self) -> ResolvedClick {
        self.click_at("share-a")
    }

    pub fn postback(&mut self, parameters: &[(&str, &str)]) -> Postback {
        Postback {
            postback_id: PostbackId(self.next_id()),
            tenant: TenantId::new("brownboots").unwrap(),
            advertiser: AdvertiserId::new("brain-games").unwrap(),
            received_at: self.now,
            parameters: parameters.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            flags: Vec::new(),
        }
    }

    /// Takes what the rules said, and holds it against what must always hold.
    fn collect(&mut self) -> Vec<Decision> {
        let decisions = std::mem::take(&mut self.out.decisions);
        self.availability.append(&mut self.out.availability);
        for decision in &decisions {
            self.audit
                .observe(decision, &self.catalog)
                .unwrap_or_else(|broken| panic!("{broken}: {decision:#?}"));
            self.rows.extend_from_slice(&decision.conversions);
        }
        if !decisions.is_empty() {
            let root = OfferId::new(ROOT).unwrap();
            let totals = self.audit.check_totals(&mut self.store, &root).unwrap();
            totals.unwrap_or_else(|broken| panic!("{broken}: {decisions:#?}"));
        }
        decisions
    }

    /// Fires what is due by now.
    pub fn fire(&mut self) -> Vec<Decision> {
        let Self { store, catalog, out, now, .. } = self;
        while fire_due(store, catalog, *now, 3, out).unwrap() == MoreDue::Yes {}
        self.collect()
    }

    /// Fires what is due by now, a second time: nothing is compared with what was decided before.
    pub fn fire_unchecked(&mut self) -> Vec<Decision> {
        let Self { store, catalog, out, now, .. } = self;
        while fire_due(store, catalog, *now, 3, out).unwrap() == MoreDue::Yes {}
        std::mem::take(&mut self.out.decisions)
    }

    /// Lets time pass; what the timers decided.
    pub fn wait(&mut self, ms: i64) -> Vec<Decision> {
        self.now = self.now.plus_ms(ms);
        self.fire()
    }

    /// Runs one input; its decision, unless it was a repeat of our own.
    pub fn run(&mut self, input: StepInput<'_>) -> Option<Decision> {
        self.fire();
        let Self { store, catalog, out, now, .. } = self;
        let stepped = step(store, catalog, input, *now, out).unwrap();
        let mut decisions = self.collect();
        check_outcomes(stepped, decisions.len()).unwrap();
        decisions.pop()
    }

    pub fn deliver(&mut self, postback: &Postback, click: ClickReference<'_>) -> Option<Decision> {
        self.now = self.now.max(postback.received_at);
        self.run(StepInput::Postback { postback, click })
    }

    /// An event of a click, with further parameters; what became of it, shortly.
    pub fn send_with(
        &mut self,
        click: &ResolvedClick,
        event: &str,
        more: &[(&str, &str)],
    ) -> PostbackOutcome {
        let token = token(click);
        let mut parameters = vec![("cnv_event_id", event), ("gk_click_id", token.as_str())];
        parameters.extend(more);
        let postback = self.postback(&parameters);
        self.deliver(&postback, ClickReference::Resolved(click)).unwrap().postback.unwrap()
    }

    pub fn send(&mut self, click: &ResolvedClick, event: &str) -> PostbackOutcome {
        self.send_with(click, event, &[])
    }

    pub fn command(
        &mut self,
        row: &Conversion,
        kind: CommandKind,
        click: &ResolvedClick,
    ) -> CommandEffect {
        let command = Command {
            command_id: self.next_id(),
            issued_at: self.now,
            conversion_id: row.conversion_id.clone(),
            click_id: row.click_id.to_string(),
            kind,
            reason: "because".to_owned(),
        };
        let input =
            StepInput::Command { command: &command, click: ClickReference::Resolved(click) };
        self.run(input).unwrap().command.unwrap().effect
    }

    /// Whether the ingesters take clicks for a scope, by what was published.
    pub fn takes_clicks(&self, scope: &AvailabilityScope) -> bool {
        let last = self.availability.iter().rfind(|it| it.scope == *scope);
        last.is_none_or(|it| it.is_available(self.now))
    }

    /// Keys that belong to clicks: not counters with their timers, budgets, nor remembered ids.
    pub fn left_of_clicks(&self) -> Vec<&Vec<u8>> {
        let counter_timer = |key: &[u8]| key[0] == b't' && matches!(key[7], 4 | 5);
        let of_click =
            |key: &&Vec<u8>| !matches!(key[0], b'k' | b's' | b'p') && !counter_timer(key);
        self.store.0.keys().filter(of_click).collect()
    }

    /// The present revision of an event's conversion.
    pub fn row(&self, click: &ResolvedClick, event: &str) -> Option<&Conversion> {
        let token = token(click);
        self.rows.iter().rfind(|row| *row.click_id == *token && row.event_id.as_str() == event)
    }

    /// Status and reason of an event's conversion, as in a report.
    pub fn stands(&self, click: &ResolvedClick, event: &str) -> (&'static str, &'static str) {
        self.row(click, event)
            .map_or(("", ""), |row| (row.status.code(), row.reason.map_or("", Reason::code)))
    }

    /// Successes of an event, over all clicks, in their present revisions.
    pub fn successes(&self, event: &str) -> usize {
        let present: std::collections::BTreeMap<_, _> =
            self.rows.iter().map(|row| (&row.conversion_id, row)).collect();
        present
            .values()
            .filter(|row| row.event_id.as_str() == event && row.status == ConversionStatus::Success)
            .count()
    }
}

/// What stands for a click's sealed id.
pub fn token(click: &ResolvedClick) -> String {
    format!("token-{:?}", click.key)
}
