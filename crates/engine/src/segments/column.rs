//! Reads columns of a segment in place, from the places that its table of contents records.
//!
//! What must stay true: places come from checksummed files, yet each is checked against the
//! length of its file; what does not fit is `Corrupted`, never a panic.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytemuck::Pod;

use super::blocks::Blocks;
use super::metadata::Kind;
use super::metadata::gather::Cell;
use crate::model::Value;
use crate::{Error, Result};

/// `count` values of the file from byte `at`, checked.
pub(super) fn typed<T: Pod>(blocks: &Blocks, at: u64, count: u64) -> Result<&[T]> {
    if count == 0 {
        return Ok(&[]);
    }
    let end = count
        .checked_mul(size_of::<T>() as u64)
        .and_then(|bytes| bytes.checked_add(at))
        .and_then(|end| usize::try_from(end).ok())
        .ok_or_else(|| Error::corrupted(blocks.path(), at, "a length beyond all files"))?;
    bytemuck::try_cast_slice(blocks.get(at as usize..end)?).map_err(|_| {
        Error::corrupted(
            blocks.path(),
            at,
            format_args!("values of {} bytes do not begin here", size_of::<T>()),
        )
    })
}

/// The text of `range` from byte `at` on, checked.
fn text(blocks: &Blocks, at: u64, range: Range<u64>) -> Result<&str> {
    let at = at.saturating_add(range.start);
    let bytes = typed::<u8>(blocks, at, range.end - range.start)?;
    std::str::from_utf8(bytes)
        .map_err(|error| Error::corrupted(blocks.path(), at, format_args!("no UTF-8: {error}")))
}

/// A list of offsets: one more than there are rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offsets {
    /// Where the list is.
    pub(super) at: u64,
    /// Whether an offset has 8 bytes, not 4.
    pub(super) wide: bool,
}

impl Offsets {
    /// Where `row` begins and ends.
    pub(super) fn range(self, blocks: &Blocks, row: u64) -> Result<Range<u64>> {
        let at = |width: u64| self.at.saturating_add(row.saturating_mul(width));
        let (start, end) = if self.wide {
            let pair = typed::<u64>(blocks, at(8), 2)?;
            (pair[0], pair[1])
        } else {
            let pair = typed::<u32>(blocks, at(4), 2)?;
            (u64::from(pair[0]), u64::from(pair[1]))
        };
        if start > end {
            return Err(Error::corrupted(
                blocks.path(),
                at(4),
                format_args!("row {row} begins at {start} and ends at {end}"),
            ));
        }
        Ok(start..end)
    }
}

/// Whether `bit` is set in the bits from byte `at` on.
fn bit(blocks: &Blocks, at: u64, bit: u64) -> Result<bool> {
    let byte = typed::<u8>(blocks, at.saturating_add(bit / 8), 1)?[0];
    Ok(byte >> (bit % 8) & 1 == 1)
}

/// A column of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextColumn {
    /// Where the bits of present rows are; `None` where all rows are present.
    pub(super) validity: Option<u64>,
    /// Where each string begins and ends.
    pub(super) offsets: Offsets,
    /// Where the strings are.
    pub(super) text_at: u64,
}

impl TextColumn {
    /// The string of `row`.
    pub(super) fn get<'a>(&self, blocks: &'a Blocks, row: u32) -> Result<Option<&'a str>> {
        if let Some(validity) = self.validity
            && !bit(blocks, validity, row.into())?
        {
            return Ok(None);
        }
        let range = self.offsets.range(blocks, row.into())?;
        text(blocks, self.text_at, range).map(Some)
    }
}

/// Where the values of a metadata column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredValues {
    /// Booleans, a bit each, from this byte.
    Bits(u64),
    /// Numbers of 8 bytes each, from this byte.
    Words(u64),
    /// Strings.
    Text(Offsets, u64),
}

/// A metadata column of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredColumn {
    /// The key.
    pub(super) key: Arc<str>,
    /// The kind of the values.
    pub(super) kind: Kind,
    /// Where the bits of present rows are; `None` where all rows are present.
    pub(super) validity: Option<u64>,
    /// For lists: where each row's elements begin and end among the values.
    pub(super) lists: Option<Offsets>,
    /// Where the values are, or the elements of all lists.
    pub(super) values: StoredValues,
}

impl StoredColumn {
    /// The cell of `row`.
    pub(super) fn cell<'a>(&self, blocks: &'a Blocks, row: u32) -> Result<Option<Cell<'a>>> {
        let row = u64::from(row);
        if let Some(validity) = self.validity
            && !bit(blocks, validity, row)?
        {
            return Ok(None);
        }
        if let Some(lists) = self.lists {
            let range = lists.range(blocks, row)?;
            return Ok(Some(Cell::Other(Cow::Owned(self.list(blocks, range)?))));
        }
        Ok(Some(match self.values {
            StoredValues::Bits(at) => Cell::Bool(bit(blocks, at, row)?),
            StoredValues::Words(at) => {
                let at = at.saturating_add(row.saturating_mul(8));
                if self.kind == Kind::Int {
                    Cell::Int(typed::<i64>(blocks, at, 1)?[0])
                } else {
                    Cell::Float(typed::<f64>(blocks, at, 1)?[0])
                }
            }
            StoredValues::Text(offsets, at) => {
                Cell::Str(text(blocks, at, offsets.range(blocks, row)?)?)
            }
        }))
    }

    fn list(&self, blocks: &Blocks, range: Range<u64>) -> Result<Value> {
        let count = range.end - range.start;
        Ok(match self.values {
            StoredValues::Bits(at) => Value::Bools(
                range
                    .map(|at_bit| bit(blocks, at, at_bit))
                    .collect::<Result<_>>()?,
            ),
            StoredValues::Words(at) => {
                let at = at.saturating_add(range.start.saturating_mul(8));
                if self.kind == Kind::Ints {
                    Value::Ints(typed::<i64>(blocks, at, count)?.into())
                } else {
                    Value::Floats(typed::<f64>(blocks, at, count)?.into())
                }
            }
            StoredValues::Text(offsets, at) => {
                let element = |row| Ok(text(blocks, at, offsets.range(blocks, row)?)?.to_owned());
                Value::Strs(range.map(element).collect::<Result<_>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ErrorKind;
    use crate::segments::blocks::checksums;

    fn file(words: &[u64]) -> Blocks {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let sums = checksums(&bytes);
        Blocks::new("some/file".into(), Bytes::from(bytes), sums).expect("as many as blocks")
    }

    fn check_corrupted<T: std::fmt::Debug>(result: Result<T>) {
        let error = result.expect_err("the place is wrong");
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        assert!(error.message().contains("some/file"), "{error}");
    }

    #[test]
    fn offsets_of_both_widths_are_read() {
        let blocks = file(&[0, 3, 3, u64::from_le_bytes(*b"abcdefgh")]);
        let wide = TextColumn {
            validity: None,
            offsets: Offsets { at: 0, wide: true },
            text_at: 24,
        };
        assert_eq!(wide.get(&blocks, 0).expect("a row"), Some("abc"));
        assert_eq!(wide.get(&blocks, 1).expect("a row"), Some(""));
        let blocks = file(&[2 << 32, 5, u64::from_le_bytes(*b"abcdefgh")]);
        let narrow = TextColumn {
            validity: None,
            offsets: Offsets { at: 0, wide: false },
            text_at: 16,
        };
        assert_eq!(narrow.get(&blocks, 0).expect("a row"), Some("ab"));
        assert_eq!(narrow.get(&blocks, 1).expect("a row"), Some("cde"));
    }

    #[test]
    fn places_that_do_not_fit_are_damage_and_no_panic() {
        let blocks = file(&[5, 2, 1 << 40, u64::MAX]);
        check_corrupted(typed::<u64>(&blocks, 0, 5));
        check_corrupted(typed::<u64>(&blocks, 4, 1));
        check_corrupted(typed::<u64>(&blocks, 0, u64::MAX));
        check_corrupted(typed::<u64>(&blocks, u64::MAX, 1));
        let offsets = Offsets { at: 0, wide: true };
        check_corrupted(offsets.range(&blocks, 0));
        check_corrupted(offsets.range(&blocks, u64::MAX));
        let column = TextColumn {
            validity: None,
            offsets,
            text_at: 24,
        };
        check_corrupted(column.get(&blocks, 1));
        check_corrupted(column.get(&blocks, 2));
    }

    #[test]
    fn text_that_is_no_utf8_is_damage() {
        let blocks = file(&[0, 8, u64::MAX]);
        let column = TextColumn {
            validity: None,
            offsets: Offsets { at: 0, wide: true },
            text_at: 16,
        };
        check_corrupted(column.get(&blocks, 0));
    }
}
