//! The master keys, as an operator keeps them: one a line, oldest first,
//! `<id 1..255> <base64url of 32 bytes> [mint-from RFC 3339]`; `#` begins a comment.

use crate::base64url;
use crate::credentials::Credentials;
use crate::derive::{KEY_BYTES, Key, derive};
use crate::error::{KeyringError, SealError, TokenError};
use crate::sealed_text::{self, TextKey};
use crate::token::{self, SealedClick, TokenKey};
use crate::webhook::WebhookSecret;
use jiff::Timestamp;
use schemas::{AdvertiserId, OfferId, PublisherId, ResolvedClick, ShareId, TenantId, UnixMillis};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Characters of a test link's signature: 132 bits.
const TEST_SIGNATURE_CHARS: usize = 22;

/// All master keys, oldest first, never empty. `Debug` shows their ids only.
pub struct Keyring {
    keys: Vec<MasterKey>,
}

struct MasterKey {
    id: u8,
    /// Minting begins here; the first key's may be unset, which is "always".
    mint_from: Option<UnixMillis>,
    secret: Key,
    token: TokenKey,
    texts: TextKey,
    members: Key,
    test_links: Key,
}

impl MasterKey {
    fn new(id: u8, secret: Key, mint_from: Option<UnixMillis>) -> Self {
        Self {
            id,
            mint_from,
            token: TokenKey::derive(id, &secret),
            texts: TextKey::derive(id, &secret),
            members: derive(&secret, &[b"member-hash"]),
            test_links: derive(&secret, &[b"test-link"]),
            secret,
        }
    }

    fn test_link_signature(&self, share: &ShareId) -> String {
        let mut text = base64url::encode(&*derive(&self.test_links, &[share.as_str().as_bytes()]));
        text.truncate(TEST_SIGNATURE_CHARS);
        text
    }
}

impl Keyring {
    /// Reads the keys. Errors name the line, never what stands in it.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys = Vec::<MasterKey>::new();
        for (index, text) in text.lines().enumerate() {
            let line = index + 1;
            let text = text.split('#').next().unwrap_or_default().trim();
            if text.is_empty() {
                continue;
            }
            let key = parse_line(text, line)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(KeyringError::RepeatedId { line, id: key.id });
            }
            if keys.iter().any(|other| other.secret == key.secret) {
                return Err(KeyringError::RepeatedKey { line });
            }
            // `None` is the least, so this also keeps it to the first line.
            if keys.last().is_some_and(|before| key.mint_from <= before.mint_from) {
                return Err(KeyringError::MintOrder { line });
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(KeyringError::Empty) } else { Ok(Self { keys }) }
    }

    /// A new line for the file, with a key nobody knows.
    pub fn generate(id: u8) -> Result<String, KeyringError> {
        if id == 0 {
            return Err(KeyringError::NewId);
        }
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *secret)
            .map_err(|error| KeyringError::NoRandomness(error.to_string()))?;
        Ok(format!("{id} {}", base64url::encode(&*secret)))
    }

    /// The credentials of an advertiser at one credential version, one for each master key: all
    /// are accepted, the newest key's is first and is the one to show.
    #[must_use]
    pub fn credentials(
        &self,
        tenant: &TenantId,
        advertiser: &AdvertiserId,
        version: u32,
    ) -> Vec<Credentials> {
        let newest_first = self.keys.iter().rev();
        newest_first
            .map(|key| Credentials::derive(&key.secret, tenant, advertiser, version))
            .collect()
    }

    /// A publisher's secrets at one version, one for each master key: postbacks are signed with
    /// all of them, the newest key's is first and is the one to show.
    #[must_use]
    pub fn webhook_secrets(
        &self,
        tenant: &TenantId,
        publisher: &PublisherId,
        version: u32,
    ) -> Vec<WebhookSecret> {
        let newest_first = self.keys.iter().rev();
        newest_first
            .map(|key| WebhookSecret::new(&key.secret, tenant, publisher, version))
            .collect()
    }

    /// Mints a click id of at most `max_chars` characters with the newest key that may mint at
    /// `now`. Sub-ids go into it in their order while they fit; `click.details` is not read but
    /// decided here.
    pub fn seal(
        &self,
        click: &ResolvedClick,
        now: UnixMillis,
        max_chars: usize,
    ) -> Result<SealedClick, SealError> {
        self.minting(now)?.token.seal(click, max_chars)
    }

    /// The newest key that may mint at `now`.
    fn minting(&self, now: UnixMillis) -> Result<&MasterKey, SealError> {
        let may_mint = |key: &&MasterKey| key.mint_from.is_none_or(|from| from <= now);
        self.keys.iter().rev().find(may_mint).ok_or(SealError::NoMintingKey)
    }

    /// Seals a secret of somebody else's that is kept in the configuration. `place` is whose it is
    /// and what it is there: it opens nowhere else.
    pub fn seal_text(
        &self,
        place: [&str; 2],
        text: &str,
        now: UnixMillis,
    ) -> Result<String, SealError> {
        Ok(self.minting(now)?.texts.seal(place, text))
    }

    /// Opens what [`Self::seal_text`] gave for the same place, under any of the keys.
    #[must_use]
    pub fn open_text(&self, place: [&str; 2], sealed: &str) -> Option<Zeroizing<String>> {
        sealed_text::open(place, sealed, |id| {
            self.keys.iter().find(|key| key.id == id).map(|key| &key.texts)
        })
    }

    /// Opens a click id that any of the keys has sealed, whatever its mint-from.
    pub fn open(&self, token: &str) -> Result<ResolvedClick, TokenError> {
        token::open(token, |id| self.keys.iter().find(|key| key.id == id).map(|key| &key.token))
    }

    /// Stands for a publisher's own user below a root offer, without naming them. Made with the
    /// oldest key, so that adding keys changes nothing; taking the oldest away begins anew.
    #[must_use]
    pub fn member_hash(&self, root: &OfferId, publisher: &PublisherId, member: &str) -> [u8; 8] {
        let oldest = &self.keys[0];
        let parts = [root.as_str().as_bytes(), publisher.as_str().as_bytes(), member.as_bytes()];
        let hash = derive(&oldest.members, &parts);
        let (first, _) = hash.split_first_chunk().expect("a hash is longer than 8 bytes");
        *first
    }

    /// Stands for a value that was erased, in base64url: whoever has the value and the oldest key can
    /// show that it was, and nobody else can find the value.
    #[must_use]
    pub fn erasure_hash(&self, kind: &str, value: &str) -> String {
        let parts = [b"erasure".as_slice(), kind.as_bytes(), value.as_bytes()];
        base64url::encode(&*derive(&self.keys[0].secret, &parts))
    }

    /// The value of `gk_test` that makes a share's tracking link a test link.
    #[must_use]
    pub fn test_link_signature(&self, share: &ShareId) -> String {
        let newest = &self.keys[self.keys.len() - 1];
        newest.test_link_signature(share)
    }

    /// Whether `given` is the share's `gk_test` under any of the keys.
    #[must_use]
    pub fn is_test_link(&self, share: &ShareId, given: &str) -> bool {
        self.keys
            .iter()
            .any(|key| key.test_link_signature(share).as_bytes().ct_eq(given.as_bytes()).into())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u8> = self.keys.iter().map(|key| key.id).collect();
        f.debug_struct("Keyring").field("ids", &ids).finish_non_exhaustive()
    }
}

fn parse_line(text: &str, line: usize) -> Result<MasterKey, KeyringError> {
    let mut words = text.split_whitespace();
    let (Some(id), Some(key), mint_from, None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(KeyringError::Shape { line });
    };
    let id = id.parse().ok().filter(|id| *id != 0).ok_or(KeyringError::Id { line })?;
    let bytes = Zeroizing::new(base64url::decode(key).ok_or(KeyringError::Key { line })?);
    let secret = Zeroizing::new(
        <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).map_err(|_| KeyringError::Key { line })?,
    );
    let mint_from = match mint_from {
        Some(text) => {
            let time: Timestamp = text.parse().map_err(|_| KeyringError::MintFrom { line })?;
            Some(UnixMillis(time.as_millisecond()))
        }
        None => None,
    };
    Ok(MasterKey::new(id, secret, mint_from))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    const B: &str = "_wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn files_are_read() {
        let text = format!("# keys\n\n1 {A} # first\r\n  7\t{B}  2026-01-31T12:00:00+02:00\n");
        let keyring = Keyring::parse(&text).unwrap();
        assert_eq!(keyring.keys.len(), 2);
        assert_eq!(keyring.keys[1].mint_from, Some(UnixMillis(1_769_853_600_000)));
        assert_eq!(format!("{keyring:?}"), "Keyring { ids: [1, 7], .. }");
    }

    #[test]
    fn errors_name_the_line_and_no_secret() {
        let later = "2026-01-31T12:00:00Z";
        let check = |text: String, expected: KeyringError| {
            let error = Keyring::parse(&text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            let message = error.to_string();
            assert!(!message.contains(&A[..8]) && !message.contains(&B[..8]), "{message}");
        };
        check(String::new(), KeyringError::Empty);
        check("# nothing\n".into(), KeyringError::Empty);
        check("1".into(), KeyringError::Shape { line: 1 });
        check(format!("1 {A} {later} more"), KeyringError::Shape { line: 1 });
        for id in ["0", "256", "-1", "one", ""] {
            let expected = if id.is_empty() {
                KeyringError::Shape { line: 2 }
            } else {
                KeyringError::Id { line: 2 }
            };
            check(format!("\n{id} {A}"), expected);
        }
        for key in [&A[1..], &format!("{A}A"), &format!("{A}="), "%", &A.replace('8', "9")] {
            check(format!("1 {key}"), KeyringError::Key { line: 1 });
        }
        check(format!("1 {A} tomorrow"), KeyringError::MintFrom { line: 1 });
        check(format!("1 {A}\n1 {B} {later}"), KeyringError::RepeatedId { line: 2, id: 1 });
        check(format!("1 {A}\n2 {A} {later}"), KeyringError::RepeatedKey { line: 2 });
        check(format!("1 {A}\n2 {B}"), KeyringError::MintOrder { line: 2 });
        check(format!("1 {A} {later}\n2 {B} {later}"), KeyringError::MintOrder { line: 2 });
    }

    #[test]
    fn generated_lines_are_read_and_differ() {
        let lines = [Keyring::generate(1).unwrap(), Keyring::generate(255).unwrap()];
        assert_ne!(lines[0][2..], lines[1][4..]);
        for line in lines {
            assert!(Keyring::parse(&line).is_ok());
        }
        assert_eq!(Keyring::generate(0), Err(KeyringError::NewId));
    }

    #[test]
    fn every_key_gives_credentials_the_newest_first() {
        let (tenant, advertiser) =
            (TenantId::new("brownboots").unwrap(), AdvertiserId::new("brain-games").unwrap());
        let signatures = |text: &str| -> Vec<String> {
            let keyring = Keyring::parse(text).unwrap();
            let all = keyring.credentials(&tenant, &advertiser, 1);
            all.iter().map(|it| it.signature().to_owned()).collect()
        };
        let old = signatures(&format!("1 {A}"));
        let new = signatures(&format!("2 {B}"));
        let both = signatures(&format!("1 {A}\n2 {B} 2026-01-31T12:00:00Z"));
        assert_eq!(both, [new, old].concat());
    }

    #[test]
    fn members_outlive_a_rotation() {
        let offer = |id| OfferId::new(id).unwrap();
        let publisher = |id| PublisherId::new(id).unwrap();
        let before = Keyring::parse(&format!("1 {A}")).unwrap();
        let after = Keyring::parse(&format!("1 {A}\n2 {B} 2026-01-31T12:00:00Z")).unwrap();
        let hash = before.member_hash(&offer("o"), &publisher("p"), "user 1");
        assert_eq!(hash, after.member_hash(&offer("o"), &publisher("p"), "user 1"));
        for (root, other, member) in [("x", "p", "user 1"), ("o", "x", "user 1"), ("o", "p", "x")] {
            assert_ne!(hash, before.member_hash(&offer(root), &publisher(other), member));
        }
    }

    #[test]
    fn test_links_are_signed_for_one_share() {
        let share = |id| ShareId::new(id).unwrap();
        let before = Keyring::parse(&format!("1 {A}")).unwrap();
        let after = Keyring::parse(&format!("1 {A}\n2 {B} 2026-01-31T12:00:00Z")).unwrap();
        let signature = before.test_link_signature(&share("s"));
        assert_eq!(signature.len(), TEST_SIGNATURE_CHARS);
        assert!(before.is_test_link(&share("s"), &signature));
        assert!(after.is_test_link(&share("s"), &signature), "old links go on working");
        for (id, given) in [("t", signature.as_str()), ("s", ""), ("s", &signature[1..])] {
            assert!(!after.is_test_link(&share(id), given));
        }
    }
}
