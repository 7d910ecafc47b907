//! The dependency table: which crate of ours may lean on which, and what it never touches.

/// What one crate may depend on.
pub struct Row {
    pub name: &'static str,
    /// Crates of ours that it may depend on.
    pub ours: Ours,
    pub others: Others,
}

pub enum Ours {
    Only(&'static [&'static str]),
    /// The one binary, and tests that drive everything.
    Any,
}

pub enum Others {
    /// Nothing but these: for crates that are to stay pure.
    Only(&'static [&'static str]),
    /// Everything but these.
    Not(&'static [&'static str]),
}

/// Roles. They talk through the event log and never depend on each other, not even in tests.
pub const SERVICES: &[&str] = &["ingest", "processor", "sink", "warehouse", "admin"];

/// What only tests use.
pub const TEST_ONLY: &[&str] = &["insta", "proptest", "rcgen", "tempfile"];

pub const TABLE: &[Row] = &[
    Row {
        name: "schemas",
        ours: Ours::Only(&[]),
        others: Others::Only(&[
            "iso_currency",
            "jiff",
            "schemars",
            "serde",
            "serde_json",
            "thiserror",
            "uuid",
        ]),
    },
    Row {
        name: "rules",
        ours: Ours::Only(&["schemas"]),
        others: Others::Only(&["jiff", "serde", "sha2", "thiserror"]),
    },
    Row {
        name: "keyring",
        ours: Ours::Only(&["schemas"]),
        others: Others::Not(&["clickhouse", "fjall", "hyper", "rdkafka", "tokio", "tracing"]),
    },
    Row {
        name: "service",
        ours: Ours::Only(&[]),
        others: Others::Not(&["clickhouse", "fjall", "rdkafka"]),
    },
    Row {
        name: "eventlog",
        ours: Ours::Only(&["schemas"]),
        others: Others::Not(&["clickhouse", "hyper", "hyper-util"]),
    },
    Row {
        name: "ingest",
        ours: Ours::Only(&["eventlog", "keyring", "schemas", "service"]),
        others: Others::Not(&["clickhouse", "fjall", "rdkafka"]),
    },
    Row {
        name: "processor",
        ours: Ours::Only(&["eventlog", "keyring", "rules", "schemas", "service"]),
        others: Others::Not(&["clickhouse", "fjall", "hyper", "hyper-util", "rdkafka"]),
    },
    Row {
        name: "sink",
        // The keyring signs what publishers are sent.
        ours: Ours::Only(&["eventlog", "keyring", "schemas", "service"]),
        others: Others::Not(&["fjall", "rdkafka"]),
    },
    Row {
        name: "warehouse",
        ours: Ours::Only(&["schemas", "service"]),
        others: Others::Not(&["clickhouse", "fjall", "rdkafka"]),
    },
    Row {
        name: "admin",
        ours: Ours::Only(&["eventlog", "keyring", "schemas", "service"]),
        others: Others::Not(&["fjall", "rdkafka"]),
    },
    Row {
        name: "gokart",
        ours: Ours::Any,
        others: Others::Not(&["clickhouse", "fjall", "rdkafka"]),
    },
    Row {
        name: "loadtest",
        ours: Ours::Only(&["schemas"]),
        others: Others::Not(&["fjall", "rdkafka"]),
    },
    Row { name: "bench", ours: Ours::Any, others: Others::Not(&[]) },
    Row { name: "tests", ours: Ours::Any, others: Others::Not(&[]) },
    Row { name: "xtask", ours: Ours::Only(&[]), others: Others::Not(&[]) },
];
