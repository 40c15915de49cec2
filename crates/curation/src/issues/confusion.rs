//! How often each label goes with each inference.
//!
//! What must stay true: cells are in the order of their classes, so that pages lead through all of them; whatever page
//! is told, the classes and the sums are those of all records that were asked about.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value as Json, json};

use super::ask::check_limit;
use crate::assess::{AsOf, known_datasets};
use crate::desk::{Row, State};
use crate::fields::Context;
use crate::list::filter_told;
use crate::spaces::{Place, Space};
use crate::{Curation, Result};

/// Examples of a cell.
const EXAMPLES: usize = 5;
/// Cells of a page, unless more or fewer are asked for.
const PAGE: usize = 500;

/// Of which records, and which cells.
#[derive(Clone, Debug, Default)]
pub struct AskedConfusion {
    /// Only those of this dataset.
    pub dataset: Option<String>,
    /// Only those of this context.
    pub context: Option<String>,
    /// Only those that this filter means.
    pub filter: Option<Json>,
    /// Cells to pass over.
    pub offset: usize,
    /// Cells of the page.
    pub limit: Option<usize>,
}

impl AskedConfusion {
    /// Refuses a dataset that no record has, where all records were read.
    fn check_dataset(&self, state: &State, is_read: bool) -> Result<()> {
        if is_read {
            known_datasets(state, &self.dataset, "dataset")?;
        }
        Ok(())
    }

    /// The places of the cells that are told.
    fn page(&self) -> Range<usize> {
        let end = self.offset.saturating_add(self.limit.unwrap_or(PAGE));
        self.offset..end
    }
}

/// A class in a confusion: how often it is the label, the inference, and both.
#[derive(Default)]
struct Tally {
    labelled: u64,
    inferred: u64,
    agreed: u64,
}

/// Labels by inferences, of some records.
#[derive(Default)]
struct Counted<'a> {
    /// How often each label goes with each inference, with examples.
    cells: BTreeMap<(&'a str, &'a str), (u64, Vec<&'a str>)>,
    classes: BTreeMap<&'a str, Tally>,
    agreed: u64,
    total: u64,
    by_server: u64,
}

impl Curation {
    /// How often each label goes with each inference, with examples. Where the model said nothing, the
    /// class that the server says in its place counts.
    pub fn confusion(&self, place: &Place, name: &str, asked: &AskedConfusion) -> Result<Json> {
        let context = asked.context.as_deref().map(Context::told).transpose()?;
        check_limit("limit", asked.limit, "`offset`")?;
        let filter = filter_told(asked.filter.clone())?;
        let space = self.space(place, name)?;
        let ready = self.ready_desk(&space)?;
        let desk = &ready.desk;
        let meant = self.meant_by(&space, filter.as_ref())?;
        let state = desk.state.lock();
        asked.check_dataset(&state, ready.is_read)?;
        let mut counted = Counted::default();
        for (id, row) in &state.rows {
            let is_meant = asked
                .dataset
                .as_ref()
                .is_none_or(|name| row.dataset == *name)
                && context.is_none_or(|context| row.context == Some(context))
                && meant.as_ref().is_none_or(|meant| meant.contains(id));
            if is_meant {
                counted.add(&state, id, row);
            }
        }
        Ok(counted.tell(asked.page(), AsOf::of(&state), ready.is_whole()))
    }

    /// The same of all records of each context.
    pub(crate) fn confusions(&self, space: &Space) -> Result<Map<String, Json>> {
        let ready = self.ready_desk(space)?;
        let state = ready.desk.state.lock();
        let mut counted = Context::ALL.map(|_| Counted::default());
        for (id, row) in &state.rows {
            if let Some(context) = row.context {
                counted[context as usize].add(&state, id, row);
            }
        }
        let told = Context::ALL.into_iter().zip(counted).map(|(context, one)| {
            let told = one.tell(0..usize::MAX, AsOf::of(&state), ready.is_whole());
            (context.name().to_owned(), told)
        });
        Ok(told.collect())
    }
}

impl<'a> Counted<'a> {
    /// Counts a record that has a label and an inference.
    fn add(&mut self, state: &'a State, id: &'a str, row: &Row) {
        let Some((label, inferred)) = row.label.zip(row.class()) else {
            return;
        };
        let key = (state.classes.name(label), state.classes.name(inferred));
        let cell = self.cells.entry(key).or_default();
        cell.0 += 1;
        if cell.1.len() < EXAMPLES {
            cell.1.push(id);
        }
        let same = u64::from(label == inferred);
        self.classes.entry(key.0).or_default().labelled += 1;
        self.classes.entry(key.1).or_default().inferred += 1;
        self.classes.entry(key.0).or_default().agreed += same;
        self.agreed += same;
        self.total += 1;
        self.by_server += u64::from(row.inferred.is_none());
    }

    fn tell(self, page: Range<usize>, as_of: AsOf, is_ready: bool) -> Json {
        let share = |part: u64, all: u64| (all > 0).then(|| part as f64 / all as f64);
        let total = self.cells.len();
        let cells = self
            .cells
            .into_iter()
            .skip(page.start)
            .take(page.len())
            .map(|((label, inferred), (count, examples))| {
                json!({
                    "label_class": label,
                    "inference_class": inferred,
                    "count": count,
                    "examples": examples,
                })
            });
        let classes = self.classes.into_iter().map(|(class, tally)| {
            json!({
                "class": class,
                "labelled": tally.labelled,
                "inferred": tally.inferred,
                "agreed": tally.agreed,
                "recall": share(tally.agreed, tally.labelled),
                "precision": share(tally.agreed, tally.inferred),
            })
        });
        json!({
            "cells": cells.collect::<Vec<_>>(),
            "total": total,
            "classes": classes.collect::<Vec<_>>(),
            "records": self.total,
            "inferred_by_server": self.by_server,
            "accuracy": share(self.agreed, self.total),
            "epoch": as_of.epoch,
            "as_of_seq": as_of.as_of_seq,
            "stale_records": as_of.stale_records,
            "ready": is_ready,
        })
    }
}
