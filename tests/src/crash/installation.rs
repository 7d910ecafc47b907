//! Every process of a cluster on its host, and what can be done to it.

use super::hosts::Hosts;
use super::story::{BROKERS, INGESTERS, Member};
use crate::http;
use crate::process::{self, Process, without_settings};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub const PARTITIONS: u32 = 6;
pub const MASTER_KEYS: &str = "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
pub const TENANT_HOST: &str = "api.brownboots.localhost";
const READ_TOKEN: &str = "a-token-to-read-with-0001";
const WRITE_TOKEN: &str = "a-token-to-write-with-0001";
const ADMIN_TOKEN: &str = "a-token-to-administer-0001";

const KAFKA_PORT: u16 = 9092;
const CONTROLLER_PORT: u16 = 9093;
const HTTP_PORT: u16 = 8080;
const ADMIN_PORT: u16 = 8081;
const WAREHOUSE_PORT: u16 = 8123;
const METRICS_PORT: u16 = 9090;
const BROKER_HEAP_MB: &str = "320";

/// How often the clock of the installation is written.
const CLOCK_TICK: Duration = Duration::from_millis(50);
/// Longest time for a process to be ready, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// Longest time for a process to end in good order.
const STOP_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// The file that all processes take the time from: the machine's time, and an offset.
pub struct TestClock {
    offset_ms: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
}

impl TestClock {
    fn start(path: PathBuf) -> Result<Self> {
        let (offset_ms, stop) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        write_clock(&path, 0)?;
        let (offset, stopped) = (Arc::clone(&offset_ms), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // A tick that is lost is made up for by the next one.
                let _ = write_clock(&path, offset.load(Ordering::Relaxed));
                std::thread::sleep(CLOCK_TICK);
            }
        });
        Ok(Self { offset_ms, stop })
    }

    /// Lets time pass at once, everywhere.
    pub fn advance_ms(&self, ms: i64) {
        self.offset_ms.fetch_add(ms, Ordering::Relaxed);
    }

    #[must_use]
    pub fn now_ms(&self) -> i64 {
        machine_ms() + self.offset_ms.load(Ordering::Relaxed)
    }
}

impl Drop for TestClock {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn machine_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn write_clock(path: &Path, offset_ms: i64) -> Result<()> {
    // Renamed into place: no reader sees half a number.
    let part = path.with_extension("part");
    std::fs::write(&part, (machine_ms() + offset_ms).to_string())?;
    Ok(std::fs::rename(part, path)?)
}

struct Place {
    host: usize,
    process: Option<Process>,
    /// Which binary it runs.
    binary: PathBuf,
}

pub struct Installation {
    pub hosts: Hosts,
    pub clock: TestClock,
    pub directory: PathBuf,
    engine: PathBuf,
    places: BTreeMap<Member, Place>,
}

impl Installation {
    /// Prepares everything below a directory; nothing runs yet.
    pub fn prepare(directory: &Path, engine: &Path, binary: &Path) -> Result<Self> {
        let mut hosts = Hosts::new()?;
        let mut places = BTreeMap::new();
        for member in Member::all() {
            // The admin API is asked from the hub only.
            let host = if member == Member::Admin { 0 } else { hosts.add()? };
            let place = Place { host, process: None, binary: binary.to_owned() };
            places.insert(member, place);
        }
        for (name, text) in [
            ("master-keys", MASTER_KEYS),
            ("read-token", READ_TOKEN),
            ("write-token", WRITE_TOKEN),
            ("admin-token", ADMIN_TOKEN),
        ] {
            let path = directory.join(name);
            std::fs::write(&path, format!("{text}\n"))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        }
        let clock = TestClock::start(directory.join("clock"))?;
        let (directory, engine) = (directory.to_owned(), engine.canonicalize()?);
        Ok(Self { hosts, clock, directory, engine, places })
    }

    fn place(&mut self, member: Member) -> Result<&mut Place> {
        self.places.get_mut(&member).context("nobody of that name")
    }

    #[must_use]
    pub fn host(&self, member: Member) -> usize {
        self.places.get(&member).map_or(0, |place| place.host)
    }

    fn address(&self, member: Member, port: u16) -> SocketAddr {
        SocketAddr::new(self.hosts.ip(self.host(member)), port)
    }

    #[must_use]
    pub fn brokers(&self) -> String {
        let address = |n| self.address(Member::Broker(n), KAFKA_PORT).to_string();
        (0..BROKERS).map(address).collect::<Vec<_>>().join(",")
    }

    #[must_use]
    pub fn ingesters(&self) -> Vec<SocketAddr> {
        (0..INGESTERS).map(|n| self.address(Member::Ingest(n), HTTP_PORT)).collect()
    }

    #[must_use]
    pub fn warehouse(&self) -> SocketAddr {
        self.address(Member::Warehouse, WAREHOUSE_PORT)
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// From now on a member's starts run another binary.
    pub fn set_binary(&mut self, member: Member, binary: &Path) -> Result<()> {
        self.place(member)?.binary = binary.to_owned();
        Ok(())
    }

    /// Starts a member; a broker that has not yet ended after SIGTERM gets no more time.
    pub fn start(&mut self, member: Member) -> Result<()> {
        self.kill(member)?;
        let arguments = self.arguments(member);
        let place = self.places.get(&member).context("nobody of that name")?;
        let program = match member {
            Member::Broker(_) => {
                Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kafka/start.sh")
            }
            _ => place.binary.clone(),
        };
        let mut command = self.hosts.command(place.host, program);
        without_settings(&mut command);
        command.args(arguments).env("GOKART_TEST_KAFKA_HEAP_MB", BROKER_HEAP_MB);
        let process = Process::spawn(&member.to_string(), &self.directory, &mut command)?;
        self.place(member)?.process = Some(process);
        Ok(())
    }

    fn arguments(&self, member: Member) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut push = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        if let Member::Broker(n) = member {
            let node = |n| {
                let ip = self.hosts.ip(self.host(Member::Broker(n)));
                format!("{ip}:{KAFKA_PORT}:{CONTROLLER_PORT}")
            };
            push("--node", (n + 1).to_string());
            push("--of", (0..BROKERS).map(node).collect::<Vec<_>>().join(","));
            push("--data", self.path(&member.to_string()));
            return arguments;
        }
        push("--data", self.path(&format!("{member}-data")));
        push("--metrics-listen", self.address(member, METRICS_PORT).to_string());
        if member == Member::Warehouse {
            push("--warehouse-listen", self.warehouse().to_string());
            push("--engine-library", self.engine.display().to_string());
            push("--warehouse-read-token-file", self.path("read-token"));
            push("--warehouse-write-token-file", self.path("write-token"));
        } else {
            push("--clock-file", self.path("clock"));
            push("--log", format!("kafka://{}", self.brokers()));
            push("--partitions", PARTITIONS.to_string());
        }
        if matches!(member, Member::Ingest(_) | Member::Processor(_) | Member::Admin) {
            push("--master-key-file", self.path("master-keys"));
        }
        if matches!(member, Member::Sink(_) | Member::Admin) {
            push("--clickhouse", format!("http://{}", self.warehouse()));
            push("--clickhouse-token-file", self.path("write-token"));
        }
        match member {
            Member::Ingest(_) => push("--listen", self.address(member, HTTP_PORT).to_string()),
            Member::Admin => {
                push("--admin-listen", self.address(member, ADMIN_PORT).to_string());
                push("--admin-token-file", self.path("admin-token"));
                push("--public-url", format!("http://localhost:{HTTP_PORT}"));
            }
            _ => {}
        }
        let role = match member {
            Member::Ingest(_) => "ingest",
            Member::Processor(_) => "processor",
            Member::Sink(_) => "sink",
            Member::Admin => "admin",
            Member::Warehouse | Member::Broker(_) => "warehouse",
        };
        arguments.insert(0, role.to_owned());
        arguments
    }

    /// Waits until a member says that it is ready; one that ends meanwhile is started again, as a
    /// supervisor would.
    pub async fn wait_ready(&mut self, member: Member) -> Result<()> {
        let began = Instant::now();
        while !self.is_ready(member).await {
            if self.take_ended(member)?.is_some() {
                self.start(member)?;
            }
            if began.elapsed() > READY_WITHIN {
                bail!("{member} is not ready; see {}", self.path(&format!("{member}.log")));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn is_ready(&self, member: Member) -> bool {
        if let Member::Broker(_) = member {
            let address = self.address(member, KAFKA_PORT);
            return tokio::net::TcpStream::connect(address).await.is_ok();
        }
        let address = self.address(member, METRICS_PORT);
        let answer = http::get(address, &address.to_string(), "/readyz").await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// A member that should be running and is not: what became of it. An error when it is one of ours
    /// and no supervisor should have to mend that ([`is_bug`]).
    pub fn take_ended(&mut self, member: Member) -> Result<Option<String>> {
        let place = self.place(member)?;
        let Some(process) = &mut place.process else { return Ok(None) };
        let Some(status) = process.ended()? else { return Ok(None) };
        let output = process.output();
        let last = output.lines().last().unwrap_or_default().to_owned();
        place.process = None;
        let how = format!("{member} ended with {status}: {last}");
        ensure!(!(member.is_gokart() && is_bug(status, &output)), "{how}");
        Ok(Some(how))
    }

    pub fn is_running(&mut self, member: Member) -> bool {
        self.place(member).is_ok_and(|place| place.process.is_some())
    }

    /// `kill -9`.
    pub fn kill(&mut self, member: Member) -> Result<()> {
        match self.place(member)?.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    pub fn signal(&mut self, member: Member, signal: Signal) -> Result<()> {
        if let Some(process) = &self.place(member)?.process {
            // It may have ended by itself.
            let _ = process.signal(signal);
        }
        Ok(())
    }

    /// SIGTERM to one of ours, which must end with exit code 0.
    pub async fn stop(&mut self, member: Member) -> Result<()> {
        let log = self.path(&format!("{member}.log"));
        let Some(mut process) = self.place(member)?.process.take() else { return Ok(()) };
        process.signal(Signal::TERM)?;
        let began = Instant::now();
        loop {
            match process.ended()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("{member} was stopped and ended with {status}; see {log}"),
                None if began.elapsed() > STOP_WITHIN => bail!("{member} does not stop; see {log}"),
                None => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// Deletes a processor's copy of the state, and who it was.
    pub fn lose_state(&self, member: Member) -> Result<()> {
        let state = self.directory.join(format!("{member}-data")).join("state");
        match std::fs::remove_dir_all(&state) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The folders of ClickHouse's tables.
    #[must_use]
    pub fn tables(&self) -> Vec<PathBuf> {
        let store = self.directory.join("warehouse-data/clickhouse/engine/store");
        let inside = |folder: PathBuf| {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        inside(store).into_iter().flat_map(inside).collect()
    }

    /// Runs a `gokart` command against the admin API, and gives what it printed as JSON.
    pub fn ask(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let admin = format!("http://{}", self.address(Member::Admin, ADMIN_PORT));
        let token = self.path("admin-token");
        let all = [arguments, &["--admin", &admin, "--admin-token-file", &token]].concat();
        let output = process::run(&[&all[..], &["--format", "json"]].concat())?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "gokart {arguments:?}: {said}");
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Asks ClickHouse; the answer as it comes.
    pub async fn sql(&self, query: &str) -> Result<String> {
        let address = self.warehouse();
        let request = hyper::Request::post("/?database=gokart")
            .header("x-clickhouse-user", "default")
            .header("x-clickhouse-key", WRITE_TOKEN)
            .body(query.to_owned())?;
        let answer = http::send(address, &address.to_string(), request).await?;
        ensure!(answer.status.is_success(), "{query}: {} {}", answer.status, answer.body);
        Ok(answer.body)
    }

    /// The token with which `loadtest verify` asks ClickHouse.
    #[must_use]
    pub fn token_file(&self) -> String {
        self.path("read-token")
    }

    /// Memory of a member in KiB: now, and at most so far.
    pub fn memory_kib(&mut self, member: Member) -> Option<(u64, u64)> {
        let pid = self.place(member).ok()?.process.as_ref()?.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        Some((field("VmRSS:")?, field("VmHWM:")?))
    }
}

/// The panic's exit status, and that of what cannot go on as it is set up or stored.
const BUG_CODES: [i32; 2] = [101, 78];

/// Whether a process of ours ended as none may, whatever happened around it: by a panic, by a
/// signal that nobody sent, or saying that it can never go on.
fn is_bug(status: ExitStatus, output: &str) -> bool {
    status.code().is_some_and(|code| BUG_CODES.contains(&code))
        || status.signal().is_some_and(|signal| signal != Signal::TERM.as_raw())
        || output.contains(" panicked at ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_crashes_is_not_just_started_again() {
        // As `wait` has it: a code is in the second byte, a signal in the first.
        let check = |raw: i32, output: &str, expected: bool| {
            assert_eq!(is_bug(ExitStatus::from_raw(raw), output), expected, "{raw:#x} {output}");
        };
        check(1 << 8, "error: the log is away", false);
        check(143 << 8, "", false);
        check(Signal::TERM.as_raw(), "", false);
        check(Signal::SEGV.as_raw(), "", true);
        check(Signal::ABORT.as_raw(), "", true);
        check(101 << 8, "", true);
        check(78 << 8, "", true);
        check(1 << 8, "thread 'main' panicked at x.rs:1:1:\nno\n", true);
    }
}
