//! What goes wrong with a request, as its caller is told: a status, a message, what to do.

use crate::apply::Problem;
use hyper::StatusCode;
use serde_json::json;
use service::Reply;

/// Sorted by what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request is wrong: change it.
    #[error("{message}")]
    BadRequest { message: String, hint: Option<String> },
    /// No token, or a wrong one: look at the token.
    #[error("a valid token is wanted in the header Authorization: Bearer")]
    Unauthorized,
    /// The `Host` header names something else: a page elsewhere may have sent it.
    #[error(
        "this host name is not served here; use a loopback name, or allow it with --admin-host"
    )]
    ForbiddenHost,
    /// What was asked about does not exist: look at the id.
    #[error("{message}")]
    NotFound { message: String, hint: Option<String> },
    #[error("{0} is not possible here")]
    MethodNotAllowed(String),
    /// Somebody else was first: look at what is in force now, and try again.
    #[error("{0}")]
    Conflict(String),
    #[error("the request is larger than {0} bytes; send less at once")]
    TooLarge(usize),
    #[error("the request's body did not arrive in time, or broke off; send it again")]
    BodyIncomplete,
    /// Documents are wrong: mend them.
    #[error("{}", problems_text(.0.len()))]
    Documents(Vec<Problem>),
    /// ClickHouse or the log is away: try again later.
    #[error("{message}")]
    Unavailable { message: String, hint: Option<String> },
    /// It took too long: ask for less.
    #[error("{0}")]
    TimedOut(String),
    /// It would be too much for one report: ask for less.
    #[error("{0}")]
    TooMuch(String),
    /// Our own mistake: nothing the caller can change.
    #[error("{0}")]
    Internal(String),
}

fn problems_text(count: usize) -> String {
    match count {
        1 => "1 problem; nothing was changed".to_owned(),
        _ => format!("{count} problems; nothing was changed"),
    }
}

impl Error {
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::BadRequest { message: message.into(), hint: None }
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::NotFound { message: message.into(), hint: None }
    }

    /// Adds what to do about it, where there is room for it.
    #[must_use]
    pub fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::BadRequest { hint, .. }
        | Self::NotFound { hint, .. }
        | Self::Unavailable { hint, .. } = &mut self
        {
            *hint = Some(text.into());
        }
        self
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ForbiddenHost => StatusCode::FORBIDDEN,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) | Self::TooMuch(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyIncomplete => StatusCode::REQUEST_TIMEOUT,
            Self::Documents(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::BadRequest { hint, .. }
            | Self::NotFound { hint, .. }
            | Self::Unavailable { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }

    /// `{"error":{"message":…,"hint":…,"problems":[…]}}`.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let mut error = json!({ "message": self.to_string() });
        if let Some(hint) = self.hint() {
            error["hint"] = json!(hint);
        }
        if let Self::Documents(problems) = self {
            error["problems"] = json!(problems);
        }
        let body = format!("{}\n", json!({ "error": error }));
        let mut reply = service::http::reply(self.status(), "application/json", body);
        if matches!(self, Self::Unavailable { .. }) {
            let seconds = crate::config::RETRY_AFTER.as_secs().into();
            reply.headers_mut().insert(hyper::header::RETRY_AFTER, seconds);
        }
        if *self == Self::Unauthorized {
            let scheme = hyper::header::HeaderValue::from_static("Bearer");
            reply.headers_mut().insert(hyper::header::WWW_AUTHENTICATE, scheme);
        }
        reply
    }
}
