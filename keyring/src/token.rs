//! `gk_click_id`: a click sealed with AES-256-SIV (RFC 5297), misuse-resistant, so that even two
//! clicks with the same random bits would give nothing away.
//!
//! `version (1) | key id (1) | tag (16) | sealed body`, in base64url. Version and key id are in the
//! clear and authenticated with the rest.

use crate::base64url::{self, bytes_in, chars_of};
use crate::derive::{KEY_BYTES, Key, derive};
use crate::error::{SealError, TokenError};
use crate::token_body::{self, BODY_BYTES_MAX_WITHOUT_SUBS};
use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use schemas::ResolvedClick;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 2;
const TAG_BYTES: usize = 16;

/// The usual limit: many systems cut a parameter at 255 characters, some long before.
pub const TOKEN_CHARS_DEFAULT: usize = 150;
/// Any click fits into so many characters when it has no sub-ids.
pub const TOKEN_CHARS_MIN: usize = chars_of(HEADER_BYTES + TAG_BYTES + BODY_BYTES_MAX_WITHOUT_SUBS);
/// Longer ones are not looked at.
pub const TOKEN_CHARS_MAX: usize = 1024;
const _: () = assert!(TOKEN_CHARS_MIN <= TOKEN_CHARS_DEFAULT);
const _: () = assert!(TOKEN_CHARS_DEFAULT <= TOKEN_CHARS_MAX);

/// A minted click id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedClick {
    pub token: String,
    /// Some sub-ids did not fit: the whole set must be written as click details.
    pub details: bool,
}

/// The token key of one master key.
pub struct TokenKey {
    key_id: u8,
    halves: [Key; 2],
}

impl TokenKey {
    pub fn derive(key_id: u8, master: &[u8; KEY_BYTES]) -> Self {
        let half = |label: &str| derive(master, &[label.as_bytes()]);
        Self { key_id, halves: [half("click-token-mac"), half("click-token-encryption")] }
    }

    fn cipher(&self) -> Aes256Siv {
        let mut key = Zeroizing::new([0; 2 * KEY_BYTES]);
        key[..KEY_BYTES].copy_from_slice(&*self.halves[0]);
        key[KEY_BYTES..].copy_from_slice(&*self.halves[1]);
        Aes256Siv::new((&*key).into())
    }

    /// Seals a click into at most `max_chars` characters, [`TOKEN_CHARS_MAX`] at most.
    pub fn seal(&self, click: &ResolvedClick, max_chars: usize) -> Result<SealedClick, SealError> {
        let allowed = max_chars.min(TOKEN_CHARS_MAX);
        let overhead = HEADER_BYTES + TAG_BYTES;
        let (body, details) = token_body::write(click, bytes_in(allowed).saturating_sub(overhead));
        let needed = chars_of(overhead + body.len());
        if needed > allowed {
            return Err(SealError::TooLong { needed, allowed });
        }
        let header = [VERSION, self.key_id];
        let mut token = Vec::with_capacity(overhead + body.len());
        token.extend_from_slice(&header);
        let sealed = self
            .cipher()
            .encrypt([&header[..]], &body)
            .expect("one header and a short body are within the mode's limits");
        token.extend_from_slice(&sealed);
        Ok(SealedClick { token: base64url::encode(&token), details })
    }

    fn open(&self, header: [u8; HEADER_BYTES], sealed: &[u8]) -> Result<ResolvedClick, TokenError> {
        let body =
            self.cipher().decrypt([&header[..]], sealed).map_err(|_| TokenError::NotAuthentic)?;
        token_body::read(&body).ok_or(TokenError::Unreadable)
    }
}

/// Opens a token with the key it names.
pub fn open<'k>(
    token: &str,
    key: impl FnOnce(u8) -> Option<&'k TokenKey>,
) -> Result<ResolvedClick, TokenError> {
    if token.len() > TOKEN_CHARS_MAX {
        return Err(TokenError::NotBase64);
    }
    let bytes = base64url::decode(token).ok_or(TokenError::NotBase64)?;
    let (header, sealed) =
        bytes.split_first_chunk::<HEADER_BYTES>().ok_or(TokenError::NotBase64)?;
    let [version, key_id] = *header;
    if version != VERSION {
        return Err(TokenError::UnknownVersion);
    }
    key(key_id).ok_or(TokenError::UnknownKey)?.open(*header, sealed)
}
