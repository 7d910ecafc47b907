//! The procedures of the operation guide on one machine, as they stand there: new credentials, a new
//! master key, new tokens, a backup and its restore.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;
use tests::stack::Stack;

const OFFER: &str = "pet-the-dogs-ios";
const PUBLISHER: &str = "acme-rewards";
const ADVERTISER: &str = "brain-games";
const HOUR_MS: i64 = 3_600_000;
const NEW_KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA";

async fn status(stack: &Stack, path: &str, click: &str, event: &str) -> Result<u16> {
    let parameters = format!("cnv_event_id={event}&gk_click_id={click}");
    Ok(stack.postback(path, &parameters).await?.status.as_u16())
}

/// Waits until an ingester, which follows the configuration, answers so.
async fn answers(stack: &Stack, path: &str, click: &str, expected: u16) -> Result<()> {
    stack
        .eventually(&format!("a {expected}"), || async {
            let got = status(stack, path, click, "Install").await?;
            Ok((got == expected).then_some(()))
        })
        .await
}

/// Applies the advertiser with such credential versions.
fn credentials(stack: &Stack, versions: &str) -> Result<()> {
    let file = stack.data().join("advertiser.yaml");
    let text = format!(
        "kind: Advertiser\nid: {ADVERTISER}\ntenant: brownboots\nname: Brain Games\n\
         credential_versions: {versions}\n"
    );
    std::fs::write(&file, text)?;
    stack.gokart(&["apply", &file.display().to_string()]).map(drop)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(done.success(), "cp: {done}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_keys_and_tokens_change_and_a_backup_comes_back() -> Result<()> {
    let Some(mut stack) = Stack::local().await? else { return Ok(()) };
    let first = stack.postback_path(ADVERTISER)?;
    let click = stack.click(OFFER, PUBLISHER, "").await?;
    ensure!(status(&stack, &first, &click, "Install").await? == 200);
    stack.decided(&click, 1).await?;
    stack.stop()?;
    let backup = stack.data().with_extension("backup");
    copy(&stack.data(), &backup)?;
    stack.start_role("up").await?;

    // One advertiser's credentials: both, then the new ones alone.
    credentials(&stack, "[1, 2]")?;
    answers(&stack, &first, &click, 200).await?;
    credentials(&stack, "[2]")?;
    let second = stack.postback_path(ADVERTISER)?;
    ensure!(second != first);
    answers(&stack, &second, &click, 200).await?;
    answers(&stack, &first, &click, 403).await?;

    // A master key, known before it is used, and new tokens.
    stack.stop()?;
    let keys = stack.data().join("master.keys");
    let from = jiff::Timestamp::from_millisecond(stack.now() + HOUR_MS)?;
    let text = std::fs::read_to_string(&keys)?;
    std::fs::write(&keys, format!("{}\n2 {NEW_KEY} {from}\n", text.trim()))?;
    let token = std::fs::read_to_string(stack.data().join("admin.token"))?;
    for name in ["admin", "warehouse-read", "warehouse-write"] {
        std::fs::remove_file(stack.data().join(format!("{name}.token")))?;
    }
    // The examples would bring the first credentials back.
    std::fs::remove_file(stack.data().join("advertiser.yaml"))?;
    stack.start_role("up").await?;
    ensure!(std::fs::read_to_string(stack.data().join("admin.token"))? != token);
    let third = stack.postback_path(ADVERTISER)?;
    ensure!(third != first && third != second, "the URL is that of the old key");
    answers(&stack, &first, &click, 200).await?;
    let before = stack.click(OFFER, PUBLISHER, "").await?;
    stack.advance_ms(2 * HOUR_MS)?;
    let after = stack.click(OFFER, PUBLISHER, "").await?;
    for (path, click) in [(&first, &before), (&third, &before), (&third, &after), (&first, &after)]
    {
        ensure!(status(&stack, path, click, "Install").await? == 200);
    }
    for click in [&before, &after] {
        let rows = stack.decided(click, 2).await?;
        ensure!(rows.iter().filter(|row| row.outcome == "accepted").count() == 1, "{rows:?}");
    }

    // Back to the backup: what it knew counts on, what came after it never was.
    stack.stop()?;
    std::fs::remove_dir_all(stack.data())?;
    copy(&backup, &stack.data())?;
    stack.start_role("up").await?;
    ensure!(stack.postback_path(ADVERTISER)? == first);
    ensure!(status(&stack, &first, &click, "Install").await? == 200);
    ensure!(status(&stack, &first, &click, "s2s_level+200").await? == 200);
    let rows = stack.decided(&click, 3).await?;
    let mut outcomes: Vec<&str> = rows.iter().map(|row| row.outcome.as_str()).collect();
    outcomes.sort_unstable();
    ensure!(outcomes == ["accepted", "accepted", "duplicate"], "{rows:?}");
    ensure!(stack.conversions(&after).await?.is_empty(), "it is not the backup");
    stack.stop().context("the restored installation does not stop")
}
