//! Opening the click id at the edge, so that the rules see a resolved click and never a key.

use keyring::Keyring;
use rules::ClickReference;
use schemas::ResolvedClick;
use schemas::topic::partition_of;

/// The parameter that names the click.
pub(crate) const CLICK_PARAMETER: &str = "gk_click_id";

/// What a postback's click parameter is.
#[derive(Debug)]
pub(crate) enum Resolution {
    Missing,
    Invalid,
    Click(Box<ResolvedClick>),
    /// A valid click of an offer that lives in another partition: never decided here, because this
    /// worker does not own its caps.
    WrongPartition(u32),
}

/// Opens the click id that a postback's parameter, or a command, carries.
pub(crate) fn resolve(
    keyring: &Keyring,
    token: Option<&str>,
    partition: u32,
    partitions: u32,
) -> Resolution {
    let Some(token) = token.map(str::trim).filter(|token| !token.is_empty()) else {
        return Resolution::Missing;
    };
    let Ok(click) = keyring.open(token) else { return Resolution::Invalid };
    match partition_of(&click.root_offer, partitions) {
        home if home == partition => Resolution::Click(Box::new(click)),
        home => Resolution::WrongPartition(home),
    }
}

/// The click ids of an input, opened.
#[derive(Debug)]
pub(crate) enum Opened {
    One(Resolution),
    /// One for each postback that is put back for decision, and the version asked for.
    Each(Vec<Resolution>, u64),
}

impl Opened {
    fn all(&self) -> &[Resolution] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Each(each, _) => each,
        }
    }

    /// The newest version of the configuration that is wanted: the one that a click was made with,
    /// or that whoever asks has seen.
    pub(crate) fn version(&self) -> Option<u64> {
        let asked = match self {
            Self::One(_) => None,
            Self::Each(_, version) => Some(*version),
        };
        self.all().iter().filter_map(Resolution::version).chain(asked).max()
    }

    /// The one click, as the rules see it; none for what must not be decided here.
    pub(crate) fn reference(&self) -> Result<ClickReference<'_>, u32> {
        self.all().first().map_or(Ok(ClickReference::Missing), Resolution::reference)
    }

    /// As [`Self::reference`], for each.
    pub(crate) fn references(&self) -> Result<Vec<ClickReference<'_>>, u32> {
        self.all().iter().map(Resolution::reference).collect()
    }
}

impl Resolution {
    /// The version of the configuration that the click was made with.
    fn version(&self) -> Option<u64> {
        match self {
            Self::Click(click) => Some(click.config_version),
            Self::Missing | Self::Invalid | Self::WrongPartition(_) => None,
        }
    }

    /// As the rules see it; none for what must not be decided here.
    fn reference(&self) -> Result<ClickReference<'_>, u32> {
        match self {
            Self::Missing => Ok(ClickReference::Missing),
            Self::Invalid => Ok(ClickReference::Invalid),
            Self::Click(click) => Ok(ClickReference::Resolved(click)),
            Self::WrongPartition(home) => Err(*home),
        }
    }
}
