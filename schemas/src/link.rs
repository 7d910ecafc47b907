//! The macros of offer and fallback links. Applying a configuration refuses any other; the
//! ingester fills these.

/// Names as they stand between braces: `{gk_click_id}`.
pub const MACROS: [&str; 27] = [
    "gk_click_id",
    "sub1",
    "sub2",
    "sub3",
    "sub4",
    "sub5",
    "sub6",
    "sub7",
    "sub8",
    "sub9",
    "sub10",
    "sub11",
    "sub12",
    "sub13",
    "sub14",
    "sub15",
    "offer_id",
    "offer_name",
    "publisher_id",
    "pub_member_id",
    "country",
    "platform",
    "idfa",
    "gaid",
    "cost_type",
    "cost_amount",
    "cost_currency",
];

/// Whether a link may hold `{name}`.
#[must_use]
pub fn is_macro(name: &str) -> bool {
    MACROS.contains(&name)
}
