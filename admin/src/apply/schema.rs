//! JSON Schemas of the documents, for editors that check and complete while one types.

use super::document::{
    AdvertiserDocument, OfferDocument, PublisherDocument, ShareDocument, TenantDocument,
};
use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};

/// Every schema: its file name in `schemas/json` and its text.
#[must_use]
pub fn all() -> Vec<(&'static str, String)> {
    vec![
        ("tenant.schema.json", schema::<TenantDocument>("Tenant")),
        ("advertiser.schema.json", schema::<AdvertiserDocument>("Advertiser")),
        ("publisher.schema.json", schema::<PublisherDocument>("Publisher")),
        ("offer.schema.json", schema::<OfferDocument>("Offer")),
        ("share.schema.json", schema::<ShareDocument>("Share")),
    ]
}

fn schema<T: JsonSchema>(kind: &str) -> String {
    let mut schema = Value::from(schema_for!(T));
    schema["title"] = json!(kind);
    // The kind chooses the type, so the type itself does not have it.
    schema["properties"]["kind"] = json!({ "const": kind });
    if let Some(required) = schema["required"].as_array_mut() {
        required.insert(0, json!("kind"));
    }
    format!("{schema:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::fields::Fields;
    use crate::apply::problem::Problems;
    use crate::apply::tree::{Node, Value as TreeValue};
    use std::collections::BTreeSet;

    #[test]
    fn the_files_are_current() {
        for (name, text) in all() {
            let path = format!("{}/../schemas/json/{name}", env!("CARGO_MANIFEST_DIR"));
            let file = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(file, text, "{name}: run `cargo run -p admin --example json-schemas`");
        }
    }

    /// The schema and the reader know the same fields.
    fn check<T: JsonSchema>(read: impl Fn(&mut Fields<'_>) -> T) {
        let problems = Problems::default();
        let node = Node { line: 1, value: TreeValue::Map(Vec::new()) };
        let mut fields = Fields::of(&node, "f", String::new(), &problems).unwrap();
        read(&mut fields);
        let asked: BTreeSet<String> = fields.asked().iter().map(|&n| n.to_owned()).collect();
        let schema = Value::from(schema_for!(T));
        let described = schema["properties"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(asked, described, "{}", T::schema_name());
    }

    #[test]
    fn the_schemas_describe_what_is_read() {
        use crate::apply::document::*;
        check(TenantDocument::read);
        check(AdvertiserDocument::read);
        check(PublisherDocument::read);
        check(OfferDocument::read);
        check(ShareDocument::read);
        check(EventDocument::read);
        check(OverrideDocument::read);
        check(CapsDocument::read);
        check(TargetingDocument::read);
        check(ProfileDocument::read);
        check(AmountDocument::read);
        check(MarkerDocument::read);
    }
}
