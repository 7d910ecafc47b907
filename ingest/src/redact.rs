//! Credentials come in where they do not belong: pasted into another parameter, glued to a
//! value, a whole URL given as one. None of it may be kept.

use crate::credentials::{CredentialTable, KnownAdvertiser};
use keyring::Credentials;

/// What stands in the place of a credential.
pub const REDACTED: &str = "[redacted]";
/// Longest name or value kept of a refused request, in characters.
pub const REFUSED_TEXT_CHARS_MAX: usize = 64;
/// Parameters kept of a refused request.
pub const REFUSED_PARAMETERS_MAX: usize = 50;

/// Shorter pieces of a refused request's path are not looked for in its values: they are not
/// credentials, and would be found everywhere.
const PRESENTED_CHARS_MIN: usize = 8;
/// The shortest credential; nothing shorter is looked at.
const CREDENTIAL_CHARS_MIN: usize = 12;

/// Takes an advertiser's own credentials out of the parameters of its postback; first values of a
/// name that `is_clean` are not looked at.
pub fn redact_own(
    parameters: &mut [(String, String)],
    known: &KnownAdvertiser,
    is_clean: impl Fn(&str) -> bool,
) {
    let holds = |text: &str| {
        text.len() >= CREDENTIAL_CHARS_MIN && known.credentials.iter().any(|it| holds_any(text, it))
    };
    let mut seen_clean = false;
    for (name, value) in parameters {
        // The value that was found to be clean is the first of its name.
        let skip = !seen_clean && is_clean(name);
        seen_clean |= skip;
        if !skip && holds(value) {
            REDACTED.clone_into(value);
        }
        if holds(name) {
            REDACTED.clone_into(name);
        }
    }
}

/// What is kept of a refused request: nothing that is, was meant as, or looks like a credential.
pub struct RefusedText<'r> {
    /// The path's pieces and the signature that were presented.
    pub presented: &'r [String],
    /// Whose segments they were.
    pub known: Option<&'r KnownAdvertiser>,
    pub table: &'r CredentialTable,
}

impl RefusedText<'_> {
    /// A name or a value, redacted and cut.
    #[must_use]
    pub fn keep(&self, text: &str) -> String {
        self.keep_up_to(text, REFUSED_TEXT_CHARS_MAX)
    }

    /// A text, redacted and cut to `chars_max`.
    #[must_use]
    pub fn keep_up_to(&self, text: &str, chars_max: usize) -> String {
        let presented = self.presented.iter().filter(|it| it.len() >= PRESENTED_CHARS_MIN);
        let is_secret = presented.into_iter().any(|it| text.contains(it.as_str()))
            || self
                .known
                .is_some_and(|known| known.credentials.iter().any(|it| holds_any(text, it)))
            || runs(text).any(|run| self.table.is_part(run) || looks_like_credential(run));
        if is_secret {
            return REDACTED.to_owned();
        }
        text.chars().take(chars_max).collect()
    }
}

fn holds_any(text: &str, credentials: &Credentials) -> bool {
    text.contains(credentials.signature())
        || credentials.segments().into_iter().any(|segment| text.contains(segment))
}

/// The longest stretches of base64url characters.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
        .filter(|run| run.len() >= CREDENTIAL_CHARS_MIN - 1)
}

/// A mistyped credential is nearly one, so whatever has about the length of one and is as mixed
/// as random base64url counts. A click id is far longer, a UUID or a word far less mixed.
fn looks_like_credential(run: &str) -> bool {
    if (40..=46).contains(&run.len()) {
        return true;
    }
    let class = |byte: &u8| match byte {
        b'a'..=b'z' => 0,
        b'A'..=b'Z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let changes = run.as_bytes().windows(2).filter(|pair| class(&pair[0]) != class(&pair[1]));
    (11..=24).contains(&run.len()) && changes.count() * 2 >= run.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyring::Keyring;
    use schemas::{AdvertiserId, TenantId};

    fn known() -> KnownAdvertiser {
        let keyring = Keyring::parse("1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").unwrap();
        let (tenant, advertiser) =
            (TenantId::new("boots").unwrap(), AdvertiserId::new("games").unwrap());
        let credentials = keyring.credentials(&tenant, &advertiser, 1);
        KnownAdvertiser { tenant, advertiser, credentials }
    }

    #[test]
    fn own_credentials_are_taken_out_and_nothing_else() {
        let known = known();
        let [segment, ..] = known.credentials[0].segments();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut parameters = [
            pair("sub1", &format!("x{segment}y")),
            pair(known.credentials[0].signature(), "1"),
            pair("cnv_event_id", "s2s_level 200"),
            pair("gk_click_id", &format!("clean as it is: {segment}")),
            pair("gk_click_id", &format!("a second one: {segment}")),
            pair("transaction_id", "GPA.3345-1234-5678-90123"),
        ];
        redact_own(&mut parameters, &known, |name| name == "gk_click_id");
        assert_eq!(parameters[0].1, REDACTED);
        assert_eq!(parameters[1], pair(REDACTED, "1"));
        assert_eq!(parameters[2].1, "s2s_level 200");
        assert!(parameters[3].1.ends_with(segment), "the caller knows it");
        assert_eq!(parameters[4].1, REDACTED, "it is not the one that the caller knows");
        assert_eq!(parameters[5].1, "GPA.3345-1234-5678-90123");
    }

    #[test]
    fn a_refused_request_keeps_only_what_is_harmless() {
        let table = CredentialTable::default();
        let known = known();
        let [one, two, three] = known.credentials[0].segments();
        let presented = ["PRESENTED-one".to_owned(), "ab".to_owned()];
        let text = RefusedText { presented: &presented, known: Some(&known), table: &table };
        let mistyped = format!("{}x", &known.credentials[0].signature()[..42]);
        for secret in [
            one,
            two,
            three,
            known.credentials[0].signature(),
            &mistyped,
            "xPRESENTED-onex",
            "https://api.boots.localhost/api/v1/ZM-A9KxR5TQ2/Zu4Wn-8PmFJ7BqC6tHDrN0V/L5EoG2SxM9pTQaU3W/",
            "7FqR9KxD2WmA5N0B1TgYJcZs8vL3X4UeP-MH6tQEkdS",
            "ZM-A9KxR5TQ2",
        ] {
            assert_eq!(text.keep(secret), REDACTED, "{secret}");
        }
        for harmless in [
            "",
            "ab",
            "Install",
            "s2s_level 200",
            "Level_Complete_10",
            "1700000000123",
            "0192f3c4-7a6b-7c3d-9e8f-0a1b2c3d4e5f",
            "PetTheDogsInstall",
            "{event_name}",
        ] {
            assert_eq!(text.keep(harmless), harmless);
        }
        assert_eq!(text.keep(&"é".repeat(100)).chars().count(), REFUSED_TEXT_CHARS_MAX);
    }
}
