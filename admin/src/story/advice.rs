//! What to do about a decision, where there is something to do.

use super::facts::{PostbackRow, Token};
use schemas::{Offer, Reason};

/// Event IDs that are named in advice.
const EVENTS_NAMED: usize = 12;

/// Advice about a refused postback; none when there is nothing to do.
pub fn about_postback(
    reason: Reason,
    postback: &PostbackRow,
    offer: Option<&Offer>,
    token: &Token,
) -> Option<String> {
    match reason {
        Reason::MissingEvent => Some(
            "Put cnv_event_id=<the event ID> into the postback URL in the sender's system.".into(),
        ),
        Reason::MissingClickId => Some(
            "Map the click id back in the sender's system: gk_click_id=<its macro for the click id \
             that the offer link gave it>."
                .into(),
        ),
        Reason::MacroNotReplaced => Some(macro_left(postback)),
        Reason::InvalidClickId => Some(match token {
            Token::Invalid(why) => format!(
                "The value is no click id of ours ({why}). Look whether the sender cuts it off, \
                 changes its case, or sends another id in its place."
            ),
            _ => "Look whether the sender cuts the value off or changes its case.".into(),
        }),
        Reason::AdvertiserMismatch => Some(
            "It came with the postback credentials of another advertiser than the offer's. Use the \
             URL that `gokart postback-url` gives for the offer's advertiser."
                .into(),
        ),
        Reason::UnknownEvent => Some(unknown_event(&postback.event_id, offer)),
        Reason::UnknownStatus => Some(
            "Its status parameter has a value that the integration does not know. Correct it in \
             the sender's system, or list the value in the offer's profile."
                .into(),
        ),
        Reason::UnknownOffer => {
            Some("Apply the configuration that has the offer and its share again.".into())
        }
        Reason::ClickWindowExpired => Some(
            "If such late users are to count, raise the offer's attribution_window; this one can \
             only be counted by hand, outside."
                .into(),
        ),
        Reason::DeadlineExceeded => {
            Some("If such late events are to count, raise the event's deadline.".into())
        }
        Reason::OfferClosed => {
            Some("If late conversions are to count, raise the offer's honour_days.".into())
        }
        Reason::RefundUnmatched => Some(
            "Its transaction id matches no conversion of this event. Check the transaction id that \
             the sender reports with refunds."
                .into(),
        ),
        Reason::ReversalReview => {
            Some("Decide by hand: `gokart reject <conversion id> --reason …`, or leave it.".into())
        }
        _ => None,
    }
}

/// Names the parameter whose macro was left in place.
fn macro_left(postback: &PostbackRow) -> String {
    let names = ["cnv_event_id", "event_id", "gk_click_id"];
    let left = postback.parameters.iter().find(|(name, value)| {
        names.contains(&name.as_str()) && value.contains(['{', '[', '(', '%'])
    });
    match left {
        Some((name, value)) => format!(
            "The parameter {name} still says {value:?}. Use the sender's own macro there, or write \
             the value itself."
        ),
        None => "Replace the macro in the postback URL by the sender's own, or by the value \
                 itself."
            .into(),
    }
}

fn unknown_event(received: &str, offer: Option<&Offer>) -> String {
    let Some(offer) = offer else {
        return "Set the event ID in the sender's system to exactly what the offer has.".into();
    };
    let known: Vec<&str> = offer
        .events
        .iter()
        .flat_map(|event| std::iter::once(&event.id).chain(&event.aliases))
        .map(schemas::EventId::as_str)
        .collect();
    let near = known.iter().find(|known| fold(known) == fold(received));
    if let Some(near) = near {
        return format!(
            "It was sent as {received:?}, but the event ID is {near:?}: {}. Correct it in the \
             sender's system, or add {received:?} to the event's aliases.",
            difference(received, near)
        );
    }
    let listed: Vec<String> =
        known.iter().take(EVENTS_NAMED).map(|known| format!("{known:?}")).collect();
    let more = if known.len() > EVENTS_NAMED { " and more" } else { "" };
    format!(
        "The offer's event IDs are {}{more}. Correct {received:?} in the sender's system, or add \
         it to an event's aliases.",
        listed.join(", ")
    )
}

/// Without what people overlook: case, spaces, underscores, hyphens.
fn fold(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

fn difference(received: &str, known: &str) -> &'static str {
    let without_spaces =
        |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
    if received.to_lowercase() == known.to_lowercase() {
        "only the case differs, and case counts"
    } else if without_spaces(received) == without_spaces(known) {
        "only the spaces differ, and spaces count"
    } else {
        "they differ in case, spaces or separators, and those count"
    }
}
