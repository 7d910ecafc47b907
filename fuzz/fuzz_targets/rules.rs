//! Whatever configuration an apply takes, the rules decide with it: one outcome for each postback,
//! no panic, and every named invariant, through clicks, postbacks, waiting and another apply.
//!
//! Input: a document, a zero byte, and a script of bytes for what happens.

#![no_main]

use admin::apply::{Source, check};
use libfuzzer_sys::fuzz_target;
use rules::invariants::{Audit, Violation, check_outcomes};
use rules::{
    ClickReference, Damaged, Decided, DecisionView, MoreDue, Output, Scratch, StepInput, Store,
    configuration_changed, fire_due, step,
};
use schemas::codec::{encode, encode_as};
use schemas::{
    Availability, Catalog, ClickKey, Decision, Offer, Postback, PostbackId, ResolvedClick, SubIds,
    UnixMillis,
};
use std::collections::BTreeMap;
use std::sync::LazyLock;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const EXAMPLE: &str = include_str!("../../examples/brownboots.yaml");
/// Steps of one script, and timers between two of them.
const STEPS_MAX: usize = 64;
const TIMERS_MAX: usize = 2_000;
/// A step lets this much pass for the byte that it takes, doubled as often.
const WAIT_MS: i64 = 60_000;
static INSTALLED: LazyLock<Catalog> = LazyLock::new(|| {
    let mut catalog = Catalog::default();
    catalog.apply(1, check(&[source(EXAMPLE)], &catalog, NOW).unwrap());
    catalog
});

fn source(text: &str) -> Source {
    Source { name: "f.yaml".to_owned(), text: text.to_owned() }
}

fuzz_target!(|data: &[u8]| {
    let (text, script) = match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &data[data.len() / 2..]),
    };
    let mut catalog = INSTALLED.clone();
    let text = String::from_utf8_lossy(text);
    let Ok(documents) = check(&[source(&text)], &catalog, NOW) else { return };
    let mut partition = Partition { now: NOW, ..Partition::default() };
    let mut script = Script(script);
    let mut clicks: Vec<ResolvedClick> = Vec::new();
    let mut documents = Some(documents);
    for number in 0..STEPS_MAX {
        let Some(what) = script.next() else { break };
        // The document comes at first or later, when clicks of the version before are there.
        if (what % 8 == 0 || number == 3)
            && let Some(documents) = documents.take()
        {
            catalog.apply(catalog.version + 1, documents);
            partition.configure(&catalog);
        }
        if what % 4 == 1 || clicks.is_empty() {
            let Some(click) = new_click(&catalog, &mut script, partition.now, number) else {
                return;
            };
            clicks.push(click);
        }
        let click = clicks[script.pick(clicks.len())].clone();
        partition.now = partition.now.plus_ms(WAIT_MS << (script.byte() % 18));
        let Some(offer) = catalog.terms(&click).map(|terms| terms.offer) else { continue };
        let postback = postback(&offer, &click, &mut script, partition.now, number);
        partition.send(&catalog, &click, &postback);
    }
    partition.now = partition.now.plus_ms(400 * 86_400_000);
    partition.fire(&catalog);
});

fn new_click(
    catalog: &Catalog,
    script: &mut Script<'_>,
    now: UnixMillis,
    number: usize,
) -> Option<ResolvedClick> {
    let shares: Vec<_> = catalog.shares().collect();
    let share = shares.get(script.pick(shares.len()))?;
    let offer = catalog.offer(share.offer.as_str())?;
    let marks = script.byte();
    Some(ResolvedClick {
        key: ClickKey::new(now, (number as u64).to_be_bytes()),
        root_offer: offer.root.clone(),
        share: share.id.clone(),
        config_version: catalog.version,
        country: None,
        platform: None,
        member: (marks & 1 != 0).then_some([marks & 6; 8]),
        test: marks & 24 == 24,
        subs: SubIds::default(),
        details: false,
    })
}

/// A postback in the offer's own words, mostly.
fn postback(
    offer: &Offer,
    click: &ResolvedClick,
    script: &mut Script<'_>,
    now: UnixMillis,
    number: usize,
) -> Postback {
    // A text of its own for each click: it is what decisions are told apart by.
    let token = format!("click-{:?}", click.key);
    let mut parameters = vec![("gk_click_id".to_owned(), token)];
    let event = offer.events.get(script.pick(offer.events.len() + 1));
    let event = event.map_or("none of them", |event| event.id.as_str());
    parameters.push(("cnv_event_id".to_owned(), event.to_owned()));
    let has = script.byte();
    let profile = offer.profile();
    let amounts = profile.amounts.iter().map(|amount| amount.name.clone());
    for (mark, names, values) in [
        (1, amounts.collect(), &["1", "-1", "NaN", "9223372036854.775807"][..]),
        (2, profile.transactions.clone(), &["T-1", "T-2", "null", "{macro}"]),
        (4, profile.times.clone(), &["1800000000", "x", "-9223372036854775808"]),
        (8, profile.currencies.clone(), &["USD", "eur", "DOGE"]),
    ] {
        let name: Option<&String> = names.get(script.pick(names.len()));
        if let Some(name) = name.filter(|_| has & mark != 0) {
            parameters.push((name.clone(), values[script.pick(values.len())].to_owned()));
        }
    }
    let markers: Vec<_> = profile.rejects.iter().chain(&profile.sandbox).collect();
    if let Some(marker) = markers.get(script.pick(markers.len())).filter(|_| has & 48 == 48) {
        let value = marker.values.first().cloned().unwrap_or_default();
        parameters.push((marker.parameter.clone(), value));
    }
    let ahead_ms = i64::from(script.byte()) * i64::from(has & 64) * 1_000;
    Postback {
        postback_id: PostbackId(uuid::Uuid::from_u128(number as u128 + 1)),
        tenant: offer.tenant.clone(),
        advertiser: offer.advertiser.clone(),
        received_at: now.plus_ms(ahead_ms),
        parameters,
        flags: Vec::new(),
    }
}

/// Bytes that say what to do; when they are used up, zeroes.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or_default()
    }

    fn pick(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }
}

/// A partition as its runtime drives it, with every decision audited.
#[derive(Default)]
struct Partition {
    now: UnixMillis,
    store: Memory,
    out: Checked,
    audit: Audit,
    /// Every decision so far, to be told when one breaks a law.
    story: Vec<Decision>,
}

impl Partition {
    fn configure(&mut self, catalog: &Catalog) {
        configuration_changed(&mut self.store, catalog, |_| true, self.now, &mut self.out).unwrap();
    }

    fn send(&mut self, catalog: &Catalog, click: &ResolvedClick, postback: &Postback) {
        self.fire(catalog);
        let click = ClickReference::Resolved(click);
        let input = StepInput::Postback { postback, click };
        let stepped = step(&mut self.store, catalog, input, self.now, &mut self.out).unwrap();
        check_outcomes(stepped, self.out.0.decisions.len()).unwrap();
        self.observe(catalog);
    }

    fn fire(&mut self, catalog: &Catalog) {
        let mut fired = 0;
        while fire_due(&mut self.store, catalog, self.now, 100, &mut self.out).unwrap()
            == MoreDue::Yes
        {
            fired += 100;
            assert!(fired <= TIMERS_MAX, "timers without end");
        }
        self.observe(catalog);
    }

    fn observe(&mut self, catalog: &Catalog) {
        for decision in &self.out.0.decisions {
            self.story.push(decision.clone());
            if let Err(broken) = self.audit.observe(decision, catalog) {
                panic!("{broken:?} after {:#?}", self.story);
            }
        }
        self.out.0.clear();
    }
}

/// Keeps what it is told; its view and its copy must be one record, and no law may be broken.
#[derive(Default)]
struct Checked(Output);

impl Decided for Checked {
    fn decision(&mut self, decision: &DecisionView<'_>) {
        let mut bytes = Vec::new();
        encode_as::<Decision>(decision, &mut bytes);
        assert_eq!(bytes, encode(&decision.to_decision()));
        self.0.decision(decision);
    }

    fn availability(&mut self, availability: &Availability) {
        self.0.availability(availability);
    }

    fn violated(&mut self, violation: &Violation<'_>) {
        panic!("{}: {violation:?}", violation.invariant);
    }

    fn scratch(&mut self) -> &mut Scratch {
        self.0.scratch()
    }
}

/// The state in a sorted map.
#[derive(Default)]
struct Memory(BTreeMap<Vec<u8>, Vec<u8>>);

impl Store for Memory {
    type Error = Damaged;

    fn get(&mut self, key: &[u8], value: &mut Vec<u8>) -> Result<bool, Damaged> {
        let Some(found) = self.0.get(key) else { return Ok(false) };
        value.clone_from(found);
        Ok(true)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Damaged> {
        self.0.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Damaged> {
        self.0.remove(key);
        Ok(())
    }

    fn first_in(
        &mut self,
        from: &[u8],
        end: &[u8],
        key: &mut Vec<u8>,
        value: &mut Vec<u8>,
    ) -> Result<bool, Damaged> {
        let Some((first, held)) = self.0.range(from.to_vec()..end.to_vec()).next() else {
            return Ok(false);
        };
        key.clone_from(first);
        value.clone_from(held);
        Ok(true)
    }
}
