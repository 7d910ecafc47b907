//! The same job as others would build it: `bench/peers` holds their sources.
//!
//! A peer is a process of its own that reads the postbacks as a consumer group, joins them with
//! what the configuration says of their events, drops repeats and writes decisions of our form.

pub mod build;
pub mod outcomes;

use crate::deciding::{POLL, Took, Watch};
use crate::postbacks::{EVENTS, OFFERS};
use crate::topics::Group;
use anyhow::{Context as _, Result};
use build::Built;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use tests::process::Process;
use tests::stack::PARTITIONS;

/// Of Kafka Streams: greatest heap and collector of Kafka's own start scripts.
const JAVA_OPTIONS: [&str; 2] = ["-Xmx1g", "-XX:+UseG1GC"];

/// Where a peer reads and writes.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    pub brokers: &'a str,
    /// Before the names of its own topics and groups.
    pub prefix: &'a str,
    /// The topic of postbacks.
    pub input: &'a str,
    /// For its state and what it prints.
    pub scratch: &'a Path,
}

/// Which one it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Streams,
    Benthos,
}

/// A peer that was built.
#[derive(Debug)]
pub struct Peer {
    kind: Kind,
    built: Built,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Streams, Self::Benthos];

    /// As it stands in the results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Streams => "Kafka Streams",
            Self::Benthos => "Benthos",
        }
    }

    /// Builds it; says why it is left out where what builds it is missing.
    ///
    /// # Errors
    ///
    /// When it cannot be built although everything for that is there.
    pub fn build(self) -> Result<Result<Peer, String>> {
        let built = match self {
            Self::Streams => build::streams(),
            Self::Benthos => build::benthos(),
        };
        let built = built.with_context(|| format!("the peer {}", self.name()))?;
        Ok(built.map(|built| Peer { kind: self, built }))
    }
}

impl Peer {
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The topic of its decisions.
    #[must_use]
    pub fn output(&self, place: &Place<'_>) -> String {
        format!("{}decisions", self.group(place))
    }

    /// Its consumer group, which keeps its place from run to run.
    fn group(&self, place: &Place<'_>) -> String {
        let own = match self.kind {
            Kind::Streams => "peer-streams-",
            Kind::Benthos => "peer-benthos-",
        };
        format!("{}{own}", place.prefix)
    }

    fn command(&self, place: &Place<'_>, version: u64) -> Result<Command> {
        let (group, output) = (self.group(place), self.output(place));
        Ok(match self.kind {
            Kind::Streams => {
                let mut java = Command::new("java");
                java.args(JAVA_OPTIONS).arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
                java.arg("-cp").arg(self.built.class_path()).arg("peer.Peer");
                java.args([place.brokers, &group, place.input, &table(place), &output]);
                java.arg(place.scratch.join("streams-state"));
                java
            }
            Kind::Benthos => {
                let mut benthos = Command::new(self.built.path());
                let events = serde_json::to_string(&events(version))?;
                benthos.arg("run").arg(build::sources("benthos").join("pipeline.yaml"));
                benthos.env("BROKERS", place.brokers).env("INPUT", place.input);
                benthos.env("GROUP", group).env("OUTPUT", output).env("EVENTS", events);
                benthos
            }
        })
    }

    /// Starts it, waits until it has committed so many inputs behind these offsets, and stops it.
    pub async fn decide(
        &self,
        place: &Place<'_>,
        version: u64,
        from: &[i64],
        inputs: u64,
        run: usize,
    ) -> Result<Took> {
        let group = Group::new(place.brokers, &self.group(place), place.input, PARTITIONS)?;
        let name = format!("{:?}-{run}", self.kind);
        let mut process = Process::spawn(&name, place.scratch, &mut self.command(place, version)?)?;
        let mut watch = Watch::new(process.pid(), inputs);
        let took = loop {
            process.check_alive()?;
            let passed = group.passed(from).with_context(|| process.output());
            if let Some(took) = watch.see(passed?).with_context(|| process.output())? {
                break took;
            }
            tokio::time::sleep(POLL).await;
        };
        process.stop()?;
        Ok(took)
    }
}

/// The topic that holds [`events`] for whoever joins with a table.
#[must_use]
pub fn table(place: &Place<'_>) -> String {
    format!("{}peer-events", place.prefix)
}

/// What the configuration says of each event, by offer and event; amounts in micros.
#[must_use]
pub fn events(version: u64) -> BTreeMap<String, serde_json::Value> {
    let both = (0..OFFERS).flat_map(|number| (1..).zip(EVENTS).map(move |it| (number, it)));
    let rows = both.map(|(number, (sequence, event))| {
        let row = json!({
            "event_name": event,
            "sequence": sequence,
            "revenue": 500_000 * sequence,
            "payout": 400_000 * sequence,
            "currency": "USD",
            "share_id": format!("bench-share-{number}"),
            "publisher_id": "acme-rewards",
            "version": version,
        });
        (format!("bench-{number}|{event}"), row)
    });
    rows.collect()
}
