//! The embedded ClickHouse as a child process of `gokart up`: started, watched, started again when
//! it dies, and told to end by closing its standard input, which also happens when we die.

use crate::cli::roles::WarehouseSettings;
use service::{ServiceError, Shutdown};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};

/// The engine loads in well under a second; a large installation reads its tables first.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
const READY_POLL: Duration = Duration::from_millis(50);
/// Between two starts, doubling.
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(500);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(30);
/// A child that lived this long had nothing wrong with how it was started.
const RESTART_FORGIVE: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// For the child of a process that was killed to end.
const PREDECESSOR_TIMEOUT: Duration = STOP_TIMEOUT;

/// How the child is started.
pub struct Engine {
    arguments: Vec<String>,
    /// The file that a running engine keeps locked.
    lock: PathBuf,
    listen: SocketAddr,
}

impl Engine {
    pub fn new(data: &Path, settings: &WarehouseSettings, logging: &[String]) -> Self {
        let mut arguments: Vec<String> = logging.to_vec();
        let mut push = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        let path = |path: &PathBuf| path.display().to_string();
        push("--data", data.display().to_string());
        push("--warehouse-listen", settings.warehouse_listen.to_string());
        push("--warehouse-memory", settings.warehouse_memory.to_string());
        // Any free port: the parent's own metrics are the ones that are looked at.
        push("--metrics-listen", "127.0.0.1:0".to_owned());
        for (name, file) in [
            ("--engine-library", &settings.engine_library),
            ("--warehouse-read-token-file", &settings.warehouse_read_token_file),
            ("--warehouse-write-token-file", &settings.warehouse_write_token_file),
        ] {
            if let Some(file) = file {
                push(name, path(file));
            }
        }
        for host in &settings.warehouse_hosts {
            push("--warehouse-host", host.clone());
        }
        arguments.insert(0, "warehouse".to_owned());
        arguments.push("--stop-with-parent".to_owned());
        Self { arguments, lock: lock_file(data), listen: settings.warehouse_listen }
    }

    /// Starts the child and waits until it answers.
    pub async fn start(self) -> Result<RunningEngine, ServiceError> {
        self.wait_for_predecessor().await;
        let mut child = self.spawn()?;
        let began = Instant::now();
        while !is_answering(self.listen).await {
            if let Some(status) = child.try_wait().map_err(|e| cannot("watched", &e))? {
                return Err(ended_early(status));
            }
            if began.elapsed() > READY_TIMEOUT {
                return Err(ServiceError::Failed(format!(
                    "the embedded ClickHouse does not answer on {} within {} s",
                    self.listen,
                    READY_TIMEOUT.as_secs()
                )));
            }
            tokio::time::sleep(READY_POLL).await;
        }
        let stop = Shutdown::new();
        let watching = tokio::spawn(self.watch(child, stop.clone()));
        Ok(RunningEngine { stop, watching })
    }

    /// The child of a `gokart up` that was killed a moment ago notices it, drains and ends; until
    /// then it has the engine's files open. One that does not end is told of by the start itself.
    async fn wait_for_predecessor(&self) {
        let began = Instant::now();
        while is_locked(&self.lock) && began.elapsed() < PREDECESSOR_TIMEOUT {
            tokio::time::sleep(READY_POLL).await;
        }
    }

    fn spawn(&self) -> Result<Child, ServiceError> {
        let binary = std::env::current_exe().map_err(|e| cannot("found", &e))?;
        Command::new(binary)
            .args(&self.arguments)
            // It needs no key, and what it does not have it cannot leak.
            .env_remove("GOKART_MASTER_KEYS")
            .env_remove("GOKART_MASTER_KEY_FILE")
            .env_remove("GOKART_ADMIN_TOKEN")
            .stdin(Stdio::piped())
            // Its own group: Ctrl-C in the terminal is for us; we tell it when all is flushed.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| cannot("started", &e))
    }

    /// Keeps a child alive until told to stop.
    async fn watch(self, mut child: Child, stop: Shutdown) {
        let mut pause = RESTART_PAUSE_MIN;
        loop {
            let began = Instant::now();
            // Held here, because waiting for a child closes a standard input that is its own.
            let pipe = child.stdin.take();
            tokio::select! {
                () = stop.wait() => return end(child, pipe).await,
                status = child.wait() => {
                    let status = status.map_or_else(|e| e.to_string(), |s| s.to_string());
                    tracing::error!(%status, "the embedded ClickHouse ended; starting it again, rows wait in the log");
                    metrics::counter!("gokart_warehouse_restarts_total").increment(1);
                }
            }
            if began.elapsed() > RESTART_FORGIVE {
                pause = RESTART_PAUSE_MIN;
            }
            child = loop {
                tokio::select! {
                    () = stop.wait() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(RESTART_PAUSE_MAX);
                match self.spawn() {
                    Ok(child) => break child,
                    Err(error) => tracing::error!(%error, "trying again"),
                }
            };
        }
    }
}

/// The child and its watcher.
pub struct RunningEngine {
    stop: Shutdown,
    watching: tokio::task::JoinHandle<()>,
}

impl RunningEngine {
    /// Lets the child finish and end.
    pub async fn stop(self) {
        self.stop.trigger();
        let _ = self.watching.await;
    }
}

/// Closes the child's standard input, at which it drains and ends; kills it if it does not.
async fn end(mut child: Child, pipe: Option<ChildStdin>) {
    drop(pipe);
    if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
        tracing::warn!("the embedded ClickHouse does not end; killing it");
        let _ = child.kill().await;
    }
}

fn lock_file(data: &Path) -> PathBuf {
    data.join("clickhouse/engine/status")
}

/// Whether an engine has the files of a data directory open.
pub fn is_running(data: &Path) -> bool {
    is_locked(&lock_file(data))
}

fn is_locked(path: &Path) -> bool {
    use rustix::fs::{FlockOperation, flock};
    // Without a file there was no engine; closing it gives the lock back.
    std::fs::File::open(path)
        .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
}

/// Whether an engine answers there.
pub async fn is_answering(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /ping HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(1024).read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    matches!(tokio::time::timeout(Duration::from_secs(1), ask).await, Ok(Ok(true)))
}

/// It has said on our standard error what is wrong; its exit code tells whose fault it is.
fn ended_early(status: ExitStatus) -> ServiceError {
    let message =
        format!("the embedded ClickHouse did not start ({status}); its line above says why");
    match status.code() {
        Some(78) => ServiceError::Configuration(message),
        _ => ServiceError::Failed(message),
    }
}

fn cannot(verb: &str, error: &std::io::Error) -> ServiceError {
    ServiceError::Failed(format!("the embedded ClickHouse cannot be {verb}: {error}"))
}
