//! `apply`: reads documents from files and has them put in force.

use super::{Failure, output};
use crate::cli::asking::{Apply, Format};
use crate::client::{Client, Target};
use admin::apply::Source;
use admin::apply::publish::{ApplyReport, ApplyRequest};
use serde_json::json;
use service::ServiceError;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// All files of one apply together; the admin API takes no more either.
const FILES_BYTES_MAX: u64 = admin::config::BODY_BYTES_MAX as u64 / 2;
/// For applying the configuration at the start of `up`.
const START_TIMEOUT: Duration = Duration::from_secs(60);

pub async fn run(ask: &Apply) -> Result<(), Failure> {
    let mut files = Vec::new();
    for path in &ask.files {
        files.extend(read(path).map_err(Failure::configuration)?);
    }
    let request = ApplyRequest { files, base_version: ask.base_version, dry_run: ask.dry_run };
    let client = Client::connect(&ask.connection)?;
    let report = send(&client, &request).await?;
    let text = match ask.output.format {
        Format::Table => in_words(&report),
        Format::Json => output::json(&json!(report)),
        Format::Csv => {
            let rows: Vec<Vec<String>> =
                report.changed.iter().map(|key| vec![key.clone()]).collect();
            output::csv(&["changed"], &rows)?
        }
    };
    output::print(&text)
}

async fn send(client: &Client, request: &ApplyRequest) -> Result<ApplyReport, Failure> {
    let answer = client.post(Target::new(&["apply"]), &json!(request)).await?;
    serde_json::from_value(answer)
        .map_err(|error| Failure::failed(format!("the answer cannot be read: {error}")))
}

fn in_words(report: &ApplyReport) -> String {
    let count = report.changed.len();
    let documents = if count == 1 { "document" } else { "documents" };
    let mut text = match (report.dry_run, count) {
        (_, 0) => format!("Nothing differs from version {}, which is in force.\n", report.version),
        (true, _) => format!("Would change {count} {documents}; nothing was changed:\n"),
        (false, _) => {
            format!("Version {} is in force, with {count} changed {documents}:\n", report.version)
        }
    };
    for key in &report.changed {
        text.push_str(&format!("  {key}\n"));
    }
    text
}

/// Reads a file of documents, or a directory of such files, for `up`.
pub fn read_documents(path: &Path) -> Result<Vec<Source>, ServiceError> {
    read(path).map_err(ServiceError::Configuration)
}

fn read(path: &Path) -> Result<Vec<Source>, String> {
    let cannot = |path: &Path, error: &std::io::Error| {
        format!("the configuration {} cannot be read: {error}", path.display())
    };
    let paths = if path.is_dir() {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .map_err(|error| cannot(path, &error))?;
        paths.retain(|path| is_document(path));
        paths.sort();
        if paths.is_empty() {
            return Err(format!("there is no .yaml, .yml or .json file in {}", path.display()));
        }
        paths
    } else {
        vec![path.to_owned()]
    };
    let mut bytes = 0;
    let mut sources = Vec::with_capacity(paths.len());
    for path in paths {
        // Asked before reading: somebody may name a disk image.
        bytes += std::fs::metadata(&path).map_err(|error| cannot(&path, &error))?.len();
        if bytes > FILES_BYTES_MAX {
            return Err(format!(
                "the configuration is larger than {FILES_BYTES_MAX} bytes at {}; apply it in parts",
                path.display()
            ));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| cannot(&path, &error))?;
        sources.push(Source { name: path.display().to_string(), text });
    }
    Ok(sources)
}

fn is_document(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let extension = path.extension().and_then(|extension| extension.to_str());
    !hidden && matches!(extension, Some("yaml" | "yml" | "json")) && path.is_file()
}

/// Puts documents in force through the admin API of this very process, with the token that it
/// was given.
pub async fn apply_at_start(
    admin: SocketAddr,
    token: &str,
    files: Vec<Source>,
) -> Result<(), ServiceError> {
    let request = ApplyRequest { files, base_version: None, dry_run: false };
    let sent = async {
        let client = Client::new(&format!("http://{admin}"), token, START_TIMEOUT)?;
        send(&client, &request).await
    };
    match sent.await {
        Ok(report) => {
            tracing::info!(
                version = report.version,
                changed = report.changed.len(),
                "the configuration is in force"
            );
            Ok(())
        }
        Err(failure) if failure.code == super::BAD_CONFIGURATION => {
            Err(ServiceError::Configuration(format!("the configuration is wrong:\n{failure}")))
        }
        Err(failure) => Err(ServiceError::Failed(format!("the configuration: {failure}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_read_in_order_and_only_documents() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap_err().contains("there is no .yaml"));
        for name in ["b.yaml", "a.json", ".c.yaml", "d.txt", "e.yml"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let names: Vec<String> =
            read(dir.path()).unwrap().into_iter().map(|source| source.text).collect();
        assert_eq!(names, ["a.json", "b.yaml", "e.yml"]);
        assert_eq!(read(&dir.path().join("d.txt")).unwrap().len(), 1, "a file by its name");
        assert!(read(&dir.path().join("gone")).unwrap_err().contains("gone"));
    }

    #[test]
    fn reports_in_words() {
        let report = |changed: &[&str], dry_run| ApplyReport {
            version: 3,
            changed: changed.iter().map(|key| (*key).to_owned()).collect(),
            dry_run,
        };
        let check = |report: &ApplyReport, expected: &str| assert_eq!(in_words(report), expected);
        check(&report(&[], false), "Nothing differs from version 3, which is in force.\n");
        check(
            &report(&["offer/a"], false),
            "Version 3 is in force, with 1 changed document:\n  offer/a\n",
        );
        check(
            &report(&["offer/a", "share/b"], true),
            "Would change 2 documents; nothing was changed:\n  offer/a\n  share/b\n",
        );
    }
}
