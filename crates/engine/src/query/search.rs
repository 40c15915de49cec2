//! Ranked searches of one snapshot, several at a time.
//!
//! What must stay true: a filter that several searches share is planned once, and dense vectors
//! with the same filter and limit are searched for in one go; neither changes an answer. Ranked
//! records ascend by their score as it is answered, then by their first insertion; what is no finite
//! number comes after every number. What all expressions may find together is bounded before anything is
//! searched for.

use std::cmp::Ordering;

use super::fetch::fetch;
use super::nearest::nearest;
use super::order::{Window, ordered};
use super::plan::{Chosen, Missing, choose};
use super::rank::{Scores, evaluate, knns};
use super::sparse::{nearest_sparse, settings_of};
use super::top::Candidate;
use super::{FOUND_MAX, Location, Snapshot, expect_finite, group};
use crate::model::{
    EMBEDDING_KEY, Embeddings, Filter, Found, Include, Knn, KnnQuery, Rank, Recall,
    RecordSelection, Search, SelectMetadata, SparseVector,
};
use crate::{Error, Result};

/// A record with its score.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranked {
    /// Its score.
    pub(super) score: f32,
    /// SeqId of its first insertion.
    pub(super) birth: u64,
    /// Where it is.
    pub(super) location: Location,
}

impl Ranked {
    /// The order of scores alone.
    pub(super) fn by_score(&self, other: &Self) -> Ordering {
        let (own, others) = (self.score, other.score);
        match (own.is_finite(), others.is_finite()) {
            (true, true) => own.partial_cmp(&others).unwrap_or(Ordering::Equal),
            (own, others) => others.cmp(&own),
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        self.by_score(other)
            .then(self.birth.cmp(&other.birth))
            .then(self.location.cmp(&other.location))
    }
}

/// Answers each of `searches`. `recall` says how many of the nearest should be found.
pub fn search(snapshot: &Snapshot, searches: &[Search], recall: Recall) -> Result<Vec<Found>> {
    for search in searches {
        if let Some(rank) = &search.rank {
            check(snapshot, rank)?;
        }
    }
    let (filters, filter_of) = distinct_filters(searches);
    let chosen: Vec<Chosen> = filters
        .into_iter()
        .map(|filter| {
            let filter = filter.cloned();
            choose(
                snapshot,
                &RecordSelection { ids: None, filter },
                Missing::Skipped,
            )
        })
        .collect::<Result<_>>()?;
    let wanted: Vec<Wanted<'_>> = searches
        .iter()
        .zip(&filter_of)
        .flat_map(|(search, &filter)| {
            let knns = search.rank.iter().flat_map(knns);
            knns.map(move |knn| Wanted { knn, filter })
        })
        .collect();
    let mut nearest = find(snapshot, &wanted, &chosen, recall)?.into_iter();
    let answers = searches.iter().zip(&filter_of).map(|(search, &filter)| {
        let scores = search
            .rank
            .as_ref()
            .map(|rank| evaluate(rank, &mut nearest));
        answer(snapshot, search, &chosen[filter], scores)
    });
    answers.collect()
}

/// The filters that differ, and for each search the number of its own among them.
fn distinct_filters(searches: &[Search]) -> (Vec<Option<&Filter>>, Vec<usize>) {
    let (mut filters, mut filter_of) = (Vec::new(), Vec::with_capacity(searches.len()));
    for search in searches {
        let filter = search.filter.as_ref();
        let known = filters.iter().position(|known| *known == filter);
        filter_of.push(known.unwrap_or(filters.len()));
        if known.is_none() {
            filters.push(filter);
        }
    }
    (filters, filter_of)
}

/// Fails where `rank` asks for what the collection has not.
fn check(snapshot: &Snapshot, rank: &Rank) -> Result<()> {
    for knn in knns(rank) {
        let (KnnQuery::Dense(values) | KnnQuery::Sparse(SparseVector { values, .. })) = &knn.query;
        expect_finite(values)?;
        match &knn.query {
            KnnQuery::Dense(_) if knn.key != EMBEDDING_KEY => {
                return Err(Error::invalid(format!(
                    "$knn with a dense vector searches {EMBEDDING_KEY}; the metadata key '{}' can \
                     be searched with a sparse vector",
                    knn.key
                )));
            }
            KnnQuery::Sparse(_) if knn.key == EMBEDDING_KEY => {
                return Err(Error::invalid(format!(
                    "$knn with a sparse vector searches a metadata key; {EMBEDDING_KEY} is \
                     searched with a dense vector"
                )));
            }
            KnnQuery::Sparse(_) => {
                settings_of(snapshot, &knn.key)?;
            }
            KnnQuery::Dense(query) => {
                if let Some(expected) = snapshot.dimension
                    && expected as usize != query.len()
                {
                    return Err(Error::wrong_dimension(expected, query.len()));
                }
            }
        }
    }
    Ok(())
}

/// One `$knn` of a request, and the number of its filter.
struct Wanted<'a> {
    knn: &'a Knn,
    filter: usize,
}

/// What each of `wanted` finds, nearest first.
fn find(
    snapshot: &Snapshot,
    wanted: &[Wanted<'_>],
    chosen: &[Chosen],
    recall: Recall,
) -> Result<Vec<Vec<Candidate>>> {
    let sizes: Vec<u64> = chosen.iter().map(|chosen| chosen.len(snapshot)).collect();
    let counts: Vec<u32> = wanted
        .iter()
        .map(|one| u64::from(one.knn.limit).min(sizes[one.filter]) as u32)
        .collect();
    let together: u64 = counts.iter().map(|&count| u64::from(count)).sum();
    if together > FOUND_MAX {
        return Err(Error::invalid(format!(
            "The $knn of the request may find {together} records together; at most {FOUND_MAX} are \
             allowed. Lower their limits, or make fewer searches at a time."
        )));
    }
    let mut found = vec![Vec::new(); wanted.len()];
    let mut dense = Vec::new();
    for (at, one) in wanted.iter().enumerate() {
        match &one.knn.query {
            KnnQuery::Sparse(query) => {
                let (chosen, key) = (&chosen[one.filter], &one.knn.key);
                found[at] = nearest_sparse(snapshot, query, key, chosen, counts[at])?;
            }
            KnnQuery::Dense(query) => dense.push((one.filter, counts[at], at, query)),
        }
    }
    dense.sort_unstable_by_key(|&(filter, count, at, _)| (filter, count, at));
    for batch in dense.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        let (filter, count, _, first) = batch[0];
        let values: Vec<f32> = batch
            .iter()
            .flat_map(|(.., query)| *query)
            .copied()
            .collect();
        // A collection without records takes vectors of any dimension, and finds nothing.
        if count == 0 {
            continue;
        }
        let queries = Embeddings::new(first.len(), values)
            .ok_or_else(|| Error::internal("vectors of one dimension make no column"))?;
        let mut places = batch.iter().map(|(_, _, at, _)| *at);
        nearest(
            snapshot,
            &queries,
            &chosen[filter],
            (count, recall),
            |nearest| {
                if let Some(at) = places.next() {
                    found[at] = nearest;
                }
                Ok(())
            },
        )?;
    }
    Ok(found)
}

fn answer(
    snapshot: &Snapshot,
    search: &Search,
    chosen: &Chosen,
    scores: Option<Scores>,
) -> Result<Found> {
    let window = Window {
        offset: search.offset as usize,
        limit: search.limit.map_or(usize::MAX, |limit| limit as usize),
    };
    let select = &search.select;
    let include = Include {
        documents: select.documents,
        metadatas: select.metadata != SelectMetadata::Nothing,
        embeddings: select.embeddings,
        ..Include::default()
    };
    let Some(scores) = scores else {
        if search.group_by.is_some() {
            return Err(Error::invalid("group_by needs a rank"));
        }
        let records = fetch(snapshot, &ordered(snapshot, chosen, window)?, include)?;
        return Ok(Found {
            records,
            scores: None,
        });
    };
    let ranked = page(snapshot, search, scores, window)?;
    let locations: Vec<Location> = ranked.iter().map(|record| record.location).collect();
    Ok(Found {
        records: fetch(snapshot, &locations, include)?,
        scores: Some(ranked.iter().map(|record| record.score).collect()),
    })
}

/// The records of `scores` that `window` shows, best first.
fn page(
    snapshot: &Snapshot,
    search: &Search,
    scores: Scores,
    window: Window,
) -> Result<Vec<Ranked>> {
    let mut ranked = Vec::with_capacity(scores.entries.len());
    for (location, score) in scores.entries {
        let births = snapshot.parts[location.part].source.births()?;
        ranked.push(Ranked {
            score: score as f32,
            birth: births[location.row as usize],
            location,
        });
    }
    let end = window.offset.saturating_add(window.limit);
    if search.group_by.is_none() && end < ranked.len() {
        ranked.select_nth_unstable_by(end, Ranked::order);
        ranked.truncate(end);
    }
    ranked.sort_unstable_by(Ranked::order);
    if let Some(group_by) = &search.group_by {
        ranked = group::keep(snapshot, ranked, group_by)?;
    }
    ranked.truncate(end);
    ranked.drain(..window.offset.min(ranked.len()));
    Ok(ranked)
}
