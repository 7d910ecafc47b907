//! Configuration documents, checked against nothing and against the example installation: every
//! text is refused with places, or becomes a configuration that stays the same when it is stored,
//! read back and applied again.

#![no_main]

use admin::apply::{PROBLEMS_MAX, Source, check};
use libfuzzer_sys::fuzz_target;
use schemas::{Catalog, ConfigDocument, ConfigRecord, Document, UnixMillis};
use std::sync::LazyLock;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const EXAMPLE: &str = include_str!("../../examples/brownboots.yaml");
static INSTALLED: LazyLock<Catalog> = LazyLock::new(|| {
    let documents = check(&[source(EXAMPLE)], &Catalog::default(), NOW).unwrap();
    applied(&Catalog::default(), documents)
});

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for current in [&Catalog::default(), &*INSTALLED] {
        match check(&[source(&text)], current, NOW) {
            Ok(documents) => {
                let catalog = applied(current, stored(documents));
                let again = check(&[source(&text)], &catalog, NOW).unwrap();
                assert!(again.is_empty(), "applied again, it changes {again:?}");
            }
            Err(problems) => {
                assert!(!problems.is_empty() && problems.len() <= PROBLEMS_MAX + 1);
            }
        }
    }
});

fn source(text: &str) -> Source {
    Source { name: "f.yaml".to_owned(), text: text.to_owned() }
}

fn applied(current: &Catalog, documents: Vec<Document>) -> Catalog {
    let mut catalog = current.clone();
    catalog.apply(current.version + 1, documents);
    catalog
}

/// The documents as every service reads them.
fn stored(documents: Vec<Document>) -> Vec<Document> {
    let through_the_log = |document: Document| {
        let record = ConfigRecord::Document(ConfigDocument { version: 1, apply: None, document });
        let read = ConfigRecord::decode(&record.encode().1).unwrap();
        assert_eq!(read, record);
        match read {
            ConfigRecord::Document(it) => it.document,
            ConfigRecord::Marker(it) => panic!("a document came back as {it:?}"),
        }
    };
    documents.into_iter().map(through_the_log).collect()
}
