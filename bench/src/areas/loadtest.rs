//! The load tool, judged on a real process: what it reports while its target is stopped by SIGSTOP,
//! against arithmetic; and what a request costs it, against what the same request costs a bare
//! hyper server. Then what protocols cost the product's own server.

use crate::bare;
use crate::context::Context;
use crate::load::bare_location;
use crate::process::cpu_seconds;
use crate::results::{Line, Series, Target};
use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::process::{Process, built, free_address};

/// The stall is this share of a run: then every quantile from the median on is in it.
const STALLED: f64 = 0.8;
const STALL_RUN_S: u64 = 10;
/// Low, so that what has piled up in the stall is answered at once after it.
const STALL_RATE: u64 = 200;
const CONNECTIONS: u64 = 64;
/// How long requests are sent to measure what they cost.
const COST_RUN_S: u64 = 3;
/// Of what arithmetic says (`targets.md`: 2 %).
const ERROR_MAX: Target = Target::AtMost(0.02);
/// The tool is not the bottleneck.
const COST: Target = Target::RatioAtMost(1.0);
const START_PATIENCE: Duration = Duration::from_secs(30);

pub async fn measure(context: &Context) -> Result<Vec<Line>> {
    let mut lines = stalls(context)?;
    lines.push(cost(context)?);
    lines.extend(protocols(context).await?);
    Ok(lines)
}

/// With a stall of S in a run of D, the quantile q of the latencies is S - (1 - q) · D.
fn stalls(context: &Context) -> Result<Vec<Line>> {
    let run_s = context.sized(STALL_RUN_S).max(4);
    let progress = context.progress("a stalled server", context.runs() as u64);
    let names = ["p50_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms"];
    let (mut p99, mut worst) = (Vec::new(), Vec::new());
    for run in 0..context.runs() {
        let directory = directory(context, &format!("stall-{run}"))?;
        let server = Server::start(&directory, &["server"])?;
        let mut load = server.load(&directory, &["--rate", &STALL_RATE.to_string()], run_s)?;
        std::thread::sleep(Duration::from_secs_f64(run_s as f64 * (1.0 - STALLED) / 2.0));
        let began = Instant::now();
        server.process.signal(Signal::STOP)?;
        std::thread::sleep(Duration::from_secs_f64(run_s as f64 * STALLED));
        let stalled_ms = began.elapsed().as_secs_f64() * 1000.0;
        server.process.signal(Signal::CONT)?;
        let report = load.report()?;
        let error = |name: &str, quantile: f64| {
            let expected = stalled_ms - (1.0 - quantile) * run_s as f64 * 1000.0;
            let reported = report["all"]["latency"][name].as_f64().unwrap_or(f64::NAN);
            (reported / expected - 1.0).abs()
        };
        let errors: Vec<f64> = names
            .iter()
            .zip([0.5, 0.95, 0.99, 0.999, 1.0])
            .map(|(name, quantile)| error(name, quantile))
            .collect();
        p99.push(errors[2]);
        worst.push(errors.iter().copied().fold(0.0, f64::max));
        progress.inc(1);
    }
    progress.finish_and_clear();
    let note = format!(
        "bare hyper, stopped by SIGSTOP for {:.0} % of a run of {run_s} s with {STALL_RATE} requests a second \
         over {CONNECTIONS} connections; |reported ÷ (S − (1 − q) · D) − 1|",
        STALLED * 100.0
    );
    let line = |what: &str, values| Line {
        what: what.to_owned(),
        unit: "relative error".into(),
        series: vec![Series { name: "loadtest".into(), values }],
        target: Some(ERROR_MAX),
        notes: vec![note.clone()],
    };
    Ok(vec![
        line("p99 under a stall", p99),
        line("worst of p50, p95, p99, p99.9 and the greatest under a stall", worst),
    ])
}

/// Both sides of the same requests, so there is nothing to interleave.
fn cost(context: &Context) -> Result<Line> {
    let run_s = context.sized(COST_RUN_S).max(1);
    let progress = context.progress("cost of a request", context.runs() as u64);
    let (mut tool, mut server_side) = (Vec::new(), Vec::new());
    let mut rates = Vec::new();
    for run in 0..context.runs() {
        let directory = directory(context, &format!("cost-{run}"))?;
        let server = Server::start(&directory, &["server"])?;
        let cost = server.cost(&directory, &[], run_s)?;
        tool.push(cost.tool_micros);
        server_side.push(cost.server_micros);
        rates.push(format!("{:.0}", cost.per_s));
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(Line {
        what: "CPU of a request".into(),
        unit: "µs".into(),
        series: vec![
            Series { name: "loadtest".into(), values: tool },
            Series { name: "bare hyper that answers it".into(), values: server_side },
        ],
        target: Some(COST),
        notes: vec![format!(
            "as fast as possible for {run_s} s over {CONNECTIONS} connections, answered 302; both processes \
             in the same run, which did {} requests a second",
            rates.join(", ")
        )],
    })
}

/// What a server and a client speak.
struct Side {
    name: &'static str,
    server: Vec<String>,
    client: Vec<String>,
    tls: bool,
}

/// Server CPU of a request with one protocol or both on a port, and over each protocol.
async fn protocols(context: &Context) -> Result<Vec<Line>> {
    let run_s = context.sized(COST_RUN_S).max(1);
    let (certificate, key) = certificate(context.scratch())?;
    let text = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    let path = |path: &Path| path.display().to_string();
    let tls_server = text(&["--both", "--certificate", &path(&certificate), "--key", &path(&key)]);
    let tls_client = text(&["--ca-file", &path(&certificate)]);
    let side = |name, server: &[String], client: &[String], tls| Side {
        name,
        server: server.to_vec(),
        client: client.to_vec(),
        tls,
    };
    let both = text(&["--both"]);
    let http2 = text(&["--http2"]);
    let tls_http2 = [tls_client.as_slice(), http2.as_slice()].concat();
    let sides = [
        side("HTTP/1.1, HTTP/2 spoken too", &both, &[], false),
        side("HTTP/1.1 alone", &[], &[], false),
        side("HTTP/2", &both, &http2, false),
        side("HTTP/1.1 over TLS", &tls_server, &tls_client, true),
        side("HTTP/2 over TLS", &tls_server, &tls_http2, true),
    ];
    let names = std::array::from_fn(|at| sides[at].name);
    let series: [Series; 5] = context
        .interleave("server CPU of a request", names, async |at, run| {
            let side = &sides[at];
            let directory = directory(context, &format!("protocol-{at}-{run}"))?;
            let arguments: Vec<&str> =
                ["shell"].into_iter().chain(side.server.iter().map(String::as_str)).collect();
            let mut server = Server::start(&directory, &arguments)?;
            server.scheme = if side.tls { "https" } else { "http" };
            let client: Vec<&str> = side.client.iter().map(String::as_str).collect();
            Ok(server.cost(&directory, &client, run_s)?.server_micros)
        })
        .await?;
    let [together, alone, http2, tls, tls_http2] = series;
    let note = format!(
        "the product's server with nothing behind it; as fast as possible for {run_s} s over {CONNECTIONS} \
         connections, HTTP/2 with 8 requests at once on each"
    );
    let again = |it: &Series| Series { name: it.name.clone(), values: it.values.clone() };
    Ok(vec![
        Line {
            what: "server CPU of a request, with and without HTTP/2 on the port".into(),
            unit: "µs".into(),
            series: vec![again(&together), alone],
            target: Some(Target::RatioAtMost(1.05)),
            notes: vec![note.clone()],
        },
        Line {
            what: "server CPU of a request by protocol".into(),
            unit: "µs".into(),
            series: vec![http2, together, tls, tls_http2],
            target: None,
            notes: vec![note],
        },
    ])
}

/// A server in a process of its own.
struct Server {
    process: Process,
    address: std::net::SocketAddr,
    scheme: &'static str,
}

/// What a request cost.
struct Cost {
    tool_micros: f64,
    server_micros: f64,
    per_s: f64,
}

impl Server {
    fn start(directory: &Path, side: &[&str]) -> Result<Self> {
        let address = free_address()?;
        let location = bare_location();
        let (kind, more) = side.split_first().context("no side")?;
        let listen = address.to_string();
        let arguments = [&[kind, "--listen", &listen, "--location", &location], more].concat();
        let mut process = bare::start("server", directory, &arguments)?;
        let began = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            process.check_alive()?;
            ensure!(began.elapsed() < START_PATIENCE, "the server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { process, address, scheme: "http" })
    }

    /// Begins to send.
    fn load(&self, directory: &Path, pace: &[&str], run_s: u64) -> Result<Load> {
        let report = directory.join("report.json");
        let base = format!("{}://localhost:{}", self.scheme, self.address.port());
        let mut command = Command::new(built("loadtest")?);
        command
            .args(["run", "--mix", "click=1", "--timeout-ms", "60000"])
            .args(["--tracking-link", &format!("{base}/c/x")])
            .args(["--postback-url", &format!("{base}/p?signature=s&cnv_event_id=e")])
            .args(["--connections", &CONNECTIONS.to_string()])
            .args(["--duration-s", &run_s.to_string()])
            .args(pace)
            .arg("--json")
            .arg(&report);
        let process = Process::spawn("loadtest", directory, &mut command)?;
        Ok(Load { process, report, patience: Duration::from_secs(run_s + 120) })
    }

    /// Sends as fast as possible.
    fn cost(&self, directory: &Path, more: &[&str], run_s: u64) -> Result<Cost> {
        let before = cpu_seconds(self.process.pid())?;
        let pace = [&["--as-fast-as-possible"], more].concat();
        let report = self.load(directory, &pace, run_s)?.report()?;
        let server = cpu_seconds(self.process.pid())? - before;
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let requests = number(&report["all"]["as_expected"]);
        Ok(Cost {
            tool_micros: number(&report["cpu_s"]) * 1e6 / requests,
            server_micros: server * 1e6 / requests,
            per_s: number(&report["answered_per_s"]),
        })
    }
}

/// The load tool in a process of its own.
struct Load {
    process: Process,
    report: PathBuf,
    patience: Duration,
}

impl Load {
    /// What it reports in the end; every answer must have been the one expected.
    fn report(&mut self) -> Result<Value> {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.process.ended()? {
                break status;
            }
            ensure!(began.elapsed() < self.patience, "loadtest does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        ensure!(status.success(), "loadtest failed: {}", self.process.output());
        let report: Value = serde_json::from_str(&std::fs::read_to_string(&self.report)?)?;
        ensure!(
            report["all"]["as_expected"] == report["all"]["requests"],
            "not every request was answered: {}",
            self.process.output()
        );
        Ok(report)
    }
}

fn directory(context: &Context, name: &str) -> Result<PathBuf> {
    let directory = context.scratch().join(name);
    std::fs::create_dir(&directory)?;
    Ok(directory)
}

/// A certificate for localhost that signs itself, and its key.
fn certificate(directory: &Path) -> Result<(PathBuf, PathBuf)> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let (certificate, key) = (directory.join("tls.pem"), directory.join("tls.key"));
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    Ok((certificate, key))
}
