//! Which rows a selection means.
//!
//! What must stay true: chosen rows are alive; ids are looked up, never searched for; a document
//! is read only where every cheaper test has left its row open; a filter on what the schema does
//! not index is refused before any row is read.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

use super::normal::normal;
use super::{Location, Part, Snapshot};
use crate::model::{Comparison, Filter, Number, RecordSelection, Scalar, Schema, ValueKind};
use crate::segments::{Filtered, HashedId, RowSet, Source};
use crate::{Error, Result, asker};

/// The rows that a selection means.
pub(super) enum Chosen {
    /// Every live row.
    Everything,
    /// These live rows of each part.
    Sets(Vec<Passed>),
    /// These, each once, by part and row.
    Listed(Vec<Location>),
}

/// The live rows of a part that pass a filter.
pub(super) enum Passed {
    /// As they were found.
    Found(RowSet),
    /// As they are known: those of `all` that are not `dead`.
    Known {
        all: Arc<Filtered>,
        dead: Arc<RoaringBitmap>,
        /// Made where somebody asks for them.
        alive: OnceLock<RowSet>,
    },
}

impl Passed {
    /// How many they are at most.
    pub(super) fn at_most(&self) -> u32 {
        match self {
            Self::Found(rows) => rows.len(),
            Self::Known { all, .. } => all.count(),
        }
    }
}

impl Deref for Passed {
    type Target = RowSet;

    fn deref(&self) -> &RowSet {
        match self {
            Self::Found(rows) => rows,
            Self::Known { all, dead, .. } if dead.is_empty() => all.rows(),
            Self::Known { all, dead, alive } => {
                alive.get_or_init(|| without(all.rows().clone(), dead))
            }
        }
    }
}

impl Chosen {
    /// How many rows of `snapshot` they are.
    pub(super) fn len(&self, snapshot: &Snapshot) -> u64 {
        match self {
            Self::Everything => snapshot.count,
            Self::Sets(sets) => sets.iter().map(|set| u64::from(set.len())).sum(),
            Self::Listed(locations) => locations.len() as u64,
        }
    }
}

/// Those of `locations`, which ascend, that are in the part numbered `part`.
pub(super) fn in_part(locations: &[Location], part: usize) -> &[Location] {
    let first = locations.partition_point(|location| location.part < part);
    let end = locations.partition_point(|location| location.part <= part);
    &locations[first..end]
}

/// What is to happen where an id of a selection is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is passed over.
    Skipped,
    /// The request fails.
    Refused,
}

/// The rows of `snapshot` that `selection` means.
pub(super) fn choose(
    snapshot: &Snapshot,
    selection: &RecordSelection,
    missing: Missing,
) -> Result<Chosen> {
    let filter = selection.filter.as_ref();
    if let Some(filter) = filter {
        check_schema(&snapshot.schema, filter)?;
    }
    let filter = filter.map(normal);
    match (&selection.ids, filter) {
        (None, None) => Ok(Chosen::Everything),
        (None, Some(filter)) => {
            let sets = snapshot.parts.iter().map(|part| {
                asker::still_waits()?;
                passed(&filter, part)
            });
            Ok(Chosen::Sets(sets.collect::<Result<_>>()?))
        }
        (Some(ids), None) => Ok(Chosen::Listed(located(snapshot, ids, missing)?)),
        (Some(ids), Some(filter)) => {
            // As in Chroma: what a filter is asked about need not be there.
            let candidates = located(snapshot, ids, Missing::Skipped)?;
            let mut chosen = Vec::with_capacity(candidates.len());
            for candidates in candidates.chunk_by(|a, b| a.part == b.part) {
                let number = candidates[0].part;
                let part = &snapshot.parts[number];
                let mut among = RowSet::none(part.source.rows());
                candidates
                    .iter()
                    .for_each(|candidate| among.insert(candidate.row));
                let passing = passing(&filter, part, among)?;
                chosen.extend(passing.iter().map(|row| Location { part: number, row }));
            }
            Ok(Chosen::Listed(chosen))
        }
    }
}

/// Finds the live record `id`.
pub(super) fn find(snapshot: &Snapshot, id: &str) -> Result<Option<Location>> {
    // The newest parts are the likeliest to hold it, and the rest hold dead rows of it at most.
    let id = HashedId::new(id);
    for (number, part) in snapshot.parts.iter().enumerate().rev() {
        if let Some(row) = part.source.find_hashed(id)?
            && !part.dead.contains(row)
        {
            return Ok(Some(Location { part: number, row }));
        }
    }
    Ok(None)
}

/// Where the records `ids` are, each once, by part and row.
fn located(snapshot: &Snapshot, ids: &[String], missing: Missing) -> Result<Vec<Location>> {
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        match find(snapshot, id)? {
            Some(location) => found.push(location),
            None if missing == Missing::Skipped => {}
            None => {
                return Err(Error::not_found(format!(
                    "Error finding id: the collection has no record `{id}`"
                )));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The live rows of a part.
pub(super) fn live(part: &Part) -> RowSet {
    without(RowSet::all(part.source.rows()), &part.dead)
}

fn without(mut rows: RowSet, dead: &RoaringBitmap) -> RowSet {
    let dead = dead.range(..rows.rows());
    dead.for_each(|row| rows.remove(row));
    rows
}

/// The live rows of `part` that pass `filter`, which is in normal form.
fn passed(filter: &Filter, part: &Part) -> Result<Passed> {
    let find = || passing(filter, part, RowSet::all(part.source.rows()));
    let known = part
        .source
        .filters()
        .map(|cache| cache.passed(filter, find));
    Ok(match known.transpose()?.flatten() {
        Some(all) => Passed::Known {
            all,
            dead: part.dead.clone(),
            alive: OnceLock::new(),
        },
        None => Passed::Found(passing(filter, part, live(part))?),
    })
}

/// Those `among` the rows of `part` that pass `filter`, which is in normal form.
fn passing(filter: &Filter, part: &Part, mut among: RowSet) -> Result<RowSet> {
    let source = &part.source;
    if among.is_empty() {
        return Ok(among);
    }
    asker::still_waits()?;
    match filter {
        Filter::And(members) => {
            for member in members {
                among = passing(member, part, among)?;
            }
        }
        Filter::Or(members) => {
            let mut passed = RowSet::none(among.rows());
            for member in members {
                let more = passing(member, part, among.clone())?;
                among.subtract(&more);
                passed.unite(&more);
                if among.is_empty() {
                    break;
                }
            }
            among = passed;
        }
        Filter::Metadata { key, comparison } => {
            let mut matching = RowSet::none(among.rows());
            source.matching(key, comparison, &mut matching)?;
            among.intersect(&matching);
        }
        Filter::Document(test) => source.retain_documents(test, &mut among)?,
        Filter::Id { ids, negated } => {
            let named = rows_of(source, ids)?;
            if *negated {
                among.subtract(&named);
            } else {
                among.intersect(&named);
            }
        }
    }
    Ok(among)
}

fn rows_of(source: &Source, ids: &[String]) -> Result<RowSet> {
    let mut rows = RowSet::none(source.rows());
    for id in ids {
        if let Some(row) = source.find(id)? {
            rows.insert(row);
        }
    }
    Ok(rows)
}

/// Fails where `filter` tests what `schema` does not index.
pub(super) fn check_schema(schema: &Schema, filter: &Filter) -> Result<()> {
    match filter {
        Filter::And(members) | Filter::Or(members) => members
            .iter()
            .try_for_each(|member| check_schema(schema, member)),
        Filter::Id { .. } => Ok(()),
        Filter::Document(_) if schema.documents_filterable() => Ok(()),
        Filter::Document(_) => Err(Error::invalid(
            "Cannot filter using full-text search because FTS indexing is disabled",
        )),
        Filter::Metadata { key, comparison } => {
            kinds(comparison).try_for_each(|kind| check_key(schema, key, kind))
        }
    }
}

fn check_key(schema: &Schema, key: &str, kind: ValueKind) -> Result<()> {
    if schema.is_filterable(key, kind) {
        return Ok(());
    }
    let name = match kind {
        ValueKind::Bool => "Bool",
        ValueKind::Int => "Int",
        ValueKind::Float => "Float",
        ValueKind::Str => "Str",
        ValueKind::Sparse => "SparseVector",
    };
    Err(Error::invalid(format!(
        "Cannot filter using metadata key '{key}' with type '{name}' because indexing is disabled"
    )))
}

/// The kinds of the operands of a comparison, each at least once.
fn kinds(comparison: &Comparison) -> impl Iterator<Item = ValueKind> {
    let of_scalar = |scalar: &Scalar| match scalar {
        Scalar::Bool(_) => ValueKind::Bool,
        Scalar::Int(_) => ValueKind::Int,
        Scalar::Float(_) => ValueKind::Float,
        Scalar::Str(_) => ValueKind::Str,
    };
    let (one, many): (Option<ValueKind>, &[Scalar]) = match comparison {
        Comparison::Equal(scalar)
        | Comparison::NotEqual(scalar)
        | Comparison::Contains(scalar)
        | Comparison::NotContains(scalar) => (Some(of_scalar(scalar)), &[]),
        Comparison::Greater(number)
        | Comparison::GreaterOrEqual(number)
        | Comparison::Less(number)
        | Comparison::LessOrEqual(number) => match number {
            Number::Int(_) => (Some(ValueKind::Int), &[]),
            Number::Float(_) => (Some(ValueKind::Float), &[]),
        },
        Comparison::In(scalars) | Comparison::NotIn(scalars) => (None, scalars),
    };
    let mut last = None;
    let many = many
        .iter()
        .map(of_scalar)
        .filter(move |kind| last.replace(*kind) != Some(*kind));
    one.into_iter().chain(many)
}
