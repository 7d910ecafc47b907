//! What is measured: one module an area.

mod correctness;
mod end_to_end;
mod growth;
mod ingest;
mod instructions;
mod loadtest;
mod log;
mod outgoing;
mod peers;
mod processor;
mod recovery;
mod reports;
mod sink;

use crate::context::Context;
use crate::results::Line;
use anyhow::{Result, bail};

/// One area, by the name of its module.
pub struct Area {
    pub name: &'static str,
    pub about: &'static str,
}

pub const ALL: &[Area] = &[
    Area { name: "ingest", about: "authentic, durable postbacks against bare hyper" },
    Area { name: "processor", about: "decisions against a transactional copy loop" },
    Area { name: "peers", about: "the same inputs in Kafka Streams and in Benthos" },
    Area { name: "end_to_end", about: "from accepted to visible, everything on one machine" },
    Area { name: "outgoing", about: "publisher postbacks while half of the publishers hang" },
    Area { name: "instructions", about: "of the pieces of a postback's way, counted" },
    Area { name: "log", about: "commits to the embedded log against plain writes with fsync" },
    Area {
        name: "recovery",
        about: "a processor with millions of clicks that is killed, and a fresh one that takes over",
    },
    Area { name: "growth", about: "a decision's cost with ten and a hundred times as much" },
    Area { name: "correctness", about: "exactly once, by breaking a cluster under load" },
    Area { name: "loadtest", about: "what the load tool reports, and what it costs" },
    Area { name: "reports", about: "every report over ten million conversions, over HTTP" },
    Area { name: "sink", about: "rows into ClickHouse against ClickHouse reading its own files" },
];

/// Measures one area.
///
/// # Errors
///
/// What the area says when it cannot be measured here, such as a missing engine.
pub async fn measure(name: &str, context: &Context) -> Result<Vec<Line>> {
    match name {
        "ingest" => ingest::measure(context).await,
        "processor" => processor::measure(context).await,
        "correctness" => correctness::measure(context).await,
        "growth" => growth::measure(context).await,
        "peers" => peers::measure(context).await,
        "end_to_end" => end_to_end::measure(context).await,
        "outgoing" => outgoing::measure(context).await,
        "instructions" => instructions::measure(context),
        "log" => log::measure(context).await,
        "recovery" => recovery::measure(context).await,
        "loadtest" => loadtest::measure(context).await,
        "reports" => reports::measure(context).await,
        "sink" => sink::measure(context).await,
        other => bail!("no module measures {other:?}"),
    }
}
