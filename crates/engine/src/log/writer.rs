//! The log's thread: writes what waits, syncs, tells; removes files that nobody needs, or sets them aside.
//!
//! What must stay true (the reasons are in [`super::format`]): one group is in the file beyond its
//! durable bytes at most; a cut, a removal or a new name is durable before anything builds on it;
//! after a failed sync nothing is appended.

use std::sync::Arc;

use hashbrown::HashMap;
use uuid::Uuid;

use super::FOLDER;
use super::clean_end::CleanEnd;
use super::format::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FrameHeader, file_path};
use super::group::{Written, take_group, write_frames};
use super::newest;
use super::recovery::Recovered;
use super::spares::Spares;
use super::state::{Ending, LiveFile, Pending, Removal, Shared};
use super::ticket::Appended;
use crate::model::{CollectionId, FileHold, SeqId, SeqRange};
use crate::storage::StorageFile;
use crate::{Error, ErrorKind, Result};

/// Bytes after which the free space is asked for again.
const SPACE_CHECK_BYTES: u64 = 4 << 20;
/// Bytes of an active file beyond which it goes once everything in it is applied.
const IDLE_FILE_BYTES: u64 = 64 << 10;

/// What the log's thread owns.
pub(super) struct Writer {
    shared: Arc<Shared>,
    active: Option<Active>,
    next_number: u64,
    /// A file with the next number may be there from an attempt that failed.
    remnant: bool,
    spares: Spares,
    /// Bytes written since the free space was asked for; `None`: ask before the next group.
    since_space_check: Option<u64>,
    /// The catalogue's generation that durable marks tell.
    generation: u64,
}

/// The file that is appended to.
pub(super) struct Active {
    pub(super) file: Box<dyn StorageFile>,
    pub(super) header: FileHeader,
    /// Its durable bytes and the chain there.
    pub(super) synced: u64,
    pub(super) synced_chain: u32,
    /// Its bytes and the chain there; beyond `synced` there is a mark at most.
    pub(super) end: u64,
    pub(super) chain: u32,
    /// There may be remnants beyond `synced`, to be cut before the next append.
    pub(super) torn: bool,
    /// Bytes of the file's former life may stand beyond `end`.
    pub(super) written_over: bool,
}

impl Writer {
    /// The writer that goes on after what was found.
    pub(super) fn new(shared: Arc<Shared>, found: Recovered) -> Self {
        let spares = Spares::new(shared.storage.clone(), shared.options.free_disk_bytes_min);
        Self {
            shared,
            spares,
            active: found.active,
            next_number: found.next_number,
            remnant: false,
            since_space_check: None,
            generation: found.generation,
        }
    }

    /// Works until the log ends.
    pub(super) fn run(mut self) {
        let _guard = PanicGuard {
            shared: self.shared.clone(),
        };
        loop {
            let (group, upkeep) = {
                let mut state = self.shared.state.lock();
                state.busy = false;
                loop {
                    if !state.queue.is_empty() || state.upkeep_due {
                        break;
                    }
                    if let Some(ending) = state.ending {
                        drop(state);
                        self.finish(ending);
                        return;
                    }
                    self.shared.progress.notify_all();
                    self.shared.work.wait(&mut state);
                }
                state.busy = true;
                (
                    take_group(&mut state),
                    std::mem::take(&mut state.upkeep_due),
                )
            };
            if !group.is_empty() {
                self.append(group);
            }
            if upkeep {
                self.remove_free_files();
            }
        }
    }

    fn finish(&mut self, ending: Ending) {
        if ending == Ending::Clean
            && let Err(error) = self.mark_clean_end()
        {
            // The next start takes the end for that of a crash, which loses nothing.
            tracing::warn!(%error, "the log ends without a clean-end mark");
        }
        self.active = None;
    }

    fn mark_clean_end(&mut self) -> Result<()> {
        self.tidy()?;
        self.spares.release();
        let is_cut = self.cut_former_life()?;
        let first = {
            let state = self.shared.state.lock();
            state.files.front().map(|file| file.header.number)
        };
        let (Some(first), Some(active)) = (first, &mut self.active) else {
            return Ok(());
        };
        if active.end > active.synced || is_cut {
            active.file.sync()?;
            (active.synced, active.synced_chain) = (active.end, active.chain);
        }
        let end = CleanEnd {
            first,
            last: active.header.number,
            end: active.synced,
            chain: active.synced_chain,
        };
        end.write(self.shared.storage.as_ref())
    }

    /// Writes a group, and tells those who wait for it.
    fn append(&mut self, group: Vec<Pending>) {
        let outcome = self.write_group(&group);
        let idle = {
            let mut state = self.shared.state.lock();
            let appended = outcome.as_deref().unwrap_or_default();
            for (at, pending) in group.iter().enumerate() {
                match (appended.get(at).copied().flatten(), pending.flush) {
                    (Some(one), Some(key)) => {
                        let file = state.files.back().map_or(0, |file| file.header.number);
                        state.flushes.done(key, pending.collection, one.seqs, file);
                    }
                    (None, Some(key)) => state.flushes.failed(key),
                    (_, None) => {}
                }
            }
            state.queue.is_empty()
        };
        self.shared.progress.notify_all();
        for (at, pending) in group.into_iter().enumerate() {
            let result = match &outcome {
                Err(error) => Err(error.clone()),
                Ok(appended) => appended[at].ok_or_else(|| unknown_collection(pending.collection)),
            };
            // So that whoever waits has the batch alone.
            drop(pending.encoded);
            pending.completion.complete(result);
        }
        if idle && outcome.is_ok() {
            self.write_mark();
        }
    }

    /// Makes the frames of `group` durable; answers what became of each, none where its collection
    /// is gone. After an error nothing of the group counts.
    fn write_group(&mut self, group: &[Pending]) -> Result<Vec<Option<Appended>>> {
        let bytes: u64 = group
            .iter()
            .map(|pending| pending.bytes + FRAME_HEADER_BYTES)
            .sum();
        self.prepare(bytes)?;
        let ranges = self.assign(group);
        if ranges.iter().all(Option::is_none) {
            return Ok(vec![None; group.len()]);
        }
        if self
            .active
            .as_ref()
            .is_none_or(|active| active.synced >= self.shared.options.file_bytes)
        {
            self.begin_file()?;
        }
        let time = self.shared.now();
        let active = self.active.as_mut().expect("a file was begun");
        let Written {
            end,
            chain,
            appended,
        } = match write_frames(active, group, &ranges, time) {
            Ok(written) => written,
            Err(error) => {
                active.torn = true;
                self.since_space_check = None;
                self.cut_remnants().unwrap_or_else(|error| {
                    tracing::warn!(%error, "what a failed append left will be cut before the next");
                });
                return Err(error);
            }
        };
        let clock = self.shared.clock.get();
        let begun = clock.map(|clock| clock.monotonic());
        if let Err(error) = active.file.sync() {
            return Err(self.poison(&error));
        }
        let took = clock
            .zip(begun)
            .map(|(clock, begun)| clock.monotonic().saturating_sub(begun));
        let written = end - active.end;
        (active.end, active.chain) = (end, chain);
        (active.synced, active.synced_chain) = (end, chain);
        self.since_space_check = self.since_space_check.map(|since| since + written);
        self.generation = time.map_or(self.generation, |(_, generation)| generation);
        let mut state = self.shared.state.lock();
        state.statistics.syncs += 1;
        state.statistics.sync_microseconds += took.unwrap_or_default().as_micros() as u64;
        state.statistics.bytes += written;
        if let Some(file) = state.files.back_mut() {
            file.end = end;
        }
        for (pending, seqs) in group.iter().zip(&ranges) {
            if let Some(seqs) = seqs {
                state.statistics.appends += 1;
                state.note(pending.collection, *seqs);
            }
        }
        Ok(appended)
    }

    /// Does away with what an attempt that failed has left.
    fn tidy(&mut self) -> Result<()> {
        if let Some(failure) = &self.shared.state.lock().failure {
            return Err(failure.clone());
        }
        if self.active.as_ref().is_some_and(|active| active.torn) {
            self.cut_remnants()?;
        }
        self.remove_remnant_file()
    }

    /// Makes sure that an append of so many bytes may begin.
    fn prepare(&mut self, bytes: u64) -> Result<()> {
        self.tidy()?;
        if self
            .since_space_check
            .is_some_and(|since| since + bytes < SPACE_CHECK_BYTES)
        {
            return Ok(());
        }
        self.since_space_check = None;
        let mut free = self.shared.storage.free_bytes()?;
        let min = self.shared.options.free_disk_bytes_min;
        let needed = min.saturating_add(bytes);
        if free < needed && self.spares.release() {
            free = self.shared.storage.free_bytes()?;
        }
        if free < needed {
            return Err(Error::new(
                ErrorKind::OutOfSpace,
                format!(
                    "The disk has {free} bytes free; {bytes} are to be written and {min} must \
                     stay free. Free some space, then write again."
                ),
            ));
        }
        self.since_space_check = Some(0);
        Ok(())
    }

    fn assign(&self, group: &[Pending]) -> Vec<Option<SeqRange>> {
        let state = self.shared.state.lock();
        let mut next: HashMap<CollectionId, SeqId> = HashMap::new();
        group
            .iter()
            .map(|pending| {
                let head = state.heads.get(&pending.collection)?;
                let next = next
                    .entry(pending.collection)
                    .or_insert(head.highest.plus(1));
                let seqs = SeqRange::of(*next, pending.count as usize);
                *next = seqs.last.plus(1);
                Some(seqs)
            })
            .collect()
    }

    /// Cuts what the active file has of its former life, which guards nothing: the cut may be lost. Whether there was any.
    fn cut_former_life(&mut self) -> Result<bool> {
        match &mut self.active {
            Some(active) if active.written_over => {
                active.file.truncate(active.end)?;
                active.written_over = false;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Begins the next file, durably, before anything goes into it.
    fn begin_file(&mut self) -> Result<()> {
        self.cut_former_life()?;
        let previous = self
            .active
            .as_ref()
            .map(|active| (active.synced, active.synced_chain));
        let header = FileHeader {
            number: self.next_number,
            salt: Uuid::new_v4().as_u64_pair().0,
            previous,
        };
        let (bytes, chain) = header.encode();
        let path = file_path(header.number);
        self.remnant = true;
        let made = match self.spares.take(&bytes) {
            Some((spare, file)) => Ok((Some(spare), file)),
            None => self.shared.storage.create(&path).and_then(|mut file| {
                file.write(&[&bytes])?;
                Ok((None, file))
            }),
        };
        let (spare, mut file) = match made {
            Ok(made) => made,
            Err(error) => return Err(self.not_begun(error)),
        };
        if let Err(error) = file.sync() {
            return Err(self.poison(&error));
        }
        if let Some(spare) = &spare
            && let Err(error) = self.spares.rename(spare, &path)
        {
            return Err(self.not_begun(error));
        }
        if let Err(error) = self.shared.storage.sync_dir(FOLDER) {
            return Err(self.poison(&error));
        }
        newest::note(self.shared.storage.as_ref(), header.number);
        if let Some(beside) = self.shared.beside.get() {
            (beside.tell_file)(header.number);
        }
        self.remnant = false;
        self.next_number += 1;
        self.active = Some(Active {
            file,
            header,
            synced: FILE_HEADER_BYTES,
            synced_chain: chain,
            end: FILE_HEADER_BYTES,
            chain,
            torn: false,
            written_over: spare.is_some(),
        });
        let mut state = self.shared.state.lock();
        state.statistics.syncs += 1;
        state.files.push_back(LiveFile {
            header,
            chain,
            end: FILE_HEADER_BYTES,
            highest: HashMap::new(),
            going: false,
            hold: FileHold::default(),
        });
        Ok(())
    }

    /// Does away with a file that could not be begun, because of `error`.
    fn not_begun(&mut self, error: Error) -> Error {
        self.since_space_check = None;
        self.remove_remnant_file().unwrap_or_else(|error| {
            tracing::warn!(%error, "a file that could not be begun will be removed later");
        });
        error
    }

    /// Cuts what is beyond the durable bytes, durably.
    fn cut_remnants(&mut self) -> Result<()> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        active.file.truncate(active.synced)?;
        if let Err(error) = active.file.sync() {
            return Err(self.poison(&error));
        }
        (active.end, active.chain) = (active.synced, active.synced_chain);
        (active.torn, active.written_over) = (false, false);
        Ok(())
    }

    /// Removes a file that could not be begun, durably: were it found after a crash, it would say
    /// that the file before ends where it ended then.
    fn remove_remnant_file(&mut self) -> Result<()> {
        if !self.remnant {
            return Ok(());
        }
        let storage = &self.shared.storage;
        storage.remove_file(&file_path(self.next_number))?;
        if let Err(error) = storage.sync_dir(FOLDER) {
            return Err(self.poison(&error));
        }
        self.remnant = false;
        Ok(())
    }

    /// Says on disk, without a sync, up to where the file is durable.
    fn write_mark(&mut self) {
        let Some(active) = &mut self.active else {
            return;
        };
        if active.end > active.synced || active.torn {
            return;
        }
        let mark = FrameHeader::mark(active.chain, active.header.salt, active.end);
        let (bytes, chain) = mark.encode();
        match active.file.write(&[&bytes]) {
            Ok(()) => {
                active.end += FRAME_HEADER_BYTES;
                active.chain = chain;
            }
            Err(error) => {
                active.torn = true;
                tracing::warn!(%error, "a mark could not be written into the log");
            }
        }
    }

    /// Makes a mark durable that tells the catalogue's generation, where none does: what a file had is
    /// in segments by what the catalogue says now, and an older catalogue would not know of them.
    fn tell_generation(&mut self) -> Result<()> {
        let Some((time, generation)) = self.shared.now() else {
            return Ok(());
        };
        if generation == self.generation {
            return Ok(());
        }
        self.tidy()?;
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        let (salt, synced) = (active.header.salt, active.synced);
        let mark = FrameHeader::time_mark(active.chain, salt, active.end, synced, time)
            .with_generation(generation);
        let (bytes, chain) = mark.encode();
        if let Err(error) = active.file.write(&[&bytes]) {
            active.torn = true;
            // The removal makes room, which is worth more than the guard.
            let is_full = error.kind() == ErrorKind::OutOfSpace;
            return if is_full { Ok(()) } else { Err(error) };
        }
        if let Err(error) = active.file.sync() {
            return Err(self.poison(&error));
        }
        (active.end, active.chain) = (mark.end(), chain);
        (active.synced, active.synced_chain) = (active.end, chain);
        self.generation = generation;
        let mut state = self.shared.state.lock();
        if let Some(file) = state.files.back_mut() {
            file.end = mark.end();
        }
        Ok(())
    }

    /// Removes files that nobody needs, oldest first, each removal durable before the next. While there is work, some are
    /// kept to be written over; they go once there is none.
    fn remove_free_files(&mut self) {
        loop {
            let (removal, is_idle) = {
                let mut state = self.shared.state.lock();
                (state.next_removal(IDLE_FILE_BYTES), state.is_idle())
            };
            if is_idle {
                self.spares.release();
            }
            let removed = match removal {
                Removal::None => return,
                // Free space is not asked for: this gives some back.
                Removal::AfterNextFile => self.tidy().and_then(|()| self.begin_file()),
                Removal::Of(file) => self.remove_free_file(&file, !is_idle),
            };
            if let Err(error) = removed {
                tracing::warn!(%error, "log files that nobody needs will be removed later");
                return;
            }
        }
    }

    /// Removes the oldest file, or keeps it as a spare where `may_keep`.
    fn remove_free_file(&mut self, file: &LiveFile, may_keep: bool) -> Result<()> {
        self.tell_generation()?;
        let spare = self.spares.set_aside(file, may_keep)?;
        if let Err(error) = self.shared.storage.sync_dir(FOLDER) {
            return Err(self.poison(&error));
        }
        let mut state = self.shared.state.lock();
        state.files.pop_front();
        state.forget_flushes();
        drop(state);
        if let Some(spare) = spare {
            self.spares.keep(spare);
        }
        Ok(())
    }

    /// Refuses appends from now on, because a sync failed; answers the error that says so.
    fn poison(&mut self, cause: &Error) -> Error {
        let error = Error::new(
            ErrorKind::Closed,
            format!(
                "The log could not be synced, so nothing more is acknowledged; reads go on. Check \
                 the disk, then restart. ({cause})"
            ),
        );
        tracing::error!(%error, "the log refuses writes");
        // Nothing that was not synced should be found by the next start. Whether that works is
        // not to be relied on, so a failure is no news.
        if let Some(active) = &mut self.active {
            active.torn = true;
            let _ = active.file.truncate(active.synced);
        }
        self.shared.state.lock().failure = Some(error.clone());
        self.shared.progress.notify_all();
        error
    }
}

pub(super) fn unknown_collection(collection: CollectionId) -> Error {
    Error::not_found(format!(
        "Collection [{collection}] has no log: it was deleted, or never registered."
    ))
}

/// Refuses appends where the log's thread panics, so that nobody waits for it in vain.
struct PanicGuard {
    shared: Arc<Shared>,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.busy = false;
        state.upkeep_due = false;
        if std::thread::panicking() {
            state.failure = Some(Error::new(
                ErrorKind::Closed,
                "The log's thread ended by a fault; writes are refused. Restart, and report this.",
            ));
        }
        let abandoned = std::mem::take(&mut state.queue);
        drop(state);
        drop(abandoned);
        self.shared.progress.notify_all();
    }
}
