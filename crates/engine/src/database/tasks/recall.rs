//! The task that makes some searches again exactly: users are told how much of the nearest is
//! found, and indexes that find too little are read further.

use serde::Serialize;
use serde_json::Value;

use super::{Inner, asked_collection, told};
use crate::Result;
use crate::indexing::{Corrections, RecallReport};
use crate::maintenance::Setbacks;
use crate::schedule::Run;

/// Searches kept of a collection from which on a check says something.
const SEARCHES_MIN: usize = 16;

#[derive(Default, Serialize)]
struct CheckReport {
    /// Searches that wait to be made again.
    waiting: usize,
    collections: Vec<CheckedCollection>,
}

#[derive(Serialize)]
struct CheckedCollection {
    collection: String,
    name: String,
    #[serde(flatten)]
    report: RecallReport,
}

impl Inner {
    /// Checks the searches of the collection that was named, else of those with enough of them.
    pub(super) fn check_recall(&self, run: &Run<'_>) -> Result<Value> {
        let asked = asked_collection(run)?;
        let storage = self.config.storage.as_ref();
        let (mut report, mut corrections) = (CheckReport::default(), Vec::new());
        let mut setbacks = Setbacks::default();
        for collection in self.all_collections() {
            let waiting = collection.samples().waiting();
            report.waiting += waiting;
            let wanted = match asked {
                Some(id) => collection.id == id,
                None => waiting >= SEARCHES_MIN,
            };
            if !wanted || run.dry_run || collection.is_deleted() {
                continue;
            }
            if !run.go_on() {
                break;
            }
            let checked = collection.check_recall(storage, &|| run.go_on());
            let checked = setbacks.pass(checked, None)?;
            corrections.extend(collection.corrections());
            report.collections.extend(checked.map(|report| {
                let collection = collection.info();
                CheckedCollection {
                    collection: collection.id.to_string(),
                    name: collection.name.clone(),
                    report,
                }
            }));
        }
        Corrections::keep(storage, &corrections, || self.catalog.load())?;
        told(&setbacks.end(report)?)
    }
}
