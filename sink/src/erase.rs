//! Carries an erasure out in ClickHouse. Money rows stay, without what is personal; a click's row is
//! replaced by one without it, since its id is its identity. Everything can be repeated at any time.
//!
//! The statements that change tables name rows by what is not personal (ids of ours, a hash), because
//! ClickHouse keeps the text of a mutation; the values themselves are in questions only, which are
//! kept out of the query log.

use crate::backoff::Backoff;
use crate::client::problem;
use crate::erased::{Erased, click_hash, hex};
use clickhouse::Client;
use clickhouse::error::Error as ClientError;
use schemas::{Erasure, ErasureKind, UnixMillis};
use service::Clock;
use std::time::Duration;

/// Clicks that are erased together; their ids are in one statement, which may have 256 KiB.
const CLICKS_AT_ONCE: usize = 500;
/// Days, ids and hashes of one statement that changes rows.
const ROWS_AT_ONCE: usize = 2_000;
/// For one statement; the embedded ClickHouse stops at 300 s by itself.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(330);
/// Values in refusals are kept up to about this length.
const REFUSED_CHARS: usize = 32;
/// What stands instead of a click's id, as [`crate::erased::pseudonym`] makes it.
const PSEUDONYM: &str = "concat('erased-', substring(lower(hex(SHA256(click_id))), 1, 32))";

/// The same, but for a row that has its pseudonym already.
const RENAMED: &str = "if(startsWith(click_id, 'erased-'), click_id, concat('erased-', substring(lower(hex(SHA256(click_id))), 1, 32)))";

/// Rows that were changed or removed, by table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub clicks: u64,
    pub postbacks: u64,
    pub conversions: u64,
    pub deliveries: u64,
    pub refused: u64,
    pub dead_letters: u64,
}

/// A ClickHouse to erase in.
pub struct Eraser {
    client: Client,
    on_cluster: String,
}

impl Eraser {
    /// `client` inserts into the tables; `cluster` is the one they are replicated on.
    #[must_use]
    pub fn new(client: &Client, cluster: Option<&str>) -> Self {
        // A change has been made when the statement ends, on every replica.
        let client =
            client.clone().with_setting("mutations_sync", "2").with_setting("log_queries", "0");
        Self { client, on_cluster: cluster.map_or(String::new(), |c| format!(" ON CLUSTER '{c}'")) }
    }

    /// Carries a request out and records it. Comes back when that is done.
    pub async fn carry_out(&self, erasure: &Erasure, erased: &Erased, clock: &Clock) {
        erased.note(erasure);
        let mut backoff = Backoff::default();
        let mut counts = Counts::default();
        loop {
            let done = async {
                self.erase(erasure, erased, &mut counts).await?;
                self.record(erasure, counts, UnixMillis(clock.now())).await
            };
            match done.await {
                Ok(()) => break,
                Err(error) => {
                    metrics::counter!("gokart_sink_retries_total", "what" => "erase").increment(1);
                    let (id, problem) = (erasure.erasure_id, code_only(&problem(&error)));
                    tracing::warn!(erasure = %id, problem, "an erasure did not get through; trying again");
                    backoff.wait().await;
                }
            }
        }
        metrics::counter!("gokart_sink_erasures_total").increment(1);
        tracing::info!(erasure = %erasure.erasure_id, kind = %erasure.kind, ?counts, "erased");
    }

    async fn erase(
        &self,
        erasure: &Erasure,
        erased: &Erased,
        counts: &mut Counts,
    ) -> Result<(), ClientError> {
        let value = std::slice::from_ref(&erasure.value);
        match erasure.kind {
            ErasureKind::Click => self.erase_clicks(value, erased, counts).await?,
            ErasureKind::Sub(number) => loop {
                let clicks = self.clicks_with(number, &erasure.value, erasure.requested_at).await?;
                if clicks.is_empty() {
                    break;
                }
                self.erase_clicks(&clicks, erased, counts).await?;
                self.erase_traces(&clicks, counts).await?;
            },
        }
        self.erase_traces(value, counts).await
    }

    /// Some clicks of before the request that have a sub-id.
    async fn clicks_with(
        &self,
        number: u8,
        value: &str,
        before: UnixMillis,
    ) -> Result<Vec<String>, ClientError> {
        let (value, UnixMillis(ms)) = (literal(value), before);
        let from = |table: &str| {
            format!(
                "SELECT click_id FROM {table} WHERE sub{number} = {value} \
                 AND clicked_at <= fromUnixTimestamp64Milli({ms}, 'UTC')"
            )
        };
        let query = format!(
            "SELECT DISTINCT click_id FROM ({} UNION ALL {}) LIMIT {CLICKS_AT_ONCE}",
            from("clicks"),
            from("conversions")
        );
        self.ask(self.client.query_raw(&query).fetch_all::<String>()).await
    }

    async fn erase_clicks(
        &self,
        clicks: &[String],
        erased: &Erased,
        counts: &mut Counts,
    ) -> Result<(), ClientError> {
        // First of all it is known, so that nothing new comes in meanwhile.
        let hashes: Vec<_> = clicks.iter().map(|click| click_hash(click)).collect();
        self.remember(&hashes.iter().map(hex).collect::<Vec<_>>()).await?;
        erased.add(hashes);
        let among = format!("click_id IN ({})", literals(clicks));
        counts.clicks += self.replace_clicks(&among).await?;
        let update = format!("click_id = {RENAMED}");
        let rows = self.rows("postbacks", "postback_id", "received_at", &among).await?;
        self.change(
            "postbacks",
            "postback_id",
            "received_at",
            &rows,
            &format!("UPDATE {update}, parameters = []"),
        )
        .await?;
        counts.postbacks += rows.len() as u64;
        let rows = self.rows("redecisions", "postback_id", "received_at", &among).await?;
        self.change(
            "redecisions",
            "postback_id",
            "received_at",
            &rows,
            &format!("UPDATE {update}, parameters = [], note = ''"),
        )
        .await?;
        let subs: String = (1..=15).map(|n| format!(", sub{n} = ''")).collect();
        let update = format!("UPDATE {update}, note = '', transaction_id = ''{subs}");
        for table in ["conversions", "conversions_latest"] {
            let rows = self.rows(table, "conversion_id", "received_at", &among).await?;
            self.change(table, "conversion_id", "received_at", &rows, &update).await?;
            if table == "conversions" {
                counts.conversions += rows.len() as u64;
            }
        }
        let update = format!("UPDATE click_id = {RENAMED}");
        let rows = self.rows("deliveries", "delivery_id", "created_at", &among).await?;
        self.change("deliveries", "delivery_id", "created_at", &rows, &update).await?;
        counts.deliveries += rows.len() as u64;
        Ok(())
    }

    /// Adds to the list of erased clicks.
    pub async fn remember(&self, hashes: &[String]) -> Result<(), ClientError> {
        for part in hashes.chunks(ROWS_AT_ONCE) {
            let values: Vec<String> = part.iter().map(|hash| format!("('{hash}')")).collect();
            let insert =
                format!("INSERT INTO erased_clicks (click_hash) VALUES {}", values.join(","));
            self.execute(&insert).await?;
        }
        Ok(())
    }

    /// Puts a click without anything personal beside each, and then removes them.
    async fn replace_clicks(&self, among: &str) -> Result<u64, ClientError> {
        let query = format!(
            "SELECT DISTINCT toString(toDate(clicked_at)), toString(sipHash64(click_id)) FROM clicks WHERE {among}"
        );
        let rows = self.ask(self.client.query_raw(&query).fetch_all::<(String, String)>()).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let subs: String = (1..=15).map(|n| format!(", '' AS sub{n}")).collect();
        self.execute(&format!(
            "INSERT INTO clicks SELECT * REPLACE ({PSEUDONYM} AS click_id{subs}) FROM (SELECT * FROM clicks WHERE {among})"
        ))
        .await?;
        self.change("clicks", "sipHash64(click_id)", "clicked_at", &rows, "DELETE").await?;
        Ok(rows.len() as u64)
    }

    /// Day and identity, as literals, of the rows that a condition is true of.
    async fn rows(
        &self,
        table: &str,
        identity: &str,
        time: &str,
        condition: &str,
    ) -> Result<Vec<(String, String)>, ClientError> {
        let query = format!(
            "SELECT DISTINCT toString(toDate({time})), toString({identity}) FROM {table} WHERE {condition}"
        );
        self.ask(self.client.query_raw(&query).fetch_all::<(String, String)>()).await
    }

    /// Changes rows by day and identity. The day is the beginning of the sort key.
    async fn change(
        &self,
        table: &str,
        identity: &str,
        time: &str,
        rows: &[(String, String)],
        how: &str,
    ) -> Result<(), ClientError> {
        for part in rows.chunks(ROWS_AT_ONCE) {
            let mut days: Vec<String> = part.iter().map(|(day, _)| literal(day)).collect();
            days.sort_unstable();
            days.dedup();
            let ids: Vec<String> = part.iter().map(|(_, id)| literal(id)).collect();
            let (days, ids, on_cluster) = (days.join(","), ids.join(","), &self.on_cluster);
            self.execute(&format!(
                "ALTER TABLE {table}{on_cluster} {how} WHERE toDate({time}) IN ({days}) AND toString({identity}) IN ({ids})"
            ))
            .await?;
        }
        Ok(())
    }

    /// Where values may stand in what was never understood: refused requests and dead letters.
    async fn erase_traces(
        &self,
        values: &[String],
        counts: &mut Counts,
    ) -> Result<(), ClientError> {
        let all = literals(values);
        // Long values were cut before they were kept.
        let cut = values.iter().filter(|value| value.chars().count() > REFUSED_CHARS);
        let cut: String = cut
            .map(|value| value.chars().take(REFUSED_CHARS).collect::<String>())
            .map(|start| format!(" OR startsWith(pair.2, {})", literal(&start)))
            .collect();
        let among = format!("arrayExists(pair -> pair.2 IN ({all}){cut}, parameters)");
        let rows = self.rows("refused", "refusal_id", "refused_at", &among).await?;
        self.change("refused", "refusal_id", "refused_at", &rows, "UPDATE parameters = []").await?;
        counts.refused += rows.len() as u64;
        let needles: Vec<String> = values
            .iter()
            .map(|value| format!("position(unhex(value_hex), {}) > 0", literal(value)))
            .collect();
        let identity = "sipHash64(topic, partition, offset, value_hex)";
        for part in needles.chunks(ROWS_AT_ONCE / 20) {
            let rows = self.rows("dead_letters", identity, "found_at", &part.join(" OR ")).await?;
            self.change("dead_letters", identity, "found_at", &rows, "DELETE").await?;
            counts.dead_letters += rows.len() as u64;
        }
        Ok(())
    }

    async fn record(
        &self,
        it: &Erasure,
        counts: Counts,
        now: UnixMillis,
    ) -> Result<(), ClientError> {
        let Counts { clicks, postbacks, conversions, deliveries, refused, dead_letters } = counts;
        let at = |UnixMillis(ms): UnixMillis| format!("fromUnixTimestamp64Milli({ms}, 'UTC')");
        self.execute(&format!(
            "INSERT INTO erasures SELECT '{}', {}, {}, {}, '{}', {}, {}, {clicks}, {postbacks}, {conversions}, {deliveries}, {refused}, {dead_letters}",
            it.erasure_id,
            at(it.requested_at),
            literal(&it.requested_by),
            literal(&it.reason),
            it.kind,
            literal(&it.value_hash),
            at(now),
        ))
        .await
    }

    /// Each time under a token of its own: without one, the content would be its token, and rows that
    /// were lost with their token kept would not come again.
    async fn execute(&self, statement: &str) -> Result<(), ClientError> {
        let token = uuid::Uuid::now_v7().simple().to_string();
        let query = self.client.query_raw(statement);
        self.ask(query.with_setting("insert_deduplication_token", token).execute()).await
    }

    async fn ask<T>(
        &self,
        asked: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        tokio::time::timeout(STATEMENT_TIMEOUT, asked).await.unwrap_or(Err(ClientError::TimedOut))
    }
}

/// Text as a string of ClickHouse's SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn literals(texts: &[String]) -> String {
    texts.iter().map(|text| literal(text)).collect::<Vec<_>>().join(",")
}

/// ClickHouse repeats parts of statements in its errors, and the log must not have them.
fn code_only(problem: &str) -> String {
    problem.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        for (text, expected) in
            [("a", "'a'"), ("a'b", "'a\\'b'"), ("\\", "'\\\\'"), ("\\' OR 1", "'\\\\\\' OR 1'")]
        {
            assert_eq!(literal(text), expected);
        }
    }

    #[test]
    fn an_error_does_not_repeat_the_value() {
        assert_eq!(code_only("Code: 62. DB::Exception: Syntax error near secret"), "Code: 62.");
    }
}
