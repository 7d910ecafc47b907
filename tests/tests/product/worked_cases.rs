//! The worked cases of the domain, over HTTP, against the real binary: the same cases on the local
//! log and on Apache Kafka. Time is set by the test, never waited for.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use std::collections::BTreeSet;
use tests::kafka::Kafka;
use tests::stack::{Conversion, PostbackRow, Stack, TENANT_HOST};

const OFFER: &str = "pet-the-dogs-ios";
const PUBLISHER: &str = "acme-rewards";
const ADVERTISER: &str = "brain-games";
const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Refusals cut long values.
const SHOWN_CHARS: usize = 40;
/// More than an idle partition's clock stays behind.
const ALLOWANCE_MS: i64 = 5 * SECOND_MS;

#[tokio::test(flavor = "multi_thread")]
async fn on_the_local_log() -> Result<()> {
    match Stack::local().await? {
        Some(stack) => run_all(stack).await,
        None => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_apache_kafka() -> Result<()> {
    let Some(kafka) = Kafka::start()? else { return Ok(()) };
    match Stack::on_kafka(&kafka).await? {
        Some(stack) => run_all(stack).await,
        None => Ok(()),
    }
}

struct World {
    stack: Stack,
    /// Path and credentials of the advertiser.
    path: String,
}

async fn run_all(stack: Stack) -> Result<()> {
    let path = stack.postback_path(ADVERTISER)?;
    let mut world = World { stack, path };
    world.case_1_install_converts().await.context("case 1")?;
    world.case_2_an_altered_segment_is_refused().await.context("case 2")?;
    world.case_3_hosts_fold_case().await.context("case 3")?;
    world.case_4_event_ids_are_exact().await.context("case 4")?;
    world.case_5_both_kinds_of_space_match().await.context("case 5")?;
    world.case_6_a_macro_left_in_place().await.context("case 6")?;
    world.case_7_seven_installs_in_a_row().await.context("case 7")?;
    world.case_8_a_hundred_installs_at_once().await.context("case 8")?;
    world.case_9_level_200_before_install().await.context("case 9")?;
    world.case_11_level_400_without_200().await.context("case 11")?;
    world.case_12_held_for_seven_days().await.context("case 12")?;
    world.case_13_killed_across_the_due_time().await.context("case 13")?;
    world.case_14_rejected_while_held().await.context("case 14")?;
    world.case_15_rejected_after_success().await.context("case 15")?;
    world.case_18_nothing_pays_without_install().await.context("case 18")?;
    world.case_20_held_event_late_in_its_deadline().await.context("case 20")?;
    world.cases_10_and_19_a_processor_that_was_away().await.context("cases 10 and 19")?;
    world.stack.check_observability().await?;
    world.stack.stop()
}

impl World {
    async fn click(&self) -> Result<String> {
        self.stack.click(OFFER, PUBLISHER, "?sub1=a%20b").await
    }

    /// A postback that must be taken.
    async fn send(&self, click: &str, event: &str) -> Result<()> {
        let answer = self
            .stack
            .postback(&self.path, &format!("cnv_event_id={event}&gk_click_id={click}"))
            .await?;
        ensure!(answer.status == 200 && answer.json()?["status"] == "accepted", "{answer:?}");
        Ok(())
    }

    /// Sends events in order and gives what became of each.
    async fn play(&self, click: &str, events: &[&str]) -> Result<Vec<PostbackRow>> {
        for event in events {
            self.send(click, event).await?;
        }
        self.stack.decided(click, events.len()).await
    }

    /// Waits until the conversions of a click are as described: `Event Status REASON`.
    async fn expect(&self, click: &str, expected: &[&str]) -> Result<Vec<Conversion>> {
        let seen = std::sync::Mutex::new(Vec::new());
        let outcome = self
            .stack
            .eventually(&format!("conversions {expected:?}"), || async {
                let conversions = self.stack.conversions(click).await?;
                let told: Vec<String> = conversions.iter().map(tell).collect();
                let is_there = told == expected;
                *seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = told;
                Ok(is_there.then_some(conversions))
            })
            .await;
        outcome.with_context(|| format!("the conversions were {:?}", seen.lock()))
    }

    /// Every revision of a conversion that ClickHouse physically holds.
    async fn revisions(&self, conversion: &Conversion) -> Result<Vec<(u64, String)>> {
        let rows = self
            .stack
            .sql(
                "SELECT revision, toString(status) AS status FROM conversions WHERE conversion_id = {id:String} ORDER BY revision",
                &[("id", &conversion.conversion_id)],
            )
            .await?;
        Ok(rows
            .iter()
            .map(|row| {
                let status = row["status"].as_str().unwrap_or_default().to_owned();
                (row["revision"].as_u64().unwrap_or_default(), status)
            })
            .collect())
    }

    /// Makes sure that a click's partition has decided everything up to now: a further postback,
    /// which itself changes nothing, has been decided behind it.
    async fn settle(&self, click: &str) -> Result<()> {
        let before = self.stack.postbacks(click).await?.len();
        self.send(click, "not-an-event").await?;
        self.stack.decided(click, before + 1).await?;
        Ok(())
    }

    async fn case_1_install_converts(&self) -> Result<()> {
        let click = self.click().await?;
        let outcomes = self.play(&click, &["Install"]).await?;
        ensure!(outcomes[0].outcome == "accepted", "{outcomes:?}");
        let conversions = self.expect(&click, &["Install Success"]).await?;
        ensure!(conversions[0].conversion_id == outcomes[0].conversion_id, "{conversions:?}");
        Ok(())
    }

    async fn case_2_an_altered_segment_is_refused(&self) -> Result<()> {
        let click = self.click().await?;
        let altered = alter_segment(&self.path);
        let event = format!("cnv_event_id=Install&gk_click_id={click}");
        let answer = self.stack.postback(&altered, &event).await?;
        ensure!(answer.status == 403, "{answer:?}");
        let path = format!("{}&{event}", self.path);
        let other = self.stack.postback_to("api.nobody.localhost", &path).await?;
        ensure!(other.status == 403 && other.body == answer.body, "{answer:?} {other:?}");
        let secret = self.path.split('/').nth(3).unwrap_or_default().to_owned();
        self.stack
            .eventually("a redacted refusal", || async {
                let text = self.stack.gokart(&["refused", "--format", "json"])?;
                ensure!(!text.contains(&secret), "a credential is shown: {text}");
                Ok(text.contains(&click[..SHOWN_CHARS]).then_some(()))
            })
            .await?;
        ensure!(self.stack.postbacks(&click).await?.is_empty(), "it was decided");
        Ok(())
    }

    async fn case_3_hosts_fold_case(&self) -> Result<()> {
        let click = self.click().await?;
        let path = format!("{}&cnv_event_id=Install&gk_click_id={click}", self.path);
        let answer = self.stack.postback_to("API.BrownBoots.LOCALHOST", &path).await?;
        ensure!(answer.status == 200, "{answer:?}");
        self.expect(&click, &["Install Success"]).await?;
        Ok(())
    }

    async fn case_4_event_ids_are_exact(&self) -> Result<()> {
        let click = self.click().await?;
        let outcomes = self.play(&click, &["install"]).await?;
        ensure!(outcomes[0].reason == "UNKNOWN_EVENT" && outcomes[0].event_id == "install");
        let story = self.stack.gokart(&["explain", &click])?;
        ensure!(story.contains("Install"), "the near miss is not pointed out: {story}");
        self.expect(&click, &[]).await?;
        Ok(())
    }

    async fn case_5_both_kinds_of_space_match(&self) -> Result<()> {
        for space in ["%20", "+"] {
            let click = self.click().await?;
            self.play(&click, &["Install", &format!("s2s_level{space}200")]).await?;
            self.expect(&click, &["Install Success", "s2s_level 200 Success"]).await?;
        }
        Ok(())
    }

    async fn case_6_a_macro_left_in_place(&self) -> Result<()> {
        let click = self.click().await?;
        let outcomes = self.play(&click, &["%7Bevent_name%7D"]).await?;
        ensure!(outcomes[0].reason == "MACRO_NOT_REPLACED", "{outcomes:?}");
        ensure!(outcomes[0].event_id == "{event_name}", "{outcomes:?}");
        Ok(())
    }

    async fn case_7_seven_installs_in_a_row(&self) -> Result<()> {
        let click = self.click().await?;
        let outcomes = self.play(&click, &["Install"; 7]).await?;
        self.one_conversion(&click, &outcomes).await
    }

    async fn case_8_a_hundred_installs_at_once(&self) -> Result<()> {
        let click = self.click().await?;
        try_join_all((0..100).map(|_| self.send(&click, "Install"))).await?;
        let outcomes = self.stack.decided(&click, 100).await?;
        self.one_conversion(&click, &outcomes).await
    }

    /// One accepted, every other a duplicate that points to the same conversion.
    async fn one_conversion(&self, click: &str, outcomes: &[PostbackRow]) -> Result<()> {
        let conversions = self.expect(click, &["Install Success"]).await?;
        let accepted = outcomes.iter().filter(|row| row.outcome == "accepted").count();
        let duplicates = outcomes.iter().filter(|row| row.reason == "DUPLICATE").count();
        ensure!(accepted == 1 && duplicates == outcomes.len() - 1, "{outcomes:?}");
        let ids: BTreeSet<&str> = outcomes.iter().map(|row| row.conversion_id.as_str()).collect();
        ensure!(ids == BTreeSet::from([conversions[0].conversion_id.as_str()]), "{ids:?}");
        ensure!(self.revisions(&conversions[0]).await?.len() == 1);
        Ok(())
    }

    async fn case_9_level_200_before_install(&mut self) -> Result<()> {
        let click = self.click().await?;
        let outcomes = self.play(&click, &["s2s_level+200"]).await?;
        ensure!(outcomes[0].outcome == "waiting", "{outcomes:?}");
        self.expect(&click, &["s2s_level 200 Pending WAITING_SEQUENCE"]).await?;
        self.stack.advance_ms(10 * MINUTE_MS)?;
        self.play(&click, &["Install"]).await?;
        let both = self.expect(&click, &["Install Success", "s2s_level 200 Success"]).await?;
        ensure!(both[1].received_at_ms < both[0].received_at_ms, "it keeps its own time: {both:?}");
        Ok(())
    }

    async fn case_11_level_400_without_200(&self) -> Result<()> {
        let click = self.click().await?;
        self.play(&click, &["Install", "s2s_level+400"]).await?;
        self.expect(&click, &["Install Success", "s2s_level 400 Pending WAITING_SEQUENCE"]).await?;
        Ok(())
    }

    /// A click whose level 400 is held, and that conversion.
    async fn held(&self) -> Result<(String, Conversion)> {
        let click = self.click().await?;
        self.play(&click, &["Install", "s2s_level+200", "s2s_level+400"]).await?;
        let conversions = self
            .expect(
                &click,
                &["Install Success", "s2s_level 200 Success", "s2s_level 400 Pending HOLD"],
            )
            .await?;
        Ok((click, conversions[2].clone()))
    }

    async fn case_12_held_for_seven_days(&mut self) -> Result<()> {
        let (click, held) = self.held().await?;
        let due = held.received_at_ms + 7 * DAY_MS;
        ensure!(held.due_at_ms == Some(due), "{held:?}");
        self.stack.advance_ms(due - SECOND_MS - self.stack.now())?;
        self.settle(&click).await?;
        self.expect(
            &click,
            &["Install Success", "s2s_level 200 Success", "s2s_level 400 Pending HOLD"],
        )
        .await?;
        self.stack.advance_ms(SECOND_MS + ALLOWANCE_MS)?;
        let done = self.expect(&click, ALL_SUCCESS).await?;
        ensure!(done[2].decided_at_ms == due, "not a second before or after: {done:?}");
        Ok(())
    }

    async fn case_13_killed_across_the_due_time(&mut self) -> Result<()> {
        let (click, held) = self.held().await?;
        let role = self.stack.processor_role();
        self.stack.process(role)?.kill()?;
        self.stack.advance_ms(7 * DAY_MS + ALLOWANCE_MS)?;
        self.stack.start_role(role).await?;
        self.expect(&click, ALL_SUCCESS).await?;
        self.settle(&click).await?;
        let expected = [(1, "Pending".to_owned()), (2, "Success".to_owned())];
        ensure!(self.revisions(&held).await? == expected, "it fired more than once");
        Ok(())
    }

    async fn case_14_rejected_while_held(&mut self) -> Result<()> {
        let (click, held) = self.held().await?;
        self.stack.advance_ms(3 * DAY_MS)?;
        self.stack.gokart(&["reject", &held.conversion_id, "--reason", "seen before"])?;
        let rejected = [
            "Install Success",
            "s2s_level 200 Success",
            "s2s_level 400 Rejected MANUALLY_REJECTED",
        ];
        self.expect(&click, &rejected).await?;
        self.stack.advance_ms(5 * DAY_MS)?;
        self.settle(&click).await?;
        self.expect(&click, &rejected).await?;
        ensure!(self.revisions(&held).await?.len() == 2, "something happened on day 7");
        Ok(())
    }

    async fn case_15_rejected_after_success(&self) -> Result<()> {
        let click = self.click().await?;
        self.play(&click, &["Install"]).await?;
        let before = self.expect(&click, &["Install Success"]).await?;
        self.stack.gokart(&["reject", &before[0].conversion_id, "--reason", "fraud"])?;
        let after = self.expect(&click, &["Install Rejected MANUALLY_REJECTED"]).await?;
        ensure!(after[0].conversion_id == before[0].conversion_id && after[0].revision == 2);
        let rows = self
            .stack
            .sql(
                "SELECT toString(sumIf(revenue, status = 'Success')) AS total FROM conversions_current WHERE click_id = {click:String}",
                &[("click", &click)],
            )
            .await?;
        ensure!(rows[0]["total"] == "0", "{rows:?}");
        Ok(())
    }

    async fn case_18_nothing_pays_without_install(&self) -> Result<()> {
        let click = self.click().await?;
        self.play(&click, &["s2s_level+200", "s2s_level+400"]).await?;
        self.expect(
            &click,
            &["s2s_level 200 Pending WAITING_SEQUENCE", "s2s_level 400 Pending WAITING_SEQUENCE"],
        )
        .await?;
        Ok(())
    }

    async fn case_20_held_event_late_in_its_deadline(&mut self) -> Result<()> {
        let click = self.click().await?;
        self.play(&click, &["Install", "s2s_level+200"]).await?;
        self.stack.advance_ms(38 * DAY_MS)?;
        self.send(&click, "s2s_level+400").await?;
        self.expect(
            &click,
            &["Install Success", "s2s_level 200 Success", "s2s_level 400 Pending HOLD"],
        )
        .await?;
        self.stack.advance_ms(7 * DAY_MS + ALLOWANCE_MS)?;
        self.expect(&click, ALL_SUCCESS).await?;
        Ok(())
    }

    /// Away for 25 hours: what arrived in time is decided first, what did not come expires after.
    async fn cases_10_and_19_a_processor_that_was_away(&mut self) -> Result<()> {
        let (in_time, never) = (self.click().await?, self.click().await?);
        for click in [&in_time, &never] {
            self.play(click, &["s2s_level+200"]).await?;
            self.expect(click, &["s2s_level 200 Pending WAITING_SEQUENCE"]).await?;
        }
        let role = self.stack.processor_role();
        if role == "processor" {
            // The ingester goes on: the Install is in the log while nobody decides.
            self.stack.process(role)?.kill()?;
            self.stack.advance_ms(10 * MINUTE_MS)?;
            self.send(&in_time, "Install").await?;
            self.stack.advance_ms(25 * HOUR_MS)?;
            self.stack.start_role(role).await?;
            self.expect(&in_time, &["Install Success", "s2s_level 200 Success"]).await?;
        } else {
            self.stack.advance_ms(25 * HOUR_MS)?;
        }
        self.expect(&never, &["s2s_level 200 Rejected SEQUENCE_NOT_MET"]).await?;
        Ok(())
    }
}

const ALL_SUCCESS: &[&str] = &["Install Success", "s2s_level 200 Success", "s2s_level 400 Success"];

fn tell(conversion: &Conversion) -> String {
    let Conversion { event_id, status, reason, .. } = conversion;
    format!("{event_id} {status} {reason}").trim_end().to_owned()
}

/// The same path with one character of its second credential segment changed.
fn alter_segment(path: &str) -> String {
    let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
    let other = if segments[4].starts_with('A') { "B" } else { "A" };
    segments[4].replace_range(..1, other);
    segments.join("/")
}

#[test]
fn the_altered_path_differs_in_one_character() {
    assert_eq!(alter_segment("/api/v1/aa/bb/cc/?s"), "/api/v1/aa/Ab/cc/?s");
    assert!(TENANT_HOST.starts_with("api.brownboots."));
}
