//! The nearest records to a sparse vector.
//!
//! What must stay true: the distance of a record is 1 less the products of the values in the
//! dimensions that both vectors have, added in ascending order of the dimensions in `f64`, and then
//! rounded; a record that has none of the query's dimensions is not found at all.

use super::plan::{Chosen, live};
use super::top::{Candidate, Top};
use super::{Location, Snapshot};
use crate::model::{SparseSettings, SparseVector};
use crate::segments::RowSet;
use crate::{Error, Result};

/// The nearest of the rows that are `chosen`, at most `count`, nearest first.
pub(super) fn nearest_sparse(
    snapshot: &Snapshot,
    query: &SparseVector,
    key: &str,
    chosen: &Chosen,
    count: u32,
) -> Result<Vec<Candidate>> {
    let settings = settings_of(snapshot, key)?;
    let mut top = Top::new(count as usize);
    if count == 0 || query.indices.is_empty() {
        return Ok(Vec::new());
    }
    let query = Terms::of(query);
    let query = if settings.bm25 == Some(true) {
        query.weighted(snapshot, key)?
    } else {
        query
    };
    for (number, part) in snapshot.parts.iter().enumerate() {
        let among = match chosen {
            Chosen::Everything => live(part),
            Chosen::Sets(sets) => sets[number].clone(),
            Chosen::Listed(locations) => {
                let mut rows = RowSet::none(part.source.rows());
                let here = locations.iter().filter(|location| location.part == number);
                here.for_each(|location| rows.insert(location.row));
                rows
            }
        };
        let births = part.source.births()?;
        for row in among.iter() {
            let Some(vector) = part.source.sparse(row, key)? else {
                continue;
            };
            if let Some(distance) = query.distance(&vector)
                && top.admits(distance)
            {
                top.offer(Candidate {
                    distance,
                    birth: births[row as usize],
                    location: Location { part: number, row },
                });
            }
        }
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

/// The dimensions of a query, ascending, and the weight of each.
struct Terms {
    indices: Vec<u32>,
    weights: Vec<f64>,
}

impl Terms {
    fn of(query: &SparseVector) -> Self {
        Self {
            indices: query.indices.clone(),
            weights: query.values.iter().map(|&value| value.into()).collect(),
        }
    }

    /// The same, each weight multiplied by how rare its dimension is among the live records.
    fn weighted(mut self, snapshot: &Snapshot, key: &str) -> Result<Self> {
        let mut having = vec![0u64; self.indices.len()];
        for part in &snapshot.parts {
            for row in live(part).iter() {
                let Some(vector) = part.source.sparse(row, key)? else {
                    continue;
                };
                for (at, index) in self.indices.iter().enumerate() {
                    having[at] += u64::from(vector.indices.binary_search(index).is_ok());
                }
            }
        }
        for (weight, having) in self.weights.iter_mut().zip(having) {
            *weight *= rarity(snapshot.count, having);
        }
        Ok(self)
    }

    /// How far `vector` is; `None` where it has none of the dimensions.
    fn distance(&self, vector: &SparseVector) -> Option<f32> {
        let (mut sum, mut met) = (0.0, false);
        let mut from = 0;
        for (index, weight) in self.indices.iter().zip(&self.weights) {
            from += vector.indices[from..].partition_point(|other| other < index);
            if vector.indices.get(from) == Some(index) {
                sum += weight * f64::from(vector.values[from]);
                met = true;
            }
        }
        met.then(|| distance_of(sum))
    }
}

/// The distance of a record whose products come to `sum`.
fn distance_of(sum: f64) -> f32 {
    (1.0 - sum).clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

/// How much a dimension tells that `having` of `records` records have: Robertson's weight, never
/// below zero.
fn rarity(records: u64, having: u64) -> f64 {
    let (records, having) = (records as f64, having as f64);
    (1.0 + (records - having + 0.5) / (having + 0.5)).ln()
}
