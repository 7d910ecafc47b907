//! That the checker can fail: one small history that is right, and every way to spoil it.

use super::check::differences;
use super::evidence::{ConversionRow, Evidence, PostbackRow};
use schemas::time::DAY_MS;
use schemas::{
    Catalog, Conversion, ConversionStatus, Decision, Input, Micros, Outcome, Postback,
    PostbackOutcome, Reason, UnixMillis,
};
use simulated::{ADVERTISER, CLICK_POOL, EVENT_NAMES, KEYRING, START, TENANT};
use std::sync::Arc;
use uuid::Uuid;

/// Offers and clicks as the simulation has them.
#[path = "../../../processor/tests/sim/offers.rs"]
pub mod simulated;

/// A click whose first event is held for a day.
const HELD: usize = 1;

fn postback(id: u128, at: UnixMillis, click: Option<usize>) -> Postback {
    let mut parameters = vec![("cnv_event_id".to_owned(), EVENT_NAMES[0].to_owned())];
    let token = click.map(|click| CLICK_POOL[click].token.clone());
    parameters.extend(token.map(|token| ("gk_click_id".to_owned(), token)));
    Postback {
        postback_id: schemas::PostbackId(Uuid::from_u128(id)),
        tenant: schemas::TenantId::new(TENANT).unwrap(),
        advertiser: schemas::AdvertiserId::new(ADVERTISER).unwrap(),
        received_at: at,
        parameters,
        flags: Vec::new(),
    }
}

fn outcome(of: &Postback, outcome: Outcome, reason: Option<Reason>) -> PostbackOutcome {
    PostbackOutcome {
        postback_id: of.postback_id,
        tenant: of.tenant.clone(),
        advertiser_id: of.advertiser.clone(),
        received_at: of.received_at,
        click_id: of.parameter("gk_click_id").unwrap_or_default().to_owned(),
        event_id: EVENT_NAMES[0].to_owned(),
        outcome,
        reason,
        conversion_id: None,
        offer_id: None,
        publisher_id: None,
        parameters: of.parameters.clone(),
        flags: Vec::new(),
        test: false,
        config_version: 1,
    }
}

fn revision(number: u32, received_at: UnixMillis) -> Conversion {
    let click = &CLICK_POOL[HELD];
    let due = received_at.plus_ms(DAY_MS);
    let is_held = number == 1;
    let share = click.resolved.share.as_str();
    Conversion {
        conversion_id: "first-trade.0123456789abcdefghjkmnpqrs".parse().unwrap(),
        revision: number,
        click_id: click.token.as_str().into(),
        clicked_at: click.resolved.clicked_at(),
        tenant: schemas::TenantId::new(TENANT).unwrap(),
        advertiser_id: schemas::AdvertiserId::new(ADVERTISER).unwrap(),
        offer_id: click.resolved.root_offer.clone(),
        root_offer_id: click.resolved.root_offer.clone(),
        share_id: schemas::ShareId::new(share).unwrap(),
        publisher_id: schemas::PublisherId::new("publisher-one").unwrap(),
        event_id: schemas::EventId::new(EVENT_NAMES[0]).unwrap(),
        event_name: EVENT_NAMES[0].into(),
        sequence: Some(1),
        status: if is_held { ConversionStatus::Pending } else { ConversionStatus::Success },
        reason: is_held.then_some(Reason::Hold),
        note: String::new(),
        received_at,
        due_at: is_held.then_some(due),
        decided_at: if is_held { received_at } else { due },
        revenue: Micros(1_000_000),
        payout: Micros(800_000),
        currency: schemas::Currency::USD,
        reward: Micros(100_000_000),
        reward_unit: "points".into(),
        sale_amount: None,
        sale_currency: None,
        transaction_id: None,
        offer_version: 1,
        country: None,
        platform: None,
        subs: schemas::SubIds::default(),
        test: false,
        flags: Vec::new(),
        postback_id: None,
    }
}

/// Rows as they would be if everything decided was shown.
fn shown(evidence: &mut Evidence) {
    let decided: Vec<&Decision> = evidence.decisions.iter().flatten().collect();
    let postbacks = decided.iter().filter_map(|it| it.postback.as_ref());
    let text = |reason: Option<Reason>| reason.map(|it| it.to_string()).unwrap_or_default();
    let postbacks = postbacks.map(|it| PostbackRow {
        postback_id: it.postback_id.to_string(),
        outcome: it.outcome.to_string(),
        reason: text(it.reason),
        conversion_id: it.conversion_id.as_ref().map(ToString::to_string).unwrap_or_default(),
    });
    let rows = decided.iter().flat_map(|it| &it.conversions).map(|it| ConversionRow {
        conversion_id: it.conversion_id.to_string(),
        revision: it.revision,
        status: it.status.to_string(),
        reason: text(it.reason),
        decided_at_ms: it.decided_at.0,
        due_at_ms: it.due_at.map(|due| due.0),
        revenue_micros: it.revenue.0,
    });
    let rows: Vec<ConversionRow> = rows.collect();
    let postbacks = postbacks.collect();
    evidence.current = rows.last().cloned().into_iter().collect();
    (evidence.postbacks, evidence.conversions) = (postbacks, rows);
}

/// One postback without a click, one that is held, and the timer that lets it succeed.
fn history() -> Evidence {
    let (without, held) = (postback(1, START, None), postback(2, START.plus_ms(5), Some(HELD)));
    let mut accepted = outcome(&held, Outcome::Accepted, Some(Reason::Hold));
    let first = revision(1, held.received_at);
    accepted.conversion_id = Some(first.conversion_id.clone());
    let decision =
        |postback, conversions| Decision { postback, conversions, ..Decision::default() };
    let missing = outcome(&without, Outcome::Rejected, Some(Reason::MissingClickId));
    let mut catalog = Catalog::default();
    let mut random = eventlog::simulated::Random::new(1);
    catalog.apply(1, simulated::documents(1, &mut random));
    let mut evidence = Evidence {
        inputs: vec![vec![Input::Postback(without), Input::Postback(held.clone())]],
        decisions: vec![vec![
            decision(Some(missing), Vec::new()),
            decision(Some(accepted), vec![first]),
            decision(None, vec![revision(2, held.received_at)]),
        ]],
        catalog,
        now: START.plus_ms(2 * DAY_MS),
        ..Evidence::default()
    };
    shown(&mut evidence);
    evidence
}

fn check(spoil: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut evidence = history();
    spoil(&mut evidence);
    differences(&evidence, &Arc::clone(&KEYRING))
}

#[test]
fn a_history_that_is_right_has_no_differences() {
    assert_eq!(check(|_| {}), Vec::<String>::new());
}

#[test]
fn a_record_that_a_producer_wrote_again_is_no_difference() {
    let written_again = |it: &mut Evidence| {
        it.inputs[0] =
            it.inputs[0].iter().flat_map(|input| [input.clone(), input.clone()]).collect();
    };
    assert_eq!(check(written_again), Vec::<String>::new());
}

#[test]
fn every_flaw_is_found() {
    type Spoil = fn(&mut Evidence);
    let flaws: [(&str, Spoil, &str); 15] = [
        ("a row is lost", |it| drop(it.postbacks.pop()), "found 0 times: PostbackRow"),
        ("a row shows twice", |it| it.postbacks.push(it.postbacks[0].clone()), "found 2 times"),
        ("a row says otherwise", |it| it.postbacks[0].reason.clear(), "a postback in ClickHouse"),
        ("a revision is lost", |it| drop(it.conversions.pop()), "a revision in ClickHouse"),
        (
            "a revision shows twice",
            |it| it.conversions.push(it.conversions[0].clone()),
            "found 2 times: ConversionRow",
        ),
        (
            "the view shows an old revision",
            |it| it.current[0] = it.conversions[0].clone(),
            "a conversion in ClickHouse",
        ),
        ("a dead letter", |it| it.dead_letters = 1, "dead letters"),
        (
            "an input is never decided",
            |it| {
                it.decisions[0].remove(0);
                shown(it);
            },
            "an input and its decision: expected 1 times and found 0",
        ),
        (
            "an input is decided twice",
            |it| {
                let again = it.decisions[0][0].clone();
                it.decisions[0].insert(1, again);
                it.postbacks.clear();
                shown(it);
            },
            "an input and its decision: expected 1 times and found 2",
        ),
        (
            "a record that a producer wrote again is decided again",
            |it| {
                let again = it.inputs[0][0].clone();
                it.inputs[0].push(again);
                let again = it.decisions[0][0].clone();
                it.decisions[0].push(again);
                shown(it);
            },
            "an input and its decision: expected 1 times and found 2",
        ),
        (
            "what nobody sent is decided",
            |it| drop(it.inputs[0].remove(0)),
            "an input and its decision: expected 0 times",
        ),
        (
            "a wrong decision, told consistently",
            |it| {
                let postback = it.decisions[0][0].postback.as_mut().unwrap();
                postback.reason = Some(Reason::InvalidClickId);
                shown(it);
            },
            "naive",
        ),
        (
            "a hold that fires too soon",
            |it| {
                let row = &mut it.decisions[0][2].conversions[0];
                row.decided_at = row.decided_at.plus_ms(-1);
                shown(it);
            },
            "was due at",
        ),
        (
            "a hold that never fires",
            |it| {
                it.decisions[0].pop();
                shown(it);
            },
            "never fired",
        ),
        (
            "a hold that fires twice",
            |it| {
                let mut again = it.decisions[0][2].clone();
                again.conversions[0].revision = 3;
                it.decisions[0].push(again);
                shown(it);
            },
            "naive",
        ),
    ];
    for (name, spoil, expected) in flaws {
        let found = check(spoil);
        assert!(found.iter().any(|it| it.contains(expected)), "{name}: {found:#?}");
    }
}

#[test]
fn a_cap_that_leaks_is_found() {
    let (offer, event, cap) = super::offers::CAP;
    let mut evidence = Evidence::default();
    let row = |number: usize| {
        let mut row = revision(2, START);
        row.root_offer_id = schemas::OfferId::new(offer).unwrap();
        row.event_id = schemas::EventId::new(event).unwrap();
        row.conversion_id = format!("{offer}.{number:026}").parse().unwrap();
        row
    };
    let conversions = (0..=cap).map(row).collect();
    evidence.decisions = vec![vec![Decision { conversions, ..Decision::default() }]];
    evidence.inputs = vec![Vec::new()];
    let found = differences(&evidence, &KEYRING);
    assert!(found.iter().any(|it| it.contains("under a cap of 60")), "{found:#?}");
}
