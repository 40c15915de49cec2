//! Everything that is known of one record, in numbers and words.
//!
//! What must stay true: what was worked out of all records is told as it was worked out last, and is null where
//! it was not; nobody waits for it here.

use serde_json::{Value as Json, json};
use vermilion_scores::Signals;

use crate::assess::{AsOf, Assessment, no_record, no_reference};
use crate::desk::{Decision, Desk, Reference, Row, State};
use crate::fields::Context;
use crate::recommend::usual;
use crate::signals::{sum_in_words, weighed};
use crate::spaces::Place;
use crate::{Curation, Result};

/// Classes whose distances are told.
const TOLD_CLASSES: usize = 3;

impl Curation {
    /// See the head of this file.
    pub fn explain(&self, place: &Place, name: &str, id: &str) -> Result<Json> {
        let space = self.space(place, name)?;
        let desk = self.ready_desk(&space)?.desk;
        let found = self.fetch(&space, &[id.to_owned()])?;
        if found.ids.is_empty() {
            return Err(no_record(id));
        }
        let reference = desk
            .state
            .lock()
            .reference
            .clone()
            .ok_or_else(no_reference)?;
        let assessed = self.assess_fetched(&space, &desk, &found)?;
        let assessment = assessed.into_iter().next().ok_or_else(|| no_record(id))?;
        let vectors = found.embeddings.unwrap_or_default();
        let reduced = reference.reduced(vectors.values(), vectors.dimension());
        let listed = listed(&desk, id)?;
        let covered = covered_by(&desk, &assessment);
        let drift = desk.drift.lock().clone();
        let drift = drift.and_then(|known| known.tell(vectors.values()));
        let labels = desk.studies.labels_of(reference.epoch);
        let point = desk.studies.map.last().and_then(|map| map.place_of(id));
        let mut state = desk.state.lock();
        let percentiles = state.percentiles();
        let row = state.rows.get(id);
        let signals: Option<&Signals> = row.and_then(|row| row.signals.as_ref());
        Ok(json!({
            "context": row.and_then(|row| row.context).map(Context::name),
            "dataset": row.map(|row| row.dataset.as_str()),
            "label_class": row.and_then(|row| row.label).map(|label| state.classes.name(label)),
            "decision": row.and_then(|row| row.decision).map(Decision::name),
            "input_uri": found.uris.as_ref().and_then(|uris| uris.get(0)),
            "trouble_explanation": sum_in_words(&assessment),
            "assessment": assessment,
            "score_epoch": signals.and(row).map(|row: &Row| row.scored),
            "weights": weighed(&state, &percentiles),
            "class_distances": class_distances(&state, &reference, &reduced),
            "covered_by": covered,
            "recommendation": listed,
            "label_issue": labels.and_then(|labels| labels.tell_of(id, &state)),
            "drift": drift,
            "map": point,
            "as_of": AsOf::of(&state),
        }))
    }
}

/// Where a record is on the usual list as it was made last.
fn listed(desk: &Desk, id: &str) -> Result<Option<Json>> {
    let list = desk.lists.lock().get(&usual()?.key);
    let found = list.as_ref().and_then(|list| {
        let mut entries = list.entries.iter().enumerate();
        entries.find(|(_, entry)| entry.id == id)
    });
    Ok(found.map(|(at, entry)| {
        json!({
            "rank": at + 1,
            "priority": entry.priority,
            "gain": entry.gain,
            "coverage": entry.coverage,
            "stands_for": entry.stands_for,
        })
    }))
}

/// The nearest training record, and how much of this one it covers.
fn covered_by(desk: &Desk, assessment: &Assessment) -> Option<Json> {
    let near = assessment.nearest_training.first()?;
    let square = f64::from(near.distance).powi(2);
    let radius = desk.lists.lock().radius();
    let share = radius.map(|radius| (-square / (2.0 * radius * radius)).exp());
    Some(json!({"id": near.id, "distance": near.distance, "share": share}))
}

/// The nearest classes.
fn class_distances(state: &State, reference: &Reference, vector: &[f32]) -> Vec<Json> {
    let classes = 0..reference.classes.len() as u32;
    let mut distances: Vec<(f64, &str)> = classes
        .filter_map(|class| {
            let distance = reference.classes.class_distance(class, vector)?;
            Some((distance, state.classes.name(class)))
        })
        .collect();
    distances.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
    let nearest = distances.into_iter().take(TOLD_CLASSES);
    nearest
        .map(|(distance, class)| json!({"class": class, "distance": distance}))
        .collect()
}
