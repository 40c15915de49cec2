//! The nearest records of vectors, as distances between vectors of length 1, and graphs of these; for who wants that,
//! as distances between vectors as they are.
//!
//! What must stay true: whoever asks gets the same neighbours, whatever the space compares vectors by and however
//! many are asked for; a record is no neighbour of itself; a graph names only records that its caller
//! knows, whatever is written meanwhile.

use std::cmp::Ordering;
use std::collections::HashMap;

use vermilion_engine::model::{
    Comparison, Consistency, Embeddings, Fetched, Filter, Include, QueryRequest, RecordSelection,
    Scalar, Space as Metric,
};

use vermilion_scores::{Graph, Matrix, VOTERS, scaled_distance};

use super::{CHUNK, Desk};
use crate::fields::{self, Context};
use crate::spaces::Space;
use crate::{Curation, Result};

/// A record near a vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Neighbour {
    pub(crate) id: String,
    /// In [0, 2].
    pub(crate) distance: f32,
}

impl Neighbour {
    /// The nearer one first, the lower id among equals.
    pub(super) fn order(a: &Self, b: &Self) -> Ordering {
        a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id))
    }
}

/// The neighbours of one vector, nearest first.
pub(crate) type Near = Vec<Neighbour>;

/// The training records that tell of a vector what it is.
pub(crate) struct NearTraining {
    /// Those in the nearest directions.
    pub(crate) near: Near,
    /// Those that are nearest as vectors are, in a space that compares them so.
    with_lengths: Option<Near>,
}

impl NearTraining {
    /// Those that vote on its class.
    pub(crate) fn voters(&self) -> &Near {
        self.with_lengths.as_ref().unwrap_or(&self.near)
    }

    /// The same without a record, `count` of each kind at most.
    pub(crate) fn but(mut self, id: Option<&String>, count: usize) -> Self {
        for near in [Some(&mut self.near), self.with_lengths.as_mut()]
            .into_iter()
            .flatten()
        {
            near.retain(|one| Some(&one.id) != id);
            near.truncate(count);
        }
        self
    }
}

/// Records that have this text under a key of their metadata.
pub(crate) fn having(key: &str, text: &str) -> Filter {
    Filter::Metadata {
        key: key.to_owned(),
        comparison: Comparison::Equal(Scalar::Str(text.to_owned())),
    }
}

/// Candidates that the index of a space is asked for at least that compares more than directions, where there are
/// too many records to compare all. They are the same for whoever asks for less.
const CANDIDATES: usize = 256;

/// What is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// What lies in the same direction, however long vectors are.
    Direction,
    /// What is near as vectors are. Only a space that compares vectors by that can be asked.
    Lengths,
}

impl By {
    /// What a vector is multiplied by before it is compared.
    fn scale(self, vector: &[f32]) -> f64 {
        match self {
            Self::Direction => scale(vector),
            Self::Lengths => 1.0,
        }
    }
}

/// Which records may be neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Among<'a> {
    /// All of the space.
    All,
    /// Those of a context.
    Context(Context),
    /// Those of a dataset.
    Dataset(&'a str),
}

impl Among<'_> {
    fn filter(self) -> Option<Filter> {
        match self {
            Self::All => None,
            Self::Context(context) => Some(having(fields::CONTEXT, context.name())),
            Self::Dataset(name) => Some(having(fields::DATASET, name)),
        }
    }
}

/// Of which records the neighbours are sought, and among which.
pub(crate) struct Sought<'a> {
    /// All records of the graph; the others are no neighbours.
    pub(crate) ids: &'a [String],
    /// The numbers of those whose neighbours are sought, ascending; the others have none.
    pub(crate) rows: &'a [u32],
    /// Only these are neighbours.
    pub(crate) among: Among<'a>,
    /// Neighbours of each.
    pub(crate) count: usize,
    /// What near means.
    pub(crate) by: By,
}

impl Curation {
    /// The neighbours of records within the graph, nearest first; `None` where it was told to end.
    pub(crate) fn graph(
        &self,
        space: &Space,
        desk: &Desk,
        sought: &Sought<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Graph>> {
        let all = sought.ids.iter();
        let places: HashMap<&str, u32> = (0..).zip(all).map(|(at, id)| (&**id, at)).collect();
        let mut edges: HashMap<u32, Vec<(u32, f32)>> = HashMap::with_capacity(sought.rows.len());
        for part in sought.rows.chunks(CHUNK) {
            if !go_on() {
                return Ok(None);
            }
            let ids = part.iter().map(|&row| sought.ids[row as usize].clone());
            let ids: Vec<String> = ids.collect();
            let wanted = (sought.count + 1, sought.by);
            for (id, near) in self.near_of(space, desk, &ids, sought.among, wanted)? {
                let Some(&row) = places.get(&*id) else {
                    continue;
                };
                let others = near.into_iter().filter(|one| one.id != id);
                let known = others.filter_map(|one| Some((*places.get(&*one.id)?, one.distance)));
                edges.insert(row, known.take(sought.count).collect());
            }
        }
        let mut offsets = vec![0];
        let (mut neighbours, mut distances) = (Vec::new(), Vec::new());
        for row in 0..sought.ids.len() as u32 {
            for (neighbour, distance) in edges.remove(&row).unwrap_or_default() {
                neighbours.push(neighbour);
                distances.push(distance);
            }
            offsets.push(neighbours.len());
        }
        Ok(Some(Graph::new(offsets, neighbours, distances)))
    }

    /// Records with their neighbours among those that are meant, themselves too where they are meant;
    /// records that are gone are left out.
    pub(crate) fn near_of(
        &self,
        space: &Space,
        desk: &Desk,
        ids: &[String],
        among: Among<'_>,
        wanted: (usize, By),
    ) -> Result<Vec<(String, Near)>> {
        let found = self.fetch_vectors(space, ids)?;
        let vectors = found.embeddings.unwrap_or_default();
        let vectors = Matrix::new(vectors.values(), vectors.dimension().max(1));
        let near = self.nearest(space, desk, vectors, among, wanted)?;
        let ids = found.ids.iter().map(str::to_owned);
        Ok(ids.zip(near).collect())
    }

    /// The nearest `count` records, of those that `among` means, to each of `vectors`.
    pub(crate) fn nearest(
        &self,
        space: &Space,
        desk: &Desk,
        vectors: Matrix<'_>,
        among: Among<'_>,
        (count, by): (usize, By),
    ) -> Result<Vec<Near>> {
        if by == By::Lengths || space.collection.schema.space() == Metric::Cosine {
            return self.nearest_by_index(space, vectors, among, (count, by));
        }
        if let Some(found) = desk.directions.read().nearest(vectors, among, count) {
            return Ok(found);
        }
        let wanted = count.max(CANDIDATES);
        let mut found = self.nearest_by_index(space, vectors, among, (wanted, by))?;
        found.iter_mut().for_each(|near| near.truncate(count));
        Ok(found)
    }

    /// The training records that may vote on each of `vectors`, and one more of each kind, since a training
    /// record is near itself. Whoever measures a record asks this, so that it is measured the same.
    pub(crate) fn nearest_training(
        &self,
        space: &Space,
        desk: &Desk,
        vectors: Matrix<'_>,
    ) -> Result<Vec<NearTraining>> {
        let count = VOTERS + 1;
        let among = Among::Context(Context::Training);
        if space.collection.schema.space() != Metric::L2 {
            let near = self.nearest(space, desk, vectors, among, (count, By::Direction))?;
            let alone = |near| NearTraining {
                near,
                with_lengths: None,
            };
            return Ok(near.into_iter().map(alone).collect());
        }
        let both = |[near, voters]: [Near; 2]| NearTraining {
            near,
            with_lengths: Some(voters),
        };
        if let Some(found) = desk.directions.read().nearest_training(vectors, count) {
            return Ok(found.into_iter().map(both).collect());
        }
        let found = self.candidates(space, vectors, among, count.max(CANDIDATES))?;
        let ranked = vectors.rows().zip(&found).map(|(vector, found)| {
            both([By::Direction, By::Lengths].map(|by| {
                let mut near = ranked(vector, found, by);
                near.truncate(count);
                near
            }))
        });
        Ok(ranked.collect())
    }

    /// The `count` records that the index of the space calls nearest, by how near they are.
    fn nearest_by_index(
        &self,
        space: &Space,
        vectors: Matrix<'_>,
        among: Among<'_>,
        (count, by): (usize, By),
    ) -> Result<Vec<Near>> {
        let found = self.candidates(space, vectors, among, count)?;
        let each = vectors.rows().zip(&found);
        Ok(each
            .map(|(vector, found)| ranked(vector, found, by))
            .collect())
    }

    /// The `count` records that the index of the space calls nearest, with their vectors.
    fn candidates(
        &self,
        space: &Space,
        vectors: Matrix<'_>,
        among: Among<'_>,
        count: usize,
    ) -> Result<Vec<Fetched>> {
        let numbers = vectors.numbers().to_vec();
        let embeddings = Embeddings::new(vectors.dimension(), numbers).unwrap_or_default();
        if embeddings.is_empty() {
            return Ok(Vec::new());
        }
        let request = QueryRequest {
            embeddings,
            n_results: count as u32,
            recall: None,
            selection: RecordSelection {
                ids: None,
                filter: among.filter(),
            },
            include: Include {
                embeddings: true,
                ..Include::default()
            },
            consistency: Consistency::everything(),
        };
        let found = self.database.query(space.scope(), &request)?;
        Ok(found.into_iter().map(|nearest| nearest.records).collect())
    }
}

/// Records by how near they are to a vector.
fn ranked(vector: &[f32], found: &Fetched, by: By) -> Near {
    let scale = by.scale(vector);
    let apart = |other: &[f32]| scaled_distance((vector, scale), (other, by.scale(other))) as f32;
    let vector_of = |at: usize| found.embeddings.as_ref().and_then(|all| all.get(at));
    let mut near: Near = (0..found.ids.len())
        .map(|at| Neighbour {
            id: found.ids.get(at).to_owned(),
            distance: apart(vector_of(at).unwrap_or_default()),
        })
        .collect();
    near.sort_by(Neighbour::order);
    near
}

/// What makes a vector as long as 1; one that is zero stays so.
fn scale(vector: &[f32]) -> f64 {
    let sum: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if sum > 0.0 { 1.0 / sum.sqrt() } else { 1.0 }
}
