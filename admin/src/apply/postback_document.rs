//! A publisher postback as people write it, below a publisher or a share.

use super::fields::{At, Fields};
use super::value::{Count, EventName, Flag, LongText, Name, RequestChoice, Slug, StatusChoice};
use schemars::JsonSchema;

/// A URL that is told of conversions.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PostbackDocument {
    /// Line of the postback; not a field.
    #[schemars(skip)]
    pub line: u32,
    /// Tells it from the others of the same document; `default` unless given.
    pub name: Option<At<Slug>>,
    /// Http(s), with macros such as `{sub1}` and `{payout}`.
    #[schemars(required)]
    pub url: Option<At<LongText>>,
    /// Where test conversions and samples go instead; without it they go nowhere.
    pub test_url: Option<At<LongText>>,
    /// `get` (unless given), `form` (POST, a form) or `json` (POST, JSON).
    pub request: Option<At<RequestChoice>>,
    /// The body's fields. JSON without fields: everything that a publisher may know.
    pub fields: Option<Vec<FieldDocument>>,
    /// Only these event IDs; all that are not private unless given.
    pub events: Option<Vec<At<EventName>>>,
    /// `Success` unless given; `Pending` and `Rejected` too.
    pub statuses: Option<Vec<At<StatusChoice>>>,
    /// For test conversions, and for nothing else.
    pub test: Option<At<Flag>>,
    /// Goes along with every request; its value is never shown again.
    pub header: Option<HeaderDocument>,
    /// Requests under way at once; 8 unless given.
    pub in_flight: Option<At<Count>>,
    /// Requests a second; 50 unless given.
    pub per_second: Option<At<Count>>,
}

impl PostbackDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            line: fields.line,
            name: fields.optional("name"),
            url: fields.required("url"),
            test_url: fields.optional("test_url"),
            request: fields.optional("request"),
            fields: fields.maps("fields", FieldDocument::read),
            events: fields.list("events"),
            statuses: fields.list("statuses"),
            test: fields.optional("test"),
            header: fields.map("header", HeaderDocument::read),
            in_flight: fields.optional("in_flight"),
            per_second: fields.optional("per_second"),
        }
    }
}

/// A field of the body.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct FieldDocument {
    #[schemars(required)]
    pub name: Option<At<Name>>,
    /// A text with macros.
    #[schemars(required)]
    pub value: Option<At<LongText>>,
}

impl FieldDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self { name: fields.required("name"), value: fields.required("value") }
    }
}

/// A header with a fixed value.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct HeaderDocument {
    #[schemars(required)]
    pub name: Option<At<Name>>,
    #[schemars(required)]
    pub value: Option<At<LongText>>,
}

impl std::fmt::Debug for HeaderDocument {
    /// Without the value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderDocument").field("name", &self.name).finish_non_exhaustive()
    }
}

impl HeaderDocument {
    pub fn read(fields: &mut Fields<'_>) -> Self {
        Self { name: fields.required("name"), value: fields.required("value") }
    }
}
