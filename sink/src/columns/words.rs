//! Texts of a column that has few different ones: a dictionary, and an index into it for each row.
//!
//! `LowCardinality(String)` in a block: what follows ([`FLAGS`] and how wide an index is), how many words, the
//! words, how many rows, and the indexes. Nothing at all when there are no rows. The first word is
//! the empty text, as ClickHouse has it.

use super::push_text;
use std::hash::{BuildHasher, RandomState};

/// That comes before the column: dictionaries come with each block.
pub(super) const VERSION: u64 = 1;
/// The block has words of its own, and they are all of them.
const FLAGS: u64 = 1 << 9 | 1 << 10;
/// How many places are looked at for a word. Senders choose some of the words and may choose them to
/// meet in one place: a word that is not found there is added a second time, which ClickHouse takes.
const PROBES_MAX: usize = 16;
const SLOTS_MIN: usize = 64;
const FREE: u32 = u32::MAX;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug)]
pub(super) struct Words {
    /// Each with its length before it, as they are sent.
    bytes: Vec<u8>,
    words: Vec<Word>,
    /// Indexes of words by hash; a power of two, at most half of them taken.
    slots: Vec<u32>,
    /// Of the rows.
    indexes: Vec<u32>,
    last: u32,
    seed: u64,
}

#[derive(Debug)]
struct Word {
    key: Key,
    start: usize,
    end: usize,
}

/// A text in two numbers: the text itself up to [`KEY_BYTES`], together with its length; a longer one is
/// mixed into them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    first: u64,
    last: u64,
    len: usize,
}

const KEY_BYTES: usize = 16;

impl Key {
    #[inline]
    fn of(text: &[u8], seed: u64) -> Self {
        let len = text.len();
        let (first, last) = if let (Some(first), Some(last)) = ends::<8>(text) {
            let last = u64::from_le_bytes(*last);
            if len <= KEY_BYTES {
                (u64::from_le_bytes(*first), last)
            } else {
                let mixed =
                    |state, bytes: &[u8; 8]| mix(state ^ u64::from_le_bytes(*bytes), MULTIPLIER);
                (text.as_chunks().0.iter().fold(seed, mixed), last)
            }
        } else if let (Some(first), Some(last)) = ends::<4>(text) {
            (u32::from_le_bytes(*first).into(), u32::from_le_bytes(*last).into())
        } else if let [first, .., last] = text {
            (u64::from(*first) << 8 | u64::from(text[1]), (*last).into())
        } else {
            (text.first().copied().unwrap_or_default().into(), 0)
        };
        Self { first, last, len }
    }

    fn is_whole(self) -> bool {
        self.len <= KEY_BYTES
    }

    #[inline]
    fn hash(self, seed: u64) -> usize {
        let state = mix(self.first ^ seed, MULTIPLIER ^ self.len as u64);
        mix(state ^ self.last, MULTIPLIER) as usize
    }
}

/// The first and the last bytes of a text, which may be the same.
#[inline]
fn ends<const N: usize>(text: &[u8]) -> (Option<&[u8; N]>, Option<&[u8; N]>) {
    (text.first_chunk(), text.last_chunk())
}

/// The two halves of a product, one over the other.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl Words {
    pub(super) fn new() -> Self {
        let mut words = Self {
            bytes: Vec::new(),
            words: Vec::new(),
            slots: vec![FREE; SLOTS_MIN],
            indexes: Vec::new(),
            last: 0,
            // Nobody outside can know which words meet.
            seed: RandomState::new().hash_one(0),
        };
        words.add(&[], Key::of(&[], 0));
        words
    }

    pub(super) fn reserve(&mut self, rows: usize) {
        self.indexes.reserve(rows);
    }

    /// Appends a row.
    #[inline]
    pub(super) fn push(&mut self, text: &str) {
        let text = text.as_bytes();
        if text.is_empty() {
            self.indexes.push(0);
            return;
        }
        let key = Key::of(text, self.seed);
        if !self.is(self.last, key, text) {
            self.last = self.find(key, text);
        }
        self.indexes.push(self.last);
    }

    /// Whether that word is this text.
    #[inline]
    fn is(&self, index: u32, key: Key, text: &[u8]) -> bool {
        let word = &self.words[index as usize];
        word.key == key && (key.is_whole() || self.bytes[word.start..word.end] == *text)
    }

    /// The index of a word, new or not.
    fn find(&mut self, key: Key, text: &[u8]) -> u32 {
        let hash = key.hash(self.seed);
        let mask = self.slots.len() - 1;
        for probe in 0..PROBES_MAX {
            let slot = hash.wrapping_add(probe) & mask;
            let index = self.slots[slot];
            if index == FREE {
                let index = self.add(text, key);
                self.slots[slot] = index;
                if self.words.len() * 2 > self.slots.len() {
                    self.grow();
                }
                return index;
            }
            if self.is(index, key, text) {
                return index;
            }
        }
        self.add(text, key)
    }

    fn add(&mut self, text: &[u8], key: Key) -> u32 {
        push_text(&mut self.bytes, text);
        let end = self.bytes.len();
        self.words.push(Word { key, start: end - text.len(), end });
        // No more words than rows and one, and rows are fewer than `BLOCK_ROWS_MAX`.
        (self.words.len() - 1) as u32
    }

    #[cold]
    fn grow(&mut self) {
        let mask = self.slots.len() * 2 - 1;
        self.slots = vec![FREE; mask + 1];
        // The empty text needs no finding.
        for (index, word) in self.words.iter().enumerate().skip(1) {
            let hash = word.key.hash(self.seed);
            let mut places = (0..PROBES_MAX).map(|probe| hash.wrapping_add(probe) & mask);
            if let Some(slot) = places.find(|slot| self.slots[*slot] == FREE) {
                self.slots[slot] = index as u32;
            }
        }
    }

    /// Appends what the block needs of it.
    pub(super) fn write(self, out: &mut impl FnMut(Vec<u8>)) {
        if self.indexes.is_empty() {
            return;
        }
        let width = match self.words.len() {
            ..=0x100 => 0,
            0x101..=0x1_0000 => 1,
            _ => 2,
        };
        let mut head = Vec::with_capacity(16);
        head.extend((FLAGS | width).to_le_bytes());
        head.extend((self.words.len() as u64).to_le_bytes());
        out(head);
        out(self.bytes);
        let indexes = self.indexes;
        let mut tail = Vec::with_capacity(8 + (indexes.len() << width));
        tail.extend((indexes.len() as u64).to_le_bytes());
        match width {
            0 => tail.extend(indexes.iter().map(|index| *index as u8)),
            1 => tail.extend(indexes.iter().flat_map(|index| (*index as u16).to_le_bytes())),
            _ => tail.extend(indexes.iter().flat_map(|index| index.to_le_bytes())),
        }
        out(tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(words: Words) -> Vec<u8> {
        let mut bytes = Vec::new();
        words.write(&mut |piece| bytes.extend(piece));
        bytes
    }

    fn text(words: &Words, index: u32) -> &[u8] {
        let Word { start, end, .. } = words.words[index as usize];
        &words.bytes[start..end]
    }

    fn check(texts: &[&str], expected: &[u8]) {
        let mut words = Words::new();
        texts.iter().for_each(|text| words.push(text));
        assert_eq!(written(words), expected, "{texts:?}");
    }

    #[test]
    fn a_dictionary_and_indexes() {
        check(&[], &[]);
        let none =
            [0, 6, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        check(&["", ""], &none);
        let head = [0, 6, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
        let words = [0, 1, b'b', 2, b'a', b'a'];
        let rows = [5, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 1];
        check(&["b", "b", "aa", "", "b"], &[&head[..], &words, &rows].concat());
    }

    #[test]
    fn an_index_is_as_wide_as_the_dictionary_needs() {
        for (different, width) in [(200, 1), (300, 2), (60_000, 2), (70_000, 4)] {
            let mut words = Words::new();
            for _ in 0..2 {
                (0..different).for_each(|n| words.push(&format!("word {n}")));
            }
            let texts: Vec<String> = (0..different).map(|n| format!("word {n}")).collect();
            // Some few may be in it twice.
            let kept = words.words.len();
            assert!((different + 1..different + different / 100 + 2).contains(&kept), "{kept}");
            let found: Vec<&[u8]> =
                words.indexes.iter().map(|index| text(&words, *index)).collect();
            let expected = texts.iter().chain(&texts).map(String::as_bytes);
            assert!(found.into_iter().eq(expected));
            let bytes = words.bytes.len();
            assert_eq!(written(words).len(), 16 + bytes + 8 + 2 * different * width);
        }
    }

    #[test]
    fn words_that_all_meet_in_one_place_cost_no_more() {
        let mut words = Words::new();
        words.slots = vec![0; SLOTS_MIN];
        for n in 0..1_000 {
            words.push(&format!("word {n}"));
            assert_eq!(text(&words, words.indexes[n]), format!("word {n}").as_bytes());
        }
    }

    #[test]
    fn texts_that_are_alike_stay_apart() {
        let long = "x".repeat(40);
        let mut alike = vec![String::new(), "\0".to_owned()];
        for len in 1..40 {
            alike.extend((0..len).map(|at| {
                let mut text = long[..len].to_owned();
                text.replace_range(at..=at, "y");
                text
            }));
            alike.push(long[..len].to_owned());
            alike.push("\0".repeat(len + 1));
        }
        let mut words = Words::new();
        alike.iter().chain(&alike).for_each(|text| words.push(text));
        let found = words.indexes.iter().map(|index| text(&words, *index));
        assert!(found.eq(alike.iter().chain(&alike).map(String::as_bytes)));
    }
}
