//! The nearest rows to each query vector: from the index of a source's vectors, or exactly.
//!
//! What must stay true: filtering comes first, so that no distance decides which rows a filter
//! sees; distances that are answered are always exact. An index is asked where it has one, more
//! rows may answer than an exact search soon reads, and less than everything is asked for. All
//! indexes of a snapshot share one list of candidates, so that what one finds narrows the search
//! of the next; the largest is searched first. Long work is shared with helping threads where some
//! are free, and the answer does not depend on whether they are. What a search takes in memory does
//! not grow with the queries of a request: they are searched in waves. A search that nobody waits
//! for is left soon, on all threads.

use std::ops::Range;
use std::sync::Arc;

use super::distance::QueryVector;
use super::exact::{Rows, nearest_in_source, pieces};
use super::plan::{Chosen, Passed, in_part, live};
use super::tiled::QUERIES_MIN;
use super::top::{Candidate, Top};
use super::{Location, Part, Snapshot};
use crate::Result;
use crate::asker;
use crate::helper_threads::{Helpers, split};
use crate::model::{Embeddings, Recall};
use crate::segments::RowSet;
use crate::segments::vector::{Best, Effort, Mask, VectorFile, VectorIndex};

/// Rows that may answer, for each one wanted, up to which all are compared exactly.
const EXACT_ROWS_FACTOR: u64 = 4;
/// Rows that may answer up to which all are compared exactly, whatever is wanted.
const EXACT_ROWS: u64 = 256;

/// Numbers of the rows that a mask admits up to which many queries compare them exactly, where the mask
/// admits one row of so many: a search of the index looks for them in hundreds of partitions (measured with
/// 10,000 of 1,000,000 rows of 128 numbers).
const EXACT_TOGETHER: u64 = 2 << 20;
/// See [`EXACT_TOGETHER`].
const RARE: u64 = 16;

/// Candidates by codes, each of which takes about as long as comparing so many rows in their order: where the
/// recall that is asked for takes more than one row in so many, all are compared.
const ROWS_A_CANDIDATE: u64 = 8;

/// Queries of a wave at most: each has 4 KB of room on each thread, for its products with a block of rows.
const QUERIES_A_WAVE: usize = 1024;
/// Rows at most that the queries of a wave find together, where they are more than [`QUERIES_MIN`].
const FOUND_A_WAVE: usize = 1 << 20;

/// Queries at most whose rows are asked for from memory one ahead of another.
const QUERIES_TOGETHER: usize = 32;
/// Queries by indexes that are worth a thread: a millisecond or two.
const QUERIES_A_THREAD: usize = 16;
/// Numbers that are compared exactly in some milliseconds, and queries that take as long together as
/// reading the rows.
const NUMBERS_A_THREAD: f64 = (2 << 20) as f64;
const QUERIES_A_PASS: usize = 8;
/// What a helping thread is called.
const THREAD_NAME: &str = "vermilion-search";

/// Calls `each` for each of `queries` in turn with the nearest of the rows that are `chosen`, at most
/// `count`, nearest first.
pub(super) fn nearest(
    snapshot: &Snapshot,
    queries: &Embeddings,
    chosen: &Chosen,
    (count, recall): (u32, Recall),
    mut each: impl FnMut(Vec<Candidate>) -> Result<()>,
) -> Result<()> {
    let space = snapshot.schema.space();
    for wave in waves(queries.len(), count) {
        let queries: Vec<QueryVector<'_>> = wave
            .filter_map(|row| queries.get(row))
            .map(|values| QueryVector::new(values, space))
            .collect();
        let tops = loop {
            // An index that turns out to be damaged is set aside, so the next attempt does without.
            if let Some(tops) = attempt(snapshot, &queries, chosen, count, recall)? {
                break tops;
            }
        };
        tops.into_iter()
            .try_for_each(|top| each(top.into_sorted()))?;
    }
    Ok(())
}

/// The queries, of `queries` that find `count` rows each, that are searched together.
fn waves(queries: usize, count: u32) -> impl Iterator<Item = Range<usize>> {
    let most = (FOUND_A_WAVE / (count as usize).max(1)).clamp(QUERIES_MIN, QUERIES_A_WAVE);
    let firsts = (0..queries).step_by(most);
    firsts.map(move |first| first..queries.min(first + most))
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
    let few = EXACT_ROWS.max(u64::from(count) * EXACT_ROWS_FACTOR);
    let (mut indexed, mut plain) = (Vec::new(), Vec::new());
    for (number, part) in snapshot.parts.iter().enumerate() {
        let file = part.source.vector_index().filter(|_| !recall.is_exact());
        if may_answer(chosen, number, part) > few
            && let Some(file) = file
            && let Some(index) = file.searched()
            && queries.iter().all(|query| index.can_rank(query.values))
        {
            let mask = mask_of(chosen, (number, part), file, index);
            let Some(mask) = file.unless_damaged(mask)? else {
                return Ok(None);
            };
            let effort = index.effort(count as usize, recall.share());
            let rows = mask.as_deref().map_or(index.rows(), Mask::rows);
            let rows = u64::from(rows);
            let is_exact = rows <= few
                || rows <= effort.depth() as u64 * ROWS_A_CANDIDATE
                || mask.is_some() && is_exact_together(queries, rows, index);
            if !is_exact {
                indexed.push(Indexed {
                    number,
                    part,
                    file,
                    index,
                    effort,
                    mask,
                });
                continue;
            }
        }
        let living = matches!(chosen, Chosen::Everything) && !part.dead.is_empty();
        plain.push((number, living.then(|| live(part))));
    }
    indexed.sort_by_key(|one| std::cmp::Reverse(one.index.rows()));
    let plain = plain.iter().map(|(number, living)| {
        let part = &snapshot.parts[*number];
        (*number, Rows::of(part, *number, chosen, living.as_ref()))
    });
    let work = Work {
        snapshot,
        queries,
        count: count as usize,
        indexed,
        plain: plain.collect(),
    };
    let helpers = Helpers::take(work.threads() - 1);
    let goes_on = asker::waits();
    let tasks = work.tasks(helpers.count() + 1);
    let done = split(&helpers, THREAD_NAME, tasks, &goes_on, |task, go_on| {
        work.do_task(task, go_on)
    })?;
    // Helpers stop where nobody waits, and leave tasks undone.
    asker::still_waits()?;
    for done in done {
        let Some((first, found)) = done else {
            return Ok(None);
        };
        let own = tops.iter_mut().skip(first);
        own.zip(found).for_each(|(top, found)| top.take_in(found));
    }
    Ok(Some(tops))
}

/// Whether so many queries compare the `rows` that a mask admits faster exactly, as products of tiles, than
/// by the index, in whose partitions there are few of them each.
fn is_exact_together(queries: &[QueryVector<'_>], rows: u64, index: &VectorIndex) -> bool {
    let dimension = queries.first().map_or(0, |query| query.values.len() as u64);
    queries.len() >= QUERIES_MIN
        && rows * dimension <= EXACT_TOGETHER
        && rows * RARE <= u64::from(index.rows())
}

/// How many rows of a part may answer at most.
fn may_answer(chosen: &Chosen, number: usize, part: &Part) -> u64 {
    match chosen {
        Chosen::Everything => {
            let rows = part.source.rows();
            u64::from(rows) - part.dead.range_cardinality(..rows)
        }
        Chosen::Sets(sets) => u64::from(sets[number].at_most()),
        Chosen::Listed(locations) => in_part(locations, number).len() as u64,
    }
}

/// The rows of a part that may answer, as its index takes them; `None` where they are all.
fn mask_of(
    chosen: &Chosen,
    (number, part): (usize, &Part),
    file: &VectorFile,
    index: &VectorIndex,
) -> Result<Option<Arc<Mask>>> {
    let living = || file.living(index, &part.dead);
    Ok(match chosen {
        Chosen::Everything if part.dead.is_empty() => None,
        Chosen::Everything => Some(living()?),
        Chosen::Sets(sets) => Some(match &sets[number] {
            Passed::Found(rows) => Arc::new(index.mask(rows)?),
            Passed::Known { all, .. } if part.dead.is_empty() => all.mask(index)?,
            Passed::Known { all, .. } => {
                Arc::new(index.mask_of_both(&*all.mask(index)?, &*living()?))
            }
        }),
        Chosen::Listed(locations) => {
            let mut rows = RowSet::none(index.rows());
            let here = in_part(locations, number).iter();
            here.for_each(|location| rows.insert(location.row));
            Some(Arc::new(index.mask(&rows)?))
        }
    })
}

/// A part whose index is to be searched.
struct Indexed<'a> {
    number: usize,
    part: &'a Part,
    file: &'a VectorFile,
    index: &'a VectorIndex,
    effort: Effort,
    /// The rows that may answer; `None` for all.
    mask: Option<Arc<Mask>>,
}

/// Something that one thread does at a time.
enum Task {
    /// Searches all indexes for these queries.
    Indexes(Range<usize>),
    /// Compares all queries with the rows within a range of the part at this place of the plain ones.
    Rows(usize, Range<u32>),
}

/// What is to be searched.
struct Work<'a> {
    snapshot: &'a Snapshot,
    queries: &'a [QueryVector<'a>],
    count: usize,
    /// Parts whose indexes are searched, the largest first.
    indexed: Vec<Indexed<'a>>,
    /// Parts whose rows are compared exactly.
    plain: Vec<(usize, Rows<'a>)>,
}

/// For the queries from the one numbered the best rows; `None` where an index is damaged.
type Done = Option<(usize, Vec<Top>)>;

impl Work<'_> {
    /// Threads that the work is long enough for.
    fn threads(&self) -> usize {
        let together = (self.queries.len() / QUERIES_A_PASS + 1) as f64;
        let numbers = self.plain.iter().map(|(number, rows)| {
            let dimension = self.snapshot.parts[*number].source.dimension();
            rows.len() as f64 * dimension as f64 * together
        });
        let exact = (numbers.sum::<f64>() / NUMBERS_A_THREAD) as usize;
        let indexed = if self.indexed.is_empty() {
            0
        } else {
            self.queries.len() / QUERIES_A_THREAD
        };
        (exact + indexed).max(1)
    }

    /// All that is to be done, in parts for so many threads.
    fn tasks(&self, threads: usize) -> Vec<Task> {
        let mut tasks = Vec::new();
        if !self.indexed.is_empty() {
            let all = self.queries.len();
            let few = all.div_ceil(threads).clamp(1, QUERIES_TOGETHER);
            let firsts = (0..all).step_by(few);
            tasks.extend(firsts.map(|first| Task::Indexes(first..all.min(first + few))));
        }
        // Each part finds its own best rows, and until it has some it compares whatever comes: with many
        // queries one part for each thread is enough; with few, parts are so long that a thread which
        // rests would keep the others waiting.
        let most = match threads as u32 {
            1 => 1,
            threads if self.queries.len() >= QUERIES_MIN => threads,
            threads => 4 * threads,
        };
        for (at, (number, rows)) in self.plain.iter().enumerate() {
            let source = &self.snapshot.parts[*number].source;
            let ranges = pieces(*rows, source.rows(), source.dimension(), most);
            tasks.extend(ranges.into_iter().map(|within| Task::Rows(at, within)));
        }
        tasks
    }

    /// Does `task` while `go_on` says so.
    fn do_task(&self, task: Task, go_on: &dyn Fn() -> bool) -> Result<Done> {
        match task {
            Task::Indexes(queries) => {
                let mut tops = self.tops(queries.len());
                let few = &self.queries[queries.clone()];
                let sound = search_indexes(&self.indexed, few, &mut tops, go_on)?;
                Ok(sound.then_some((queries.start, tops)))
            }
            Task::Rows(at, within) => {
                let mut tops = self.tops(self.queries.len());
                let (number, rows) = self.plain[at];
                let source = &self.snapshot.parts[number].source;
                let rows = (rows, within);
                nearest_in_source(source, number, self.queries, rows, &mut tops, go_on)?;
                Ok(Some((0, tops)))
            }
        }
    }

    fn tops(&self, count: usize) -> Vec<Top> {
        (0..count).map(|_| Top::new(self.count)).collect()
    }
}

/// Offers the rows that the indexes find to the `tops` of `queries`; `false` where one is damaged.
fn search_indexes(
    indexed: &[Indexed<'_>],
    queries: &[QueryVector<'_>],
    tops: &mut [Top],
    go_on: &dyn Fn() -> bool,
) -> Result<bool> {
    let depth = indexed.iter().map(|one| one.effort.depth()).max();
    let depth = depth.unwrap_or(0);
    let mut bests: Vec<Best> = queries.iter().map(|_| Best::new(depth)).collect();
    for (at, one) in (0..).zip(indexed) {
        for (query, best) in queries.iter().zip(&mut bests) {
            if !go_on() {
                return Err(asker::gone());
            }
            let mask = one.mask.as_deref();
            let found = (one.index).search_into(query.values, &one.effort, mask, at, best);
            if one.file.unless_damaged(found)?.is_none() {
                return Ok(false);
            }
        }
    }
    let ask_for = |best: &Best| -> Result<()> {
        for (at, row) in best.rows() {
            indexed[at as usize].part.source.prefetch_vector(row)?;
        }
        Ok(())
    };
    bests.first().map_or(Ok(()), ask_for)?;
    for (number, ((query, top), best)) in queries.iter().zip(tops).zip(&bests).enumerate() {
        bests.get(number + 1).map_or(Ok(()), ask_for)?;
        for (at, row) in best.rows() {
            let one = &indexed[at as usize];
            offer_row(one, row, query, top)?;
        }
    }
    Ok(true)
}

/// Offers a row to the best of a query.
fn offer_row(one: &Indexed<'_>, row: u32, query: &QueryVector<'_>, top: &mut Top) -> Result<()> {
    let source = &one.part.source;
    let distance = source.with_vector(row, |vector| {
        let (mut distance, mut norm) = ([0.0], [0.0]);
        query.distances(vector, &mut distance, &mut norm, false);
        distance[0]
    })?;
    if top.admits(distance) {
        let part = one.number;
        top.offer(Candidate {
            distance,
            birth: source.births()?[row as usize],
            location: Location { part, row },
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_are_all_queries_once_and_none_takes_more_room_than_the_largest() {
        for (queries, count) in [
            (0, 1),
            (1, 0),
            (40, u32::MAX),
            (5000, 1),
            (3000, 10_000),
            (1_000_000, 4),
        ] {
            let mut next = 0;
            for wave in waves(queries, count) {
                assert_eq!(wave.start, next);
                assert!(wave.len() <= QUERIES_A_WAVE);
                let found = wave.len() as u64 * u64::from(count);
                assert!(found <= FOUND_A_WAVE as u64 || wave.len() <= QUERIES_MIN);
                next = wave.end;
            }
            assert_eq!(next, queries);
        }
    }
}
