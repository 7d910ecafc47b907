//! What a click id promises: it comes back as it was, nothing else opens, and it keeps its length.

use keyring::{
    Keyring, SealError, TOKEN_CHARS_DEFAULT, TOKEN_CHARS_MAX, TOKEN_CHARS_MIN, TokenError,
};
use proptest::prelude::*;
use schemas::{
    ClickKey, OfferId, Platform, ResolvedClick, SUB_ID_COUNT, ShareId, SubIds, UnixMillis,
};

const OLD: &str = "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const NEW: &str = "2 _wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn keyring() -> Keyring {
    Keyring::parse(OLD).unwrap()
}

fn click(root_offer: &str, share: &str) -> ResolvedClick {
    ResolvedClick {
        key: ClickKey::new(NOW, [9; 8]),
        root_offer: OfferId::new(root_offer).unwrap(),
        share: ShareId::new(share).unwrap(),
        config_version: 12,
        country: Some(*b"US"),
        platform: Some(Platform::Ios),
        member: Some([1; 8]),
        test: false,
        subs: SubIds::default(),
        details: false,
    }
}

fn clicks() -> impl Strategy<Value = ResolvedClick> {
    let sub = proptest::option::weighted(0.4, "\\PC{0,12}");
    let subs = proptest::collection::vec(sub, SUB_ID_COUNT);
    let edge = (any::<Option<[u8; 2]>>(), 0..4usize, any::<Option<[u8; 8]>>(), any::<bool>());
    (
        "[a-z0-9][a-z0-9_-]{0,31}",
        "[a-z0-9][a-z0-9_-]{0,31}",
        any::<[u8; 14]>(),
        any::<u64>(),
        edge,
        subs,
    )
        .prop_map(
            |(root, share, key, config_version, (country, platform, member, test), subs)| {
                let mut click = ResolvedClick {
                    key: ClickKey(key),
                    config_version,
                    country,
                    platform: Platform::ALL.get(platform).copied(),
                    member,
                    test,
                    ..click(&root, &share)
                };
                for (slot, sub) in click.subs.0.iter_mut().zip(subs) {
                    *slot = sub.map(Into::into);
                }
                click
            },
        )
}

proptest! {
    #[test]
    fn a_click_comes_back_as_it_was(click in clicks(), max_chars in TOKEN_CHARS_MIN..400usize) {
        let sealed = keyring().seal(&click, NOW, max_chars).unwrap();
        prop_assert!(sealed.token.len() <= max_chars);
        let opened = keyring().open(&sealed.token).unwrap();
        prop_assert_eq!(opened.details, sealed.details);
        // The sub-ids that fitted are the first ones; with all of them, nothing is missing.
        let given: Vec<_> = click.subs.0.iter().flatten().collect();
        let kept: Vec<_> = opened.subs.0.iter().flatten().collect();
        prop_assert_eq!(&given[..kept.len()], &kept[..]);
        prop_assert_eq!(kept.len() < given.len(), sealed.details);
        let expected = ResolvedClick {
            subs: opened.subs.clone(), details: sealed.details, ..click
        };
        prop_assert_eq!(opened, expected);
    }

    #[test]
    fn hostile_text_never_opens(text in "\\PC{0,200}") {
        prop_assert!(keyring().open(&text).is_err());
    }
}

#[test]
fn any_changed_character_is_refused() {
    let token = keyring().seal(&click("offer", "share"), NOW, TOKEN_CHARS_DEFAULT).unwrap().token;
    assert!(keyring().open(&token).is_ok());
    for at in 0..token.len() {
        for replacement in ALPHABET.iter().chain(b"=+/ %~") {
            let mut bytes = token.clone().into_bytes();
            if bytes[at] == *replacement {
                continue;
            }
            bytes[at] = *replacement;
            let altered = String::from_utf8(bytes).unwrap();
            assert!(keyring().open(&altered).is_err(), "{altered}");
        }
    }
}

#[test]
fn cut_or_lengthened_is_refused() {
    let token = keyring().seal(&click("offer", "share"), NOW, TOKEN_CHARS_DEFAULT).unwrap().token;
    for chars in 0..token.len() {
        assert!(keyring().open(&token[..chars]).is_err(), "{chars}");
        assert!(keyring().open(&token[token.len() - chars..]).is_err(), "{chars}");
    }
    for longer in
        [format!("{token}A"), format!("{token}AAAA"), format!("{token}="), format!(" {token}")]
    {
        assert!(keyring().open(&longer).is_err(), "{longer}");
    }
    assert_eq!(keyring().open(&"A".repeat(TOKEN_CHARS_MAX + 1)), Err(TokenError::NotBase64));
}

#[test]
fn the_longest_ids_fit() {
    let (offer, share) = ("o".repeat(32), "s".repeat(32));
    let longest = ResolvedClick { config_version: u64::MAX, ..click(&offer, &share) };
    let sealed = keyring().seal(&longest, NOW, TOKEN_CHARS_MIN).unwrap();
    assert_eq!(sealed.token.len(), TOKEN_CHARS_MIN);
    assert_eq!(keyring().open(&sealed.token).unwrap(), longest);
    assert_eq!(
        keyring().seal(&longest, NOW, TOKEN_CHARS_MIN - 1),
        Err(SealError::TooLong { needed: TOKEN_CHARS_MIN, allowed: TOKEN_CHARS_MIN - 1 })
    );
}

#[test]
fn a_usual_click_has_room_for_a_sub_id() {
    let mut usual = click("pet-the-dogs-ios", "pet-the-dogs-ios-acme");
    usual.subs.0[0] = Some("0192f3c4-7a6b-7c3d-9e8f-0a1b2c3d4e5f".into());
    let sealed = keyring().seal(&usual, NOW, TOKEN_CHARS_DEFAULT).unwrap();
    assert!(!sealed.details, "a UUID in sub1 is what publishers send");
    assert_eq!(keyring().open(&sealed.token).unwrap(), usual);
}

#[test]
fn a_new_key_opens_at_once_and_mints_from_its_time() {
    let both = Keyring::parse(&format!("{OLD}\n{NEW} {NOW}")).unwrap();
    let only_new = Keyring::parse(NEW).unwrap();
    let click = click("offer", "share");
    let before = both.seal(&click, UnixMillis(NOW.0 - 1), TOKEN_CHARS_DEFAULT).unwrap().token;
    let after = both.seal(&click, NOW, TOKEN_CHARS_DEFAULT).unwrap().token;
    assert_eq!(only_new.open(&before), Err(TokenError::UnknownKey));
    assert_eq!(keyring().open(&after), Err(TokenError::UnknownKey));
    for token in [before, after, only_new.seal(&click, NOW, TOKEN_CHARS_DEFAULT).unwrap().token] {
        assert_eq!(both.open(&token).unwrap(), click);
    }
    let not_yet = Keyring::parse(&format!("{NEW} {NOW}")).unwrap();
    assert_eq!(
        not_yet.seal(&click, UnixMillis(NOW.0 - 1), TOKEN_CHARS_DEFAULT),
        Err(SealError::NoMintingKey)
    );
}

#[test]
fn the_same_id_with_another_key_does_not_open() {
    let token = keyring().seal(&click("offer", "share"), NOW, TOKEN_CHARS_DEFAULT).unwrap().token;
    let impostor = Keyring::parse(&format!("1 {}", &NEW[2..])).unwrap();
    assert_eq!(impostor.open(&token), Err(TokenError::NotAuthentic));
}

#[test]
fn another_version_is_said_to_be_one() {
    assert_eq!(keyring().open("AgEAAAAA"), Err(TokenError::UnknownVersion));
}
