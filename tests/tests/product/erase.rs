//! An erasure, end to end: afterwards nothing that ClickHouse answers, no log line and no metric has
//! the values, money and counts are what they were, and nothing comes back.

use anyhow::{Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tests::process::run;
use tests::stack::Stack;

const OFFER: &str = "pet-the-dogs-ios";
const PUBLISHER: &str = "acme-rewards";
const USER: &str = "canary-user-77";
const WHO: [&str; 4] = ["--by", "privacy desk", "--reason", "asked for by the user"];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_erased_is_nowhere_and_money_stays() -> Result<()> {
    let Some(mut stack) = Stack::local().await? else { return Ok(()) };
    let path = stack.postback_path("brain-games")?;
    let link = format!("?sub1={USER}&sub2=source-9");
    let erased = stack.click(OFFER, PUBLISHER, &link).await?;
    let other = stack.click(OFFER, PUBLISHER, "?sub1=somebody-else").await?;
    for (click, user) in [(&erased, USER), (&other, "somebody-else")] {
        let event = format!("cnv_event_id=Install&gk_click_id={click}&idfa={user}");
        ensure!(stack.postback(&path, &event).await?.status == 200);
        stack.decided(click, 1).await?;
    }
    let wrong = format!("{path}x&cnv_event_id=Install&gk_click_id={erased}&note={USER}");
    ensure!(stack.postback(&wrong, "a=b").await?.status == 403);
    stack
        .eventually("rows of each kind", || async {
            let counts = stack.sql("SELECT (SELECT count() FROM clicks_unique) = 2 AND (SELECT count() FROM conversions_current) = 2 AND (SELECT count() FROM refused_unique) = 1 AS there", &[]).await?;
            Ok((counts[0]["there"] == 1).then_some(()))
        })
        .await?;
    let before = totals(&stack).await?;

    let report = stack.gokart_json(&[&["erase", "--sub1", USER], &WHO[..]].concat())?;
    for (table, rows) in [("clicks", 1), ("postbacks", 1), ("conversions", 1), ("refused", 1)] {
        ensure!(report[table] == rows, "{table}: {report}");
    }
    ensure!(report["completed_at"].is_string(), "{report}");
    ensure!(totals(&stack).await? == before, "{before:?}");

    // The click's id brings its sub-ids along: what is decided about it now has them, too.
    let late = format!("cnv_event_id=s2s_level%20200&gk_click_id={erased}&idfa={USER}");
    ensure!(stack.postback(&path, &late).await?.status == 200);
    stack
        .eventually("the late conversion", || async {
            let rows = stack.sql("SELECT count() AS n FROM conversions_current WHERE click_id LIKE 'erased-%' AND sub1 = '' AND status = 'Success'", &[]).await?;
            Ok((rows[0]["n"].as_str() == Some("2") || rows[0]["n"] == 2).then_some(()))
        })
        .await?;
    check_nowhere(&stack, &[USER, &erased]).await?;

    // Again: nothing is left to do, and a sink that starts anew knows it.
    let again = stack.gokart_json(&[&["erase", "--click", &erased], &WHO[..]].concat())?;
    ensure!(again["clicks"] == 0 && again["conversions"] == 0, "{again}");
    stack.process("up")?.kill()?;
    stack.start_role("up").await?;
    ensure!(stack.postback(&path, &late).await?.status == 200);
    stack
        .eventually("the duplicate", || async {
            let rows = stack
                .sql("SELECT postback_id FROM postbacks_unique WHERE click_id LIKE 'erased-%'", &[])
                .await?;
            Ok((rows.len() == 3).then_some(()))
        })
        .await?;
    check_nowhere(&stack, &[USER, &erased]).await?;
    ensure!(stack.conversions(&other).await?.len() == 1, "another user's click was touched");
    let kept = stack.sql("SELECT kind, requested_by, length(value_hash) AS hash FROM erasures_unique ORDER BY kind DESC", &[]).await?;
    ensure!(
        kept.len() == 2 && kept[0]["kind"] == "sub1" && kept[0]["requested_by"] == "privacy desk",
        "{kept:?}"
    );

    for (arguments, told) in [
        (vec!["--click", "no-click-of-ours"], "not a click id"),
        (vec!["--sub1", "asked for"], "holds the value"),
        (vec!["--sub1", "a", "--sub2", "b"], "cannot be used with"),
        (vec![], "required"),
    ] {
        let admin = format!("http://{}", stack.admin);
        let data = stack.data().display().to_string();
        let all =
            [&["erase"], &arguments[..], &WHO, &["--admin", &admin, "--data", &data]].concat();
        let output = run(&all)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(2) && said.contains(told), "{arguments:?}: {said}");
    }
    stack.stop()
}

/// Tables that hold what is personal, each with the columns where a user's value or click may stand.
const PERSONAL: &[(&str, &[(&str, &str)])] = &[
    ("clicks", &[("click_id", "String"), ("sub1", "String")]),
    ("postbacks", &[("click_id", "String"), ("parameters", "Array(Tuple(String, String))")]),
    ("conversions", &[("click_id", "String"), ("sub1", "String")]),
    ("conversions_latest", &[("click_id", "String"), ("sub1", "String")]),
    ("deliveries", &[("click_id", "String")]),
    ("refused", &[("parameters", "Array(Tuple(String, String))")]),
];

/// A part that was replaced is kept for no longer: what the documents promise.
const OLD_PARTS_SECONDS: u64 = 480;

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_forgets_too() -> Result<()> {
    let Some(mut stack) = Stack::local().await? else { return Ok(()) };
    // Uncompressed, so that a look at the files can find what is in them.
    for (table, columns) in PERSONAL {
        for (column, kind) in *columns {
            let change = format!("ALTER TABLE {table} MODIFY COLUMN {column} {kind} CODEC(NONE)");
            stack.execute(&change).await?;
        }
    }
    let path = stack.postback_path("brain-games")?;
    let click = stack.click(OFFER, PUBLISHER, &format!("?sub1={USER}")).await?;
    let event = format!("cnv_event_id=Install&gk_click_id={click}&idfa={USER}");
    ensure!(stack.postback(&path, &event).await?.status == 200);
    stack.decided(&click, 1).await?;
    let wrong = format!("{path}x&cnv_event_id=Install&note={USER}");
    ensure!(stack.postback(&wrong, "a=b").await?.status == 403);
    stack
        .execute(&format!(
            "INSERT INTO deliveries (delivery_id, attempt, created_at, click_id) VALUES ('d', 1, now(), '{click}')"
        ))
        .await?;
    // The test could not fail if the values could not be found in the first place.
    for (table, _) in PERSONAL {
        stack
            .eventually(&format!("the value in the files of {table}"), || async {
                let folder = folder_of(&stack, table).await?;
                Ok((!files_with(&folder, &[USER, &click])?.is_empty()).then_some(()))
            })
            .await?;
    }

    stack.gokart_json(&[&["erase", "--sub1", USER], &WHO[..]].concat())?;
    let stated = stack
        .sql("SELECT value FROM system.merge_tree_settings WHERE name = 'old_parts_lifetime'", &[])
        .await?;
    let seconds: u64 = stated[0]["value"].as_str().unwrap_or_default().parse()?;
    ensure!(seconds <= OLD_PARTS_SECONDS, "{stated:?}");
    // Eight minutes, in short.
    for (table, _) in PERSONAL {
        let change = format!("ALTER TABLE {table} MODIFY SETTING old_parts_lifetime = 1");
        stack.execute(&change).await?;
    }
    let data = stack.data().join("clickhouse");
    stack
        .eventually("files without the value", || async {
            Ok(files_with(&data, &[USER, &click])?.is_empty().then_some(()))
        })
        .await?;
    stack.stop()
}

/// Where ClickHouse keeps the parts of a table.
async fn folder_of(stack: &Stack, table: &str) -> Result<PathBuf> {
    let rows = stack
        .sql(
            "SELECT data_paths[1] AS path FROM system.tables WHERE database = 'gokart' AND name = {table:String}",
            &[("table", table)],
        )
        .await?;
    Ok(PathBuf::from(rows[0]["path"].as_str().unwrap_or_default()))
}

/// The files below a folder that hold one of some texts. Files come and go meanwhile.
fn files_with(folder: &Path, texts: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_with(&path, texts)?);
        } else if let Ok(bytes) = std::fs::read(&path)
            && texts.iter().any(|text| holds(&bytes, text.as_bytes()))
        {
            found.push(path);
        }
    }
    Ok(found)
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

/// What statements and reports are made of.
async fn totals(stack: &Stack) -> Result<Vec<Value>> {
    stack
        .sql(
            "SELECT 'clicks' AS what, offer_id, publisher_id, country, count() AS rows, toDecimal64(0, 6) AS revenue, toDecimal64(0, 6) AS payout FROM clicks_unique GROUP BY ALL
             UNION ALL SELECT event_id, offer_id, publisher_id, status, count(), sum(c.revenue), sum(c.payout) FROM conversions_current AS c GROUP BY ALL
             UNION ALL SELECT event_id, offer_id, publisher_id, outcome, count(), 0, 0 FROM postbacks_unique GROUP BY ALL
             ORDER BY ALL",
            &[],
        )
        .await
}

/// Looks through every table, the statements that ClickHouse keeps, the metrics and the log lines.
async fn check_nowhere(stack: &Stack, values: &[&str]) -> Result<()> {
    let tables = stack.sql("SELECT name FROM system.tables WHERE database = 'gokart'", &[]).await?;
    ensure!(tables.len() > 10, "{tables:?}");
    let mut shown = vec![stack.metrics("up").await?, stack.output()];
    for table in tables.iter().filter_map(|row| row["name"].as_str()) {
        let rows = stack.sql(&format!("SELECT * FROM {table}"), &[]).await?;
        shown.push(format!("{table}: {rows:?}"));
    }
    let kept = stack.sql("SELECT command FROM system.mutations", &[]).await?;
    shown.push(format!("{kept:?}"));
    for text in shown {
        for value in values {
            // A click id may have been cut.
            let start = &value[..value.len().min(30)];
            let found = text.find(start).map(|at| &text[at.saturating_sub(200)..at]);
            ensure!(found.is_none(), "{start} is still there: …{}", found.unwrap_or_default());
        }
    }
    Ok(())
}
