//! The documents of one apply, each with its file, before anything about them is checked beyond
//! the shape.

use super::document::{
    AdvertiserDocument, OfferDocument, PublisherDocument, ShareDocument, TenantDocument,
};
use super::fields::{At, Fields};
use super::problem::Problems;
use super::tree::{self, Node};
use super::value::{FromText, Slug};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Documents of one apply.
pub const DOCUMENTS_MAX: usize = 10_000;

/// One file, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The sender's name for it, repeated in messages.
    pub name: String,
    pub text: String,
}

/// A document and where it begins.
#[derive(Debug)]
pub struct Placed<'a, T> {
    pub file: &'a str,
    pub line: u32,
    pub document: T,
}

/// Everything that one apply brings, by kind.
#[derive(Debug, Default)]
pub struct Set<'a> {
    pub tenants: Vec<Placed<'a, TenantDocument>>,
    pub advertisers: Vec<Placed<'a, AdvertiserDocument>>,
    pub publishers: Vec<Placed<'a, PublisherDocument>>,
    pub offers: Vec<Placed<'a, OfferDocument>>,
    pub shares: Vec<Placed<'a, ShareDocument>>,
}

const KINDS: [&str; 5] = ["Tenant", "Advertiser", "Publisher", "Offer", "Share"];

/// The word after `kind:`.
struct Kind(&'static str);

impl FromText for Kind {
    const EXAMPLE: &'static str = "Tenant, Advertiser, Publisher, Offer or Share";
    fn from_text(text: &str) -> Result<Self, String> {
        KINDS.into_iter().find(|kind| *kind == text).map(Self).ok_or_else(|| {
            format!("{text:?} is not a kind of document; there are {}", KINDS.join(", "))
        })
    }
}

/// Reads every document of every file; what does not fit is in `problems`.
#[must_use]
pub fn read<'a>(sources: &'a [Source], problems: &Problems) -> Set<'a> {
    let mut set = Set::default();
    let mut count = 0usize;
    for source in sources {
        let nodes = match tree::parse(&source.text) {
            Ok(nodes) => nodes,
            Err(error) => {
                problems.add(&source.name, error.line, "", error.message);
                continue;
            }
        };
        for node in &nodes {
            count += 1;
            if count > DOCUMENTS_MAX {
                let message = format!("more than {DOCUMENTS_MAX} documents in one apply; split it");
                problems.add(&source.name, node.line, "", message);
                return set;
            }
            set.add(&source.name, node, problems);
        }
    }
    set.report_repeated_ids(problems);
    set
}

impl<'a> Set<'a> {
    fn add(&mut self, file: &'a str, node: &Node, problems: &Problems) {
        let Some(mut fields) = Fields::of(node, file, String::new(), problems) else { return };
        let line = fields.line;
        match fields.required::<Kind>("kind").map(|kind| kind.value.0) {
            Some("Tenant") => {
                let document = TenantDocument::read(&mut fields);
                self.tenants.push(Placed { file, line, document });
            }
            Some("Advertiser") => {
                let document = AdvertiserDocument::read(&mut fields);
                self.advertisers.push(Placed { file, line, document });
            }
            Some("Publisher") => {
                let document = PublisherDocument::read(&mut fields);
                self.publishers.push(Placed { file, line, document });
            }
            Some("Offer") => {
                let document = OfferDocument::read(&mut fields);
                self.offers.push(Placed { file, line, document });
            }
            Some("Share") => {
                let document = ShareDocument::read(&mut fields);
                self.shares.push(Placed { file, line, document });
            }
            // Without its kind nothing can be said about the fields.
            _ => return,
        }
        fields.finish();
    }

    fn report_repeated_ids(&self, problems: &Problems) {
        let mut seen = BTreeMap::new();
        let mut check = |kind: &'static str, file: &'a str, id: &Option<At<Slug>>| {
            let Some(id) = id else { return };
            if let Some((file_before, line)) =
                seen.insert((kind, id.value.clone()), (file, id.line))
            {
                let id_text = &id.value.0;
                let message = format!(
                    "{id_text:?} is the {kind} of {file_before}:{line} already; ids are unique"
                );
                problems.add(file, id.line, &id.field, message);
            }
        };
        self.tenants.iter().for_each(|it| check("tenant", it.file, &it.document.id));
        self.advertisers.iter().for_each(|it| check("advertiser", it.file, &it.document.id));
        self.publishers.iter().for_each(|it| check("publisher", it.file, &it.document.id));
        self.offers.iter().for_each(|it| check("offer", it.file, &it.document.id));
        self.shares.iter().for_each(|it| check("share", it.file, &it.document.id));
    }
}
