//! Where the numbers were taken.

use serde::{Deserialize, Serialize};
use std::process::Command;

/// The machine and the toolchain of one measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub rustc: String,
    /// The versions of what is measured with.
    #[serde(default)]
    pub kafka: String,
    #[serde(default)]
    pub clickhouse: String,
}

/// Where these versions are pinned.
const KAFKA: &str = include_str!("../../deploy/kafka/pom.xml");
const CLICKHOUSE: &str = include_str!("../../deploy/chdb/fetch.sh");

impl Machine {
    /// This machine; what cannot be found out is "unknown".
    pub fn this() -> Self {
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_gib: memory_gib().unwrap_or(0),
            kernel: printed("uname", &["-sr"]).unwrap_or_else(unknown),
            rustc: printed("rustc", &["--version"]).unwrap_or_else(unknown),
            kafka: between(KAFKA, "<kafka.version>", "<").unwrap_or_else(unknown),
            clickhouse: between(CLICKHOUSE, "\nVERSION=", "\n").unwrap_or_else(unknown),
        }
    }
}

/// The commit that is measured, with a mark if the tree differs from it.
pub fn commit() -> String {
    printed("git", &["describe", "--always", "--dirty"]).unwrap_or_else(unknown)
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0.to_owned())
}

fn memory_gib() -> Option<u64> {
    let total = field("/proc/meminfo", "MemTotal")?;
    let kib: u64 = total.split_whitespace().next()?.parse().ok()?;
    Some(kib.div_ceil(1024 * 1024))
}

/// The first value of `name : value` in a file.
fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let (_, value) = text.lines().find(|line| line.starts_with(name))?.split_once(':')?;
    Some(value.trim().to_owned())
}

fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_where_they_are_pinned() {
        let machine = Machine::this();
        for version in [machine.kafka, machine.clickhouse] {
            assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{version}");
        }
    }
}
