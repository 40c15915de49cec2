//! Makes a backup while the database runs.
//!
//! What must stay true: the catalogue is read before the time, and the time before the log is cut:
//! so segments hold nothing that is later than the time, and whatever was acknowledged by then is
//! in the cut. Folders are held before the catalogue is read, so that every segment it names stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::batches::BackupLog;
use super::blobs::new_blobs;
use super::changes::{Journal, TimedChange, same_names};
use super::manifest::{
    BackupFile, BackupKind, BackupManifest, BackupNumber, CHUNK_BYTES, HashedWriter, folder, list,
    lost_link, numbers, read_checked, read_json,
};
use super::state::{BackupState, Needed};
use super::{BackupProgress, Destination};
use crate::catalog::{Catalog, CatalogCopy};
use crate::clock::Clock;
use crate::log::archive::{LogCut, LogPlace};
use crate::log::{Keep, Log};
use crate::model::{CollectionId, SeqId};
use crate::segments::Segment;
use crate::storage::{DeferringStorage, Storage};
use crate::{Error, ErrorKind, Result};

/// The object that holds the id of a destination.
const DESTINATION: &str = "destination";
/// The file of the catalogue in a backup.
pub(super) const CATALOG: &str = "catalog.json";
/// The file of the catalogue's changes in a backup.
pub(super) const CHANGES: &str = "changes.json";

/// The database that is backed up.
pub(crate) struct Source<'a> {
    /// Its data folder.
    pub(crate) storage: &'a Arc<DeferringStorage>,
    /// Its catalogue.
    pub(crate) catalog: &'a Catalog,
    /// Its log.
    pub(crate) log: &'a Log,
    /// When its catalogue changed.
    pub(crate) journal: &'a Journal,
    /// Held by whatever changes the catalogue's names.
    pub(crate) changes: &'a Mutex<()>,
    /// The time.
    pub(crate) clock: &'a dyn Clock,
    /// Bytes of log that are kept for the next backup at most.
    pub(crate) keep_bytes_max: u64,
    /// Asked now and then; `false` ends the work.
    pub(crate) go_on: &'a dyn Fn() -> bool,
}

/// The catalogue as a backup holds it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct BackupCatalog {
    /// Its rows; those of an incremental backup name no segments.
    pub(super) catalog: CatalogCopy,
    /// The last SeqId of each collection.
    pub(super) last: BTreeMap<CollectionId, SeqId>,
}

/// One moment of the database.
struct Moment {
    catalog: BackupCatalog,
    time: u64,
    changes: Vec<TimedChange>,
    changes_end: u64,
}

/// What becomes of a backup that was asked for.
struct Decision {
    kind: BackupKind,
    reason: Option<String>,
    /// The backup that it carries on.
    continues: Option<BackupManifest>,
}

/// A backup as it would be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreseen {
    /// Its number.
    pub(crate) number: BackupNumber,
    /// Its kind.
    pub(crate) kind: BackupKind,
    /// Why it would be a full one where an incremental one was asked for.
    pub(crate) reason: Option<String>,
    /// The backup that it would carry on.
    pub(crate) continues: Option<BackupNumber>,
}

/// Which backup [`write_backup`] would make; `to` is `None` where it is not there yet.
pub(crate) fn foresee_backup(
    source: &Source<'_>,
    to: Option<&dyn Destination>,
    kind: BackupKind,
) -> Result<Foreseen> {
    let storage: &dyn Storage = source.storage.as_ref();
    let state = BackupState::read(storage)?.unwrap_or_else(BackupState::new);
    let previous = to.map_or(Ok(Ok(None)), |to| find_previous(to, state.database))?;
    let last = to.map_or(Ok(None), |to| numbers(to).map(|all| all.last().copied()))?;
    let decision = decide(kind, previous, &source.log.cut())?;
    Ok(Foreseen {
        number: last.map_or(1, |last| last + 1),
        kind: decision.kind,
        reason: decision.reason,
        continues: decision.continues.map(|previous| previous.number),
    })
}

/// Makes a backup of `source`; answers its manifest. What a failure leaves has no manifest and is
/// removed by the next backup.
pub(crate) fn write_backup(
    source: &Source<'_>,
    to: &dyn Destination,
    kind: BackupKind,
    progress: &mut dyn FnMut(BackupProgress<'_>),
) -> Result<BackupManifest> {
    let storage: &dyn Storage = source.storage.as_ref();
    let mut state = remembered(storage)?;
    source.journal.start();
    let destination = destination_id(to)?;
    let previous = find_previous(to, state.database)?;
    remove_unfinished(to)?;
    let number = numbers(to)?.last().map_or(1, |last| last + 1);
    let hold = source.storage.hold();
    let (moment, cut) = source.capture(previous.as_ref().ok().and_then(Option::as_ref));
    let moment = moment?;
    let decision = decide(kind, previous, &cut)?;
    let mut writing = Writing {
        source,
        to,
        number,
        files: Vec::new(),
        done: 0,
        total: 0,
        progress,
    };
    let (log_end, log_batches) = writing.log(&cut, &moment, &decision)?;
    let needed = Needed {
        log_file: log_end.map_or(1, |place| place.file),
        change: moment.changes_end,
        time: moment.time,
    };
    state.note(destination, needed);
    // From here on the files that the next backup needs are kept, and need no cut for it.
    source.log.keep(Keep {
        from: state.first_log_file(),
        bytes_max: source.keep_bytes_max,
    });
    drop(cut);
    let before = decision.continues.as_ref();
    let before: Option<BackupCatalog> = before
        .map(|previous| read_json(to, previous, CATALOG))
        .transpose()?;
    let before = before.map(|before| before.catalog);
    let changes_known = writing.catalog(&moment, decision.kind, before.as_ref())?;
    if decision.kind == BackupKind::Full {
        writing.segments(&moment.catalog.catalog)?;
        writing.blobs(&moment.catalog.catalog, None)?;
    } else {
        writing.blobs(&moment.catalog.catalog, before.as_ref())?;
    }
    drop(hold);
    let manifest = BackupManifest {
        number,
        kind: decision.kind,
        reason: decision.reason,
        database: state.database,
        time: moment.time,
        continues: decision.continues.map(|previous| previous.number),
        changes_known,
        collections: moment.catalog.catalog.collections.len() as u64,
        log_end,
        changes_end: moment.changes_end,
        log_batches,
        files: std::mem::take(&mut writing.files),
    };
    writing.verify(&manifest)?;
    manifest.write(to)?;
    // The backup is there. What follows only helps the next one, which is full without it.
    if let Err(error) = state.write(storage) {
        tracing::warn!(%error, "the next backup will be a full one");
    }
    source.journal.forget_before(storage, state.first_change());
    Ok(manifest)
}

/// What the data folder remembers; at the first backup it begins to.
fn remembered(storage: &dyn Storage) -> Result<BackupState> {
    if let Some(state) = BackupState::read(storage)? {
        return Ok(state);
    }
    let state = BackupState::new();
    state.write(storage)?;
    Ok(state)
}

/// The id of the destination, given to it at its first backup.
fn destination_id(to: &dyn Destination) -> Result<Uuid> {
    match to.read_at(DESTINATION, 0, 64) {
        Ok(bytes) => std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| Uuid::try_parse(text.trim()).ok())
            .ok_or_else(|| {
                Error::corrupted(DESTINATION, 0, "it does not hold the id it was given")
            }),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let id = Uuid::new_v4();
            let mut object = to.create(DESTINATION)?;
            object.write(&[format!("{id}\n").as_bytes()])?;
            object.finish()?;
            Ok(id)
        }
        Err(error) => Err(error),
    }
}

/// Removes what was never finished: what is behind the newest backup that has a manifest. One before
/// it was whole once, or was left by an attempt; it may be what a later one carries on, and stays.
fn remove_unfinished(to: &dyn Destination) -> Result<()> {
    let newest = list(to)?.last().map_or(0, |backup| backup.number);
    for number in numbers(to)?.into_iter().filter(|one| *one > newest) {
        to.remove(&folder(number))?;
    }
    Ok(())
}

/// The newest backup, or why it cannot be carried on.
fn find_previous(
    to: &dyn Destination,
    database: Uuid,
) -> Result<Result<Option<BackupManifest>, String>> {
    let backups = list(to)?;
    for backup in &backups {
        if let Ok(manifest) = &backup.manifest
            && manifest.database != database
        {
            return Err(Error::invalid(format!(
                "The destination holds backups of another database ({}, this one is {database}); \
                 each database needs a destination of its own.",
                manifest.database
            )));
        }
    }
    let Some(newest) = backups.last() else {
        return Ok(Ok(None));
    };
    Ok(match &newest.manifest {
        Err(error) => Err(format!("the newest backup cannot be read: {error}")),
        Ok(manifest) => match lost_link(&backups, manifest) {
            Some(lost) => Err(format!("the newest backup cannot be restored: {lost}")),
            None => Ok(Some(manifest.clone())),
        },
    })
}

fn decide(
    asked: BackupKind,
    previous: Result<Option<BackupManifest>, String>,
    cut: &LogCut,
) -> Result<Decision> {
    let (continues, why_not) = match previous {
        Err(reason) => (None, reason),
        Ok(None) => (
            None,
            "there is no earlier backup in the destination".to_owned(),
        ),
        Ok(Some(previous)) => {
            if cut.reaches_back_to(previous.log_end)? {
                (Some(previous), String::new())
            } else {
                let reason = format!(
                    "the log since backup {} is gone: more was written than is kept for backups",
                    previous.number
                );
                (None, reason)
            }
        }
    };
    let full = asked == BackupKind::Full || continues.is_none();
    Ok(Decision {
        kind: if full {
            BackupKind::Full
        } else {
            BackupKind::Incremental
        },
        reason: (asked == BackupKind::Incremental && full).then_some(why_not),
        continues,
    })
}

impl Source<'_> {
    /// One moment: see the head of this file for the order.
    fn capture(&self, previous: Option<&BackupManifest>) -> (Result<Moment>, LogCut) {
        let _changes = self.changes.lock();
        // What is sealed between the two looks is in neither, unless the log keeps it meanwhile.
        let _kept = self.log.cut();
        let catalog = self.catalog.export();
        let time = self.clock.wall_nanoseconds();
        let cut = self.log.cut();
        let (changes_end, changes) = self
            .journal
            .since(previous.map_or(u64::MAX, |previous| previous.changes_end));
        let moment = catalog.map(|catalog| Moment {
            catalog: BackupCatalog {
                last: catalog
                    .collections
                    .iter()
                    .map(|row| {
                        let id = row.collection.id;
                        (id, cut.highest(id).max(row.manifest.applied))
                    })
                    .collect(),
                catalog,
            },
            time,
            changes,
            changes_end,
        });
        (moment, cut)
    }
}

/// A backup that is being written.
struct Writing<'a, 'p> {
    source: &'a Source<'a>,
    to: &'a dyn Destination,
    number: BackupNumber,
    files: Vec<BackupFile>,
    done: u64,
    total: u64,
    progress: &'p mut dyn FnMut(BackupProgress<'_>),
}

impl Writing<'_, '_> {
    fn tell(&mut self, what: &str, bytes: u64) -> Result<()> {
        self.done += bytes;
        self.total = self.total.max(self.done);
        (self.progress)(BackupProgress {
            what,
            bytes: self.done,
            bytes_total: self.total,
        });
        if (self.source.go_on)() {
            return Ok(());
        }
        let message = "The database is closing, or the backup was called off; it was not finished.";
        Err(Error::new(ErrorKind::Closed, message))
    }

    /// Writes what the log has since the previous backup, and for a full backup also what the
    /// segments do not hold. Answers where the log ended, and how many batches were written.
    fn log(
        &mut self,
        cut: &LogCut,
        moment: &Moment,
        decision: &Decision,
    ) -> Result<(Option<LogPlace>, u64)> {
        let applied: BTreeMap<CollectionId, SeqId> = moment
            .catalog
            .catalog
            .collections
            .iter()
            .map(|row| (row.collection.id, row.manifest.applied))
            .collect();
        let full = decision.kind == BackupKind::Full;
        let previous = decision.continues.as_ref().map(|previous| previous.log_end);
        let since = |place: LogPlace| match previous {
            None => false,
            Some(None) => true,
            Some(Some(end)) => (place.file, place.offset) >= (end.file, end.offset),
        };
        let from = if full { None } else { previous.flatten() };
        let mut writer = BackupLog::writer(self.to, self.number);
        let end = cut.batches(from, &mut |batch, place| {
            let unsealed = || {
                let applied = applied.get(&batch.collection);
                applied.is_some_and(|applied| batch.seqs.last > *applied)
            };
            if since(place) || (full && unsealed()) {
                writer.push(batch)?;
                self.tell("log", batch.payload.len() as u64)?;
            }
            Ok(())
        })?;
        let batches = writer.batches();
        let files = writer.finish()?.0.written;
        self.files.extend(files);
        Ok((end, batches))
    }

    /// Writes the catalogue and its changes; whether the changes explain the catalogue.
    fn catalog(
        &mut self,
        moment: &Moment,
        kind: BackupKind,
        before: Option<&CatalogCopy>,
    ) -> Result<bool> {
        let known = match before {
            None => true,
            Some(before) => {
                let mut replayed = before.clone();
                for change in &moment.changes {
                    change.change.apply(&mut replayed);
                }
                same_names(&replayed, &moment.catalog.catalog)
            }
        };
        let mut catalog = BackupCatalog {
            catalog: moment.catalog.catalog.clone(),
            last: moment.catalog.last.clone(),
        };
        if kind == BackupKind::Incremental {
            for row in &mut catalog.catalog.collections {
                row.manifest.segments.clear();
            }
        }
        self.json(CATALOG, &catalog)?;
        self.json(CHANGES, &moment.changes)?;
        Ok(known)
    }

    fn json(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| Error::internal(format!("{name} has no JSON form: {error}")))?;
        let mut file = HashedWriter::begin(self.to, self.number, name)?;
        file.write(&bytes)?;
        self.files.push(file.finish()?);
        self.tell(name, bytes.len() as u64)
    }

    /// Copies the files of every segment, each checked block by block before.
    fn segments(&mut self, catalog: &CatalogCopy) -> Result<()> {
        let storage: &dyn Storage = self.source.storage.as_ref();
        // Forks share segments: each is copied once.
        let mut folders = BTreeMap::new();
        for row in &catalog.collections {
            for segment in &row.manifest.segments {
                folders.insert(segment.folder(row.collection.id), segment.toc_checksum);
            }
        }
        let mut found = Vec::new();
        for folder in folders.keys() {
            for entry in storage.list(folder)? {
                self.total += entry.bytes;
                found.push(format!("{folder}/{}", entry.name));
            }
        }
        for (folder, toc_checksum) in &folders {
            let opened = Segment::open(storage, folder, *toc_checksum)?;
            if let Some(damage) = opened.verify().into_iter().next() {
                return Err(damage);
            }
        }
        found.iter().try_for_each(|path| self.copy(storage, path))
    }

    /// Copies the blobs that the catalogue names and the backup `before` does not have, each checked before.
    fn blobs(&mut self, catalog: &CatalogCopy, before: Option<&CatalogCopy>) -> Result<()> {
        let storage: &dyn Storage = self.source.storage.as_ref();
        let new = new_blobs(catalog, before)?;
        self.total += new.iter().map(|blob| blob.bytes).sum::<u64>();
        for blob in new {
            let (path, bytes) = (blob.path(), blob.read(storage)?);
            let mut file = HashedWriter::begin(self.to, self.number, &path)?;
            for chunk in bytes.chunks(CHUNK_BYTES) {
                file.write(chunk)?;
                self.tell(&path, chunk.len() as u64)?;
            }
            self.files.push(file.finish()?);
        }
        Ok(())
    }

    fn copy(&mut self, storage: &dyn Storage, path: &str) -> Result<()> {
        let mut file = HashedWriter::begin(self.to, self.number, path)?;
        let mut offset = 0;
        loop {
            let chunk = storage.read_at(path, offset, CHUNK_BYTES)?;
            if chunk.is_empty() {
                break;
            }
            file.write(&chunk)?;
            offset += chunk.len() as u64;
            self.tell(path, chunk.len() as u64)?;
        }
        self.files.push(file.finish()?);
        Ok(())
    }

    /// Reads every file back.
    fn verify(&mut self, manifest: &BackupManifest) -> Result<()> {
        for file in &manifest.files {
            read_checked(self.to, manifest.number, file, &mut |_| Ok(()))?;
            self.tell("verify", 0)?;
        }
        Ok(())
    }
}
