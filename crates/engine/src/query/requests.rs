//! What can be asked of a snapshot.

use super::fetch::fetch;
use super::nearest::nearest;
use super::order::{Window, ordered};
use super::plan::{self, Missing, choose};
use super::{FOUND_MAX, Location, Snapshot, expect_finite};
use crate::asker;
use crate::model::{Fetched, GetRequest, Nearest, QueryRequest, Recall, RecordSelection};
use crate::{Error, Result};

/// Bytes that the answer to a query takes besides what is in it: its columns, each with room of its own.
const QUERY_BYTES: usize = size_of::<Nearest>() + 128;

/// Finds the live record `id`.
pub fn find(snapshot: &Snapshot, id: &str) -> Result<Option<Location>> {
    plan::find(snapshot, id)
}

/// Records in `get` order. Ids that do not exist are passed over.
pub fn get(snapshot: &Snapshot, request: &GetRequest) -> Result<Fetched> {
    let window = Window {
        offset: request.offset as usize,
        limit: request.limit.map_or(usize::MAX, |limit| limit as usize),
    };
    let chosen = choose(snapshot, &request.selection, Missing::Skipped)?;
    fetch(
        snapshot,
        &ordered(snapshot, &chosen, window)?,
        request.include,
    )
}

/// How many live records a selection means.
pub fn count(snapshot: &Snapshot, selection: &RecordSelection) -> Result<u64> {
    let chosen = choose(snapshot, selection, Missing::Skipped)?;
    Ok(chosen.len(snapshot))
}

/// The live records that a selection means, in `get` order, at most `limit` of them.
pub fn select(
    snapshot: &Snapshot,
    selection: &RecordSelection,
    limit: Option<u32>,
) -> Result<Vec<Location>> {
    let limit = limit.map_or(usize::MAX, |limit| limit as usize);
    let chosen = choose(snapshot, selection, Missing::Skipped)?;
    ordered(snapshot, &chosen, Window { offset: 0, limit })
}

/// The nearest records to each query vector. Ids of the selection must exist, except in a
/// collection that never had a record: that one answers anything with nothing. `recall` says how
/// many of the nearest should be found; the request's own is the caller's matter.
pub fn query(snapshot: &Snapshot, request: &QueryRequest, recall: Recall) -> Result<Vec<Nearest>> {
    let queries = &request.embeddings;
    if !queries.all_present() {
        return Err(Error::invalid("Each query needs an embedding"));
    }
    expect_finite(queries.values())?;
    if queries.is_empty() {
        return Ok(Vec::new());
    }
    let take_room = || asker::take(queries.len().saturating_mul(QUERY_BYTES));
    let selection = &request.selection;
    let Some(dimension) = snapshot.dimension else {
        if let Some(filter) = &selection.filter {
            plan::check_schema(&snapshot.schema, filter)?;
        }
        take_room()?;
        let nothing = Nearest {
            records: fetch(snapshot, &[], request.include)?,
            distances: Vec::new(),
        };
        return Ok(vec![nothing; queries.len()]);
    };
    if queries.dimension() != dimension as usize {
        return Err(Error::wrong_dimension(dimension, queries.dimension()));
    }
    let chosen = choose(snapshot, selection, Missing::Refused)?;
    let count = u32::try_from(chosen.len(snapshot))
        .unwrap_or(u32::MAX)
        .min(request.n_results);
    let together = u64::from(count) * queries.len() as u64;
    if together > FOUND_MAX {
        return Err(Error::invalid(format!(
            "The {} queries of the request may find {together} records together; at most {FOUND_MAX} are \
             allowed. Lower n_results, or make fewer queries at a time.",
            queries.len()
        )));
    }
    take_room()?;
    let mut answers = Vec::with_capacity(queries.len());
    nearest(snapshot, queries, &chosen, (count, recall), |nearest| {
        let locations: Vec<Location> = nearest.iter().map(|found| found.location).collect();
        answers.push(Nearest {
            records: fetch(snapshot, &locations, request.include)?,
            distances: nearest.iter().map(|found| found.distance).collect(),
        });
        Ok(())
    })?;
    Ok(answers)
}
