//! Opens a log: replays it, cuts a torn tail off, and starts its thread; and notes its end when it
//! is closed.
//!
//! What must stay true: a torn tail is cut, durably, before anything is written after it. The note
//! of a clean end is gone, durably, before a new file can exist.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::{Condvar, Mutex};
use uuid::Uuid;

use super::scan::{
    CLEAN_END, CleanEnd, End, FOLDER, Frame, numbers, path_of, read_clean_end, read_file,
};
use super::writer::{Queue, Writer};
use super::{Head, Log, LogBatch, LogOptions, Shared, State};
use crate::model::{CollectionId, SeqId};
use crate::storage::Storage;
use crate::{Error, Result};

impl Log {
    /// Opens the log of `storage`, made if it is not there. Calls `replay` with every whole
    /// frame, in order, whose SeqIds are above `applied(collection)`; a collection for which
    /// `applied` answers `None` is gone and its frames are passed over. A torn tail of the last
    /// file is cut; damage anywhere else is an error that names file and offset.
    pub fn open(
        storage: Arc<dyn Storage>,
        options: LogOptions,
        applied: &dyn Fn(CollectionId) -> Option<SeqId>,
        replay: &mut dyn FnMut(LogBatch) -> Result<()>,
    ) -> Result<Self> {
        storage.create_dir(FOLDER)?;
        storage.sync_dir("")?;
        let state = replay_files(storage.as_ref(), applied, replay)?;
        let next_number = state.files.last().map_or(1, |file| file.number + 1);
        let next_number = next_number.max(forget_clean_end(storage.as_ref())?);
        let shared = Arc::new(Shared {
            storage,
            options,
            queue: Mutex::new(Queue::default()),
            queued: Condvar::new(),
            state: Mutex::new(state),
            grown: Condvar::new(),
        });
        let writer = Writer {
            shared: shared.clone(),
            active: None,
            next_number,
        };
        let thread = start_thread(writer)?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the log owns this one thread, and joins it"
)]
fn start_thread(writer: Writer) -> Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name("vermilion-log".to_owned())
        .spawn(move || writer.run())
        .map_err(|cause| Error::internal(format!("cannot start the log's thread: {cause}")))
}

/// What the files hold, given to `replay` where segments do not hold it yet.
fn replay_files(
    storage: &dyn Storage,
    applied: &dyn Fn(CollectionId) -> Option<SeqId>,
    replay: &mut dyn FnMut(LogBatch) -> Result<()>,
) -> Result<State> {
    let mut state = State::default();
    let numbers = numbers(storage)?;
    let mut seen: HashMap<CollectionId, SeqId> = HashMap::new();
    for (position, &number) in numbers.iter().enumerate() {
        let is_last = position + 1 == numbers.len();
        let path = path_of(number);
        let mut recent = Vec::new();
        let mut each = |frame: Frame| -> Result<()> {
            let header = frame.header;
            recent.push((header.flush, header.seqs));
            let Some(applied) = applied(header.collection) else {
                return Ok(());
            };
            let before = seen
                .get(&header.collection)
                .copied()
                .unwrap_or(applied)
                .max(applied);
            if header.seqs.last <= applied {
                return Ok(());
            }
            if header.seqs.first != before.plus(1) {
                return Err(Error::corrupted(
                    &path,
                    0,
                    format_args!(
                        "records {} to {} of collection {} are missing before it",
                        before.plus(1),
                        header.seqs.first.0 - 1,
                        header.collection
                    ),
                ));
            }
            seen.insert(header.collection, header.seqs.last);
            replay(LogBatch {
                collection: header.collection,
                seqs: header.seqs,
                batch: frame.batch,
            })
        };
        let (file, end) = read_file(storage, number, is_last, &mut each)?;
        for (key, seqs) in recent {
            if key.0 != Uuid::nil() {
                state.recent.insert(key, seqs);
            }
        }
        match end {
            End::Whole => state.files.push(file),
            End::Damaged(error) => return Err(error),
            End::Torn if file.bytes == 0 => {
                // The file was being made: nobody was told of anything in it.
                check_clean_end(storage, state.files.last())?;
                storage.remove_file(&file.path)?;
                storage.sync_dir(FOLDER)?;
            }
            End::Torn => {
                check_clean_end(storage, Some(&file))?;
                tracing::info!(
                    path = file.path,
                    bytes = file.bytes,
                    "cut a torn tail off the log"
                );
                let mut torn = storage.append(&file.path)?;
                torn.truncate(file.bytes)?;
                torn.sync()?;
                state.files.push(file);
            }
        }
    }
    check_clean_end(storage, state.files.last())?;
    for (collection, highest) in seen {
        let purged = applied(collection).unwrap_or_default();
        state.heads.insert(collection, Head { highest, purged });
    }
    Ok(state)
}

/// After a clean close the log ends where its note says; a shorter one was cut.
fn check_clean_end(storage: &dyn Storage, last: Option<&super::LogFile>) -> Result<()> {
    match read_clean_end(storage)? {
        Some(note) => note.check(last.map(|file| (file.number, file.bytes))),
        None => Ok(()),
    }
}

/// Removes the note of the last close; the lowest number that a new file may have.
fn forget_clean_end(storage: &dyn Storage) -> Result<u64> {
    let Some(note) = read_clean_end(storage)? else {
        return Ok(1);
    };
    storage.remove_file(CLEAN_END)?;
    storage.sync_dir(FOLDER)?;
    Ok(note.number + 1)
}

/// Notes where the log ends, so that a cut tail is noticed at the next start.
pub(super) fn note_clean_end(shared: &Shared) -> Result<()> {
    let last = {
        let state = shared.state.lock();
        state.files.last().map(|file| (file.number, file.bytes))
    };
    let (number, bytes) = last.unwrap_or_default();
    let temporary = format!("{CLEAN_END}.new");
    shared.storage.remove_file(&temporary)?;
    let mut file = shared.storage.create(&temporary)?;
    file.write(&[&CleanEnd { number, bytes }.encode()])?;
    file.sync()?;
    drop(file);
    shared.storage.rename(&temporary, CLEAN_END)?;
    shared.storage.sync_dir(FOLDER)
}
