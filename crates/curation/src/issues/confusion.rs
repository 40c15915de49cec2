//! How often each label goes with each inference.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use vermilion_protocol::filters;

use crate::assess::{AsOf, no_dataset};
use crate::desk::State;
use crate::fields::{self, Context};
use crate::spaces::Place;
use crate::{Curation, Refusal, Result};

/// Examples of a cell.
const EXAMPLES: usize = 5;

/// Of which records.
#[derive(Clone, Debug, Default)]
pub struct AskedConfusion {
    /// Only those of this dataset.
    pub dataset: Option<String>,
    /// Only those of this context.
    pub context: Option<String>,
    /// Only those that this filter means.
    pub filter: Option<Json>,
}

impl AskedConfusion {
    /// Refuses a dataset that no record has, where all records were read.
    fn check_dataset(&self, state: &State, is_read: bool) -> Result<()> {
        let unknown = |name: &&String| is_read && !state.has_dataset(name);
        let unknown = self.dataset.as_ref().filter(unknown);
        unknown.map_or(Ok(()), |name| Err(no_dataset(name, "dataset")))
    }
}

/// A class in a confusion: how often it is the label, the inference, and both.
#[derive(Default)]
struct Tally {
    labelled: u64,
    inferred: u64,
    agreed: u64,
}

impl Curation {
    /// How often each label goes with each inference, with examples. Where the model said nothing, the
    /// class that the server says in its place counts.
    pub fn confusion(&self, place: &Place, name: &str, asked: &AskedConfusion) -> Result<Json> {
        let context = asked.context.as_deref().map(context_named).transpose()?;
        let filter = filters::parse(asked.filter.clone(), None).map_err(|error| {
            Refusal::new(error.status, "bad_filter", error.message).field("where")
        })?;
        let space = self.space(place, name)?;
        let ready = self.ready_desk(&space)?;
        let desk = &ready.desk;
        let meant = self.meant(&space, filter.as_ref())?;
        let state = desk.state.lock();
        asked.check_dataset(&state, ready.is_read)?;
        let mut cells: BTreeMap<(&str, &str), (u64, Vec<&str>)> = BTreeMap::new();
        let mut classes: BTreeMap<&str, Tally> = BTreeMap::new();
        let (mut agreed, mut total, mut by_server) = (0_u64, 0_u64, 0_u64);
        for (id, row) in &state.rows {
            let is_meant = asked
                .dataset
                .as_ref()
                .is_none_or(|name| row.dataset == *name)
                && context.is_none_or(|context| row.context == Some(context))
                && meant.as_ref().is_none_or(|meant| meant.contains(id));
            let (true, Some(label), Some(inferred)) = (is_meant, row.label, row.class()) else {
                continue;
            };
            let key = (state.classes.name(label), state.classes.name(inferred));
            let cell = cells.entry(key).or_default();
            cell.0 += 1;
            if cell.1.len() < EXAMPLES {
                cell.1.push(id);
            }
            let same = u64::from(label == inferred);
            classes.entry(key.0).or_default().labelled += 1;
            classes.entry(key.1).or_default().inferred += 1;
            classes.entry(key.0).or_default().agreed += same;
            agreed += same;
            total += 1;
            by_server += u64::from(row.inferred.is_none());
        }
        let share = |part: u64, all: u64| (all > 0).then(|| part as f64 / all as f64);
        let cells = cells
            .into_iter()
            .map(|((label, inferred), (count, examples))| {
                json!({
                    "label_class": label,
                    "inference_class": inferred,
                    "count": count,
                    "examples": examples,
                })
            });
        let classes = classes.into_iter().map(|(class, tally)| {
            json!({
                "class": class,
                "labelled": tally.labelled,
                "inferred": tally.inferred,
                "agreed": tally.agreed,
                "recall": share(tally.agreed, tally.labelled),
                "precision": share(tally.agreed, tally.inferred),
            })
        });
        let as_of = AsOf::of(&state);
        Ok(json!({
            "cells": cells.collect::<Vec<_>>(),
            "classes": classes.collect::<Vec<_>>(),
            "records": total,
            "inferred_by_server": by_server,
            "accuracy": share(agreed, total),
            "epoch": as_of.epoch,
            "as_of_seq": as_of.as_of_seq,
            "stale_records": as_of.stale_records,
            "ready": ready.is_whole(),
        }))
    }
}

fn context_named(said: &str) -> Result<Context> {
    Context::named(said).ok_or_else(|| {
        Refusal::wrong("unknown_context", format!("`{said}` is no context."))
            .field(fields::CONTEXT)
            .hint(Context::ALL.map(Context::name).join(", "))
    })
}
