//! `redecide`: stored postbacks that were refused are put back for decision, or a preview of it is
//! asked for. Both go the way of a postback, to the processor that has the state of their clicks;
//! then what came of them is waited for. Called page by page, so that each is bounded.

use crate::by_hand::REASON_CHARS_MAX;
use crate::config::DECISION_WAIT;
use crate::error::Error;
use crate::parameter::Parameter;
use crate::query::Query;
use crate::report::filter::{self, Filter, Scope, View};
use crate::warehouse::{Question, Warehouse};
use bytes::Bytes;
use eventlog::{EventLog, Record};
use keyring::Keyring;
use schemas::input::{REDECIDE_BYTES_MAX, REDECIDE_POSTBACKS_MAX};
use schemas::topic::partition_of;
use schemas::{
    AdvertiserId, Catalog, ConversionChange, Flag, Postback, PostbackId, Reason, Redecide,
    TenantId, Topic, UnixMillis, codec,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use uuid::Uuid;

/// Postbacks of one page.
pub const PAGE_POSTBACKS: usize = 500;
/// How often what came of them is looked for.
const POLL: Duration = Duration::from_millis(100);
/// Longest name of whoever asks, in characters.
const OPERATOR_CHARS_MAX: usize = 100;
/// Filters that choose postbacks, beside those of this module.
const FILTERS: &[Filter] = &[Filter::Tenant, Filter::Advertiser, Filter::Offer, Filter::Event];
const REFUSAL: Parameter =
    Parameter::text("refusal", "Only those refused for one of these reasons, with commas between.");
const POSTBACK: Parameter =
    Parameter::text("postback", "Only these postbacks, by their ids with commas between.");
/// What the ingester said of a postback; the rules say theirs anew.
const INGESTERS_FLAGS: [Flag; 4] =
    [Flag::RepeatedParameter, Flag::UndecodableValue, Flag::UnreadableBody, Flag::ManyParameters];

/// All query parameters.
#[must_use]
pub fn parameters() -> Vec<Parameter> {
    let mut all = filter::parameters(FILTERS, true);
    all.extend([REFUSAL, POSTBACK]);
    all
}

/// What is asked for, beside the choice of postbacks.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RedecideRequest {
    /// Decide them; otherwise only tell what would become of them.
    pub apply: bool,
    /// The operator's own words, kept with what comes of it.
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub operator: String,
    /// Where the page before ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Place>,
}

/// A postback's place in the order in which they were received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub struct Place {
    pub received_at_ms: i64,
    pub postback_id: Uuid,
}

/// A page of what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct RedecidePage {
    /// Postbacks that are chosen from here on, this page with them.
    pub remaining: u64,
    pub postbacks: Vec<Redecided>,
    /// Where the next page begins; none when this was the last.
    pub next: Option<Place>,
}

/// What came, or would come, of one postback.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Redecided {
    pub postback_id: Uuid,
    pub received_at_ms: i64,
    pub offer_id: String,
    pub event_id: String,
    /// Why it was refused.
    pub refusal: String,
    /// A code of [`schemas::RedecisionEffect`].
    pub effect: String,
    pub outcome: String,
    pub reason: String,
    pub changes: Vec<ConversionChange>,
}

/// The choice of postbacks.
pub struct Choice<'a> {
    catalog: &'a Catalog,
    scope: Scope,
    refusals: Vec<String>,
    postbacks: Vec<String>,
}

impl<'a> Choice<'a> {
    /// # Errors
    /// When nothing is chosen, or something that is none.
    pub fn read(query: &Query, catalog: &'a Catalog) -> Result<Self, Error> {
        let own = FILTERS.iter().map(|filter| filter.parameter().name);
        if !own
            .chain([REFUSAL.name, POSTBACK.name, "from", "to"])
            .any(|it| query.text(it).is_some())
        {
            return Err(Error::bad_request("no postbacks are chosen")
                .with_hint("say which, e.g. --refusal UNKNOWN_EVENT --offer ID"));
        }
        let refusals = list(query, REFUSAL.name, |text| text.parse::<Reason>().is_ok())?;
        let postbacks = list(query, POSTBACK.name, |text| text.parse::<Uuid>().is_ok())?;
        Ok(Self { catalog, scope: Scope::read(query, FILTERS, catalog)?, refusals, postbacks })
    }

    fn question(&self, select: &str, after: Option<Place>, tail: &str) -> Question {
        let mut conditions = self.scope.conditions(View::Postbacks, View::Postbacks.time());
        conditions.push_str(" AND outcome = 'rejected'");
        if !self.refusals.is_empty() {
            conditions.push_str(" AND has({refusal:Array(String)}, toString(reason))");
        }
        if !self.postbacks.is_empty() {
            conditions.push_str(
                " AND postback_id IN (SELECT toUUID(arrayJoin({postback:Array(String)})))",
            );
        }
        if after.is_some() {
            conditions.push_str(
                " AND (received_at, postback_id) > \
                 (fromUnixTimestamp64Milli({after:Int64}, 'UTC'), {after_id:UUID})",
            );
        }
        let view = View::Postbacks.name();
        let sql = format!("SELECT {select} FROM {view} WHERE {conditions} {tail}");
        let mut question = self.scope.bind(Question::new(sql), self.catalog);
        if !self.refusals.is_empty() {
            question = question.bind_list(REFUSAL.name, self.refusals.clone());
        }
        if !self.postbacks.is_empty() {
            question = question.bind_list(POSTBACK.name, self.postbacks.clone());
        }
        if let Some(place) = after {
            question = question.bind("after", place.received_at_ms);
            question = question.bind("after_id", place.postback_id);
        }
        question
    }
}

/// The parts of a list with commas between, each of its form.
fn list(query: &Query, name: &str, known: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
    let parts = query.text(name).into_iter().flat_map(|text| text.split(','));
    let read = |part: &str| match known(part) {
        true => Ok(part.to_owned()),
        false => Err(Error::bad_request(format!("{name}: {part:?} is none"))),
    };
    parts.map(read).collect()
}

/// A stored postback. Aliases differ from the columns' names, so that no condition means one.
#[derive(Debug, Deserialize)]
struct Stored {
    id: Uuid,
    of_tenant: String,
    of_advertiser: String,
    received_at_ms: i64,
    at_click: String,
    of_offer: String,
    event: String,
    refusal: String,
    pairs: Vec<(String, String)>,
    flag_codes: Vec<String>,
}

const STORED: &str = "postback_id AS id, tenant AS of_tenant, advertiser_id AS of_advertiser, \
    toUnixTimestamp64Milli(received_at) AS received_at_ms, click_id AS at_click, \
    offer_id AS of_offer, event_id AS event, reason AS refusal, \
    arrayMap(p -> [p.1, p.2], parameters) AS pairs, flags AS flag_codes";

impl Stored {
    fn postback(&self) -> Result<Postback, Error> {
        let damaged = |_| Error::Internal(format!("the stored postback {} has no owner", self.id));
        let flags = self.flag_codes.iter().filter_map(|code| code.parse().ok());
        Ok(Postback {
            postback_id: PostbackId(self.id),
            tenant: TenantId::new(&self.of_tenant).map_err(damaged)?,
            advertiser: AdvertiserId::new(&self.of_advertiser).map_err(damaged)?,
            received_at: UnixMillis(self.received_at_ms),
            parameters: self.pairs.clone(),
            flags: flags.filter(|flag| INGESTERS_FLAGS.contains(flag)).collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
struct Answer {
    id: Uuid,
    effect: String,
    outcome: String,
    reason: String,
    changes: String,
}

/// What a page is made with.
pub struct Sources<'a> {
    pub log: &'a dyn EventLog,
    pub warehouse: &'a Warehouse,
    pub keyring: &'a Keyring,
    pub now: UnixMillis,
    /// In force; the processor may hear of it later.
    pub config_version: u64,
}

/// Puts one page of postbacks back for decision, or previews it, and waits for what comes of it.
pub async fn redecide(
    sources: &Sources<'_>,
    choice: &Choice<'_>,
    asked: &RedecideRequest,
) -> Result<RedecidePage, Error> {
    check_words(asked)?;
    let counted = choice.question("count() AS remaining", asked.after, "");
    let counted: Vec<Counted> = sources.warehouse.rows(counted).await?;
    let remaining = counted.first().map_or(0, |it| it.remaining);
    let tail = "ORDER BY received_at, postback_id LIMIT {page:UInt32}";
    let question = choice.question(STORED, asked.after, tail).bind("page", PAGE_POSTBACKS);
    let stored: Vec<Stored> = sources.warehouse.rows(question).await?;
    let run_id = Uuid::now_v7();
    let commands = commands(sources, asked, run_id, &stored)?;
    let sent: usize = commands.iter().map(|(_, command)| command.postbacks.len()).sum();
    for (partition, command) in commands {
        let value = Bytes::from(codec::encode(&command));
        let record = Record { key: Bytes::new(), value, at: sources.now };
        let appended = sources.log.append(Topic::Postbacks, partition, vec![record]).await;
        appended.map_err(|error| Error::Unavailable {
            message: error.to_string(),
            hint: Some("run the same again: what has been counted stays as it is".to_owned()),
        })?;
    }
    let mut answers = answers(sources.warehouse, run_id, sent).await?;
    let last =
        stored.last().map(|it| Place { received_at_ms: it.received_at_ms, postback_id: it.id });
    let next = last.filter(|_| stored.len() == PAGE_POSTBACKS);
    let postbacks = stored.into_iter().map(|it| redecided(answers.remove(&it.id), it)).collect();
    Ok(RedecidePage { remaining, postbacks, next })
}

#[derive(Debug, Deserialize)]
struct Counted {
    remaining: u64,
}

fn check_words(asked: &RedecideRequest) -> Result<(), Error> {
    let words = asked.reason.trim();
    if asked.apply && words.is_empty() || words.chars().count() > REASON_CHARS_MAX {
        return Err(Error::bad_request(format!(
            "putting postbacks back needs its reason, of at most {REASON_CHARS_MAX} characters"
        )));
    }
    if asked.operator.chars().count() > OPERATOR_CHARS_MAX {
        return Err(Error::bad_request(format!(
            "operator: is longer than {OPERATOR_CHARS_MAX} characters"
        )));
    }
    Ok(())
}

/// The records to be written, with their partitions. What has no click id that can be opened is in
/// none: no configuration makes it count.
fn commands(
    sources: &Sources<'_>,
    asked: &RedecideRequest,
    run_id: Uuid,
    stored: &[Stored],
) -> Result<Vec<(u32, Redecide)>, Error> {
    let partitions = sources.log.partitions(Topic::Postbacks);
    let mut homes: BTreeMap<u32, Vec<&Stored>> = BTreeMap::new();
    for it in stored {
        if let Ok(click) = sources.keyring.open(it.at_click.trim()) {
            homes.entry(partition_of(&click.root_offer, partitions)).or_default().push(it);
        }
    }
    let mut commands = Vec::new();
    for (home, mut all) in homes {
        if !asked.apply {
            // A preview knows what comes before in its own record: keep what is of one click
            // together.
            let mut first = HashMap::new();
            for (place, it) in all.iter().enumerate() {
                first.entry(it.at_click.as_str()).or_insert(place);
            }
            all.sort_by_key(|it| first.get(it.at_click.as_str()).copied());
        }
        let (mut postbacks, mut bytes) = (Vec::new(), 0);
        for it in all {
            let postback = it.postback()?;
            let size = codec::encode(&postback).len();
            let is_full =
                postbacks.len() == REDECIDE_POSTBACKS_MAX || bytes + size > REDECIDE_BYTES_MAX;
            if is_full && !postbacks.is_empty() {
                commands
                    .push((home, command(sources, asked, run_id, std::mem::take(&mut postbacks))));
                bytes = 0;
            }
            bytes += size;
            postbacks.push(postback);
        }
        commands.push((home, command(sources, asked, run_id, postbacks)));
    }
    Ok(commands)
}

fn command(
    sources: &Sources<'_>,
    asked: &RedecideRequest,
    run_id: Uuid,
    postbacks: Vec<Postback>,
) -> Redecide {
    Redecide {
        command_id: Uuid::now_v7(),
        run_id,
        issued_at: sources.now,
        config_version: sources.config_version,
        preview: !asked.apply,
        operator: asked.operator.trim().to_owned(),
        reason: asked.reason.trim().to_owned(),
        postbacks,
    }
}

fn redecided(answer: Option<Answer>, stored: Stored) -> Redecided {
    let (effect, outcome, reason, changes) = match answer {
        Some(it) => (it.effect, it.outcome, it.reason, it.changes),
        // It was not sent.
        None => {
            ("refused".to_owned(), "rejected".to_owned(), stored.refusal.clone(), String::new())
        }
    };
    Redecided {
        postback_id: stored.id,
        received_at_ms: stored.received_at_ms,
        offer_id: stored.of_offer,
        event_id: stored.event,
        refusal: stored.refusal,
        effect,
        outcome,
        reason,
        changes: serde_json::from_str(&changes).unwrap_or_default(),
    }
}

/// Waits until the sink has written what came of all of them.
async fn answers(
    warehouse: &Warehouse,
    run_id: Uuid,
    sent: usize,
) -> Result<HashMap<Uuid, Answer>, Error> {
    const SQL: &str = "SELECT postback_id AS id, effect, outcome, reason, changes \
        FROM redecisions_unique WHERE run_id = {run:UUID}";
    let look = async {
        loop {
            if sent == 0 {
                return Ok(HashMap::new());
            }
            let found: Vec<Answer> = warehouse.rows(Question::new(SQL).bind("run", run_id)).await?;
            if found.len() >= sent {
                return Ok(found.into_iter().map(|it| (it.id, it)).collect());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(DECISION_WAIT, look).await {
        Ok(found) => found,
        Err(_) => Err(Error::TimedOut(format!(
            "it was written, but what came of it does not show after {} s (is the processor \
             running, is the sink?); run the same again: what has been counted stays as it is",
            DECISION_WAIT.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(query: &str) -> Result<(), Error> {
        let query = Query::parse(query, &parameters()).unwrap();
        Choice::read(&query, &Catalog::default()).map(drop)
    }

    #[test]
    fn something_must_be_chosen_and_be_known() {
        let check = |query: &str, expected: &str| {
            let error = choose(query).err().map(|it| it.to_string()).unwrap_or_default();
            assert!(error.contains(expected), "{query}: {error}");
        };
        check("", "no postbacks are chosen");
        check("include_test=true", "no postbacks are chosen");
        check("refusal=UNKNOWN_EVENT,NOTHING", "\"NOTHING\" is none");
        check("postback=1", "\"1\" is none");
        for right in ["refusal=UNKNOWN_EVENT,TOO_SOON", "from=2026-11-01", "event=install"] {
            assert!(choose(right).is_ok(), "{right}");
        }
    }

    #[test]
    fn a_decision_needs_words_and_a_preview_none() {
        let asked = |apply, reason: &str| RedecideRequest {
            apply,
            reason: reason.to_owned(),
            operator: String::new(),
            after: None,
        };
        assert!(check_words(&asked(true, " ")).is_err());
        assert!(check_words(&asked(true, &"x".repeat(REASON_CHARS_MAX + 1))).is_err());
        assert!(check_words(&asked(true, "renamed")).is_ok());
        assert!(check_words(&asked(false, "")).is_ok());
    }
}
