//! Credentials are nowhere: every one of them is sent in every place that a sender could put it,
//! and then looked for in all that an ingester gives out or writes.

use crate::support::*;
use schemas::Topic;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Logs {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Targets that hold each credential where it belongs and where it does not.
fn targets(canaries: &[String], altered: &[String]) -> Vec<String> {
    let path = |pieces: &[String]| format!("/api/v1/{}/", pieces[..3].join("/"));
    let mut targets = Vec::new();
    for (own, wrong) in [(canaries, altered), (altered, canaries)] {
        let (right, signature) = (path(own), &own[3]);
        for secret in canaries.iter().chain(altered) {
            targets.extend([
                format!("{right}?signature={signature}&sub1={secret}&{secret}=1"),
                format!("{right}?signature={signature}&note=x{secret}y&Signature={secret}"),
                format!("{right}?signature={}&sig={secret}&signature={secret}", wrong[3]),
                format!("{right}?sub1={secret}"),
                format!("/api/v1/{secret}?signature={signature}&url=https://a{right}?b={secret}"),
                format!("/{secret}/{right}?signature={signature}"),
            ]);
        }
    }
    targets
}

#[tokio::test]
async fn credentials_are_nowhere() {
    let logs = Logs::default();
    let ours = "off,ingest=trace,service=trace,keyring=trace,eventlog=trace,schemas=trace";
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(ours))
        .with_writer(logs.clone())
        .with_ansi(false)
        .init();
    let metrics = service::install_metrics().unwrap();

    let generous = ingest::Rate { per_second: 1_000_000, burst: 1_000_000 };
    let config =
        ingest::IngestConfig { unauthenticated_rate: generous, refusal_rate: generous, ..config() };
    let running = start_with(config, Default::default()).await;
    let it = running.credentials("brain-games", "brownboots");
    let parts = it.segments().into_iter().chain([it.signature()]);
    let canaries: Vec<String> = parts.map(str::to_owned).collect();
    // As somebody mistypes them: the last character is another.
    let altered: Vec<String> = canaries
        .iter()
        .map(|part| {
            let (rest, last) = part.split_at(part.len() - 1);
            format!("{rest}{}", if last == "A" { "B" } else { "A" })
        })
        .collect();

    let mut answers = String::new();
    let (mut taken, mut refused) = (0, 0);
    for target in targets(&canaries, &altered) {
        for host in [HOST, "api.shoes.localhost", "localhost"] {
            let (path, query) = target.split_once('?').unwrap();
            let json = format!("{{\"{}\":\"{}\"}}", "nested", query.replace('"', ""));
            let posted = |body: &str| {
                format!(
                    "POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            };
            for request in [
                format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nReferer: {target}\r\n\r\n"),
                format!("HEAD {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {path}\r\n\r\n"),
                posted(query),
                posted(&json),
            ] {
                let answer = running.ask(&request).await;
                if !request.starts_with("HEAD") {
                    taken += usize::from(answer.status == 200);
                    refused += usize::from(answer.status == 403);
                }
                answers += &format!("{answer:?}\n");
            }
        }
    }
    for target in [format!("/c/{}", canaries[0]), format!("/c/pet-acme?gk_test={}", canaries[3])] {
        answers += &format!("{:?}\n", running.click(&target).await);
    }
    assert!(taken > 20 && refused > 100, "{taken} taken, {refused} refused");
    assert_eq!(running.postbacks().len(), taken);
    running.log.wait_for(Topic::Refused, refused).await;

    let mut places = vec![
        ("answers", answers),
        ("logs", String::from_utf8(logs.0.lock().unwrap().clone()).unwrap()),
        ("metrics", metrics.render()),
    ];
    for topic in Topic::ALL {
        let records = running.log.records(topic).into_iter().flat_map(|(_, record)| {
            [record.key, record.value].map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        });
        places.push((topic.name(), records.collect::<Vec<_>>().join("\n")));
    }
    for (place, text) in &places {
        for canary in &canaries {
            assert!(!text.contains(canary.as_str()), "{canary} is in the {place}");
        }
    }
    // What was meant as a credential is not in the refusals either.
    let (_, refusals) = places.iter().find(|(place, _)| *place == "refused").unwrap();
    for altered in &altered {
        assert!(!refusals.contains(altered.as_str()), "{altered} is in the refusals");
    }
    assert!(places[1].1.contains("answered"), "logs were caught");
    assert!(places[2].1.contains("gokart_ingest_requests_total"), "metrics were caught");
    assert!(refusals.contains("[redacted]"));
}
