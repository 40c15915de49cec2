//! Answers comparisons from the postings in `index.bin`.
//!
//! What must stay true: see [`super::comparison`]; nothing read here is trusted further than its
//! checksum, and what does not fit together is `Corrupted`, never a panic.

use std::cmp::Ordering;
use std::ops::Range;

use super::Kind;
use super::comparison::is_negative;
use super::number::compare;
use super::operands::Operands;
use super::postings::{ENTRY_BYTES, Entry, WIDE_STARTS, WIDE_TEXT, bitmap_words};
use crate::model::{Comparison, Number, Scalar};
use crate::segments::RowSet;
use crate::segments::blocks::Blocks;
use crate::segments::column::{Offsets, typed};
use crate::{Error, Result};

/// Lists from which on their places are looked at as a whole; for fewer that would read much of the
/// file to find little.
const MANY_RANKS: usize = 64;

/// The postings of a segment.
#[derive(Clone, Copy)]
pub(in crate::segments) struct Postings<'a> {
    /// The file.
    pub(in crate::segments) blocks: &'a Blocks,
    /// Where the directory is.
    pub(in crate::segments) directory: u64,
    /// How many entries it has.
    pub(in crate::segments) entries: u32,
    /// How many rows the segment has.
    pub(in crate::segments) rows: u32,
}

impl Postings<'_> {
    /// Adds to `to`, which comes in empty, the rows that pass `comparison` of `key`.
    pub(in crate::segments) fn matching(
        self,
        key: &str,
        comparison: &Comparison,
        to: &mut RowSet,
    ) -> Result<()> {
        match comparison {
            Comparison::Equal(scalar) | Comparison::NotEqual(scalar) => {
                self.equal(key, scalar, to)?;
            }
            Comparison::In(scalars) | Comparison::NotIn(scalars) => {
                self.one_of(key, &Operands::new(scalars), to)?;
            }
            Comparison::Contains(scalar) | Comparison::NotContains(scalar) => {
                self.contains(key, scalar, to)?;
            }
            Comparison::Greater(number) => self.numbers(key, *number, Ordering::is_gt, to)?,
            Comparison::GreaterOrEqual(number) => {
                self.numbers(key, *number, Ordering::is_ge, to)?;
            }
            Comparison::Less(number) => self.numbers(key, *number, Ordering::is_lt, to)?,
            Comparison::LessOrEqual(number) => self.numbers(key, *number, Ordering::is_le, to)?,
        }
        if is_negative(comparison) {
            to.complement();
        }
        Ok(())
    }

    fn equal(self, key: &str, scalar: &Scalar, to: &mut RowSet) -> Result<()> {
        match scalar {
            Scalar::Bool(flag) => self.word(key, Kind::Bool, u64::from(*flag), to),
            Scalar::Str(text) => self.text(key, Kind::Str, text, to),
            Scalar::Int(int) => self.numbers(key, Number::Int(*int), Ordering::is_eq, to),
            Scalar::Float(float) => self.numbers(key, Number::Float(*float), Ordering::is_eq, to),
        }
    }

    fn contains(self, key: &str, scalar: &Scalar, to: &mut RowSet) -> Result<()> {
        match scalar {
            Scalar::Bool(flag) => self.word(key, Kind::Bools, u64::from(*flag), to),
            Scalar::Str(text) => self.text(key, Kind::Strs, text, to),
            Scalar::Int(int) => {
                self.number(key, Kind::Ints, Number::Int(*int), Ordering::is_eq, to)
            }
            Scalar::Float(float) => self.number(
                key,
                Kind::Floats,
                Number::Float(*float),
                Ordering::is_eq,
                to,
            ),
        }
    }

    fn numbers(
        self,
        key: &str,
        number: Number,
        wanted: fn(Ordering) -> bool,
        to: &mut RowSet,
    ) -> Result<()> {
        self.number(key, Kind::Int, number, wanted, to)?;
        self.number(key, Kind::Float, number, wanted, to)
    }

    /// Adds the rows with a value that stands to `number` as wanted.
    fn number(
        self,
        key: &str,
        kind: Kind,
        number: Number,
        wanted: fn(Ordering) -> bool,
        to: &mut RowSet,
    ) -> Result<()> {
        let not_a_number = matches!(number, Number::Float(float) if float.is_nan());
        let Some(entry) = self.entry(key, kind)?.filter(|_| !not_a_number) else {
            return Ok(());
        };
        let (lower, upper, end) = if matches!(kind, Kind::Int | Kind::Ints) {
            let values = typed::<i64>(self.blocks, entry.values_at, entry.distinct.into())?;
            let order = |value: &i64| compare(Number::Int(*value), number);
            (
                values.partition_point(|value| order(value) == Some(Ordering::Less)),
                values.partition_point(|value| order(value) != Some(Ordering::Greater)),
                values.len(),
            )
        } else {
            let values = typed::<f64>(self.blocks, entry.values_at, entry.distinct.into())?;
            let order = |value: &f64| compare(Number::Float(*value), number);
            (
                values.partition_point(|value| order(value) == Some(Ordering::Less)),
                values.partition_point(|value| order(value) != Some(Ordering::Greater)),
                values.len(),
            )
        };
        let start = [
            (Ordering::Less, 0),
            (Ordering::Equal, lower),
            (Ordering::Greater, upper),
        ]
        .into_iter()
        .find(|&(order, _)| wanted(order))
        .map_or(end, |(_, start)| start);
        let stop = [
            (Ordering::Greater, end),
            (Ordering::Equal, upper),
            (Ordering::Less, lower),
        ]
        .into_iter()
        .find(|&(order, _)| wanted(order))
        .map_or(0, |(_, stop)| stop);
        self.unite(&entry, start..stop, to)
    }

    /// Adds the rows with the boolean stored as `wanted`.
    pub(super) fn word(self, key: &str, kind: Kind, wanted: u64, to: &mut RowSet) -> Result<()> {
        let Some(entry) = self.entry(key, kind)? else {
            return Ok(());
        };
        let values = typed::<u64>(self.blocks, entry.values_at, entry.distinct.into())?;
        match values.binary_search(&wanted) {
            Ok(at) => self.unite(&entry, at..at + 1, to),
            Err(_) => Ok(()),
        }
    }

    /// Adds the rows with the string `wanted`.
    pub(super) fn text(self, key: &str, kind: Kind, wanted: &str, to: &mut RowSet) -> Result<()> {
        let Some(entry) = self.entry(key, kind)? else {
            return Ok(());
        };
        let offsets = Offsets {
            at: entry.values_at,
            wide: entry.flags & WIDE_TEXT != 0,
        };
        let (mut from, mut to_rank) = (0u64, u64::from(entry.distinct));
        while from < to_rank {
            let middle = from.midpoint(to_rank);
            let range = offsets.range(self.blocks, middle)?;
            let found = typed::<u8>(
                self.blocks,
                entry.text_at.saturating_add(range.start),
                range.end - range.start,
            )?;
            match found.cmp(wanted.as_bytes()) {
                Ordering::Less => from = middle + 1,
                Ordering::Greater => to_rank = middle,
                Ordering::Equal => {
                    let at = middle as usize;
                    return self.unite(&entry, at..at + 1, to);
                }
            }
        }
        Ok(())
    }

    /// The entry of `key` and `kind`.
    pub(super) fn entry(self, key: &str, kind: Kind) -> Result<Option<Entry>> {
        let wanted = (key.as_bytes(), kind as u32);
        let (mut from, mut to) = (0u64, u64::from(self.entries));
        while from < to {
            let middle = from.midpoint(to);
            let at = self.directory.saturating_add(middle * ENTRY_BYTES as u64);
            let bytes = typed::<u8>(self.blocks, at, ENTRY_BYTES as u64)?;
            let entry = Entry::from_bytes(bytes.try_into().expect("as many as asked for"));
            let key = typed::<u8>(self.blocks, entry.key_at, entry.key_bytes.into())?;
            match (key, entry.kind).cmp(&wanted) {
                Ordering::Less => from = middle + 1,
                Ordering::Greater => to = middle,
                Ordering::Equal => return Ok(Some(entry)),
            }
        }
        Ok(None)
    }

    /// Adds the rows of the distinct values with these ranks.
    pub(super) fn unite(self, entry: &Entry, ranks: Range<usize>, to: &mut RowSet) -> Result<()> {
        if ranks.is_empty() {
            return Ok(());
        }
        let (first, count) = (ranks.start as u64, ranks.len() as u64 + 1);
        let at = |width| entry.starts_at.saturating_add(first * width);
        if entry.flags & WIDE_STARTS != 0 {
            self.unite_lists(entry, typed::<u64>(self.blocks, at(8), count)?, to)
        } else {
            self.unite_lists(entry, typed::<u32>(self.blocks, at(4), count)?, to)
        }
    }

    /// Adds the rows of the distinct values with these ranks, which ascend and need not follow each
    /// other.
    pub(super) fn unite_each(self, entry: &Entry, ranks: &[u32], to: &mut RowSet) -> Result<()> {
        if ranks.len() < MANY_RANKS {
            let mut ranks = ranks.iter().map(|&rank| rank as usize);
            return ranks.try_for_each(|rank| self.unite(entry, rank..rank + 1, to));
        }
        let count = u64::from(entry.distinct) + 1;
        if entry.flags & WIDE_STARTS != 0 {
            let starts = typed::<u64>(self.blocks, entry.starts_at, count)?;
            self.unite_ranks(entry, starts, ranks, to)
        } else {
            let starts = typed::<u32>(self.blocks, entry.starts_at, count)?;
            self.unite_ranks(entry, starts, ranks, to)
        }
    }

    /// `starts` are those of all lists.
    fn unite_ranks<T: Copy + Into<u64>>(
        self,
        entry: &Entry,
        starts: &[T],
        ranks: &[u32],
        to: &mut RowSet,
    ) -> Result<()> {
        let end = starts.last().map_or(0, |&end| end.into());
        let lists = typed::<u32>(self.blocks, entry.lists_at, end)?;
        for &rank in ranks {
            let rank = rank as usize;
            let (from, end): (u64, u64) = (starts[rank].into(), starts[rank + 1].into());
            let list = lists.get(from as usize..end as usize);
            self.add(list.ok_or_else(|| self.misplaced(entry))?, entry, to)?;
        }
        Ok(())
    }

    /// Adds the rows of the lists between these offsets, which lie one after the other.
    fn unite_lists<T: Copy + Into<u64>>(
        self,
        entry: &Entry,
        starts: &[T],
        to: &mut RowSet,
    ) -> Result<()> {
        let (Some(&first), Some(&last)) = (starts.first(), starts.last()) else {
            return Ok(());
        };
        let (first, last): (u64, u64) = (first.into(), last.into());
        let at = entry.lists_at.saturating_add(first.saturating_mul(4));
        let lists = typed::<u32>(self.blocks, at, last.saturating_sub(first))?;
        for pair in starts.windows(2) {
            let place = |offset: T| offset.into().wrapping_sub(first) as usize;
            let list = lists.get(place(pair[0])..place(pair[1]));
            self.add(list.ok_or_else(|| self.misplaced(entry))?, entry, to)?;
        }
        Ok(())
    }

    /// Adds the rows of one list.
    fn add(self, list: &[u32], entry: &Entry, to: &mut RowSet) -> Result<()> {
        if list.len() == bitmap_words(self.rows) {
            for (word, pair) in to.words_mut().iter_mut().zip(list.chunks_exact(2)) {
                *word |= u64::from(pair[0]) | u64::from(pair[1]) << 32;
            }
            return Ok(());
        }
        for &row in list {
            if row >= self.rows {
                let rows = self.rows;
                let detail = format!("row {row} is listed, there are {rows} rows");
                return Err(Error::corrupted(self.blocks.path(), entry.lists_at, detail));
            }
            to.insert(row);
        }
        Ok(())
    }

    fn misplaced(self, entry: &Entry) -> Error {
        let detail = "lists of rows do not follow each other";
        Error::corrupted(self.blocks.path(), entry.lists_at, detail)
    }
}
