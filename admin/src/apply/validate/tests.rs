//! Every rule about documents, as small files and the messages they get.

use crate::apply::{Source, check as check_documents};
use schemas::{Catalog, Document, LiveState, UnixMillis};

mod postbacks;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

/// A sound base that the cases change.
const TENANT: &str = "\
kind: Tenant
id: brownboots
name: Brown Boots
time_zone: America/New_York
---
kind: Advertiser
id: brain-games
tenant: brownboots
name: Brain Games
---
kind: Publisher
id: acme
tenant: brownboots
name: Acme
";

const OFFER: &str = "\
kind: Offer
id: dogs
advertiser: brain-games
name: Pet the Dogs
integration: adjust
link: https://app.adjust.com/abc
currency: USD
events:
  - id: Install
    name: Install
    sequence: 1
    revenue: 0.50
";

const SHARE: &str = "\
kind: Share
id: dogs-acme
offer: dogs
publisher: acme
";

fn sources(files: &[(&str, &str)]) -> Vec<Source> {
    let source =
        |(name, text): &(&str, &str)| Source { name: (*name).to_owned(), text: (*text).to_owned() };
    files.iter().map(source).collect()
}

fn apply(files: &[(&str, &str)], catalog: &mut Catalog) -> usize {
    let documents = check_documents(&sources(files), catalog, NOW)
        .unwrap_or_else(|problems| panic!("{problems:?}"));
    let count = documents.len();
    catalog.apply(catalog.version + 1, documents);
    count
}

fn base() -> Catalog {
    let mut catalog = Catalog::default();
    apply(&[("t", TENANT), ("o", OFFER), ("s", SHARE)], &mut catalog);
    catalog
}

/// One file against the base: the messages it gets.
fn check(text: &str, expected: &[&str]) {
    check_against(&base(), text, expected);
}

fn check_against(catalog: &Catalog, text: &str, expected: &[&str]) {
    let found = match check_documents(&sources(&[("f.yaml", text)]), catalog, NOW) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(found, expected, "\n{text}");
}

/// The offer with one line replaced, or with lines added at its end.
fn offer_with(replace: &str, by: &str) -> String {
    assert!(OFFER.contains(replace), "{replace}");
    OFFER.replace(replace, by)
}

#[test]
fn the_examples_are_sound_and_mean_what_they_say() {
    let text = include_str!("../../../../examples/brownboots.yaml");
    let mut catalog = Catalog::default();
    assert_eq!(apply(&[("examples/brownboots.yaml", text)], &mut catalog), 10);
    assert_eq!(apply(&[("examples/brownboots.yaml", text)], &mut catalog), 0, "nothing changes");
    let offer = catalog.offer("pet-the-dogs-ios").unwrap();
    assert_eq!(offer.launch_at.to_string(), "2025-11-01T04:00:00.000Z");
    assert!(offer.link.ends_with("&gk_click_id={gk_click_id}"), "{}", offer.link);
    let events: Vec<_> = offer
        .events
        .iter()
        .map(|e| {
            let amounts = format!("{} {} {}", e.revenue, e.payout, e.reward);
            (e.id.as_str(), e.sequence, e.pending_ms / 86_400_000, amounts)
        })
        .collect();
    assert_eq!(
        events,
        [
            ("Install", Some(1), 0, "0.50 0.50 50.00".to_owned()),
            ("s2s_level 200", Some(2), 0, "2.00 2.00 400.00".to_owned()),
            ("s2s_level 400", Some(3), 7, "7.50 6.00 1500.00".to_owned()),
        ]
    );
    assert_eq!(catalog.share("ptd-sunny").unwrap().events[0].caps.total, Some(500));
}

#[test]
fn everything_wrong_is_told_at_once() {
    let text = "\
kind: Offer
id: Dogs
advertiser: nobody
name: ''
integration: adjst
link: ftp://x
currency: usd
buget: 5
events:
  - id: install
    sequence: 0
    revenue: -1
    pending_time: 7
  - name: [a]
    sequence: 2
---
kind: Ofer
---
kind: Share
id: x
offer: dogs
";
    check(
        text,
        &[
            "f.yaml:2: id: \"Dogs\" is not an id: use 1 to 32 of a-z, 0-9, '-' and '_', starting \
             with a letter or digit",
            "f.yaml:3: advertiser: there is no advertiser \"nobody\"",
            "f.yaml:4: name: is empty",
            "f.yaml:5: integration: \"adjst\" is not known here; there are adjust, appsflyer, \
             branch, singular, kochava, custom",
            "f.yaml:7: currency: \"usd\" is not a currency: write its three letters in capitals, \
             e.g. USD",
            "f.yaml:8: buget: there is no such field here; there are kind, id, advertiser, \
             clone_of, detached, name, campaign, headline, description, categories, creative, \
             integration, profile, convert_ignored, link, state, closed_at, launch, currency, \
             budget, epc, reward_unit, targeting, events, sequence_rule, sequence_grace, \
             attribution_window, honour_days, reversal_window, amounts_at, time_zone",
            "f.yaml:10: events[0].id: \"install\" must be spelled \"Install\": that is what every \
             integration sends (other spellings can be aliases)",
            "f.yaml:10: events[0].name: is missing",
            "f.yaml:11: events[0].sequence: the sequence starts at 1",
            "f.yaml:12: events[0].revenue: -1 is negative; amounts are 0 or more",
            "f.yaml:13: events[0].pending_time: \"7\" is not a time: write 30s, 15m, 24h, 7d or 0",
            "f.yaml:14: events[1].id: is missing",
            "f.yaml:14: events[1].name: write one value here: a short text",
            "f.yaml:15: events[1].sequence: the sequence starts at 1, but 2 is the lowest here",
            "f.yaml:17: kind: \"Ofer\" is not a kind of document; there are Tenant, Advertiser, \
             Publisher, Offer, Share",
            "f.yaml:19: publisher: is missing",
        ],
    );
}

#[test]
fn several_files_each_with_its_own_lines() {
    let files = [("a.yaml", "kind: Tenant\nid: x"), ("b.yaml", "a: [\n"), ("c.yaml", "- 1")];
    let problems = check_documents(&sources(&files), &Catalog::default(), NOW).unwrap_err();
    let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "a.yaml:1: name: is missing",
            "a.yaml:1: time_zone: is missing",
            "b.yaml:1: this is not YAML: unclosed bracket '['",
            "c.yaml:1: write fields here, as `name: value` lines",
        ]
    );
}

#[test]
fn parties() {
    check(
        "kind: Tenant\nid: brown_boots\nname: x\ntime_zone: Mars\nfallback_link: x",
        &[
            "f.yaml:2: id: is part of the host name api.<tenant>.<base domain>: no '_', and no \
             '-' at its end",
            "f.yaml:4: time_zone: \"Mars\" is not a time zone: write e.g. UTC or Europe/Berlin",
        ],
    );
    check(
        "kind: Tenant\nid: y\nname: x\ntime_zone: UTC\nfallback_link: \"https://x/{gk_click_id}\"",
        &["f.yaml:5: fallback_link: a fallback link cannot have {gk_click_id}: no click is \
           counted, so there is none"],
    );
    let tenant = TENANT.split("---").next().unwrap();
    check(
        &tenant.replace("America/New_York", "UTC"),
        &[
            "f.yaml:4: time_zone: was America/New_York until now: apply the tenant's offers together \
           with it, because their launches and cap periods follow (dogs)",
        ],
    );
    check(&format!("{}---\n{OFFER}", tenant.replace("America/New_York", "UTC")), &[]);
    check(
        "kind: Advertiser\nid: a\ntenant: nobody\nname: x\ncredential_versions: [0, 1]",
        &[
            "f.yaml:3: tenant: there is no tenant \"nobody\"",
            "f.yaml:5: credential_versions[0]: versions are whole numbers from 1",
        ],
    );
    check(
        "kind: Advertiser\nid: a\ntenant: brownboots\nname: x\ncredential_versions: [1, 2, 3]",
        &["f.yaml:5: credential_versions: has 3 versions; one, or 2 while rotating"],
    );
    check(
        "kind: Advertiser\nid: a\ntenant: brownboots\nname: x\ncredential_versions: [1, 1]",
        &["f.yaml:5: credential_versions[1]: 1 is there twice"],
    );
    check(
        "kind: Tenant\nid: other\nname: x\ntime_zone: UTC\n---\n\
         kind: Publisher\nid: acme\ntenant: other\nname: x",
        &["f.yaml:8: tenant: was brownboots; it cannot move to another tenant"],
    );
    check(
        "kind: Publisher\nid: p\ntenant: brownboots\nname: x\n---\n\
         kind: Publisher\nid: p\ntenant: brownboots\nname: y",
        &["f.yaml:7: id: \"p\" is the publisher of f.yaml:2 already; ids are unique"],
    );
}

#[test]
fn events_of_an_offer() {
    let event = |more: &str| format!("{OFFER}{more}");
    check(
        &event("  - id: Install\n    name: x\n    sequence: 2\n    aliases: [Install]\n"),
        &[
            "f.yaml:13: events[1].id: \"Install\" is in line 9 already; event IDs and aliases are \
             unique in an offer",
            "f.yaml:16: events[1].aliases[0]: \"Install\" is in line 13 already; event IDs and \
             aliases are unique in an offer",
        ],
    );
    check(&event("    aliases: [install, INSTALL]\n"), &[]);
    check(
        &event("    deadline: 0\n"),
        &["f.yaml:13: events[0].deadline: a deadline of 0 would refuse every conversion"],
    );
    check(
        &event("    deadline: 1d\n    minimum_time: 24h\n"),
        &["f.yaml:14: events[0].minimum_time: is not shorter than the event's deadline"],
    );
    check(
        &event("    caps: {dayly: 1, total: -1}\n"),
        &[
            "f.yaml:13: events[0].caps.dayly: there is no such field here; there are daily, \
             weekly, monthly, total",
            "f.yaml:13: events[0].caps.total: \"-1\" is not a whole number from 0",
        ],
    );
    check(&offer_with("    sequence: 1\n", ""), &["f.yaml:9: events[0].sequence: is missing"]);
    check(&offer_with("sequence: 1", "sequence: none"), &[]);
    let none = OFFER.split("events:").next().unwrap();
    check(none, &["f.yaml:1: events: an offer has at least one event"]);
    let many: String =
        (0..201).map(|n| format!("  - {{id: e{n}, name: e, sequence: 1}}\n")).collect();
    check(
        &format!("{none}events:\n{many}"),
        &["f.yaml:1: events: an offer has at most 200 events"],
    );
    check(
        &offer_with("0.50", "9999999999999"),
        &["f.yaml:12: events[0].revenue: \"9999999999999\" is not an amount: too large; write \
           e.g. 1.25"],
    );
}

#[test]
fn what_is_absurd_is_refused() {
    let none = OFFER.split("events:").next().unwrap();
    let many: String =
        (0..10_000).map(|n| format!("  - {{id: e{n}, name: e, sequence: 1}}\n")).collect();
    check(
        &format!("{none}events:\n{many}"),
        &["f.yaml:1: events: an offer has at most 200 events"],
    );
    let found = |text: &str| match check_documents(&sources(&[("f.yaml", text)]), &base(), NOW) {
        Ok(documents) => panic!("taken: {documents:?}"),
        Err(problems) => problems.iter().map(ToString::to_string).collect::<String>(),
    };
    let refused = |replace: &str, by: &str, place: &str, why: &str| {
        let message = found(&offer_with(replace, by));
        let by: String = by.chars().take(80).collect();
        assert!(message.starts_with(&format!("f.yaml:{place}: ")), "{by}: {message}");
        assert!(message.contains(why), "{by}: {message}");
        assert!(message.len() < 1_000, "{} bytes about {place}", message.len());
    };
    let long = format!("id: {}", "x".repeat(1 << 20));
    refused("id: Install", &long, "9: events[0].id", "1 to 255 bytes");
    for amount in ["NaN", ".nan", "Infinity", "1e3", "1,50", "0x1", "''", "[1]", "0.0000001"] {
        refused("0.50", amount, "12: events[0].revenue", "amount");
    }
    for amount in ["-0.000001", "-9223372036854.775807"] {
        refused("0.50", amount, "12: events[0].revenue", "is negative");
    }
    refused("0.50", "1000000000000.000001", "12: events[0].revenue", "the greatest amount");
    check(&offer_with("0.50", "1000000000000"), &[]);
    for currency in ["XBT", "DOGE", "us dollars", "usd", "''", "840"] {
        refused("currency: USD", &format!("currency: {currency}"), "7: currency", "currency");
    }
    for day in ["2026-02-30", "0000-00-00", "99999-01-01", "-262143-01-01", "2026-01-01T25:00:00Z"]
    {
        refused("currency: USD", &format!("currency: USD\nlaunch: {day}"), "8: launch", "");
    }
    for time in ["1099d", "9223372036854775807d", "9223372036854775808s", "-1d", "1y", "1.5h"] {
        let line = format!("revenue: 0.50\n    pending_time: {time}");
        refused("revenue: 0.50", &line, "13: events[0].pending_time", time);
    }
    refused("sequence: 1", "sequence: 4294967296", "11: events[0].sequence", "is not a level");
    let caps = "revenue: 0.50\n    caps: {total: 18446744073709551616}";
    refused("revenue: 0.50", caps, "13: events[0].caps.total", "is not a whole number");
}

#[test]
fn what_an_offer_says() {
    check(
        &offer_with(
            "currency: USD",
            "currency: USD\ntargeting: {countries: [US, us], platforms: ios}",
        ),
        &["f.yaml:8: targeting.countries[1]: \"us\" is not a country: write its two letters in \
           capitals, e.g. US, ZA, AU"],
    );
    check(
        &offer_with("currency: USD", "currency: USD\nlaunch: 2026-02-30\nclosed_at: 2026-01-01"),
        &[
            "f.yaml:8: launch: \"2026-02-30\" is not a day or time: write 2026-11-01 or \
             2026-11-01T12:00:00Z",
            "f.yaml:9: closed_at: only belongs to `state: closed`",
        ],
    );
    check(
        &offer_with("currency: USD", "currency: USD\nattribution_window: 0\nhonour_days: 2000"),
        &["f.yaml:8: attribution_window: a window of 0 would refuse every conversion"],
    );
    check(
        &offer_with("currency: USD", "currency: USD\nhonour_days: 2000"),
        &["f.yaml:8: honour_days: is more than 1098 days"],
    );
    check(
        &offer_with("currency: USD", "currency: EUR"),
        &["f.yaml:7: currency: was USD; what has been counted in it cannot be counted on in \
           another (make a detached clone)"],
    );
    check(
        &offer_with("integration: adjust", "integration: custom"),
        &[
            "f.yaml:6: link: the link does not pass the click id on: put gk_click_id={gk_click_id}, \
           or whatever the advertiser's system calls it, into the link",
        ],
    );
    check(
        &offer_with("currency: USD", "currency: USD\nprofile: {times: [ts]}"),
        &["f.yaml:8: profile: the profile of Adjust is built in; only `integration: custom` has \
           one of its own"],
    );
}

#[test]
fn custom_profiles() {
    let custom = |profile: &str| {
        offer_with("integration: adjust", "integration: custom")
            .replace("/abc", "/abc?c={gk_click_id}")
            + profile
    };
    check(
        &custom("profile:\n  amounts: [{name: cents, decimals: 7}]\n"),
        &["f.yaml:14: profile.amounts[0].decimals: is more than 6"],
    );
    check(
        &custom("profile:\n  rejects: [{parameter: status, values: [approved]}]\n"),
        &["f.yaml:14: profile: status=approved is listed twice among converts, rejects and \
           ignores"],
    );
    check(
        &custom("profile:\n  rejects: [{parameter: state}]\n"),
        &["f.yaml:14: profile.rejects[0].parameter: names no values"],
    );
    let mut catalog = base();
    let profile = "profile:\n  amounts: [{name: cents, decimals: 2}]\n  times: [ts]\n";
    apply(&[("f", &custom(profile))], &mut catalog);
    let profile = catalog.offer("dogs").unwrap().profile().clone();
    assert_eq!((profile.amounts[0].decimals, profile.times[0].as_str()), (2, "ts"));
    assert_eq!(profile.currencies, ["currency"], "the rest is as the contract says");
}

#[test]
fn clones_keep_their_root() {
    let clone = |id: &str, more: &str| {
        OFFER.replace("id: dogs\n", &format!("id: {id}\nclone_of: dogs\n{more}"))
    };
    let mut catalog = base();
    apply(&[("f", &clone("cats", ""))], &mut catalog);
    let of_clone = clone("mice", "").replace("clone_of: dogs", "clone_of: cats");
    apply(&[("f", &of_clone), ("g", &clone("free", "detached: true\n"))], &mut catalog);
    let root = |id: &str| catalog.offer(id).unwrap().root.to_string();
    assert_eq!([root("cats"), root("mice"), root("free")], ["dogs", "dogs", "free"]);

    check_against(
        &catalog,
        &clone("cats", "detached: true\n"),
        &["f.yaml:3: clone_of: budget, caps and uniqueness of cats count at dogs; that cannot \
           change to cats any more (make a new offer)"],
    );
    check_against(
        &catalog,
        &clone("new", "budget: 5\n"),
        &["f.yaml:4: budget: the budget counts at the root dogs; set it there"],
    );
    check_against(
        &catalog,
        &clone("new", "").replace("USD", "EUR"),
        &["f.yaml:3: clone_of: its root dogs is in USD, and one budget has one currency; a clone \
           in another is `detached: true`"],
    );
    check_against(
        &catalog,
        &format!(
            "kind: Advertiser\nid: other\ntenant: brownboots\nname: x\n---\n{}",
            clone("new", "").replace("brain-games", "other")
        ),
        &[
            "f.yaml:8: clone_of: its root dogs is of the advertiser brain-games; a clone for another \
           one is `detached: true`",
        ],
    );
    check(
        &clone("new", "").replace("clone_of: dogs", "clone_of: gone"),
        &["f.yaml:3: clone_of: there is no offer \"gone\""],
    );
    check(
        &OFFER.replace("id: dogs\n", "id: new\ndetached: true\n"),
        &["f.yaml:3: detached: only belongs to a clone (clone_of)"],
    );
    let one = clone("a", "").replace("clone_of: dogs", "clone_of: b");
    let two = clone("b", "").replace("clone_of: dogs", "clone_of: a");
    check(
        &format!("{one}---\n{two}"),
        &[
            "f.yaml:3: clone_of: the offers are clones of each other",
            "f.yaml:17: clone_of: the offers are clones of each other",
        ],
    );
    check_against(
        &catalog,
        &format!(
            "kind: Advertiser\nid: other\ntenant: brownboots\nname: x\n---\n{}",
            OFFER.replace("brain-games", "other")
        ),
        &["f.yaml:8: advertiser: was brain-games; an offer cannot move to another advertiser"],
    );
}

#[test]
fn shares_stay_what_they_are() {
    let publisher = "kind: Publisher\nid: sunny\ntenant: brownboots\nname: x\n---\n";
    check(
        &format!("{publisher}{}", SHARE.replace("publisher: acme", "publisher: sunny")),
        &["f.yaml:9: publisher: was acme; a share cannot move to another publisher (make a new \
           share)"],
    );
    check(
        &format!(
            "{}---\n{}",
            OFFER.replace("id: dogs", "id: cats"),
            SHARE.replace("offer: dogs", "offer: cats")
        ),
        &["f.yaml:16: offer: was dogs; a share stays with its offer (make a new share)"],
    );
    check(
        &SHARE.replace("id: dogs-acme", "id: again").replace("offer: dogs", "offer: dogs-acme"),
        &["f.yaml:3: offer: \"dogs-acme\" is a share, and a share cannot be shared again: share \
           its offer"],
    );
    check(
        &SHARE.replace("id: dogs-acme", "id: second"),
        &["f.yaml:2: id: the offer dogs is shared with acme as \"dogs-acme\" already"],
    );
    check(
        "kind: Share\nid: s\noffer: gone\npublisher: gone",
        &[
            "f.yaml:3: offer: there is no offer \"gone\"",
            "f.yaml:4: publisher: there is no publisher \"gone\"",
        ],
    );
    check(
        &format!("{SHARE}link: https://x/{{nope}}\nevents:\n  - event: Instal\n  - payout: 1\n"),
        &[
            "f.yaml:5: link: {nope} is not a macro that is known here; there are gk_click_id, sub1, \
             sub2, sub3, sub4, sub5, sub6, sub7, sub8, sub9, sub10, sub11, sub12, sub13, sub14, \
             sub15, offer_id, offer_name, publisher_id, pub_member_id, country, platform, idfa, \
             gaid, cost_type, cost_amount, cost_currency",
            "f.yaml:7: events[0].event: the offer dogs has no event \"Instal\"; there are Install",
            "f.yaml:8: events[1].event: is missing",
        ],
    );
    check(
        "kind: Tenant\nid: other\nname: x\ntime_zone: UTC\n---\n\
         kind: Publisher\nid: far\ntenant: other\nname: x\n---\n\
         kind: Share\nid: s\noffer: dogs\npublisher: far",
        &["f.yaml:14: publisher: the publisher belongs to the tenant other, the offer to \
           brownboots"],
    );
}

#[test]
fn closing_keeps_its_time_and_applying_again_changes_nothing() {
    let closed = offer_with("currency: USD", "currency: USD\nstate: closed");
    let mut catalog = base();
    assert_eq!(apply(&[("f", &closed)], &mut catalog), 1);
    assert_eq!(catalog.offer("dogs").unwrap().state, LiveState::Closed { at: NOW });
    let later = check_documents(&sources(&[("f", &closed)]), &catalog, NOW.plus_ms(5)).unwrap();
    assert_eq!(later, Vec::new());
    let on = closed.replace("closed\n", "closed\nclosed_at: 2026-11-01\n");
    let later = check_documents(&sources(&[("f", &on)]), &catalog, NOW).unwrap();
    let [Document::Offer(offer)] = later.as_slice() else { panic!("{later:?}") };
    assert_eq!(format!("{:?}", offer.state), "Closed { at: UnixMillis(1793505600000) }");
}

#[test]
fn what_is_broken_does_not_make_what_refers_to_it_broken() {
    let text = "kind: Tenant\nid: t\nname: x\n---\n\
                kind: Advertiser\nid: a\ntenant: t\nname: x\n---\n\
                kind: Publisher\nid: p\ntenant: t\nname: x\n---\n"
        .to_owned()
        + &OFFER.replace("id: dogs", "id: o").replace("brain-games", "a")
        + "---\nkind: Share\nid: s\noffer: o\npublisher: p";
    check(&text, &["f.yaml:1: time_zone: is missing"]);
}
