//! One input, one decision: the order of the rules.

use crate::macros::holds_macro;
use crate::output::Output;
use crate::store::Store;
use schemas::{
    Catalog, ClickDetails, Command, Decision, Outcome, Postback, PostbackOutcome, Reason,
    ResolvedClick, UnixMillis,
};

/// An input whose click id the edge has opened already: the rules never see keys.
#[derive(Debug, Clone, Copy)]
pub enum StepInput<'a> {
    Postback { postback: &'a Postback, click: ClickReference<'a> },
    ClickDetails(&'a ClickDetails),
    Command { command: &'a Command, click: ClickReference<'a> },
}

/// What a click id led to.
#[derive(Debug, Clone, Copy)]
pub enum ClickReference<'a> {
    /// `gk_click_id` is missing or empty.
    Missing,
    /// It is not a token that we gave out.
    Invalid,
    Resolved(&'a ResolvedClick),
}

/// Decides one input at `now`: the partition's clock, which is the greatest `received_at` read.
/// Appends to `out`.
///
/// # Errors
/// Only the store's. The step may then be half done: throw the batch away.
pub fn step<S: Store>(
    _store: &mut S,
    catalog: &Catalog,
    input: StepInput<'_>,
    _now: UnixMillis,
    out: &mut Output,
) -> Result<(), S::Error> {
    if let StepInput::Postback { postback, click } = input {
        let event_id = postback.parameter("cnv_event_id").unwrap_or_default();
        let click_id = postback.parameter("gk_click_id").unwrap_or_default();
        let reason = if event_id.is_empty() {
            Reason::MissingEvent
        } else if holds_macro(event_id) || holds_macro(click_id) {
            Reason::MacroNotReplaced
        } else {
            match click {
                ClickReference::Missing => Reason::MissingClickId,
                ClickReference::Invalid => Reason::InvalidClickId,
                ClickReference::Resolved(click) => match catalog.terms(click) {
                    None => Reason::UnknownOffer,
                    Some(terms) if terms.offer.advertiser != postback.advertiser => {
                        Reason::AdvertiserMismatch
                    }
                    Some(_) => Reason::UnknownEvent,
                },
            }
        };
        out.decisions.push(Decision {
            postback: Some(PostbackOutcome {
                postback_id: postback.postback_id,
                tenant: postback.tenant.clone(),
                advertiser_id: postback.advertiser.clone(),
                received_at: postback.received_at,
                click_id: click_id.to_owned(),
                event_id: event_id.to_owned(),
                outcome: Outcome::Rejected,
                reason: Some(reason),
                conversion_id: None,
                offer_id: None,
                publisher_id: None,
                parameters: postback.parameters.clone(),
                flags: postback.flags.clone(),
                test: false,
                config_version: catalog.version,
            }),
            command: None,
            conversions: Vec::new(),
        });
    }
    Ok(())
}
