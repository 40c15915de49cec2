//! Cold storage: training that left a space since newer datasets have replaced it, as files that other
//! programs read.
//!
//! What must stay true: a record leaves only once a file that tells all of it is durable and was read back,
//! and only as that file tells it: one that is written meanwhile stays, and is in a later file as it is then,
//! as are those of a file after which the process died; a file stays until its time has come or somebody
//! deletes it, its dataset or its space.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use vermilion_engine::Blob;
use vermilion_engine::model::{RecordBatch, SeqId};

use crate::desk::{Desk, places};
use crate::expiry::{DAY_SECONDS, Left};
use crate::export::{COLD, Format, PAGE, told};
use crate::fields::Context;
use crate::files::{self, Filling, KeptFile};
use crate::retrain::page;
use crate::spaces::{Place, Space};
use crate::{Curation, Refusal, Result};

/// What a file says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    /// The dataset that its records were of.
    dataset: String,
    /// Why they left.
    why: String,
    records: u64,
    format: String,
    /// Seconds since 1970.
    put_away_at: f64,
}

/// Which files are asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedCold {
    /// Only those of this dataset.
    pub dataset: Option<String>,
    /// Files of the page.
    pub limit: Option<u32>,
    /// Files to pass over.
    pub offset: Option<u32>,
}

/// The records of each page of a file, and the token under which they were read.
type Pages = Vec<(Vec<String>, SeqId)>;

/// What became of records that were to leave.
pub(crate) struct PutAway {
    /// Those that left.
    pub(crate) left: Left,
    /// Whether all did.
    pub(crate) is_whole: bool,
}

impl Curation {
    /// Puts training of a dataset that newer ones have replaced into a file, and deletes it; `why` it leaves.
    pub(crate) fn put_away(
        &self,
        space: &Space,
        desk: &Desk,
        (dataset, why): (&str, &'static str),
        ids: &[String],
        go_on: &dyn Fn() -> bool,
    ) -> Result<PutAway> {
        let mut put = PutAway {
            left: Left::default(),
            is_whole: false,
        };
        let mut filling = self.begin_file(space, COLD)?;
        let Some(pages) = self.fill(space, desk, dataset, ids, &mut filling, go_on)? else {
            return Ok(put);
        };
        let records = filling.records;
        if records == 0 {
            put.is_whole = true;
            return Ok(put);
        }
        let about = About {
            dataset: dataset.to_owned(),
            why: why.to_owned(),
            records,
            format: Format::BEST.name().to_owned(),
            put_away_at: self.now(),
        };
        let blob = filling.finish(space, json!(about))?;
        let mut stayed = 0;
        for (ids, token) in pages {
            let (mut gone, mut seq) = (0, put.left.seq);
            self.delete_unchanged(space, token, &ids, &mut gone, &mut seq)?;
            put.left.seq = seq;
            put.left
                .records
                .extend((0..gone).map(|_| (why, dataset.to_owned())));
            stayed += (ids.len() - gone) as u64;
        }
        put.is_whole = stayed == 0;
        if stayed == records {
            self.database.remove_blob(space.scope(), blob.id)?;
        }
        Ok(put)
    }

    /// Deletes those of `ids` that nobody has written since they were read. What was written is found by halves,
    /// since a page of which one record was written has others that were not.
    fn delete_unchanged(
        &self,
        space: &Space,
        token: SeqId,
        ids: &[String],
        gone: &mut usize,
        seq: &mut Option<u64>,
    ) -> Result<()> {
        let batch = RecordBatch::deletion(ids.iter().map(String::as_str).collect());
        if let Some(seqs) = self.write_unchanged(space, token, ids.to_vec(), batch)? {
            *gone += ids.len();
            *seq = Some(seqs.last.0);
        } else if ids.len() > 1 {
            for half in ids.chunks(ids.len().div_ceil(2)) {
                self.delete_unchanged(space, token, half, gone, seq)?;
            }
        }
        Ok(())
    }

    /// Fills the file; `None` where it was called off.
    fn fill(
        &self,
        space: &Space,
        desk: &Desk,
        dataset: &str,
        ids: &[String],
        filling: &mut Filling<'_>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Pages>> {
        let mut pages = Pages::with_capacity(ids.len().div_ceil(PAGE));
        for part in ids.chunks(PAGE) {
            if !go_on() {
                return Ok(None);
            }
            let (found, token) = self.read_all_to_write(space, part)?;
            // What was decided by then stays, and what is decided later is found when it is deleted.
            self.follow(space, desk)?;
            let there: Vec<usize> = {
                let state = desk.state.lock();
                let there = places(&found.ids, part).into_iter().flatten();
                let leaves = |at: &usize| {
                    let row = state.rows.get(found.ids.get(*at));
                    row.is_some_and(|row| {
                        row.context == Some(Context::Training) && row.dataset == dataset
                    })
                };
                there.filter(leaves).collect()
            };
            if there.is_empty() {
                continue;
            }
            filling.put(&told(desk, &found, &there))?;
            let ids = there.iter().map(|at| found.ids.get(*at).to_owned());
            pages.push((ids.collect(), token));
        }
        Ok(Some(pages))
    }

    /// The files of a space, oldest first.
    pub fn cold_files(&self, place: &Place, name: &str, asked: &AskedCold) -> Result<Json> {
        let page = page(asked.limit, asked.offset)?;
        let space = self.space(place, name)?;
        let stays = self.stays_cold(&space)?;
        let mut files = self.files_of(&space)?;
        files.retain(|(_, about)| {
            asked
                .dataset
                .as_ref()
                .is_none_or(|one| *one == about.dataset)
        });
        let bytes: u64 = files.iter().map(|(blob, _)| blob.bytes).sum();
        let page = page.of(&files);
        let page: Vec<Json> = page.map(|(blob, about)| tell(blob, about, stays)).collect();
        Ok(json!({"files": page, "total": files.len(), "bytes": bytes}))
    }

    /// A file of a space.
    pub fn cold_file(&self, place: &Place, name: &str, id: &str) -> Result<KeptFile> {
        let space = self.space(place, name)?;
        let found = files::with_id(self.files_of(&space)?, id);
        let (blob, about) = found.ok_or_else(|| no_file(id))?;
        self.kept_file(&blob, &about.format)
    }

    /// Deletes a file of a space.
    pub fn delete_cold_file(&self, place: &Place, name: &str, id: &str) -> Result<()> {
        let space = self.space(place, name)?;
        match files::with_id(self.files_of(&space)?, id) {
            Some((blob, _)) if self.database.remove_blob(space.scope(), blob.id)? => Ok(()),
            _ => Err(no_file(id)),
        }
    }

    /// Deletes the files of a dataset; how many there were.
    pub(crate) fn delete_cold_dataset(&self, space: &Space, dataset: &str) -> Result<u64> {
        let mut gone = 0;
        for (blob, about) in self.files_of(space)? {
            if about.dataset == dataset && self.database.remove_blob(space.scope(), blob.id)? {
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// Whether there is a file of a dataset.
    pub(crate) fn is_cold(&self, space: &Space, dataset: &str) -> Result<bool> {
        let files = self.files_of(space)?;
        Ok(files.iter().any(|(_, about)| about.dataset == dataset))
    }

    /// Deletes the files whose time has come, or only tells which they are.
    pub(crate) fn purge_cold(&self, space: &Space, dry_run: bool) -> Result<Vec<Json>> {
        let Some(stays) = self.stays_cold(space)? else {
            return Ok(Vec::new());
        };
        let now = self.now();
        let mut files = self.files_of(space)?;
        files.retain(|(_, about)| about.put_away_at + stays <= now);
        if !dry_run {
            for (blob, _) in &files {
                self.database.remove_blob(space.scope(), blob.id)?;
            }
        }
        let told = files
            .iter()
            .map(|(blob, about)| tell(blob, about, Some(stays)));
        Ok(told.collect())
    }

    /// How long files stay, in seconds; `None` where they stay until somebody deletes them.
    fn stays_cold(&self, space: &Space) -> Result<Option<f64>> {
        let kept = self.retention_of(space)?;
        let days = kept.and_then(|kept| kept.purge_after_days);
        Ok(days.map(|days| days * DAY_SECONDS))
    }

    fn files_of(&self, space: &Space) -> Result<Vec<(Blob, About)>> {
        let mut files = self.files_about::<About>(space)?;
        files.sort_by(|(a, one), (b, other)| {
            let by_time = one.put_away_at.total_cmp(&other.put_away_at);
            by_time.then(a.id.cmp(&b.id))
        });
        Ok(files)
    }
}

/// A file as it is told; `stays` is how long it does, in seconds.
fn tell(blob: &Blob, about: &About, stays: Option<f64>) -> Json {
    let mut told = files::tell(blob, about);
    told["purge_at"] = json!(stays.map(|stays| about.put_away_at + stays));
    told
}

fn no_file(id: &str) -> Refusal {
    let message = format!("Cold storage of this space has no file `{id}`.");
    Refusal::new(404, "cold_file_not_found", message)
        .field("id")
        .hint("GET .../cold lists them")
}
