//! What leaves a space: datasets past their time, training that newer versions have replaced, and the
//! oldest of production.
//!
//! What must stay true: nothing leaves unless somebody said so, for the dataset or for the space; of
//! production what was decided stays; records leave through the log like every deletion, so that class
//! statistics give them back; a run that dies is begun again and takes what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use vermilion_engine::Error;
use vermilion_engine::catalog::Document;
use vermilion_engine::model::{CollectionId, RecordBatch};
use vermilion_engine::schedule::{Policy, Run, Trigger};

use crate::body::{TIMES, Time};
use crate::desk::{Desk, Row};
use crate::fields::Context;
use crate::spaces::{DATASETS, Place, Space};
use crate::{Curation, Refusal, Result};

/// The task, and its job.
pub(crate) const EXPIRY: &str = "curation_expiry";
/// Documents that say what a space keeps.
pub(crate) const RETENTION: &str = "curation_retention";
/// How often the job looks.
const EVERY: Duration = Duration::from_hours(1);
/// Records that are deleted at once.
const PAGE: usize = 1000;
/// How often they are looked at anew where others write them at the same time.
const TRIES: usize = 3;
/// The member of a dataset's metadata that says when it ends.
const EXPIRES_AT: &str = "expires_at";
const DAY_SECONDS: f64 = 86_400.0;

/// What a space keeps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Training datasets: the newest so many.
    pub keep_versions: usize,
    /// Days that undecided production stays.
    pub keep_days: f64,
    /// Records of undecided production, the newest so many.
    pub keep_records: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            keep_versions: 3,
            keep_days: 90.0,
            keep_records: 10_000_000,
        }
    }
}

/// What leaves, and why.
#[derive(Debug, Default)]
struct Leaving {
    /// Datasets, each with the reason.
    datasets: BTreeMap<String, &'static str>,
    /// Production, each with the reason.
    production: BTreeMap<String, &'static str>,
}

/// What has left.
#[derive(Default)]
struct Left {
    /// Of each record the reason and its dataset.
    records: Vec<(&'static str, String)>,
    /// The position of the last deletion in the log.
    seq: Option<u64>,
}

impl Leaving {
    /// Why a record leaves; `None` where it stays.
    fn why(&self, id: &str, row: &Row) -> Option<&'static str> {
        let of_dataset = self.datasets.get(&row.dataset).copied();
        of_dataset.or_else(|| self.production.get(id).copied().filter(|_| is_passing(row)))
    }
}

/// Whether a record of production stays only for a while.
fn is_passing(row: &Row) -> bool {
    let said = row.decision.is_some() || row.label.is_some() || row.is_consumed;
    row.is_production() && !said
}

impl Curation {
    /// Brings the job.
    pub(crate) fn bring_expiry(curation: &Arc<Self>) -> vermilion_engine::Result<()> {
        let trigger = Trigger::interval(EVERY)?;
        let policy = Policy::default();
        Self::bring(curation, EXPIRY, trigger, policy, Self::run_expiry)
    }

    fn run_expiry(&self, run: &Run<'_>) -> vermilion_engine::Result<Json> {
        let (mut reports, mut failure) = (Vec::new(), None);
        for id in self.spaces_that_end()? {
            let Some(space) = self.space_anywhere(id)? else {
                continue;
            };
            match self.expire_space(&space, run.dry_run, &|| run.go_on()) {
                Ok(report) if report["records"] == 0 => {}
                Ok(report) => reports.push(report),
                Err(_) if self.is_gone(id)? => {}
                // The other spaces come first; then the run is tried again.
                Err(refusal) => {
                    tracing::warn!(space = %id, why = refusal.message, "nothing leaves a space");
                    failure = Some(Error::internal(refusal.message));
                }
            }
            if run.is_cancelled() {
                break;
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(json!({ "spaces": reports, "dry_run": run.dry_run })),
        }
    }

    /// Spaces from which something may leave.
    fn spaces_that_end(&self) -> vermilion_engine::Result<BTreeSet<CollectionId>> {
        let mut ids = BTreeSet::new();
        let id_of = |document: &Document| {
            let (id, _) = document.key.split_once('/')?;
            serde_json::from_value::<CollectionId>(json!(id)).ok()
        };
        for document in self.database.documents(RETENTION, "")? {
            ids.extend(id_of(&document));
        }
        for document in self.database.documents(DATASETS, "")? {
            if !document.body["metadata"][EXPIRES_AT].is_null() {
                ids.extend(id_of(&document));
            }
        }
        Ok(ids)
    }

    /// What a space keeps, and what would leave now.
    pub fn retention(&self, place: &Place, name: &str) -> Result<Json> {
        let space = self.space(place, name)?;
        let due = self.expire_space(&space, true, &|| true)?;
        Ok(json!({ "retention": self.retention_of(&space)?, "due": due }))
    }

    /// Says what a space keeps from now on; `None` takes that back, and all of it stays.
    pub fn set_retention(
        &self,
        place: &Place,
        name: &str,
        kept: Option<Retention>,
    ) -> Result<Json> {
        let space = self.space(place, name)?;
        let key = space.document_key("");
        match kept {
            None => {
                self.database.delete_document(RETENTION, &key)?;
            }
            Some(kept) => {
                check(&kept)?;
                self.database.put_document(Document {
                    kind: RETENTION.to_owned(),
                    key,
                    body: json!(kept),
                })?;
            }
        }
        self.retention(place, name)
    }

    fn retention_of(&self, space: &Space) -> Result<Option<Retention>> {
        let document = self.database.document(RETENTION, &space.document_key(""))?;
        Ok(document.and_then(|document| serde_json::from_value(document.body).ok()))
    }

    /// Lets leave what is past its time in a space, or only tells what that is.
    pub fn expire(&self, place: &Place, name: &str, dry_run: bool) -> Result<Json> {
        let space = self.space(place, name)?;
        self.expire_space(&space, dry_run, &|| true)
    }

    /// Deletes a dataset with all its records.
    pub fn delete_dataset(&self, place: &Place, name: &str, dataset: &str) -> Result<Json> {
        let space = self.space(place, name)?;
        let desk = self.desk(&space);
        self.follow(&space, &desk)?;
        let is_there = {
            let state = desk.state.lock();
            state.rows.values().any(|row| row.dataset == dataset)
        };
        let key = space.document_key(dataset);
        if !is_there && self.database.document(DATASETS, &key)?.is_none() {
            let message = format!("There is no dataset `{dataset}`.");
            return Err(Refusal::new(404, "dataset_not_found", message).field("dataset"));
        }
        let mut leaving = Leaving::default();
        leaving.datasets.insert(dataset.to_owned(), "deleted");
        self.let_leave(&space, &desk, &leaving, false, &|| true)
    }

    fn expire_space(&self, space: &Space, dry_run: bool, go_on: &dyn Fn() -> bool) -> Result<Json> {
        let desk = self.desk(space);
        self.follow(space, &desk)?;
        let leaving = self.leaving(space, &desk)?;
        self.let_leave(space, &desk, &leaving, dry_run, go_on)
    }

    /// What is past its time.
    fn leaving(&self, space: &Space, desk: &Desk) -> Result<Leaving> {
        let now = self.now();
        let mut leaving = Leaving::default();
        let prefix = space.document_key("");
        let mut training: Vec<(f64, String)> = Vec::new();
        for document in self.database.documents(DATASETS, &prefix)? {
            let name = document.key[prefix.len()..].to_owned();
            if moment(&document.body["metadata"][EXPIRES_AT]).is_some_and(|at| at <= now) {
                leaving.datasets.insert(name, "expires_at");
            } else if document.body["context"] == Context::Training.name() {
                training.push((document.body["created_at"].as_f64().unwrap_or(0.0), name));
            }
        }
        let Some(kept) = self.retention_of(space)? else {
            return Ok(leaving);
        };
        training.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
        let replaced = training.into_iter().skip(kept.keep_versions);
        leaving
            .datasets
            .extend(replaced.map(|(_, name)| (name, "keep_versions")));
        let state = desk.state.lock();
        let passing = state.rows.iter().filter(|(_, row)| is_passing(row));
        let mut passing: Vec<(f64, &String)> =
            passing.map(|(id, row)| (row.observed_at, id)).collect();
        passing.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        let oldest = now - kept.keep_days * DAY_SECONDS;
        for (rank, (at, id)) in passing.into_iter().enumerate() {
            if at < oldest {
                leaving.production.insert(id.clone(), "keep_days");
            } else if rank >= kept.keep_records {
                leaving.production.insert(id.clone(), "keep_records");
            }
        }
        Ok(leaving)
    }

    /// Deletes what leaves, and reports it.
    fn let_leave(
        &self,
        space: &Space,
        desk: &Desk,
        leaving: &Leaving,
        dry_run: bool,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Json> {
        let ids: Vec<String> = {
            let state = desk.state.lock();
            let rows = state.rows.iter();
            rows.filter(|(id, row)| leaving.why(id, row).is_some())
                .map(|(id, _)| id.clone())
                .collect()
        };
        let mut datasets: BTreeMap<&str, u64> = BTreeMap::new();
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        let (mut records, mut seq, mut is_whole) = (0_u64, None, true);
        for part in ids.chunks(PAGE) {
            if !go_on() {
                is_whole = false;
                break;
            }
            let Some(left) = self.let_part_leave(space, desk, leaving, part, dry_run)? else {
                is_whole = false;
                continue;
            };
            for (why, dataset) in left.records {
                records += 1;
                *reasons.entry(why).or_default() += 1;
                if let Some((name, _)) = leaving.datasets.get_key_value(&dataset) {
                    *datasets.entry(name).or_default() += 1;
                }
            }
            seq = left.seq.or(seq);
        }
        if !dry_run && is_whole {
            for name in leaving.datasets.keys() {
                let key = space.document_key(name);
                self.database.delete_document(DATASETS, &key)?;
            }
            self.follow(space, desk)?;
            self.wake(space);
        }
        let datasets: Vec<Json> = leaving
            .datasets
            .iter()
            .map(|(name, why)| {
                let count = datasets.get(&**name).copied().unwrap_or(0);
                json!({"name": name, "why": why, "records": count})
            })
            .collect();
        Ok(json!({
            "space": space.collection.name,
            "records": records,
            "reasons": reasons,
            "datasets": datasets,
            "seq": seq,
            "dry_run": dry_run,
            "complete": is_whole,
            "epoch": desk.state.lock().epoch,
        }))
    }

    /// Deletes what of `part` leaves still; `None` where others write these records again and again, which the
    /// next run finds.
    fn let_part_leave(
        &self,
        space: &Space,
        desk: &Desk,
        leaving: &Leaving,
        part: &[String],
        dry_run: bool,
    ) -> Result<Option<Left>> {
        for _ in 0..TRIES {
            // What is decided meanwhile stays: nothing goes that was written since it was looked at.
            let (_, token) = self.read_to_write(space, part)?;
            self.follow(space, desk)?;
            let (mut gone, mut left) = (Vec::with_capacity(part.len()), Left::default());
            for id in part {
                let state = desk.state.lock();
                if let Some(row) = state.rows.get(id)
                    && let Some(why) = leaving.why(id, row)
                {
                    left.records.push((why, row.dataset.clone()));
                    gone.push(id.clone());
                }
            }
            if dry_run || gone.is_empty() {
                return Ok(Some(left));
            }
            let batch = RecordBatch::deletion(gone.iter().map(String::as_str).collect());
            if let Some(seqs) = self.write_unchanged(space, token, gone, batch)? {
                left.seq = Some(seqs.last.0);
                return Ok(Some(left));
            }
        }
        Ok(None)
    }
}

fn check(kept: &Retention) -> Result<()> {
    let wrong = |field: &str, allowed: &str| {
        Err(
            Refusal::wrong("out_of_range", format!("`{field}` is out of range."))
                .field(field)
                .hint(allowed),
        )
    };
    if kept.keep_versions == 0 {
        return wrong("keep_versions", "1 or more");
    }
    if !(kept.keep_days > 0.0 && kept.keep_days.is_finite()) {
        return wrong("keep_days", "above 0");
    }
    if kept.keep_records == 0 {
        return wrong("keep_records", "1 or more");
    }
    Ok(())
}

/// The end of a dataset as its user says it: seconds since 1970.
fn moment(said: &Json) -> Option<f64> {
    Time::deserialize(said).ok()?.seconds()
}

/// Refuses an end of a dataset that is no moment.
pub(crate) fn check_end(metadata: Option<&Map<String, Json>>) -> Result<()> {
    let said = metadata.and_then(|metadata| metadata.get(EXPIRES_AT));
    let Some(said) = said.filter(|said| !said.is_null() && moment(said).is_none()) else {
        return Ok(());
    };
    Err(
        Refusal::wrong("bad_time", format!("`{said}` is no moment."))
            .field("dataset_metadata.expires_at")
            .hint(TIMES),
    )
}
