//! Whether a role can do its work: `/readyz` names what it still waits for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The conditions under which this process is ready. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<&'static str, bool>>>,
}

/// One condition; not met until it is set.
#[derive(Debug, Clone)]
pub struct ReadyFlag {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition, e.g. `"ingest: configuration read"`.
    #[must_use]
    pub fn condition(&self, name: &'static str) -> ReadyFlag {
        self.set(name, false);
        ReadyFlag { name, readiness: self.clone() }
    }

    /// The conditions that are not met; empty when ready. A process that has not named any
    /// condition yet is not ready: it has only just begun.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<&'static str> {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner);
        if conditions.is_empty() {
            return vec!["start"];
        }
        conditions.iter().filter(|(_, met)| !**met).map(|(name, _)| *name).collect()
    }

    fn set(&self, name: &'static str, met: bool) {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner).insert(name, met);
    }
}

impl ReadyFlag {
    pub fn set(&self, met: bool) {
        self.readiness.set(self.name, met);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_every_condition_is_met() {
        let readiness = Readiness::new();
        assert_eq!(readiness.waiting_for(), ["start"]);
        let (log, config) = (readiness.condition("log"), readiness.condition("config"));
        assert_eq!(readiness.waiting_for(), ["config", "log"]);
        log.set(true);
        config.set(true);
        assert!(readiness.waiting_for().is_empty());
        log.set(false);
        assert_eq!(readiness.waiting_for(), ["log"]);
    }
}
