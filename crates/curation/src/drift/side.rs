//! The records of one side of a comparison.
//!
//! What must stay true: a sample holds the records whose ids have the lowest hashes, so that it is even,
//! and the same in every run.

use vermilion_engine::model::{MetadataColumn, Value};
use vermilion_scores::{DriftBucket, FEATURES, Matrix, Observed, RandomFeatures, Signals};

use crate::accuracy::Correctness;
use crate::desk::{Row, State, number_of, places};
use crate::fields;
use crate::spaces::Space;
use crate::{Curation, Result};

/// Records that are read at once.
const PAGE: usize = 500;

/// A record of a side.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(super) id: String,
    pub(super) observed_at: f64,
    pub(super) class: Option<u32>,
    /// A number that stands for the name of its group.
    pub(super) group: Option<u64>,
    pub(super) trouble: Option<f64>,
    pub(super) signals: Option<Signals>,
    /// Whether the model was right, where a label says so.
    pub(super) is_right: Option<bool>,
    /// Texts, truths and numbers of its own metadata.
    pub(super) cells: Vec<(String, Value)>,
}

/// A side: how many records it has, and those that were read.
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// Records of it, read or not.
    pub(crate) records: usize,
    pub(crate) members: Vec<Member>,
    /// Vectors of the members, one after the other.
    pub(super) vectors: Vec<f32>,
    pub(crate) dimension: usize,
}

impl Side {
    /// The records that `is_of_it` picks, or an even sample of at most so many, without their vectors.
    pub(crate) fn of(state: &mut State, most: usize, is_of_it: impl Fn(&Row) -> bool) -> Self {
        let percentiles = state.percentiles();
        let rows = state.rows.iter().filter(|(_, row)| is_of_it(row));
        let mut picked: Vec<(u64, &String, &Row)> =
            rows.map(|(id, row)| (number_of(id), id, row)).collect();
        let records = picked.len();
        if records > most {
            picked.select_nth_unstable_by_key(most, |one| (one.0, one.1));
            picked.truncate(most);
        }
        picked.sort_by_key(|one| one.1);
        let members = picked.into_iter().map(|(_, id, row)| {
            let trouble = row
                .signals
                .and_then(|signals| percentiles.trouble(&signals).value);
            Member {
                id: id.clone(),
                observed_at: row.observed_at,
                class: row.class().or(row.label),
                // Numbers of groups are in the order in which they came; deals are not to depend on that.
                group: row.group.map(|group| number_of(state.groups.name(group))),
                trouble,
                signals: row.signals,
                is_right: row
                    .label
                    .zip(row.class())
                    .map(|(label, class)| label == class),
                cells: Vec::new(),
            }
        });
        Self {
            records,
            members: members.collect(),
            ..Self::default()
        }
    }

    /// The vectors as rows.
    pub(crate) fn rows(&self) -> Matrix<'_> {
        Matrix::new(&self.vectors, self.dimension.max(1))
    }

    /// A summary of the members at `places`, that samples at most `capacity` of them. `own` are the
    /// features of all members.
    pub(crate) fn bucket(
        &self,
        places: impl Iterator<Item = usize>,
        own: &[f32],
        correctness: Option<&Correctness>,
        capacity: usize,
    ) -> DriftBucket {
        let mut bucket = DriftBucket::new(capacity);
        for at in places {
            let member = &self.members[at];
            let is_new = |signals: &Signals| correctness.is_some_and(|known| known.is_new(signals));
            bucket.add(&Observed {
                id: number_of(&member.id),
                features: &own[at * FEATURES..(at + 1) * FEATURES],
                group: member.group,
                class: member.class,
                trouble: member.trouble,
                is_new: member.signals.as_ref().is_some_and(is_new),
            });
        }
        bucket
    }

    /// The features of all members.
    pub(crate) fn features(&self, features: &RandomFeatures) -> Vec<f32> {
        features.of(self.rows())
    }
}

impl Curation {
    /// Reads the vectors and the metadata of a side; records that are gone leave it.
    pub(crate) fn read_side(&self, space: &Space, side: &mut Side) -> Result<()> {
        let ids: Vec<String> = side.members.iter().map(|one| one.id.clone()).collect();
        let mut members = std::mem::take(&mut side.members).into_iter();
        for part in ids.chunks(PAGE) {
            let found = self.fetch(space, part)?;
            let vectors = found.embeddings.unwrap_or_default();
            let metadata = found.metadatas.as_ref();
            // The places first: where they end, no member is taken.
            for (at, mut member) in places(&found.ids, part).into_iter().zip(members.by_ref()) {
                let Some((at, vector)) = at.and_then(|at| Some((at, vectors.get(at)?))) else {
                    continue;
                };
                member.cells = metadata.map_or_else(Vec::new, |all| cells(all, at));
                side.dimension = vector.len();
                side.vectors.extend_from_slice(vector);
                side.members.push(member);
            }
        }
        Ok(())
    }
}

/// The cells of a record that are its user's own and can be compared.
fn cells(all: &MetadataColumn, at: usize) -> Vec<(String, Value)> {
    let comparable = |value: &Value| {
        matches!(
            value,
            Value::Str(_) | Value::Bool(_) | Value::Int(_) | Value::Float(_)
        )
    };
    let own = |key: &str| !fields::is_reserved(key) || key == fields::QUALITY_SCORE;
    all.row(at)
        .filter(|(key, value)| own(key) && comparable(value))
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect()
}
