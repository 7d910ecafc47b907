//! Commits of the process's partitions, several in one transaction.

use super::config::KafkaConfig;
use super::membership::GenerationSource;
use super::store::{Progress, StateStore};
use super::transaction::{Outcome, Part, Worker};
use crate::limits::record_bytes;
use crate::local::wall_clock;
use crate::{Commit, CommitError, Offset, ReadError, Stage};
use schemas::UnixMillis;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait; every partition has one at most under way.
const QUEUE_REQUESTS: usize = 1_024;
/// A first commit waits so long for others to share its transaction.
const COMMIT_LINGER: Duration = Duration::from_millis(2);
/// A transaction takes no more commits from this size on.
const TRANSACTION_BYTES: usize = 16 << 20;

const _: () = assert!(TRANSACTION_BYTES < super::config::IN_FLIGHT_BYTES);

/// Set when a partition is no longer its holder's.
pub type Fence = Arc<AtomicBool>;

pub enum Request {
    Commit {
        partition: u32,
        fence: Fence,
        commit: Commit,
        reply: oneshot::Sender<Result<(), CommitError>>,
    },
    /// Settles everything whose outcome is not known.
    Settle { reply: oneshot::Sender<Result<(), ReadError>> },
}

/// The way to the committer; it ends when the last of these is gone.
#[derive(Clone)]
pub struct Committer {
    requests: mpsc::Sender<Request>,
}

impl Committer {
    /// Fences what a predecessor of this instance has under way, then begins.
    pub async fn start(
        config: &KafkaConfig,
        stage: Stage,
        instance: &str,
        store: Arc<StateStore>,
    ) -> Result<(Self, oneshot::Sender<GenerationSource>), ReadError> {
        let worker = Worker::start(config, stage, instance).await;
        let worker = worker.map_err(|why| ReadError::Unavailable(format!("Kafka: {why}")))?;
        let (requests, queue) = mpsc::channel(QUEUE_REQUESTS);
        let (generation, source) = oneshot::channel();
        let (config, instance) = (config.clone(), instance.to_string());
        tokio::spawn(async move {
            // The member is made after its committer; without one there is nothing to commit.
            if let Ok(generation) = source.await {
                Loop { config, stage, instance, store, generation, worker: Some(worker) }
                    .run(queue)
                    .await;
            }
        });
        Ok((Self { requests }, generation))
    }

    pub async fn commit(
        &self,
        partition: u32,
        fence: &Fence,
        commit: Commit,
    ) -> Result<(), CommitError> {
        let (reply, answer) = oneshot::channel();
        let fence = Arc::clone(fence);
        let request = Request::Commit { partition, fence, commit, reply };
        if self.requests.send(request).await.is_err() {
            return Err(CommitError::Unavailable("the committer ended".to_string()));
        }
        let ended = || CommitError::Unknown("the committer ended".to_string());
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    pub async fn settle(&self) -> Result<(), ReadError> {
        let (reply, answer) = oneshot::channel();
        let ended = || ReadError::Unavailable("the committer ended".to_string());
        self.requests.send(Request::Settle { reply }).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// A commit that waits for the transaction it is in.
struct Waiting {
    partition: u32,
    fence: Fence,
    commit: Arc<Commit>,
    reply: oneshot::Sender<Result<(), CommitError>>,
}

struct Loop {
    config: KafkaConfig,
    stage: Stage,
    instance: String,
    store: Arc<StateStore>,
    generation: GenerationSource,
    /// `None` after a failure: the next one to need it starts a new one, and that settles what the
    /// old one left.
    worker: Option<Worker>,
}

impl Loop {
    async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(request) = queue.recv().await {
            let mut waiting = Vec::new();
            let mut settling = Vec::new();
            let mut bytes = 0;
            take(request, &mut waiting, &mut settling, &mut bytes);
            if settling.is_empty() {
                tokio::time::sleep(COMMIT_LINGER).await;
            }
            while bytes < TRANSACTION_BYTES && settling.is_empty() {
                let Ok(request) = queue.try_recv() else { break };
                take(request, &mut waiting, &mut settling, &mut bytes);
            }
            if !waiting.is_empty() {
                self.commit(waiting).await;
            }
            for reply in settling {
                let settled = self.worker().await.map(drop);
                let _ = reply.send(settled.map_err(ReadError::Unavailable));
            }
        }
    }

    async fn worker(&mut self) -> Result<&Worker, String> {
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start(&self.config, self.stage, &self.instance).await?,
        };
        Ok(self.worker.insert(worker))
    }

    async fn commit(&mut self, waiting: Vec<Waiting>) {
        if let Err(why) = self.worker().await {
            answer(waiting, |_| Err(CommitError::Unavailable(why.clone())));
            return;
        }
        // The generation first, then who is still owner: if a partition is lost after this look,
        // the group's generation moves on, and the broker refuses the offsets of this one.
        let Some(generation) = self.generation.get() else {
            let why = "this process is no member of the group now";
            answer(waiting, |_| Err(CommitError::Unavailable(why.to_string())));
            return;
        };
        let (fenced, waiting): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|it| it.fence.load(Ordering::Acquire));
        answer(fenced, |it| Err(fenced_error(self.stage, it.partition)));
        let Some(worker) = &self.worker else { return };
        if waiting.is_empty() {
            return;
        }
        let part = |it: &Waiting| Part {
            partition: it.partition,
            commit: Arc::clone(&it.commit),
            at: newest(&it.commit),
        };
        let began = Instant::now();
        let done = worker.run(waiting.iter().map(part).collect(), generation).await;
        metrics::histogram!("gokart_log_transaction_seconds").record(began.elapsed());
        let outcome = done.outcome.name();
        metrics::counter!("gokart_log_transactions_total", "outcome" => outcome).increment(1);
        if done.is_spent {
            tracing::info!("the end of a transaction was asked for again: starting a new producer");
            self.worker = None;
        }
        match done.outcome {
            Outcome::Committed(ends) => self.apply(waiting, ends).await,
            Outcome::Aborted(why) => answer(waiting, |it| Err(not_committed(self.stage, it, &why))),
            Outcome::Broken(why) => {
                self.worker = None;
                answer(waiting, |it| Err(not_committed(self.stage, it, &why)));
            }
            Outcome::Unknown(why) => {
                self.worker = None;
                answer(waiting, |_| Err(CommitError::Unknown(why.clone())));
            }
        }
    }

    /// The transaction stands; now the copy of the state follows.
    async fn apply(&self, waiting: Vec<Waiting>, ends: Vec<Offset>) {
        let store = Arc::clone(&self.store);
        let apply = move || {
            for (it, changelog_next) in waiting.into_iter().zip(ends) {
                let input_next = Some(it.commit.next_offset);
                let changes = it.commit.state_changes.iter();
                let changes = changes.map(|(key, value)| (&key[..], value.as_deref()));
                let progress = Progress { changelog_next, input_next, whole_at: wall_clock() };
                // A partition that went away meanwhile is its new owner's; if that is this process
                // again, it has read the changelog, and these changes with it.
                let applied = if it.fence.load(Ordering::Acquire) {
                    Err(CommitError::Unknown("committed while it was revoked".to_string()))
                } else {
                    let applied = store.apply(it.partition, changes, progress);
                    applied.map_err(|error| CommitError::Unknown(error.to_string()))
                };
                let _ = it.reply.send(applied);
            }
        };
        // A panic drops the replies, which reads as unknown.
        let _ = tokio::task::spawn_blocking(apply).await;
    }
}

fn take(
    request: Request,
    waiting: &mut Vec<Waiting>,
    settling: &mut Vec<oneshot::Sender<Result<(), ReadError>>>,
    bytes: &mut usize,
) {
    match request {
        Request::Settle { reply } => settling.push(reply),
        Request::Commit { partition, fence, commit, reply } => {
            *bytes +=
                commit.outputs.iter().map(|(_, _, record)| record_bytes(record)).sum::<usize>();
            let sizes = commit.state_changes.iter();
            *bytes += sizes.map(|(k, v)| k.len() + v.as_ref().map_or(0, Vec::len)).sum::<usize>();
            waiting.push(Waiting { partition, fence, commit: Arc::new(commit), reply });
        }
    }
}

/// The changelog's records carry the time of the newest output; compaction does not look at it.
fn newest(commit: &Commit) -> UnixMillis {
    commit.outputs.iter().map(|(_, _, record)| record.at).max().unwrap_or_default()
}

fn answer(waiting: Vec<Waiting>, result: impl Fn(&Waiting) -> Result<(), CommitError>) {
    for it in waiting {
        let result = result(&it);
        // A caller that has gone finds out when it opens the partition again.
        let _ = it.reply.send(result);
    }
}

fn fenced_error(stage: Stage, partition: u32) -> CommitError {
    CommitError::Fenced(format!("{}/{partition} was revoked", stage.input()))
}

/// Certainly not committed: to be tried again by whoever is still the owner.
fn not_committed(stage: Stage, it: &Waiting, why: &str) -> CommitError {
    if it.fence.load(Ordering::Acquire) {
        fenced_error(stage, it.partition)
    } else {
        CommitError::Unavailable(why.to_string())
    }
}
