//! Tasks about the log: what it holds goes to segments, and its files go.

use serde::Serialize;
use serde_json::Value;

use super::{Inner, told};
use crate::Result;
use crate::control::Component;
use crate::indexing::CostlyIndexes;
use crate::maintenance::{Setbacks, forgive_deletion};
use crate::schedule::Run;

#[derive(Default, Serialize)]
struct SyncReport {
    /// Collections with operations that are in no segment.
    collections: u64,
    /// Such operations.
    operations: u64,
    /// Bytes that they take in memory.
    memory_bytes: u64,
    /// Collections that were written to segments.
    sealed: u64,
}

#[derive(Default, Serialize)]
struct PruneReport {
    files_before: usize,
    files_after: usize,
    bytes_before: u64,
    bytes_after: u64,
    /// Collections that were written to segments so that files could go.
    sealed: u64,
    /// Collections whose operations keep the oldest file.
    held_by: Vec<String>,
}

impl Inner {
    /// Writes every operation of the log to segments.
    pub(super) fn sync_log(&self, run: &Run<'_>) -> Result<Value> {
        let mut report = SyncReport::default();
        if !run.dry_run {
            // What is not indexed yet cannot be written to segments.
            self.index_all();
        }
        for collection in self.all_collections() {
            let behind = self.behind(&collection);
            if behind == 0 {
                continue;
            }
            if !run.go_on() {
                break;
            }
            report.collections += 1;
            report.operations += behind;
            report.memory_bytes += collection.memory().0;
            if !run.dry_run {
                let sealed = self.seal_one(&collection, &|| !run.is_cancelled())?;
                report.sealed += u64::from(sealed);
            }
        }
        told(&report)
    }

    /// Lets go of log files whose operations are in segments, and writes to segments what keeps
    /// the others. The file that is being written stays.
    pub(super) fn prune_log(&self, run: &Run<'_>) -> Result<Value> {
        let mut report = PruneReport {
            files_before: self.log.files(),
            bytes_before: self.log.bytes(),
            ..PruneReport::default()
        };
        if !run.dry_run {
            report.sealed = self.release_log(run)?;
        }
        report.files_after = self.log.files();
        report.bytes_after = self.log.bytes();
        let holders = self.log.holders_of_oldest();
        report.held_by = holders.iter().map(ToString::to_string).collect();
        told(&report)
    }

    fn release_log(&self, run: &Run<'_>) -> Result<u64> {
        let (mut sealed, mut setbacks) = (0, Setbacks::default());
        self.index_all();
        loop {
            for collection in self.all_collections() {
                // What was sealed while the log could not be told is told now.
                let applied = collection.published_applied();
                forgive_deletion(self.log.purge(collection.id, applied), ())?;
            }
            self.log.settle();
            let holders = self.log.holders_of_oldest();
            let mut progress = false;
            for id in holders {
                if let Some(collection) = self.live(id)
                    && run.go_on()
                    && setbacks.pass(self.seal_one(&collection, &|| !run.is_cancelled()), false)?
                {
                    sealed += 1;
                    progress = true;
                }
            }
            if !progress || !run.go_on() {
                self.log.settle();
                return setbacks.end(sealed);
            }
        }
    }

    /// Seals a collection unless indexing is paused; whether there was anything to do.
    pub(in crate::database) fn seal_one(
        &self,
        collection: &crate::indexing::LiveCollection,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<bool> {
        let _inside = self.controls.enter(Component::Indexing)?;
        if collection.is_deleted() {
            return Ok(false);
        }
        // Its records may never have been asked for since the start.
        forgive_deletion(
            collection.seal(&self.publisher(go_on), CostlyIndexes::Now),
            false,
        )
    }
}
