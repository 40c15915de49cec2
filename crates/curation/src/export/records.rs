//! Exports of records: all of a space with what is known of them, and the labelled ones of training.
//!
//! What must stay true: records are told in the order of their ids, a page at a time, as they are when their
//! page is read; those that are gone by then are left out.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};
use vermilion_engine::model::{Fetched, Filter, SparseVector, Value};

use super::{AskedExport, PAGE, Put};
use crate::assess::known_datasets;
use crate::desk::{Desk, Row, having, places};
use crate::fields::{self, Context};
use crate::list::filter_told;
use crate::spaces::Space;
use crate::{Curation, Result};

impl Curation {
    /// All records that are meant, with what the model and people said of them.
    pub(super) fn export_records(
        &self,
        space: &Space,
        asked: &AskedExport,
        put: Put<'_>,
    ) -> Result<bool> {
        let ready = self.ready_desk(space)?;
        let desk = &ready.desk;
        if ready.is_read {
            known_datasets(&desk.state.lock(), &asked.dataset, "dataset")?;
        }
        let mut parts: Vec<Filter> = filter_told(asked.filter.clone())?.into_iter().collect();
        let context = asked.context.map(|one| having(fields::CONTEXT, one.name()));
        let dataset = asked.dataset.as_ref();
        parts.extend(context);
        parts.extend(dataset.map(|name| having(fields::DATASET, name)));
        let meant = self.meant(space, &Filter::And(parts))?;
        self.export_pages(space, meant, put, |found, there| told(desk, found, there))
    }

    /// Labelled records of training that are meant.
    pub(super) fn export_training(
        &self,
        space: &Space,
        asked: &AskedExport,
        put: Put<'_>,
    ) -> Result<bool> {
        let desk = self.desk(space);
        self.follow(space, &desk)?;
        let filter = filter_told(asked.filter.clone())?;
        let meant = filter
            .map(|filter| self.meant(space, &filter))
            .transpose()?;
        let is_meant = |id: &String, row: &Row| {
            row.is_reference()
                && asked
                    .dataset
                    .as_ref()
                    .is_none_or(|name| row.dataset == *name)
                && meant.as_ref().is_none_or(|meant| meant.contains(id))
        };
        let ids: BTreeSet<String> = {
            let state = desk.state.lock();
            known_datasets(&state, &asked.dataset, "dataset")?;
            let rows = state.rows.iter().filter(|(id, row)| is_meant(id, row));
            rows.map(|(id, _)| id.clone()).collect()
        };
        self.export_pages(space, ids, put, |found, there| {
            let mut records: Vec<Json> = there.iter().map(|at| record(found, *at)).collect();
            // As they are now, some may be none of them any more.
            records.retain(|record| {
                let is_training = record[fields::CONTEXT] == Context::Training.name();
                is_training && record[fields::LABEL_CLASS].is_string()
            });
            records
        })
    }

    /// Writes records page by page, each as `tell` says of it.
    fn export_pages(
        &self,
        space: &Space,
        ids: BTreeSet<String>,
        put: Put<'_>,
        tell: impl Fn(&Fetched, &[usize]) -> Vec<Json>,
    ) -> Result<bool> {
        let ids: Vec<String> = ids.into_iter().collect();
        if ids.is_empty() {
            return put(&[]);
        }
        for part in ids.chunks(PAGE) {
            let found = self.fetch(space, part)?;
            let there: Vec<usize> = places(&found.ids, part).into_iter().flatten().collect();
            if !put(&tell(&found, &there))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Records by their fields, with their scores.
pub(crate) fn told(desk: &Desk, found: &Fetched, there: &[usize]) -> Vec<Json> {
    let mut records: Vec<Json> = there.iter().map(|at| record(found, *at)).collect();
    let mut state = desk.state.lock();
    let percentiles = state.percentiles();
    for (record, at) in records.iter_mut().zip(there) {
        let row = state.rows.get(found.ids.get(*at));
        let scored = row.and_then(|row| Some((row.signals?, row.scored)));
        record["trouble"] = json!(scored.and_then(|one| percentiles.trouble(&one.0).value));
        record["score_epoch"] = json!(scored.map(|one| one.1));
    }
    records
}

/// A record by its fields, its own metadata under `metadata`, its document as `thumbnail`.
fn record(found: &Fetched, at: usize) -> Json {
    let mut told = Map::new();
    let mut own = Map::new();
    let cells = found.metadatas.as_ref().map(|all| all.row(at));
    for (key, value) in cells.into_iter().flatten() {
        match value {
            Value::Sparse(scores) if key == fields::PROBABILITIES => {
                told.insert(key.to_owned(), by_class(scores));
            }
            _ => {
                let members = if fields::is_reserved(key) {
                    &mut told
                } else {
                    &mut own
                };
                members.extend(fields::plain(value).map(|value| (key.to_owned(), value)));
            }
        }
    }
    let vector = found.embeddings.as_ref().and_then(|all| all.get(at));
    let uri = found.uris.as_ref().and_then(|uris| uris.get(at));
    told.insert("id".to_owned(), found.ids.get(at).into());
    told.insert("input_uri".to_owned(), uri.into());
    told.insert("embedding".to_owned(), json!(vector));
    told.insert("metadata".to_owned(), own.into());
    let document = found.documents.as_ref().and_then(|all| all.get(at));
    told.insert("thumbnail".to_owned(), document.into());
    Json::Object(told)
}

/// Probabilities by the names of their classes.
fn by_class(scores: &SparseVector) -> Json {
    let classes = scores.tokens.iter().flatten().cloned();
    let values = scores.values.iter().map(|value| json!(value));
    classes.zip(values).collect::<Map<_, _>>().into()
}
