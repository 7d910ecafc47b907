//! Puts checked documents in force: one append with every changed document and the marker that
//! makes them a version. Readers never see half of it.
//!
//! Every attempt takes a version that no record carries yet, has an id of its own, and names the
//! version that it was checked against. An attempt that died before its marker cannot be completed
//! by the next one's, and of two at the same moment readers take one, not even otherwise once the
//! log has been compacted.

use super::{Source, check_sealing};
use crate::config::APPLY_WAIT;
use crate::error::Error;
use crate::feed::Seen;
use bytes::Bytes;
use eventlog::{AppendError, EventLog, Record};
use keyring::Keyring;
use schemas::postback::Secret;
use schemas::{
    Catalog, ConfigDocument, ConfigMarker, ConfigRecord, Document, Publisher, PublisherPostback,
    Share, Topic, UnixMillis,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;
use uuid::Uuid;

/// What is asked for.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    pub files: Vec<Source>,
    /// Only if this version is still in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_version: Option<u64>,
    /// Check and compare only.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct ApplyReport {
    /// In force now.
    pub version: u64,
    /// Keys of the documents that changed (or would), e.g. `offer/pet-the-dogs-ios`.
    pub changed: Vec<String>,
    pub dry_run: bool,
}

/// Checks and publishes. The caller lets only one apply in at a time.
pub async fn apply(
    log: &dyn EventLog,
    seen: &mut watch::Receiver<Seen>,
    request: &ApplyRequest,
    keyring: &Keyring,
    now: UnixMillis,
) -> Result<ApplyReport, Error> {
    let before = seen.borrow_and_update().clone();
    let current = &before.catalog;
    if let Some(base) = request.base_version.filter(|base| *base != current.version) {
        return Err(Error::Conflict(format!(
            "the configuration in force is version {}, not {base}: somebody else has changed it; \
             look at what they did, then apply again",
            current.version
        )));
    }
    let seal = |place: [&str; 2], text: &str| {
        keyring.seal_text(place, text, now).map_err(|it| it.to_string())
    };
    let documents = check_sealing(&request.files, current, now, &seal).map_err(Error::Documents)?;
    let changed: Vec<String> = documents.iter().map(Document::key).collect();
    if request.dry_run || documents.is_empty() {
        let (version, dry_run) = (current.version, request.dry_run);
        return Ok(ApplyReport { version, changed, dry_run });
    }
    let version = publish(log, seen, &before, &documents, now).await?;
    Ok(ApplyReport { version, changed, dry_run: false })
}

/// Writes documents as the version after what was seen; gives it once it is in force.
async fn publish(
    log: &dyn EventLog,
    seen: &mut watch::Receiver<Seen>,
    before: &Seen,
    documents: &[Document],
    now: UnixMillis,
) -> Result<u64, Error> {
    let current = before.catalog.version;
    let version = before.highest_version.max(current) + 1;
    let id = Uuid::now_v7();
    let records = records(version, id, current, documents, now)?;
    log.append(Topic::Config, 0, records).await.map_err(append_error)?;
    wait_until_in_force(seen, version, documents).await?;
    Ok(version)
}

/// Seals fixed headers that stand in clear in the configuration, as a version of its own; gives how
/// many documents that were.
pub async fn seal_headers(
    log: &dyn EventLog,
    seen: &mut watch::Receiver<Seen>,
    keyring: &Keyring,
    now: UnixMillis,
) -> Result<usize, Error> {
    let before = seen.borrow_and_update().clone();
    let is_clear = |it: &PublisherPostback| {
        it.header.as_ref().is_some_and(|header| !keyring::is_sealed(&header.value.0))
    };
    let sealed = |owner: String, postbacks: &[PublisherPostback]| -> Result<Vec<_>, Error> {
        let mut postbacks = postbacks.to_vec();
        for header in postbacks.iter_mut().filter_map(|it| it.header.as_mut()) {
            if !keyring::is_sealed(&header.value.0) {
                let sealed = keyring.seal_text([&owner, &header.name], &header.value.0, now);
                header.value = Secret(sealed.map_err(|it| Error::Internal(it.to_string()))?);
            }
        }
        Ok(postbacks)
    };
    let mut documents = Vec::new();
    for it in before.catalog.publishers().filter(|it| it.postbacks.iter().any(is_clear)) {
        let postbacks = sealed(format!("publisher/{}", it.id), &it.postbacks)?;
        documents.push(Document::Publisher(Arc::new(Publisher { postbacks, ..(**it).clone() })));
    }
    for it in before.catalog.shares().filter(|it| it.postbacks.iter().any(is_clear)) {
        let postbacks = sealed(format!("share/{}", it.id), &it.postbacks)?;
        documents.push(Document::Share(Arc::new(Share { postbacks, ..(**it).clone() })));
    }
    if !documents.is_empty() {
        publish(log, seen, &before, &documents, now).await?;
    }
    Ok(documents.len())
}

fn records(
    version: u64,
    id: Uuid,
    base: u64,
    documents: &[Document],
    now: UnixMillis,
) -> Result<Vec<Record>, Error> {
    let count = u32::try_from(documents.len())
        .map_err(|_| Error::bad_request("too many documents in one apply"))?;
    let (apply, base) = (Some(id), Some(base));
    let marker = ConfigMarker { version, apply, base, documents: count, applied_at: now };
    let stored = documents.iter().map(|document| {
        let document = document.clone().at_version(version);
        ConfigRecord::Document(ConfigDocument { version, apply, document })
    });
    let all = stored.chain([ConfigRecord::Marker(marker)]);
    Ok(all
        .map(|record| {
            let (key, value) = record.encode();
            Record { key: Bytes::from(key), value: Bytes::from(value), at: now }
        })
        .collect())
}

/// Every reader sees what this one sees, because the log has one order.
async fn wait_until_in_force(
    seen: &mut watch::Receiver<Seen>,
    version: u64,
    documents: &[Document],
) -> Result<(), Error> {
    let caught_up = seen.wait_for(|seen| seen.highest_marker >= version);
    let Ok(found) = tokio::time::timeout(APPLY_WAIT, caught_up).await else {
        return Err(Error::TimedOut(format!(
            "version {version} was written, but is not in force after {} s; ask for the version \
             again in a while",
            APPLY_WAIT.as_secs()
        )));
    };
    let found =
        found.map_err(|_| Error::Internal("the configuration is not followed".to_owned()))?;
    if found.catalog.version == version && holds(&found.catalog, version, documents) {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "somebody else applied at the same moment, and version {} is theirs; nothing of this apply \
         is in force; look at what they did, then apply again",
        found.catalog.version
    )))
}

fn holds(catalog: &Catalog, version: u64, documents: &[Document]) -> bool {
    // By key: thousands of documents, each looked for among thousands, would take this thread.
    let in_force: HashMap<String, Document> =
        catalog.documents().map(|document| (document.key(), document)).collect();
    documents.iter().all(|document| {
        in_force.get(&document.key()) == Some(&document.clone().at_version(version))
    })
}

fn append_error(error: AppendError) -> Error {
    match error {
        AppendError::Refused(_) => Error::bad_request(error.to_string()),
        AppendError::Unknown(_) => Error::Unavailable {
            message: error.to_string(),
            hint: Some(
                "ask for the version to see whether it is in force, or apply again: \
                        applying the same documents twice changes nothing"
                    .to_owned(),
            ),
        },
        AppendError::Unavailable(_) | AppendError::Full(_) => {
            Error::Unavailable { message: error.to_string(), hint: None }
        }
    }
}
