//! What is in a space: how many records of which dataset, context and label.
//!
//! What must stay true: it is of all that is acknowledged. A desk that has read the space, or nearly all of it, has it
//! counted; else the collection is asked, which says the same and takes as long as there are records.

use std::collections::BTreeMap;

use vermilion_engine::model::{
    Aggregate, Aggregated, CollectionScope, GetRequest, RecordSelection, Survey, Value,
};

use super::{Space, VALUES_MAX};
use crate::desk::{State, having};
use crate::fields::{self, Context};
use crate::{Curation, Result};

/// Records of each context.
pub(super) type Contexts = BTreeMap<String, u64>;

/// See the head of this file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Contents {
    pub(super) records: u64,
    pub(super) contexts: Contexts,
    /// Records of each dataset.
    pub(super) datasets: BTreeMap<String, u64>,
    /// The same by context.
    pub(super) by_context: BTreeMap<String, Contexts>,
    pub(super) classes: Vec<String>,
    /// Seconds since 1970 of the first and the last observation.
    pub(super) observed: Option<(f64, f64)>,
}

impl Curation {
    /// What is in a space, as of `head`, a position of its log, or later.
    pub(super) fn contents(&self, space: &Space, head: u64) -> Result<Contents> {
        let desk = self.desks.lock().get(&space.collection.id).cloned();
        let counted = match desk {
            Some(desk) => self.glance(space, &desk, head, Contents::counted)?,
            None => None,
        };
        match counted.flatten() {
            Some(contents) => Ok(contents),
            None => self.surveyed(space.scope()),
        }
    }

    /// The same by looking at the records.
    pub(super) fn surveyed(&self, scope: CollectionScope<'_>) -> Result<Contents> {
        let observed = || fields::OBSERVED_AT.to_owned();
        let aggregates = vec![
            count_by(fields::CONTEXT),
            count_by(fields::DATASET),
            count_by(fields::LABEL_CLASS),
            Aggregate::Min { key: observed() },
            Aggregate::Max { key: observed() },
        ];
        let mut told = self.aggregated(scope, None, aggregates)?.into_iter();
        let contexts = counts(told.next());
        let datasets = counts(told.next());
        let classes = counts(told.next());
        let first = moment(told.next().as_ref());
        let records = self.database.count(scope)?;
        Ok(Contents {
            by_context: self.dataset_contexts(scope, &contexts, &datasets, records)?,
            records,
            contexts,
            datasets,
            classes: classes.into_keys().collect(),
            observed: first.zip(moment(told.next().as_ref())),
        })
    }

    /// What values come to, of all records or of those of one context.
    fn aggregated(
        &self,
        scope: CollectionScope<'_>,
        context: Option<&str>,
        aggregates: Vec<Aggregate>,
    ) -> Result<Vec<Aggregated>> {
        let survey = Survey {
            order_by: Vec::new(),
            aggregates,
        };
        let request = GetRequest {
            selection: RecordSelection {
                ids: None,
                filter: context.map(|context| having(fields::CONTEXT, context)),
            },
            limit: Some(0),
            ..GetRequest::default()
        };
        Ok(self.database.survey(scope, &request, &survey)?.1)
    }

    /// How many records of each dataset have each context, by dataset.
    fn dataset_contexts(
        &self,
        scope: CollectionScope<'_>,
        contexts: &Contexts,
        datasets: &BTreeMap<String, u64>,
        records: u64,
    ) -> Result<BTreeMap<String, Contexts>> {
        let all_have_one = contexts.values().sum::<u64>() == records;
        let mut found: BTreeMap<String, Contexts> = BTreeMap::new();
        let mut left = datasets.clone();
        // The rarest first: what the others have not is left for the most frequent one without looking.
        let mut rising: Vec<(&String, &u64)> = contexts.iter().collect();
        rising.sort_by_key(|one| one.1);
        for (at, (context, _)) in rising.iter().enumerate() {
            let is_last = at + 1 == rising.len();
            let of_it = if is_last && all_have_one && datasets.len() < VALUES_MAX {
                std::mem::take(&mut left)
            } else {
                let aggregates = vec![count_by(fields::DATASET)];
                let told = self.aggregated(scope, Some(context), aggregates)?;
                counts(told.into_iter().next())
            };
            for (name, count) in of_it {
                if let Some(rest) = left.get_mut(&name) {
                    *rest = rest.saturating_sub(count);
                }
                if count > 0 {
                    found
                        .entry(name)
                        .or_default()
                        .insert((*context).clone(), count);
                }
            }
        }
        Ok(found)
    }
}

impl Contents {
    /// What a desk has counted; `None` where that is not all that records say.
    pub(super) fn counted(state: &mut State) -> Option<Self> {
        let mut contents = Self {
            observed: state.observed(),
            records: state.rows.len() as u64,
            ..Self::default()
        };
        let mut datasets = Vec::new();
        for (name, counted) in state.tally().datasets()? {
            let mut of_it = Contexts::new();
            for (context, rows) in Context::ALL.into_iter().zip(counted) {
                if *rows > 0 {
                    of_it.insert(context.name().to_owned(), *rows);
                    let all = contents.contexts.entry(context.name().to_owned());
                    *all.or_default() += rows;
                }
            }
            // Those without a name are of no dataset.
            if !name.is_empty() {
                datasets.push((name.clone(), counted.iter().sum()));
                contents.by_context.insert(name.clone(), of_it);
            }
        }
        contents.datasets = most(datasets).into_iter().collect();
        let named = |(label, rows)| (state.classes.name(label).to_owned(), rows);
        let labels = most(state.tally().labels().map(named).collect());
        contents.classes = labels.into_iter().map(|(name, _)| name).collect();
        contents.classes.sort();
        Some(contents)
    }
}

/// As many of these values as are told: the most frequent ones.
fn most(mut counted: Vec<(String, u64)>) -> Vec<(String, u64)> {
    if counted.len() > VALUES_MAX {
        counted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counted.truncate(VALUES_MAX);
    }
    counted
}

fn count_by(key: &str) -> Aggregate {
    Aggregate::CountBy {
        key: key.to_owned(),
        limit: VALUES_MAX,
    }
}

/// Texts with how often each is there.
fn counts(told: Option<Aggregated>) -> BTreeMap<String, u64> {
    let Some(Aggregated::Counts { values, .. }) = told else {
        return BTreeMap::new();
    };
    let texts = values.into_iter().filter_map(|(value, count)| match value {
        Value::Str(text) => Some((text.into(), count)),
        _ => None,
    });
    texts.collect()
}

fn moment(told: Option<&Aggregated>) -> Option<f64> {
    match told {
        Some(Aggregated::Value(Some(Value::Float(seconds)))) => Some(*seconds),
        Some(Aggregated::Value(Some(Value::Int(seconds)))) => Some(*seconds as f64),
        _ => None,
    }
}
