//! Decisions and labels: what people say of records.
//!
//! What must stay true: they are metadata of the records, written through the same log as everything;
//! all of a request or nothing; nobody decides about a record that is not there.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer, Serialize};
use vermilion_engine::model::{
    Embeddings, MetadataColumn, Operation, OptionalStrings, RecordBatch, Value,
};

use crate::assess::no_record;
use crate::desk::{Decision, Desk};
use crate::fields::{self, Context};
use crate::spaces::{Place, Space};
use crate::{Curation, Refusal, Result};

/// How long a record is left alone that somebody snoozed: a week.
const SNOOZE_SECONDS: f64 = 7.0 * 86_400.0;

/// Decisions as they are told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decisions {
    /// The records.
    pub ids: Vec<String>,
    /// One for all of them.
    #[serde(default)]
    pub decision: ForAll,
    /// One for each; null takes a decision back.
    pub decisions: Option<Vec<Option<String>>>,
    /// How long a snooze lasts.
    pub snooze_seconds: Option<f64>,
}

/// What is told of all records at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForAll {
    /// Nothing.
    #[default]
    Untold,
    /// A decision; null takes decisions back.
    Told(Option<String>),
}

impl<'de> Deserialize<'de> for ForAll {
    fn deserialize<D: Deserializer<'de>>(told: D) -> Result<Self, D::Error> {
        Option::deserialize(told).map(Self::Told)
    }
}

/// Labels as they are told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// The records.
    pub ids: Vec<String>,
    /// The label of each; null takes a label away.
    pub label_classes: Vec<Option<String>>,
    /// `true`, or the training dataset that the records move to.
    #[serde(default)]
    pub promote: Promote,
}

/// Whether labelled records become training data.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Promote {
    /// Whether they do.
    Whether(bool),
    /// Into this dataset.
    Into(String),
}

impl Default for Promote {
    fn default() -> Self {
        Self::Whether(false)
    }
}

/// What is answered to decisions and labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decided {
    /// Records that were changed.
    pub records: usize,
    /// The first and the last position in the log of the space.
    pub seq: [u64; 2],
    /// The position of the log at which the reference moved last.
    pub epoch: u64,
}

impl Curation {
    /// Notes decisions.
    pub fn decide(&self, place: &Place, name: &str, told: &Decisions) -> Result<Decided> {
        let space = self.space(place, name)?;
        let desk = self.desk(&space);
        let each = match (&told.decision, &told.decisions) {
            (ForAll::Told(one), None) => vec![one.clone(); told.ids.len()],
            // A client may say null of what it does not say.
            (ForAll::Untold | ForAll::Told(None), Some(each)) => each.clone(),
            _ => {
                let message = "Either `decision` or `decisions` is told.";
                return Err(Refusal::wrong("missing_field", message).field("decision"));
            }
        };
        same_length("decisions", each.len(), told.ids.len())?;
        let snooze = told.snooze_seconds.unwrap_or(SNOOZE_SECONDS);
        if !(snooze.is_finite() && snooze > 0.0) {
            let message = "A snooze lasts a number of seconds above 0.";
            return Err(Refusal::wrong("bad_time", message).field("snooze_seconds"));
        }
        let is_snoozed = |one: &Option<String>| one.as_deref() == Some(Decision::Snoozed.name());
        if told.snooze_seconds.is_some() && !each.iter().any(is_snoozed) {
            let message = "`snooze_seconds` is told, and no record is snoozed.";
            return Err(Refusal::wrong("unknown_field", message)
                .field("snooze_seconds")
                .hint("it stands beside the decision `snoozed` only"));
        }
        let now = self.now();
        let mut changes = Vec::with_capacity(each.len());
        for (row, decision) in each.iter().enumerate() {
            let decision = decision.as_deref().map(|name| decision_named(name, row));
            let decision = decision.transpose()?;
            let until = (decision == Some(Decision::Snoozed)).then_some(now + snooze);
            changes.push(vec![
                (fields::DECISION, text_or_null(decision.map(Decision::name))),
                (fields::DECIDED_AT, number_or_null(decision.map(|_| now))),
                (fields::SNOOZED_UNTIL, number_or_null(until)),
            ]);
        }
        self.change(&space, &desk, &told.ids, changes)
    }

    /// Sets labels, and moves records into training datasets.
    pub fn label(&self, place: &Place, name: &str, told: &Labels) -> Result<Decided> {
        let space = self.space(place, name)?;
        let desk = self.desk(&space);
        same_length("label_classes", told.label_classes.len(), told.ids.len())?;
        let dataset = match &told.promote {
            Promote::Whether(false) => None,
            Promote::Whether(true) => Some(Context::Training.name()),
            Promote::Into(name) => Some(name.as_str()),
        };
        if dataset == Some("") {
            let message = "The dataset to promote to has no name.";
            return Err(Refusal::wrong("empty_field", message).field("promote"));
        }
        self.follow(&space, &desk)?;
        let now = self.now();
        let mut changes = Vec::with_capacity(told.ids.len());
        for (row, (id, label)) in told.ids.iter().zip(&told.label_classes).enumerate() {
            let label = label.as_deref();
            if label == Some("") || (label.is_none() && dataset.is_some()) {
                let message = format!("Record {row} has no label to be promoted or set.");
                return Err(Refusal::wrong("empty_field", message)
                    .field(fields::LABEL_CLASS)
                    .row(row)
                    .hint("a class, or null without `promote` to take the label away"));
            }
            let mut change = vec![
                (fields::LABEL_CLASS, text_or_null(label)),
                (fields::DECIDED_AT, number_or_null(label.map(|_| now))),
            ];
            let known = {
                let state = desk.state.lock();
                let known = state.rows.get(id);
                known.map(|known| (known.is_production(), known.dataset.clone()))
            };
            let (is_production, from) = known.ok_or_else(|| no_record(id).row(row))?;
            if is_production {
                let decision = label.map(|_| Decision::Labelled.name());
                change.push((fields::DECISION, text_or_null(decision)));
            }
            if let Some(dataset) = dataset {
                change.push((
                    fields::CONTEXT,
                    text_or_null(Some(Context::Training.name())),
                ));
                change.push((fields::DATASET, text_or_null(Some(dataset))));
                if from != dataset {
                    change.push((fields::PROMOTED_FROM, text_or_null(Some(&from))));
                }
            }
            changes.push(change);
        }
        if let Some(dataset) = dataset {
            let datasets = [(dataset.to_owned(), Context::Training)];
            self.note_datasets(&space, &datasets, &crate::body::Head::default(), now)?;
        }
        self.change(&space, &desk, &told.ids, changes)
    }

    /// Changes metadata of records, which must all be there.
    pub(crate) fn change(
        &self,
        space: &Space,
        desk: &Desk,
        ids: &[String],
        changes: Vec<Vec<(&'static str, Value)>>,
    ) -> Result<Decided> {
        let most = self.database.limits().batch_records_max;
        if ids.is_empty() || ids.len() > most {
            let message = format!("The request names {} records.", ids.len());
            let (status, code) = if ids.is_empty() {
                (400, "empty_batch")
            } else {
                (413, "too_many_records")
            };
            return Err(Refusal::new(status, code, message)
                .field("ids")
                .hint(format!("1 to {most} records")));
        }
        let mut seen = HashSet::new();
        self.follow(space, desk)?;
        {
            let state = desk.state.lock();
            for (row, id) in ids.iter().enumerate() {
                if !state.rows.contains_key(id) {
                    return Err(no_record(id).row(row));
                }
                if !seen.insert(id) {
                    let message = format!("The record `{id}` is named twice.");
                    return Err(Refusal::wrong("duplicate_id", message)
                        .field("ids")
                        .row(row));
                }
            }
        }
        let rows = ids.len();
        let mut metadata = MetadataColumn::default();
        for change in changes {
            metadata.push_row(change);
        }
        let batch = RecordBatch {
            operations: vec![Operation::Update; rows],
            ids: ids.iter().map(String::as_str).collect(),
            embeddings: Embeddings::default(),
            documents: OptionalStrings::absent(rows),
            uris: OptionalStrings::absent(rows),
            metadata,
        };
        let seqs = self.database.write(space.scope(), batch)?;
        self.follow(space, desk)?;
        self.cover_decided(space, desk, ids)?;
        self.wake(space);
        let epoch = desk.state.lock().epoch;
        Ok(Decided {
            records: rows,
            seq: [seqs.first.0, seqs.last.0],
            epoch,
        })
    }
}

fn decision_named(name: &str, row: usize) -> Result<Decision> {
    Decision::named(name).ok_or_else(|| {
        let names = Decision::ALL.map(Decision::name).join(", ");
        Refusal::wrong("unknown_decision", format!("`{name}` is no decision."))
            .field("decision")
            .row(row)
            .hint(names)
    })
}

fn same_length(field: &str, found: usize, ids: usize) -> Result<()> {
    if found == ids {
        return Ok(());
    }
    let message = format!("`{field}` has {found} values, `ids` has {ids}.");
    Err(Refusal::wrong("length_mismatch", message).field(field))
}

fn text_or_null(text: Option<&str>) -> Value {
    text.map_or(Value::Null, |text| Value::Str(text.into()))
}

fn number_or_null(number: Option<f64>) -> Value {
    number.map_or(Value::Null, Value::Float)
}
