//! Where in its space the model is weak, and what is odd about the vectors themselves.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use vermilion_scores::Matrix;
use vermilion_scores::issues::{
    DimensionStatistics, dead_dimensions, norm_shift, underperforming_clusters,
};

use super::study::{Slot, Studies, Study, Version};
use crate::accuracy::Correctness;
use crate::desk::{Desk, State, most_frequent, places};
use crate::fields::Context;
use crate::spaces::Space;
use crate::{Curation, Result};

/// Records that are read at once.
const PAGE: usize = 500;
/// Records of production that are divided into clusters; more are drawn evenly by their ids.
const CLUSTERED_MAX: usize = 20_000;
/// Records of a cluster, about, and how many clusters at most.
const CLUSTER_RECORDS: usize = 50;
/// See [`CLUSTER_RECORDS`].
const CLUSTERS_MAX: usize = 64;
/// Records of a cluster that are named.
const NAMED: usize = 10;

/// Issues of the vectors.
#[derive(Debug)]
pub(crate) struct Shape {
    /// Each as it is told, the weakest first.
    pub(super) clusters: Vec<Json>,
    /// Each as it is told, by context and number.
    pub(super) dead: Vec<Json>,
    /// As it is told.
    pub(super) norms: Vec<Json>,
}

impl Study for Shape {
    fn slot(studies: &Studies) -> &Slot<Self> {
        &studies.shape
    }

    fn waits(state: &State) -> bool {
        !state.is_mostly_scored()
    }

    fn holds(then: Version, now: Version) -> bool {
        then == now
    }

    fn make(
        curation: &Curation,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Self>> {
        let mut dead = Vec::new();
        let mut statistics = BTreeMap::new();
        for context in [Context::Training, Context::Production] {
            let ids = desk.ids_of(context);
            let found = curation.dimensions(space, &ids, go_on)?;
            if !go_on() {
                return Ok(None);
            }
            if let Some(found) = found {
                let numbers = dead_dimensions(&found);
                dead.extend(
                    numbers
                        .into_iter()
                        .map(|number| tell_dead(number, context, &found)),
                );
                statistics.insert(context, found);
            }
        }
        let Some(clusters) = curation.weak_clusters(space, desk, go_on)? else {
            return Ok(None);
        };
        let sides = [Context::Training, Context::Production].map(|one| statistics.get(&one));
        let norms = match sides {
            [Some(training), Some(production)] => tell_norms(training, production),
            _ => None,
        };
        Ok(Some(Self {
            clusters,
            dead,
            norms: norms.into_iter().collect(),
        }))
    }
}

fn tell_dead(number: u32, context: Context, statistics: &DimensionStatistics) -> Json {
    json!({
        "type": "dead_dimension",
        "dimension": number,
        "context": context.name(),
        "records": statistics.count(),
        "score": 1.0,
        "explanation": format!(
            "number {number} of the vectors is the same, or nearly, in all {} records of {context}",
            statistics.count()
        ),
    })
}

fn tell_norms(training: &DimensionStatistics, production: &DimensionStatistics) -> Option<Json> {
    let shift = norm_shift(training, production)?;
    let [before, now] = shift.means;
    let ratio = |pair: [f64; 2]| {
        let (least, most) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
        if most > 0.0 { 1.0 - least / most } else { 0.0 }
    };
    Some(json!({
        "type": "norm_shift",
        "score": ratio(shift.means).max(ratio(shift.deviations)),
        "training": {"mean": before, "deviation": shift.deviations[0]},
        "production": {"mean": now, "deviation": shift.deviations[1]},
        "explanation": format!(
            "vectors of production are {now:.3} long (deviation {:.3}), those of training {before:.3} \
             (deviation {:.3}): they may have been made or scaled otherwise",
            shift.deviations[1], shift.deviations[0]
        ),
    }))
}

impl Curation {
    /// Statistics of the dimensions of these records; `None` where there is none, or where reading was
    /// told to end.
    fn dimensions(
        &self,
        space: &Space,
        ids: &[String],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<DimensionStatistics>> {
        let mut all: Option<DimensionStatistics> = None;
        for part in ids.chunks(PAGE) {
            if !go_on() {
                return Ok(None);
            }
            let vectors = self
                .fetch_vectors(space, part)?
                .embeddings
                .unwrap_or_default();
            if vectors.is_empty() {
                continue;
            }
            let found = DimensionStatistics::of(Matrix::new(vectors.values(), vectors.dimension()));
            match &mut all {
                Some(all) => all.merge(&found),
                None => all = Some(found),
            }
        }
        Ok(all)
    }

    /// Clusters of production on which the model is weaker than elsewhere.
    fn weak_clusters(
        &self,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Json>>> {
        let Some(correctness) = self.correctness(space, desk, go_on)? else {
            return Ok(go_on().then(Vec::new));
        };
        let known: Vec<(String, f64)> = {
            let state = desk.state.lock();
            let rows = state.rows.iter().filter(|(_, row)| row.is_production());
            let rows = rows.filter(|(_, row)| Correctness::judges(row));
            let step = rows.clone().count().div_ceil(CLUSTERED_MAX).max(1);
            let judged = rows.step_by(step);
            let judged = judged.filter_map(|(id, row)| Some((id.clone(), correctness.of(row)?)));
            judged.collect()
        };
        let (mut ids, mut correct, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        let mut dimension = 1;
        for part in known.chunks(PAGE) {
            if !go_on() {
                return Ok(None);
            }
            let wanted: Vec<String> = part.iter().map(|(id, _)| id.clone()).collect();
            let found = self.fetch_vectors(space, &wanted)?;
            let vectors = found.embeddings.unwrap_or_default();
            for ((id, chance), at) in part.iter().zip(places(&found.ids, &wanted)) {
                if let Some(vector) = at.and_then(|at| vectors.get(at)) {
                    dimension = vector.len();
                    ids.push(id.clone());
                    correct.push(*chance);
                    numbers.extend_from_slice(vector);
                }
            }
        }
        let count = (ids.len() / CLUSTER_RECORDS).clamp(2, CLUSTERS_MAX);
        let rows = Matrix::new(&numbers, dimension);
        let weak = underperforming_clusters(rows, &correct, count, 0);
        let state = desk.state.lock();
        let told = weak.iter().map(|cluster| {
            let said = cluster.rows.iter().filter_map(|&row| state.rows.get(&ids[row as usize])?.class());
            let class = most_frequent(said).map_or("", |class| state.classes.name(class));
            let named = cluster.rows.iter().take(NAMED).map(|&row| &ids[row as usize]);
            json!({
                "type": "underperforming_cluster",
                "id": cluster.rows.first().map(|&row| &ids[row as usize]),
                "ids": named.collect::<Vec<_>>(),
                "records": cluster.rows.len(),
                "score": cluster.accuracy_of_all - cluster.accuracy,
                "estimated_accuracy": cluster.accuracy,
                "accuracy_of_all": cluster.accuracy_of_all,
                "standard_error": cluster.standard_error,
                "inferred_class": class,
                "explanation": format!(
                    "{} records of production that lie together, mostly inferred `{class}`: the model \
                     is thought to be right on {:.0} % of them, on {:.0} % of all",
                    cluster.rows.len(),
                    cluster.accuracy * 100.0,
                    cluster.accuracy_of_all * 100.0
                ),
            })
        });
        Ok(Some(told.collect()))
    }
}
