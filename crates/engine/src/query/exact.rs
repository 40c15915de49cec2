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
use crate::Result;
use crate::segments::{RowSet, Source};

/// Numbers in a block of rows: few enough to stay in the processor's cache between queries.
const BLOCK_NUMBERS: usize = 48 << 10;
/// Rows of a block, in words of a [`RowSet`].
const BLOCK_WORDS_MAX: usize = 16;

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
}

/// Offers those of `source` (part number `part`) that are in `rows`, and within the range of rows
/// `within`, to the `tops` of `queries`.
pub(super) fn nearest_in_source(
    source: &Source,
    part: usize,
    queries: &[QueryVector<'_>],
    (rows, within): (Rows<'_>, Range<u32>),
    tops: &mut [Top],
) -> Result<()> {
    let births = source.births()?;
    let tiled = Tiled::new(queries);
    let mut room = Room::default();
    for_each_span(rows, block_words(source.dimension()), within, |span| {
        let vectors = source.vectors(span.first, span.count)?;
        let mut offer = |query: usize, at: usize, distance: f32| {
            let (row, top) = (span.first + at as u32, &mut tops[query]);
            if top.admits(distance) && span.among.is_none_or(|among| among.contains(row)) {
                let (birth, location) = (births[row as usize], Location { part, row });
                top.offer(Candidate {
                    distance,
                    birth,
                    location,
                });
            }
            top.worst()
        };
        match &tiled {
            Some(tiled) => tiled.compare(queries, vectors, &mut room, offer),
            None => compare(queries, vectors, span.count as usize, &mut room, &mut offer),
        }
        Ok(())
    })
}

/// Gives `offer` the distance of each of `queries` to each of `count` rows.
fn compare(
    queries: &[QueryVector<'_>],
    rows: &[f32],
    count: usize,
    room: &mut Room,
    offer: &mut impl FnMut(usize, usize, f32) -> Option<f32>,
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
            let place = |row: u32| few.partition_point(|location| location.row < row);
            let few = &few[place(within.start)..place(within.end)];
            for run in few.chunk_by(|a, b| a.row + 1 == b.row) {
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
            let mut covered = Vec::new();
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
            }
            prop_assert_eq!(covered, listed);
        }
    }
}
