//! The HTTP contract over real connections: what is taken, what is refused, and how.

use crate::support::log::PARTITIONS;
use crate::support::*;
use proptest::prelude::*;
use schemas::topic::partition_of;
use schemas::*;

fn sealed(running: &Running) -> String {
    let click = ResolvedClick {
        key: ClickKey::new(NOW, [5; 8]),
        root_offer: OfferId::new("pet-the-dogs-ios").unwrap(),
        share: ShareId::new("pet-acme").unwrap(),
        config_version: 1,
        country: None,
        platform: None,
        member: None,
        test: false,
        subs: SubIds::default(),
        details: false,
    };
    running.keyring.seal(&click, NOW, 150).unwrap().token
}

#[tokio::test]
async fn an_accepted_postback_is_in_the_log_as_it_came() {
    let running = start().await;
    let token = sealed(&running);
    let target = format!(
        "{}&gk_click_id={token}&cnv_event_id=s2s_level+200&revenue=1.10&x=1&x=2",
        running.postback_url()
    );
    let answer = running.get(&target).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let [(partition, postback)] = &running.postbacks()[..] else { panic!("one postback") };
    assert_eq!(
        answer.body,
        format!("{{\"status\":\"accepted\",\"postback_id\":\"{}\"}}", postback.postback_id)
    );
    let root = OfferId::new("pet-the-dogs-ios").unwrap();
    assert_eq!(*partition, partition_of(&root, PARTITIONS));
    assert_eq!(postback.tenant.as_str(), "brownboots");
    assert_eq!(postback.advertiser.as_str(), "brain-games");
    assert_eq!(postback.received_at, NOW);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        postback.parameters,
        [
            pair("gk_click_id", &token),
            pair("cnv_event_id", "s2s_level 200"),
            pair("revenue", "1.10"),
            pair("x", "1"),
            pair("x", "2"),
        ]
    );
    assert_eq!(postback.flags, [Flag::RepeatedParameter]);
    assert_eq!(postback.postback_id.0.get_version_num(), 7);
}

#[tokio::test]
async fn spellings_of_the_same_url_are_the_same() {
    let running = start().await;
    let it = running.credentials("brain-games", "brownboots");
    let ([a, b, c], s) = (it.segments(), it.signature());
    let targets = [
        format!("/api/v1/{a}/{b}/{c}?signature={s}"),
        format!("/api/v1/{a}/{b}/{c}/?signature={s}"),
        format!("//api/v1//{a}//{b}/{c}//?signature={s}"),
        format!("/api/v1/{a}%2F{b}%2f{c}%2F?signature={s}"),
        format!("/api/v1/%20{a}/{b}%20/{c}%0A/?signature=%20{s}+"),
        format!("http://API.BrownBoots.LocalHost:80/api/v1/{a}/{b}/{c}/?signature={s}"),
        format!("/api/v1/{a}/{b}/{c}/?x=1&signature={s}#fragment"),
    ];
    for target in &targets {
        assert_eq!(running.get(target).await.status, 200, "{target}");
    }
    for host in [
        "API.BrownBoots.localhost:8080",
        "api.brownboots.getgokart.ai",
        "api.brownboots.localhost.",
    ] {
        let answer =
            running.ask(&format!("GET {} HTTP/1.1\r\nHost: {host}\r\n\r\n", targets[0])).await;
        assert_eq!(answer.status, 200, "{host}");
    }
}

#[tokio::test]
async fn bodies_are_read_like_the_query() {
    let running = start().await;
    let url = running.postback_url();
    let (path, signature) = url.split_once("?signature=").unwrap();
    let post = |target: &str, body: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let chunked = format!(
        "POST {url} HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nn=ch\r\n4\r\nunks\r\n0\r\n\r\n"
    );
    let requests = [
        post(&url, "n=form+body"),
        post(&url, r#"{"n":"json","deep":{"er":1.50}}"#),
        post(path, &format!("signature={signature}&n=in+the+body")),
        post(path, &format!("{{\"signature\":\"{signature}\",\"n\":\"in JSON\"}}")),
        post(&url, "neither"),
        chunked,
    ];
    for request in &requests {
        assert_eq!(running.ask(request).await.status, 200, "{request}");
    }
    let mut got: Vec<_> = running
        .postbacks()
        .into_iter()
        .map(|(_, postback)| {
            let n = postback.parameter("n").unwrap_or("none").to_owned();
            assert!(postback.parameters.iter().all(|(name, _)| name != "signature"));
            if n == "json" {
                assert_eq!(postback.parameter("deep.er"), Some("1.50"));
            }
            if n == "none" {
                assert_eq!(postback.flags, [Flag::UnreadableBody]);
            }
            n
        })
        .collect();
    got.sort();
    assert_eq!(got, ["chunks", "form body", "in JSON", "in the body", "json", "none"]);
}

#[tokio::test]
async fn every_mismatch_gives_the_same_403_and_is_listed() {
    let running = start().await;
    let it = running.credentials("brain-games", "brownboots");
    let other = running.credentials("trade", "brownboots");
    let foreign = running.credentials("other", "shoes");
    let url = |segments: [&str; 3], signature: &str| {
        format!("/api/v1/{}/?signature={signature}&cnv_event_id=Install", segments.join("/"))
    };
    let [a, b, c] = it.segments();
    let cases = [
        (HOST, url(["x", b, c], it.signature()), Mismatch::Segments),
        (HOST, url([a, "x", c], it.signature()), Mismatch::Segments),
        (HOST, url([a, b, "x"], it.signature()), Mismatch::Segments),
        (HOST, url([b, a, c], it.signature()), Mismatch::Segments),
        (HOST, format!("/api/v1/{a}/{b}?signature={}", it.signature()), Mismatch::Segments),
        (HOST, "/api/v1/".to_owned(), Mismatch::Segments),
        (HOST, url([a, b, c], other.signature()), Mismatch::Signature),
        (HOST, url([a, b, c], "x"), Mismatch::Signature),
        (HOST, url([a, b, c], ""), Mismatch::MissingSignature),
        (HOST, format!("/api/v1/{a}/{b}/{c}/"), Mismatch::MissingSignature),
        (HOST, url(foreign.segments(), foreign.signature()), Mismatch::OtherTenant),
        ("api.nobody.localhost", url([a, b, c], it.signature()), Mismatch::UnknownHost),
        ("localhost", url([a, b, c], it.signature()), Mismatch::UnknownHost),
        ("[::1]:80", url([a, b, c], it.signature()), Mismatch::UnknownHost),
    ];
    let mut answers = Vec::new();
    for (host, target, _) in &cases {
        for method in ["GET", "POST"] {
            let length = if method == "POST" { "Content-Length: 3\r\n" } else { "" };
            let body = if method == "POST" { "a=b" } else { "" };
            let request = format!(
                "{method} {target} HTTP/1.1\r\nHost: {host}\r\nX-Client: 192.0.2.7\r\n{length}\r\n{body}"
            );
            answers.push(running.ask(&request).await);
        }
    }
    assert_eq!(answers[0].status, 403);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(running.postbacks().is_empty());

    let listed = running.log.wait_for(Topic::Refused, answers.len()).await;
    let listed: Vec<Refusal> =
        listed.iter().map(|(_, record)| codec::decode(&record.value).unwrap()).collect();
    let expected: Vec<_> = cases.iter().flat_map(|(_, _, mismatch)| [*mismatch; 2]).collect();
    assert_eq!(listed.iter().map(|it| it.mismatch).collect::<Vec<_>>(), expected);
    let first = &listed[0];
    assert_eq!((first.address.as_str(), first.host.as_str()), ("192.0.2.7", HOST));
    assert_eq!(first.tenant.as_ref().map(TenantId::as_str), Some("brownboots"));
    assert_eq!(first.parameters, [("cnv_event_id".to_owned(), "Install".to_owned())]);
}

#[tokio::test]
async fn both_live_credential_versions_are_taken() {
    let running = start().await;
    let (tenant, advertiser) =
        (TenantId::new("brownboots").unwrap(), AdvertiserId::new("brain-games").unwrap());
    for (version, status) in [(1, 200), (2, 200), (3, 403)] {
        let it = running.keyring.credentials(&tenant, &advertiser, version).remove(0);
        let target = format!("/api/v1/{}/?signature={}", it.segments().join("/"), it.signature());
        assert_eq!(running.get(&target).await.status, status, "version {version}");
    }
}

#[tokio::test]
async fn methods_and_paths() {
    let running = start().await;
    let url = running.postback_url();
    let check = async |request: &str, status: u16, allow: Option<&str>| {
        let answer = running
            .ask(&format!("{request} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n"))
            .await;
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{request}");
    };
    const POSTBACK: Option<&str> = Some("GET, POST, HEAD, OPTIONS");
    const CLICK: Option<&str> = Some("GET, HEAD, OPTIONS");
    check(&format!("HEAD {url}"), 200, None).await;
    check("HEAD /api/v1/a/b/c", 403, None).await;
    check("OPTIONS /api/v1/a/b/c", 204, POSTBACK).await;
    for method in ["PUT", "DELETE", "PATCH", "BREW"] {
        check(&format!("{method} {url}"), 405, POSTBACK).await;
    }
    check("HEAD /c/pet-acme", 200, None).await;
    check("OPTIONS /c/pet-acme", 204, CLICK).await;
    check("POST /c/pet-acme", 405, CLICK).await;
    for path in ["/", "/favicon.ico", "/api", "/api/v2/a/b/c", "/c", "/c/a/b", "/metrics"] {
        check(&format!("GET {path}"), 404, None).await;
    }
    assert!(running.postbacks().is_empty() && running.clicks().is_empty());
}

#[tokio::test]
async fn malformed_http_gets_its_status() {
    let running = start().await;
    let url = running.postback_url();
    let check = async |request: &str, status: u16| {
        assert_eq!(
            running.ask(request).await.status,
            status,
            "{}",
            &request[..request.len().min(200)]
        );
    };
    check("nonsense\r\n\r\n", 400).await;
    check(&format!("GET {url} HTTP/1.1\r\n\r\n"), 400).await;
    check(&format!("GET {url} HTTP/1.0\r\n\r\n"), 400).await;
    check(&format!("GET {url} HTTP/1.1\r\nHost: {HOST}\r\nHost: {HOST}\r\n\r\n"), 400).await;
    check(&format!("GET {url} HTTP/1.1\r\nHost: a b\r\n\r\n"), 400).await;
    check(&format!("GET {url} HTTP/1.1\r\nHost: {HOST}\r\nbad header\r\n\r\n"), 400).await;
    check(&format!("POST {url} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: x\r\n\r\n"), 400).await;
    let long = |bytes: usize| "a".repeat(bytes);
    check(&format!("GET {url}&a={} HTTP/1.1\r\nHost: {HOST}\r\n\r\n", long(8192)), 414).await;
    check(&format!("GET {url} HTTP/1.1\r\nHost: {HOST}\r\nX-A: {}\r\n\r\n", long(33_000)), 431)
        .await;
    check(&format!("GET {url} HTTP/1.1\r\nHost: {HOST}\r\nX-A: {}\r\n\r\n", long(70_000)), 431)
        .await;
    let body = long(64 * 1024 + 1);
    let head = format!("POST {url} HTTP/1.1\r\nHost: {HOST}\r\n");
    check(&format!("{head}Content-Length: {}\r\n\r\n", body.len()), 413).await;
    check(
        &format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        413,
    )
    .await;
    let fits = long(64 * 1024 - 2);
    check(&format!("{head}Content-Length: {}\r\n\r\na={fits}", fits.len() + 2), 200).await;
    assert_eq!(running.postbacks().len(), 1);
}

#[tokio::test]
async fn a_connection_survives_what_it_can() {
    let running = start().await;
    let url = running.postback_url();
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let mut client = running.connect().await;
    // One by one, a refusal and a wrong path between.
    for (target, status) in [(url.as_str(), 200), ("/api/v1/x/y/z", 403), ("/no", 404), (&url, 200)]
    {
        client.send(&get(target)).await;
        assert_eq!(client.answer(false).await.unwrap().status, status);
    }
    // All at once: the answers come in order.
    client.send(&[get(&url), get("/no"), get(&url), get("/api/v1/x/y/z")].concat()).await;
    for status in [200, 404, 200, 403] {
        assert_eq!(client.answer(false).await.unwrap().status, status);
    }
    assert_eq!(running.postbacks().len(), 4);
}

#[tokio::test]
async fn what_is_accepted_is_spread_over_partitions_without_a_click() {
    let running = start().await;
    let url = running.postback_url();
    let mut client = running.connect().await;
    for n in 0..64 {
        let token = if n % 2 == 0 { "" } else { "&gk_click_id=not-a-token" };
        client.send(&format!("GET {url}{token} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert_eq!(client.answer(false).await.unwrap().status, 200);
    }
    let mut partitions: Vec<_> = running.postbacks().iter().map(|(it, _)| *it).collect();
    partitions.sort_unstable();
    partitions.dedup();
    assert!(partitions.len() > 4, "{partitions:?}");
}

#[tokio::test]
async fn a_configuration_takes_effect_when_it_is_whole() {
    let running = start().await;
    let late = running.credentials("late", "shoes");
    let target = format!("/api/v1/{}/?signature={}", late.segments().join("/"), late.signature());
    let ask = async || {
        let request = format!("GET {target} HTTP/1.1\r\nHost: api.shoes.localhost\r\n\r\n");
        running.ask(&request).await.status
    };
    assert_eq!(ask().await, 403);
    apply(&*running.log, 2, vec![advertiser("late", "shoes")]).await;
    let taken = async {
        while ask().await != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("the new advertiser is never known");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes in, an answer goes out, and nothing gets into the log.
    #[test]
    fn strangers_always_get_an_answer(
        method in "[A-Z]{1,7}",
        target in "/[!-~]{0,60}",
        value in "[ -~]{0,60}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let running = start().await;
            let head = method == "HEAD";
            let request = format!("{method} {target} HTTP/1.1\r\nHost: {HOST}\r\nX-Client: {value}\r\n\r\n");
            let mut client = running.connect().await;
            client.send(&request).await;
            let answer = client.answer(head).await.unwrap();
            assert!((200..500).contains(&answer.status), "{request} {answer:?}");
            assert!(running.postbacks().is_empty());
        });
    }
}
