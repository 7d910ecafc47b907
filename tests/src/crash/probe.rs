//! Asks each ingester once a second for a redirect and whether it takes a postback, and remembers
//! how long the answers took: what a sender and a user see while Kafka is away.

use super::installation::{Installation, TENANT_HOST};
use super::load::SENDER_TIMEOUT;
use super::offers::{ADVERTISER, ids};
use super::story::{Fault, Story};
use crate::http;
use anyhow::{Context, Result, ensure};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const EVERY: Duration = Duration::from_secs(1);
/// After the brokers went, and before they come back: what is under way then may go either way.
const MARGIN_MS: u64 = 3_000;

/// One answer.
#[derive(Debug, Clone)]
struct Answer {
    at: Instant,
    took: Duration,
    is_click: bool,
    /// None: no answer.
    status: Option<u16>,
    has_retry_after: bool,
}

pub struct Probe {
    began: Instant,
    answers: Arc<Mutex<Vec<Answer>>>,
    task: JoinHandle<()>,
}

/// All answers, with when the story began and ended.
pub struct Probed {
    began: Instant,
    answers: Vec<Answer>,
}

/// What was seen while there was no broker.
pub struct WithoutBrokers {
    seconds: u64,
    postbacks: usize,
    clicks: usize,
    slowest_postback: Duration,
    slowest_click: Duration,
}

impl Probe {
    /// Begins to ask; the story begins now.
    pub fn start(here: &Installation) -> Result<Self> {
        let url = here.ask(&["postback-url", "--advertiser", ADVERTISER, "--reveal"])?;
        let url = url["url"].as_str().context("no postback URL")?;
        let (_, path) = url.split_once("/api/").context("no path")?;
        let (path, query) = path.split_once('?').context("no parameters")?;
        let signature =
            query.split('&').find(|it| it.starts_with("signature=")).context("no signature")?;
        // Without a click it goes anywhere, and is refused with a reason later.
        let postback = format!("/api/{path}?{signature}&cnv_event_id=Install");
        let click = format!("/c/{}-acme", ids().next().context("no offer")?);
        let answers = Arc::new(Mutex::new(Vec::new()));
        let (kept, ingesters) = (Arc::clone(&answers), here.ingesters());
        let task = tokio::spawn(async move {
            loop {
                for ingester in &ingesters {
                    for (path, is_click) in [(&postback, false), (&click, true)] {
                        tokio::spawn(ask(*ingester, path.clone(), is_click, Arc::clone(&kept)));
                    }
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Ok(Self { began: Instant::now(), answers, task })
    }

    /// Asks no more.
    pub async fn finish(self) -> Probed {
        self.task.abort();
        tokio::time::sleep(SENDER_TIMEOUT).await;
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Probed { began: self.began, answers }
    }
}

async fn ask(address: SocketAddr, path: String, is_click: bool, kept: Arc<Mutex<Vec<Answer>>>) {
    let at = Instant::now();
    let answer = http::get(address, TENANT_HOST, &path);
    let answer = tokio::time::timeout(SENDER_TIMEOUT, answer).await.ok().and_then(Result::ok);
    let answer = Answer {
        at,
        took: at.elapsed(),
        is_click,
        status: answer.as_ref().map(|it| it.status.as_u16()),
        has_retry_after: answer.is_some_and(|it| !it.header("retry-after").is_empty()),
    };
    kept.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
}

impl Probed {
    /// What was seen in the chapters without brokers; none when there were none.
    pub fn without_brokers(&self, story: &Story) -> Option<WithoutBrokers> {
        let inside = self.inside(story);
        let longest = |is_click: bool| {
            let took = inside.iter().filter(|it| it.is_click == is_click).map(|it| it.took);
            (took.clone().count(), took.max().unwrap_or_default())
        };
        let ((postbacks, slowest_postback), (clicks, slowest_click)) =
            (longest(false), longest(true));
        let seconds = story.events.iter().filter(|it| it.fault == Fault::NoBrokers);
        let seconds = seconds.map(|it| it.for_ms).sum::<u64>() / 1000;
        let it = WithoutBrokers { seconds, postbacks, clicks, slowest_postback, slowest_click };
        (postbacks > 0).then_some(it)
    }

    /// Answers to what was asked while there was no broker and nothing else was wrong.
    fn inside(&self, story: &Story) -> Vec<&Answer> {
        let away = story.events.iter().filter(|it| it.fault == Fault::NoBrokers);
        let spans = away.filter(|it| !is_disturbed(story, it.at_ms, it.at_ms + it.for_ms));
        let spans: Vec<_> = spans
            .map(|it| (it.at_ms + MARGIN_MS)..(it.at_ms + it.for_ms).saturating_sub(MARGIN_MS))
            .collect();
        let at_ms = |it: &Answer| u64::try_from((it.at - self.began).as_millis()).unwrap_or(0);
        let inside = |it: &&Answer| spans.iter().any(|span| span.contains(&at_ms(it)));
        self.answers.iter().filter(inside).collect()
    }

    /// Without brokers a postback gets 503 with Retry-After, and a user gets to the offer, both
    /// before anybody gives up.
    pub fn keeps_the_promise(&self, story: &Story) -> Result<()> {
        for answer in self.inside(story) {
            let expected = if answer.is_click { 302 } else { 503 };
            let right = answer.status == Some(expected)
                && (answer.is_click || answer.has_retry_after)
                && answer.took < SENDER_TIMEOUT;
            ensure!(right, "without a broker an ingester answered otherwise: {answer:?}");
        }
        Ok(())
    }
}

fn is_disturbed(story: &Story, from_ms: u64, until_ms: u64) -> bool {
    story.events.iter().any(|it| {
        it.fault != Fault::NoBrokers
            && it.at_ms < until_ms
            && it.at_ms + it.for_ms + 5_000 > from_ms
    })
}

impl fmt::Display for WithoutBrokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} s without a broker: {} postbacks asked after got 503 with Retry-After within {} ms, \
             {} clicks were redirected within {} ms",
            self.seconds,
            self.postbacks,
            self.slowest_postback.as_millis(),
            self.clicks,
            self.slowest_click.as_millis()
        )
    }
}
