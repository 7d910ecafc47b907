//! Everything that can be wrong when gokart starts gives one clear line and the right exit code:
//! never a panic, never half a start.

use anyhow::{Result, ensure};
use std::net::TcpListener;
use std::path::Path;
use std::process::Output;
use tests::process::{free_address, run};
use tests::stack::{engine_library, examples};

const USAGE: i32 = 2;
const FAILED: i32 = 1;
const CONFIGURATION: i32 = 78;

/// The exit code is `code`, and one line of standard error holds all of `words`.
fn check(output: &Output, code: i32, words: &[&str]) -> Result<()> {
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(code), "expected {code}: {} {errors}", output.status);
    ensure!(!errors.contains("panicked"), "{errors}");
    ensure!(
        errors.lines().any(|line| words.iter().all(|word| line.contains(word))),
        "no line has all of {words:?}:\n{errors}"
    );
    Ok(())
}

/// `gokart up` on free ports and a directory of its own, with further arguments.
fn up(data: &Path, arguments: &[&str]) -> Result<Output> {
    let mut all = vec!["up".to_owned(), "--data".to_owned(), data.display().to_string()];
    for flag in ["--listen", "--admin-listen", "--warehouse-listen", "--metrics-listen"] {
        if !arguments.contains(&flag) {
            all.extend([flag.to_owned(), free_address()?.to_string()]);
        }
    }
    if let Some(library) = engine_library()
        && !arguments.contains(&"--engine-library")
    {
        all.extend(["--engine-library".to_owned(), library.display().to_string()]);
    }
    all.extend(arguments.iter().map(|&argument| argument.to_owned()));
    run(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn wrong_usage() -> Result<()> {
    check(&run(&["fly"])?, USAGE, &["fly"])?;
    check(&run(&["up", "--partitions", "0"])?, USAGE, &["--partitions"])?;
    check(&run(&["explain"])?, USAGE, &["required"])
}

#[test]
fn a_taken_port() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for (flag, taken) in [
        ("--listen", TcpListener::bind("127.0.0.1:0")?),
        ("--admin-listen", TcpListener::bind("127.0.0.1:0")?),
        ("--warehouse-listen", TcpListener::bind("127.0.0.1:0")?),
        ("--metrics-listen", TcpListener::bind("127.0.0.1:0")?),
    ] {
        let address = taken.local_addr()?.to_string();
        check(&up(dir.path(), &[flag, &address])?, FAILED, &[&address, flag])?;
    }
    Ok(())
}

#[test]
fn a_port_that_nobody_could_find() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for flag in ["--listen", "--admin-listen", "--warehouse-listen"] {
        check(&up(dir.path(), &[flag, "127.0.0.1:0"])?, CONFIGURATION, &[flag, "port"])?;
    }
    Ok(())
}

#[test]
fn an_unusable_data_directory() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way")?;
    check(&up(&file, &[])?, FAILED, &["file", "--data"])
}

#[test]
fn a_missing_engine() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let output = up(dir.path(), &["--engine-library", "/nowhere/libchdb.so"])?;
    check(&output, FAILED, &["/nowhere/libchdb.so", "make engine"])
}

#[test]
fn another_partition_count() -> Result<()> {
    let Some(_) = engine_library() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    // The configuration is refused after the log was made, so this ends by itself.
    let broken = dir.path().join("broken.yaml");
    std::fs::write(&broken, "kind: Nothing\n")?;
    let data = dir.path().join("data");
    let path = broken.display().to_string();
    check(&up(&data, &["--partitions", "4", "--config", &path])?, CONFIGURATION, &["broken.yaml"])?;
    check(&up(&data, &["--partitions", "8", "--config", &path])?, CONFIGURATION, &["4", "8"])
}

#[test]
fn a_wrong_configuration_names_file_line_and_field() -> Result<()> {
    let Some(_) = engine_library() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("config");
    std::fs::create_dir(&config)?;
    let mut changed = 0;
    for entry in std::fs::read_dir(examples())? {
        let entry = entry?;
        let text = std::fs::read_to_string(entry.path())?;
        let broken = text.replace("sequence: 2", "sequence: 0");
        changed += usize::from(broken != text);
        std::fs::write(config.join(entry.file_name()), broken)?;
    }
    ensure!(changed > 0, "the examples have no event at sequence 2");
    let output = up(&dir.path().join("data"), &["--config", &config.display().to_string()])?;
    check(&output, CONFIGURATION, &[".yaml:", "sequence"])
}

#[test]
fn roles_need_kafka_and_shared_keys() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().display().to_string();
    check(&run(&["ingest", "--data", &data])?, CONFIGURATION, &["gokart up", "--log"])?;
    let log = ["ingest", "--data", &data, "--log", "kafka://127.0.0.1:1"];
    check(&run(&log)?, CONFIGURATION, &["--master-key-file"])
}

#[test]
fn an_unreachable_clickhouse() -> Result<()> {
    let nobody = free_address()?.to_string();
    let output = run(&["migrate", "--clickhouse", &format!("http://{nobody}")])?;
    check(&output, FAILED, &["ClickHouse", &nobody])
}

#[test]
fn an_unreachable_admin() -> Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("admin.token"), "not-needed")?;
    let data = dir.path().display().to_string();
    let nobody = format!("http://{}", free_address()?);
    let output = run(&["explain", "x", "--admin", &nobody, "--data", &data])?;
    check(&output, FAILED, &[&nobody])
}
