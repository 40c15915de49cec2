//! Compares query vectors with rows exactly.
//!
//! What must stay true: every row that may answer is compared, or known to be too far by more than
//! what rounding could hide; each block of rows is compared with all queries while it is in a near
//! cache.

use std::ops::Range;

use super::distance::QueryVector;
use super::plan::{Chosen, in_part};
use super::tiled::{Room, Tiled};
use super::top::{Candidate, Top};
use super::{Location, Part};
use crate::segments::{RowSet, Source, set_bits};
use crate::{Result, asker};

/// Numbers in a block of rows: few enough to stay in the processor's cache between queries.
const BLOCK_NUMBERS: usize = 48 << 10;
/// Rows of a block, in words of a [`RowSet`].
const BLOCK_WORDS_MAX: usize = 16;
/// Rows compared with all queries between two looks at whether somebody waits for it.
const ROWS_A_LOOK: u32 = 512;

/// The rows of a part that may answer.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// All of so many.
    All(u32),
    /// Those in the set.
    Set(&'a RowSet),
    /// These, ascending.
    Few(&'a [Location]),
}

impl<'a> Rows<'a> {
    /// The rows of `part` that are `chosen`; `live` are those alive, where some are not.
    pub(super) fn of(
        part: &Part,
        number: usize,
        chosen: &'a Chosen,
        live: Option<&'a RowSet>,
    ) -> Self {
        match (chosen, live) {
            (Chosen::Everything, None) => Self::All(part.source.rows()),
            (Chosen::Everything, Some(live)) => Self::Set(live),
            (Chosen::Sets(sets), _) => Self::Set(&sets[number]),
            (Chosen::Listed(locations), _) => Self::Few(in_part(locations, number)),
        }
    }

    /// How many they are.
    pub(super) fn len(self) -> u64 {
        match self {
            Self::All(rows) => u64::from(rows),
            Self::Set(set) => u64::from(set.len()),
            Self::Few(few) => few.len() as u64,
        }
    }

    /// How many of them are within a range that begins at a multiple of 64, and ends at one or at the end.
    fn count(self, within: Range<u32>) -> u64 {
        match self {
            Self::All(_) => u64::from(within.end - within.start),
            Self::Set(set) => {
                let words = within.start as usize / 64..within.end.div_ceil(64) as usize;
                let words = set.words()[words].iter();
                words.map(|word| u64::from(word.count_ones())).sum()
            }
            Self::Few(few) => between(few, &within).len() as u64,
        }
    }
}

/// Offers those of `source` (part number `part`) that are in `rows`, and within the range of rows
/// `within`, to the `tops` of `queries`; leaves where `go_on` says that nobody waits.
pub(super) fn nearest_in_source(
    source: &Source,
    part: usize,
    queries: &[QueryVector<'_>],
    (rows, within): (Rows<'_>, Range<u32>),
    tops: &mut [Top],
    go_on: &dyn Fn() -> bool,
) -> Result<()> {
    let births = source.births()?;
    let mut compared = ROWS_A_LOOK;
    let mut look = |rows: u32| -> Result<()> {
        if compared >= ROWS_A_LOOK {
            compared = 0;
            if !go_on() {
                return Err(asker::gone());
            }
        }
        compared += rows;
        Ok(())
    };
    let mut room = Room::default();
    let words = block_words(source.dimension());
    let mut keep = |query: usize, row: u32, distance: f32| {
        let top = &mut tops[query];
        if top.admits(distance) {
            let (birth, location) = (births[row as usize], Location { part, row });
            top.offer(Candidate {
                distance,
                birth,
                location,
            });
        }
        top.worst()
    };
    if let Some(tiled) = Tiled::new(queries) {
        return for_each_block(rows, words, within, |first, count, picked| {
            look(count)?;
            let vectors = source.vectors(first, count)?;
            tiled.compare(
                queries,
                (vectors, picked),
                &mut room,
                |query, at, distance| keep(query, first + at as u32, distance),
            );
            Ok(())
        });
    }
    for_each_span(rows, words, within, |span| {
        look(span.count)?;
        let vectors = source.vectors(span.first, span.count)?;
        let offer = |query: usize, at: usize, distance: f32| {
            let row = span.first + at as u32;
            if span.among.is_none_or(|among| among.contains(row)) {
                keep(query, row, distance);
            }
        };
        compare(queries, vectors, span.count as usize, &mut room, offer);
        Ok(())
    })
}

/// Gives `offer` the distance of each of `queries` to each of `count` rows.
fn compare(
    queries: &[QueryVector<'_>],
    rows: &[f32],
    count: usize,
    room: &mut Room,
    mut offer: impl FnMut(usize, usize, f32),
) {
    room.first.resize(count, 0.0);
    room.second.resize(count, 0.0);
    for (number, query) in queries.iter().enumerate() {
        query.distances(rows, &mut room.first, &mut room.second, number > 0);
        for (at, &distance) in room.first.iter().enumerate() {
            offer(number, at, distance);
        }
    }
}

/// How many rows, in words of a [`RowSet`], are compared with one query after the other.
fn block_words(dimension: usize) -> usize {
    (BLOCK_NUMBERS / dimension.max(1) / 64).clamp(1, BLOCK_WORDS_MAX)
}

/// Rows of so many numbers that are compared before any others: ranges of rows should begin at
/// multiples of it.
pub(super) fn block_rows(dimension: usize) -> u32 {
    (block_words(dimension) * 64) as u32
}

/// Cuts the rows of a source into at most `pieces` ranges, each with about as many of `rows`.
pub(super) fn pieces(rows: Rows<'_>, end: u32, dimension: usize, pieces: u32) -> Vec<Range<u32>> {
    let block = block_rows(dimension);
    let blocks = end.div_ceil(block);
    let each = rows.len().div_ceil(u64::from(pieces.max(1))).max(1);
    let mut ranges: Vec<Range<u32>> = Vec::new();
    let (mut first, mut held) = (0, 0);
    for number in 0..blocks {
        let until = end.min(block.saturating_mul(number + 1));
        held += rows.count(number * block..until);
        if held >= each || until == end {
            if held > 0 {
                ranges.push(first..until);
            }
            (first, held) = (until, 0);
        }
    }
    ranges
}

/// Calls `look` with blocks of at most `block_words * 64` consecutive rows that have some of `rows` that are
/// `within` a range, which begins at a multiple of as many: the first row, how many there are, and which of
/// them are meant, counted from the first; `None` where all are.
fn for_each_block(
    rows: Rows<'_>,
    block_words: usize,
    within: Range<u32>,
    mut look: impl FnMut(u32, u32, Option<&[u32]>) -> Result<()>,
) -> Result<()> {
    let length = (block_words * 64) as u32;
    let mut picked = Vec::new();
    match rows {
        Rows::All(_) => for_each_span(rows, block_words, within, |span| {
            look(span.first, span.count, None)
        }),
        Rows::Few(few) => {
            for block in between(few, &within).chunk_by(|a, b| a.row / length == b.row / length) {
                let (first, last) = (block[0].row, block[block.len() - 1].row);
                picked.clear();
                picked.extend(block.iter().map(|location| location.row - first));
                look(first, last - first + 1, Some(&picked))?;
            }
            Ok(())
        }
        Rows::Set(set) => {
            let end = set.rows().min(within.end);
            for first in (within.start..end).step_by(length as usize) {
                let count = length.min(end - first);
                let words =
                    &set.words()[first as usize / 64..(first + count).div_ceil(64) as usize];
                picked.clear();
                for (at, &word) in (0..).step_by(64).zip(words) {
                    picked.extend(set_bits(word).map(|bit| at + bit));
                }
                let is_whole = picked.len() == count as usize;
                if !picked.is_empty() {
                    look(first, count, (!is_whole).then_some(&picked))?;
                }
            }
            Ok(())
        }
    }
}

/// Those of some rows that are within a range.
fn between<'a>(few: &'a [Location], within: &Range<u32>) -> &'a [Location] {
    let place = |row: u32| few.partition_point(|location| location.row < row);
    &few[place(within.start)..place(within.end)]
}

/// Consecutive rows to be looked at together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span<'a> {
    first: u32,
    count: u32,
    /// Those of them that may answer; `None` means all.
    among: Option<&'a RowSet>,
}

/// Calls `look` with spans of at most `block_words * 64` rows that cover those of `rows` that are
/// `within` a range, which begins at a multiple of as many. A block of which half passes or more is
/// taken whole: its other rows cost less than the gaps.
fn for_each_span<'a>(
    rows: Rows<'a>,
    block_words: usize,
    within: Range<u32>,
    mut look: impl FnMut(Span<'a>) -> Result<()>,
) -> Result<()> {
    let set = match rows {
        Rows::All(rows) => {
            let length = (block_words * 64) as u32;
            let end = rows.min(within.end);
            for first in (within.start..end).step_by(length as usize) {
                look(Span {
                    first,
                    count: length.min(end - first),
                    among: None,
                })?;
            }
            return Ok(());
        }
        Rows::Few(few) => {
            for run in between(few, &within).chunk_by(|a, b| a.row + 1 == b.row) {
                for run in run.chunks(block_words * 64) {
                    look(Span {
                        first: run[0].row,
                        count: run.len() as u32,
                        among: None,
                    })?;
                }
            }
            return Ok(());
        }
        Rows::Set(set) => set,
    };
    let length = (block_words * 64) as u32;
    for first in (within.start..set.rows().min(within.end)).step_by(length as usize) {
        let count = length.min(set.rows().min(within.end) - first);
        let words = &set.words()[first as usize / 64..(first + count).div_ceil(64) as usize];
        let passing: u32 = words.iter().map(|word| word.count_ones()).sum();
        if passing == count {
            look(Span {
                first,
                count,
                among: None,
            })?;
        } else if passing * 2 >= count {
            look(Span {
                first,
                count,
                among: Some(set),
            })?;
        } else if passing > 0 {
            let mut from = first;
            while let Some(start) = (from..first + count).find(|row| set.contains(*row)) {
                let end = (start..first + count).find(|row| !set.contains(*row));
                from = end.unwrap_or(first + count);
                look(Span {
                    first: start,
                    count: from - start,
                    among: None,
                })?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn spans_cover_the_rows_once_and_stay_short(
            rows in 1..400u32,
            members in prop::collection::vec(any::<u16>(), 0..300),
            block_words in 1..4usize,
            kind in 0..3usize,
            cut in 0..8u32,
        ) {
            let mut set = RowSet::none(rows);
            members.iter().for_each(|member| set.insert(u32::from(*member) % rows));
            if kind == 0 {
                set = RowSet::all(rows);
            }
            let listed: Vec<u32> = set.iter().collect();
            let few: Vec<Location> = set.iter().map(|row| Location { part: 3, row }).collect();
            let wanted = [Rows::All(rows), Rows::Few(&few), Rows::Set(&set)][kind];
            let (mut covered, mut blocks) = (Vec::new(), Vec::new());
            let cut = cut * block_words as u32 * 64;
            for within in [0..cut, cut..u32::MAX] {
                for_each_span(wanted, block_words, within.clone(), |span| {
                    assert!(span.count > 0 && span.count as usize <= block_words * 64);
                    let all = span.first..span.first + span.count;
                    assert!(all.end <= rows && all.start >= within.start && all.end <= within.end);
                    covered.extend(all.filter(|row| span.among.is_none_or(|set| set.contains(*row))));
                    Ok(())
                })
                .unwrap();
                for_each_block(wanted, block_words, within.clone(), |first, count, picked| {
                    assert!(count > 0 && count as usize <= block_words * 64);
                    assert!(first + count <= rows && first >= within.start && first + count <= within.end);
                    match picked {
                        Some(picked) => blocks.extend(picked.iter().map(|at| first + at)),
                        None => blocks.extend(first..first + count),
                    }
                    Ok(())
                })
                .unwrap();
            }
            prop_assert_eq!(&covered, &listed);
            prop_assert_eq!(blocks, listed);
        }
    }
}
