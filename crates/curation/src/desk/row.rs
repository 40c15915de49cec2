//! What a desk knows of one record, read from its metadata.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use vermilion_engine::model::Value;
use vermilion_scores::Signals;

use super::Names;
use crate::check::unsure;
use crate::fields::{self, Context};

/// What a person did with a recommendation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Labelled,
    Junk,
    Duplicate,
    Snoozed,
    ModelIsRight,
}

impl Decision {
    pub(crate) const ALL: [Self; 5] = [
        Self::Labelled,
        Self::Junk,
        Self::Duplicate,
        Self::Snoozed,
        Self::ModelIsRight,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Labelled => "labelled",
            Self::Junk => "junk",
            Self::Duplicate => "duplicate",
            Self::Snoozed => "snoozed",
            Self::ModelIsRight => "model_is_right",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// A record on the desk. Classes and groups are numbers of the desk's [`Names`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) context: Option<Context>,
    pub(crate) dataset: String,
    pub(crate) label: Option<u32>,
    /// What the model said.
    pub(crate) inferred: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) decision: Option<Decision>,
    /// Seconds since 1970; 0 where nobody has decided.
    pub(crate) decided_at: f64,
    pub(crate) snoozed_until: f64,
    /// Whether a model was retrained on it.
    pub(crate) is_consumed: bool,
    /// Seconds since 1970 at which the model met it.
    pub(crate) observed_at: f64,
    /// Whether it says so.
    pub(crate) is_dated: bool,
    /// Whether it says more or other things of its dataset, context, label or time than a row has room for.
    pub(crate) is_odd: bool,
    /// How uncertain its probabilities are.
    pub(crate) unsure: Option<f32>,
    /// Of the vector and what the model said of it: what signals are made from.
    pub(crate) print: u64,
    /// The vector, of a record of the reference.
    pub(crate) vector: Option<Vec<f32>>,
    pub(crate) signals: Option<Signals>,
    /// What it might be instead, as of its signals.
    pub(crate) rival: Rival,
    /// The epoch of the signals.
    pub(crate) scored: u64,
}

/// What else a record might be: the label that most of the training records which vote on it have, besides its class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rival {
    /// That label, and how many have it; `None` where all have the class.
    pub(crate) label: Option<(u32, u8)>,
    /// How many vote.
    pub(crate) voters: u8,
}

impl Rival {
    /// Of a record that is called `class`, by the labels of those that vote.
    pub(crate) fn of(class: Option<u32>, labels: impl Iterator<Item = u32>) -> Self {
        let mut votes: BTreeMap<u32, u8> = BTreeMap::new();
        let mut voters = 0;
        for label in labels {
            *votes.entry(label).or_default() += 1;
            voters += 1;
        }
        let others = votes.into_iter().filter(|(label, _)| Some(*label) != class);
        Self {
            label: others.max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0))),
            voters,
        }
    }
}

/// What signals of a record are made from, besides its vector.
#[derive(Clone, Copy, Default)]
pub(crate) struct Said {
    /// The class that the model said.
    pub(crate) inferred: Option<u32>,
    /// How uncertain its probabilities are.
    pub(crate) unsure: Option<f32>,
}

impl Row {
    /// Reads a record.
    pub(crate) fn read<'a>(
        cells: impl Iterator<Item = (&'a str, &'a Value)>,
        vector: &[f32],
        classes: &mut Names,
        groups: &mut Names,
    ) -> Self {
        let mut row = Self::default();
        for (key, value) in cells {
            match (key, value) {
                (fields::CONTEXT, Value::Str(text)) => {
                    row.context = Context::named(text);
                    row.is_odd |= row.context.is_none();
                }
                (fields::DATASET, Value::Str(text)) => {
                    row.dataset = text.to_string();
                    row.is_odd |= text.is_empty();
                }
                (fields::LABEL_CLASS, Value::Str(text)) => row.label = Some(classes.number(text)),
                (fields::INFERENCE_CLASS, Value::Str(text)) => {
                    row.inferred = Some(classes.number(text));
                }
                (fields::GROUP, Value::Str(text)) => row.group = Some(groups.number(text)),
                (fields::DECISION, Value::Str(text)) => row.decision = Decision::named(text),
                (fields::DECIDED_AT, Value::Float(at)) => row.decided_at = *at,
                (fields::DECIDED_AT, Value::Int(at)) => row.decided_at = *at as f64,
                (fields::CONSUMED_BY, Value::Str(_)) => row.is_consumed = true,
                (fields::SNOOZED_UNTIL, Value::Float(until)) => row.snoozed_until = *until,
                (fields::SNOOZED_UNTIL, Value::Int(until)) => row.snoozed_until = *until as f64,
                (fields::OBSERVED_AT, Value::Float(at)) => row.observe(*at),
                (fields::OBSERVED_AT, Value::Int(at)) => row.observe(*at as f64),
                (fields::PROBABILITIES, Value::Sparse(scores)) => {
                    row.unsure = unsure(&scores.values);
                }
                (
                    fields::CONTEXT | fields::DATASET | fields::LABEL_CLASS | fields::OBSERVED_AT,
                    other,
                ) => {
                    row.is_odd |= *other != Value::Null;
                }
                _ => {}
            }
        }
        let mut hasher = DefaultHasher::new();
        vector
            .iter()
            .for_each(|number| number.to_bits().hash(&mut hasher));
        row.inferred.hash(&mut hasher);
        row.unsure.map(f32::to_bits).hash(&mut hasher);
        row.print = hasher.finish();
        if row.is_reference() {
            row.vector = Some(vector.to_vec());
        }
        row
    }

    fn observe(&mut self, at: f64) {
        self.observed_at = at;
        self.is_dated = true;
    }

    /// The class that the model said, else the one that the server says in its place.
    pub(crate) fn class(&self) -> Option<u32> {
        self.inferred
            .or(self.signals.and_then(|signals| signals.inferred))
    }

    /// What the model said of it.
    pub(crate) fn said(&self) -> Said {
        Said {
            inferred: self.inferred,
            unsure: self.unsure,
        }
    }

    /// Whether scores are computed against it.
    pub(crate) fn is_reference(&self) -> bool {
        self.context == Some(Context::Training) && self.label.is_some()
    }

    /// Whether it is of production.
    pub(crate) fn is_production(&self) -> bool {
        self.context == Some(Context::Production)
    }

    /// Whether it has signals of its own.
    pub(crate) fn is_scored(&self) -> bool {
        matches!(self.context, Some(Context::Production | Context::Triage))
    }

    /// Whether somebody has decided about it, at `now`: seconds since 1970.
    pub(crate) fn is_decided(&self, now: f64) -> bool {
        match self.decision {
            _ if self.is_consumed => true,
            None => self.label.is_some(),
            Some(Decision::Snoozed) => self.snoozed_until > now,
            Some(_) => true,
        }
    }
}

/// A number that stands for an id, the same in every run.
pub(crate) fn number_of(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// The class that most have, the first of equals; `None` of none.
pub(crate) fn most_frequent(classes: impl Iterator<Item = u32>) -> Option<u32> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for class in classes {
        *counts.entry(class).or_default() += 1;
    }
    let most = counts
        .into_iter()
        .max_by_key(|&(class, count)| (count, Reverse(class)));
    most.map(|(class, _)| class)
}
