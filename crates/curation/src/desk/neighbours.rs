//! The nearest records of vectors, of one context, as distances between vectors of length 1.

use vermilion_engine::model::{
    Comparison, Consistency, Embeddings, Filter, Include, QueryRequest, RecordSelection, Scalar,
};

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

/// The neighbours of one vector, nearest first.
pub(crate) type Near = Vec<Neighbour>;

impl Curation {
    /// The nearest `count` records of `context` to each of `vectors`.
    pub(crate) fn nearest(
        &self,
        space: &Space,
        dimension: usize,
        vectors: &[f32],
        context: Context,
        count: usize,
    ) -> Result<Vec<Near>> {
        let embeddings = Embeddings::new(dimension, vectors.to_vec()).unwrap_or_default();
        if embeddings.is_empty() {
            return Ok(Vec::new());
        }
        let request = QueryRequest {
            embeddings,
            n_results: count as u32,
            recall: None,
            selection: RecordSelection {
                ids: None,
                filter: Some(Filter::Metadata {
                    key: fields::CONTEXT.to_owned(),
                    comparison: Comparison::Equal(Scalar::Str(context.name().to_owned())),
                }),
            },
            include: Include {
                embeddings: true,
                ..Include::default()
            },
            consistency: Consistency::everything(),
        };
        let found = self.database.query(space.scope(), &request)?;
        let each = vectors.chunks_exact(dimension).zip(found);
        Ok(each
            .map(|(vector, nearest)| {
                let ids = nearest.records.ids;
                let others = nearest.records.embeddings.unwrap_or_default();
                let vector = unit(vector);
                let mut near: Near = (0..ids.len())
                    .map(|at| Neighbour {
                        id: ids.get(at).to_owned(),
                        distance: distance(&vector, &unit(others.get(at).unwrap_or_default())),
                    })
                    .collect();
                let order = |a: &Neighbour, b: &Neighbour| {
                    a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id))
                };
                near.sort_by(order);
                near
            })
            .collect())
    }
}

/// A vector made as long as 1; one that is zero stays so.
fn unit(vector: &[f32]) -> Vec<f64> {
    let sum: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let length = if sum > 0.0 { sum.sqrt() } else { 1.0 };
    vector.iter().map(|&x| f64::from(x) / length).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f32 {
    let square: f64 = a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum();
    square.sqrt() as f32
}
