//! How much each signal counts in `trouble`, and why, in numbers and words.
//!
//! What must stay true: what is told here is what trouble is made of: the shares told of a record, times its
//! percentiles, sum to its trouble.

use serde_json::{Value as Json, json};
use vermilion_scores::{Signal, SignalPercentiles, SignalWeights};

use crate::assess::{AsOf, Assessment, no_reference};
use crate::desk::State;
use crate::spaces::Place;
use crate::{Curation, Result};

impl Curation {
    /// How much each signal counts in the trouble of a space's records.
    pub fn signals(&self, place: &Place, name: &str) -> Result<Json> {
        let space = self.space(place, name)?;
        let desk = self.ready_desk(&space)?.desk;
        let mut state = desk.state.lock();
        if state.reference.is_none() {
            return Err(no_reference());
        }
        let percentiles = state.percentiles();
        let mut told = weighed(&state, &percentiles);
        let as_of = AsOf::of(&state);
        told["epoch"] = json!(as_of.epoch);
        told["as_of_seq"] = json!(as_of.as_of_seq);
        told["stale_records"] = json!(as_of.stale_records);
        Ok(told)
    }
}

/// What signals count, of which records of the reference that is known, and what percentiles are among.
pub(crate) fn weighed(state: &State, percentiles: &SignalPercentiles) -> Json {
    let weights = percentiles.weights();
    let shares = weights.shares([true; Signal::ALL.len()]);
    let told = Signal::ALL.map(|signal| {
        let own = weights.signal(signal);
        json!({
            "signal": signal.name(),
            "share": shares[signal as usize],
            "weight": own.weight,
            "tells_errors": own.tells_errors,
            "tells_unknown": own.tells_unknown,
            "explanation": why(weights, signal),
        })
    });
    let among = if percentiles.from_training() {
        "training"
    } else {
        "production"
    };
    json!({
        "signals": told,
        "right": weights.right,
        "wrong": weights.wrong,
        "percentiles_among": among,
        "weights_epoch": state.held_out.0,
        "ready": state.held_out.0 == state.epoch,
    })
}

/// Why a signal counts as much as it does.
fn why(weights: &SignalWeights, signal: Signal) -> String {
    let own = weights.signal(signal);
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    if weights.right + weights.wrong == 0 {
        return "training was not measured yet, so that all signals count alike".to_owned();
    }
    let errors = own.tells_errors.map_or_else(
        || "no errors on training to tell, so that it counts fully".to_owned(),
        |chance| {
            format!(
                "{} of the time higher where training, but for the record, is wrong about it than where it is right",
                percent(chance)
            )
        },
    );
    let unknown = own.tells_unknown.map(|chance| {
        format!(
            "; {} of the time higher where its class is left out",
            percent(chance)
        )
    });
    format!("{errors}{}", unknown.unwrap_or_default())
}

/// How the trouble of a record is summed up.
pub(crate) fn sum_in_words(assessment: &Assessment) -> Option<String> {
    let trouble = assessment.trouble?;
    let mut parts: Vec<_> = assessment.parts.iter().collect();
    let counts = |part: &crate::assess::Part| part.share * part.percentile;
    parts.sort_by(|a, b| counts(b.1).total_cmp(&counts(a.1)).then(a.0.cmp(b.0)));
    let parts = parts.into_iter().map(|(name, part)| {
        let (share, percentile) = (part.share, part.percentile);
        format!("{share:.2} x {percentile:.2} ({})", name.replace('_', " "))
    });
    let parts: Vec<String> = parts.collect();
    Some(format!(
        "trouble {trouble:.2} = {}: the share of each signal times its percentile",
        parts.join(" + ")
    ))
}
