//! Credentials appear nowhere but where they were asked for: not in what is logged, not in
//! metrics, not in any table, not in the log's files.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use tests::stack::{Stack, TENANT_HOST};

const ADVERTISER: &str = "brain-games";
/// Refusals cut long values.
const SHOWN_CHARS: usize = 40;

/// Every file below a directory that holds one of the secrets, except the master key itself.
fn files_with(directory: &Path, secrets: &[String], found: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files_with(&path, secrets, found)?;
            continue;
        }
        let bytes = std::fs::read(&path)?;
        for secret in secrets {
            if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                found.push(format!("{} holds {}…", path.display(), &secret[..4]));
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_appear_nowhere() -> Result<()> {
    let Some(mut stack) = Stack::local().await? else { return Ok(()) };
    let path = stack.postback_path(ADVERTISER)?;
    let (segments, signature) = path
        .strip_prefix("/api/v1/")
        .and_then(|rest| rest.split_once("/?signature="))
        .context("not a postback path")?;
    let mut secrets: Vec<String> = segments.split('/').map(str::to_owned).collect();
    secrets.push(signature.to_owned());
    ensure!(secrets.len() == 4 && secrets.iter().all(|secret| secret.len() >= 12), "{path}");

    // A publisher's own secret, in every way that a document can have it.
    let header = "canary-header-4f1d9c";
    let documents = tempfile::tempdir()?;
    let file = documents.path().join("headers.yaml");
    std::fs::write(
        &file,
        format!(
            "kind: Publisher\nid: canary\ntenant: brownboots\nname: Canary\npostbacks:\n  \
             - url: https://127.0.0.1/x\n    test_url: https://127.0.0.1/y\n    \
             header: {{name: x-api-key, value: {header}}}\n"
        ),
    )?;
    stack.gokart(&["apply", file.to_str().context("a path that is no text")?])?;
    secrets.push(header.to_owned());

    let click = stack.click("pet-the-dogs-ios", "acme-rewards", "").await?;
    let event = format!("cnv_event_id=Install&gk_click_id={click}");
    // Right, wrong in each part, wrong host, credentials in odd places.
    let accepted = stack.postback(&path, &event).await?;
    ensure!(accepted.status == 200, "{accepted:?}");
    let echo = format!("{event}&note={signature}&path={segments}");
    let mut answers = vec![accepted.body, stack.postback(&path, &echo).await?.body];
    let joined = segments.replace('/', "%2F");
    for (host, target) in [
        (TENANT_HOST, format!("/api/v1/{segments}/?signature={}&{event}", &signature[1..])),
        (TENANT_HOST, format!("/api/v1/{segments}x/?signature={signature}&{event}")),
        (TENANT_HOST, format!("/api/v1/{segments}/?{event}&token={signature}")),
        (TENANT_HOST, format!("/api/v2/{segments}/?signature={signature}&{event}")),
        (TENANT_HOST, format!("/api/v1/{joined}/?signature={signature}x&{event}")),
        ("api.nobody.localhost", format!("{path}&{event}")),
        ("localhost", format!("{path}&{event}")),
    ] {
        answers.push(stack.postback_to(host, &target).await?.body);
    }
    stack.decided(&click, 2).await?;
    stack
        .eventually("the refusals", || async {
            let text = stack.gokart(&["refused", "--format", "json"])?;
            Ok(text.contains(&click[..SHOWN_CHARS]).then_some(()))
        })
        .await?;
    let shown = [
        stack.gokart(&["refused"])?,
        stack.gokart(&["explain", &click])?,
        stack.gokart(&["report", "postbacks", "--format", "json"])?,
        stack.gokart(&["postback-url", "--advertiser", ADVERTISER])?,
        stack.gokart(&["publisher-postback", "--publisher", "canary", "--format", "json"])?,
        stack.metrics("up").await?,
        answers.concat(),
    ]
    .concat();
    stack.stop()?;
    // The lines to paste that `up` prints are where the user asked for them.
    let logged: String = stack
        .output()
        .lines()
        .filter(|line| !line.trim_start().starts_with("curl "))
        .map(|line| format!("{line}\n"))
        .collect();
    for secret in &secrets {
        ensure!(!shown.contains(secret.as_str()), "{}… is shown", &secret[..4]);
        ensure!(!logged.contains(secret.as_str()), "{}… is logged", &secret[..4]);
    }
    let mut found = Vec::new();
    files_with(&stack.data(), &secrets, &mut found)?;
    ensure!(found.is_empty(), "{found:?}");
    Ok(())
}
