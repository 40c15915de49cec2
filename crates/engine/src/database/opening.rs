//! Opening a database: its log against its catalogue, what backups need of it, and what is swept.
//!
//! What must stay true: the log is replayed before anything is swept, since it tells whether the
//! catalogue is older than it was; what only helps a later backup, or guards a name, keeps no
//! database from opening.

use std::sync::Arc;

use hashbrown::HashSet;

use super::{Collections, blobs, restores};
use crate::Result;
use crate::backup::{BackupState, Journal};
use crate::catalog::Catalog;
use crate::config::Config;
use crate::log::{Beside, CatalogSays, Keep, Log, LogOptions};
use crate::maintenance::{Named, Strangers, sweep_orphans};
use crate::model::{CollectionId, SeqId};

/// Removes folders of segments that were never published, files that nothing names, and what a restore
/// has left; `known` are the collections.
pub(super) fn sweep(
    config: &Config,
    catalog: &Catalog,
    named: Named,
    known: &HashSet<CollectionId>,
) -> Result<()> {
    config.storage.remove_dir(restores::BUILT_IN)?;
    let strangers = if catalog.was_closed() {
        Strangers::Go
    } else {
        Strangers::Stay
    };
    let swept = sweep_orphans(config.storage.as_ref(), named, strangers)?;
    if swept > 0 {
        tracing::info!(
            swept,
            "removed folders of segments that were never published"
        );
    }
    blobs::sweep(config, catalog, known, strangers)
}

/// What the folder remembers of its backups. Where that is damaged, the next backup says so; it
/// must not keep the database from opening.
fn read_backup_state(config: &Config) -> Option<BackupState> {
    BackupState::read(config.storage.as_ref()).unwrap_or_else(|error| {
        tracing::warn!(%error, "no log is kept for backups");
        None
    })
}

/// When the catalogue changed, as far as backups need it, and what they need of the log.
pub(super) fn open_journal(config: &Config) -> Result<(Journal, Keep)> {
    let backups = read_backup_state(config);
    let journal = Journal::open(config.storage.as_ref(), backups.is_some())?;
    let mut keep = Keep {
        from: None,
        bytes_max: config.limits.backup_log_bytes_max,
    };
    if let Some(backups) = backups {
        keep.from = backups.first_log_file();
        journal.resume_at(backups.next_change());
    }
    Ok((journal, keep))
}

/// Opens the log. Applies what it has beyond the segments as far as memory goes, and leaves the
/// rest to be indexed later, so that a start takes no longer than reading the log.
pub(super) fn open_log(
    config: &Config,
    catalog: &Arc<Catalog>,
    collections: &Collections,
    keep: Keep,
) -> Result<Log> {
    let storage = config.storage.as_ref();
    let says = CatalogSays::by(catalog)?;
    let options = LogOptions {
        file_bytes: config.upkeep.log_file_bytes,
        batch_records_max: config.limits.batch_records_max,
        free_disk_bytes_min: config.limits.free_disk_bytes_min,
        keep,
        catalog: says,
    };
    let applied = |id: CollectionId| -> Option<SeqId> {
        collections
            .by_id
            .get(&id)
            .map(|collection| collection.published_applied())
    };
    let room = config.upkeep.memory_bytes as u64;
    let now = config.clock.monotonic();
    let mut replayed: u64 = 0;
    let mut later: HashSet<CollectionId> = HashSet::new();
    let log = Log::open(config.storage.clone(), options, &applied, &mut |frame| {
        let id = frame.collection();
        let Some(collection) = collections.by_id.get(&id) else {
            return Ok(());
        };
        // After the first batch that is left for later, so are all others of the collection.
        if (replayed >= room || later.contains(&id)) && collection.defer(&frame, now)? {
            later.insert(id);
            return Ok(());
        }
        let logged = frame.read()?;
        replayed += logged.batch.heap_bytes() as u64;
        collection.replay(storage, &logged.batch, logged.seqs);
        Ok(())
    })?;
    if log.newest_file() > says.newest_file {
        tell_file(catalog, log.newest_file());
    }
    let told = catalog.clone();
    log.set_beside(Beside {
        generation: catalog.generation(),
        tell_file: Box::new(move |number| tell_file(&told, number)),
    });
    Ok(log)
}

/// Tells the catalogue of a log file. It guards that file's name alone: a disk without room for that
/// is no reason to refuse anything.
fn tell_file(catalog: &Catalog, number: u64) {
    if let Err(error) = catalog.note_log_file(number) {
        tracing::warn!(%error, "the catalogue is not told of the newest log file");
    }
}
