//! Hosts: network namespaces on a bridge inside a namespace of the harness's own, so that a host can
//! be cut off as a cable is pulled. Everything ends with the harness, and nothing outside is touched.
//!
//! Where namespaces are not allowed every host is a loopback address, and nothing can be cut.

use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Says that this process is in a network namespace of its own.
const INSIDE: &str = "GOKART_CRASH_NAMESPACE";
const BRIDGE: &str = "hub";
/// Longest time for a namespace to be there.
const PATIENCE: Duration = Duration::from_secs(10);

/// One machine.
struct Host {
    /// Keeps its namespace open.
    holder: Option<Child>,
    ip: Ipv4Addr,
}

/// All machines, by number.
pub struct Hosts {
    are_apart: bool,
    /// Second byte of the loopback addresses, so that runs side by side do not meet.
    net: u8,
    hosts: Vec<Host>,
}

/// Goes into a network namespace of its own by running this program again inside; does not return
/// where that works. Namespaces of users are tried where those of the system are not allowed.
pub fn enter_namespace() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let Ok(this) = std::env::current_exe() else { return };
    for with in [&["--net"][..], &["--net", "--map-root-user"]] {
        let mut probe = Command::new("unshare");
        if quiet(probe.args(with).args(["ip", "link", "set", "lo", "up"])).is_ok() {
            let mut again = Command::new("unshare");
            again.args(with).arg(&this).args(std::env::args_os().skip(1)).env(INSIDE, "yes");
            let error = again.exec();
            eprintln!("crash: cannot run again in a network namespace: {error}");
        }
    }
}

impl Hosts {
    /// The hub: the harness itself, host 0.
    pub fn new() -> Result<Self> {
        let are_apart = std::env::var_os(INSIDE).is_some();
        let net = 20 + (std::process::id() % 200) as u8;
        let mut hosts = Self { are_apart, net, hosts: Vec::new() };
        if are_apart {
            ip(&["link", "set", "lo", "up"])?;
            ip(&["link", "add", BRIDGE, "type", "bridge"])?;
            ip(&["address", "add", "10.77.0.1/24", "dev", BRIDGE])?;
            ip(&["link", "set", BRIDGE, "up"])?;
        } else {
            eprintln!(
                "SKIPPED: network cuts, because network namespaces are not allowed here (run as \
                 root); hosts that would be cut off are suspended instead"
            );
        }
        hosts.hosts.push(Host { holder: None, ip: Ipv4Addr::LOCALHOST });
        Ok(hosts)
    }

    /// Whether hosts can be cut off.
    #[must_use]
    pub fn are_apart(&self) -> bool {
        self.are_apart
    }

    /// A further host; its number.
    pub fn add(&mut self) -> Result<usize> {
        let number = self.hosts.len();
        let last = u8::try_from(number + 1).context("too many hosts")?;
        let host = if self.are_apart {
            let ip = Ipv4Addr::new(10, 77, 0, last);
            Host { holder: Some(namespace(number, ip)?), ip }
        } else {
            Host { holder: None, ip: Ipv4Addr::new(127, self.net, 0, last) }
        };
        self.hosts.push(host);
        Ok(number)
    }

    #[must_use]
    pub fn ip(&self, host: usize) -> IpAddr {
        self.hosts[host].ip.into()
    }

    /// A command that runs on a host and ends with the harness.
    #[must_use]
    pub fn command(&self, host: usize, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(holder) = &self.hosts[host].holder {
            command.arg("nsenter").arg(format!("--net=/proc/{}/ns/net", holder.id()));
        }
        command.arg(program);
        command
    }

    /// Pulls a host's cable, or plugs it in again.
    pub fn cut(&self, host: usize, cut: bool) -> Result<()> {
        ip(&["link", "set", &link(host), if cut { "down" } else { "up" }])
    }

    /// Lets nothing pass between two hosts any more, or again.
    pub fn cut_between(&self, one: usize, other: usize, cut: bool) -> Result<()> {
        for (here, there) in [(one, other), (other, one)] {
            let route = format!("{}/32", self.ip(there));
            let change = if cut { "add" } else { "delete" };
            let mut command = self.command(here, "ip");
            quiet(command.args(["route", change, "blackhole", &route]))?;
        }
        Ok(())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for holder in self.hosts.iter_mut().filter_map(|host| host.holder.as_mut()) {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

fn link(host: usize) -> String {
    format!("host{host}")
}

/// A namespace with one cable to the bridge.
fn namespace(number: usize, address: Ipv4Addr) -> Result<Child> {
    let own = std::fs::read_link("/proc/self/ns/net")?;
    let holder = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"])
        .stdin(Stdio::null())
        .spawn()
        .context("setpriv, which is part of util-linux, cannot be run")?;
    let pid = holder.id().to_string();
    let path = format!("/proc/{pid}/ns/net");
    let began = Instant::now();
    while std::fs::read_link(&path).is_ok_and(|it| it == own) {
        ensure!(began.elapsed() < PATIENCE, "no network namespace was made");
        std::thread::sleep(Duration::from_millis(5));
    }
    let link = link(number);
    ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &pid])?;
    ip(&["link", "set", &link, "master", BRIDGE, "up"])?;
    let address = format!("{address}/24");
    for words in [
        &["link", "set", "lo", "up"][..],
        &["address", "add", &address, "dev", "eth0"],
        &["link", "set", "eth0", "up"],
    ] {
        let mut command = Command::new("nsenter");
        quiet(command.arg(format!("--net={path}")).arg("ip").args(words))?;
    }
    Ok(holder)
}

fn ip(words: &[&str]) -> Result<()> {
    quiet(Command::new("ip").args(words))
}

fn quiet(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().context("a command cannot be run")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(())
}
