//! What is inside a sealed click id, as bytes (before sealing, after opening):
//!
//! | bytes | what |
//! | --- | --- |
//! | 14 | click key: 48 bits of time, 64 random bits |
//! | 1 | flags: country 1, platform 2+4, member 8, test 16, details 32, sub-ids 64 |
//! | 1–10 | configuration version, 7 bits a byte, least first |
//! | 0, 2 | country |
//! | 0, 8 | member hash |
//! | 1 + n | length, then `<root offer>.<share>` in radix 40 |
//! | 0, 2 + n | bit set of the sub-ids, then each: length (7 bits a byte) and its bytes |

use crate::radix40;
use schemas::ids::ID_BYTES_MAX;
use schemas::{ClickKey, OfferId, Platform, ResolvedClick, SUB_ID_COUNT, ShareId, SubIds};

const KEY_BYTES: usize = 14;
const VARINT_BYTES_MAX: usize = 10;
const COUNTRY_BYTES: usize = 2;
const MEMBER_BYTES: usize = 8;
const SUB_ID_SET_BYTES: usize = 2;
const _: () = assert!(SUB_ID_COUNT <= SUB_ID_SET_BYTES * 8);

const IDS_BYTES_MAX: usize = radix40::packed_bytes(2 * ID_BYTES_MAX + 1);
/// The longest body without sub-ids.
pub const BODY_BYTES_MAX_WITHOUT_SUBS: usize =
    KEY_BYTES + 1 + VARINT_BYTES_MAX + COUNTRY_BYTES + MEMBER_BYTES + 1 + IDS_BYTES_MAX;

const COUNTRY: u8 = 1;
const PLATFORM_SHIFT: u8 = 1;
const PLATFORM: u8 = 3 << PLATFORM_SHIFT;
const MEMBER: u8 = 8;
const TEST: u8 = 16;
const DETAILS: u8 = 32;
const SUBS: u8 = 64;
const FLAGS_INDEX: usize = KEY_BYTES;

/// The body with as many sub-ids, in order, as `limit_bytes` has room for, and whether some had
/// none (then `DETAILS` is set). Without sub-ids it is as long as it must be, whatever the limit.
pub fn write(click: &ResolvedClick, limit_bytes: usize) -> (Vec<u8>, bool) {
    let mut body = Vec::with_capacity(limit_bytes.max(BODY_BYTES_MAX_WITHOUT_SUBS));
    body.extend_from_slice(&click.key.0);
    body.push(flags_of(click));
    write_varint(&mut body, click.config_version);
    if let Some(country) = click.country {
        body.extend_from_slice(&country);
    }
    if let Some(member) = click.member {
        body.extend_from_slice(&member);
    }
    write_ids(&mut body, &click.root_offer, &click.share);
    let complete = write_subs(&mut body, &click.subs, limit_bytes);
    if !complete {
        body[FLAGS_INDEX] |= DETAILS;
    }
    (body, !complete)
}

/// None when the bytes are not a body as [`write`] makes them.
pub fn read(body: &[u8]) -> Option<ResolvedClick> {
    let mut rest = body;
    let key = ClickKey(take(&mut rest)?);
    let [flags] = take(&mut rest)?;
    let config_version = read_varint(&mut rest)?;
    let country = if flags & COUNTRY != 0 { Some(take(&mut rest)?) } else { None };
    let member = if flags & MEMBER != 0 { Some(take(&mut rest)?) } else { None };
    let (root_offer, share) = read_ids(&mut rest)?;
    let subs = if flags & SUBS != 0 { read_subs(&mut rest)? } else { SubIds::default() };
    rest.is_empty().then_some(ResolvedClick {
        key,
        root_offer,
        share,
        config_version,
        country,
        platform: platform_of((flags & PLATFORM) >> PLATFORM_SHIFT),
        member,
        test: flags & TEST != 0,
        subs,
        details: flags & DETAILS != 0,
    })
}

fn flags_of(click: &ResolvedClick) -> u8 {
    let set = |bit: u8, when: bool| if when { bit } else { 0 };
    set(COUNTRY, click.country.is_some())
        | platform_code(click.platform) << PLATFORM_SHIFT
        | set(MEMBER, click.member.is_some())
        | set(TEST, click.test)
}

fn platform_code(platform: Option<Platform>) -> u8 {
    match platform {
        None => 0,
        Some(Platform::Ios) => 1,
        Some(Platform::Android) => 2,
        Some(Platform::Web) => 3,
    }
}

fn platform_of(code: u8) -> Option<Platform> {
    Platform::ALL.iter().copied().find(|platform| platform_code(Some(*platform)) == code)
}

fn write_ids(body: &mut Vec<u8>, root_offer: &OfferId, share: &ShareId) {
    let ids = format!("{root_offer}.{share}");
    body.push(ids.len() as u8);
    radix40::pack(ids.as_bytes(), body).expect("ids are of a-z, 0-9, '-' and '_'");
}

fn read_ids(rest: &mut &[u8]) -> Option<(OfferId, ShareId)> {
    let [chars] = take(rest)?;
    let (packed, after) = rest.split_at_checked(radix40::packed_bytes(usize::from(chars)))?;
    *rest = after;
    let ids = radix40::unpack(packed)?;
    let (root_offer, share) = ids.split_once('.')?;
    Some((OfferId::new(root_offer).ok()?, ShareId::new(share).ok()?))
}

/// Writes sub-ids while they fit; false when one did not.
fn write_subs(body: &mut Vec<u8>, subs: &SubIds, limit_bytes: usize) -> bool {
    if subs.is_empty() {
        return true;
    }
    let set_at = body.len();
    let mut set = 0u16;
    let mut complete = true;
    body.extend_from_slice(&set.to_be_bytes());
    for (index, sub) in subs.0.iter().enumerate() {
        let Some(sub) = sub else { continue };
        let before = body.len();
        write_varint(body, sub.len() as u64);
        body.extend_from_slice(sub.as_bytes());
        if body.len() > limit_bytes {
            body.truncate(before);
            complete = false;
            break;
        }
        set |= 1 << index;
    }
    if set == 0 {
        body.truncate(set_at);
    } else {
        body[set_at..set_at + SUB_ID_SET_BYTES].copy_from_slice(&set.to_be_bytes());
        body[FLAGS_INDEX] |= SUBS;
    }
    complete
}

fn read_subs(rest: &mut &[u8]) -> Option<SubIds> {
    let set = u16::from_be_bytes(take(rest)?);
    let mut subs = SubIds::default();
    for (index, sub) in subs.0.iter_mut().enumerate() {
        if set & (1 << index) != 0 {
            let bytes = usize::try_from(read_varint(rest)?).ok()?;
            let (text, after) = rest.split_at_checked(bytes)?;
            *rest = after;
            *sub = Some(std::str::from_utf8(text).ok()?.into());
        }
    }
    Some(subs)
}

fn write_varint(body: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        body.push(value as u8 | 0x80);
        value >>= 7;
    }
    body.push(value as u8);
}

fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..VARINT_BYTES_MAX).map(|n| n as u32 * 7) {
        let [byte] = take(rest)?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = read(&bytes);
        }

        #[test]
        fn varints(value: u64) {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            prop_assert!(bytes.len() <= VARINT_BYTES_MAX);
            prop_assert_eq!(read_varint(&mut bytes.as_slice()), Some(value));
        }
    }
}
