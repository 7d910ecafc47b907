//! The tool judged by arithmetic: a server of our own stands still for a known time, and the
//! latencies must be those that follow from the schedule. Time is virtual and the connections are
//! in memory, so that nothing else on the machine plays a part.

use crate::connection::Connect;
use crate::mix::{Kind, Mix};
use crate::pool::Pool;
use crate::record::{Ending, Recorder};
use crate::request::{Links, Target, Tracking};
use crate::resend::Resends;
use crate::run::{Lines, send};
use crate::schedule::{Pace, Schedule};
use crate::template::Template;
use crate::worker::{Shard, Shared, lock};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::time::Instant;

/// Answers 302 at once, but nothing between two points in time: what comes then waits.
#[derive(Clone, Copy)]
struct Stalling {
    from: Instant,
    until: Instant,
}

impl Connect for Stalling {
    type Stream = DuplexStream;

    async fn connect(&self) -> std::io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let Self { from, until } = *self;
        let answer = service_fn(move |_request| async move {
            if (from..until).contains(&Instant::now()) {
                tokio::time::sleep_until(until).await;
            }
            let location = format!("https://app.test/?id={}", "c".repeat(60));
            let answer = hyper::Response::builder().status(302).header("location", location);
            Ok::<_, Infallible>(answer.body(Full::<Bytes>::default()).unwrap())
        });
        tokio::spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(theirs), answer)
                .await;
        });
        Ok(ours)
    }
}

struct Case {
    rate: u64,
    duration_s: u64,
    connections: u64,
    stall_from_ms: u64,
    stall_ms: u64,
    timeout_ms: u64,
}

fn shared(case: &Case, mix: &str, resends: Resends) -> Arc<Shared> {
    let start = Instant::now();
    let duration = Duration::from_secs(case.duration_s);
    let event = "http://h/p?signature=s&cnv_event_id=e";
    Arc::new(Shared {
        links: Links {
            tracking: vec![Tracking {
                template: Template::parse("link", "http://h/c/x").unwrap(),
                target: 0,
            }],
            targets: vec![Target {
                postbacks: vec![Template::parse_postback(event, None).unwrap()],
            }],
            heat: Links::heat(1, 0.0),
            click_id_parameter: None,
        },
        mix: mix.parse::<Mix>().unwrap(),
        seed: 1,
        timeout: Duration::from_millis(case.timeout_ms),
        schedule: Schedule::new(start, Pace::Rate(case.rate), duration, u64::MAX),
        shards: vec![Shard {
            number: 0,
            pool: Mutex::new(Pool::default()),
            recorder: Mutex::new(Recorder::new(duration, &[])),
            resends,
        }],
        ledger: None,
        stopped: AtomicBool::new(false),
    })
}

fn lines(case: &Case) -> Lines {
    Lines { connections: case.connections, streams: None }
}

async fn run(case: &Case) -> Recorder {
    let start = Instant::now();
    let shared = shared(case, "click=1", Resends::new(0, Duration::ZERO));
    let from = start + Duration::from_millis(case.stall_from_ms);
    let server = Stalling { from, until: from + Duration::from_millis(case.stall_ms) };
    send(&shared, 0, server, lines(case)).await.unwrap();
    lock(&shared.shards[0].recorder).clone()
}

/// The timer's grain, and the histogram's digits.
const TOLERANCE_MS: f64 = 2.0;

fn assert_quantile(recorder: &Recorder, quantile: f64, expected_ms: f64) {
    let measured = recorder.all.latency_micros.value_at_quantile(quantile) as f64 / 1000.0;
    let allowed = (expected_ms * 0.02).max(TOLERANCE_MS);
    assert!(
        (measured - expected_ms).abs() <= allowed,
        "p{}: {measured} ms, and arithmetic says {expected_ms} ms",
        quantile * 100.0
    );
}

/// With a stall of S in a run of D, a share S/D of the requests falls into it, and their latencies
/// are spread evenly over 0..S: the quantile q is S - (1 - q) * D while that is positive.
#[tokio::test(start_paused = true)]
async fn a_stall_shows_in_full() {
    for connections in [1, 4, 2000] {
        let case = Case {
            rate: 1000,
            duration_s: 10,
            connections,
            stall_from_ms: 4000,
            stall_ms: 1000,
            timeout_ms: 60_000,
        };
        let recorder = run(&case).await;
        assert_eq!(recorder.all.ended(Ending::AsExpected), 10_000);
        for (quantile, expected_ms) in [(0.5, 0.0), (0.95, 500.0), (0.99, 900.0), (0.999, 990.0)] {
            assert_quantile(&recorder, quantile, expected_ms);
        }
    }
}

/// What a tool without a schedule would report: one slow answer a connection, and no more.
#[tokio::test(start_paused = true)]
async fn the_time_from_the_actual_start_hides_the_stall() {
    let case = Case {
        rate: 1000,
        duration_s: 10,
        connections: 4,
        stall_from_ms: 4000,
        stall_ms: 1000,
        timeout_ms: 60_000,
    };
    let recorder = run(&case).await;
    assert!(recorder.service_micros.value_at_quantile(0.99) < 3_000);
    // All that came due in the stall but the four under way started late.
    assert!((980..=1000).contains(&recorder.late), "{}", recorder.late);
}

/// A target that never answers again: what is under way fails in time, the run ends, and the turns
/// that did not come are counted with the time they had waited.
#[tokio::test(start_paused = true)]
async fn a_dead_target_ends_the_run_and_is_not_left_out() {
    let case = Case {
        rate: 100,
        duration_s: 10,
        connections: 2,
        stall_from_ms: 5000,
        stall_ms: 100_000,
        timeout_ms: 2000,
    };
    let start = Instant::now();
    let recorder = run(&case).await;
    assert!(start.elapsed() <= Duration::from_secs(15), "{:?}", start.elapsed());
    assert_eq!(recorder.all.total(), 1000);
    assert_eq!(recorder.all.ended(Ending::AsExpected), 500);
    assert!(recorder.all.ended(Ending::Unsent) > 450);
    assert!(recorder.all.latency_micros.value_at_quantile(0.75) > 2_000_000);
}

/// Answers clicks, and postbacks with 503 until a point in time; remembers what it accepted.
#[derive(Clone)]
struct Away {
    until: Instant,
    clicks: Arc<AtomicU64>,
    accepted: Arc<Mutex<BTreeMap<String, u32>>>,
}

impl Connect for Away {
    type Stream = DuplexStream;

    async fn connect(&self) -> std::io::Result<DuplexStream> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let this = self.clone();
        let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let this = this.clone();
            async move {
                let path = request.uri().to_string();
                let (status, location, body) = if path.starts_with("/c/") {
                    let number = this.clicks.fetch_add(1, Ordering::SeqCst);
                    (302, format!("https://app.test/?id={number:060}"), String::new())
                } else if Instant::now() < this.until {
                    (503, String::new(), String::new())
                } else {
                    let mut accepted = this.accepted.lock().unwrap();
                    let id = accepted.len();
                    *accepted.entry(path).or_default() += 1;
                    let body = format!("{{\"postback_id\":\"0198c0de-0000-7000-8000-{id:012}\"}}");
                    (200, String::new(), body)
                };
                let answer = hyper::Response::builder().status(status).header("location", location);
                Ok::<_, Infallible>(answer.body(Full::<Bytes>::from(body)).unwrap())
            }
        });
        tokio::spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(theirs), answer)
                .await;
        });
        Ok(ours)
    }
}

/// Everything that was sent while the target took nothing is accepted in the end, once.
#[tokio::test(start_paused = true)]
async fn what_was_not_taken_is_sent_again_until_it_is() {
    let case = Case {
        rate: 20,
        duration_s: 10,
        connections: 3,
        stall_from_ms: 0,
        stall_ms: 0,
        timeout_ms: 2000,
    };
    let outage = Duration::from_secs(30);
    let server =
        Away { until: Instant::now() + outage, clicks: Arc::default(), accepted: Arc::default() };
    let again = Resends::new(50, Duration::from_millis(500));
    let shared = shared(&case, "click=1,valid=1", again);
    send(&shared, 0, server.clone(), lines(&case)).await.unwrap();
    let recorder = lock(&shared.shards[0].recorder).clone();
    let sent = recorder.kinds[Kind::Valid.index()].total();
    let accepted = server.accepted.lock().unwrap().clone();
    assert!(sent > 50 && recorder.resent > sent, "{sent} {}", recorder.resent);
    assert_eq!((recorder.resent_accepted, recorder.given_up), (sent, 0));
    assert_eq!(accepted.len() as u64, sent, "each click's postback was another one");
    assert!(accepted.values().all(|times| *times == 1), "{accepted:?}");
    assert_eq!(shared.shards[0].resends.open(), 0);

    // Who gives up too soon says so.
    let impatient = Resends::new(2, Duration::from_millis(500));
    let shared = self::shared(&case, "click=1,valid=1", impatient);
    let server = Away { until: Instant::now() + outage, ..server };
    send(&shared, 0, server, lines(&case)).await.unwrap();
    assert!(lock(&shared.shards[0].recorder).given_up > 0);
}
