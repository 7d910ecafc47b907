//! What a postback says, in the words of its sender's integration profile.

use crate::flags::FlagSet;
use crate::record::Sale;
use crate::sender_time;
use schemas::profile::Marker;
use schemas::{Currency, Flag, Micros, Offer, Postback, Profile, UnixMillis};

/// Named by the postback contract; the alias counts when the first is missing or empty.
const EVENT_PARAMETERS: [&str; 2] = ["cnv_event_id", "event_id"];
const CLICK_PARAMETER: &str = "gk_click_id";

/// Values that senders put where they have no transaction id. Compared without case.
const PLACEHOLDERS: [&str; 5] = ["0", "null", "undefined", "none", "n/a"];

/// The event as received; empty when there is none.
pub fn event_id(postback: &Postback) -> &str {
    EVENT_PARAMETERS.iter().find_map(|name| filled(postback, name)).unwrap_or_default()
}

/// The click id as received; empty when there is none.
pub fn click_id(postback: &Postback) -> &str {
    postback.parameter(CLICK_PARAMETER).unwrap_or_default()
}

fn filled<'a>(postback: &'a Postback, name: &str) -> Option<&'a str> {
    postback.parameter(name).filter(|value| !value.is_empty())
}

fn first_filled<'a>(postback: &'a Postback, names: &[String]) -> Option<&'a str> {
    names.iter().find_map(|name| filled(postback, name))
}

/// What kind of report a postback is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Convert,
    /// It takes conversions back.
    Reject,
    /// Of a kind that converts nothing.
    Ignore,
    /// Its status is none that the profile knows.
    Unknown,
}

/// Everything the rules ask of a postback once its offer is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    pub class: Class,
    /// It carries a sandbox marker.
    pub sandbox: bool,
    /// As it came, whatever the currency.
    pub amount: Option<Micros>,
    pub sale: Option<Sale>,
    pub transaction: Option<&'a str>,
    /// The sender's time when it can be believed, else the time of arrival.
    pub happened_at: UnixMillis,
    /// It carries a readable time of the sender's, so that its retries look exactly like it.
    pub carries_time: bool,
    pub flags: FlagSet,
}

/// Reads a postback the way its offer's integration speaks.
pub fn facts<'a>(postback: &'a Postback, offer: &Offer, clicked_at: UnixMillis) -> Facts<'a> {
    let profile = offer.profile();
    let mut flags = FlagSet::default();
    let (amount, sale) = read_sale(postback, profile, offer.currency, &mut flags);
    let (happened_at, carries_time) = read_time(postback, profile, clicked_at, &mut flags);
    Facts {
        class: classify(postback, profile, offer.convert_ignored),
        sandbox: profile.sandbox.iter().any(|marker| matches(postback, marker)),
        amount,
        sale,
        transaction: read_transaction(postback, profile, &mut flags),
        happened_at,
        carries_time,
        flags,
    }
}

fn matches(postback: &Postback, marker: &Marker) -> bool {
    filled(postback, &marker.parameter)
        .is_some_and(|value| marker.values.iter().any(|known| known.eq_ignore_ascii_case(value)))
}

/// A rejection beats everything, because paying by mistake is worse than asking. Then what nobody
/// knows, then what is ignored.
pub fn classify(postback: &Postback, profile: &Profile, convert_ignored: bool) -> Class {
    let any = |markers: &[Marker]| markers.iter().any(|marker| matches(postback, marker));
    if any(&profile.rejects) {
        return Class::Reject;
    }
    let ignored = any(&profile.ignores);
    // A parameter with a list of values that convert has all its values listed somewhere.
    let unknown = profile.converts.iter().any(|marker| {
        let of_parameter = |other: &&Marker| other.parameter == marker.parameter;
        filled(postback, &marker.parameter).is_some()
            && !profile.converts.iter().filter(of_parameter).any(|m| matches(postback, m))
            && !profile.ignores.iter().filter(of_parameter).any(|m| matches(postback, m))
    });
    if unknown {
        Class::Unknown
    } else if ignored && !convert_ignored {
        Class::Ignore
    } else {
        Class::Convert
    }
}

/// An amount without a currency is in the offer's. One that cannot be read, or in a currency that
/// nobody knows, is flagged, and the conversion stands without it.
fn read_sale(
    postback: &Postback,
    profile: &Profile,
    offer_currency: Currency,
    flags: &mut FlagSet,
) -> (Option<Micros>, Option<Sale>) {
    let Some((text, decimals)) = profile
        .amounts
        .iter()
        .find_map(|it| filled(postback, &it.name).map(|text| (text, it.decimals)))
    else {
        return (None, None);
    };
    let amount = Micros::parse_scaled(text.trim(), decimals).ok();
    let currency = match first_filled(postback, &profile.currencies) {
        None => Some(offer_currency),
        Some(code) => read_currency(code.trim()),
    };
    let sale = amount.zip(currency).map(|(micros, currency)| Sale { micros, currency });
    if sale.is_none() {
        flags.add(Flag::InvalidRevenue);
    }
    (amount, sale)
}

/// A currency's code in any case.
fn read_currency(code: &str) -> Option<Currency> {
    let mut letters: [u8; 3] = code.as_bytes().try_into().ok()?;
    letters.make_ascii_uppercase();
    Currency::from_code(std::str::from_utf8(&letters).ok()?)
}

fn read_time(
    postback: &Postback,
    profile: &Profile,
    clicked_at: UnixMillis,
    flags: &mut FlagSet,
) -> (UnixMillis, bool) {
    let received_at = postback.received_at;
    let Some(text) = first_filled(postback, &profile.times) else {
        return (received_at, false);
    };
    let time = sender_time::read(text);
    match time.filter(|time| sender_time::is_plausible(*time, clicked_at, received_at)) {
        Some(time) => (time, true),
        None => {
            flags.add(Flag::ImplausibleEventTime);
            (received_at, time.is_some())
        }
    }
}

fn read_transaction<'a>(
    postback: &'a Postback,
    profile: &Profile,
    flags: &mut FlagSet,
) -> Option<&'a str> {
    let text = first_filled(postback, &profile.transactions)?.trim();
    let placeholder = text.is_empty()
        || PLACEHOLDERS.iter().any(|it| it.eq_ignore_ascii_case(text))
        || crate::macros::is_macro(text);
    if placeholder {
        flags.add(Flag::PlaceholderTransaction);
        return None;
    }
    Some(text)
}

#[cfg(test)]
mod tests;
