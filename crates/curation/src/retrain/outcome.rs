//! What completing a retraining does, and how it is before and after.
//!
//! What must stay true: all is judged before anything is done; what is done may be done again without
//! harm, since a process that dies in it does it again when the worker repeats itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};
use vermilion_engine::model::{Aggregate, Aggregated, GetRequest, RecordSelection, Survey, Value};
use vermilion_protocol::filters;
use vermilion_protocol::names::check_collection_name;

use super::run::{Outcome, Run, State};
use super::work::Completion;
use crate::body::Head;
use crate::fields::{self, Context};
use crate::key::embedding_set_key;
use crate::spaces::{Place, Space};
use crate::{Curation, Refusal, Result};

/// Numbers that a worker may tell.
const METRICS_MAX: usize = 1000;
/// Ids that are told at most of records that were trained on and are not there.
const MISSING_NAMED: usize = 20;
/// Classes that are told at most.
const CLASSES_MAX: usize = 10_000;

impl Curation {
    /// Opens the space of the new model, and marks what it was trained on.
    pub(super) fn carry_out(
        &self,
        place: &Place,
        space: &Space,
        run: &Run,
        told: &Completion,
    ) -> Result<Outcome> {
        let head = Head {
            space: told.space.clone(),
            embedding_set: told.embedding_set.clone(),
            ..Head::default()
        };
        let known = match &told.embedding_set {
            Some(_) => self.known_space(place, &head)?,
            None => None,
        };
        let opened = match (&told.embedding_set, known) {
            (None, _) => None,
            (Some(_), Some(known)) => Some(known),
            (Some(_), None) => {
                let metric = space.collection.schema.space();
                Some(self.make_space(place, &head, metric)?)
            }
        };
        let (consumed, missing) = self.consume(space, run, told.consumed_ids.as_deref())?;
        let named = missing.iter().take(MISSING_NAMED).cloned().collect();
        Ok(Outcome {
            embedding_set: told.embedding_set.clone(),
            embedding_set_key: told.embedding_set.as_ref().map(embedding_set_key),
            space_id: opened.as_ref().map(|space| space.collection.id),
            space: opened.map(|space| space.collection.name),
            metrics: json!(told.metrics.clone().unwrap_or_default()),
            metrics_before: json!(told.metrics_before.clone().unwrap_or_default()),
            consumed,
            consumed_missing: missing.len(),
            missing_ids: named,
            ..Outcome::empty()
        })
    }

    /// Marks records as consumed; how many there were, and those that are not there.
    fn consume(
        &self,
        space: &Space,
        run: &Run,
        ids: Option<&[String]>,
    ) -> Result<(usize, Vec<String>)> {
        let ids: BTreeSet<&String> = ids.unwrap_or_default().iter().collect();
        let desk = self.desk(space);
        self.follow(space, &desk)?;
        let (there, missing): (Vec<String>, Vec<String>) = {
            let state = desk.state.lock();
            let ids = ids.into_iter().cloned();
            ids.partition(|id| state.rows.contains_key(id))
        };
        for part in there.chunks(self.database.limits().batch_records_max) {
            let by = || vec![(fields::CONSUMED_BY, Value::Str(run.id.as_str().into()))];
            let changes = part.iter().map(|_| by()).collect();
            self.change(space, &desk, part, changes)?;
        }
        Ok((there.len(), missing))
    }

    /// The old model beside the new one, of a retraining that succeeded.
    pub(super) fn before_after(&self, space: &Space, run: &Run) -> Result<Json> {
        let Some(outcome) = run
            .outcome
            .as_ref()
            .filter(|_| run.state == State::Succeeded)
        else {
            return Ok(Json::Null);
        };
        let place = Place {
            tenant: space.collection.tenant.clone(),
            database: space.collection.database.clone(),
        };
        let after = outcome.space.as_ref();
        let after = after.and_then(|name| self.space(&place, name).ok());
        let new_classes = match &after {
            Some(after) => json!(self.training_classes(after)?),
            None => Json::Null,
        };
        let mut before = outcome
            .metrics_before
            .as_object()
            .cloned()
            .unwrap_or_default();
        for (name, value) in self.metrics_of(space) {
            before.entry(name).or_insert(value);
        }
        Ok(json!({
            "metrics": side_by_side(&before, outcome.metrics.as_object()),
            "training_classes": {
                "before": self.training_classes(space)?,
                "after": new_classes,
            },
        }))
    }

    /// What the retraining said of its model that made this space.
    fn metrics_of(&self, space: &Space) -> Map<String, Json> {
        let book = self.book.lock();
        let made = book.all().filter(|run| run.state == State::Succeeded);
        let made = made.filter_map(|run| run.outcome.as_ref());
        let mut made = made.filter(|outcome| outcome.space_id == Some(space.collection.id));
        let found = made.next_back();
        found
            .and_then(|outcome| outcome.metrics.as_object().cloned())
            .unwrap_or_default()
    }

    /// How many training records of a space have each label.
    fn training_classes(&self, space: &Space) -> Result<BTreeMap<String, u64>> {
        let training = json!({ fields::CONTEXT: Context::Training.name() });
        let filter = filters::parse(Some(training), None)
            .map_err(|error| Refusal::new(error.status, "internal", error.message))?;
        let request = GetRequest {
            selection: RecordSelection { ids: None, filter },
            limit: Some(0),
            ..GetRequest::default()
        };
        let survey = Survey {
            order_by: Vec::new(),
            aggregates: vec![Aggregate::CountBy {
                key: fields::LABEL_CLASS.to_owned(),
                limit: CLASSES_MAX,
            }],
        };
        let (_, told) = self.database.survey(space.scope(), &request, &survey)?;
        let Some(Aggregated::Counts { values, .. }) = told.into_iter().next() else {
            return Ok(BTreeMap::new());
        };
        let classes = values.into_iter().filter_map(|(value, count)| match value {
            Value::Str(class) => Some((class.into(), count)),
            _ => None,
        });
        Ok(classes.collect())
    }
}

/// Judges what a worker says that is done.
pub(super) fn check_completion(told: &Completion) -> Result<()> {
    for (field, metrics) in [
        ("metrics", &told.metrics),
        ("metrics_before", &told.metrics_before),
    ] {
        let Some(metrics) = metrics else { continue };
        if metrics.len() > METRICS_MAX {
            let message = format!("{} metrics are too many.", metrics.len());
            return Err(Refusal::wrong("out_of_range", message)
                .field(field)
                .hint(format!("{METRICS_MAX} at most")));
        }
        let odd = metrics
            .iter()
            .find(|(_, value)| !value.is_number() && !value.is_null());
        if let Some((name, _)) = odd {
            let message = format!("The metric `{name}` is no number.");
            return Err(Refusal::wrong("wrong_type", message)
                .field(format!("{field}.{name}"))
                .hint("a number, or null"));
        }
    }
    if told.space.is_some() && told.embedding_set.is_none() {
        let message = "A space is named, and no embedding set.";
        return Err(Refusal::wrong("missing_field", message)
            .field("embedding_set")
            .hint("the embedding set of the new model, any JSON object"));
    }
    if let Some(name) = &told.space {
        check_collection_name("space", name)
            .map_err(|error| Refusal::wrong("bad_space_name", error.message).field("space"))?;
    }
    Ok(())
}

/// Each metric before and after, and by how much it changed.
fn side_by_side(before: &Map<String, Json>, after: Option<&Map<String, Json>>) -> Json {
    let empty = Map::new();
    let after = after.unwrap_or(&empty);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let told = names.into_iter().map(|name| {
        let number = |of: &Map<String, Json>| of.get(name).and_then(Json::as_f64);
        let (before, after) = (number(before), number(after));
        let change = before.zip(after).map(|(before, after)| after - before);
        let told = json!({ "before": before, "after": after, "change": change });
        (name.clone(), told)
    });
    Json::Object(told.collect())
}
