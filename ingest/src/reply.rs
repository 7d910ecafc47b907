//! What became of a request, and what the caller is told of it: one match. The caller never learns
//! which part of its credentials was wrong, nor what is broken behind us.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use schemas::PostbackId;
use service::Reply;
use service::http::reply as whole;

/// Methods of both routes.
pub const POSTBACK_METHODS: &str = "GET, POST, HEAD, OPTIONS";
pub const CLICK_METHODS: &str = "GET, HEAD, OPTIONS";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The postback is durable.
    Accepted(PostbackId),
    /// To the offer, with a click minted.
    Redirect(String),
    /// To where users of an offer that is not live go; nothing was minted.
    Fallback(String),
    /// A `HEAD` that a `GET` would succeed at; nothing was written.
    Alive,
    /// With the methods that there are.
    Options(&'static str),
    /// `Host` missing, given twice or malformed.
    BadHost,
    /// The body broke off.
    BrokenBody,
    /// The credentials do not match.
    Refused,
    NoSuchPath,
    NoSuchLink,
    MethodNotAllowed(&'static str),
    BodyTimedOut,
    /// The link's offer is not live, and there is nowhere else to go.
    NotLive,
    BodyTooLarge,
    UrlTooLong,
    HeadersTooLarge,
    /// Too many requests without credentials from one address.
    Flooding,
    /// The log cannot take it now.
    LogUnavailable,
    /// The log has not confirmed it in time.
    TooLate,
    /// The advertiser sends more than it may.
    OverRate,
    /// Too much is in work already.
    Shed,
}

impl Answer {
    /// The metric label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        self.parts().0
    }

    /// Label, status, and what the caller is told; nothing where the answer needs no words.
    fn parts(&self) -> (&'static str, StatusCode, &'static str) {
        use StatusCode as S;
        const LATER: &str = "not taken now; send it again later";
        match self {
            Self::Accepted(_) => ("accepted", S::OK, ""),
            Self::Redirect(_) => ("redirect", S::FOUND, ""),
            Self::Fallback(_) => ("fallback", S::FOUND, ""),
            Self::Alive => ("alive", S::OK, ""),
            Self::Options(_) => ("options", S::NO_CONTENT, ""),
            Self::BadHost => ("bad_host", S::BAD_REQUEST, "send exactly one valid Host header"),
            Self::BrokenBody => ("broken_body", S::BAD_REQUEST, "the body could not be read"),
            Self::Refused => (
                "refused",
                S::FORBIDDEN,
                "host, path segments and signature do not belong together; copy the whole postback URL again",
            ),
            Self::NoSuchPath => ("no_such_path", S::NOT_FOUND, "there is nothing at this path"),
            Self::NoSuchLink => ("no_such_link", S::NOT_FOUND, "there is no such tracking link"),
            Self::MethodNotAllowed(_) => {
                ("method_not_allowed", S::METHOD_NOT_ALLOWED, "use one of the methods in Allow")
            }
            Self::BodyTimedOut => {
                ("body_timed_out", S::REQUEST_TIMEOUT, "the body did not arrive in time")
            }
            Self::NotLive => ("not_live", S::GONE, "this offer is not available"),
            Self::BodyTooLarge => {
                ("body_too_large", S::PAYLOAD_TOO_LARGE, "a body has at most 64 KiB")
            }
            Self::UrlTooLong => ("url_too_long", S::URI_TOO_LONG, "a URL has at most 8 KiB"),
            Self::HeadersTooLarge => (
                "headers_too_large",
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers have at most 32 KiB",
            ),
            Self::Flooding => (
                "flooding",
                S::TOO_MANY_REQUESTS,
                "too many requests from this address; wait and try again",
            ),
            Self::LogUnavailable => ("log_unavailable", S::SERVICE_UNAVAILABLE, LATER),
            Self::TooLate => ("too_late", S::SERVICE_UNAVAILABLE, LATER),
            Self::OverRate => ("over_rate", S::SERVICE_UNAVAILABLE, LATER),
            Self::Shed => ("shed", S::SERVICE_UNAVAILABLE, LATER),
        }
    }

    /// What is left of the request on the connection is not worth reading, or further requests
    /// are not welcome.
    fn closes(&self) -> bool {
        matches!(
            self,
            Self::BodyTimedOut
                | Self::BodyTooLarge
                | Self::BrokenBody
                | Self::HeadersTooLarge
                | Self::Flooding
        )
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Redirect(location) | Self::Fallback(location) => {
                HeaderValue::from_str(location).ok().map(|value| (LOCATION, value))
            }
            Self::Options(methods) | Self::MethodNotAllowed(methods) => {
                Some((ALLOW, HeaderValue::from_static(methods)))
            }
            Self::OverRate => Some((RETRY_AFTER, HeaderValue::from_static("1"))),
            Self::LogUnavailable | Self::TooLate | Self::Shed => {
                Some((RETRY_AFTER, HeaderValue::from_static("5")))
            }
            Self::Flooding => Some((RETRY_AFTER, HeaderValue::from_static("10"))),
            _ => None,
        }
    }
}

/// What becomes of the connection after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// Further requests are expected.
    Keep,
    /// None is: a user follows one link, and the slot is worth more to others.
    Close,
}

/// The HTTP answer. Some answers close the connection whatever is asked for.
#[must_use]
pub fn reply(answer: &Answer, afterwards: Afterwards) -> Reply {
    let (_, status, words) = answer.parts();
    let body = match answer {
        Answer::Accepted(id) => {
            Bytes::from(format!("{{\"status\":\"accepted\",\"postback_id\":\"{id}\"}}"))
        }
        _ if words.is_empty() => Bytes::new(),
        // The words are ours and hold nothing that JSON escapes.
        _ => Bytes::from(format!("{{\"error\":\"{words}\"}}\n")),
    };
    let mut reply = whole(status, "application/json", body);
    let headers = reply.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(answer.header());
    if afterwards == Afterwards::Close || answer.closes() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_503_says_when_to_come_back() {
        for answer in [Answer::LogUnavailable, Answer::TooLate, Answer::OverRate, Answer::Shed] {
            let reply = reply(&answer, Afterwards::Keep);
            assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert!(reply.headers().contains_key(RETRY_AFTER), "{answer:?}");
        }
    }

    #[test]
    fn words_need_no_escaping() {
        for answer in [Answer::Refused, Answer::NotLive, Answer::Flooding, Answer::Shed] {
            assert!(!answer.parts().2.contains(['"', '\\']));
        }
    }

    #[test]
    fn connections_are_closed_when_asked_for_or_needed() {
        let closes =
            |answer, afterwards| reply(&answer, afterwards).headers().contains_key(CONNECTION);
        assert!(!closes(Answer::Refused, Afterwards::Keep));
        assert!(closes(Answer::NotLive, Afterwards::Close));
        assert!(closes(Answer::Flooding, Afterwards::Keep));
        assert!(closes(Answer::BodyTooLarge, Afterwards::Keep));
    }

    #[test]
    fn redirects_go_where_they_should() {
        let reply = reply(&Answer::Redirect("https://a/?b=c".into()), Afterwards::Keep);
        assert_eq!(reply.status(), StatusCode::FOUND);
        assert_eq!(reply.headers()[LOCATION], "https://a/?b=c");
        assert_eq!(reply.headers()[CACHE_CONTROL], "no-store");
    }
}
