//! Roll-up: the records of a space as files that other programs read, kept in step with it by a job.
//!
//! What must stay true: a file tells each of its records whole, as it was at the position of the log that it names; a
//! file is in place of others only once it is durable and was read back, so that at any moment the files tell every record
//! that they told before and that is still so. What leaves with its dataset is in no file then.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use uuid::Uuid;
use vermilion_engine::Blob;
use vermilion_engine::catalog::Document;
use vermilion_engine::model::{
    CollectionId, Consistency, Fetched, GetRequest, Include, RecordSelection, SeqId, Strings,
};
use vermilion_engine::schedule::{Policy, Run, RunRequest, Trigger};

use self::plan::{Known, Plan, Span, Told, plan};
use crate::desk::{Desk, places};
use crate::export::{Format, PAGE, ROLLED_UP, told};
use crate::fields;
use crate::files::{self, FILE_RECORDS, KeptFile};
use crate::retrain::page;
use crate::spaces::{Place, Space, place_of_document};
use crate::{Curation, Refusal, Result};

/// The task that rolls up, and its job.
pub(crate) const ROLL_UP: &str = "curation_roll_up";
/// Documents that say which spaces are rolled up.
pub(crate) const ROLLED: &str = "curation_roll_up";
/// The member of such a document that says as of which position of the log.
const AS_OF: &str = "as_of_seq";
/// How often that is done.
const EVERY: Duration = Duration::from_mins(15);

/// How often a run looks again where datasets go while it is under way.
const TRIES: usize = 4;

/// What a file says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct About {
    /// Of two that tell the same positions, the one with the higher number stands.
    number: u64,
    /// Its records were last written behind this position of the log,
    behind_seq: u64,
    /// up to this one.
    to_seq: u64,
    records: u64,
    /// Records of each dataset.
    datasets: BTreeMap<String, u64>,
    format: String,
    /// Seconds since 1970.
    made_at: f64,
}

impl About {
    fn known(&self, id: Uuid) -> Known {
        let span = Span {
            from: self.behind_seq,
            to: self.to_seq,
        };
        Known {
            id,
            span,
            number: self.number,
            records: self.records,
            made_at: self.made_at,
        }
    }
}

/// Which files are asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedFiles {
    /// Files of the page.
    pub limit: Option<u32>,
    /// Files to pass over.
    pub offset: Option<u32>,
}

/// The records of a space, and when each was last written, as of `head` or later.
struct Written {
    ids: Strings,
    seqs: Vec<Option<u64>>,
    /// A position of the log up to which everything is among them.
    head: u64,
}

impl Written {
    /// The records that were last written within a span, by that.
    fn within(&self, span: Span) -> Vec<(u64, &str)> {
        let seqs = self.seqs.iter().zip(self.ids.iter());
        let inside = seqs.filter_map(|(seq, id)| Some(((*seq)?, id)));
        let mut inside: Vec<(u64, &str)> = inside.filter(|(seq, _)| span.holds(*seq)).collect();
        inside.sort_unstable();
        inside
    }
}

impl Curation {
    /// Brings the job.
    pub(crate) fn bring_roll_up(curation: &Arc<Self>) -> vermilion_engine::Result<()> {
        let trigger = Trigger::interval(EVERY)?;
        let policy = Policy::default();
        Self::bring(curation, ROLL_UP, trigger, policy, Self::run_roll_up)
    }

    fn run_roll_up(&self, run: &Run<'_>) -> vermilion_engine::Result<Json> {
        self.each_space(
            run,
            self.spaces_rolled_up()?,
            "a space is not rolled up",
            |space| self.roll_up(space, run.dry_run, &|| run.go_on()).map(Some),
        )
    }

    fn spaces_rolled_up(&self) -> vermilion_engine::Result<Vec<CollectionId>> {
        let documents = self.database.documents(ROLLED, "")?;
        let places = documents.iter().map(|one| place_of_document(&one.key));
        Ok(places.flatten().map(|(id, _)| id).collect())
    }

    /// Has a space rolled up from now on.
    pub fn begin_roll_up(&self, place: &Place, name: &str) -> Result<Json> {
        let space = self.space(place, name)?;
        if !self.is_rolled_up(&space)? {
            self.note_rolled(&space, 0)?;
        }
        self.hurry_roll_up();
        self.rolled_up(place, name, &AskedFiles::default())
    }

    /// Has a space rolled up no more, and deletes its files.
    pub fn end_roll_up(&self, place: &Place, name: &str) -> Result<Json> {
        let space = self.space(place, name)?;
        {
            let _turn = self.rolled_up_to.lock();
            let key = space.document_key("");
            self.database.delete_document(ROLLED, &key)?;
        }
        // A run that is under way makes no more files, and removes the one that it was making.
        let files = self.rolled_files(&space)?;
        for (blob, _) in &files {
            self.database.remove_blob(space.scope(), blob.id)?;
        }
        Ok(json!({ "deleted": files.len() }))
    }

    /// The files of a space in the order of the log, and how far they are behind it.
    pub fn rolled_up(&self, place: &Place, name: &str, asked: &AskedFiles) -> Result<Json> {
        let page = page(asked.limit, asked.offset)?;
        let space = self.space(place, name)?;
        let files = self.rolled_files(&space)?;
        let sum = |of: &dyn Fn(&Blob, &About) -> u64| -> u64 {
            files.iter().map(|(blob, about)| of(blob, about)).sum()
        };
        let page = page.of(&files);
        let page: Vec<Json> = page.map(|(blob, about)| files::tell(blob, about)).collect();
        let head = self
            .database
            .indexing_status(space.scope())?
            .total_operations;
        let document = self.database.document(ROLLED, &space.document_key(""))?;
        let as_of = document.and_then(|document| document.body[AS_OF].as_u64());
        Ok(json!({
            "is_rolled_up": as_of.is_some(),
            "as_of_seq": as_of,
            "operations_behind": as_of.map(|as_of| head.saturating_sub(as_of)),
            "files": page,
            "total": files.len(),
            "records": sum(&|_, about| about.records),
            "bytes": sum(&|blob, _| blob.bytes),
        }))
    }

    /// A file of a space.
    pub fn rolled_up_file(&self, place: &Place, name: &str, id: &str) -> Result<KeptFile> {
        let space = self.space(place, name)?;
        let found = files::with_id(self.rolled_files(&space)?, id);
        let (blob, about) = found.ok_or_else(|| {
            let message = format!("The roll-up of this space has no file `{id}`.");
            Refusal::new(404, "roll_up_file_not_found", message)
                .field("id")
                .hint("GET .../roll_up lists them; a run may have made others in its place")
        })?;
        self.kept_file(&blob, &about.format)
    }

    /// Removes the files that tell of a dataset which has no records any more; those that tell the other records come
    /// with the next run, which begins now.
    pub(crate) fn forget_rolled(&self, space: &Space, dataset: &str) -> Result<()> {
        let mut is_told = false;
        for (blob, about) in self.rolled_files(space)? {
            if about.datasets.contains_key(dataset) {
                is_told |= self.database.remove_blob(space.scope(), blob.id)?;
            }
        }
        if is_told {
            self.hurry_roll_up();
        }
        Ok(())
    }

    /// Notes that a space is rolled up, as of a position of the log.
    fn note_rolled(&self, space: &Space, as_of: u64) -> Result<()> {
        Ok(self.database.put_document(Document {
            kind: ROLLED.to_owned(),
            key: space.document_key(""),
            body: json!({ AS_OF: as_of }),
        })?)
    }

    /// Begins a run unless one is under way or the job is paused: then the next one does it.
    fn hurry_roll_up(&self) {
        let jobs = self.database.jobs();
        if !jobs.job(ROLL_UP).is_ok_and(|job| job.paused) {
            let _ = jobs.begin(ROLL_UP, RunRequest::default());
        }
    }

    fn is_rolled_up(&self, space: &Space) -> Result<bool> {
        let document = self.database.document(ROLLED, &space.document_key(""))?;
        Ok(document.is_some())
    }

    /// The files of a space, in the order of the log.
    fn rolled_files(&self, space: &Space) -> Result<Vec<(Blob, About)>> {
        let mut files = self.files_about::<About>(space)?;
        files.sort_by_key(|(_, about)| (about.behind_seq, about.number));
        Ok(files)
    }

    /// Brings the files of a space in step with it, or only tells what that takes.
    fn roll_up(&self, space: &Space, dry_run: bool, go_on: &dyn Fn() -> bool) -> Result<Json> {
        let desk = self.desk(space);
        self.follow(space, &desk)?;
        let (mut made, mut removed, mut records) = (0, 0, 0);
        let mut is_whole = false;
        let mut as_of = 0;
        for _ in 0..TRIES {
            let Some(written) = self.written(space, go_on)? else {
                break;
            };
            as_of = written.head;
            let files = self.rolled_files(space)?;
            let next = self.plan_of(&desk, &written, &files);
            if dry_run || next == Plan::default() {
                (made, removed) = (made + next.make.len(), removed + next.remove.len());
                is_whole = true;
                break;
            }
            let numbers = files.iter().map(|(_, about)| about.number);
            let first = numbers.max().unwrap_or(0) + 1;
            for (number, span) in (first..).zip(&next.make) {
                match self.make_file(space, &desk, (&written, *span, number), go_on)? {
                    Some(count) => records += count,
                    None => return Ok(report(space, as_of, (made, removed, records), false)),
                }
                made += 1;
            }
            for id in next.remove {
                removed += usize::from(self.database.remove_blob(space.scope(), id)?);
            }
            // Of a dataset that went meanwhile, nothing stays in a file that was just made.
            let files = self.rolled_files(space)?;
            if !files
                .iter()
                .any(|(_, about)| tells_of_the_gone(&desk, about))
            {
                is_whole = true;
                break;
            }
            self.follow(space, &desk)?;
        }
        if is_whole && !dry_run {
            let _turn = self.rolled_up_to.lock();
            if self.is_rolled_up(space)? {
                self.note_rolled(space, as_of)?;
            }
        }
        Ok(report(space, as_of, (made, removed, records), is_whole))
    }

    fn plan_of(&self, desk: &Desk, written: &Written, files: &[(Blob, About)]) -> Plan {
        let seqs = written.seqs.iter().flatten().copied();
        // What was written since is for the next run.
        let mut seqs: Vec<u64> = seqs.filter(|seq| *seq <= written.head).collect();
        seqs.sort_unstable();
        let told = Told {
            seqs: &seqs,
            head: written.head,
            file_records: FILE_RECORDS,
        };
        let known = files.iter().map(|(blob, about)| about.known(blob.id));
        let known: Vec<Known> = known.collect();
        let of_gone = files
            .iter()
            .filter(|(_, about)| tells_of_the_gone(desk, about));
        let of_gone: Vec<Uuid> = of_gone.map(|(blob, _)| blob.id).collect();
        plan(&known, told, self.now(), &|file| of_gone.contains(&file.id))
    }

    /// All records, and when they were last written; `None` where it was called off.
    fn written(&self, space: &Space, go_on: &dyn Fn() -> bool) -> Result<Option<Written>> {
        // Whatever was indexed before this is seen by the read that follows.
        let (_, head) = self.database.last_written(space.scope(), &[])?;
        let ids = self
            .read_indexed(space, head, None, Include::default())?
            .ids;
        let mut seqs = Vec::with_capacity(ids.len());
        let all: Vec<&str> = ids.iter().collect();
        for part in all.chunks(PAGE) {
            if !go_on() {
                return Ok(None);
            }
            let (part, _) = self.database.last_written(space.scope(), part)?;
            seqs.extend(part.into_iter().map(|seq| seq.map(|seq| seq.0)));
        }
        Ok(Some(Written {
            ids,
            seqs,
            head: head.0,
        }))
    }

    /// Makes a file of the records that were last written within a span, as many as are still so; answers how many that
    /// is, and `None` where it was called off.
    fn make_file(
        &self,
        space: &Space,
        desk: &Desk,
        (written, span, number): (&Written, Span, u64),
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<u64>> {
        let mut filling = self.begin_file(space, ROLLED_UP)?;
        let mut datasets: BTreeMap<String, u64> = BTreeMap::new();
        for part in written.within(span).chunks(PAGE) {
            if !(go_on() && self.is_rolled_up(space)?) {
                return Ok(None);
            }
            let rows = self.rows(space, desk, (part, written.head))?;
            for row in &rows {
                if let Some(dataset) = row[fields::DATASET].as_str() {
                    *datasets.entry(dataset.to_owned()).or_default() += 1;
                }
            }
            filling.put(&rows)?;
        }
        let records = filling.records;
        if records == 0 {
            return Ok(Some(0));
        }
        let about = About {
            number,
            behind_seq: span.from,
            to_seq: span.to,
            records,
            datasets,
            format: Format::BEST.name().to_owned(),
            made_at: self.now(),
        };
        let blob = filling.finish(space, json!(about))?;
        if !self.is_rolled_up(space)? {
            self.database.remove_blob(space.scope(), blob.id)?;
            return Ok(None);
        }
        Ok(Some(records))
    }

    /// Records as they were last written at these positions, but for those that were written since.
    fn rows(
        &self,
        space: &Space,
        desk: &Desk,
        (part, head): (&[(u64, &str)], u64),
    ) -> Result<Vec<Json>> {
        let ids: Vec<String> = part.iter().map(|(_, id)| (*id).to_owned()).collect();
        let include = Include {
            embeddings: true,
            metadatas: true,
            uris: true,
            documents: true,
            distances: false,
        };
        let found = self.read_indexed(space, SeqId(head), Some(&ids), include)?;
        let names: Vec<&str> = part.iter().map(|(_, id)| *id).collect();
        // What was written while it was read may be told as it is now or as it was: it is for the next run.
        let (seqs, _) = self.database.last_written(space.scope(), &names)?;
        let places = places(&found.ids, &ids).into_iter().zip(seqs);
        let (seqs, there): (Vec<u64>, Vec<usize>) = places
            .zip(part)
            .filter_map(|((at, seq), (wanted, _))| {
                let seq = seq.filter(|seq| seq.0 == *wanted)?;
                Some((seq.0, at?))
            })
            .unzip();
        let mut rows = told(desk, &found, &there);
        for (row, seq) in rows.iter_mut().zip(seqs) {
            row["seq"] = json!(seq);
        }
        Ok(rows)
    }

    /// Reads what is indexed up to `head` or later; all records where none is named.
    fn read_indexed(
        &self,
        space: &Space,
        head: SeqId,
        ids: Option<&[String]>,
        include: Include,
    ) -> Result<Fetched> {
        let request = GetRequest {
            selection: RecordSelection {
                ids: ids.map(<[String]>::to_vec),
                filter: None,
            },
            include,
            consistency: Consistency {
                min_seq: Some(head),
                ..Consistency::at_once()
            },
            ..GetRequest::default()
        };
        Ok(self.database.get(space.scope(), &request)?)
    }
}

/// Whether a file tells of a dataset that has no records any more.
fn tells_of_the_gone(desk: &Desk, about: &About) -> bool {
    let state = desk.state.lock();
    about.datasets.keys().any(|name| !state.has_dataset(name))
}

/// What a run did for a space, or would.
fn report(
    space: &Space,
    as_of: u64,
    (made, removed, records): (usize, usize, u64),
    is_whole: bool,
) -> Json {
    json!({
        "space": space.collection.name,
        "as_of_seq": as_of,
        "made": made,
        "removed": removed,
        "records": records,
        "complete": is_whole,
    })
}
