//! One conversion in the state, in about 15 bytes.
//!
//! `event 6 | kind 1 | marks 1 | present 1 | revision | received − click | …` with varints; what is
//! as one would expect is absent: one bit in `present` tells.

use crate::flags::FlagSet;
use crate::keys::{EventHash, Unique};
use crate::kind::Kind;
use crate::store::Damaged;
use crate::text::Text;
use crate::wire::{Reader, put_text, put_varint, put_zigzag};
use schemas::{Currency, Micros, UnixMillis};

/// Which day of a zone's calendar a conversion was counted on: the day of its time in UTC, or the
/// one before or after. Kept, because the zone may be configured anew before it is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DayShift {
    #[default]
    Same,
    Before,
    After,
}

/// The sale amount that the sender reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sale {
    pub micros: Micros,
    pub currency: Currency,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub event: EventHash,
    /// For a repeatable event. Part of the key, not of the value.
    pub unique: Option<Unique>,
    pub kind: Kind,
    /// 0: not a conversion yet.
    pub revision: u32,
    /// When the first postback of this conversion was received.
    pub received_at: UnixMillis,
    /// When the postback that its present decision rests on was received: what its period in caps
    /// and its pending time go by. Differs after it was decided anew.
    pub counted_at: UnixMillis,
    /// When it happened, as far as the sender can be believed.
    pub happened_at: UnixMillis,
    pub succeeded_at: Option<UnixMillis>,
    /// When its timer fires.
    pub due_at: Option<UnixMillis>,
    /// The configuration version whose amounts it has, unless it is the click's.
    pub terms_version: Option<u64>,
    /// The day it was counted on at the root offer, and at the offer and share.
    pub root_day: DayShift,
    pub offer_day: DayShift,
    /// Approved past a limit: in no counter.
    pub over_limit: bool,
    pub flags: FlagSet,
    pub sale: Option<Sale>,
    pub transaction: Option<Text>,
    /// The hash in the conversion id, where it does not follow from click and event.
    pub identity: Option<[u8; 16]>,
    /// Changed since it was read; not stored.
    pub changed: bool,
    /// Where its last revision left it, if it has one; not stored, but read from what is.
    pub told: Option<Told>,
}

/// Where a revision leaves a conversion: what the next one is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub kind: Kind,
    pub revision: u32,
    pub due_at: Option<UnixMillis>,
    pub terms_version: Option<u64>,
    /// It counts in caps and budget.
    pub counts: bool,
}

const HAS_COUNTED: u8 = 1;
const HAS_HAPPENED: u8 = 1 << 1;
const HAS_SUCCEEDED: u8 = 1 << 2;
const HAS_DUE: u8 = 1 << 3;
const HAS_TERMS: u8 = 1 << 4;
const HAS_FLAGS: u8 = 1 << 5;
const HAS_SALE: u8 = 1 << 6;
const HAS_TEXTS: u8 = 1 << 7;

const MARK_OVER_LIMIT: u8 = 1 << 4;
const MARK_TRANSACTION: u8 = 1 << 5;
const MARK_IDENTITY: u8 = 1 << 6;

impl DayShift {
    fn bits(self) -> u8 {
        match self {
            Self::Same => 0,
            Self::Before => 1,
            Self::After => 2,
        }
    }

    fn from_bits(bits: u8) -> Option<Self> {
        match bits & 3 {
            0 => Some(Self::Same),
            1 => Some(Self::Before),
            2 => Some(Self::After),
            _ => None,
        }
    }
}

impl Record {
    /// Where it stands now.
    pub fn standing(&self) -> Told {
        Told {
            kind: self.kind,
            revision: self.revision,
            due_at: self.due_at,
            terms_version: self.terms_version,
            counts: self.kind.reserves() && !self.over_limit,
        }
    }

    /// One that is nothing yet, for a postback received at a time.
    pub fn begin(
        event: EventHash,
        unique: Option<Unique>,
        identity: Option<[u8; 16]>,
        received_at: UnixMillis,
    ) -> Self {
        Self {
            event,
            unique,
            kind: Kind::RejectedInAdvance,
            revision: 0,
            received_at,
            counted_at: received_at,
            happened_at: received_at,
            succeeded_at: None,
            due_at: None,
            terms_version: None,
            root_day: DayShift::Same,
            offer_day: DayShift::Same,
            over_limit: false,
            flags: FlagSet::default(),
            sale: None,
            transaction: None,
            identity,
            changed: true,
            told: None,
        }
    }

    /// Appends the record; times are kept relative to the click's.
    pub fn encode(&self, clicked_at: UnixMillis, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.event.0);
        out.push(self.kind as u8);
        let mut marks = self.root_day.bits() | self.offer_day.bits() << 2;
        let mut present = 0;
        let mark = |set: bool, bits: &mut u8, bit: u8| {
            if set {
                *bits |= bit;
            }
        };
        // Success at the moment it was counted is the ordinary case; absent says so.
        let ordinary_success =
            self.kind.succeeded().then_some(self.counted_at) == self.succeeded_at;
        mark(self.over_limit, &mut marks, MARK_OVER_LIMIT);
        mark(self.transaction.is_some(), &mut marks, MARK_TRANSACTION);
        mark(self.identity.is_some(), &mut marks, MARK_IDENTITY);
        mark(self.counted_at != self.received_at, &mut present, HAS_COUNTED);
        mark(self.happened_at != self.counted_at, &mut present, HAS_HAPPENED);
        mark(!ordinary_success, &mut present, HAS_SUCCEEDED);
        mark(self.due_at.is_some(), &mut present, HAS_DUE);
        mark(self.terms_version.is_some(), &mut present, HAS_TERMS);
        mark(self.flags != FlagSet::default(), &mut present, HAS_FLAGS);
        mark(self.sale.is_some(), &mut present, HAS_SALE);
        mark(self.transaction.is_some() || self.identity.is_some(), &mut present, HAS_TEXTS);
        out.push(marks);
        out.push(present);
        put_varint(out, u64::from(self.revision));
        put_zigzag(out, self.received_at.0.wrapping_sub(clicked_at.0));
        if present & HAS_COUNTED != 0 {
            put_zigzag(out, self.counted_at.0.wrapping_sub(self.received_at.0));
        }
        if present & HAS_HAPPENED != 0 {
            put_zigzag(out, self.happened_at.0.wrapping_sub(self.counted_at.0));
        }
        if present & HAS_SUCCEEDED != 0 {
            match self.succeeded_at {
                None => put_varint(out, 0),
                Some(at) => {
                    put_varint(out, 1);
                    put_zigzag(out, at.0.wrapping_sub(self.counted_at.0));
                }
            }
        }
        if let Some(due) = self.due_at {
            put_zigzag(out, due.0.wrapping_sub(self.counted_at.0));
        }
        if let Some(version) = self.terms_version {
            put_varint(out, version);
        }
        if present & HAS_FLAGS != 0 {
            put_varint(out, self.flags.0);
        }
        if let Some(sale) = self.sale {
            put_zigzag(out, sale.micros.0);
            out.extend_from_slice(&sale.currency.numeric().to_be_bytes());
        }
        if let Some(transaction) = &self.transaction {
            put_text(out, transaction.as_str());
        }
        if let Some(identity) = &self.identity {
            out.extend_from_slice(identity);
        }
    }

    pub fn decode(reader: &mut Reader<'_>, clicked_at: UnixMillis) -> Result<Self, Damaged> {
        let event = EventHash(reader.array()?);
        let kind = Kind::from_byte(reader.byte()?).ok_or(reader.damaged())?;
        let marks = reader.byte()?;
        let present = reader.byte()?;
        let has = |bit: u8| present & bit != 0;
        let revision = u32::try_from(reader.varint()?).map_err(|_| reader.damaged())?;
        let after = |base: UnixMillis, delta: i64| UnixMillis(base.0.wrapping_add(delta));
        let received_at = after(clicked_at, reader.zigzag()?);
        let counted_at =
            if has(HAS_COUNTED) { after(received_at, reader.zigzag()?) } else { received_at };
        let happened_at =
            if has(HAS_HAPPENED) { after(counted_at, reader.zigzag()?) } else { counted_at };
        let succeeded_at = if !has(HAS_SUCCEEDED) {
            kind.succeeded().then_some(counted_at)
        } else if reader.varint()? == 0 {
            None
        } else {
            Some(after(counted_at, reader.zigzag()?))
        };
        let due_at = has(HAS_DUE).then(|| reader.zigzag()).transpose()?;
        let terms_version = has(HAS_TERMS).then(|| reader.varint()).transpose()?;
        let flags = if has(HAS_FLAGS) { FlagSet(reader.varint()?) } else { FlagSet::default() };
        let sale = if has(HAS_SALE) {
            let micros = Micros(reader.zigzag()?);
            let code = u16::from_be_bytes(reader.array()?);
            let currency = Currency::from_numeric(code).ok_or(reader.damaged())?;
            Some(Sale { micros, currency })
        } else {
            None
        };
        let transaction =
            if marks & MARK_TRANSACTION != 0 { Some(Text::from(reader.text()?)) } else { None };
        let identity = if marks & MARK_IDENTITY != 0 { Some(reader.array()?) } else { None };
        let record = Self {
            event,
            unique: None,
            kind,
            revision,
            received_at,
            counted_at,
            happened_at,
            succeeded_at,
            due_at: due_at.map(|delta| after(counted_at, delta)),
            terms_version,
            root_day: DayShift::from_bits(marks).ok_or(reader.damaged())?,
            offer_day: DayShift::from_bits(marks >> 2).ok_or(reader.damaged())?,
            over_limit: marks & MARK_OVER_LIMIT != 0,
            flags,
            sale,
            transaction,
            identity,
            changed: false,
            told: None,
        };
        Ok(Self { told: (revision > 0).then(|| record.standing()), ..record })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_time() -> impl Strategy<Value = UnixMillis> {
        prop_oneof![0i64..4_000_000_000_000, Just(i64::MAX), Just(i64::MIN)].prop_map(UnixMillis)
    }

    prop_compose! {
        fn any_record()(
            event: [u8; 6], kind in 0..Kind::ALL.len(), revision: u32,
            received_at in any_time(), counted_at in any_time(), happened_at in any_time(),
            succeeded_at in proptest::option::of(any_time()),
            due_at in proptest::option::of(any_time()),
            terms_version: Option<u64>, days in 0usize..9, over_limit: bool, flags: u64,
            sale in proptest::option::of(any::<i64>()), transaction: Option<String>,
            identity: Option<[u8; 16]>,
        ) -> Record {
            const DAYS: [DayShift; 3] = [DayShift::Same, DayShift::Before, DayShift::After];
            let record = Record {
                event: EventHash(event), unique: None, kind: Kind::ALL[kind], revision,
                received_at, counted_at, happened_at, succeeded_at, due_at, terms_version,
                root_day: DAYS[days % 3], offer_day: DAYS[days / 3], over_limit,
                flags: FlagSet(flags),
                sale: sale.map(|m| Sale { micros: Micros(m), currency: Currency::EUR }),
                transaction: transaction.map(|it| Text::from(it.as_str())), identity, changed: false,
                told: None,
            };
            Record { told: (revision > 0).then(|| record.standing()), ..record }
        }
    }

    proptest! {
        #[test]
        fn records_come_back(record in any_record(), clicked_at in any_time()) {
            let mut bytes = Vec::new();
            record.encode(clicked_at, &mut bytes);
            let mut reader = Reader::new(&bytes, "a test");
            prop_assert_eq!(Record::decode(&mut reader, clicked_at), Ok(record));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes: Vec<u8>) {
            let _ = Record::decode(&mut Reader::new(&bytes, "a test"), UnixMillis(0));
        }
    }
}
