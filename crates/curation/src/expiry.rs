//! What leaves a space: datasets past their time, training that newer versions have replaced, and the
//! oldest of production.
//!
//! What must stay true: nothing leaves unless somebody said so, for the dataset or for the space; of a dataset
//! that newer ones replaced, only training leaves, whatever else has its name, and goes to cold storage; of
//! production what was decided stays; records leave through the log like every deletion, so that class
//! statistics give them back; a run that dies is begun again and takes what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use vermilion_engine::catalog::Document;
use vermilion_engine::model::{CollectionId, RecordBatch};
use vermilion_engine::schedule::{Policy, Run, RunRequest, Trigger};

use crate::body::{TIMES, Time};
use crate::desk::{Desk, Row};
use crate::fields::Context;
use crate::files::FILE_RECORDS;
use crate::spaces::{DATASETS, Place, Space, TRAINING_SINCE, place_of_document};
use crate::{Curation, Refusal, Result};

/// The task, and its job.
pub(crate) const EXPIRY: &str = "curation_expiry";
/// Documents that say what a space keeps.
pub(crate) const RETENTION: &str = "curation_retention";
/// How often the job looks.
const EVERY: Duration = Duration::from_hours(1);
/// How long a dataset stays at least whose end had passed when it was told, in seconds.
const PAST_STAYS: f64 = 60.0;
/// How soon a run is asked for again that could not begin, in seconds.
const AGAIN_AFTER: f64 = 0.5;
/// Records that are deleted at once.
const PAGE: usize = 1000;
/// How often they are looked at anew where others write them at the same time.
const TRIES: usize = 3;
/// The member of a dataset's metadata that says when it ends.
const EXPIRES_AT: &str = "expires_at";
/// Why training leaves that newer versions have replaced.
const REPLACED: &str = "keep_versions";
/// Why it leaves otherwise.
const OLD: &str = "keep_training_days";
pub(crate) const DAY_SECONDS: f64 = 86_400.0;

/// What a space keeps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Training datasets: the newest so many.
    pub keep_versions: usize,
    /// Days since their first training that datasets of it stay, but for the newest; `None` for ever.
    pub keep_training_days: Option<f64>,
    /// Days that training stays in cold storage which newer datasets have replaced; `None` for ever.
    pub purge_after_days: Option<f64>,
    /// Days that undecided production stays.
    pub keep_days: f64,
    /// Records of undecided production, the newest so many.
    pub keep_records: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            keep_versions: 3,
            keep_training_days: None,
            purge_after_days: None,
            keep_days: 90.0,
            keep_records: 10_000_000,
        }
    }
}

/// What leaves, and why.
#[derive(Debug, Default)]
struct Leaving {
    /// Datasets with all their records, each with the reason.
    datasets: BTreeMap<String, &'static str>,
    /// Datasets whose training was replaced by newer ones, each with the reason.
    replaced: BTreeMap<String, &'static str>,
    /// Production, each with the reason.
    production: BTreeMap<String, &'static str>,
}

/// The records that leave for cold storage, by dataset and why they do.
type Cold = BTreeMap<(String, &'static str), Vec<String>>;

/// What has left.
#[derive(Default)]
pub(crate) struct Left {
    /// Of each record the reason and its dataset.
    pub(crate) records: Vec<(&'static str, String)>,
    /// The position of the last deletion in the log.
    pub(crate) seq: Option<u64>,
}

impl Leaving {
    /// Why a record leaves; `None` where it stays.
    fn why(&self, id: &str, row: &Row) -> Option<&'static str> {
        if let Some(why) = self.datasets.get(&row.dataset) {
            return Some(why);
        }
        if let Some(why) = self.why_replaced(row) {
            return Some(why);
        }
        self.production.get(id).copied().filter(|_| is_passing(row))
    }

    /// Why a record leaves for cold storage; `None` where it does not.
    fn why_replaced(&self, row: &Row) -> Option<&'static str> {
        let is_whole = self.datasets.contains_key(&row.dataset);
        let is_training = row.context == Some(Context::Training);
        let why = self.replaced.get(&row.dataset).copied();
        why.filter(|_| is_training && !is_whole)
    }

    /// The datasets of which something leaves that are told by name, each with the reason.
    fn named(&self) -> BTreeMap<&str, &'static str> {
        let all = self.replaced.iter().chain(&self.datasets);
        all.map(|(name, why)| (&**name, *why)).collect()
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
        self.each_space(
            run,
            self.spaces_that_end()?,
            "nothing leaves a space",
            |space| {
                let report = self.expire_space(space, run.dry_run, &|| run.go_on())?;
                let is_idle = report["records"] == 0 && report["purged"] == json!([]);
                Ok((!is_idle).then_some(report))
            },
        )
    }

    /// Notes when a dataset ends whose records were just written, by what its user says of it at `now`. One that has
    /// ended already stays for a moment, so that whoever told a wrong time can tell another.
    pub(crate) fn note_end(&self, metadata: Option<&Map<String, Json>>, now: f64) {
        let said = metadata.and_then(|metadata| metadata.get(EXPIRES_AT));
        let Some(at) = said.and_then(moment) else {
            return;
        };
        let at = if at > now { at } else { now + PAST_STAYS };
        {
            let mut next = self.next_end.lock();
            *next = match *next {
                NextEnd::Unknown => NextEnd::Unknown,
                NextEnd::Never => NextEnd::At(at),
                NextEnd::At(known) => NextEnd::At(known.min(at)),
            };
        }
        self.bell.ring();
    }

    /// Begins a run of the job where a dataset has ended, so that it leaves then and not when the job looks next;
    /// answers when to look again.
    pub(crate) fn begin_expiry(&self, now: f64) -> Option<f64> {
        let mut next = self.next_end.lock();
        let at = match *next {
            NextEnd::Never => return None,
            NextEnd::At(at) if at > now => return Some(at),
            NextEnd::At(_) | NextEnd::Unknown => {
                let documents = self.database.documents(DATASETS, "");
                // What cannot be read is left to the job.
                let ends = documents.iter().flatten().filter_map(end_of);
                let (past, to_come): (Vec<f64>, Vec<f64>) = ends.partition(|end| *end <= now);
                let to_come = to_come.into_iter().min_by(f64::total_cmp);
                *next = to_come.map_or(NextEnd::Never, NextEnd::At);
                if past.is_empty() {
                    return to_come;
                }
                to_come
            }
        };
        drop(next);
        let jobs = self.database.jobs();
        let is_paused = jobs.job(EXPIRY).is_ok_and(|job| job.paused);
        if is_paused || jobs.begin(EXPIRY, RunRequest::default()).is_ok() {
            return at;
        }
        // A run that is under way may have looked before the end.
        *self.next_end.lock() = NextEnd::At(now);
        Some(now + AGAIN_AFTER)
    }

    /// Spaces from which something may leave.
    fn spaces_that_end(&self) -> vermilion_engine::Result<BTreeSet<CollectionId>> {
        let mut ids = BTreeSet::new();
        let id_of = |document: &Document| place_of_document(&document.key).map(|(id, _)| id);
        let kept = self.database.documents(RETENTION, "")?;
        ids.extend(kept.iter().filter_map(id_of));
        ids.extend(
            self.database
                .all_blobs()?
                .iter()
                .map(|blob| blob.collection),
        );
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

    pub(crate) fn retention_of(&self, space: &Space) -> Result<Option<Retention>> {
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
        let is_known = is_there || self.database.document(DATASETS, &key)?.is_some();
        if !is_known && !self.is_cold(&space, dataset)? {
            let message = format!("There is no dataset `{dataset}`.");
            return Err(Refusal::new(404, "dataset_not_found", message).field("dataset"));
        }
        let mut leaving = Leaving::default();
        leaving.datasets.insert(dataset.to_owned(), "deleted");
        let mut report = self.let_leave(&space, &desk, &leaving, false, &|| true)?;
        report["cold_files"] = json!(self.delete_cold_dataset(&space, dataset)?);
        Ok(report)
    }

    fn expire_space(&self, space: &Space, dry_run: bool, go_on: &dyn Fn() -> bool) -> Result<Json> {
        let desk = self.desk(space);
        self.follow(space, &desk)?;
        let leaving = self.leaving(space, &desk)?;
        let mut report = self.let_leave(space, &desk, &leaving, dry_run, go_on)?;
        report["purged"] = json!(self.purge_cold(space, dry_run)?);
        Ok(report)
    }

    /// What is past its time.
    fn leaving(&self, space: &Space, desk: &Desk) -> Result<Leaving> {
        let now = self.now();
        let mut leaving = Leaving::default();
        let prefix = space.document_key("");
        let mut since: BTreeMap<String, f64> = BTreeMap::new();
        for document in self.database.documents(DATASETS, &prefix)? {
            let name = document.key[prefix.len()..].to_owned();
            if end_of(&document).is_some_and(|at| at <= now) {
                leaving.datasets.insert(name, "expires_at");
            } else {
                since.insert(name, training_since(&document.body));
            }
        }
        let Some(kept) = self.retention_of(space)? else {
            return Ok(leaving);
        };
        let state = desk.state.lock();
        // What a dataset is to training is a matter of its records: production may have the same name.
        let rows = state.rows.values();
        let training = rows.filter(|row| row.context == Some(Context::Training));
        let training: BTreeSet<&String> = training.map(|row| &row.dataset).collect();
        let versions = training
            .into_iter()
            .filter_map(|name| Some((*since.get(name)?, name)));
        let mut versions: Vec<(f64, &String)> = versions.collect();
        versions.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(a.1)));
        let eldest = kept.keep_training_days.map(|days| now - days * DAY_SECONDS);
        for (rank, (since, name)) in versions.into_iter().enumerate() {
            let is_old = rank > 0 && eldest.is_some_and(|eldest| since < eldest);
            if rank >= kept.keep_versions || is_old {
                let why = if is_old { OLD } else { REPLACED };
                leaving.replaced.insert(name.clone(), why);
            }
        }
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
        let (cold, ids) = choose(desk, leaving, dry_run);
        let mut datasets: BTreeMap<&str, u64> = BTreeMap::new();
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        let named = leaving.named();
        let (mut records, mut seq, mut is_whole) = (0_u64, None, true);
        let mut count = |left: Left| {
            for (why, dataset) in left.records {
                records += 1;
                *reasons.entry(why).or_default() += 1;
                if let Some((name, _)) = named.get_key_value(&*dataset).filter(|one| *one.1 == why)
                {
                    *datasets.entry(name).or_default() += 1;
                }
            }
            seq = left.seq.or(seq);
        };
        for ((dataset, why), ids) in cold {
            for part in ids.chunks(FILE_RECORDS) {
                if !go_on() {
                    is_whole = false;
                    break;
                }
                let put = self.put_away(space, desk, (&dataset, why), part, go_on)?;
                is_whole &= put.is_whole;
                count(put.left);
            }
        }
        for part in ids.chunks(PAGE) {
            if !go_on() {
                is_whole = false;
                break;
            }
            match self.let_part_leave(space, desk, leaving, part, dry_run)? {
                Some(left) => count(left),
                None => is_whole = false,
            }
        }
        if !dry_run && is_whole {
            self.follow(space, desk)?;
            for name in named.keys() {
                self.forget_dataset(space, desk, name)?;
            }
            self.wake(space);
        }
        let datasets: Vec<Json> = named
            .iter()
            .map(|(name, why)| {
                let count = datasets.get(name).copied().unwrap_or(0);
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

    /// Forgets what is known of a dataset that has no record any more; of one whose training left, since when it
    /// had some.
    fn forget_dataset(&self, space: &Space, desk: &Desk, name: &str) -> Result<()> {
        let key = space.document_key(name);
        let (has_records, has_training) = {
            let state = desk.state.lock();
            let of_it = || state.rows.values().filter(|row| row.dataset == name);
            let is_training = |row: &Row| row.context == Some(Context::Training);
            (of_it().next().is_some(), of_it().any(is_training))
        };
        if !has_records {
            self.database.delete_document(DATASETS, &key)?;
            self.forget_rolled(space, name)?;
        } else if !has_training
            && let Some(mut document) = self.database.document(DATASETS, &key)?
        {
            document.body[TRAINING_SINCE] = Json::Null;
            document.body["context"] = Json::Null;
            self.database.put_document(document)?;
        }
        Ok(())
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

/// The records that leave for cold storage, by dataset and why, and the others that leave; of a dry run all are
/// others.
fn choose(desk: &Desk, leaving: &Leaving, dry_run: bool) -> (Cold, Vec<String>) {
    let (mut cold, mut others) = (Cold::new(), Vec::new());
    for (id, row) in &desk.state.lock().rows {
        let cold_why = leaving.why_replaced(row).filter(|_| !dry_run);
        if let Some(why) = cold_why {
            let of_it = cold.entry((row.dataset.clone(), why)).or_default();
            of_it.push(id.clone());
        } else if leaving.why(id, row).is_some() {
            others.push(id.clone());
        }
    }
    (cold, others)
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
    for (field, days) in [
        ("keep_training_days", kept.keep_training_days),
        ("purge_after_days", kept.purge_after_days),
    ] {
        if days.is_some_and(|days| !(days > 0.0 && days.is_finite())) {
            return wrong(field, "above 0, or null for ever");
        }
    }
    Ok(())
}

/// When a dataset ends, where its user says that: seconds since 1970.
fn end_of(dataset: &Document) -> Option<f64> {
    moment(&dataset.body["metadata"][EXPIRES_AT])
}

/// When the next dataset ends, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum NextEnd {
    /// Nobody has looked since the start.
    #[default]
    Unknown,
    /// None does.
    Never,
    /// In seconds since 1970.
    At(f64),
}

/// Since when a dataset has training, by what is noted of it.
fn training_since(dataset: &Json) -> f64 {
    let since = dataset[TRAINING_SINCE].as_f64();
    since
        .or_else(|| dataset["created_at"].as_f64())
        .unwrap_or(0.0)
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
