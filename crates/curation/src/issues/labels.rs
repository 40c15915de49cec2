//! Labels of the training data that are probably wrong, and what they should be.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use vermilion_engine::model::{Space as Metric, Value};
use vermilion_scores::{
    EXAMPLES_MIN, EXPERTS, HeldOut, LABEL_VOTERS, LabelEvidence, LabelReport, Matrix, label_issues,
};

use super::study::{Slot, Studies, Study, Version};
use crate::desk::{Among, By, Desk, Sought, State, places};
use crate::fields::{self, Context};
use crate::spaces::Space;
use crate::{Curation, Result};

/// Numbers of class covariances by which ten thousand records are judged within a request, and how many
/// numbers a class takes as long as besides.
const NUMBERS: usize = 50_000;
/// See [`NUMBERS`].
const CLASS: usize = 500;
/// Records that are read at once.
const PAGE: usize = 1000;
/// Numbers that probabilities of all records may take; where they would be more, they have no voice.
const PROBABILITIES_MAX: usize = 1 << 27;

/// What is thought of all labels.
#[derive(Debug)]
pub(crate) struct Labels {
    ids: Vec<String>,
    given: Vec<u32>,
    report: LabelReport,
    /// Rows, the most probably wrong first.
    order: Vec<usize>,
    /// How many of them are rather wrong than right.
    wrong: usize,
}

impl Study for Labels {
    fn slot(studies: &Studies) -> &Slot<Self> {
        &studies.labels
    }

    /// Of many classes and dimensions a record takes as long as several.
    fn size(state: &State) -> usize {
        let Some(reference) = &state.reference else {
            return 0;
        };
        let each = reference.classes.dimension().pow(2) + CLASS;
        let numbers = reference.classes.len() * each;
        state.references() * numbers.div_ceil(NUMBERS).max(1)
    }

    fn holds(then: Version, now: Version) -> bool {
        then.epoch == now.epoch
    }

    fn make(
        curation: &Curation,
        space: &Space,
        desk: &Desk,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Self>> {
        let Some(rows) = desk.reference_rows() else {
            return Ok(None);
        };
        let all: Vec<u32> = (0..rows.ids.len() as u32).collect();
        let sought = Sought {
            ids: &rows.ids,
            rows: &all,
            among: Among::Context(Context::Training),
            count: LABEL_VOTERS,
            by: By::Direction,
        };
        let Some(graph) = curation.graph(space, desk, &sought, go_on)? else {
            return Ok(None);
        };
        let has_lengths = space.collection.schema.space() == Metric::L2;
        let graph_with_lengths = if has_lengths {
            let sought = Sought {
                by: By::Lengths,
                ..sought
            };
            let Some(graph) = curation.graph(space, desk, &sought, go_on)? else {
                return Ok(None);
            };
            Some(graph)
        } else {
            None
        };
        let Some(said) = curation.probabilities(space, desk, &rows.ids, go_on)? else {
            return Ok(None);
        };
        let reduced = rows.reference.reduced(&rows.vectors, rows.dimension);
        let held_out = HeldOut::new(&rows.reference.statistics);
        let elsewhere = desk.state.lock().contradictions_elsewhere();
        let report = label_issues(&LabelEvidence {
            rows: Matrix::new(&reduced, rows.reference.classes.dimension()),
            labels: &rows.labels,
            held_out: &held_out,
            graph: &graph,
            graph_with_lengths: graph_with_lengths.as_ref(),
            probabilities: (!said.0.is_empty()).then(|| Matrix::new(&said.0, said.1)),
            elsewhere,
        });
        let mut order: Vec<usize> = (0..rows.ids.len()).collect();
        let score = |row: usize| report.verdicts[row].score;
        order.sort_by(|&a, &b| score(b).total_cmp(&score(a)).then(a.cmp(&b)));
        let wrong = order.partition_point(|&row| score(row) > 0.0);
        Ok(Some(Self {
            ids: rows.ids,
            given: rows.labels,
            report,
            order,
            wrong,
        }))
    }
}

impl Labels {
    /// How many issues there are: of labels that are rather wrong than right, or with `all` of every one.
    pub(super) fn count(&self, all: bool) -> usize {
        if all { self.order.len() } else { self.wrong }
    }

    /// The issue at a place.
    pub(super) fn tell(&self, at: usize, state: &State) -> Json {
        let row = self.order[at];
        let verdict = self.report.verdicts[row];
        let given = state.classes.name(self.given[row]);
        let suggested = state.classes.name(verdict.suggested);
        let explanation = if verdict.is_rare {
            format!(
                "there are too few other examples of `{given}` to tell: {EXAMPLES_MIN} at least are needed"
            )
        } else if verdict.score > 0.0 {
            format!(
                "labelled `{given}`, to which what is like it gives {:.0} %; `{suggested}` gets {:.0} %",
                verdict.given * 100.0,
                verdict.confidence * 100.0
            )
        } else {
            format!(
                "its label `{given}` gets {:.0} % by what is like it",
                verdict.given * 100.0
            )
        };
        json!({
            "type": "label",
            "id": self.ids[row],
            "score": verdict.score,
            "label_issue_score": verdict.score,
            "given_class": given,
            "suggested_class": suggested,
            "confidence": verdict.confidence,
            "given_probability": verdict.given,
            "explanation": explanation,
        })
    }

    /// The same of a record, rather wrong or right; `None` where its label was not looked at.
    pub(crate) fn tell_of(&self, id: &str, state: &State) -> Option<Json> {
        let known = self.ids.binary_search_by(|known| known.as_str().cmp(id));
        let at = known
            .ok()
            .and_then(|row| self.order.iter().position(|&one| one == row))?;
        Some(self.tell(at, state))
    }

    /// How many labels are confidently another, by pair.
    pub(super) fn estimated_errors(&self, state: &State) -> Json {
        let name = |class| state.classes.name(class);
        let pairs = self.report.confident.iter();
        let mut pairs: Vec<(Reverse<u64>, &str, &str)> = pairs
            .map(|pair| (Reverse(pair.count), name(pair.given), name(pair.suggested)))
            .collect();
        // By name among equals: numbers of classes tell in which order they came.
        pairs.sort_unstable();
        let told = pairs.into_iter().map(|(Reverse(count), given, suggested)| {
            json!({ "given_class": given, "suggested_class": suggested, "count": count })
        });
        told.collect()
    }

    /// Whether the model was trained on the labels as they are, and so has no voice.
    pub(super) fn is_by_heart(&self) -> bool {
        self.report.is_by_heart
    }

    /// The share of each expert.
    pub(super) fn experts(&self) -> Json {
        let weights: BTreeMap<_, _> = EXPERTS.into_iter().zip(self.report.weights).collect();
        json!(weights)
    }
}

/// Probabilities, row after row, and how many a row has.
type Probabilities = (Vec<f32>, usize);

impl Curation {
    /// What the model gave each class, of these records; empty where it logged none, `None` where
    /// reading was told to end.
    fn probabilities(
        &self,
        space: &Space,
        desk: &Desk,
        ids: &[String],
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Probabilities>> {
        let (classes, told): (usize, Vec<usize>) = {
            let state = desk.state.lock();
            let has = |id: &String| state.rows.get(id).is_some_and(|row| row.unsure.is_some());
            let told = (0..ids.len()).filter(|&at| has(&ids[at])).collect();
            (state.classes.len(), told)
        };
        if told.is_empty() || classes.saturating_mul(ids.len()) > PROBABILITIES_MAX {
            return Ok(Some((Vec::new(), classes)));
        }
        let mut dense = vec![0.0; classes * ids.len()];
        for part in told.chunks(PAGE) {
            if !go_on() {
                return Ok(None);
            }
            let wanted: Vec<String> = part.iter().map(|&at| ids[at].clone()).collect();
            let found = self.fetch(space, &wanted)?;
            let Some(metadata) = &found.metadatas else {
                continue;
            };
            let state = desk.state.lock();
            for (row, at) in part.iter().zip(places(&found.ids, &wanted)) {
                for (key, value) in at.into_iter().flat_map(|at| metadata.row(at)) {
                    let (fields::PROBABILITIES, Value::Sparse(scores)) = (key, value) else {
                        continue;
                    };
                    let names = scores.tokens.iter().flatten();
                    for (name, score) in names.zip(&scores.values) {
                        let class = state.classes.known(name).map(|class| class as usize);
                        if let Some(class) = class.filter(|&class| class < classes) {
                            dense[row * classes + class] = *score;
                        }
                    }
                }
            }
        }
        Ok(Some((dense, classes)))
    }
}
