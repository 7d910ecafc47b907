//! Decisions by hand: `approve` and `reject`. The command goes the way of a postback, into the
//! partition of the conversion's root offer, so that a replay decides the same again; then its
//! effect is waited for, so that the caller learns what it did.

use crate::config::DECISION_WAIT;
use crate::error::Error;
use crate::warehouse::{Question, Warehouse};
use bytes::Bytes;
use eventlog::{EventLog, Record};
use schemas::topic::partition_of;
use schemas::{Command, CommandEffect, CommandKind, ConversionId, Topic, UnixMillis, codec};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

/// Longest reason in characters.
pub const REASON_CHARS_MAX: usize = 1_000;
/// How often the effect is looked for.
const POLL: Duration = Duration::from_millis(100);

/// How long a revision may show after the effect that made it.
const REVISION_WAIT: Duration = Duration::from_secs(5);

/// What is asked for.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    /// The operator's own words, kept with the conversion.
    pub reason: String,
    /// Approve even past a cap or the budget.
    #[serde(default)]
    pub over_limit: bool,
}

/// What it did.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct DecisionReport {
    pub conversion_id: String,
    pub event_id: String,
    pub command_id: String,
    /// A code of [`CommandEffect`].
    pub effect: String,
    /// The same in words.
    pub meaning: String,
    pub before: Standing,
    pub after: Standing,
}

/// How a conversion stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Standing {
    pub revision: u32,
    pub status: String,
    pub reason: String,
}

#[derive(Debug, Deserialize)]
struct ConversionRow {
    click_id: String,
    event_id: String,
    revision: u32,
    status: String,
    reason: String,
}

impl ConversionRow {
    fn standing(&self) -> Standing {
        Standing {
            revision: self.revision,
            status: self.status.clone(),
            reason: self.reason.clone(),
        }
    }
}

#[derive(Debug, Deserialize)]
struct EffectRow {
    effect: String,
}

/// Sends a decision and waits until it shows.
pub async fn decide(
    log: &dyn EventLog,
    warehouse: &Warehouse,
    conversion: &str,
    kind: CommandKind,
    reason: &str,
    now: UnixMillis,
) -> Result<DecisionReport, Error> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
        return Err(Error::bad_request(format!(
            "a decision by hand needs its reason, of at most {REASON_CHARS_MAX} characters"
        )));
    }
    let id = ConversionId::new(conversion).map_err(|error| {
        Error::bad_request(error.to_string())
            .with_hint("`gokart report conversions` lists conversion ids")
    })?;
    let before = current(warehouse, &id).await?.ok_or_else(|| {
        Error::not_found(format!("no conversion {id} is known"))
            .with_hint("`gokart report conversions` lists them; a new one shows after a second")
    })?;
    let command = Command {
        command_id: Uuid::now_v7(),
        issued_at: now,
        conversion_id: id.clone(),
        click_id: before.click_id.clone(),
        kind,
        reason: reason.to_owned(),
    };
    let partition = partition_of(&id.root_offer(), log.partitions(Topic::Postbacks));
    let value = Bytes::from(codec::encode(&command));
    let record = Record { key: Bytes::new(), value, at: now };
    log.append(Topic::Postbacks, partition, vec![record]).await.map_err(|error| {
        Error::Unavailable {
            message: error.to_string(),
            hint: Some("sending the same decision again is safe".to_owned()),
        }
    })?;
    let effect = effect(warehouse, command.command_id).await?;
    let after = standing_after(warehouse, &id, &before, effect).await?;
    Ok(DecisionReport {
        conversion_id: id.to_string(),
        event_id: before.event_id.clone(),
        command_id: command.command_id.to_string(),
        effect: effect.code().to_owned(),
        meaning: effect.text().to_owned(),
        before: before.standing(),
        after,
    })
}

/// The tables of one flush are written one after the other, so the effect may show a moment before
/// the revision that it made.
async fn standing_after(
    warehouse: &Warehouse,
    id: &ConversionId,
    before: &ConversionRow,
    effect: CommandEffect,
) -> Result<Standing, Error> {
    let deadline = tokio::time::Instant::now() + REVISION_WAIT;
    loop {
        let now = current(warehouse, id).await?;
        let standing = now.as_ref().unwrap_or(before).standing();
        let shows = effect != CommandEffect::Applied || standing.revision > before.revision;
        if shows || tokio::time::Instant::now() >= deadline {
            return Ok(standing);
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn current(warehouse: &Warehouse, id: &ConversionId) -> Result<Option<ConversionRow>, Error> {
    const SQL: &str = "SELECT click_id, event_id, revision, status, reason \
        FROM conversions_current WHERE conversion_id = {id:String} LIMIT 1";
    Ok(warehouse.rows(Question::new(SQL).bind("id", id)).await?.into_iter().next())
}

/// Waits until the sink has written what the command did.
async fn effect(warehouse: &Warehouse, command: Uuid) -> Result<CommandEffect, Error> {
    const SQL: &str = "SELECT effect FROM commands_unique WHERE command_id = {id:UUID} LIMIT 1";
    let look = async {
        loop {
            let question = Question::new(SQL).bind("id", command);
            if let Some(row) = warehouse.rows::<EffectRow>(question).await?.into_iter().next() {
                return row.effect.parse().map_err(|()| {
                    Error::Internal(format!("the effect {:?} is not known here", row.effect))
                });
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(DECISION_WAIT, look).await {
        Ok(effect) => effect,
        Err(_) => Err(Error::TimedOut(format!(
            "the decision was written, but its effect does not show after {} s (is the processor \
             running, is the sink?); `gokart explain` will tell it",
            DECISION_WAIT.as_secs()
        ))),
    }
}
