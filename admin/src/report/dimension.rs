//! What a report can be split by. A dimension is a word of this list; nothing a caller writes
//! becomes part of a statement.

use super::period::Period;
use crate::error::Error;
use crate::warehouse::Question;
use schemas::{Catalog, SUB_ID_COUNT};

/// Dimensions at once.
pub const DIMENSIONS_MAX: usize = 4;
/// Bytes of the offers' campaigns that go with a question.
const CAMPAIGN_BYTES_MAX: usize = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Publisher,
    Offer,
    Day,
    Country,
    Platform,
    Campaign,
    Sub(usize),
}

impl By {
    fn parse(text: &str) -> Result<Self, Error> {
        let sub = text.strip_prefix("sub").and_then(|digits| digits.parse::<usize>().ok());
        match (text, sub) {
            ("publisher", _) => Ok(Self::Publisher),
            ("offer", _) => Ok(Self::Offer),
            ("day", _) => Ok(Self::Day),
            ("country", _) => Ok(Self::Country),
            ("platform", _) => Ok(Self::Platform),
            ("campaign", _) => Ok(Self::Campaign),
            (_, Some(number))
                if (1..=SUB_ID_COUNT).contains(&number) && text == format!("sub{number}") =>
            {
                Ok(Self::Sub(number))
            }
            _ => {
                let shown: String = text.chars().take(40).collect();
                Err(Error::bad_request(format!("by: {shown:?} is no dimension")).with_hint(
                    "there are publisher, offer, day, country, platform, campaign, sub1 to sub15; \
                     several are separated by commas",
                ))
            }
        }
    }

    /// Reads `publisher,day`.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, Error> {
        let mut all = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let by = Self::parse(part)?;
            if all.contains(&by) {
                return Err(Error::bad_request(format!("by: {part} is given twice")));
            }
            all.push(by);
        }
        if all.len() > DIMENSIONS_MAX {
            return Err(Error::bad_request(format!(
                "by: at most {DIMENSIONS_MAX} dimensions at once"
            )));
        }
        Ok(all)
    }

    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Publisher => "publisher".to_owned(),
            Self::Offer => "offer".to_owned(),
            Self::Day => "day".to_owned(),
            Self::Country => "country".to_owned(),
            Self::Platform => "platform".to_owned(),
            Self::Campaign => "campaign".to_owned(),
            Self::Sub(number) => format!("sub{number}"),
        }
    }

    /// Its text in a row of a view, where `time` is what days are of.
    fn sql(self, time: &str) -> String {
        match self {
            Self::Publisher => "toString(publisher_id)".to_owned(),
            Self::Offer => "toString(offer_id)".to_owned(),
            Self::Day => format!("toString(toDate({time}, {{tz:String}}))"),
            Self::Country => "toString(country)".to_owned(),
            Self::Platform => "toString(platform)".to_owned(),
            // The campaign is the offer's, as it is configured now.
            Self::Campaign => "transform(toString(offer_id), {campaign_offers:Array(String)}, \
                 {campaigns:Array(String)}, '')"
                .to_owned(),
            Self::Sub(number) => format!("sub{number}"),
        }
    }
}

/// The values of all dimensions as one array of texts.
#[must_use]
pub fn values_sql(by: &[By], time: &str) -> String {
    match by {
        [] => "CAST([], 'Array(String)')".to_owned(),
        _ => {
            let each: Vec<String> = by.iter().map(|by| by.sql(time)).collect();
            format!("[{}]", each.join(", "))
        }
    }
}

/// Gives a question what the dimensions need.
pub fn bind(
    question: Question,
    by: &[By],
    period: &Period,
    catalog: &Catalog,
    offers: impl Fn(&schemas::Offer) -> bool,
) -> Result<Question, Error> {
    let mut question = question;
    if by.contains(&By::Day) {
        question = question.bind("tz", &period.zone_name);
    }
    if by.contains(&By::Campaign) {
        let named = catalog.offers().filter(|it| offers(it) && !it.campaign.is_empty());
        let (ids, campaigns): (Vec<String>, Vec<String>) =
            named.map(|offer| (offer.id.to_string(), offer.campaign.clone())).unzip();
        let bytes: usize = ids.iter().chain(&campaigns).map(String::len).sum();
        if bytes > CAMPAIGN_BYTES_MAX {
            return Err(Error::bad_request("by: campaign has too many offers to look up")
                .with_hint("choose an offer, or use the dimension offer"));
        }
        question = question.bind_list("campaign_offers", ids).bind_list("campaigns", campaigns);
    }
    Ok(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_the_list() {
        assert_eq!(By::parse_list("sub15, day").unwrap(), [By::Sub(15), By::Day]);
        assert_eq!(By::parse_list("").unwrap(), []);
        for wrong in [
            "sub16",
            "sub0",
            "sub01",
            "sub1; DROP TABLE clicks",
            "advertiser",
            "day,day",
            "day,offer,publisher,country,sub1",
            "publisher'",
        ] {
            assert!(By::parse_list(wrong).is_err(), "{wrong}");
        }
    }
}
