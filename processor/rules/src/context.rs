//! What a timer needs of a click, kept while one of its conversions is pending: the opened click
//! and its id as text. A settled click needs neither: postbacks and commands bring them along.

use crate::keys::{self, ClickSlot};
use crate::output::Scratch;
use crate::store::{Damaged, Store};
use crate::wire::{Reader, put_text, put_varint};
use schemas::{OfferId, Platform, ResolvedClick, ShareId, SubIds, SubIdsView};
use std::sync::Arc;

const FORMAT: u8 = 1;
const WHAT: &str = "the context of a pending conversion";
/// Names a details entry where it cannot be read.
pub const SUBS: &str = "a click's sub-ids";

const MARK_COUNTRY: u8 = 1;
const MARK_PLATFORM: u8 = 1 << 1;
const MARK_MEMBER: u8 = 1 << 2;
const MARK_TEST: u8 = 1 << 3;
const MARK_DETAILS: u8 = 1 << 4;

pub fn put<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    slot: ClickSlot,
    click: &ResolvedClick,
    click_id: &str,
) -> Result<(), S::Error> {
    keys::context(&mut scratch.key, slot);
    encode(&mut scratch.value, click, click_id);
    store.put(&scratch.key, &scratch.value)
}

pub fn get<S: Store>(
    store: &mut S,
    scratch: &mut Scratch,
    slot: ClickSlot,
) -> Result<Option<(ResolvedClick, Arc<str>)>, S::Error> {
    keys::context(&mut scratch.key, slot);
    if !store.get(&scratch.key, &mut scratch.value)? {
        return Ok(None);
    }
    Ok(Some(decode(slot, &scratch.value)?))
}

fn encode(out: &mut Vec<u8>, click: &ResolvedClick, click_id: &str) {
    out.clear();
    let mut marks = 0;
    for (set, mark) in [
        (click.country.is_some(), MARK_COUNTRY),
        (click.platform.is_some(), MARK_PLATFORM),
        (click.member.is_some(), MARK_MEMBER),
        (click.test, MARK_TEST),
        (click.details, MARK_DETAILS),
    ] {
        if set {
            marks |= mark;
        }
    }
    out.extend_from_slice(&[FORMAT, marks]);
    put_text(out, click.root_offer.as_str());
    put_text(out, click.share.as_str());
    put_varint(out, click.config_version);
    out.extend(click.country.iter().flatten());
    if let Some(platform) = click.platform {
        put_text(out, platform.code());
    }
    out.extend(click.member.iter().flatten());
    encode_subs(out, &click.subs);
    put_text(out, click_id);
}

fn decode(slot: ClickSlot, value: &[u8]) -> Result<(ResolvedClick, Arc<str>), Damaged> {
    let mut reader = Reader::new(value, WHAT);
    if reader.byte()? != FORMAT {
        return Err(reader.damaged());
    }
    let marks = reader.byte()?;
    let has = |mark: u8| marks & mark != 0;
    let root_offer = OfferId::new(reader.text()?).map_err(|_| reader.damaged())?;
    let share = ShareId::new(reader.text()?).map_err(|_| reader.damaged())?;
    let config_version = reader.varint()?;
    let country = has(MARK_COUNTRY).then(|| reader.array()).transpose()?;
    let platform = if has(MARK_PLATFORM) {
        Some(reader.text()?.parse::<Platform>().map_err(|()| reader.damaged())?)
    } else {
        None
    };
    let member = has(MARK_MEMBER).then(|| reader.array()).transpose()?;
    let subs = read_subs(&mut reader)?.to_sub_ids();
    let click_id = Arc::from(reader.text()?);
    let click = ResolvedClick {
        key: slot.click(),
        root_offer,
        share,
        config_version,
        country,
        platform,
        member,
        test: has(MARK_TEST),
        subs,
        details: has(MARK_DETAILS),
    };
    Ok((click, click_id))
}

/// Which sub-ids there are, as bits, then their texts.
pub fn encode_subs(out: &mut Vec<u8>, subs: &SubIds) {
    let bits =
        subs.0.iter().enumerate().fold(0, |bits, (at, sub)| bits | u64::from(sub.is_some()) << at);
    put_varint(out, bits);
    for sub in subs.0.iter().flatten() {
        put_text(out, sub);
    }
}

pub fn read_subs<'a>(reader: &mut Reader<'a>) -> Result<SubIdsView<'a>, Damaged> {
    let bits = reader.varint()?;
    let mut subs = SubIdsView::default();
    for (at, sub) in subs.0.iter_mut().enumerate() {
        if bits & 1 << at != 0 {
            *sub = Some(reader.text()?);
        }
    }
    Ok(subs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::{ClickKey, UnixMillis};

    #[test]
    fn clicks_come_back() {
        let key = ClickKey::new(UnixMillis(1_700_000_000_000), [3; 8]);
        let mut subs = SubIds::default();
        subs.0[0] = Some("a".into());
        subs.0[14] = Some("ü ".into());
        let plain = ResolvedClick {
            key,
            root_offer: OfferId::new("root").unwrap(),
            share: ShareId::new("share").unwrap(),
            config_version: 300,
            country: None,
            platform: None,
            member: None,
            test: false,
            subs: SubIds::default(),
            details: false,
        };
        let full = ResolvedClick {
            country: Some(*b"DE"),
            platform: Some(Platform::Ios),
            member: Some([7; 8]),
            test: true,
            subs,
            details: true,
            ..plain.clone()
        };
        for click in [plain, full] {
            let mut bytes = Vec::new();
            encode(&mut bytes, &click, "token");
            let slot = ClickSlot::new(key, click.test);
            assert_eq!(decode(slot, &bytes), Ok((click, Arc::from("token"))));
            for cut in 0..bytes.len() {
                assert!(decode(slot, &bytes[..cut]).is_err(), "{cut}");
            }
        }
    }
}
