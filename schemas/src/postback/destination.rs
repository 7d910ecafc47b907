//! Where a publisher wants to be told, as configured.

use super::template::Template;
use crate::catalog::Catalog;
use crate::decision::ConversionStatus;
use crate::ids::{EventId, PublisherId, ShareId};
use crate::reason::coded;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A header that goes along with every request, for publishers that do not check signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedHeader {
    pub name: String,
    /// Sealed under the master keys, for this owner ([`Destination::owner`]) and header.
    pub value: Secret,
}

/// A field of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub value: Template,
}

coded! {
    /// How a request is made, without what is in it.
    RequestKind {
        Get = "get", "a GET request";
        Form = "form", "a POST request with a form";
        Json = "json", "a POST request with JSON";
    }
}

/// How the request is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestForm {
    Get,
    /// POST, `application/x-www-form-urlencoded`.
    Form(Vec<Field>),
    /// POST, `application/json`: an object of strings. Without fields: everything that a publisher
    /// may know.
    Json(Vec<Field>),
}

impl RequestForm {
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Form(_) | Self::Json(_) => "POST",
        }
    }
}

/// One URL that is told of conversions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublisherPostback {
    /// Tells it from the others of the same publisher or share.
    pub name: String,
    pub url: Template,
    pub form: RequestForm,
    /// Only these; empty: all events that are not private.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventId>,
    /// Told when a conversion becomes one of these.
    pub statuses: Vec<ConversionStatus>,
    /// Told of test conversions, and of nothing else.
    #[serde(default)]
    pub test: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<FixedHeader>,
    /// Requests under way at once.
    pub in_flight: u32,
    /// Requests a second.
    pub per_second: u32,
}

impl PublisherPostback {
    /// Whether it is told of this.
    #[must_use]
    pub fn wants(&self, event: &EventId, status: ConversionStatus, test: bool) -> bool {
        self.test == test
            && self.statuses.contains(&status)
            && (self.events.is_empty() || self.events.contains(event))
    }
}

/// What a postback belongs to, with its name there: `publisher/acme/default`, `share/s1/install`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Destination {
    Publisher(PublisherId, String),
    Share(ShareId, String),
}

impl Destination {
    /// Whose postback it is: the key of the document that holds it, such as `publisher/acme`.
    #[must_use]
    pub fn owner(&self) -> String {
        match self {
            Self::Publisher(id, _) => format!("publisher/{id}"),
            Self::Share(id, _) => format!("share/{id}"),
        }
    }

    /// The postback as it is configured now; none when it was taken away.
    #[must_use]
    pub fn find<'c>(&self, catalog: &'c Catalog) -> Option<&'c PublisherPostback> {
        let (postbacks, name) = match self {
            Self::Publisher(id, name) => (&catalog.publisher(id.as_str())?.postbacks, name),
            Self::Share(id, name) => (&catalog.share(id.as_str())?.postbacks, name),
        };
        postbacks.iter().find(|postback| postback.name == *name)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publisher(id, name) => write!(f, "publisher/{id}/{name}"),
            Self::Share(id, name) => write!(f, "share/{id}/{name}"),
        }
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

impl std::str::FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let text: String = text.chars().take(100).collect();
            format!("{text:?} is not a destination (publisher/<id>/<name> or share/<id>/<name>)")
        };
        let mut parts = text.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("publisher"), Some(id), Some(name)) if !name.is_empty() => {
                Ok(Self::Publisher(PublisherId::new(id).map_err(|_| wrong())?, name.to_owned()))
            }
            (Some("share"), Some(id), Some(name)) if !name.is_empty() => {
                Ok(Self::Share(ShareId::new(id).map_err(|_| wrong())?, name.to_owned()))
            }
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Destination {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_read_back() {
        for text in ["publisher/acme/default", "share/s-1/install"] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        for text in ["", "publisher/acme", "publisher/acme/", "offer/a/b", "share/A/b"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let header = FixedHeader { name: "x".to_owned(), value: Secret("canary".to_owned()) };
        assert!(!format!("{header:?}").contains("canary"));
    }
}
