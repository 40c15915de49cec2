//! Conditions that say how the model does: what no label covers, how often it is right, whether
//! production has moved.
//!
//! What must stay true: each says its numbers, whether it holds or not; one that cannot be judged yet
//! does not hold, and says what is missing.

use serde_json::{Value as Json, json};
use vermilion_scores::{DriftBucket, RandomFeatures, counted_interval, drift as compare};

use super::judge::Facts;
use super::policy::{Drift, Performance, verdict};
use crate::desk::Row;
use crate::drift::Side;
use crate::{Asked, Curation, Result};

/// Records of the reference, and of each window, that stand for all of them.
const SAMPLE: usize = 1000;
/// Records of a window below which it says nothing.
const WINDOW_MIN: usize = 20;
/// Deals of the permutation test: no p is below one in a thousand.
const DEALS: usize = 999;

impl Curation {
    /// Whether enough of what the model is uncertain about is covered by no label.
    pub(super) fn coverage(&self, above: f64, facts: &Facts<'_>) -> Result<Json> {
        let unmet = |text: &str| {
            let numbers = json!({ "above": above, "share": null });
            Ok(verdict("coverage", false, text, numbers))
        };
        let ready = self.ready_desk(facts.space)?;
        let desk = &ready.desk;
        let (has_reference, stale, epoch) = {
            let state = desk.state.lock();
            (state.reference.is_some(), state.stale(), state.epoch)
        };
        if !has_reference {
            return unmet("There is no labelled training data yet.");
        }
        if !ready.is_whole() {
            return unmet(&format!("{stale} records have no scores yet."));
        }
        if facts.fired_epoch == Some(epoch) {
            return unmet(FIRED_ALREADY);
        }
        let wanted = crate::recommend::wanted(&Asked::default())?;
        let list = self.list(facts.space, &ready, &wanted, false)?.list;
        let Some(list) = list.filter(|list| list.epoch == epoch) else {
            return unmet("The list is being made.");
        };
        let share = if list.mass > 0.0 {
            list.uncovered / list.mass
        } else {
            0.0
        };
        let text = format!(
            "No label covers {:.1} % of what the model is uncertain about in production; more than {:.1} % is asked for.",
            100.0 * share,
            100.0 * above
        );
        let numbers = json!({
            "above": above,
            "share": share,
            "mass": list.mass,
            "uncovered": list.uncovered,
        });
        Ok(verdict("coverage", share > above, &text, numbers))
    }

    /// Whether the model is right too seldom.
    pub(super) fn performance(&self, asked: Performance, facts: &Facts<'_>) -> Result<Json> {
        let Performance {
            below,
            is_measured,
            window_seconds,
            records_min,
        } = asked;
        let ready = self.ready_desk(facts.space)?;
        let desk = &ready.desk;
        let since = window_seconds.map_or(f64::NEG_INFINITY, |window| facts.now - window);
        let model = if is_measured {
            None
        } else {
            self.correctness(facts.space, desk, &|| true)?
        };
        let (found, epoch, stale): (Vec<f64>, u64, usize) = {
            let state = desk.state.lock();
            let rows = state.rows.values().filter(|row| row.observed_at >= since);
            let found = match &model {
                Some(model) => model.of_all(rows.filter(|row| row.is_production())),
                None if is_measured => rows.filter_map(measured).collect(),
                None => Vec::new(),
            };
            (found, state.epoch, state.stale())
        };
        let by = if is_measured { "measured" } else { "estimated" };
        let mut numbers =
            json!({ "below": below, "by": by, "records": found.len(), "accuracy": null });
        // Those that are scored already are no even part of all.
        if !is_measured && !ready.is_whole() {
            let text = format!("{stale} records have no scores yet.");
            return Ok(verdict("performance", false, &text, numbers));
        }
        if (found.len() as u64) < records_min {
            let text = format!(
                "The accuracy is known of {} records; {records_min} are asked for.",
                found.len()
            );
            return Ok(verdict("performance", false, &text, numbers));
        }
        let accuracy = found.iter().sum::<f64>() / found.len() as f64;
        numbers["accuracy"] = json!(accuracy);
        if is_measured {
            let right = found.iter().sum::<f64>() as u64;
            let (least, most) = counted_interval(right, found.len() as u64);
            numbers["interval"] = json!([least, most]);
        }
        if facts.fired_epoch == Some(epoch) {
            return Ok(verdict("performance", false, FIRED_ALREADY, numbers));
        }
        let text = format!(
            "The {by} accuracy of {} records is {:.1} %; below {:.1} % is asked for.",
            found.len(),
            100.0 * accuracy,
            100.0 * below
        );
        Ok(verdict("performance", accuracy < below, &text, numbers))
    }

    /// Records that stand for all of a kind, as they are read.
    fn side(&self, facts: &Facts<'_>, is_of_it: impl Fn(&Row) -> bool) -> Result<Side> {
        let mut side = Side::of(&mut facts.desk.state.lock(), SAMPLE, is_of_it);
        self.read_side(facts.space, &mut side)?;
        Ok(side)
    }

    /// Whether production has moved in each of the last whole windows.
    pub(super) fn moved(&self, asked: Drift, facts: &Facts<'_>) -> Result<Json> {
        let length = asked.window_seconds;
        let end = (facts.now / length).floor() * length;
        let begin = end - length * asked.windows as f64;
        let mut numbers = json!({
            "alpha": asked.alpha,
            "windows": asked.windows,
            "window_seconds": length,
            "from": begin,
            "to": end,
            "p": [],
        });
        if facts.fired_at.is_some_and(|fired| begin < fired) {
            let text = "Too little time has passed since it fired last.";
            return Ok(verdict("drift", false, text, numbers));
        }
        let reference = self.side(facts, Row::is_reference)?;
        if reference.members.is_empty() {
            let text = "There is no labelled training data yet.";
            return Ok(verdict("drift", false, text, numbers));
        }
        let features = RandomFeatures::fit(reference.rows(), 0);
        let before = summary(&reference, &features);
        let mut found = Vec::new();
        for at in 0..asked.windows {
            let from = begin + length * at as f64;
            let range = from..from + length;
            let is_of_it = |row: &Row| row.is_production() && range.contains(&row.observed_at);
            let window = self.side(facts, is_of_it)?;
            if window.members.len() < WINDOW_MIN {
                let text = format!(
                    "A window has {} records of production; {WINDOW_MIN} are needed.",
                    window.members.len()
                );
                return Ok(verdict("drift", false, &text, numbers));
            }
            let now = summary(&window, &features);
            let p = compare(&before, &now, DEALS, 0).p;
            found.extend(p);
            if p.is_none_or(|p| p >= asked.alpha) {
                break;
            }
        }
        let is_met = found.len() as u64 == asked.windows && found.iter().all(|p| *p < asked.alpha);
        numbers["p"] = json!(found);
        let text = if is_met {
            format!(
                "Production differs from training in {} windows, each with p below {}.",
                asked.windows, asked.alpha
            )
        } else {
            "Production does not differ from training in each of the windows.".to_owned()
        };
        Ok(verdict("drift", is_met, &text, numbers))
    }
}

/// What is said where new training data is waited for.
const FIRED_ALREADY: &str = "It has fired for the training data that there is.";

/// Whether the model was right about a record that a person labelled after it had spoken.
fn measured(row: &Row) -> Option<f64> {
    let said = row.inferred.filter(|_| row.decided_at > 0.0)?;
    let label = row.label?;
    Some(f64::from(u8::from(label == said)))
}

/// A summary of all that was read of a side.
fn summary(side: &Side, features: &RandomFeatures) -> DriftBucket {
    let own = side.features(features);
    side.bucket(0..side.members.len(), &own, None, SAMPLE)
}
