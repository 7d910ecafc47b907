//! What must become of the postbacks that a run sends, said from the documented rules alone and for these
//! kinds only: no code of the product has a part in it.
//!
//! * A macro, no click id, a made-up one or an empty event: rejected, each with its reason.
//! * Everything else names an event of a click. The first to be decided makes the conversion; every
//!   further one is a duplicate.
//! * An event converts when the nearest lower level that has events has one that converts; otherwise
//!   it waits. At one's end only what was sent counts, not its order.
//! * A conversion that is held is Pending with the reason HOLD; one that is not is Success. Its money is
//!   the share's where the share says something, else the offer's; payout is revenue unless given.

use crate::mix::Kind;
use crate::request::{Note, Shape};
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// An amount in millionths, as ClickHouse keeps it.
pub type Micros = i64;

/// What a postback is judged by, if it does not name an event of a click.
pub fn refusal(kind: Kind, note: Note) -> Option<&'static str> {
    match (kind, note.shape) {
        (Kind::MacroNotReplaced, _) => Some("MACRO_NOT_REPLACED"),
        (_, Shape::NoClickId) => Some("MISSING_CLICK_ID"),
        (_, Shape::EmptyEvent) => Some("MISSING_EVENT"),
        (_, Shape::MadeUpClickId) => Some("INVALID_CLICK_ID"),
        (_, Shape::Fine | Shape::BrokenAmount) => None,
    }
}

/// One event of one share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    /// None: it needs no other event.
    pub level: Option<u32>,
    pub is_held: bool,
    pub revenue: Micros,
    pub payout: Micros,
    pub reward: Micros,
    /// What this module knows nothing of, in words; then only the rest is judged.
    pub beyond: Option<&'static str>,
}

/// What a click's events have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was not sent.
    Nothing,
    Converted,
    Waiting,
    /// It depends on a postback whose answer was lost.
    Either,
}

/// Who sent an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Postbacks answered 2xx.
    pub accepted: u32,
    /// Postbacks that may have been taken.
    pub unknown: u32,
}

/// The end of each event of a click.
pub fn ends(events: &[Event], sent: &[Sent]) -> Vec<End> {
    let known = of_sequence(events, &|at| sent[at].accepted > 0);
    let most = of_sequence(events, &|at| sent[at].accepted + sent[at].unknown > 0);
    let end = |at: usize| match (known[at], most[at]) {
        (End::Nothing, End::Nothing) => End::Nothing,
        (known, most) if known == most => known,
        _ => End::Either,
    };
    (0..events.len()).map(end).collect()
}

fn of_sequence(events: &[Event], is_there: &dyn Fn(usize) -> bool) -> Vec<End> {
    let mut ends = vec![End::Nothing; events.len()];
    let mut levels: Vec<u32> = events.iter().filter_map(|it| it.level).collect();
    levels.sort_unstable();
    levels.dedup();
    let mut below_is_met = true;
    for level in levels {
        let mut met = false;
        for (at, _) in events.iter().enumerate().filter(|(_, it)| it.level == Some(level)) {
            if is_there(at) {
                ends[at] = if below_is_met { End::Converted } else { End::Waiting };
                met |= below_is_met;
            }
        }
        below_is_met = met;
    }
    for (at, _) in events.iter().enumerate().filter(|(_, it)| it.level.is_none()) {
        if is_there(at) {
            ends[at] = End::Converted;
        }
    }
    ends
}

/// The shares of a configuration, and the events of each.
#[derive(Debug, Default)]
pub struct Shares(BTreeMap<String, Vec<Event>>);

#[derive(Debug, Deserialize)]
struct OfferText {
    id: String,
    #[serde(default)]
    events: Vec<EventText>,
    /// What these mean is not said here.
    budget: Option<Value>,
    sequence_rule: Option<Value>,
    sequence_grace: Option<Value>,
    attribution_window: Option<Value>,
    clone_of: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct EventText {
    id: String,
    sequence: Option<u32>,
    pending_time: Option<Value>,
    revenue: Option<Value>,
    payout: Option<Value>,
    reward: Option<Value>,
    caps: Option<Value>,
    minimum_time: Option<Value>,
    deadline: Option<Value>,
    #[serde(default)]
    repeatable: bool,
}

#[derive(Debug, Deserialize)]
struct ShareText {
    id: String,
    offer: String,
    #[serde(default)]
    events: Vec<OverrideText>,
}

#[derive(Debug, Deserialize)]
struct OverrideText {
    event: String,
    revenue: Option<Value>,
    payout: Option<Value>,
    reward: Option<Value>,
    caps: Option<Value>,
}

impl Shares {
    /// Reads documents from a file or from all YAML and JSON files of a directory.
    pub fn read(path: &Path) -> Result<Self> {
        let mut files = vec![path.to_path_buf()];
        if path.is_dir() {
            let within = |extension: &str| ["yaml", "yml", "json"].contains(&extension);
            files = std::fs::read_dir(path)?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|it| it.extension().and_then(|it| it.to_str()).is_some_and(within))
                .collect();
        }
        let mut texts = Vec::new();
        for file in files {
            let what = || format!("the configuration in {}", file.display());
            texts.push(std::fs::read_to_string(&file).with_context(what)?);
        }
        Self::parse(&texts)
    }

    fn parse(texts: &[String]) -> Result<Self> {
        let (mut offers, mut shares) = (BTreeMap::new(), Vec::new());
        for text in texts {
            let documents: Vec<Value> =
                serde_saphyr::from_multiple(text).context("not readable as YAML or JSON")?;
            for document in documents {
                match document["kind"].as_str() {
                    Some("Offer") => {
                        let offer: OfferText = serde_json::from_value(document)?;
                        offers.insert(offer.id.clone(), offer);
                    }
                    Some("Share") => shares.push(serde_json::from_value::<ShareText>(document)?),
                    _ => {}
                }
            }
        }
        let mut all = BTreeMap::new();
        for share in shares {
            let offer = offers.get(&share.offer);
            let offer = offer.with_context(|| format!("there is no offer {}", share.offer))?;
            let events = offer.events.iter().map(|event| of_share(offer, event, &share));
            all.insert(share.id.clone(), events.collect::<Result<_>>()?);
        }
        Ok(Self(all))
    }

    /// The events of a share in the order of a ledger's target.
    pub fn events(&self, share: &str, ids: &[String]) -> Result<Vec<Event>> {
        let known = self.0.get(share);
        let known = known.with_context(|| format!("the configuration has no share {share}"))?;
        let find = |id: &String| {
            let event = known.iter().find(|it| it.id == *id).cloned();
            event.with_context(|| format!("the offer of share {share} has no event {id:?}"))
        };
        ids.iter().map(find).collect()
    }
}

fn of_share(offer: &OfferText, event: &EventText, share: &ShareText) -> Result<Event> {
    let over = share.events.iter().find(|it| it.event == event.id);
    let amount = |own: Option<&Value>, base: &Option<Value>| {
        own.or(base.as_ref()).map(micros).transpose().map(|it| it.flatten())
    };
    let revenue = amount(over.and_then(|it| it.revenue.as_ref()), &event.revenue)?.unwrap_or(0);
    let payout = amount(over.and_then(|it| it.payout.as_ref()), &event.payout)?;
    let reward = amount(over.and_then(|it| it.reward.as_ref()), &event.reward)?.unwrap_or(0);
    let limited =
        offer.budget.is_some() || event.caps.is_some() || over.is_some_and(|it| it.caps.is_some());
    let beyond = match () {
        () if offer.clone_of.is_some() => Some("a clone"),
        () if limited => Some("caps or a budget"),
        () if offer.sequence_rule.is_some() => Some("a sequence rule of its own"),
        () if [&offer.sequence_grace, &offer.attribution_window, &event.deadline]
            .into_iter()
            .flatten()
            .any(is_short) =>
        {
            Some("a grace, window or deadline below a day")
        }
        () if event.minimum_time.is_some() => Some("a minimum time"),
        () if event.repeatable => Some("repeatable"),
        () => None,
    };
    Ok(Event {
        id: event.id.clone(),
        level: event.sequence,
        is_held: event.pending_time.as_ref().is_some_and(|it| !is_zero(it)),
        revenue,
        payout: payout.unwrap_or(revenue),
        reward,
        beyond,
    })
}

/// A time that may pass in a run, none of which is longer than a day.
fn is_short(time: &Value) -> bool {
    time.as_str().is_none_or(|it| !it.ends_with('d') || it.starts_with('0'))
}

fn is_zero(time: &Value) -> bool {
    time.as_f64() == Some(0.0)
        || time.as_str().is_some_and(|it| it.trim_end_matches(char::is_alphabetic) == "0")
}

/// A decimal number, quoted or not; none when it is null.
fn micros(value: &Value) -> Result<Option<Micros>> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    ensure!(fraction.len() <= 6 && !whole.starts_with('-'), "{text:?} is no amount");
    let digits = format!("{whole}{fraction:0<6}");
    Ok(Some(digits.parse().with_context(|| format!("{text:?} is no amount"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, level: Option<u32>) -> Event {
        Event {
            id: id.to_owned(),
            level,
            is_held: false,
            revenue: 0,
            payout: 0,
            reward: 0,
            beyond: None,
        }
    }

    #[test]
    fn the_sequence_decides_what_waits() {
        use End::{Converted as C, Either as E, Nothing as N, Waiting as W};
        let events = [
            event("install", Some(1)),
            event("open", Some(1)),
            event("level", Some(3)),
            event("last", Some(4)),
            event("free", None),
        ];
        // How often each was accepted; a minus: not known.
        let cases = [
            ([0, 0, 0, 0, 0], [N, N, N, N, N]),
            ([1, 0, 0, 0, 1], [C, N, N, N, C]),
            ([0, 1, 1, 2, 0], [N, C, C, C, N]),
            ([0, 0, 1, 1, 0], [N, N, W, W, N]),
            ([1, 0, 0, 1, 0], [C, N, N, W, N]),
            ([-1, 0, 1, 0, 0], [E, N, E, N, N]),
            ([1, 0, -1, 1, 0], [C, N, E, E, N]),
        ];
        for (counts, expected) in cases {
            let sent = counts.map(|count: i32| Sent {
                accepted: count.max(0).unsigned_abs(),
                unknown: count.min(0).unsigned_abs(),
            });
            assert_eq!(ends(&events, &sent), expected, "{counts:?}");
        }
    }

    #[test]
    fn a_share_says_what_it_pays() {
        let text = "kind: Offer\nid: o\nevents:\n\
            - {id: Install, sequence: 1, pending_time: 0, revenue: 0.50, reward: 50}\n\
            - {id: Late, sequence: 2, pending_time: 7d, revenue: \"7.5\", payout: 6, minimum_time: 1h}\n\
            ---\nkind: Share\nid: s\noffer: o\nevents:\n- {event: Late, payout: 5.25}\n\
            ---\nkind: Tenant\nid: t\n";
        let shares = Shares::parse(&[text.to_owned()]).unwrap();
        let ids = ["Late".to_owned(), "Install".to_owned()];
        let events = shares.events("s", &ids).unwrap();
        let money: Vec<_> = events.iter().map(|it| (it.revenue, it.payout, it.reward)).collect();
        assert_eq!(money, [(7_500_000, 5_250_000, 0), (500_000, 500_000, 50_000_000)]);
        assert_eq!(events.iter().map(|it| it.is_held).collect::<Vec<_>>(), [true, false]);
        assert_eq!(events[0].beyond, Some("a minimum time"));
        assert!(shares.events("x", &ids).is_err());
        assert!(shares.events("s", &["Nothing".to_owned()]).is_err());
    }

    #[test]
    fn amounts_are_decimal() {
        let of = |text: &str| micros(&serde_json::from_str(text).unwrap()).ok().flatten();
        assert_eq!(of("0.5"), Some(500_000));
        assert_eq!(of("\"50000.00\""), Some(50_000_000_000));
        assert_eq!(of("12"), Some(12_000_000));
        assert_eq!(of("null"), None);
        assert_eq!(of("-1"), None);
        assert_eq!(of("0.1234567"), None);
    }
}
