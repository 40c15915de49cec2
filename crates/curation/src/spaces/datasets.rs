//! Datasets: named bags of records in a space.
//!
//! What must stay true: of which context a dataset is, its records say, each for itself; what is noted of it besides
//! is since when it is there, since when it has training, and what its user says.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use serde_json::{Value as Json, json};
use vermilion_engine::catalog::Document;

use super::Space;
use super::contents::Contexts;
use crate::body::Head;
use crate::fields::Context;
use crate::{Curation, Result};

/// Documents about datasets.
pub(crate) const DATASETS: &str = "curation_dataset";
/// The member of such a document that says since when the dataset has training records: seconds since 1970.
pub(crate) const TRAINING_SINCE: &str = "training_since";

/// What is told of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatasetSummary {
    /// Its name.
    pub name: String,
    /// Records in it.
    pub records: u64,
    /// Records of each context.
    pub contexts: BTreeMap<String, u64>,
    /// The context of all its records; none where they have several.
    pub context: Option<String>,
    /// Seconds since 1970 of its first record.
    pub created_at: Option<f64>,
    /// What the user says of it.
    pub metadata: Json,
}

impl Curation {
    /// Notes datasets that are not known yet, and what the user says of the one of the batch.
    pub(crate) fn note_datasets(
        &self,
        space: &Space,
        datasets: &[(String, Context)],
        head: &Head,
        now: f64,
    ) -> Result<()> {
        for (name, context) in datasets {
            let key = space.document_key(name);
            let known = self.database.document(DATASETS, &key)?;
            let said = head.dataset.as_ref().filter(|said| *said == name);
            let said = said.and(head.dataset_metadata.as_ref());
            let begins = *context == Context::Training;
            let mut body = match &known {
                None => json!({ "context": context.name(), "created_at": now, "metadata": said }),
                Some(known) => known.body.clone(),
            };
            if said.is_some() {
                body["metadata"] = json!(said);
            }
            // Of one that was noted with training, `created_at` says it.
            let is_noted = known.is_some() && body["context"] == Context::Training.name();
            if begins && !is_noted && body[TRAINING_SINCE].is_null() {
                body[TRAINING_SINCE] = json!(now);
            }
            if known.is_some_and(|known| known.body == body) {
                continue;
            }
            self.database.put_document(Document {
                kind: DATASETS.to_owned(),
                key,
                body,
            })?;
        }
        Ok(())
    }

    /// What is told of each dataset.
    pub(super) fn dataset_summaries(
        &self,
        space: &Space,
        counts: BTreeMap<String, u64>,
        mut by_context: BTreeMap<String, Contexts>,
    ) -> Result<Vec<DatasetSummary>> {
        let mut known = HashMap::new();
        let prefix = space.document_key("");
        for document in self.database.documents(DATASETS, &prefix)? {
            known.insert(document.key[prefix.len()..].to_owned(), document.body);
        }
        let told = counts.into_iter().map(|(name, records)| {
            let body = known.remove(&name).unwrap_or_default();
            let contexts = by_context.remove(&name).unwrap_or_default();
            let mut names = contexts.keys();
            let only = names.next().filter(|_| names.next().is_none()).cloned();
            DatasetSummary {
                records,
                context: only,
                contexts,
                created_at: body["created_at"].as_f64(),
                metadata: body["metadata"].clone(),
                name,
            }
        });
        Ok(told.collect())
    }
}
