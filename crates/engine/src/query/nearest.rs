//! The nearest rows to each query vector: from the index of a source's vectors, or exactly.
//!
//! What must stay true: filtering comes first, so that no distance decides which rows a filter
//! sees; distances that are answered are always exact. An index is asked where it has one, more
//! rows may answer than an exact search soon reads, and less than everything is asked for. All
//! indexes of a snapshot share one list of candidates, so that what one finds narrows the search
//! of the next; the largest is searched first.

use vermilion_kernels::prefetch;

use super::distance::QueryVector;
use super::plan::{Chosen, live};
use super::top::{Candidate, Top};
use super::{Location, Part, Snapshot};
use crate::Result;
use crate::model::{Embeddings, Recall};
use crate::segments::vector::{Best, Effort, Mask, VectorFile, VectorIndex};
use crate::segments::{RowSet, Source};

/// Numbers in a block of rows: few enough to stay in the processor's cache between queries.
const BLOCK_NUMBERS: usize = 48 << 10;
/// Rows of a block, in words of a [`RowSet`].
const BLOCK_WORDS_MAX: usize = 16;
/// Rows that may answer, for each one wanted, up to which all are compared exactly.
const EXACT_ROWS_FACTOR: u64 = 4;
/// Rows that may answer up to which all are compared exactly, whatever is wanted.
const EXACT_ROWS: u64 = 256;

/// For each of `queries` the nearest of the rows that are `chosen`, at most `count`, nearest first.
pub(super) fn nearest(
    snapshot: &Snapshot,
    queries: &Embeddings,
    chosen: &Chosen,
    count: u32,
    recall: Recall,
) -> Result<Vec<Vec<Candidate>>> {
    let space = snapshot.schema.space();
    let queries: Vec<QueryVector<'_>> = (0..queries.len())
        .filter_map(|row| queries.get(row))
        .map(|values| QueryVector::new(values, space))
        .collect();
    loop {
        // An index that turns out to be damaged is set aside, so the next attempt does without.
        if let Some(tops) = attempt(snapshot, &queries, chosen, count, recall)? {
            return Ok(tops.into_iter().map(Top::into_sorted).collect());
        }
    }
}

/// As [`nearest`]; `None` where an index turned out to be damaged.
fn attempt(
    snapshot: &Snapshot,
    queries: &[QueryVector<'_>],
    chosen: &Chosen,
    count: u32,
    recall: Recall,
) -> Result<Option<Vec<Top>>> {
    let mut tops: Vec<Top> = queries.iter().map(|_| Top::new(count as usize)).collect();
    if count == 0 {
        return Ok(Some(tops));
    }
    let mut indexed = Vec::new();
    for (number, part) in snapshot.parts.iter().enumerate() {
        let living = matches!(chosen, Chosen::Everything) && !part.dead.is_empty();
        let living = living.then(|| live(part));
        let rows = Rows::of(part, number, chosen, living.as_ref());
        let file = part.source.vector_index().filter(|_| !recall.is_exact());
        if rows.len() > EXACT_ROWS.max(u64::from(count) * EXACT_ROWS_FACTOR)
            && let Some(file) = file
            && let Some(index) = file.searched()
            && queries.iter().all(|query| index.can_rank(query.values))
        {
            let Some(mask) = file.unless_damaged(rows.mask(index))? else {
                return Ok(None);
            };
            indexed.push(Indexed {
                number,
                part,
                file,
                index,
                mask,
            });
        } else {
            nearest_in_source(&part.source, number, queries, rows, &mut tops)?;
        }
    }
    let sound = search_indexes(indexed, queries, count, recall, &mut tops)?;
    Ok(sound.then_some(tops))
}

/// A part whose index is to be searched.
struct Indexed<'a> {
    number: usize,
    part: &'a Part,
    file: &'a VectorFile,
    index: &'a VectorIndex,
    /// The rows that may answer; `None` for all.
    mask: Option<Mask>,
}

/// Offers the rows that the indexes find to the `tops` of `queries`; `false` where one is damaged.
fn search_indexes(
    mut indexed: Vec<Indexed<'_>>,
    queries: &[QueryVector<'_>],
    count: u32,
    recall: Recall,
    tops: &mut [Top],
) -> Result<bool> {
    indexed.sort_by_key(|one| std::cmp::Reverse(one.index.rows()));
    let efforts: Vec<Effort> = indexed
        .iter()
        .map(|one| one.index.effort(count as usize, recall.share()))
        .collect();
    let depth = efforts.iter().map(Effort::depth).max().unwrap_or(0);
    for (query, top) in queries.iter().zip(tops) {
        let mut best = Best::new(depth);
        for (at, (one, effort)) in indexed.iter().zip(&efforts).enumerate() {
            let mask = one.mask.as_ref();
            let found = one
                .index
                .search_into(query.values, effort, mask, at as u32, &mut best);
            if one.file.unless_damaged(found)?.is_none() {
                return Ok(false);
            }
        }
        for (at, row) in best.rows() {
            let vector = indexed[at as usize].part.source.vector(row)?;
            prefetch(bytemuck::cast_slice(vector));
        }
        for (at, row) in best.rows() {
            let one = &indexed[at as usize];
            offer_row(&one.part.source, one.number, row, query, top)?;
        }
    }
    Ok(true)
}

fn offer_row(
    source: &Source,
    part: usize,
    row: u32,
    query: &QueryVector<'_>,
    top: &mut Top,
) -> Result<()> {
    let (mut distance, mut norm) = ([0.0], [0.0]);
    query.distances(source.vector(row)?, &mut distance, &mut norm, false);
    if top.admits(distance[0]) {
        top.offer(Candidate {
            distance: distance[0],
            birth: source.births()?[row as usize],
            location: Location { part, row },
        });
    }
    Ok(())
}

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
    fn of(part: &Part, number: usize, chosen: &'a Chosen, live: Option<&'a RowSet>) -> Self {
        match (chosen, live) {
            (Chosen::Everything, None) => Self::All(part.source.rows()),
            (Chosen::Everything, Some(live)) => Self::Set(live),
            (Chosen::Sets(sets), _) => Self::Set(&sets[number]),
            (Chosen::Listed(locations), _) => {
                let first = locations.partition_point(|location| location.part < number);
                let end = locations.partition_point(|location| location.part <= number);
                Self::Few(&locations[first..end])
            }
        }
    }

    /// How many they are.
    fn len(self) -> u64 {
        match self {
            Self::All(rows) => u64::from(rows),
            Self::Set(set) => u64::from(set.len()),
            Self::Few(few) => few.len() as u64,
        }
    }

    /// The mask of `index` that admits them; `None` where they are all.
    fn mask(self, index: &VectorIndex) -> Result<Option<Mask>> {
        match self {
            Self::All(_) => Ok(None),
            Self::Set(set) => index.mask(set).map(Some),
            Self::Few(few) => {
                let mut set = RowSet::none(index.rows());
                few.iter().for_each(|location| set.insert(location.row));
                index.mask(&set).map(Some)
            }
        }
    }
}

/// Offers those of `source` (part number `part`) that are in `rows` to the `tops` of `queries`.
pub(super) fn nearest_in_source(
    source: &Source,
    part: usize,
    queries: &[QueryVector<'_>],
    rows: Rows<'_>,
    tops: &mut [Top],
) -> Result<()> {
    let births = source.births()?;
    let block_words = (BLOCK_NUMBERS / source.dimension().max(1) / 64).clamp(1, BLOCK_WORDS_MAX);
    let (mut distances, mut norms) = (vec![0.0; block_words * 64], vec![0.0; block_words * 64]);
    for_each_span(rows, block_words, |span| {
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

/// Calls `look` with spans of at most `block_words * 64` rows that cover `rows`. A block of
/// which half passes or more is taken whole: its other rows cost less than the gaps.
fn for_each_span<'a>(
    rows: Rows<'a>,
    block_words: usize,
    mut look: impl FnMut(Span<'a>) -> Result<()>,
) -> Result<()> {
    let set = match rows {
        Rows::All(rows) => {
            let length = (block_words * 64) as u32;
            for first in (0..rows).step_by(length as usize) {
                look(Span {
                    first,
                    count: length.min(rows - first),
                    among: None,
                })?;
            }
            return Ok(());
        }
        Rows::Few(few) => {
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
        fn spans_cover_the_rows_once_and_stay_short(
            rows in 1..400u32,
            members in prop::collection::vec(any::<u16>(), 0..300),
            block_words in 1..4usize,
            kind in 0..3usize,
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
            for_each_span(wanted, block_words, |span| {
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
