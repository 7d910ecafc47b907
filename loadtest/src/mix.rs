//! What is sent: kinds by weight, the same for the same seed whatever the timing.

use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// What one request is, and so which answer is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A user follows a tracking link.
    Click,
    /// The next event of a click.
    Valid,
    /// The next event of a click, sent again because the answer to the first time was lost: the
    /// connection is gone before it comes.
    Retry,
    /// An event that was accepted before, again.
    Duplicate,
    /// A later event of a click that has not had its first.
    OutOfOrder,
    /// A signature that is not the advertiser's.
    Forged,
    /// Something missing, undecodable or made up; accepted, and rejected with a reason later.
    Malformed,
    /// The sender left its macros unreplaced; accepted, and rejected with a reason later.
    MacroNotReplaced,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Click,
        Self::Valid,
        Self::Retry,
        Self::Duplicate,
        Self::OutOfOrder,
        Self::Forged,
        Self::Malformed,
        Self::MacroNotReplaced,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::Valid => "valid",
            Self::Retry => "retry",
            Self::Duplicate => "duplicate",
            Self::OutOfOrder => "out-of-order",
            Self::Forged => "forged",
            Self::Malformed => "malformed",
            Self::MacroNotReplaced => "macro",
        }
    }

    /// The HTTP status that this kind is to be answered with.
    pub fn expected_status(self) -> u16 {
        match self {
            Self::Click => 302,
            Self::Forged => 403,
            Self::Valid
            | Self::Retry
            | Self::Duplicate
            | Self::OutOfOrder
            | Self::Malformed
            | Self::MacroNotReplaced => 200,
        }
    }

    /// Its place in [`Kind::ALL`]; also its byte in a ledger.
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A weight for each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    weights: [u32; Kind::ALL.len()],
    total: u32,
}

/// Bounds the sum well inside `u32`.
const WEIGHT_MAX: u32 = 1_000_000;

impl Mix {
    pub const DEFAULT: &str =
        "click=25,valid=48,retry=2,duplicate=10,out-of-order=5,forged=4,malformed=3,macro=3";

    /// The kind of the request with this number.
    pub fn kind(&self, seed: u64, number: u64) -> Kind {
        // Multiplying instead of a remainder: no kind is favoured by more than 2^-32.
        let random = scramble(seed, number) >> 32;
        let mut point = (random * u64::from(self.total)) >> 32;
        for kind in Kind::ALL {
            let weight = u64::from(self.weights[kind.index()]);
            if point < weight {
                return kind;
            }
            point -= weight;
        }
        Kind::Click
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut weights = [0; Kind::ALL.len()];
        for part in text.split(',') {
            let (name, weight) =
                part.split_once('=').ok_or(format!("{part:?} is not KIND=WEIGHT"))?;
            let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name.trim());
            let kind = kind.ok_or_else(|| {
                format!("{name:?} is not one of {}", Kind::ALL.map(Kind::name).join(", "))
            })?;
            weights[kind.index()] = weight
                .trim()
                .parse()
                .ok()
                .filter(|weight| *weight <= WEIGHT_MAX)
                .ok_or(format!("{weight:?} is not a weight from 0 to {WEIGHT_MAX}"))?;
        }
        let total = weights.iter().sum();
        if total == 0 {
            return Err("every weight is 0, so there is nothing to send".to_owned());
        }
        Ok(Self { weights, total })
    }
}

/// SplitMix64 of a seed and a counter (Steele, Lea and Flood, 2014): well mixed, and any place of
/// the sequence can be computed on its own.
pub fn scramble(seed: u64, counter: u64) -> u64 {
    const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut z = seed.wrapping_add(counter.wrapping_add(1).wrapping_mul(GOLDEN_GAMMA));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The reference implementation's first values for the seed 1234567.
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([scramble(1_234_567, 0), scramble(1_234_567, 1)], expected);
    }

    #[test]
    fn kinds_follow_their_weights() {
        let mix: Mix = "click=1,valid=3,forged=0".parse().unwrap();
        let mut counts = [0u32; Kind::ALL.len()];
        for number in 0..40_000 {
            counts[mix.kind(7, number).index()] += 1;
        }
        // 10,000 and 30,000 are expected; six standard deviations are about 520.
        assert!((9_480..=10_520).contains(&counts[Kind::Click.index()]), "{counts:?}");
        assert_eq!(counts[Kind::Click.index()] + counts[Kind::Valid.index()], 40_000);
    }

    #[test]
    fn a_seed_fixes_the_sequence() {
        let mix: Mix = Mix::DEFAULT.parse().unwrap();
        let sequence = |seed| (0..200).map(|n| mix.kind(seed, n)).collect::<Vec<_>>();
        assert_eq!(sequence(5), sequence(5));
        assert_ne!(sequence(5), sequence(6));
    }

    #[test]
    fn wrong_mixes_are_explained() {
        let cases = [
            ("click", "not KIND=WEIGHT"),
            ("clack=1", "not one of click, valid, retry"),
            ("click=-1", "not a weight"),
            ("click=1000001", "not a weight"),
            ("click=0", "nothing to send"),
        ];
        for (text, expected) in cases {
            let error = text.parse::<Mix>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
