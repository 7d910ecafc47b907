//! What a request may carry: every parameter by name, with the form of its value. The same list
//! reads requests and is written into the OpenAPI document.

/// Longest value.
pub const VALUE_BYTES_MAX: usize = 2048;

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number between two bounds, both allowed.
    Whole {
        min: u32,
        max: u32,
        default: Option<u32>,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// One query parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    pub name: &'static str,
    pub about: &'static str,
    pub form: Form,
    pub required: bool,
}

impl Parameter {
    #[must_use]
    pub const fn text(name: &'static str, about: &'static str) -> Self {
        Self { name, about, form: Form::Text, required: false }
    }

    #[must_use]
    pub const fn flag(name: &'static str, about: &'static str) -> Self {
        Self { name, about, form: Form::Flag, required: false }
    }

    #[must_use]
    pub const fn choice(
        name: &'static str,
        about: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        Self { name, about, form: Form::Choice(words), required: false }
    }

    #[must_use]
    pub const fn whole(
        name: &'static str,
        about: &'static str,
        (min, max): (u32, u32),
        default: Option<u32>,
    ) -> Self {
        Self { name, about, form: Form::Whole { min, max, default }, required: false }
    }

    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }
}

/// The stretch of time and its zone, which every report has.
pub const PERIOD: [Parameter; 3] = [
    Parameter::text("from", "First day, or RFC 3339 time, that is in it."),
    Parameter::text("to", "Last day that is in it, or RFC 3339 time that no longer is."),
    Parameter::text(
        "tz",
        "Time zone of days and times, e.g. Europe/Berlin; the tenant's unless given.",
    ),
];
