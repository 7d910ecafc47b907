//! The rules of this repository that prose cannot keep. Each check gives findings, a place with
//! what is wrong and what to do; none at all is the aim.

use anyhow::{Context, Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

mod adr;
mod dependencies;
mod places;
mod sources;
mod table;

/// One thing to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A path below the repository's root, or a crate.
    pub place: String,
    /// Counted from one.
    pub line: Option<usize>,
    pub problem: String,
}

impl Finding {
    fn of(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), line: None, problem: problem.into() }
    }

    fn at(place: &str, line: usize, problem: impl Into<String>) -> Self {
        Self { place: place.to_owned(), line: Some(line), problem: problem.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.place, self.problem),
            None => write!(f, "{}: {}", self.place, self.problem),
        }
    }
}

/// What a run looked at and found.
#[derive(Debug)]
pub struct Report {
    pub files: usize,
    pub findings: Vec<Finding>,
}

/// A tracked text file.
pub struct SourceFile {
    /// Below the repository's root, with `/`.
    pub path: String,
    pub text: String,
}

/// Runs every check over the tracked files below `root`.
pub fn check_all(root: &Path) -> Result<Report> {
    let files = tracked_files(root)?;
    let mut findings = dependencies::check(&dependencies::read(root)?);
    findings.extend(dependencies::check_lints(&files));
    findings.extend(sources::check(&files));
    findings.extend(places::check(&files));
    findings.extend(adr::check(&files));
    Ok(Report { files: files.len(), findings })
}

/// The tracked files that are text; one that was deleted but is still tracked is left out.
fn tracked_files(root: &Path) -> Result<Vec<SourceFile>> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()
        .context("git did not start; install git, the tracked files are read from it")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let paths = names.split('\0').filter(|name| !name.is_empty());
    let files = paths.filter_map(|path| {
        let bytes = std::fs::read(root.join(PathBuf::from(path))).ok()?;
        Some(SourceFile { path: path.to_owned(), text: String::from_utf8(bytes).ok()? })
    });
    Ok(files.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let report = check_all(&crate::repository_root()).unwrap();
        assert!(report.files > 0, "no tracked files were found");
        let lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "to mend:\n{}", lines.join("\n"));
    }

    #[test]
    fn a_finding_reads_as_a_place_and_a_problem() {
        assert_eq!(Finding::of("a", "b").to_string(), "a: b");
        assert_eq!(Finding::at("a.rs", 3, "b").to_string(), "a.rs:3: b");
    }
}
