//! The log's thread: writes what is queued, syncs once, answers; removes files that are spent.
//!
//! What must stay true: only this thread writes or removes log files. SeqIds are given out when a
//! frame is written, so that a batch that fails leaves no gap. After a failed write the file is
//! cut back to its last durable end; after a failed sync nothing more is written.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use super::frame::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FrameHeader, file_header};
use super::payload::{self, Payload};
use super::scan::{FOLDER, LogFile, path_of};
use super::{Shared, Ticket, no_log};
use crate::model::{CollectionId, FlushKey, RecordBatch, SeqId, SeqRange};
use crate::storage::StorageFile;
use crate::{Error, ErrorKind, Result};

/// Flush keys remembered.
const RECENT_KEYS: usize = 10_000;
/// A file that is spent is removed while it is the newest only if it is larger than this.
const SPENT_BYTES_MIN: u64 = 64 << 10;

/// What waits for the log's thread.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) appends: Vec<Append>,
    /// Files may be spent.
    pub(super) tidy: bool,
    pub(super) stop: bool,
}

/// A batch to be appended.
pub(super) struct Append {
    collection: CollectionId,
    flush: Option<FlushKey>,
    records: usize,
    payload: Payload,
    checksum: u32,
    ticket: Ticket,
}

impl Append {
    /// Encodes `batch`, so that the log's thread need not.
    pub(super) fn new(
        collection: CollectionId,
        flush: Option<FlushKey>,
        batch: Arc<RecordBatch>,
    ) -> Self {
        let records = batch.len();
        let payload = payload::encode(batch);
        let checksum = payload.checksum();
        Self {
            collection,
            flush,
            records,
            payload,
            checksum,
            ticket: Ticket::default(),
        }
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.ticket.clone()
    }
}

/// What recent flush keys were answered.
#[derive(Default)]
pub(super) struct Recent {
    answers: HashMap<FlushKey, SeqRange>,
    order: VecDeque<FlushKey>,
}

impl Recent {
    pub(super) fn insert(&mut self, key: FlushKey, seqs: SeqRange) {
        if self.answers.insert(key, seqs).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > RECENT_KEYS
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }

    fn get(&self, key: FlushKey) -> Option<SeqRange> {
        self.answers.get(&key).copied()
    }
}

/// The thread's own state.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) active: Option<Active>,
    pub(super) next_number: u64,
}

/// The file being written.
pub(super) struct Active {
    number: u64,
    file: Box<dyn StorageFile>,
    /// Bytes of it that are durable.
    synced: u64,
}

/// A group of frames being put together.
#[derive(Default)]
struct Group {
    headers: Vec<[u8; FRAME_HEADER_BYTES]>,
    members: Vec<(Append, SeqRange)>,
    /// Repeats of appends that are durable, or will be with this group.
    repeats: Vec<(Append, SeqRange)>,
    highest: HashMap<CollectionId, SeqId>,
    bytes: u64,
}

impl Writer {
    /// Works until the queue says stop.
    pub(super) fn run(mut self) {
        loop {
            let (appends, tidy, stop) = {
                let mut queue = self.shared.queue.lock();
                while queue.appends.is_empty() && !queue.tidy && !queue.stop {
                    self.shared.queued.wait(&mut queue);
                }
                let tidy = std::mem::take(&mut queue.tidy);
                (std::mem::take(&mut queue.appends), tidy, queue.stop)
            };
            if !appends.is_empty() {
                self.write(appends);
            }
            if tidy && let Err(error) = self.remove_spent() {
                tracing::warn!(%error, "spent log files stay for now");
            }
            if stop && self.shared.queue.lock().appends.is_empty() {
                return;
            }
        }
    }

    fn write(&mut self, appends: Vec<Append>) {
        if let Some(failure) = self.shared.state.lock().failure.clone() {
            appends
                .iter()
                .for_each(|append| append.ticket.finish(Err(failure.clone())));
            return;
        }
        if let Err(error) = self.make_room(&appends) {
            appends
                .iter()
                .for_each(|append| append.ticket.finish(Err(error.clone())));
            return;
        }
        let group = self.gather(appends);
        if group.members.is_empty() {
            group
                .repeats
                .iter()
                .for_each(|(append, seqs)| append.ticket.finish(Ok(*seqs)));
            return;
        }
        let result = self.append(&group);
        if result.is_ok() {
            self.note(&group);
        }
        for (append, seqs) in group.members.iter().chain(&group.repeats) {
            append.ticket.finish(result.clone().map(|()| *seqs));
        }
        self.shared.grown.notify_all();
    }

    /// Sees to it that there is a file to append to, and space for the appends.
    fn make_room(&mut self, appends: &[Append]) -> Result<()> {
        let bytes: u64 = appends
            .iter()
            .map(|append| append.payload.bytes() as u64)
            .sum();
        let (free, wanted) = (
            self.shared.storage.free_bytes()?,
            self.shared.options.free_disk_bytes_min,
        );
        if free < wanted.saturating_add(bytes) {
            return Err(Error::new(
                ErrorKind::OutOfSpace,
                format!(
                    "The disk is full: {free} bytes are free, {wanted} must stay free, and the \
                     batch needs {bytes}. Free some space, then write again."
                ),
            ));
        }
        if self
            .active
            .as_ref()
            .is_none_or(|file| file.synced >= self.shared.options.file_bytes)
        {
            self.active = None;
            self.active = Some(self.begin_file()?);
        }
        Ok(())
    }

    /// A new file, durable under its name.
    fn begin_file(&mut self) -> Result<Active> {
        let number = self.next_number;
        let path = path_of(number);
        let storage = &self.shared.storage;
        self.next_number += 1;
        let made = (|| {
            let mut file = storage.create(&path)?;
            file.write(&[&file_header(number)])?;
            file.sync()?;
            storage.sync_dir(FOLDER)?;
            Ok(file)
        })();
        match made {
            Ok(file) => {
                self.shared.state.lock().files.push(LogFile {
                    number,
                    path,
                    bytes: FILE_HEADER_BYTES as u64,
                    batches: 0,
                    records: 0,
                    highest: HashMap::new(),
                });
                Ok(Active {
                    number,
                    file,
                    synced: FILE_HEADER_BYTES as u64,
                })
            }
            Err(error) => {
                // An empty file that stays is passed over at the next start.
                if let Err(error) = storage.remove_file(&path) {
                    tracing::warn!(path, %error, "an empty log file stays");
                }
                Err(error)
            }
        }
    }

    /// Gives out SeqIds. Appends to collections that are gone fail here.
    fn gather(&self, appends: Vec<Append>) -> Group {
        let active = self.active.as_ref().expect("make_room begins a file");
        let state = self.shared.state.lock();
        let mut group = Group::default();
        let mut keys: HashMap<FlushKey, SeqRange> = HashMap::new();
        for append in appends {
            let Some(head) = state.heads.get(&append.collection) else {
                append.ticket.finish(Err(no_log(append.collection)));
                continue;
            };
            let known = append
                .flush
                .and_then(|key| state.recent.get(key).or(keys.get(&key).copied()));
            if let Some(seqs) = known {
                group.repeats.push((append, seqs));
                continue;
            }
            let highest = group
                .highest
                .entry(append.collection)
                .or_insert(head.highest);
            let seqs = SeqRange::of(highest.plus(1), append.records);
            *highest = seqs.last;
            keys.extend(append.flush.map(|key| (key, seqs)));
            let header = FrameHeader {
                collection: append.collection,
                flush: append.flush.unwrap_or(FlushKey(uuid::Uuid::nil())),
                seqs,
                payload_bytes: append.payload.bytes() as u64,
                payload_checksum: append.checksum,
                synced: active.synced,
            };
            group
                .headers
                .push(header.encode(active.number, active.synced + group.bytes));
            group.bytes += FRAME_HEADER_BYTES as u64 + header.payload_bytes;
            group.members.push((append, seqs));
        }
        group
    }

    /// Writes and syncs the group's frames.
    fn append(&mut self, group: &Group) -> Result<()> {
        let active = self.active.as_mut().expect("make_room begins a file");
        let mut parts: Vec<&[u8]> = Vec::with_capacity(group.members.len() * 4);
        for (header, (append, _)) in group.headers.iter().zip(&group.members) {
            parts.push(header);
            parts.extend(append.payload.parts());
        }
        if let Err(error) = active.file.write(&parts) {
            if let Err(cut) = active.file.truncate(active.synced) {
                self.fail(&format!(
                    "a write failed ({error}) and could not be undone ({cut})"
                ));
            }
            return Err(error);
        }
        if let Err(error) = active.file.sync() {
            return Err(self.fail(&format!("a sync failed ({error})")));
        }
        active.synced += group.bytes;
        Ok(())
    }

    /// Refuses every write from now on.
    fn fail(&mut self, cause: &str) -> Error {
        let failure = Error::new(
            ErrorKind::Closed,
            format!(
                "Writes are refused because {cause}: what the disk holds is not known for sure. \
                 Reads go on. Check the disk, then start the server again."
            ),
        );
        tracing::error!(error = %failure, "the log refuses writes");
        self.shared
            .state
            .lock()
            .failure
            .get_or_insert(failure)
            .clone()
    }

    fn note(&self, group: &Group) {
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        state.statistics.appends += group.members.len() as u64;
        state.statistics.syncs += 1;
        state.statistics.bytes += group.bytes;
        for (append, seqs) in &group.members {
            if let Some(key) = append.flush {
                state.recent.insert(key, *seqs);
            }
        }
        for (collection, highest) in &group.highest {
            // A collection that was dropped meanwhile stays dropped.
            if let Some(head) = state.heads.get_mut(collection) {
                head.highest = *highest;
            }
        }
        let file = state.files.last_mut().expect("the active file is listed");
        file.bytes += group.bytes;
        file.batches += group.members.len() as u64;
        for (append, seqs) in &group.members {
            file.records += append.records as u64;
            file.highest.insert(append.collection, seqs.last);
        }
    }

    /// Removes the oldest files while segments hold all that is in them.
    fn remove_spent(&mut self) -> Result<()> {
        loop {
            let spent = {
                let state = self.shared.state.lock();
                let Some(oldest) = state.files.first().filter(|file| state.is_spent(file)) else {
                    return Ok(());
                };
                let is_active = self
                    .active
                    .as_ref()
                    .is_some_and(|active| active.number == oldest.number);
                if is_active && oldest.bytes < SPENT_BYTES_MIN {
                    return Ok(());
                }
                oldest.clone()
            };
            if self
                .active
                .as_ref()
                .is_some_and(|active| active.number == spent.number)
            {
                self.active = None;
            }
            self.shared.storage.remove_file(&spent.path)?;
            self.shared.storage.sync_dir(FOLDER)?;
            self.shared
                .state
                .lock()
                .files
                .retain(|file| file.number != spent.number);
        }
    }
}
