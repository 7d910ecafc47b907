//! What a process under test used, as Linux counts it.

use anyhow::{Context as _, Result};

/// CPU time of a process and all its threads so far, in seconds.
///
/// # Errors
///
/// When there is no such process.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    // The name in parentheses may hold anything: fields are counted behind it.
    let fields = stat.rsplit_once(')').context("unknown form of /proc/PID/stat")?.1;
    let ticks: Vec<u64> = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()
        .context("unknown form of /proc/PID/stat")?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(ticks.iter().sum::<u64>() as f64 / per_second as f64)
}

/// Greatest resident memory of a process so far, in bytes.
///
/// # Errors
///
/// When there is no such process.
pub fn peak_resident_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmHWM:")
}

/// Resident memory of a process now, in bytes.
///
/// # Errors
///
/// When there is no such process.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmRSS:")
}

fn status_bytes(pid: u32, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.with_context(|| format!("no {name}"))?.parse::<u64>()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_this_very_process() {
        let before = cpu_seconds(std::process::id()).unwrap();
        let mut sum = 0_u64;
        while cpu_seconds(std::process::id()).unwrap() <= before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(peak_resident_bytes(std::process::id()).unwrap() > 0);
    }
}
