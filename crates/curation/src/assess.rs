//! What is told of one record or vector: trouble, its parts, and reasons in words.
//!
//! What must stay true: every number is told with its rank, every answer with the position of the log
//! and the epoch that it is as of, and what could not be computed is named.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value as Json, json};
use vermilion_engine::model::Fetched;
use vermilion_scores::{Matrix, Signal, SignalPercentiles, Signals, Trouble, VOTERS};

use crate::body::Told;
use crate::check::{Expected, check_vectors, said_of};
use crate::desk::{self, CHUNK, Desk, Rival, Row, Said, Scored, State, scored};
use crate::spaces::{Place, Space};
use crate::{Curation, Refusal, Result};

/// Trouble from which on a record is worth training on, and below which it is not.
const RECOMMENDED_FROM: f64 = 0.75;
/// See [`RECOMMENDED_FROM`].
const NOT_USEFUL_BELOW: f64 = 0.25;
/// Ranks from which on a signal is a reason.
const STRIKING: f64 = 0.8;
/// Neighbours that are told.
const TOLD_NEIGHBOURS: usize = 5;
/// Records that a request scores itself before it answers; more are left to the job.
const SCORED_AT_ONCE: usize = 5000;

/// One signal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// As it was computed.
    pub value: f32,
    /// Its rank among production, in [0, 1]; among training while production is small.
    pub percentile: f64,
    /// How much of trouble that is: shares times percentiles sum to it.
    pub share: f64,
}

/// A training record near by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearTraining {
    /// Its id.
    pub id: String,
    /// Its label.
    pub label_class: Option<String>,
    /// Between vectors of length 1, in [0, 2].
    pub distance: f32,
}

/// What is told of a record or a vector.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Assessment {
    /// The record; none of a vector that is not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How likely the model is wrong here, or has never seen its like; in [0, 1].
    pub trouble: Option<f64>,
    /// The signals that it is the weighted mean of.
    pub parts: BTreeMap<&'static str, Part>,
    /// Signals that could not be computed.
    pub missing: Vec<&'static str>,
    /// The class that the model said, or that the server says in its place.
    pub inferred_class: Option<String>,
    /// `model` or `server`.
    pub inferred_by: Option<&'static str>,
    /// What labelling it would add to the list as it stands, by what its first entry adds; of production
    /// that was just logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<f64>,
    /// Whether that is said before the list was made anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisional: Option<bool>,
    /// Whether to label and train on it.
    pub training_recommended: bool,
    /// Whether labelling it would tell nothing new.
    pub not_useful: bool,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// The nearest training records.
    pub nearest_training: Vec<NearTraining>,
}

/// As of when an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AsOf {
    /// The position of the log at which the reference moved last.
    pub epoch: u64,
    /// The position of the log that the answer has seen.
    pub as_of_seq: u64,
    /// Records whose scores are missing or of an earlier epoch.
    pub stale_records: usize,
}

impl AsOf {
    pub(crate) fn of(state: &State) -> Self {
        Self {
            epoch: state.epoch,
            as_of_seq: state.as_of,
            stale_records: state.stale(),
        }
    }
}

/// What is assessed: what the model said of a vector, and of one that is stored its id; its print where the
/// signals are to be kept.
struct Subject {
    said: Said,
    id: Option<String>,
    print: Option<u64>,
    /// The class that the model said, where nobody has named it yet.
    unheard: Option<String>,
}

/// A desk as a request finds it.
pub(crate) struct InStep {
    pub(crate) desk: Arc<Desk>,
    /// Whether it has seen everything that the log had when it was asked for.
    pub(crate) is_read: bool,
    /// Whether all of that is scored that has scores.
    pub(crate) is_scored: bool,
}

impl InStep {
    /// Whether what is made of it is of the records as they are.
    pub(crate) fn is_whole(&self) -> bool {
        self.is_read && self.is_scored
    }
}

/// The refusal of what is asked of a space that is being read, so many records of it so far.
pub(crate) fn being_read(rows: usize) -> Refusal {
    let message = format!("The space is being read, {rows} records so far.");
    Refusal::new(503, "not_ready", message).hint("retry in a second")
}

/// The refusal of whatever needs training data.
pub(crate) fn no_reference() -> Refusal {
    let message = "The space has no labelled training records yet.";
    Refusal::new(422, "no_reference", message)
        .field("label_class")
        .hint("log records with the context `training` and a `label_class`")
}

impl Curation {
    /// The desk of a space, in step with all that is acknowledged and scored as far as one request
    /// may take; the job does the rest. Refused while a large space is read for the first time.
    pub(crate) fn ready_desk(&self, space: &Space) -> Result<InStep> {
        let desk = self.desk(space);
        if !self.follow_at_once(space, &desk)? {
            let (seen, rows) = {
                let state = desk.state.lock();
                (state.as_of, state.rows.len())
            };
            if seen == 0 {
                return Err(being_read(rows));
            }
            return Ok(InStep {
                desk,
                is_read: false,
                is_scored: false,
            });
        }
        let (stale, epoch) = {
            let state = desk.state.lock();
            let stale = state.reference.as_ref().map_or(0, |_| state.stale());
            (stale, state.epoch)
        };
        let is_scored = if stale <= SCORED_AT_ONCE {
            self.score(space, &desk, &|| true)?;
            // What came since then is none of the request's, unless all is to be scored anew.
            desk.state.lock().epoch == epoch
        } else {
            self.score_held_out(space, &desk, &|| true)?;
            self.wake(space);
            false
        };
        Ok(InStep {
            desk,
            is_read: true,
            is_scored,
        })
    }

    /// Assesses vectors that are not stored. `told` has `embeddings`, and what the model said of them.
    pub fn assess(&self, place: &Place, name: &str, told: &Told) -> Result<Json> {
        let space = self.space(place, name)?;
        let expected = Expected {
            dimension: space.collection.dimension,
            metric: space.collection.schema.space(),
        };
        let limits = self.database.limits();
        if told.rows.is_empty() {
            let message = "The request has no vector.";
            return Err(Refusal::wrong("empty_batch", message).field("embeddings"));
        }
        if told.rows.len() > limits.batch_records_max {
            let message = format!("{} vectors are too many.", told.rows.len());
            return Err(Refusal::new(413, "too_many_records", message)
                .hint(format!("{} at most", limits.batch_records_max)));
        }
        let dimension = check_vectors(&told.vectors, expected, limits)?;
        let said = told
            .rows
            .iter()
            .enumerate()
            .map(|(at, row)| said_of(row, &told.head, at))
            .collect::<Result<Vec<_>>>()?;
        let desk = self.ready_desk(&space)?.desk;
        if desk.state.lock().reference.is_none() {
            return Err(no_reference());
        }
        let mut assessed = Vec::with_capacity(said.len());
        let rows: Vec<usize> = (0..said.len()).collect();
        for part in rows.chunks(CHUNK) {
            let vectors: Vec<f32> = part
                .iter()
                .flat_map(|&row| told.vectors.get(row).iter().copied())
                .collect();
            let subjects: Vec<Subject> = {
                let state = desk.state.lock();
                let known = part.iter().map(|&row| {
                    let (inferred, unsure) = &said[row];
                    let known = inferred.as_ref().map(|name| state.classes.known(name));
                    Subject {
                        // A class that nobody has named yet is like no class that is known.
                        said: Said {
                            inferred: known.map(|class| class.unwrap_or(u32::MAX)),
                            unsure: *unsure,
                        },
                        id: None,
                        print: None,
                        unheard: inferred.clone().filter(|_| known == Some(None)),
                    }
                });
                known.collect()
            };
            let percentiles = desk.state.lock().percentiles();
            let part =
                self.assess_part(&space, &desk, dimension, &vectors, &subjects, &percentiles);
            assessed.extend(part?);
        }
        let as_of = AsOf::of(&desk.state.lock());
        Ok(json!({ "assessments": assessed, "as_of": as_of }))
    }

    /// Assesses records that were just logged, by their ids, in their order; those that are gone are left
    /// out. Ranks are taken about.
    pub(crate) fn assess_logged(
        &self,
        space: &Space,
        desk: &Desk,
        ids: &[String],
    ) -> Result<Vec<Assessment>> {
        let percentiles = desk.state.lock().percentiles_about();
        let mut assessed = Vec::with_capacity(ids.len());
        for part in ids.chunks(CHUNK) {
            let found = self.fetch_vectors(space, part)?;
            assessed.extend(self.assess_all(space, desk, &found, &percentiles, true)?);
        }
        let place: BTreeMap<&str, usize> = (0..).zip(ids).map(|(at, id)| (&**id, at)).collect();
        assessed.sort_by_key(|one| one.id.as_deref().and_then(|id| place.get(id)).copied());
        Ok(assessed)
    }

    /// Assesses records that were read.
    pub(crate) fn assess_fetched(
        &self,
        space: &Space,
        desk: &Desk,
        found: &Fetched,
    ) -> Result<Vec<Assessment>> {
        let percentiles = desk.state.lock().percentiles();
        self.assess_all(space, desk, found, &percentiles, false)
    }

    /// The same with these ranks; the signals are kept where there are none yet, if the caller says so.
    fn assess_all(
        &self,
        space: &Space,
        desk: &Desk,
        found: &Fetched,
        percentiles: &SignalPercentiles,
        keeps: bool,
    ) -> Result<Vec<Assessment>> {
        let Some(vectors) = found.embeddings.as_ref().filter(|all| !all.is_empty()) else {
            return Ok(Vec::new());
        };
        let dimension = vectors.dimension();
        let ids: Vec<String> = found.ids.iter().map(str::to_owned).collect();
        let mut assessed = Vec::with_capacity(ids.len());
        for (ids, vectors) in ids
            .chunks(CHUNK)
            .zip(vectors.values().chunks(CHUNK * dimension))
        {
            let subjects: Vec<Subject> = {
                let state = desk.state.lock();
                let subject = |id: &String| {
                    let row = state.rows.get(id);
                    Subject {
                        said: row.map_or_else(Said::default, Row::said),
                        id: Some(id.clone()),
                        print: row.filter(|_| keeps).map(|row| row.print),
                        unheard: None,
                    }
                };
                ids.iter().map(subject).collect()
            };
            let part = self.assess_part(space, desk, dimension, vectors, &subjects, percentiles);
            assessed.extend(part?);
        }
        Ok(assessed)
    }

    fn assess_part(
        &self,
        space: &Space,
        desk: &Desk,
        dimension: usize,
        vectors: &[f32],
        subjects: &[Subject],
        percentiles: &SignalPercentiles,
    ) -> Result<Vec<Assessment>> {
        let reference = desk.state.lock().reference.clone();
        let Some(reference) = reference.filter(|_| dimension > 0) else {
            return Ok(Vec::new());
        };
        let near = self.nearest_training(space, desk, Matrix::new(vectors, dimension))?;
        let reduced = reference.reduced(vectors, dimension);
        let rows = reduced.chunks_exact(reference.classes.dimension());
        let mut state = desk.state.lock();
        let mut assessed = Vec::with_capacity(subjects.len());
        for ((row, subject), near) in rows.zip(subjects).zip(near) {
            let near = near.but(subject.id.as_ref(), VOTERS);
            let scored = scored(&state, &reference, row, &subject.said, &near);
            if let (Some(id), Some(print)) = (&subject.id, subject.print) {
                state.score_stale(id, print, scored, reference.epoch);
            }
            assessed.push(assessment(&state, subject, &scored, &near, percentiles));
        }
        Ok(assessed)
    }
}

/// The refusal of a dataset that no record has.
pub(crate) fn no_dataset(name: &str, field: &str) -> Refusal {
    let message = format!("There is no dataset `{name}`.");
    Refusal::new(404, "dataset_not_found", message)
        .field(field)
        .hint("GET /spaces/{space} tells the datasets of a space")
}

/// Refuses those of the datasets that are named in `field` that no record has.
pub(crate) fn known_datasets<'a>(
    state: &State,
    named: impl IntoIterator<Item = &'a String>,
    field: &str,
) -> Result<()> {
    let unknown = named.into_iter().find(|name| !state.has_dataset(name));
    unknown.map_or(Ok(()), |name| Err(no_dataset(name, field)))
}

/// The refusal of a record that is not there.
pub(crate) fn no_record(id: &str) -> Refusal {
    Refusal::new(
        404,
        "record_not_found",
        format!("There is no record `{id}`."),
    )
    .field("id")
}

fn assessment(
    state: &State,
    subject: &Subject,
    Scored { signals, rival }: &Scored,
    near: &desk::NearTraining,
    percentiles: &SignalPercentiles,
) -> Assessment {
    let trouble = percentiles.trouble(signals);
    let parts = parts(signals, &trouble);
    let nearest_training = near
        .near
        .iter()
        .take(TOLD_NEIGHBOURS)
        .map(|one| {
            let label = state.rows.get(&one.id).and_then(|row| row.label);
            NearTraining {
                id: one.id.clone(),
                label_class: label.map(|label| state.classes.name(label).to_owned()),
                distance: one.distance,
            }
        })
        .collect();
    let value = trouble.value;
    let named = |class: u32| state.classes.name(class).to_owned();
    let class = subject.unheard.clone().or(signals.inferred.map(named));
    Assessment {
        id: subject.id.clone(),
        trouble: value,
        missing: trouble.missing().map(Signal::name).collect(),
        inferred_by: signals.inferred.map(|_| {
            if signals.inferred_by_server {
                "server"
            } else {
                "model"
            }
        }),
        priority: None,
        provisional: None,
        training_recommended: value.is_some_and(|value| value >= RECOMMENDED_FROM),
        not_useful: value.is_some_and(|value| value < NOT_USEFUL_BELOW),
        reasons: reasons(
            state,
            class.as_deref(),
            *rival,
            (&parts, percentiles.from_training()),
        ),
        inferred_class: class,
        parts,
        nearest_training,
    }
}

/// The signals that trouble is made of.
fn parts(signals: &Signals, trouble: &Trouble) -> BTreeMap<&'static str, Part> {
    let mut parts = BTreeMap::new();
    for (signal, value) in Signal::ALL.into_iter().zip(signals.values()) {
        let (rank, share) = (
            trouble.ranks[signal as usize],
            trouble.shares[signal as usize],
        );
        if let (Some(value), Some(percentile), Some(share)) = (value, rank, share) {
            let part = Part {
                value,
                percentile,
                share,
            };
            parts.insert(signal.name(), part);
        }
    }
    parts
}

/// The reasons of a record as it was scored, without a look at its neighbours; none where it is not.
pub(crate) fn known_reasons(
    state: &State,
    row: &Row,
    percentiles: &SignalPercentiles,
) -> Vec<String> {
    let Some(signals) = &row.signals else {
        return Vec::new();
    };
    let parts = parts(signals, &percentiles.trouble(signals));
    let class = signals.inferred.map(|class| state.classes.name(class));
    let told = (&parts, percentiles.from_training());
    reasons(state, class, row.rival, told)
}

/// Why a record is where it is, in words, and whether its ranks are of training.
fn reasons(
    state: &State,
    class: Option<&str>,
    rival: Rival,
    (parts, from_training): (&BTreeMap<&'static str, Part>, bool),
) -> Vec<String> {
    let among = if from_training {
        "of training"
    } else {
        "of what production sees"
    };
    let rank = |signal: Signal| parts.get(signal.name()).map_or(0.0, |part| part.percentile);
    let percent = |rank: f64| format!("{:.0} %", rank * 100.0);
    let class = class.unwrap_or_default();
    let total = rival.voters;
    let rival = rival
        .label
        .map(|(label, count)| (state.classes.name(label), count));
    let mut reasons = Vec::new();
    if rank(Signal::Uncertainty) >= STRIKING {
        reasons.push(match rival {
            Some((other, _)) => format!("between `{class}` and `{other}`"),
            None => format!("undecided about `{class}`"),
        });
    }
    if rank(Signal::Disagreement) >= STRIKING
        && let Some((other, count)) = rival
    {
        reasons.push(format!(
            "{count} of its {total} nearest training records are labelled `{other}`, not `{class}`"
        ));
    }
    if rank(Signal::Novelty) >= STRIKING {
        reasons.push(format!(
            "farther from all training records than {} {among}",
            percent(rank(Signal::Novelty))
        ));
    }
    if rank(Signal::ClassDistance) >= STRIKING {
        reasons.push(format!(
            "less like other examples of `{class}` than {} {among}",
            percent(rank(Signal::ClassDistance))
        ));
    }
    if reasons.is_empty() {
        reasons.push("nothing about it stands out".to_owned());
    }
    reasons
}
