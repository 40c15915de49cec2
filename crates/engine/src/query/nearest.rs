//! The nearest rows to each query vector, exactly.
//!
//! What must stay true: filtering comes first, so that no distance decides which rows a filter
//! sees; each block of rows is read once for all query vectors. [`nearest_in_source`] is the
//! place where a source that has an index of its vectors will answer from it.

use super::distance::QueryVector;
use super::plan::{Chosen, live};
use super::top::{Candidate, Top};
use super::{Location, Snapshot};
use crate::Result;
use crate::model::Embeddings;
use crate::segments::{RowSet, Source};

/// Numbers in a block of rows: few enough to stay in the processor's cache between queries.
const BLOCK_NUMBERS: usize = 48 << 10;
/// Rows of a block, in words of a [`RowSet`].
const BLOCK_WORDS_MAX: usize = 16;

/// For each of `queries` the nearest of the rows that are `chosen`, at most `count`, nearest first.
pub(super) fn nearest(
    snapshot: &Snapshot,
    queries: &Embeddings,
    chosen: &Chosen,
    count: u32,
) -> Result<Vec<Vec<Candidate>>> {
    let space = snapshot.schema.space();
    let queries: Vec<QueryVector<'_>> = (0..queries.len())
        .filter_map(|row| queries.get(row))
        .map(|values| QueryVector::new(values, space))
        .collect();
    let mut tops: Vec<Top> = queries.iter().map(|_| Top::new(count as usize)).collect();
    if count > 0 {
        for (number, part) in snapshot.parts.iter().enumerate() {
            let (all, few);
            let mask = match chosen {
                Chosen::Everything => {
                    all = live(part);
                    Mask::Set(&all)
                }
                Chosen::Sets(sets) => Mask::Set(&sets[number]),
                Chosen::Listed(locations) => {
                    let of_part = locations.iter().filter(|location| location.part == number);
                    few = of_part.map(|location| location.row).collect::<Vec<u32>>();
                    Mask::Few(&few)
                }
            };
            nearest_in_source(&part.source, number, &queries, mask, &mut tops)?;
        }
    }
    Ok(tops.into_iter().map(Top::into_sorted).collect())
}

/// The rows of a source that may answer.
#[derive(Clone, Copy)]
enum Mask<'a> {
    /// Those in the set.
    Set(&'a RowSet),
    /// These, ascending.
    Few(&'a [u32]),
}

/// Offers the rows of `source` (part number `part`) that `mask` lets through to the `tops` of
/// `queries`.
fn nearest_in_source(
    source: &Source,
    part: usize,
    queries: &[QueryVector<'_>],
    mask: Mask<'_>,
    tops: &mut [Top],
) -> Result<()> {
    let births = source.births()?;
    let block_words = (BLOCK_NUMBERS / source.dimension().max(1) / 64).clamp(1, BLOCK_WORDS_MAX);
    let (mut distances, mut norms) = (vec![0.0; block_words * 64], vec![0.0; block_words * 64]);
    for_each_span(mask, block_words, |span| {
        let rows = source.vectors(span.first, span.count)?;
        let count = span.count as usize;
        let (distances, norms) = (&mut distances[..count], &mut norms[..count]);
        for (number, (query, top)) in queries.iter().zip(tops.iter_mut()).enumerate() {
            query.distances(rows, distances, norms, number > 0);
            for (row, &distance) in (span.first..).zip(&*distances) {
                if top.admits(distance) && span.among.is_none_or(|among| among.contains(row)) {
                    let birth = births[row as usize];
                    top.offer(Candidate {
                        distance,
                        birth,
                        location: Location { part, row },
                    });
                }
            }
        }
        Ok(())
    })
}

/// Consecutive rows to be looked at together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span<'a> {
    first: u32,
    count: u32,
    /// Those of them that may answer; `None` means all.
    among: Option<&'a RowSet>,
}

/// Calls `look` with spans of at most `block_words * 64` rows that cover the mask. A block of
/// which half passes or more is taken whole: its other rows cost less than the gaps.
fn for_each_span<'a>(
    mask: Mask<'a>,
    block_words: usize,
    mut look: impl FnMut(Span<'a>) -> Result<()>,
) -> Result<()> {
    let set = match mask {
        Mask::Few(rows) => {
            for run in rows.chunk_by(|a, b| a + 1 == *b) {
                for run in run.chunks(block_words * 64) {
                    look(Span {
                        first: run[0],
                        count: run.len() as u32,
                        among: None,
                    })?;
                }
            }
            return Ok(());
        }
        Mask::Set(set) => set,
    };
    for (block, words) in set.words().chunks(block_words).enumerate() {
        let first = (block * block_words * 64) as u32;
        let count = (words.len() as u32 * 64).min(set.rows() - first);
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
        fn spans_cover_the_mask_once_and_stay_short(
            rows in 1..400u32,
            members in prop::collection::vec(any::<u16>(), 0..300),
            block_words in 1..4usize,
            as_list: bool,
        ) {
            let mut set = RowSet::none(rows);
            members.iter().for_each(|member| set.insert(u32::from(*member) % rows));
            let listed: Vec<u32> = set.iter().collect();
            let mask = if as_list { Mask::Few(&listed) } else { Mask::Set(&set) };
            let mut covered = Vec::new();
            for_each_span(mask, block_words, |span| {
                assert!(span.count > 0 && span.count as usize <= block_words * 64);
                let all = span.first..span.first + span.count;
                assert!(all.end <= rows);
                covered.extend(all.filter(|row| span.among.is_none_or(|set| set.contains(*row))));
                Ok(())
            })
            .unwrap();
            prop_assert_eq!(covered, listed);
        }
    }
}
