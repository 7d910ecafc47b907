//! Starting with settings of the user's own, and being told to stop while still starting.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::path::Path;
use std::time::Duration;
use tests::process::{Process, free_address, run};
use tests::stack::{engine_library, examples};

const OWN_TOKEN: &str = "a-token-of-the-users-own";

fn arguments(directory: &Path, further: &[&str]) -> Result<Option<Vec<String>>> {
    let Some(library) = engine_library() else { return Ok(None) };
    let (library, data) = (library.display().to_string(), directory.join("data"));
    let mut all: Vec<String> =
        ["up", "--config", &examples(), "--engine-library", &library].map(str::to_owned).to_vec();
    all.extend(["--data".to_owned(), data.display().to_string()]);
    for flag in ["--listen", "--admin-listen", "--warehouse-listen", "--metrics-listen"] {
        all.extend([flag.to_owned(), free_address()?.to_string()]);
    }
    all.extend(further.iter().map(|&argument| argument.to_owned()));
    Ok(Some(all))
}

/// Waits until the process has printed a text.
fn wait_for(process: &mut Process, text: &str) -> Result<()> {
    while !process.output().contains(text) {
        process.check_alive()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn a_token_and_a_domain_of_the_users_own() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let token = directory.path().join("token");
    std::fs::write(&token, OWN_TOKEN)?;
    let token = token.display().to_string();
    let own = ["--admin-token-file", &token, "--base-domain", "example.test"];
    let Some(all) = arguments(directory.path(), &own)? else { return Ok(()) };
    let mut up = Process::start("up", directory.path(), &all)?;
    wait_for(&mut up, "gokart is ready")?;
    let at = all.iter().position(|it| it == "--admin-listen").context("no address")? + 1;
    let admin = format!("http://{}", all[at]);
    let ask = ["--offer", "pet-the-dogs-ios", "--publisher", "acme-rewards", "--admin", &admin];
    let link = run(&[&["tracking-link", "--admin-token-file", &token], &ask[..]].concat())?;
    let link = String::from_utf8_lossy(&link.stdout).into_owned();
    // The ingesters serve this domain and no other.
    ensure!(link.contains("//api.brownboots.example.test:"), "{link}");
    let status = up.stop()?;
    ensure!(status.success(), "{status}: {}", up.output());
    Ok(())
}

#[test]
fn told_to_stop_while_starting_it_stops_and_nothing_has_failed() -> Result<()> {
    // The first is said while the engine loads, the second while the roles get ready.
    for moment in ["metrics and health listen", "the warehouse listens"] {
        let directory = tempfile::tempdir()?;
        let Some(all) = arguments(directory.path(), &[])? else { return Ok(()) };
        let mut up = Process::start("up", directory.path(), &all)?;
        wait_for(&mut up, moment)?;
        up.signal(Signal::INT)?;
        let status = up.wait_for_end()?;
        ensure!(status.success(), "after {moment:?}: {status}: {}", up.output());
    }
    Ok(())
}
