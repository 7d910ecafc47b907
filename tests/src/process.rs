//! The real binary as a child process that cannot outlive its test.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Longest time for a process to end after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The `gokart` binary that was built beside this one.
pub fn gokart_binary() -> Result<PathBuf> {
    built("gokart")
}

/// A binary of this workspace that was built beside this one: `target/<profile>/<name>`, whether
/// this is a test (`target/<profile>/deps/…`) or a program (`target/<profile>/…`).
pub fn built(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let candidates = || this.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    candidates().find(|it| it.is_file()).with_context(|| {
        let last = candidates().last().unwrap_or_default();
        format!("{} is not built; run the tests with `cargo test --workspace`", last.display())
    })
}

/// Below 32768 the system hands out no ports by itself: one of those that it does can go to any
/// connection that is made before whoever asked here listens.
const PORTS: std::ops::Range<u16> = 10_240..32_768;
const PORTS_TRIED_MAX: u16 = 1_000;

/// A loopback address that was free a moment ago, and is given to nobody else in this process.
///
/// # Errors
///
/// When a thousand ports in a row are taken.
pub fn free_address() -> Result<SocketAddr> {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Tests run in several processes at once, so each begins elsewhere.
    let begin = || AtomicU16::new(RandomState::new().hash_one(std::process::id()) as u16);
    let next = NEXT.get_or_init(begin);
    for _ in 0..PORTS_TRIED_MAX {
        let turn = next.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + turn % (PORTS.end - PORTS.start);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if std::net::TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    anyhow::bail!("no port below {} is free", PORTS.end)
}

/// Runs `gokart` to its end.
pub fn run(arguments: &[&str]) -> Result<Output> {
    command()?.args(arguments).output().context("gokart cannot be run")
}

fn command() -> Result<Command> {
    let mut command = Command::new(gokart_binary()?);
    without_settings(&mut command);
    Ok(command)
}

/// A developer's own settings must not reach the tests.
pub fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GOKART_") {
            command.env_remove(name);
        }
    }
}

/// A `gokart` that runs until it is told to stop.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `gokart <arguments>` in `directory`; what it prints goes to `<name>.log` there.
    pub fn start(name: &str, directory: &Path, arguments: &[String]) -> Result<Self> {
        let mut command = command()?;
        Self::spawn(name, directory, command.args(arguments))
    }

    /// Starts any command in the same way.
    pub fn spawn(name: &str, directory: &Path, command: &mut Command) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let child = command
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// What it has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// An error, with what it said, if it has ended by itself.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                bail!("{} ended with {status}; it said:\n{}", self.name, self.output())
            }
        }
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// SIGTERM, and how it ended.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait_for_end()
    }

    /// Waits until it ends by itself.
    pub fn wait_for_end(&mut self) -> Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > STOP_TIMEOUT {
                bail!("{} does not stop; it said:\n{}", self.name, self.output());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- {} said:\n{}", self.name, self.output());
        }
    }
}
