//! `export`: everything, into a file, as it comes. A file that is there is whole: it gets its name
//! when the last byte is written.

use super::Failure;
use crate::cli::reports::{Export, FileFormat};
use crate::client::{Client, Target};
use std::fs::File;
use std::io::{BufWriter, IsTerminal};
use std::path::{Path, PathBuf};

pub async fn run(ask: &Export) -> Result<(), Failure> {
    let format = format(ask)?;
    let target = Target::new(&["export", ask.what.name()]).with("format", Some(format.name()));
    let target = ask
        .whose
        .add(target)
        .with("event", ask.event.as_deref())
        .with("status", ask.status.as_deref())
        .with("outcome", ask.outcome.as_deref())
        .with("reason", ask.reason.as_deref())
        .with("click", ask.click.as_deref())
        .flag("include_test", ask.include_test);
    let target = ask.period.add(ask.traffic.add(target));
    let client = Client::connect(&ask.connection)?;
    let Some(path) = &ask.out else {
        return client.stream(target, &mut std::io::stdout().lock()).await.map(drop);
    };
    let part = part_of(path);
    let wrong = |error: std::io::Error| Failure::failed(format!("{}: {error}", part.display()));
    let mut file = BufWriter::new(File::create(&part).map_err(wrong)?);
    let written = match client.stream(target, &mut file).await {
        Ok(written) => written,
        Err(failure) => {
            let _ = std::fs::remove_file(&part);
            return Err(failure);
        }
    };
    drop(file);
    std::fs::rename(&part, path).map_err(wrong)?;
    eprintln!("{written} bytes in {}", path.display());
    Ok(())
}

/// What was asked for, or what the file's name says.
fn format(ask: &Export) -> Result<FileFormat, Failure> {
    let extension = ask.out.as_deref().and_then(Path::extension).and_then(|it| it.to_str());
    let named = match extension {
        Some("jsonl" | "ndjson") => Some(FileFormat::Jsonl),
        Some("parquet") => Some(FileFormat::Parquet),
        _ => None,
    };
    let format = ask.file_format.or(named).unwrap_or(FileFormat::Csv);
    if format == FileFormat::Parquet && ask.out.is_none() && std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "Parquet is not for a terminal; name a file with --out".to_owned(),
        ));
    }
    Ok(format)
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}
