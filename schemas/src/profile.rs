//! Integration profiles: how each sender names its parameters, in which unit it reports an amount
//! and what its statuses mean. Data, not code; facts from the senders' public documentation. The
//! names of the postback contract itself (`gk_click_id`, `cnv_event_id`, `revenue`, `currency`,
//! `transaction_id`, `event_time`, `status`) hold for every sender that does not redefine them.

use crate::offer::Integration;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// A parameter with an amount. `decimals` is 2 when it is in cents, 0 when in whole units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmountParameter {
    pub name: String,
    #[serde(default)]
    pub decimals: u32,
}

/// A parameter and the values of it that put a postback into a class. Compared exactly, after
/// folding ASCII case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    pub parameter: String,
    pub values: Vec<String>,
}

/// How to read the postbacks of one kind of sender. Wherever several parameters are named, the
/// first that is present and not empty counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// Appended to the offer link as `<parameter>={gk_click_id}` when the link has no macro for it.
    pub click_parameter: String,
    pub amounts: Vec<AmountParameter>,
    pub currencies: Vec<String>,
    pub transactions: Vec<String>,
    /// Unix seconds, Unix milliseconds, RFC 3339, or `YYYY-MM-DD hh:mm:ss[.fff]` in UTC.
    pub times: Vec<String>,
    /// Named a conversion. A parameter that stands here lists its values in full: one in no list
    /// is `UNKNOWN_STATUS`. Other marker parameters may have any other value.
    pub converts: Vec<Marker>,
    /// The postback takes a conversion back.
    pub rejects: Vec<Marker>,
    /// Of a kind that converts nothing unless the offer opts in.
    pub ignores: Vec<Marker>,
    /// It is a test.
    pub sandbox: Vec<Marker>,
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn amount(name: &str, decimals: u32) -> AmountParameter {
    AmountParameter { name: name.to_owned(), decimals }
}

fn marker(parameter: &str, values: &[&str]) -> Marker {
    Marker { parameter: parameter.to_owned(), values: names(values) }
}

/// The contract's own `status` parameter, understood from everybody.
const STATUS_CONVERTS: &[&str] = &["approved", "success", "converted", "confirmed", "accepted"];
const STATUS_REJECTS: &[&str] =
    &["rejected", "reversed", "cancelled", "canceled", "refunded", "chargeback"];

impl Profile {
    /// A profile with the names of the contract and nothing else; what `custom` starts from.
    #[must_use]
    pub fn contract() -> Self {
        Self {
            click_parameter: "gk_click_id".to_owned(),
            amounts: vec![amount("revenue", 0)],
            currencies: names(&["currency"]),
            transactions: names(&["transaction_id"]),
            times: names(&["event_time"]),
            converts: vec![marker("status", STATUS_CONVERTS)],
            rejects: vec![marker("status", STATUS_REJECTS)],
            ignores: Vec::new(),
            sandbox: Vec::new(),
        }
    }

    /// The profile of a known sender; the contract's for `custom`.
    #[must_use]
    pub fn builtin(integration: Integration) -> &'static Self {
        static ADJUST: LazyLock<Profile> = LazyLock::new(adjust);
        static APPSFLYER: LazyLock<Profile> = LazyLock::new(appsflyer);
        static BRANCH: LazyLock<Profile> = LazyLock::new(branch);
        static SINGULAR: LazyLock<Profile> = LazyLock::new(singular);
        static KOCHAVA: LazyLock<Profile> = LazyLock::new(kochava);
        static CUSTOM: LazyLock<Profile> = LazyLock::new(Profile::contract);
        match integration {
            Integration::Adjust => &ADJUST,
            Integration::Appsflyer => &APPSFLYER,
            Integration::Branch => &BRANCH,
            Integration::Singular => &SINGULAR,
            Integration::Kochava => &KOCHAVA,
            Integration::Custom => &CUSTOM,
        }
    }
}

fn adjust() -> Profile {
    let mut profile = Profile::contract();
    // `revenue` is cents at Adjust; `revenue_float` is whole units and wins when both are there.
    profile.amounts = vec![amount("revenue_float", 0), amount("revenue", 2)];
    profile.times = names(&["event_time", "created_at"]);
    profile.converts.push(marker(
        "activity_kind",
        &[
            "install",
            "event",
            "session",
            "subscription",
            "ad_revenue",
            "purchase_verification",
            "cost_update",
        ],
    ));
    profile.rejects.push(marker("activity_kind", &["rejected_install", "rejected_reattribution"]));
    profile.ignores.push(marker(
        "activity_kind",
        &[
            "reattribution",
            "reattribution_reinstall",
            "reinstall",
            "uninstall",
            "install_update",
            "click",
            "impression",
            "sk_install",
            "sk_event",
        ],
    ));
    profile.sandbox.push(marker("environment", &["sandbox"]));
    profile
}

fn appsflyer() -> Profile {
    let mut profile = Profile::contract();
    profile.click_parameter = "clickid".to_owned();
    profile.amounts = vec![amount("event_revenue", 0), amount("revenue", 0)];
    profile.currencies = names(&["event_revenue_currency", "currency"]);
    profile.transactions = names(&["transaction_id", "af_order_id"]);
    profile.converts.push(marker("is_rejected", &["0", "false"]));
    profile.rejects.push(marker("is_rejected", &["1", "true"]));
    profile.sandbox.push(marker("is_sandbox", &["1", "true"]));
    profile
}

fn branch() -> Profile {
    let mut profile = Profile::contract();
    profile.click_parameter = "~click_id".to_owned();
    profile.times = names(&["event_time", "event_timestamp", "timestamp"]);
    profile.transactions = names(&["transaction_id", "event_data.transaction_id"]);
    profile.ignores.push(marker("event_kind", &["reinstall", "uninstall", "reopen"]));
    profile
}

fn singular() -> Profile {
    let mut profile = Profile::contract();
    profile.click_parameter = "cl".to_owned();
    profile.amounts = vec![amount("amount", 0), amount("revenue", 0)];
    profile.times = names(&["event_time", "utc", "time"]);
    profile.ignores.push(marker("is_reengagement", &["1", "true"]));
    profile
}

fn kochava() -> Profile {
    let mut profile = Profile::contract();
    profile.click_parameter = "click_id".to_owned();
    profile.amounts = vec![amount("revenue", 0), amount("event_value", 0)];
    profile.times = names(&["event_time", "event_date", "install_date"]);
    profile
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sender_has_a_profile_that_round_trips() {
        for integration in Integration::ALL {
            let profile = Profile::builtin(*integration);
            assert!(!profile.click_parameter.is_empty(), "{integration}");
            let json = serde_json::to_string(profile).unwrap();
            assert_eq!(&serde_json::from_str::<Profile>(&json).unwrap(), profile);
        }
    }

    #[test]
    fn no_value_is_in_two_classes() {
        for integration in Integration::ALL {
            let profile = Profile::builtin(*integration);
            let mut seen = std::collections::BTreeSet::new();
            for marker in profile.converts.iter().chain(&profile.rejects).chain(&profile.ignores) {
                for value in &marker.values {
                    assert!(seen.insert((&marker.parameter, value)), "{integration} {value}");
                }
            }
        }
    }
}
