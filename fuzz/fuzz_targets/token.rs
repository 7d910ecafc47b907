//! Click ids: what was sealed comes back as it was, and nothing else opens, neither what strangers
//! make up nor what was sealed and changed since.
//!
//! Input: as a text of its own, and as a recipe: a click, then what is done to its token.

#![no_main]

use keyring::{Keyring, TOKEN_CHARS_MAX, TOKEN_CHARS_MIN};
use libfuzzer_sys::fuzz_target;
use schemas::{ClickKey, OfferId, Platform, ResolvedClick, ShareId, SubIds, UnixMillis};
use std::sync::LazyLock;

/// Keys of this target alone.
const KEYS: &str = "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n\
                    2 _wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 2026-01-01T00:00:00Z";
static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::parse(KEYS).unwrap());
/// Keys that have never sealed anything. The ones above have: the fuzzer learns from comparisons,
/// and would try what they sealed as if it had made it up.
const UNUSED_KEYS: &str = "1 BQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n\
                           2 BgECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8 2026-01-01T00:00:00Z";
static UNUSED: LazyLock<Keyring> = LazyLock::new(|| Keyring::parse(UNUSED_KEYS).unwrap());
/// One is before the second key's time, one after it.
const NOW: [UnixMillis; 2] = [UnixMillis(1_700_000_000_000), UnixMillis(1_800_000_000_000)];
const ID_CHARS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_";

fuzz_target!(|data: &[u8]| {
    let made_up = String::from_utf8_lossy(data);
    assert!(UNUSED.open(&made_up).is_err(), "nobody sealed this: {made_up}");
    if let Ok(click) = KEYRING.open(&made_up) {
        // Sealed here, then. The same click is always sealed alike, by one key or the other; unless
        // it had no room for its sub-ids, which nobody knows any more.
        let mut again = NOW.iter().map(|now| KEYRING.seal(&click, *now, TOKEN_CHARS_MAX).unwrap());
        assert!(
            click.details || again.any(|it| it.token == made_up),
            "sealed otherwise: {made_up}"
        );
    }

    let mut recipe = Recipe(data);
    let now = NOW[usize::from(recipe.byte() & 1)];
    let allowed = TOKEN_CHARS_MIN + usize::from(recipe.byte()) * 4;
    let click = recipe.click();
    let sealed = KEYRING.seal(&click, now, allowed).unwrap();
    assert!(sealed.token.len() <= allowed.min(TOKEN_CHARS_MAX));
    let opened = KEYRING.open(&sealed.token).unwrap();
    assert_eq!(opened.details, sealed.details);
    let kept = if sealed.details { opened.subs.clone() } else { click.subs.clone() };
    assert_eq!(opened, ResolvedClick { subs: kept, details: sealed.details, ..click });

    let changed = recipe.change(sealed.token.clone().into_bytes());
    if changed != sealed.token {
        assert!(KEYRING.open(&changed).is_err(), "{changed} is {} changed", sealed.token);
    }
});

/// Bytes that say what to do; when they are used up, zeroes.
struct Recipe<'a>(&'a [u8]);

impl Recipe<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// 1 to 32 characters, not beginning with a sign.
    fn id(&mut self) -> String {
        let chars = 1 + self.byte() % 32;
        let char = |index: u8, byte: u8| {
            let choice = if index == 0 { &ID_CHARS[..36] } else { ID_CHARS };
            char::from(choice[usize::from(byte) % choice.len()])
        };
        (0..chars).map(|index| char(index, self.byte())).collect()
    }

    fn text(&mut self) -> String {
        let bytes: Vec<u8> = (0..self.byte()).map(|_| self.byte()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn click(&mut self) -> ResolvedClick {
        let [has, subs, platform] = self.bytes();
        let mut click = ResolvedClick {
            key: ClickKey(self.bytes()),
            root_offer: OfferId::new(&self.id()).unwrap(),
            share: ShareId::new(&self.id()).unwrap(),
            config_version: u64::from_be_bytes(self.bytes()),
            country: (has & 1 != 0).then(|| self.bytes()),
            platform: Platform::ALL.get(usize::from(platform % 4)).copied(),
            member: (has & 2 != 0).then(|| self.bytes()),
            test: has & 4 != 0,
            subs: SubIds::default(),
            details: false,
        };
        for slot in click.subs.0.iter_mut().take(usize::from(subs % 16)) {
            *slot = Some(self.text().into());
        }
        click
    }

    /// One change of each kind, anywhere.
    fn change(&mut self, mut token: Vec<u8>) -> String {
        let at = usize::from(u16::from_be_bytes(self.bytes())) % token.len();
        let byte = self.byte();
        match self.byte() % 5 {
            0 => token[at] ^= byte,
            1 => token.insert(at, byte),
            2 => token.truncate(at),
            3 => drop(token.remove(at)),
            _ => token.push(byte),
        }
        String::from_utf8_lossy(&token).into_owned()
    }
}
