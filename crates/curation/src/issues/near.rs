//! Records that are too near to others, of their own context or across training and test, and records
//! that are near to none of their dataset.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use vermilion_scores::{Graph, issues, radius};

use super::study::{Slot, Studies, Study, Version};
use crate::desk::{Among, By, Desk, Sought};
use crate::fields::Context;
use crate::spaces::Space;
use crate::{Curation, Result};

/// Neighbours of each record: as many as tell how far similarity reaches.
const NEIGHBOURS: usize = 10;
/// Records of a dataset from which on one of them can be called far from the others.
const DATASET_MIN: usize = 20;

/// Which records are near which.
#[derive(Debug)]
pub(crate) struct NearRecords {
    ids: Vec<String>,
    graph: Graph,
    /// How far similarity reaches.
    radius: f64,
    is_training: Vec<bool>,
    is_test: Vec<bool>,
    outliers: Vec<Outlier>,
    /// Near duplicates and leaks by the usual threshold.
    usual: [Arc<Clusters>; 2],
}

#[derive(Debug)]
struct Outlier {
    id: String,
    dataset: String,
    distance: f32,
    radius: f64,
}

impl Outlier {
    /// How little it is like the nearest record of its dataset.
    fn score(&self) -> f64 {
        1.0 - similarity(self.distance, self.radius)
    }
}

/// Clusters of records that are near each other, by which they are called issues.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    /// Each with the distance of its nearest two.
    found: Vec<(Vec<u32>, f32)>,
    threshold: f32,
    kind: &'static str,
}

impl Study for NearRecords {
    fn slot(studies: &Studies) -> &Slot<Self> {
        &studies.near
    }

    fn holds(then: Version, now: Version) -> bool {
        then.as_of == now.as_of
    }

    fn make(
        curation: &Curation,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Self>> {
        let (mut ids, mut is_training, mut is_test) = (Vec::new(), Vec::new(), Vec::new());
        let mut datasets: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        for (at, (id, row)) in (0..).zip(&desk.state.lock().rows) {
            ids.push(id.clone());
            is_training.push(row.context == Some(Context::Training));
            is_test.push(row.context == Some(Context::Test));
            datasets.entry(row.dataset.clone()).or_default().push(at);
        }
        let all: Vec<u32> = (0..ids.len() as u32).collect();
        let sought = Sought {
            ids: &ids,
            rows: &all,
            among: Among::All,
            count: NEIGHBOURS,
            by: By::Direction,
        };
        let Some(graph) = curation.graph(space, desk, &sought, go_on)? else {
            return Ok(None);
        };
        let mut outliers = Vec::new();
        for (dataset, rows) in &datasets {
            if rows.len() < DATASET_MIN {
                continue;
            }
            let sought = Sought {
                rows,
                among: Among::Dataset(dataset),
                ..sought
            };
            // Of most records all neighbours are of their dataset already.
            let own = graph.of_rows(rows);
            let lacks = |at: &usize| own.neighbours(*at).len() < NEIGHBOURS;
            let few: Vec<u32> = (0..rows.len()).filter(lacks).map(|at| rows[at]).collect();
            let sought = Sought {
                rows: &few,
                ..sought
            };
            let Some(found) = curation.graph(space, desk, &sought, go_on)? else {
                return Ok(None);
            };
            let own = own.or_fuller(&found.of_rows(rows));
            let radius = radius(&own);
            outliers.extend(issues::outliers(&own).into_iter().map(|at| Outlier {
                id: ids[rows[at as usize] as usize].clone(),
                dataset: dataset.clone(),
                distance: own.distances(at as usize).first().copied().unwrap_or(0.0),
                radius,
            }));
        }
        outliers.sort_by(|a, b| b.score().total_cmp(&a.score()).then(a.id.cmp(&b.id)));
        let mut made = Self {
            radius: radius(&graph),
            ids,
            graph,
            is_training,
            is_test,
            outliers,
            usual: Default::default(),
        };
        let threshold = issues::duplicate_threshold(&made.graph).unwrap_or(0.0);
        made.usual = made.both(threshold).map(Arc::new);
        Ok(Some(made))
    }
}

impl NearRecords {
    /// Clusters of near duplicates: of records much nearer than records typically are, or as near as `threshold`
    /// says.
    pub(super) fn duplicates(&self, threshold: Option<f32>) -> Arc<Clusters> {
        let [duplicates, _] = self.by(threshold);
        duplicates
    }

    /// Those of them that have records of training and of test.
    pub(super) fn leaks(&self, threshold: Option<f32>) -> Arc<Clusters> {
        let [_, leaks] = self.by(threshold);
        leaks
    }

    fn by(&self, threshold: Option<f32>) -> [Arc<Clusters>; 2] {
        match threshold {
            Some(threshold) => self.both(threshold).map(Arc::new),
            None => self.usual.clone(),
        }
    }

    fn both(&self, threshold: f32) -> [Clusters; 2] {
        let clusters = issues::near_duplicates(&self.graph, threshold);
        let leaks = issues::leaks(&clusters, &self.is_training, &self.is_test);
        [
            self.clusters(clusters, threshold, "near_duplicate"),
            self.clusters(leaks, threshold, "leak"),
        ]
    }

    fn clusters(&self, clusters: Vec<Vec<u32>>, threshold: f32, kind: &'static str) -> Clusters {
        let nearest = |rows: &Vec<u32>| {
            let distances = rows.iter().filter_map(|&row| {
                let own = self.graph.distances(row as usize);
                own.first().copied()
            });
            distances.fold(f32::MAX, f32::min)
        };
        let mut found: Vec<(Vec<u32>, f32)> = clusters
            .into_iter()
            .map(|rows| (nearest(&rows), rows))
            .map(|(distance, rows)| (rows, distance))
            .collect();
        found.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        Clusters {
            found,
            threshold,
            kind,
        }
    }

    /// The cluster at a place.
    pub(super) fn tell_cluster(&self, clusters: &Clusters, at: usize, named: Range<usize>) -> Json {
        let (rows, distance) = &clusters.found[at];
        let id = |row: &u32| &*self.ids[*row as usize];
        let ids = rows.iter().skip(named.start).take(named.len()).map(id);
        let ids: Vec<&str> = ids.collect();
        let explanation = if clusters.kind == "leak" {
            format!(
                "{} records of training and of test that are almost the same, the nearest two {distance:.4} \
                 apart: what is measured on the test is partly learned by heart",
                rows.len()
            )
        } else {
            format!(
                "{} records that are almost the same, the nearest two {distance:.4} apart",
                rows.len()
            )
        };
        json!({
            "type": clusters.kind,
            "id": rows.first().map(id),
            "ids": ids,
            "records": rows.len(),
            "score": similarity(*distance, self.radius),
            "distance": distance,
            "threshold": clusters.threshold,
            "explanation": explanation,
        })
    }

    /// How many records are far from all others of their dataset.
    pub(super) fn outliers(&self) -> usize {
        self.outliers.len()
    }

    /// The outlier at a place.
    pub(super) fn tell_outlier(&self, at: usize) -> Json {
        let outlier = &self.outliers[at];
        json!({
            "type": "outlier",
            "id": outlier.id,
            "dataset": outlier.dataset,
            "score": outlier.score(),
            "distance": outlier.distance,
            "radius": outlier.radius,
            "explanation": format!(
                "the nearest record of `{}` is {:.3} away, and none counts it as its like: records \
                 there have ten others within {:.3}",
                outlier.dataset, outlier.distance, outlier.radius
            ),
        })
    }
}

impl Clusters {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }
}

/// How alike two records are that are so far apart, in [0, 1].
fn similarity(distance: f32, radius: f64) -> f64 {
    let square = f64::from(distance).powi(2);
    if radius > 0.0 {
        (-square / (2.0 * radius * radius)).exp()
    } else {
        f64::from(u8::from(square == 0.0))
    }
}
