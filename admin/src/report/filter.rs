//! Which rows a report is about: the same filters with the same meaning for every report, list and
//! export, so that their totals agree.

use super::period::Period;
use crate::error::Error;
use crate::parameter::{PERIOD, Parameter};
use crate::query::Query;
use crate::warehouse::Question;
use schemas::{Catalog, DeliveryOutcome, Outcome, Platform, Reason};

/// What reports read: each view collapses repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    Clicks,
    Postbacks,
    /// The last revision of each conversion.
    Conversions,
    /// Every revision once.
    Revisions,
    Refused,
    /// The last attempt of each delivery.
    Deliveries,
}

impl View {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Clicks => "clicks_unique",
            Self::Postbacks => "postbacks_unique",
            Self::Conversions => "conversions_current",
            Self::Revisions => "conversions_revisions",
            Self::Refused => "refused_unique",
            Self::Deliveries => "deliveries_current",
        }
    }

    /// The table below it, in which rows may be there twice, or be superseded.
    #[must_use]
    pub fn table(self) -> &'static str {
        match self {
            Self::Clicks => "clicks",
            Self::Postbacks => "postbacks",
            Self::Conversions => "conversions_latest",
            Self::Revisions => "conversions",
            Self::Refused => "refused",
            Self::Deliveries => "deliveries",
        }
    }

    /// The time at which a row counts, unless a report says otherwise.
    #[must_use]
    pub fn time(self) -> &'static str {
        match self {
            Self::Clicks => "clicked_at",
            Self::Postbacks | Self::Conversions | Self::Revisions => "received_at",
            Self::Refused => "refused_at",
            Self::Deliveries => "created_at",
        }
    }
}

/// A filter: a parameter, and the column that must be equal to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    Tenant,
    Advertiser,
    Offer,
    Publisher,
    Event,
    Status,
    Outcome,
    Reason,
    Click,
    Country,
    Platform,
    Delivery,
    DeliveryOutcome,
    Conversion,
    /// Not a column: widens the offer to everything below its root.
    Clones,
}

/// Everything below the offer's root.
pub const CLONES: Parameter =
    Parameter::flag("clones", "Clones of the offer too: everything below its root.");
pub const INCLUDE_TEST: Parameter = Parameter::flag("include_test", "Test clicks too.");

const STATUSES: &[&str] = &["Pending", "Success", "Rejected"];
const OUTCOMES: &[&str] = &{
    let mut codes = [""; Outcome::ALL.len()];
    let mut index = 0;
    while index < codes.len() {
        codes[index] = Outcome::ALL[index].code();
        index += 1;
    }
    codes
};
const DELIVERY_OUTCOMES: &[&str] = &{
    let mut codes = [""; DeliveryOutcome::ALL.len()];
    let mut index = 0;
    while index < codes.len() {
        codes[index] = DeliveryOutcome::ALL[index].code();
        index += 1;
    }
    codes
};
const REASONS: &[&str] = &{
    let mut codes = [""; Reason::ALL.len()];
    let mut index = 0;
    while index < codes.len() {
        codes[index] = Reason::ALL[index].code();
        index += 1;
    }
    codes
};
const PLATFORMS: &[&str] = &{
    let mut codes = [""; Platform::ALL.len()];
    let mut index = 0;
    while index < codes.len() {
        codes[index] = Platform::ALL[index].code();
        index += 1;
    }
    codes
};

impl Filter {
    #[must_use]
    pub const fn parameter(self) -> Parameter {
        match self {
            Self::Tenant => Parameter::text("tenant", "Only of this tenant."),
            Self::Advertiser => Parameter::text("advertiser", "Only of this advertiser."),
            Self::Offer => Parameter::text("offer", "Only of this offer."),
            Self::Publisher => Parameter::text("publisher", "Only of this publisher."),
            Self::Event => Parameter::text("event", "Only of this event ID."),
            Self::Status => Parameter::choice("status", "Only with this status.", STATUSES),
            Self::Outcome => Parameter::choice("outcome", "Only with this outcome.", OUTCOMES),
            Self::Reason => Parameter::choice("reason", "Only with this reason.", REASONS),
            Self::Click => Parameter::text("click", "Only of this gk_click_id."),
            Self::Country => {
                Parameter::text("country", "Only of this country (ISO 3166, 2 letters).")
            }
            Self::Platform => Parameter::choice("platform", "Only of this platform.", PLATFORMS),
            Self::Delivery => Parameter::text("delivery", "Only this delivery."),
            Self::DeliveryOutcome => {
                Parameter::choice("outcome", "Only with this outcome.", DELIVERY_OUTCOMES)
            }
            Self::Conversion => Parameter::text("conversion", "Only of this conversion id."),
            Self::Clones => CLONES,
        }
    }

    const fn condition(self) -> &'static str {
        match self {
            Self::Tenant => "tenant = {tenant:String}",
            Self::Advertiser => "advertiser_id = {advertiser:String}",
            Self::Offer => "offer_id = {offer:String}",
            Self::Publisher => "publisher_id = {publisher:String}",
            Self::Event => "event_id = {event:String}",
            Self::Status => "status = {status:String}",
            Self::Outcome => "outcome = {outcome:String}",
            Self::Reason => "reason = {reason:String}",
            Self::Click => "click_id = {click:String}",
            Self::Country => "country = {country:String}",
            Self::Platform => "platform = {platform:String}",
            Self::Delivery => "delivery_id = {delivery:String}",
            Self::DeliveryOutcome => "outcome = {outcome:String}",
            Self::Conversion => "conversion_id = {conversion:String}",
            Self::Clones => "1",
        }
    }

    /// An id that is nowhere in the configuration is a slip of the pen, not an empty report.
    fn check(self, value: &str, catalog: &Catalog) -> Result<(), Error> {
        let known = match self {
            Self::Tenant => catalog.tenant(value).is_some(),
            Self::Advertiser => catalog.advertiser(value).is_some(),
            Self::Offer => catalog.offer(value).is_some(),
            Self::Publisher => catalog.publisher(value).is_some(),
            _ => true,
        };
        if known {
            return Ok(());
        }
        let name = self.parameter().name;
        let shown: String = value.chars().take(64).collect();
        Err(Error::not_found(format!("there is no {name} {shown:?}"))
            .with_hint("ids are in the configuration documents, letter for letter"))
    }
}

/// The rows that were asked for.
#[derive(Debug, Clone)]
pub struct Scope {
    filters: Vec<(Filter, String)>,
    clones: bool,
    pub include_test: bool,
    pub period: Period,
}

/// The parameters of a scope with these filters.
#[must_use]
pub fn parameters(filters: &[Filter], has_tests: bool) -> Vec<Parameter> {
    let mut all: Vec<Parameter> = filters.iter().map(|filter| filter.parameter()).collect();
    if has_tests {
        all.push(INCLUDE_TEST);
    }
    all.extend(PERIOD);
    all
}

impl Scope {
    /// Reads what [`parameters`] describes.
    pub fn read(query: &Query, filters: &[Filter], catalog: &Catalog) -> Result<Self, Error> {
        let mut given = Vec::new();
        for filter in filters.iter().filter(|filter| **filter != Filter::Clones) {
            if let Some(value) = query.text(filter.parameter().name) {
                filter.check(value, catalog)?;
                given.push((*filter, value.to_owned()));
            }
        }
        let mut scope = Self {
            filters: given,
            clones: query.flag(CLONES.name),
            include_test: query.flag(INCLUDE_TEST.name),
            period: Period::default(),
        };
        let zone = scope.zone(catalog);
        let text = |name| query.text(name);
        scope.period = Period::parse(text("from"), text("to"), text("tz").unwrap_or(&zone))?;
        if scope.clones && scope.value(Filter::Offer).is_none() {
            return Err(Error::bad_request("clones: is about an offer; name one"));
        }
        Ok(scope)
    }

    /// The same without a filter, for a view that does not have its column.
    #[must_use]
    pub fn without(&self, filter: Filter) -> Self {
        let mut scope = self.clone();
        scope.filters.retain(|(it, _)| *it != filter);
        scope
    }

    /// The same rows of another period.
    #[must_use]
    pub fn within(&self, period: Period) -> Self {
        Self { period, ..self.clone() }
    }

    #[must_use]
    pub fn clones(&self) -> bool {
        self.clones
    }

    #[must_use]
    pub fn value(&self, filter: Filter) -> Option<&str> {
        self.filters.iter().find(|(it, _)| *it == filter).map(|(_, value)| value.as_str())
    }

    /// The tenant that the filters lead to; the only one there is otherwise.
    fn tenant(&self, catalog: &Catalog) -> Option<String> {
        let of = |filter, find: fn(&Catalog, &str) -> Option<String>| {
            self.value(filter).and_then(|id| find(catalog, id))
        };
        of(Filter::Tenant, |_, id| Some(id.to_owned()))
            .or_else(|| of(Filter::Offer, |all, id| Some(all.offer(id)?.tenant.to_string())))
            .or_else(|| {
                of(Filter::Advertiser, |all, id| Some(all.advertiser(id)?.tenant.to_string()))
            })
            .or_else(|| {
                of(Filter::Publisher, |all, id| Some(all.publisher(id)?.tenant.to_string()))
            })
            .or_else(|| {
                let mut tenants = catalog.tenants();
                let first = tenants.next()?;
                tenants.next().is_none().then(|| first.id.to_string())
            })
    }

    fn zone(&self, catalog: &Catalog) -> String {
        let tenant = self.tenant(catalog).and_then(|id| catalog.tenant(&id).cloned());
        tenant.map_or_else(|| "UTC".to_owned(), |tenant| tenant.time_zone.clone())
    }

    /// Whether an offer of the configuration is in it.
    #[must_use]
    pub fn covers(&self, offer: &schemas::Offer, catalog: &Catalog) -> bool {
        self.filters.iter().all(|(filter, value)| match filter {
            Filter::Tenant => offer.tenant.as_str() == value,
            Filter::Advertiser => offer.advertiser.as_str() == value,
            Filter::Offer if self.clones => {
                catalog.offer(value).is_some_and(|it| it.root == offer.root)
            }
            Filter::Offer => offer.id.as_str() == value,
            _ => true,
        })
    }

    /// The conditions on the rows of a view, with `time` in the period.
    #[must_use]
    pub fn conditions(&self, view: View, time: &str) -> String {
        let mut all = vec!["1".to_owned()];
        for (filter, _) in &self.filters {
            all.push(match filter {
                Filter::Offer if self.clones => "root_offer_id = {offer:String}".to_owned(),
                other => other.condition().to_owned(),
            });
        }
        if view != View::Refused && !self.include_test {
            all.push("NOT test".to_owned());
        }
        if self.period.from_ms.is_some() {
            all.push(format!("{time} >= fromUnixTimestamp64Milli({{from:Int64}}, 'UTC')"));
        }
        if self.period.to_ms.is_some() {
            all.push(format!("{time} < fromUnixTimestamp64Milli({{to:Int64}}, 'UTC')"));
        }
        all.join(" AND ")
    }

    /// Gives a question the values that [`Scope::conditions`] names.
    #[must_use]
    pub fn bind(&self, question: Question, catalog: &Catalog) -> Question {
        let mut question = question;
        for (filter, value) in &self.filters {
            let root = match filter {
                Filter::Offer if self.clones => {
                    catalog.offer(value).map(|offer| offer.root.to_string())
                }
                _ => None,
            };
            question = question.bind(filter.parameter().name, root.as_deref().unwrap_or(value));
        }
        if let Some(ms) = self.period.from_ms {
            question = question.bind("from", ms);
        }
        if let Some(ms) = self.period.to_ms {
            question = question.bind("to", ms);
        }
        question
    }
}
