//! Holds every crate of the workspace to the dependency table, and to the workspace's lints.

use super::table::{Others, Ours, Row, SERVICES, TABLE, TEST_ONLY};
use super::{Finding, SourceFile};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// The part of `cargo metadata` that is needed here.
#[derive(Debug, Deserialize)]
pub struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing.
    kind: Option<String>,
}

/// Asks cargo what depends on what; needs no network.
pub fn read(root: &Path) -> Result<Metadata> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cargo did not start")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata gave something else than JSON")
}

/// Every dependency that the table does not allow.
pub fn check(metadata: &Metadata) -> Vec<Finding> {
    let names: Vec<&str> = metadata.packages.iter().map(|it| it.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let Some(row) = TABLE.iter().find(|row| row.name == package.name) else {
            findings.push(Finding::of(
                &package.name,
                "is not in the dependency table; add a row to xtask/src/tidy/table.rs",
            ));
            continue;
        };
        let problems = package.dependencies.iter().filter_map(|it| judge(row, &names, it));
        findings.extend(problems.map(|problem| Finding::of(&package.name, problem)));
    }
    for row in TABLE.iter().filter(|row| !names.contains(&row.name)) {
        findings.push(Finding::of(
            "xtask/src/tidy/table.rs",
            format!("has a row for {}, which is not in the workspace; remove it", row.name),
        ));
    }
    findings
}

/// What is wrong with one dependency; nothing when it is allowed.
fn judge(row: &Row, workspace: &[&str], dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    let is_dev = dependency.kind.as_deref() == Some("dev");
    if SERVICES.contains(&row.name) && SERVICES.contains(&name) {
        return Some(format!(
            "depends on {name}; a service never depends on a service, put what is shared into \
             schemas and what tests both into the crate tests"
        ));
    }
    if is_dev {
        return None;
    }
    if workspace.contains(&name) {
        return match row.ours {
            Ours::Only(allowed) if !allowed.contains(&name) => Some(format!(
                "depends on {name}; of our crates it may use only [{}]",
                allowed.join(", ")
            )),
            Ours::Only(_) | Ours::Any => None,
        };
    }
    if TEST_ONLY.contains(&name) && !["tests", "bench"].contains(&row.name) {
        return Some(format!("depends on {name}; move it to [dev-dependencies]"));
    }
    match row.others {
        Others::Only(allowed) if !allowed.contains(&name) => Some(format!(
            "depends on {name}; it is to stay pure and may use only [{}]",
            allowed.join(", ")
        )),
        Others::Not(never) if never.contains(&name) => {
            Some(format!("depends on {name}; that belongs to another crate (docs/ARCHITECTURE.md)"))
        }
        Others::Only(_) | Others::Not(_) => None,
    }
}

/// Every crate that does not take the workspace's lints.
pub fn check_lints(files: &[SourceFile]) -> Vec<Finding> {
    let manifests = files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    manifests
        .filter(|file| !takes_workspace_lints(&file.text))
        .map(|file| Finding::of(&file.path, "add [lints] with workspace = true"))
        .collect()
}

fn takes_workspace_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim);
    lines.by_ref().any(|line| line == "[lints]")
        && lines
            .take_while(|line| !line.starts_with('['))
            .any(|line| line.replace(' ', "") == "workspace=true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(of: &str, on: &str, kind: Option<&str>) -> Option<String> {
        let row = TABLE.iter().find(|row| row.name == of).unwrap();
        let names: Vec<&str> = TABLE.iter().map(|row| row.name).collect();
        judge(row, &names, &Dependency { name: on.into(), kind: kind.map(Into::into) })
    }

    #[test]
    fn the_table_is_kept() {
        let cases = [
            ("rules", "schemas", None, true),
            ("rules", "tokio", None, false),
            ("rules", "proptest", Some("dev"), true),
            ("gokart", "tempfile", None, false),
            ("tests", "tempfile", None, true),
            ("rules", "getrandom", Some("build"), false),
            ("schemas", "rules", None, false),
            ("ingest", "processor", None, false),
            ("sink", "warehouse", Some("dev"), false),
            ("sink", "eventlog", None, true),
            ("sink", "rdkafka", None, false),
            ("eventlog", "rdkafka", None, true),
            ("processor", "hyper", None, false),
            ("processor", "hyper", Some("dev"), true),
            ("gokart", "sink", None, true),
            ("loadtest", "eventlog", None, false),
        ];
        for (of, on, kind, allowed) in cases {
            let problem = problem(of, on, kind);
            assert_eq!(problem.is_none(), allowed, "{of} on {on} ({kind:?}): {problem:?}");
        }
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_found() {
        let metadata = r#"{"packages":[{"name":"surprise","dependencies":[]}]}"#;
        let findings = check(&serde_json::from_str(metadata).unwrap());
        assert!(findings.iter().any(|it| it.place == "surprise"));
        assert!(findings.iter().any(|it| it.problem.contains("a row for rules")));
    }

    #[test]
    fn lints_are_taken_from_the_workspace() {
        let cases = [
            ("[package]\n\n[lints]\nworkspace = true\n", true),
            ("[lints]\nworkspace=true\n[dependencies]\n", true),
            ("[lints]\n[dependencies]\nworkspace = true\n", false),
            ("[package]\nname = \"a\"\n", false),
        ];
        for (manifest, expected) in cases {
            assert_eq!(takes_workspace_lints(manifest), expected, "{manifest}");
        }
    }
}
