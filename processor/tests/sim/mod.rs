//! The whole pipeline in one thread, from a seed. Read in this order: `story` (what happens),
//! `offers` (what it happens to), `sender` (ingesters), `observed` (one processor's machine around
//! the real code), `sink` and `table`, `cluster` (tells a story), `judge` (what must hold after).

pub mod cluster;
pub mod history;
pub mod judge;
pub mod naive;
pub mod observed;
pub mod offers;
pub mod replay;
pub mod sender;
pub mod shrink;
pub mod sink;
pub mod story;
pub mod table;

/// What must hold and did not. Two failures are the same when their `law` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub law: &'static str,
    pub detail: String,
}

impl Broken {
    pub fn new(law: &'static str, detail: impl Into<String>) -> Self {
        Self { law, detail: detail.into() }
    }
}

/// Ways to build the pipeline wrongly, to prove that the judge finds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// A commit leaves out one of its state changes.
    LosesAStateChange,
    /// A commit's input offset is one too far.
    OffsetTooFar,
    /// A commit leaves its input offset where it was.
    OffsetLeftBehind,
    /// A commit's outputs go twice.
    OutputsTwice,
    /// A commit leaves out its last output.
    LosesAnOutput,
    /// A machine goes on with the state on its disk without reading the changelog.
    StaleDisk,
    /// After a commit whose outcome is unknown the machine believes that it was not written.
    ForgetsUnknownCommits,
    /// The ingester answers before the record is durable.
    AnswersTooEarly,
    /// The sink commits its offsets before it inserts.
    SinkCommitsFirst,
    /// Neither tokens nor identities collapse repeated rows.
    RowsAreNotCollapsed,
}

impl Flaw {
    pub const ALL: [Self; 10] = [
        Self::LosesAStateChange,
        Self::OffsetTooFar,
        Self::OffsetLeftBehind,
        Self::OutputsTwice,
        Self::LosesAnOutput,
        Self::StaleDisk,
        Self::ForgetsUnknownCommits,
        Self::AnswersTooEarly,
        Self::SinkCommitsFirst,
        Self::RowsAreNotCollapsed,
    ];
}
