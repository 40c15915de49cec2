//! Writes the postings of metadata columns to `index.bin`: for each distinct value its rows.
//!
//! What must stay true: distinct values ascend, so that equality is a search and a range is
//! contiguous; a list of rows ascends, or is a bitmap where the value is in 1 of 32 rows or more.
//! Both zeros of floats are one value here.

use std::hash::Hash;

use hashbrown::HashMap;

use super::Kind;
use super::gather::{Gathered, GatheredColumn, Text, Values};
use crate::Result;
use crate::segments::sink::FileSink;

/// Bytes of one entry of the directory.
pub(in crate::segments) const ENTRY_BYTES: usize = 64;
/// The entry's string offsets are 8 bytes each, not 4.
pub(in crate::segments) const WIDE_TEXT: u32 = 1;
/// The entry's list offsets are 8 bytes each, not 4.
pub(in crate::segments) const WIDE_STARTS: u32 = 2;

/// Where the postings of one key and kind are in `index.bin`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::segments) struct Entry {
    /// Where the key is.
    pub(in crate::segments) key_at: u64,
    /// Its bytes.
    pub(in crate::segments) key_bytes: u32,
    /// The number of the kind.
    pub(in crate::segments) kind: u32,
    /// How many distinct values there are.
    pub(in crate::segments) distinct: u32,
    /// [`WIDE_TEXT`] and [`WIDE_STARTS`].
    pub(in crate::segments) flags: u32,
    /// Where the values are (8 bytes each), or for strings their offsets.
    pub(in crate::segments) values_at: u64,
    /// Where the bytes of strings are.
    pub(in crate::segments) text_at: u64,
    /// Where the offsets of the lists are, in words of 4 bytes.
    pub(in crate::segments) starts_at: u64,
    /// Where the lists are.
    pub(in crate::segments) lists_at: u64,
}

impl Entry {
    /// The entry as it stands in the file.
    pub(in crate::segments) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[0..8].copy_from_slice(&self.key_at.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.key_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.kind.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.distinct.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.flags.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.values_at.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.text_at.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.starts_at.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.lists_at.to_le_bytes());
        bytes
    }

    /// The entry that stands in `bytes`.
    pub(in crate::segments) fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let word = |at: usize| {
            u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes are a word"))
        };
        Self {
            key_at: word(0),
            key_bytes: word(8) as u32,
            kind: (word(8) >> 32) as u32,
            distinct: word(16) as u32,
            flags: (word(16) >> 32) as u32,
            values_at: word(24),
            text_at: word(32),
            starts_at: word(40),
            lists_at: word(48),
        }
    }
}

/// Words of 4 bytes that a bitmap of `rows` rows takes.
pub(in crate::segments) fn bitmap_words(rows: u32) -> usize {
    rows.div_ceil(64) as usize * 2
}

/// Writes the postings of all columns and then their directory. Answers where the directory is
/// and how many entries it has. `columns` are sorted by key and kind.
pub(in crate::segments) fn write(
    sink: &mut FileSink,
    columns: &Gathered,
    rows: u32,
    go_on: &mut dyn FnMut() -> Result<()>,
) -> Result<(u64, u32)> {
    let mut entries = Vec::new();
    for column in &columns.columns {
        // No comparison matches a sparse vector, so it needs no postings.
        if column.kind != Kind::Sparse {
            entries.push(write_column(sink, column, rows)?);
            go_on()?;
        }
    }
    sink.align(8)?;
    let directory = sink.position();
    for entry in &entries {
        sink.put(&entry.to_bytes())?;
    }
    Ok((directory, entries.len() as u32))
}

fn write_column(sink: &mut FileSink, column: &GatheredColumn, rows: u32) -> Result<Entry> {
    let mut entry = Entry {
        kind: column.kind as u32,
        key_bytes: column.key.len() as u32,
        key_at: sink.position(),
        ..Entry::default()
    };
    sink.put(column.key.as_bytes())?;
    sink.align(8)?;
    entry.values_at = sink.position();
    let ranks = match &column.values {
        Values::Bools(values) => {
            let (distinct, ranks) = rank(values.iter().copied(), |&flag| u64::from(flag));
            write_words(sink, distinct.into_iter().map(u64::from))?;
            ranks
        }
        Values::Ints(values) => {
            let (distinct, ranks) = rank(values.iter().copied(), |&int| int);
            write_words(sink, distinct.into_iter().map(i64::cast_unsigned))?;
            ranks
        }
        Values::Floats(values) => {
            // Adding zero makes the negative zero the positive one and changes nothing else.
            let bits = values.iter().map(|value| (value + 0.0).to_bits());
            let (distinct, ranks) = rank(bits, |&bits| ascending(bits));
            write_words(sink, distinct.into_iter())?;
            ranks
        }
        Values::Text(values) => write_text(sink, values, &mut entry)?,
        Values::Sparse(_) => Ranks::default(),
    };
    entry.distinct = ranks.distinct;
    write_lists(sink, column, &ranks, rows, &mut entry)?;
    Ok(entry)
}

/// A key that orders the bits of floats as the floats themselves.
fn ascending(bits: u64) -> u64 {
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

fn write_words(sink: &mut FileSink, words: impl Iterator<Item = u64>) -> Result<()> {
    let words: Vec<u64> = words.collect();
    sink.put(bytemuck::cast_slice(&words))
}

fn write_offsets(sink: &mut FileSink, offsets: &[u64]) -> Result<bool> {
    let wide = offsets
        .last()
        .is_some_and(|&last| last > u64::from(u32::MAX));
    if wide {
        sink.put(bytemuck::cast_slice(offsets))?;
    } else {
        let narrow: Vec<u32> = offsets.iter().map(|&offset| offset as u32).collect();
        sink.put(bytemuck::cast_slice(&narrow))?;
    }
    sink.align(8)?;
    Ok(wide)
}

fn write_text(sink: &mut FileSink, values: &Text, entry: &mut Entry) -> Result<Ranks> {
    let (distinct, ranks) = rank((0..values.len()).map(|at| values.get(at)), |&text| text);
    let mut offsets = vec![0];
    let mut end = 0;
    for text in &distinct {
        end += text.len() as u64;
        offsets.push(end);
    }
    if write_offsets(sink, &offsets)? {
        entry.flags |= WIDE_TEXT;
    }
    entry.text_at = sink.position();
    for text in &distinct {
        sink.put(text)?;
    }
    sink.align(8)?;
    Ok(ranks)
}

/// For each value the number of its distinct value in ascending order.
#[derive(Default)]
struct Ranks {
    of: Vec<u32>,
    distinct: u32,
}

/// The distinct values in ascending order of `key`, and the rank of each value.
fn rank<T: Copy + Eq + Hash, K: Ord>(
    values: impl Iterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Ranks) {
    let mut groups: HashMap<T, u32> = HashMap::new();
    let mut distinct: Vec<(T, u32)> = Vec::new();
    let mut of: Vec<u32> = values
        .map(|value| {
            *groups.entry(value).or_insert_with(|| {
                distinct.push((value, distinct.len() as u32));
                distinct.len() as u32 - 1
            })
        })
        .collect();
    distinct.sort_unstable_by_key(|(value, _)| key(value));
    let mut rank_of = vec![0u32; distinct.len()];
    for (rank, &(_, group)) in distinct.iter().enumerate() {
        rank_of[group as usize] = rank as u32;
    }
    for group in &mut of {
        *group = rank_of[*group as usize];
    }
    let ranks = Ranks {
        of,
        distinct: distinct.len() as u32,
    };
    (
        distinct.into_iter().map(|(value, _)| value).collect(),
        ranks,
    )
}

/// Calls `visit` with rank and row of every value, once for each row and rank, rows ascending.
fn each_posting(column: &GatheredColumn, ranks: &Ranks, mut visit: impl FnMut(usize, u32)) {
    let mut last_row = vec![u32::MAX; ranks.distinct as usize];
    for (at, &row) in column.rows.iter().enumerate() {
        for element in column.elements(at) {
            let rank = ranks.of[element] as usize;
            if last_row[rank] != row {
                last_row[rank] = row;
                visit(rank, row);
            }
        }
    }
}

fn write_lists(
    sink: &mut FileSink,
    column: &GatheredColumn,
    ranks: &Ranks,
    rows: u32,
    entry: &mut Entry,
) -> Result<()> {
    let mut counts = vec![0u32; ranks.distinct as usize];
    each_posting(column, ranks, |rank, _| counts[rank] += 1);
    // A list shorter than 1 of 32 rows has fewer words than a bitmap: the length tells which.
    let is_bitmap = |count: u32| u64::from(count) * 32 >= u64::from(rows);
    let mut starts = Vec::with_capacity(counts.len() + 1);
    let mut words = 0u64;
    starts.push(words);
    for &count in &counts {
        words += if is_bitmap(count) {
            bitmap_words(rows) as u64
        } else {
            u64::from(count)
        };
        starts.push(words);
    }
    let mut lists = vec![0u32; words as usize];
    let mut next: Vec<u64> = starts[..counts.len()].to_vec();
    each_posting(column, ranks, |rank, row| {
        let at = next[rank] as usize;
        if is_bitmap(counts[rank]) {
            lists[at + row as usize / 32] |= 1 << (row % 32);
        } else {
            lists[at] = row;
            next[rank] += 1;
        }
    });
    entry.starts_at = sink.position();
    if write_offsets(sink, &starts)? {
        entry.flags |= WIDE_STARTS;
    }
    entry.lists_at = sink.position();
    sink.put(bytemuck::cast_slice(&lists))?;
    sink.align(8)
}
