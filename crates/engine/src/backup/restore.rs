//! Builds a data folder from backups.
//!
//! What must stay true: the folder has its name only once it is whole and passes `verify`; nothing
//! is read from a backup but plain files that its manifest names, each checked; batches follow on
//! each other by SeqId, and a batch that is missing is an error that names it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashbrown::HashMap;
use serde::Serialize;

use super::batches::{BatchFiles, BatchWriter, LOG_FOLDER, read_batches};
use super::blobs::restore_blobs;
use super::manifest::{
    BackupFile, BackupManifest, BackupNumber, folder, object_path, read_checked,
};
use super::plan::{Plan, Target, nearest_origin, plan};
use super::{BackupProgress, Destination};
use crate::catalog::{Catalog, CatalogCopy, CatalogLocation, CollectionRow};
use crate::inspect::{self, CATALOG_FILE};
use crate::log::archive::LoggedBatch;
use crate::log::encode;
use crate::model::{CollectionId, Origin, SeqId, SeqRange};
use crate::storage::{DiskStorage, Storage, StorageFile};
use crate::{Error, ErrorKind, Result};

/// What the name of a folder ends with while it is being built.
const UNFINISHED: &str = ".restoring";
/// Bytes of a log file at which the next is begun.
const LOG_FILE_BYTES: u64 = 32 << 20;

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct RestoreReport {
    /// The backups that were read, the full one first.
    pub backups: Vec<BackupNumber>,
    /// Collections, by id.
    pub collections: Vec<RestoredCollection>,
    /// Bytes written.
    pub bytes: u64,
}

/// A collection that was restored.
#[derive(Clone, Debug, Serialize)]
pub struct RestoredCollection {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The last SeqId that it has.
    pub last_seq_id: u64,
}

/// A collection as backups know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneCollection {
    /// Its tenant.
    pub tenant: String,
    /// Its database.
    pub database: String,
    /// Its name or its id.
    pub name: String,
}

impl OneCollection {
    fn is(&self, row: &CollectionRow) -> bool {
        let one = &row.collection;
        one.tenant == self.tenant
            && one.database == self.database
            && (one.name == self.name || one.id.to_string() == self.name)
    }
}

/// Checks every file of a backup; answers what is damaged.
pub fn check(
    from: &dyn Destination,
    number: BackupNumber,
    progress: &mut dyn FnMut(BackupProgress<'_>),
) -> Result<Vec<Error>> {
    let manifest = match BackupManifest::read(from, number) {
        Err(error) if error.kind() == ErrorKind::Corrupted => return Ok(vec![error]),
        manifest => manifest?,
    };
    let mut damaged = Vec::new();
    let found = plain_files(from, &folder(number))?;
    let (mut bytes, bytes_total) = (0, manifest.bytes());
    for file in &manifest.files {
        let checked = check_plain(&found, number, file)
            .and_then(|()| read_checked(from, number, file, &mut |_| Ok(())));
        match checked {
            Err(error) if error.kind() == ErrorKind::Corrupted => damaged.push(error),
            checked => checked?,
        }
        bytes += file.bytes;
        progress(BackupProgress {
            what: &file.path,
            bytes,
            bytes_total,
        });
    }
    if damaged.is_empty() {
        let read = read_batches(from, &manifest, &mut |_, _| Ok(()));
        damaged.extend(read.err());
    }
    Ok(damaged)
}

/// Builds the data folder `path`, where nothing or an empty folder may be, as `target` says.
pub fn restore(
    from: &dyn Destination,
    path: &Path,
    target: &Target,
    progress: &mut dyn FnMut(BackupProgress<'_>),
) -> Result<RestoreReport> {
    if !DiskStorage::is_free(path)? {
        return Err(Error::already_exists(format!(
            "{} is not empty; restore into a folder that is not there yet.",
            path.display()
        )));
    }
    let plan = plan(from, target)?;
    build(from, path, &plan, &|| true, progress)
}

/// The same for one collection alone; `go_on` is asked now and then, and `false` ends the work.
pub(crate) fn restore_one(
    from: &dyn Destination,
    path: &Path,
    target: &Target,
    only: &OneCollection,
    go_on: &dyn Fn() -> bool,
) -> Result<RestoreReport> {
    let mut plan = plan(from, target)?;
    let rows = &mut plan.catalog.collections;
    let names: Vec<&str> = rows
        .iter()
        .filter(|row| row.collection.tenant == only.tenant)
        .filter(|row| row.collection.database == only.database)
        .map(|row| row.collection.name.as_str())
        .collect();
    if !rows.iter().any(|row| only.is(row)) {
        return Err(Error::not_found(format!(
            "The backup has no collection [{}] in the database [{}] of the tenant [{}]; it has {}. \
             One that was deleted before the backup is in an earlier one: name a time.",
            only.name,
            only.database,
            only.tenant,
            if names.is_empty() {
                "none there".to_owned()
            } else {
                names.join(", ")
            }
        )));
    }
    rows.retain(|row| only.is(row));
    build(from, path, &plan, go_on, &mut |_| {})
}

/// Builds the folder under another name, checks it, and gives it its own.
fn build(
    from: &dyn Destination,
    path: &Path,
    plan: &Plan,
    go_on: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(BackupProgress<'_>),
) -> Result<RestoreReport> {
    let unfinished = unfinished_path(path)?;
    if !DiskStorage::is_free(&unfinished)? {
        return Err(Error::already_exists(format!(
            "{} is left from a restore that was cut off; remove it, then restore again.",
            unfinished.display()
        )));
    }
    let storage = DiskStorage::open(&unfinished)?;
    let built = Build::new(from, &storage, plan, go_on, progress)
        .and_then(|build| build.run(&unfinished))
        .and_then(|report| {
            let damaged = inspect::verify(&unfinished, &mut |_| {})?;
            damaged.into_iter().next().map_or(Ok(report), Err)
        });
    match built {
        Ok(report) => storage.move_to(path).map(|()| report),
        Err(error) => {
            if let Err(left) = storage.remove() {
                tracing::warn!(%left, "what a restore that failed has built stays");
            }
            Err(error)
        }
    }
}

fn unfinished_path(path: &Path) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| {
        Error::invalid(format!(
            "{} names no folder to restore into.",
            path.display()
        ))
    })?;
    let mut name = name.to_owned();
    name.push(UNFINISHED);
    Ok(path.with_file_name(name))
}

/// A fork that was made since the full backup: the log of its origins is its own up to where each
/// was forked.
struct Heir {
    id: CollectionId,
    origins: Vec<Origin>,
}

/// A data folder that is being built.
struct Build<'a> {
    from: &'a dyn Destination,
    storage: &'a DiskStorage,
    plan: &'a Plan,
    catalog: CatalogCopy,
    /// The next SeqId of each collection.
    next: HashMap<CollectionId, SeqId>,
    /// Forks that the full backup does not have: they are built as their origins were.
    heirs: Vec<Heir>,
    log: Option<BatchWriter<NewLog<'a>>>,
    bytes: u64,
    bytes_total: u64,
    go_on: &'a dyn Fn() -> bool,
    progress: &'a mut dyn FnMut(BackupProgress<'_>),
}

impl<'a> Build<'a> {
    fn new(
        from: &'a dyn Destination,
        storage: &'a DiskStorage,
        plan: &'a Plan,
        go_on: &'a dyn Fn() -> bool,
        progress: &'a mut dyn FnMut(BackupProgress<'_>),
    ) -> Result<Self> {
        let catalog = merge_catalogs(plan);
        let next = catalog.collections.iter().map(|row| {
            let next = row.manifest.applied.plus(1);
            (row.collection.id, next)
        });
        let heirs = heirs(plan, &catalog);
        let logs = plan.chain.iter().flat_map(|one| one.files_in(LOG_FOLDER));
        let segments = plan.chain[0].files_in("segments/");
        let blobs = plan.chain.iter().flat_map(|one| one.files_in("blobs/"));
        let bytes_total = logs
            .chain(segments)
            .chain(blobs)
            .map(|file| file.bytes)
            .sum();
        let free = storage.free_bytes()?;
        if bytes_total > free {
            return Err(Error::new(
                ErrorKind::OutOfSpace,
                format!("The restored folder needs {bytes_total} bytes; the disk has {free} free."),
            ));
        }
        Ok(Self {
            from,
            storage,
            plan,
            next: next.collect(),
            heirs,
            catalog,
            log: Some(BatchWriter::new(NewLog(storage), LOG_FILE_BYTES)),
            bytes: 0,
            bytes_total,
            go_on,
            progress,
        })
    }

    fn run(mut self, path: &Path) -> Result<RestoreReport> {
        for manifest in &self.plan.chain {
            let found = plain_files(self.from, &folder(manifest.number))?;
            for file in &manifest.files {
                check_plain(&found, manifest.number, file)?;
                // Segments and the log are checked as they are read; this is the rest.
                if !file.path.contains('/') {
                    read_checked(self.from, manifest.number, file, &mut |_| Ok(()))?;
                }
            }
        }
        self.segments()?;
        let (from, storage, plan) = (self.from, self.storage, self.plan);
        let mut catalog = std::mem::take(&mut self.catalog);
        let told = &mut |path: &str, bytes| self.tell(path, bytes);
        restore_blobs(from, storage, &plan.chain, &mut catalog, told)?;
        self.catalog = catalog;
        self.log()?;
        let catalog = Catalog::open(&CatalogLocation::File(path.join(CATALOG_FILE)))?;
        catalog.import(&self.catalog)?;
        catalog.close()?;
        self.storage.sync_dir("")?;
        let collections = self
            .catalog
            .collections
            .iter()
            .map(|row| RestoredCollection {
                id: row.collection.id.to_string(),
                name: row.collection.name.clone(),
                last_seq_id: self.next[&row.collection.id].0 - 1,
            });
        Ok(RestoreReport {
            backups: self.plan.chain.iter().map(|one| one.number).collect(),
            collections: collections.collect(),
            bytes: self.bytes,
        })
    }

    fn tell(&mut self, what: &str, bytes: u64) -> Result<()> {
        self.bytes += bytes;
        (self.progress)(BackupProgress {
            what,
            bytes: self.bytes,
            bytes_total: self.bytes_total,
        });
        if (self.go_on)() {
            return Ok(());
        }
        let message = "The database is closing; the restore was not finished.";
        Err(Error::new(ErrorKind::Closed, message))
    }

    /// Copies the files of the segments that the catalogue names.
    fn segments(&mut self) -> Result<()> {
        let base = &self.plan.chain[0];
        // Forks share segments: each is copied once.
        let mut folders = BTreeSet::new();
        for row in &self.catalog.collections {
            for segment in &row.manifest.segments {
                folders.insert(segment.folder(row.collection.id));
            }
        }
        for folder in folders {
            self.storage.create_dir(&folder)?;
            let start = format!("{folder}/");
            let mut any = false;
            for file in base.files_in(&start) {
                any = true;
                let mut copy = self.storage.create(&file.path)?;
                read_checked(self.from, base.number, file, &mut |chunk| {
                    copy.write(&[chunk])
                })?;
                copy.sync()?;
                self.tell(&file.path, file.bytes)?;
            }
            if !any {
                let path = object_path(base.number, &folder);
                let detail = "the manifest names no file of this segment";
                return Err(Error::corrupted(&path, 0, detail));
            }
            for (end, _) in folder.match_indices('/') {
                self.storage.sync_dir(&folder[..end])?;
            }
            self.storage.sync_dir(&folder)?;
        }
        Ok(())
    }

    /// Writes the log of what the segments do not hold, up to where the target ends.
    fn log(&mut self) -> Result<()> {
        let log_folder = LOG_FOLDER.trim_end_matches('/');
        self.storage.create_dir(log_folder)?;
        let (from, plan) = (self.from, self.plan);
        let mut over = false;
        for manifest in &plan.chain {
            read_batches(from, manifest, &mut |batch, path| {
                over |= self.is_over(batch);
                if over {
                    return Ok(());
                }
                self.batch(batch, path)
            })?;
        }
        let log = self.log.take().expect("the log is written once");
        if let (_, Some(last)) = log.finish()? {
            self.storage.sync_dir(log_folder)?;
            last.mark_clean_end(self.storage)?;
        }
        let forked = self.heirs.iter().filter_map(|heir| {
            let forked_at = heir.origins.last()?.seq;
            Some((
                heir.id,
                self.end_of(heir.id).unwrap_or(forked_at).min(forked_at),
            ))
        });
        let forked: Vec<_> = forked.collect();
        for (id, reach) in plan.reach.iter().chain(&forked) {
            let Some(next) = self.next.get(id) else {
                continue;
            };
            if next.0 <= reach.0 {
                let path = folder(plan.chain[plan.chain.len() - 1].number);
                let detail = format!("SeqIds {next} to {reach} of collection {id} are missing");
                return Err(Error::corrupted(&path, 0, detail));
            }
        }
        Ok(())
    }

    /// Whether `batch` is the first one that was written after the time asked for.
    fn is_over(&self, batch: &LoggedBatch<'_>) -> bool {
        let fresh = self
            .next
            .get(&batch.collection)
            .is_some_and(|next| batch.seqs.last >= *next);
        fresh && self.plan.end_time.is_some_and(|end| batch.time > end)
    }

    /// The SeqId behind which nothing is taken, where one was asked for.
    fn end_of(&self, id: CollectionId) -> Option<SeqId> {
        let mut ends = self.plan.ends.iter();
        ends.find(|(known, _)| *known == id).map(|(_, end)| *end)
    }

    /// Takes a batch for its collection, and for the forks that have it from there.
    fn batch(&mut self, batch: &LoggedBatch<'_>, path: &str) -> Result<()> {
        for at in 0..self.heirs.len() {
            let heir = &self.heirs[at];
            let id = heir.id;
            let mut origins = heir.origins.iter();
            if let Some(origin) = origins.find(|one| one.collection == batch.collection) {
                let end = self.end_of(id).unwrap_or(origin.seq).min(origin.seq);
                self.take(id, end, batch, path)?;
            }
        }
        let end = self.end_of(batch.collection).unwrap_or(batch.seqs.last);
        self.take(batch.collection, end, batch, path)
    }

    /// Takes those rows of a batch up to `end` that `id` does not have yet.
    fn take(
        &mut self,
        id: CollectionId,
        end: SeqId,
        batch: &LoggedBatch<'_>,
        path: &str,
    ) -> Result<()> {
        let Some(next) = self.next.get(&id).copied() else {
            return Ok(());
        };
        let last = end.min(batch.seqs.last);
        if last < next {
            return Ok(());
        }
        if batch.seqs.first > next {
            let detail = format!(
                "SeqIds {next} to {} of collection {} are missing",
                batch.seqs.first.0 - 1,
                id
            );
            return Err(Error::corrupted(path, 0, detail));
        }
        self.next.insert(id, last.plus(1));
        let batch = &LoggedBatch {
            collection: id,
            ..*batch
        };
        if batch.seqs.first == next && last == batch.seqs.last {
            return self.write(batch);
        }
        // Only a part of the batch is wanted.
        let damaged = |detail: String| Error::corrupted(path, 0, detail);
        let rows =
            (next.0 - batch.seqs.first.0) as usize..(last.0 + 1 - batch.seqs.first.0) as usize;
        let part = Arc::new(batch.decode().map_err(damaged)?.rows(rows));
        let payload = encode(part).map_err(damaged)?.parts().concat();
        self.write(&LoggedBatch {
            seqs: SeqRange { first: next, last },
            payload: &payload,
            ..*batch
        })
    }

    fn write(&mut self, batch: &LoggedBatch<'_>) -> Result<()> {
        let log = self.log.as_mut().expect("the log is being written");
        log.push(batch)?;
        self.tell("log", batch.payload.len() as u64)
    }
}

/// The files of the log of a data folder that is being built.
struct NewLog<'a>(&'a DiskStorage);

impl BatchFiles for NewLog<'_> {
    type File = Box<dyn StorageFile>;

    fn begin(&mut self, path: &str) -> Result<Self::File> {
        self.0.create(path)
    }

    fn write(&mut self, file: &mut Self::File, bytes: &[u8]) -> Result<()> {
        file.write(&[bytes])
    }

    fn end(&mut self, mut file: Self::File) -> Result<()> {
        file.sync()
    }
}

/// The catalogue as it is to be: names and settings of the target, segments of the full backup.
fn merge_catalogs(plan: &Plan) -> CatalogCopy {
    let base: HashMap<CollectionId, &CollectionRow> = plan
        .base
        .catalog
        .collections
        .iter()
        .map(|row| (row.collection.id, row))
        .collect();
    let mut catalog = plan.catalog.clone();
    for row in &mut catalog.collections {
        // What the log brings, dimension and all, is found again when it is replayed.
        let held = base.get(&row.collection.id).copied();
        let lent = || nearest_origin(&plan.base.catalog, &row.collection.origins);
        let held = held.or_else(lent);
        row.manifest = held.map(|held| held.manifest.clone()).unwrap_or_default();
        row.collection.dimension = held.and_then(|held| held.collection.dimension);
        if let Some(held) = held.filter(|held| held.collection.id != row.collection.id) {
            for segment in &mut row.manifest.segments {
                segment.home = segment.home.or(Some(held.collection.id));
            }
        }
    }
    catalog
}

/// The forks of `catalog` that the full backup of the plan does not have.
fn heirs(plan: &Plan, catalog: &CatalogCopy) -> Vec<Heir> {
    let held: BTreeSet<CollectionId> = plan
        .base
        .catalog
        .collections
        .iter()
        .map(|row| row.collection.id)
        .collect();
    let forks = catalog
        .collections
        .iter()
        .filter(|row| !row.collection.origins.is_empty() && !held.contains(&row.collection.id));
    forks
        .map(|row| Heir {
            id: row.collection.id,
            origins: row.collection.origins.clone(),
        })
        .collect()
}

/// The plain files below a folder with their lengths, by path; links are neither followed nor told.
fn plain_files(from: &dyn Destination, folder: &str) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    let mut folders = BTreeSet::from([folder.to_owned()]);
    while let Some(folder) = folders.pop_first() {
        for entry in from.list(&folder)? {
            let path = format!("{folder}/{}", entry.name);
            if entry.is_dir {
                folders.insert(path);
            } else {
                found.insert(path, entry.bytes);
            }
        }
    }
    Ok(found)
}

/// Fails where `file` is missing, of another length, or no plain file (a link has another length).
fn check_plain(
    found: &BTreeMap<String, u64>,
    number: BackupNumber,
    file: &BackupFile,
) -> Result<()> {
    let path = object_path(number, &file.path);
    match found.get(&path) {
        Some(bytes) if *bytes == file.bytes => Ok(()),
        Some(bytes) => {
            let detail = format!(
                "{} bytes were written, {bytes} are found; a link is no file of a backup",
                file.bytes
            );
            Err(Error::corrupted(&path, (*bytes).min(file.bytes), detail))
        }
        None => Err(Error::corrupted(&path, 0, "the file is missing")),
    }
}
