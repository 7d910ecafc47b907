//! Publisher postbacks as people write them.

use super::{apply, base, check};
use schemas::PublisherPostback;

fn publisher(postbacks: &str) -> String {
    format!("kind: Publisher\nid: acme\ntenant: brownboots\nname: Acme\npostbacks:\n{postbacks}")
}

fn applied(postbacks: &str) -> Vec<PublisherPostback> {
    let mut catalog = base();
    apply(&[("p", &publisher(postbacks))], &mut catalog);
    catalog.publisher("acme").unwrap().postbacks.clone()
}

#[test]
fn a_test_url_is_a_destination_of_its_own() {
    let found = applied(
        "  - url: https://acme.io/p?c={sub1}\n    test_url: https://test.acme.io/{status}\n    \
         statuses: [Success, Rejected]\n    request: json\n",
    );
    let summary: Vec<_> =
        found.iter().map(|it| (it.name.as_str(), it.url.0.as_str(), it.test)).collect();
    assert_eq!(
        summary,
        [
            ("default", "https://acme.io/p?c={sub1}", false),
            ("default/test", "https://test.acme.io/{status}", true),
        ]
    );
    assert_eq!(found[0].statuses, found[1].statuses);
    assert_eq!(found[0].form, found[1].form);
    let alone = applied("  - url: https://acme.io/p\n");
    assert_eq!(alone.len(), 1, "without a test URL there is nothing for tests");
}

#[test]
fn test_urls_are_checked_like_any() {
    let with = |line: &str| publisher(&format!("  - url: https://acme.io/\n    {line}\n"));
    check(
        &with("test_url: ftp://acme.io/"),
        &["f.yaml:7: postbacks[0].test_url: the URL is ftp:, but only http and https are allowed"],
    );
    check(
        &with("test_url: https://acme.io:25/"),
        &[
            "f.yaml:7: postbacks[0].test_url: port 25 is not allowed: 80, 443 and those from 1024 are",
        ],
    );
    check(
        &with("test_url: https://acme.io/\n    test: true"),
        &[
            "f.yaml:7: postbacks[0].test_url: a postback with test: true is told of tests only: its \
           url is the test URL",
        ],
    );
}
