//! The nearest records to a sparse vector: from the index of a source's vectors, or one by one.
//!
//! What must stay true: the distance of a record is 1 less the products of the values in the
//! dimensions that both vectors have, added in ascending order of the dimensions in `f64`, and then
//! rounded; a record that has none of the query's dimensions is not found at all. An index changes
//! no answer; one that turns out to be damaged is set aside.

use std::borrow::Cow;

use super::plan::{Chosen, live};
use super::top::{Candidate, Top};
use super::{Location, Part, Snapshot};
use crate::model::{SparseSettings, SparseVector};
use crate::segments::RowSet;
use crate::segments::sparse::KeyIndex;
use crate::{Error, Result};

/// Dead rows are looked up among a dimension's rows where they are so many times fewer, and else
/// the other way round.
const LOOK_UP_FACTOR: u64 = 16;

/// The nearest of the rows that are `chosen`, at most `count`, nearest first.
pub(super) fn nearest_sparse(
    snapshot: &Snapshot,
    query: &SparseVector,
    key: &str,
    chosen: &Chosen,
    count: u32,
) -> Result<Vec<Candidate>> {
    let settings = settings_of(snapshot, key)?;
    if count == 0 || query.indices.is_empty() {
        return Ok(Vec::new());
    }
    let weights = query.values.iter().map(|&value| f64::from(value));
    let mut terms: Vec<(u32, f64)> = query.indices.iter().copied().zip(weights).collect();
    if settings.bm25 == Some(true) {
        for ((_, weight), having) in terms.iter_mut().zip(having(snapshot, query, key)?) {
            *weight *= rarity(snapshot.count, having);
        }
    }
    let mut top = Top::new(count as usize);
    for (number, part) in snapshot.parts.iter().enumerate() {
        let among: Cow<'_, RowSet> = match chosen {
            Chosen::Everything => Cow::Owned(live(part)),
            Chosen::Sets(sets) => Cow::Borrowed(&*sets[number]),
            Chosen::Listed(locations) => {
                let mut rows = RowSet::none(part.source.rows());
                let here = locations.iter().filter(|location| location.part == number);
                here.for_each(|location| rows.insert(location.row));
                Cow::Owned(rows)
            }
        };
        offer_part(part, number, &terms, key, &among, &mut top)?;
    }
    Ok(top.into_sorted())
}

/// Fails where sparse vectors under `key` are not indexed.
pub(super) fn settings_of<'a>(snapshot: &'a Snapshot, key: &str) -> Result<&'a SparseSettings> {
    snapshot.schema.sparse_index(key).ok_or_else(|| {
        Error::invalid(format!(
            "Cannot rank by metadata key '{key}' with type 'SparseVector' because indexing is \
             disabled; enable the sparse vector index of the key in the schema of the collection"
        ))
    })
}

/// Offers the rows of `part` that are `among` those that may answer to `top`.
fn offer_part(
    part: &Part,
    number: usize,
    terms: &[(u32, f64)],
    key: &str,
    among: &RowSet,
    top: &mut Top,
) -> Result<()> {
    if among.is_empty() {
        return Ok(());
    }
    let births = part.source.births()?;
    let offer = |top: &mut Top, row: u32, sum: f64| {
        let distance = distance_of(sum);
        if top.admits(distance) {
            top.offer(Candidate {
                distance,
                birth: births[row as usize],
                location: Location { part: number, row },
            });
        }
        least_sum(top)
    };
    // What an index offered before damage was found must not be offered again.
    let mut tried = top.clone();
    let found = with_index(part, key, |index| {
        let least = least_sum(&tried);
        index.search(terms, among, least, &mut |row, sum| {
            offer(&mut tried, row, sum)
        })
    })?;
    if found.is_some() {
        *top = tried;
        return Ok(());
    }
    for row in among.iter() {
        if let Some(vector) = part.source.sparse(row, key)?
            && let Some(sum) = product(terms, &vector)
        {
            offer(top, row, sum);
        }
    }
    Ok(())
}

/// What `ask` answers of the index of the vectors under `key`; `None` where there is no sound one.
fn with_index<T>(
    part: &Part,
    key: &str,
    ask: impl FnOnce(KeyIndex<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let file = part.source.sparse_index();
    let Some((file, index)) = file.and_then(|file| Some((file, file.index()?.key(key)?))) else {
        return Ok(None);
    };
    file.unless_damaged(ask(index))
}

/// How many live records have each dimension of `query`.
fn having(snapshot: &Snapshot, query: &SparseVector, key: &str) -> Result<Vec<u64>> {
    let mut having = vec![0; query.indices.len()];
    for part in &snapshot.parts {
        let counted = with_index(part, key, |index| {
            let counts = query.indices.iter().map(|&dimension| {
                let rows = index.rows_with(dimension)?;
                let looked_up = part.dead.len() * LOOK_UP_FACTOR < rows.len() as u64;
                let dead = if looked_up {
                    let is_there = |row: &u32| rows.binary_search(row).is_ok();
                    part.dead.iter().filter(is_there).count()
                } else {
                    rows.iter().filter(|row| part.dead.contains(**row)).count()
                };
                Ok((rows.len() - dead) as u64)
            });
            counts.collect::<Result<Vec<u64>>>()
        })?;
        if let Some(counted) = counted {
            let both = having.iter_mut().zip(counted);
            both.for_each(|(having, counted)| *having += counted);
            continue;
        }
        for row in live(part).iter() {
            let Some(vector) = part.source.sparse(row, key)? else {
                continue;
            };
            for (having, index) in having.iter_mut().zip(&query.indices) {
                *having += u64::from(vector.indices.binary_search(index).is_ok());
            }
        }
    }
    Ok(having)
}

/// The sum of the products of `terms` with `vector`; `None` where it has none of the dimensions.
fn product(terms: &[(u32, f64)], vector: &SparseVector) -> Option<f64> {
    let (mut sum, mut from) = (None, 0);
    for (dimension, weight) in terms {
        from += vector.indices[from..].partition_point(|other| other < dimension);
        if vector.indices.get(from) == Some(dimension) {
            let product = weight * f64::from(vector.values[from]);
            sum = Some(sum.map_or(product, |sum: f64| sum + product));
        }
    }
    sum
}

/// The distance of a record whose products come to `sum`.
fn distance_of(sum: f64) -> f32 {
    (1.0 - sum).clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

/// A sum below which no record can be among the best any more, however its distance is rounded.
fn least_sum(top: &Top) -> f64 {
    let worst = top.worst().map(f32::next_up);
    worst.map_or(f64::NEG_INFINITY, |worst| 1.0 - f64::from(worst))
}

/// How much a dimension tells that `having` of `records` records have: Robertson's weight, never
/// below zero.
fn rarity(records: u64, having: u64) -> f64 {
    let (records, having) = (records as f64, having as f64);
    (1.0 + (records - having + 0.5) / (having + 0.5)).ln()
}
