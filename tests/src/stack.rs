//! A whole gokart, on the local log or on Apache Kafka, with a clock that the test sets.

use crate::http::{self, Answer};
use crate::kafka::Kafka;
use crate::process::{self, Process, free_address};
use anyhow::{Context, Result, bail, ensure};
use hyper::{Method, Request};
use serde_json::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Longest time for something that must happen to become visible, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// The master keys of an installation on Kafka.
pub const MASTER_KEYS: &str = "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n";
/// Partitions of `postbacks`, unless the installation moves.
pub const PARTITIONS: u32 = 4;
/// A further process of the role `sink`.
pub const SECOND_SINK: &str = "sink-2";

pub const TENANT_HOST: &str = "api.brownboots.localhost";

/// Where the roles run.
#[derive(Debug, Clone)]
enum Shape {
    /// One `gokart up`.
    Local,
    /// A process for each role, and the embedded ClickHouse.
    Kafka { url: String, prefix: String },
}

/// What the processes take for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    /// What the test says: it stands still otherwise.
    Told,
    Real,
}

/// A running installation with the example configuration.
pub struct Stack {
    shape: Shape,
    time: Time,
    partitions: u32,
    directory: TempDir,
    clock_ms: i64,
    processes: BTreeMap<&'static str, Process>,
    pub ingest: SocketAddr,
    pub admin: SocketAddr,
    pub warehouse: SocketAddr,
    metrics: BTreeMap<&'static str, SocketAddr>,
    extra: BTreeMap<&'static str, Vec<String>>,
    /// Sinks of a cluster have the master keys and tell publishers.
    telling: bool,
}

/// A conversion as `conversions_current` shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Conversion {
    pub conversion_id: String,
    pub revision: u32,
    pub event_id: String,
    pub status: String,
    pub reason: String,
    pub received_at_ms: i64,
    pub due_at_ms: Option<i64>,
    pub decided_at_ms: i64,
    pub revenue: String,
}

/// A row of `postbacks`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct PostbackRow {
    pub postback_id: String,
    pub event_id: String,
    pub outcome: String,
    pub reason: String,
    pub conversion_id: String,
}

/// The engine that `make engine` fetched; none, said loudly, without it.
#[must_use]
pub fn engine_library() -> Option<PathBuf> {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/chdb");
    let found = std::fs::read_dir(cache).ok().and_then(|versions| {
        versions.flatten().map(|v| v.path().join("libchdb.so")).find(|path| path.is_file())
    });
    if found.is_none() {
        eprintln!("SKIPPED: end-to-end tests need the ClickHouse engine; run `make engine` first");
    }
    found
}

impl Stack {
    /// `gokart up` with the example configuration; none, said loudly, without the engine.
    pub async fn local() -> Result<Option<Self>> {
        Self::start(Shape::Local, Time::Told, &[]).await
    }

    /// The same with arguments for publisher postbacks.
    pub async fn local_telling(arguments: &[&str]) -> Result<Option<Self>> {
        Self::start(Shape::Local, Time::Told, arguments).await
    }

    /// The same by the machine's clock, for what measures time.
    pub async fn local_in_real_time() -> Result<Option<Self>> {
        Self::start(Shape::Local, Time::Real, &[]).await
    }

    /// A process for each role on `kafka`, in topics of its own.
    pub async fn on_kafka(kafka: &Kafka) -> Result<Option<Self>> {
        Self::start(own_topics(kafka)?, Time::Told, &[]).await
    }

    /// The same with sinks that tell publishers, with arguments for that.
    pub async fn on_kafka_telling(kafka: &Kafka, arguments: &[&str]) -> Result<Option<Self>> {
        Self::start(own_topics(kafka)?, Time::Told, arguments).await
    }

    /// The same by the machine's clock, for what measures time.
    pub async fn on_kafka_in_real_time(kafka: &Kafka) -> Result<Option<Self>> {
        Self::start(own_topics(kafka)?, Time::Real, &[]).await
    }

    /// The same with sinks that tell publishers.
    pub async fn on_kafka_telling_in_real_time(
        kafka: &Kafka,
        arguments: &[&str],
    ) -> Result<Option<Self>> {
        Self::start(own_topics(kafka)?, Time::Real, arguments).await
    }

    async fn start(shape: Shape, time: Time, telling: &[&str]) -> Result<Option<Self>> {
        let Some(library) = engine_library() else { return Ok(None) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let mut stack = Self {
            shape,
            time,
            partitions: PARTITIONS,
            directory: tempfile::tempdir()?,
            clock_ms: i64::try_from(now)?,
            processes: BTreeMap::new(),
            ingest: free_address()?,
            admin: free_address()?,
            warehouse: free_address()?,
            metrics: BTreeMap::new(),
            extra: BTreeMap::new(),
            telling: false,
        };
        stack.telling = !telling.is_empty();
        stack.extra(if matches!(stack.shape, Shape::Local) { "up" } else { "sink" }, telling);
        stack.write_clock()?;
        let library = library.canonicalize()?.display().to_string();
        std::fs::write(stack.path("engine"), library)?;
        for role in stack.roles() {
            stack.metrics.insert(role, free_address()?);
        }
        if matches!(stack.shape, Shape::Kafka { .. }) {
            std::fs::write(stack.path("master-keys"), MASTER_KEYS)?;
        }
        for role in stack.roles() {
            stack.start_role(role).await?;
        }
        if matches!(stack.shape, Shape::Kafka { .. }) {
            stack.gokart(&["apply", &examples()])?;
        }
        Ok(Some(stack))
    }

    fn roles(&self) -> Vec<&'static str> {
        match self.shape {
            Shape::Local => vec!["up"],
            Shape::Kafka { .. } => vec!["warehouse", "admin", "sink", "processor", "ingest"],
        }
    }

    /// The role that decides, whatever the shape.
    #[must_use]
    pub fn processor_role(&self) -> &'static str {
        match self.shape {
            Shape::Local => "up",
            Shape::Kafka { .. } => "processor",
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The data directory of a role of a cluster.
    #[must_use]
    pub fn role_data(&self, role: &str) -> PathBuf {
        self.path(role)
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// What its topics' names begin with; nothing on the local log.
    #[must_use]
    pub fn topic_prefix(&self) -> &str {
        match &self.shape {
            Shape::Local => "",
            Shape::Kafka { prefix, .. } => prefix,
        }
    }

    /// Brokers, as `kafka://host:port`, and the prefix of the topics; none on the local log.
    #[must_use]
    pub fn kafka(&self) -> Option<(&str, &str)> {
        match &self.shape {
            Shape::Local => None,
            Shape::Kafka { url, prefix } => Some((url, prefix)),
        }
    }

    /// From now on roles start on other topics of the same brokers.
    pub fn move_to(&mut self, topic_prefix: &str, partitions: u32) {
        if let Shape::Kafka { prefix, .. } = &mut self.shape {
            *prefix = topic_prefix.to_owned();
        }
        self.partitions = partitions;
    }

    /// Where a role that shares its directory with no other keeps what is its own.
    #[must_use]
    pub fn directory_of(&self, role: &str) -> PathBuf {
        self.path(role)
    }

    fn write_clock(&self) -> Result<()> {
        // Renamed into place: no reader sees half a number.
        let part = self.path("clock.part");
        std::fs::write(&part, self.clock_ms.to_string())?;
        Ok(std::fs::rename(part, self.path("clock"))?)
    }

    /// What every process of this installation reads from its clock.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.clock_ms
    }

    /// Lets time pass, everywhere at once.
    pub fn advance_ms(&mut self, ms: i64) -> Result<()> {
        self.clock_ms += ms;
        self.write_clock()
    }

    fn arguments(&self, role: &'static str) -> Result<Vec<String>> {
        let data = match (role, &self.shape) {
            // Each process of a cluster has a directory of its own; these two share tokens.
            ("processor" | "ingest" | "sink" | SECOND_SINK, Shape::Kafka { .. }) => self.path(role),
            (_, Shape::Kafka { .. }) => self.path("data"),
            // Relative, as most people type it.
            (_, Shape::Local) => PathBuf::from("data"),
        };
        let metrics = self.metrics[role].to_string();
        let extra = self.extra.get(role).cloned();
        let role = if role == SECOND_SINK { "sink" } else { role };
        let mut arguments = vec![role.to_owned()];
        let mut push = |name: &str, value: String| {
            arguments.push(name.to_owned());
            arguments.push(value);
        };
        push("--data", data.display().to_string());
        push("--metrics-listen", metrics);
        if role != "warehouse" && self.time == Time::Told {
            push("--clock-file", self.path("clock").display().to_string());
        }
        if matches!(role, "up" | "ingest") {
            push("--listen", self.ingest.to_string());
        }
        if matches!(role, "up" | "admin") {
            push("--admin-listen", self.admin.to_string());
        }
        if matches!(role, "up" | "warehouse") {
            push("--warehouse-listen", self.warehouse.to_string());
            push("--engine-library", std::fs::read_to_string(self.path("engine"))?);
        }
        match &self.shape {
            Shape::Local => {
                push("--config", examples());
                push("--partitions", self.partitions.to_string());
            }
            Shape::Kafka { url, prefix } if role != "warehouse" => {
                push("--log", url.clone());
                push("--topic-prefix", prefix.clone());
                push("--partitions", self.partitions.to_string());
                push("--replication", "1".to_owned());
                if role != "sink" || self.telling {
                    push("--master-key-file", self.path("master-keys").display().to_string());
                }
                if matches!(role, "sink" | "admin") {
                    push("--clickhouse", format!("http://{}", self.warehouse));
                    let token = self.path("data").join("warehouse-write.token");
                    push("--clickhouse-token-file", token.display().to_string());
                }
            }
            Shape::Kafka { .. } => {}
        }
        arguments.extend(extra.into_iter().flatten());
        Ok(arguments)
    }

    /// Further arguments for the next starts of a role, instead of any before.
    pub fn extra(&mut self, role: &'static str, arguments: &[&str]) {
        self.extra.insert(role, arguments.iter().map(|&argument| argument.to_owned()).collect());
    }

    /// Starts [`SECOND_SINK`] beside the sink of a cluster, with the same arguments.
    pub async fn add_sink(&mut self) -> Result<()> {
        self.metrics.insert(SECOND_SINK, free_address()?);
        let same = self.extra.get("sink").cloned().unwrap_or_default();
        self.extra.insert(SECOND_SINK, same);
        self.start_role(SECOND_SINK).await
    }

    /// Starts a role that is not running, and waits until it is ready.
    pub async fn start_role(&mut self, role: &'static str) -> Result<()> {
        let process = Process::start(role, self.directory.path(), &self.arguments(role)?)?;
        self.processes.insert(role, process);
        let metrics = self.metrics[role];
        let began = Instant::now();
        loop {
            self.process(role)?.check_alive()?;
            if let Ok(answer) = http::get(metrics, "localhost", "/readyz").await
                && answer.status == hyper::StatusCode::OK
            {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("{role} is not ready; it said:\n{}", self.process(role)?.output());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub fn process(&mut self, role: &'static str) -> Result<&mut Process> {
        self.processes.get_mut(role).with_context(|| format!("{role} was never started"))
    }

    /// What all the processes have printed.
    #[must_use]
    pub fn output(&self) -> String {
        self.processes.values().map(Process::output).collect()
    }

    /// What the role's `/metrics` says.
    pub async fn metrics(&self, role: &'static str) -> Result<String> {
        Ok(http::get(self.metrics[role], "localhost", "/metrics").await?.body)
    }

    /// Every role answers `/healthz`, `/readyz` and `/metrics`, and says what listens where.
    pub async fn check_observability(&self) -> Result<()> {
        for (role, address) in &self.metrics {
            for path in ["/healthz", "/readyz"] {
                let answer = http::get(*address, "localhost", path).await?;
                ensure!(answer.status == hyper::StatusCode::OK, "{role}{path}: {answer:?}");
            }
            let metrics = self.metrics(role).await?;
            ensure!(metrics.contains("# TYPE gokart_"), "{role} counts nothing: {metrics:?}");
            let output = self.processes.get(role).map(Process::output).unwrap_or_default();
            ensure!(output.contains(&address.to_string()), "{role} does not say where: {output}");
        }
        Ok(())
    }

    /// Runs a `gokart` command against this installation and gives what it printed.
    pub fn gokart(&self, arguments: &[&str]) -> Result<String> {
        let admin = format!("http://{}", self.admin);
        let data = self.path("data").display().to_string();
        let all = [arguments, &["--admin", &admin, "--data", &data]].concat();
        let output = process::run(&all)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "gokart {arguments:?} failed: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(text)
    }

    /// The same with `--format json`.
    pub fn gokart_json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.gokart(&[arguments, &["--format", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }

    /// Follows a publisher's tracking link as a browser would, and gives the click id that the
    /// advertiser gets.
    pub async fn click(&self, offer: &str, publisher: &str, query: &str) -> Result<String> {
        let link = ["tracking-link", "--offer", offer, "--publisher", publisher];
        self.follow(&link, query).await
    }

    /// The same through a test link.
    pub async fn test_click(&self, offer: &str, publisher: &str) -> Result<String> {
        self.follow(&["tracking-link", "--offer", offer, "--publisher", publisher, "--test"], "")
            .await
    }

    /// Many clicks on a publisher's tracking link.
    pub async fn clicks(&self, offer: &str, publisher: &str, count: usize) -> Result<Vec<String>> {
        let link =
            self.gokart_json(&["tracking-link", "--offer", offer, "--publisher", publisher])?;
        let mut clicks = Vec::with_capacity(count);
        for _ in 0..count {
            clicks.push(self.follow_link(&link, "").await?);
        }
        Ok(clicks)
    }

    async fn follow(&self, command: &[&str], query: &str) -> Result<String> {
        self.follow_link(&self.gokart_json(command)?, query).await
    }

    async fn follow_link(&self, link: &Value, query: &str) -> Result<String> {
        let link = link["tracking_link"].as_str().context("no tracking link")?;
        let (_, share) = link.split_once("/c/").context("not a tracking link")?;
        let path = format!("/c/{share}{query}");
        // An ingester follows the configuration: a fresh one may not have this share yet.
        self.eventually("a redirect", || async {
            let answer = http::get(self.ingest, TENANT_HOST, &path).await?;
            match answer.status {
                hyper::StatusCode::FOUND => click_id_of(answer.header("location")).map(Some),
                hyper::StatusCode::NOT_FOUND => Ok(None),
                _ => bail!("no redirect: {answer:?}"),
            }
        })
        .await
    }

    /// The path and query of an advertiser's postback URL, up to where parameters are added.
    pub fn postback_path(&self, advertiser: &str) -> Result<String> {
        let answer = self.gokart_json(&["postback-url", "--advertiser", advertiser, "--reveal"])?;
        let url = answer["url"].as_str().context("no postback URL")?;
        let (_, rest) = url.split_once("/api/v1/").context("not a postback URL")?;
        let (path, query) = rest.split_once('?').context("no signature")?;
        let signature = query.split('&').find(|p| p.starts_with("signature=")).context("none")?;
        Ok(format!("/api/v1/{path}?{signature}"))
    }

    /// Sends a postback of `advertiser` with `parameters` as they stand.
    pub async fn postback(&self, path: &str, parameters: &str) -> Result<Answer> {
        self.postback_to(TENANT_HOST, &format!("{path}&{parameters}")).await
    }

    /// Sends the postback of a click's event, which must be accepted.
    pub async fn accepted(&self, path: &str, click: &str, event: &str) -> Result<()> {
        let parameters = format!("cnv_event_id={event}&gk_click_id={click}");
        let answer = self.postback(path, &parameters).await?;
        ensure!(answer.status == hyper::StatusCode::OK, "{answer:?}");
        Ok(())
    }

    /// Sends a postback to any host and path.
    pub async fn postback_to(&self, host: &str, path: &str) -> Result<Answer> {
        let request = Request::builder().method(Method::GET).uri(path).body(String::new())?;
        http::send(self.ingest, host, request).await
    }

    /// Asks ClickHouse, with parameters bound; rows as JSON objects.
    pub async fn sql(&self, query: &str, parameters: &[(&str, &str)]) -> Result<Vec<Value>> {
        let token = std::fs::read_to_string(self.path("data").join("warehouse-read.token"))?;
        let bound: String =
            parameters.iter().map(|(name, value)| format!("&param_{name}={value}")).collect();
        let request = Request::post(format!("/?default_format=JSONEachRow&database=gokart{bound}"))
            .header("x-clickhouse-user", "reader")
            .header("x-clickhouse-key", token.trim())
            .body(query.to_owned())?;
        let answer = http::send(self.warehouse, &self.warehouse.to_string(), request).await?;
        ensure!(answer.status.is_success(), "{query}: {answer:?}");
        answer.body.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// Asks the admin API: `GET /api/v1/<path>`.
    pub async fn ask(&self, path: &str) -> Result<Answer> {
        http::send(self.admin, "localhost", self.admin_request(path)?).await
    }

    /// The request that [`Stack::ask`] sends.
    pub fn admin_request(&self, path: &str) -> Result<Request<String>> {
        let token = std::fs::read_to_string(self.data().join("admin.token"))?;
        Ok(Request::get(format!("/api/v1/{path}"))
            .header("authorization", format!("Bearer {}", token.trim()))
            .body(String::new())?)
    }

    /// Has ClickHouse carry a statement out.
    pub async fn execute(&self, statement: &str) -> Result<()> {
        let token = std::fs::read_to_string(self.data().join("warehouse-write.token"))?;
        let request = Request::post("/?database=gokart")
            .header("x-clickhouse-key", token.trim())
            .body(statement.to_owned())?;
        let answer = http::send(self.warehouse, &self.warehouse.to_string(), request).await?;
        ensure!(answer.status.is_success(), "{statement}: {answer:?}");
        Ok(())
    }

    /// The conversions of a click, by sequence and event.
    pub async fn conversions(&self, click: &str) -> Result<Vec<Conversion>> {
        let rows = self
            .sql(
                "SELECT conversion_id, revision, toString(event_id) AS event_id, toString(status) AS status,
                     toString(reason) AS reason, toUnixTimestamp64Milli(received_at) AS received_at_ms,
                     toUnixTimestamp64Milli(due_at) AS due_at_ms, toUnixTimestamp64Milli(decided_at) AS decided_at_ms,
                     toString(revenue) AS revenue
                 FROM conversions_current WHERE click_id = {click:String} ORDER BY sequence, event_id
                 SETTINGS output_format_json_quote_64bit_integers = 0",
                &[("click", click)],
            )
            .await?;
        rows.into_iter().map(|row| Ok(serde_json::from_value(row)?)).collect()
    }

    /// The postbacks that named a click, in order.
    pub async fn postbacks(&self, click: &str) -> Result<Vec<PostbackRow>> {
        let rows = self
            .sql(
                "SELECT toString(postback_id) AS postback_id, toString(event_id) AS event_id, toString(outcome) AS outcome,
                     toString(reason) AS reason, toString(conversion_id) AS conversion_id
                 FROM postbacks FINAL WHERE click_id = {click:String} ORDER BY postback_id",
                &[("click", click)],
            )
            .await?;
        rows.into_iter().map(|row| Ok(serde_json::from_value(row)?)).collect()
    }

    /// Asks until the answer is there, for as long as a busy machine may need.
    pub async fn eventually<T, F>(&self, what: &str, mut ask: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        let began = Instant::now();
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            ensure!(began.elapsed() < PATIENCE, "not seen in time: {what}\n{}", self.output());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until so many postbacks of a click have been decided and are visible.
    pub async fn decided(&self, click: &str, count: usize) -> Result<Vec<PostbackRow>> {
        self.eventually(&format!("{count} postbacks of {click}"), || async {
            let rows = self.postbacks(click).await?;
            Ok((rows.len() >= count).then_some(rows))
        })
        .await
    }

    /// Stops everything in the order of the data, and fails unless all end with exit code 0.
    pub fn stop(&mut self) -> Result<()> {
        let second = self.processes.contains_key(SECOND_SINK).then_some(SECOND_SINK);
        for role in self.roles().into_iter().chain(second).rev() {
            let process = self.process(role)?;
            let status = process.stop()?;
            ensure!(status.success(), "{role} ended with {status}:\n{}", process.output());
        }
        Ok(())
    }
}

fn own_topics(kafka: &Kafka) -> Result<Shape> {
    let unique = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let prefix = format!("e2e-{}-{unique}-", std::process::id());
    Ok(Shape::Kafka { url: kafka.url.clone(), prefix })
}

/// The example configuration.
#[must_use]
pub fn examples() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").display().to_string()
}

/// The value of `gk_click_id` in the link that a click was redirected to.
fn click_id_of(location: &str) -> Result<String> {
    let (_, query) = location.split_once('?').context("the link has no parameters")?;
    let id = query.split('&').find_map(|pair| pair.strip_prefix("gk_click_id="));
    id.map(str::to_owned).with_context(|| format!("no click id in {location}"))
}
