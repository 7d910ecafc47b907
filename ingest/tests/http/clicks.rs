//! Tracking links: who is sent where, what is minted, and what is written before.

use crate::support::log::{MemoryLog, Mood, PARTITIONS};
use crate::support::*;
use proptest::prelude::*;
use schemas::topic::partition_of;
use schemas::*;
use std::sync::Arc;
use std::time::Duration;

const FALLBACK: &str = "https://brownboots.example/away";

/// The click id in a redirect to the offer.
fn minted(answer: &Answer) -> String {
    let location = answer.header("location").unwrap_or_else(|| panic!("{answer:?}"));
    let after = location.split("gk_click_id=").nth(1).unwrap();
    after.split('&').next().unwrap().to_owned()
}

async fn start_changed(change: impl FnOnce(&mut Offer, &mut Share)) -> Running {
    let (mut offer, mut share) = (offer(), share());
    change(&mut offer, &mut share);
    let log = MemoryLog::default();
    let mut documents = documents();
    documents.extend([Document::Offer(Arc::new(offer)), Document::Share(Arc::new(share))]);
    apply(&log, 1, documents).await;
    start_with(config(), log).await
}

#[tokio::test]
async fn a_click_is_minted_written_and_sent_on() {
    let running = start().await;
    let answer = running.click("/c/pet-acme?sub1=a%20b%26c&pub_member_id=u7").await;
    assert_eq!(answer.status, 302);
    let token = minted(&answer);
    assert_eq!(
        answer.header("location").unwrap(),
        format!(
            "https://app.adjust.com/abc?gk_click_id={token}&s=a%20b%26c&n=Pet%20the%20Dogs%20iOS&c=US"
        )
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let click = running.keyring.open(&token).unwrap();
    let root = OfferId::new("pet-the-dogs-ios").unwrap();
    let publisher = PublisherId::new("acme").unwrap();
    assert_eq!(click.root_offer, root);
    assert_eq!(click.share.as_str(), "pet-acme");
    assert_eq!((click.clicked_at(), click.config_version), (NOW, 1));
    assert_eq!((click.country(), click.platform), (Some("US"), Some(Platform::Ios)));
    assert_eq!(click.member, Some(running.keyring.member_hash(&root, &publisher, "u7")));
    assert_eq!((click.test, click.details), (false, false));
    assert_eq!(click.subs.get(1), Some("a b&c"));

    let [row] = &running.clicks()[..] else { panic!("one click") };
    assert_eq!(row.click_id, token);
    assert_eq!((row.publisher_id.as_str(), row.offer_id.as_str()), ("acme", "pet-the-dogs-ios"));
    assert_eq!((row.country.as_deref(), row.platform), (Some("US"), Some(Platform::Ios)));
    assert_eq!((row.subs.get(1), row.offer_version), (Some("a b&c"), 1));
    assert!(row.flags.is_empty() && !row.test);
    assert!(running.log.records(Topic::Postbacks).is_empty(), "everything fitted");
}

#[tokio::test]
async fn the_share_changes_link_and_name() {
    let running = start_changed(|_, share| {
        share.link = Some("https://x.example/{offer_name}/{publisher_id}/{gk_click_id}".into());
        share.name = Some("Dogs!".into());
    })
    .await;
    let answer = running.click("/c/pet-acme").await;
    let location = answer.header("location").unwrap();
    assert!(location.starts_with("https://x.example/Dogs%21/acme/"), "{location}");
    assert!(running.keyring.open(location.rsplit('/').next().unwrap()).is_ok());
}

#[tokio::test]
async fn sub_ids_that_do_not_fit_precede_every_postback() {
    let running = start().await;
    let long = "x/".repeat(60);
    let answer = running.click(&format!("/c/pet-acme?sub1=fits&sub2={long}&sub15=%C3%A9")).await;
    assert_eq!(answer.status, 302);
    let token = minted(&answer);
    assert!(token.len() <= 150);
    let click = running.keyring.open(&token).unwrap();
    assert!(click.details);
    assert_eq!((click.subs.get(1), click.subs.get(2)), (Some("fits"), None));
    // Already there when the redirect came.
    let [(partition, record)] = &running.log.records(Topic::Postbacks)[..] else { panic!("one") };
    assert_eq!(*partition, partition_of(&click.root_offer, PARTITIONS));
    let Input::ClickDetails(details) = Input::decode(&record.value).unwrap() else { panic!() };
    assert_eq!((details.click, details.root_offer), (click.key, click.root_offer));
    assert_eq!(details.subs.get(1), Some("fits"));
    assert_eq!(details.subs.get(2), Some(long.as_str()));
    assert_eq!(details.subs.get(15), Some("é"));
    assert_eq!(running.clicks()[0].subs, details.subs);
}

#[tokio::test]
async fn without_its_details_no_click_goes_out() {
    let target = format!("/c/pet-acme?sub1={}", "x".repeat(200));
    for mood in [Mood::Unavailable, Mood::Full, Mood::Unknown] {
        let running = start().await;
        running.log.set_mood(Topic::Postbacks, mood);
        let answer = running.click(&target).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{mood:?}");
        assert!(running.clicks().is_empty());
        // What needs no details goes on.
        assert_eq!(running.click("/c/pet-acme?sub1=x").await.status, 302);
    }
    let running = start_changed(|_, share| share.fallback_link = Some(FALLBACK.into())).await;
    running.log.set_mood(Topic::Postbacks, Mood::Unavailable);
    assert_eq!(running.click(&target).await.header("location"), Some(FALLBACK));
}

#[tokio::test]
async fn a_click_record_that_is_late_keeps_no_user_waiting_and_is_not_lost() {
    let quick = Duration::from_millis(1);
    let config = || ingest::IngestConfig { click_record_wait: quick, ..config() };
    let running = start_with(config(), MemoryLog::default()).await;
    running.log.set_mood(Topic::Clicks, Mood::Hanging);
    let token = minted(&running.click("/c/pet-acme").await);
    assert!(running.clicks().is_empty());
    running.log.set_mood(Topic::Clicks, Mood::Well);
    running.log.wait_for(Topic::Clicks, 1).await;
    assert_eq!(running.clicks()[0].click_id, token);

    // Also when the log said no at first; and stopping waits for it.
    let running = start_with(config(), MemoryLog::default()).await;
    running.log.set_mood(Topic::Clicks, Mood::Unavailable);
    let token = minted(&running.click("/c/pet-acme").await);
    running.log.set_mood(Topic::Clicks, Mood::Well);
    running.shutdown.trigger();
    running.ended.await.unwrap().unwrap();
    let rows = running.log.records(Topic::Clicks);
    assert_eq!(codec::decode::<Click>(&rows[0].1.value).unwrap().click_id, token);
}

#[tokio::test]
async fn what_is_not_live_goes_elsewhere_and_mints_nothing() {
    type Change = fn(&mut Offer, &mut Share);
    let cases: [(&str, Change); 6] = [
        ("offer paused", |offer, _| offer.state = LiveState::Paused),
        ("offer closed", |offer, _| offer.state = LiveState::Closed { at: NOW }),
        ("share paused", |_, share| share.state = LiveState::Paused),
        ("not launched", |offer, _| offer.launch_at = NOW.plus_ms(1)),
        ("other country", |offer, _| offer.targeting.countries = vec!["ZA".into()]),
        ("other platform", |offer, _| offer.targeting.platforms = vec![Platform::Android]),
    ];
    for (name, change) in cases {
        let running = start_changed(change).await;
        assert_eq!(running.click("/c/pet-acme?sub1=x").await.status, 410, "{name}");
        let running = start_changed(|offer, share| {
            change(offer, share);
            share.fallback_link = Some(format!("{FALLBACK}?s={{sub1}}&c={{gk_click_id}}"));
        })
        .await;
        let answer = running.click("/c/pet-acme?sub1=a%20b").await;
        let expected = format!("{FALLBACK}?s=a%20b&c=");
        assert_eq!((answer.status, answer.header("location")), (302, Some(&*expected)), "{name}");
        assert!(running.clicks().is_empty());
    }
    // The share has none of its own: the tenant's.
    let log = MemoryLog::default();
    let mut all = documents();
    let paused = Offer { state: LiveState::Paused, ..offer() };
    all.extend([tenant("brownboots", Some(FALLBACK)), Document::Offer(Arc::new(paused))]);
    apply(&log, 1, all).await;
    let running = start_with(config(), log).await;
    assert_eq!(running.click("/c/pet-acme").await.header("location"), Some(FALLBACK));
}

#[tokio::test]
async fn what_is_used_up_is_not_live_until_its_period_ends() {
    let scopes = [
        AvailabilityScope::RootOffer(offer().root),
        AvailabilityScope::Offer(offer().id),
        AvailabilityScope::Share(share().id),
    ];
    for scope in scopes {
        let log = MemoryLog::default();
        let until = NOW.plus_ms(60_000);
        let used_up = Availability {
            scope: scope.clone(),
            exhausted: Some(Reason::CapReached),
            until: Some(until),
            at: NOW,
        };
        announce(&log, used_up.clone()).await;
        let running = start_with(config(), log).await;
        assert_eq!(running.click("/c/pet-acme").await.status, 410, "{scope:?}");
        running.clock.set(until.0);
        assert_eq!(running.click("/c/pet-acme").await.status, 302, "{scope:?}");
        running.clock.set(NOW.0);
        assert_eq!(running.click("/c/pet-acme").await.status, 410, "{scope:?}");
        announce(&*running.log, Availability { exhausted: None, until: None, ..used_up }).await;
        let back = async {
            while running.click("/c/pet-acme").await.status != 302 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, back).await.expect("it is never available again");
    }
}

#[tokio::test]
async fn what_is_not_known_passes_flagged() {
    let running = start().await;
    assert_eq!(running.get("/c/pet-acme").await.status, 302);
    assert_eq!(running.clicks()[0].flags, [Flag::UnknownCountry, Flag::UnknownPlatform]);
    assert_eq!((running.clicks()[0].country.as_ref(), running.clicks()[0].platform), (None, None));
}

#[tokio::test]
async fn links_that_do_not_exist() {
    let running = start().await;
    for target in
        ["/c/nobody", "/c/PET-ACME", "/c/pet-acme?gk_test=", "/c/pet-acme?gk_test=x", "/c/%FF"]
    {
        assert_eq!(running.click(target).await.status, 404, "{target}");
    }
    for host in ["api.shoes.localhost", "api.nobody.localhost", "localhost"] {
        let request = format!("GET /c/pet-acme HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(running.ask(&request).await.status, 404, "{host}");
    }
}

#[tokio::test]
async fn a_signed_test_link_mints_test_clicks() {
    let running = start_changed(|offer, _| {
        offer.launch_at = NOW.plus_ms(1);
        offer.targeting.countries = vec!["ZA".into()];
    })
    .await;
    let signature = running.keyring.test_link_signature(&share().id);
    let answer = running.click(&format!("/c/pet-acme?gk_test={signature}&sub1=x")).await;
    assert_eq!(answer.status, 302, "an integration is tested before its launch");
    assert!(running.keyring.open(&minted(&answer)).unwrap().test);
    assert!(running.clicks()[0].test);
    let paused = start_changed(|offer, _| offer.state = LiveState::Paused).await;
    assert_eq!(paused.click(&format!("/c/pet-acme?gk_test={signature}")).await.status, 410);
}

#[tokio::test]
async fn head_shows_the_way_and_mints_nothing() {
    let running = start_changed(|offer, share| {
        offer.targeting.countries = vec!["ZA".into()];
        share.fallback_link = Some(FALLBACK.into());
    })
    .await;
    let head = |country: &str| {
        format!("HEAD /c/pet-acme HTTP/1.1\r\nHost: {HOST}\r\nX-Country: {country}\r\n\r\n")
    };
    assert_eq!(running.ask(&head("ZA")).await.status, 200);
    assert_eq!(running.ask(&head("US")).await.header("location"), Some(FALLBACK));
    assert!(running.clicks().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever sub-ids a publisher sends, they come back byte for byte: in the token, or in the
    /// details that precede any postback.
    #[test]
    fn sub_ids_come_back(subs in proptest::collection::btree_map(1..=15usize, "\\PC{1,40}", 0..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let running = start().await;
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            let query: Vec<_> = subs.iter().map(|(n, sub)| format!("sub{n}={}", encode(sub))).collect();
            let answer = running.click(&format!("/c/pet-acme?{}", query.join("&"))).await;
            let click = running.keyring.open(&minted(&answer)).unwrap();
            let kept = match &running.log.records(Topic::Postbacks)[..] {
                [] => click.subs,
                [(_, record)] => match Input::decode(&record.value).unwrap() {
                    Input::ClickDetails(details) => details.subs,
                    other => panic!("{other:?}"),
                },
                more => panic!("{more:?}"),
            };
            for number in 1..=15 {
                assert_eq!(kept.get(number), subs.get(&number).map(String::as_str));
            }
        });
    }
}
