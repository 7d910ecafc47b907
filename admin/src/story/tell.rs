//! Puts facts into words that an ad-ops person understands.

use super::advice;
use super::facts::{Asked, Facts, PostbackRow, RevisionRow, Token, TokenClick};
use super::redecisions;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemas::{ConversionStatus, Flag, Offer, Outcome, Reason};
use serde::Serialize;

/// Parameters that are shown of one postback, and characters of a value.
const PARAMETERS_SHOWN: usize = 20;
const VALUE_CHARS_SHOWN: usize = 80;

/// A story: paragraphs of lines, the first line of each at the margin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Story {
    /// The whole of it in one sentence.
    pub summary: String,
    pub paragraphs: Vec<Vec<String>>,
}

impl Story {
    /// As text, with the lines after the first of each paragraph indented.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.summary);
        for paragraph in &self.paragraphs {
            text.push('\n');
            for (index, line) in paragraph.iter().enumerate() {
                let indent = if index == 0 { "" } else { "  " };
                text.push_str(&format!("{indent}{line}\n"));
            }
        }
        text
    }
}

/// Tells what happened.
#[must_use]
pub fn tell(facts: &Facts) -> Story {
    let teller = Teller { facts, zone: TimeZone::get(&facts.time_zone).unwrap_or(TimeZone::UTC) };
    let mut paragraphs = vec![teller.click()];
    paragraphs.extend(facts.postbacks.iter().map(|postback| teller.postback(postback)));
    if facts.more_postbacks {
        paragraphs.push(vec![
            "There are more postbacks of this click than are told here; see `gokart report \
             postbacks --click …`."
                .to_owned(),
        ]);
    }
    paragraphs.extend(teller.conversions());
    if facts.more_revisions {
        paragraphs.push(vec![
            "There are more conversions or changes of this click than are told here; see `gokart \
             export conversions --click …`."
                .to_owned(),
        ]);
    }
    paragraphs.push(vec![format!("All times are in {}.", facts.time_zone)]);
    Story { summary: teller.summary(), paragraphs }
}

struct Teller<'a> {
    facts: &'a Facts,
    zone: TimeZone,
}

impl Teller<'_> {
    fn time(&self, ms: i64) -> String {
        match Timestamp::from_millisecond(ms) {
            Ok(time) => {
                let zoned = time.to_zoned(self.zone.clone());
                zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
            }
            Err(_) => format!("{ms} ms"),
        }
    }

    fn offer(&self) -> Option<&Offer> {
        self.facts.offer.as_deref()
    }

    /// The revisions of each conversion.
    fn histories(&self) -> Vec<&[RevisionRow]> {
        self.facts.revisions.chunk_by(|a, b| a.conversion_id == b.conversion_id).collect()
    }

    fn summary(&self) -> String {
        let facts = self.facts;
        let subject = match facts.asked {
            Asked::Click => "This click",
            Asked::Postback => "This postback's click",
            Asked::Conversion => "This conversion's click",
        };
        match &facts.token {
            Token::Absent => {
                return "This postback names no click, so it counts for nothing.".into();
            }
            Token::Invalid(_) => {
                return "This is not a click id that we gave out, so nothing that names it counts."
                    .into();
            }
            Token::Valid(_) => {}
        }
        let mut counts: Vec<String> = Vec::new();
        for status in ConversionStatus::ALL {
            let events: Vec<String> = self
                .histories()
                .iter()
                .filter_map(|history| history.last())
                .filter(|last| last.status == status.code())
                .map(|last| format!("{:?}", last.event_id))
                .collect();
            if !events.is_empty() {
                counts.push(format!("{} {}", events.join(", "), status.code()));
            }
        }
        if !counts.is_empty() {
            return format!("{subject} has {}.", counts.join("; "));
        }
        match facts.postbacks.len() {
            0 => format!("{subject} has no postback yet: nothing was reported for it."),
            1 => format!("{subject} has no conversion; its one postback made none."),
            count => format!("{subject} has no conversion; its {count} postbacks made none."),
        }
    }

    fn click(&self) -> Vec<String> {
        match &self.facts.token {
            Token::Absent => vec!["Click: none was named.".into()],
            Token::Invalid(why) => vec![
                format!("Click id {}", shorten(&self.facts.click_id)),
                format!("It is not one of ours: {why}."),
            ],
            Token::Valid(token) => self.valid_click(token),
        }
    }

    fn valid_click(&self, token: &TokenClick) -> Vec<String> {
        let facts = self.facts;
        let mut lines = vec![format!("{}  Click", self.time(token.clicked_at_ms))];
        match self.offer() {
            Some(offer) => {
                let advertiser =
                    facts.advertiser_name.as_deref().unwrap_or(offer.advertiser.as_str());
                lines.push(format!("Offer: {} ({}), of {advertiser}", offer.name, offer.id));
                if offer.id != offer.root {
                    lines.push(format!("It counts together with its root offer {}", offer.root));
                }
            }
            None => lines.push(format!(
                "Offer: below {}, which is not in the configuration",
                token.root_offer_id
            )),
        }
        let publisher = facts.publisher_name.as_deref().unwrap_or("a publisher not configured");
        lines.push(format!("Publisher: {publisher}, by the share {}", token.share_id));
        let country = token.country.as_deref().unwrap_or("not known");
        let platform = token.platform.as_deref().unwrap_or("not known");
        lines.push(format!("Country: {country}; platform: {platform}"));
        match &facts.click {
            Some(click) => {
                let subs: Vec<String> = click
                    .subs
                    .iter()
                    .enumerate()
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(index, value)| format!("sub{}={}", index + 1, shorten(value)))
                    .collect();
                if !subs.is_empty() {
                    lines.push(format!("Sub-ids: {}", subs.join(", ")));
                }
                lines.extend(flag_lines(&click.flags));
            }
            None => lines.push(
                "Its row is not in ClickHouse (yet); what stands here is from the click id itself."
                    .into(),
            ),
        }
        if token.test {
            lines.push("It is a test: it touches no cap, budget or statement.".into());
        }
        lines
    }

    fn postback(&self, postback: &PostbackRow) -> Vec<String> {
        let event = match postback.event_id.as_str() {
            "" => "naming no event".to_owned(),
            event => format!("for {event:?}"),
        };
        let mut lines = vec![format!("{}  Postback {event}", self.time(postback.received_at_ms))];
        if self.facts.asked == Asked::Postback && self.facts.id == postback.postback_id {
            lines[0].push_str("   ← the one you asked about");
        }
        lines.push(format!("Postback id: {}", postback.postback_id));
        lines.push(format!("It said: {}", parameters(&postback.parameters, &postback.click_id)));
        lines.extend(redecisions::lines(postback, |ms| self.time(ms)));
        lines.push(self.outcome(postback));
        let advice =
            postback.reason.parse::<Reason>().ok().and_then(|it| {
                advice::about_postback(it, postback, self.offer(), &self.facts.token)
            });
        if let Some(advice) = advice {
            lines.push(format!("What to do: {advice}"));
        }
        lines.extend(flag_lines(&postback.flags));
        if postback.test {
            lines.push("It is a test.".into());
        }
        lines
    }

    fn outcome(&self, postback: &PostbackRow) -> String {
        let meaning = match postback.outcome.parse::<Outcome>() {
            Ok(outcome) => outcome.text().to_owned(),
            Err(()) => postback.outcome.clone(),
        };
        let why = match reason_text(&postback.reason) {
            Some(text) => format!(": {text} ({})", postback.reason),
            None => String::new(),
        };
        let conversion = match postback.conversion_id.as_str() {
            "" => String::new(),
            id => format!(" → conversion {id}"),
        };
        format!("What became of it: {meaning}{why}{conversion}")
    }

    fn conversions(&self) -> Vec<Vec<String>> {
        self.histories().into_iter().filter_map(|history| self.conversion(history)).collect()
    }

    fn conversion(&self, history: &[RevisionRow]) -> Option<Vec<String>> {
        let last = history.last()?;
        let level = last
            .sequence
            .map_or("outside of the sequence".to_owned(), |level| format!("level {level}"));
        let mut lines = vec![format!(
            "Conversion of {:?} ({}, {level}): {}",
            last.event_id, last.event_name, last.status
        )];
        if self.facts.asked == Asked::Conversion && self.facts.id == last.conversion_id {
            lines[0].push_str("   ← the one you asked about");
        }
        lines.push(format!("Conversion id: {}", last.conversion_id));
        for revision in history {
            lines.push(self.revision(revision));
        }
        lines.extend(self.outlook(last));
        let money = |amount: &str| format!("{amount} {}", last.currency);
        let mut amounts =
            format!("Revenue {}, payout {}", money(&last.revenue), money(&last.payout));
        if last.reward != "0.00" {
            amounts.push_str(&format!(", reward {} {}", last.reward, last.reward_unit));
        }
        if last.status != ConversionStatus::Success.code() {
            amounts.push_str(match last.status.as_str() {
                "Pending" => " (once it is a Success)",
                _ => " (not due, because it is Rejected)",
            });
        }
        lines.push(amounts);
        if let Some(amount) = &last.sale_amount {
            lines.push(format!("Sale amount reported: {amount} {}", last.sale_currency));
        }
        if !last.transaction_id.is_empty() {
            lines.push(format!("Transaction: {}", shorten(&last.transaction_id)));
        }
        lines.extend(flag_lines(&last.flags));
        Some(lines)
    }

    fn revision(&self, revision: &RevisionRow) -> String {
        let why = match reason_text(&revision.reason) {
            Some(text) => format!(": {text} ({})", revision.reason),
            None => String::new(),
        };
        let note = match revision.note.as_str() {
            "" => String::new(),
            note => format!("; the words given: {note:?}"),
        };
        format!(
            "{}  revision {}: {}{why}{note}",
            self.time(revision.decided_at_ms),
            revision.revision,
            revision.status
        )
    }

    /// What it waits for, and what can be done.
    fn outlook(&self, last: &RevisionRow) -> Option<String> {
        let due = last.due_at_ms.map(|ms| self.time(ms));
        match (last.status.as_str(), last.reason.parse::<Reason>().ok()?, due) {
            ("Pending", Reason::Hold, Some(due)) => {
                Some(format!("It becomes a Success at {due}, unless it is rejected before"))
            }
            ("Pending", Reason::WaitingSequence, Some(due)) => Some(format!(
                "It waits for {} until {due}; then it is Rejected",
                self.prerequisites(last)
            )),
            ("Rejected", Reason::SequenceNotMet, _) => Some(format!(
                "What to do: check why {} was not reported; if the user did it, `gokart approve {} --reason …`",
                self.prerequisites(last),
                last.conversion_id
            )),
            ("Rejected", Reason::CapReached | Reason::BudgetExhausted, _) => Some(format!(
                "What to do: raise the cap or budget for the next ones; to count this one all the \
                 same, `gokart approve {} --over-limit --reason …`",
                last.conversion_id
            )),
            ("Rejected", Reason::TooSoon, _) => Some(
                "What to do: if users can really be that fast, lower the event's minimum_time"
                    .into(),
            ),
            _ => None,
        }
    }

    /// The events of the nearest level below.
    fn prerequisites(&self, last: &RevisionRow) -> String {
        let names = self.offer().zip(last.sequence).and_then(|(offer, level)| {
            let below =
                offer.events.iter().filter_map(|e| e.sequence).filter(|s| *s < level).max()?;
            let of_level = offer.events.iter().filter(|e| e.sequence == Some(below));
            Some(of_level.map(|e| format!("{:?}", e.id.as_str())).collect::<Vec<_>>().join(" or "))
        });
        names.unwrap_or_else(|| "the level below".to_owned())
    }
}

fn reason_text(code: &str) -> Option<&'static str> {
    code.parse::<Reason>().ok().map(Reason::text)
}

fn flag_lines(codes: &[String]) -> impl Iterator<Item = String> {
    codes
        .iter()
        .filter_map(|code| code.parse::<Flag>().ok())
        .map(|flag| format!("Note: {} ({flag})", flag.text()))
}

/// What was said; the click id only where it is not the one that all this is about.
fn parameters(all: &[(String, String)], click_id: &str) -> String {
    if all.is_empty() {
        return "nothing".to_owned();
    }
    let mut shown: Vec<String> = all
        .iter()
        .take(PARAMETERS_SHOWN)
        .map(|(name, value)| match value == click_id && value.len() > VALUE_CHARS_SHOWN {
            true => format!("{}=<this click>", shorten(name)),
            false => format!("{}={}", shorten(name), shorten(value)),
        })
        .collect();
    if all.len() > PARAMETERS_SHOWN {
        shown.push(format!("and {} more", all.len() - PARAMETERS_SHOWN));
    }
    shown.join(", ")
}

/// Cut to what fits on a line, without anything that a terminal would act on.
fn shorten(text: &str) -> String {
    let clean = text.chars().map(|c| if c.is_control() { '·' } else { c });
    let mut short: String = clean.take(VALUE_CHARS_SHOWN).collect();
    if text.chars().count() > VALUE_CHARS_SHOWN {
        short.push('…');
    }
    short
}
