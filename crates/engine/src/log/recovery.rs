//! Opens what is on disk: finds the files, replays the frames, cuts a torn tail.
//!
//! What must stay true: nothing is changed on disk before all of it was found sound; nothing that
//! was replayed can be lost by a later crash. The reasoning is in [`super::format`].

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use super::clean_end::{self, CleanEnd};
use super::format::{
    FILE_HEADER_BYTES, FileHeader, FrameHeader, FrameKind, file_number, file_path,
};
use super::newest;
use super::reader::{Beginning, WalkEnd, read_beginning, walk};
use super::state::{Flushes, Head, LiveFile};
use super::writer::Active;
use super::{CatalogSays, FOLDER, LogBatch, lend, payload, spares};
use crate::model::{CollectionId, FileHold, RecordBatch, SeqId, SeqRange};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// What opening found.
pub(super) struct Recovered {
    pub(super) files: VecDeque<LiveFile>,
    pub(super) heads: HashMap<CollectionId, Head>,
    pub(super) flushes: Flushes,
    pub(super) active: Option<Active>,
    pub(super) next_number: u64,
    /// The highest generation of the catalogue that a mark tells.
    pub(super) generation: u64,
}

/// A log file as it is found.
pub(super) struct Candidate {
    pub(super) number: u64,
    pub(super) bytes: u64,
}

/// A log file whose header is good.
pub(super) struct OpenedFile {
    pub(super) header: FileHeader,
    pub(super) chain: u32,
    pub(super) bytes: u64,
}

impl OpenedFile {
    /// See [`walk`].
    pub(super) fn walk(
        &self,
        storage: &dyn Storage,
        end: Option<(u64, u32)>,
        each: &mut dyn FnMut(&FrameHeader, &[u8]) -> Result<()>,
    ) -> Result<WalkEnd> {
        walk(storage, &self.header, self.chain, self.bytes, end, each)
    }
}

/// A whole frame that opening the log found, with records that no segment holds. Its batch is
/// decoded only when it is asked for.
pub struct Logged<'a> {
    storage: &'a dyn Storage,
    /// The number of the file.
    file: u64,
    hold: &'a FileHold,
    frame: &'a FrameHeader,
    payload: &'a [u8],
    applied: SeqId,
}

impl Logged<'_> {
    /// The collection it is for.
    pub fn collection(&self) -> CollectionId {
        self.frame.collection
    }

    /// The SeqIds of its records that no segment holds.
    pub fn seqs(&self) -> SeqRange {
        SeqRange {
            first: self.frame.first.max(self.applied.plus(1)),
            last: self.frame.last(),
        }
    }

    /// Bytes that the batch takes in the log.
    pub fn bytes(&self) -> u64 {
        self.payload.len() as u64
    }

    /// The metadata keys that its records name.
    pub fn metadata_keys(&self) -> Result<Vec<&str>> {
        payload::metadata_keys(self.payload).map_err(|detail| self.damaged(detail))
    }

    /// Those records.
    pub fn read(&self) -> Result<LogBatch> {
        let frame = self.frame;
        let batch = lend::decode(self.storage, (self.file, self.hold), frame, self.payload);
        let batch = batch.map_err(|detail| self.damaged(detail))?;
        let seqs = SeqRange::of(frame.first, frame.count as usize);
        let (batch, seqs) = after(batch, seqs, self.applied);
        Ok(LogBatch {
            collection: frame.collection,
            seqs,
            batch: Arc::new(batch),
        })
    }

    fn damaged(&self, detail: String) -> Error {
        Error::corrupted(&file_path(self.file), self.frame.offset, detail)
    }
}

/// Opens the log: see [`super::Log::open`].
pub(super) fn recover(
    storage: &dyn Storage,
    catalog: CatalogSays,
    applied: &dyn Fn(CollectionId) -> Option<SeqId>,
    replay: &mut dyn FnMut(Logged<'_>) -> Result<()>,
) -> Result<Recovered> {
    if !storage.exists(FOLDER)? {
        check_newest(catalog.newest_file, &[])?;
        storage.create_dir(FOLDER)?;
    }
    let noted = newest::noted(storage)?;
    let candidates = find_files(storage)?;
    let (opened, unfinished) = open_files(storage, &candidates)?;
    check_newest(noted.max(catalog.newest_file), &opened)?;
    let clean_end = read_clean_end(storage)?;
    if let Some(clean) = &clean_end {
        check_first(clean, &opened)?;
    }
    let mut replayer = Replayer {
        applied,
        replay,
        known: HashMap::new(),
        flushes: Flushes::default(),
        generation: 0,
    };
    let mut files = VecDeque::with_capacity(opened.len());
    let mut end = None;
    for (at, file) in opened.iter().enumerate() {
        let next = opened.get(at + 1);
        let (live, walked) = replayer.file(storage, file, next)?;
        if next.is_none() {
            if let Some(clean) = &clean_end {
                check_last(clean, file, walked)?;
            }
            end = Some((file, walked));
        }
        files.push_back(live);
    }
    check_generation(catalog.generation, replayer.generation)?;
    // From here on the folder is changed.
    if let Some(number) = unfinished {
        storage.remove_file(&file_path(number))?;
    }
    CleanEnd::remove(storage)?;
    spares::remove_left(storage)?;
    let active = end
        .map(|(file, walked)| reopen(storage, file, walked))
        .transpose()?;
    storage.sync_dir(FOLDER)?;
    storage.sync_dir("")?;
    let newest = files.back().map(|file: &LiveFile| file.header.number);
    if let Some(number) = newest.filter(|number| *number > noted) {
        newest::note(storage, number);
    }
    Ok(Recovered {
        next_number: newest.map_or_else(|| unfinished.unwrap_or(1), |number| number + 1),
        files,
        heads: replayer.heads(),
        generation: replayer.generation,
        flushes: replayer.flushes,
        active,
    })
}

/// Finds the log files, by number; a number that is missing between others is damage.
pub(super) fn find_files(storage: &dyn Storage) -> Result<Vec<Candidate>> {
    let mut files: Vec<Candidate> = storage
        .list(FOLDER)?
        .into_iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| {
            file_number(&entry.name).map(|number| Candidate {
                number,
                bytes: entry.bytes,
            })
        })
        .collect();
    files.sort_by_key(|file| file.number);
    for pair in files.windows(2) {
        let missing = pair[0].number + 1;
        if pair[1].number != missing {
            return Err(missing_file(missing));
        }
    }
    Ok(files)
}

fn missing_file(number: u64) -> Error {
    Error::corrupted(&file_path(number), 0, "the file is missing")
}

/// Reads the headers. The last file may be one whose making was interrupted: its number.
fn open_files(
    storage: &dyn Storage,
    candidates: &[Candidate],
) -> Result<(Vec<OpenedFile>, Option<u64>)> {
    let mut opened = Vec::with_capacity(candidates.len());
    for (at, file) in candidates.iter().enumerate() {
        match read_beginning(storage, file.number)? {
            Beginning::Good(header, chain) => opened.push(OpenedFile {
                header,
                chain,
                bytes: file.bytes,
            }),
            Beginning::Bad(_) if at + 1 == candidates.len() && file.bytes <= FILE_HEADER_BYTES => {
                return Ok((opened, Some(file.number)));
            }
            Beginning::Bad(detail) => {
                return Err(Error::corrupted(&file_path(file.number), 0, detail));
            }
        }
    }
    Ok((opened, None))
}

fn read_clean_end(storage: &dyn Storage) -> Result<Option<CleanEnd>> {
    match CleanEnd::read(storage)? {
        None => Ok(None),
        Some(Ok(clean)) => Ok(Some(clean)),
        Some(Err(flaw)) => {
            tracing::warn!(
                path = clean_end::path(),
                ?flaw,
                "a damaged mark of a clean end is passed over"
            );
            Ok(None)
        }
    }
}

/// Checks that the file which was noted as the newest is there.
pub(super) fn check_newest(noted: u64, opened: &[OpenedFile]) -> Result<()> {
    check_newest_number(noted, opened.last().map_or(0, |file| file.header.number))
}

/// Checks that the newest file, `found`, is the one that was noted, or a later one.
pub(super) fn check_newest_number(noted: u64, found: u64) -> Result<()> {
    if found < noted {
        return Err(missing_file(noted));
    }
    Ok(())
}

/// Checks that the catalogue, of generation `found`, is no older than a mark of the log says.
pub(super) fn check_generation(found: u64, told: u64) -> Result<()> {
    if told <= found {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Corrupted,
        format!(
            "the catalogue is older than the log: it had been changed {told} times when the log was \
             written, and knows of {found} changes. What was changed since is lost with the end of its \
             write-ahead log (the file with `-wal` at the end of its name), or another copy of the \
             catalogue was put in its place. Put the right files of the catalogue back, or keep this \
             folder aside, build a new one from a backup (`vermilion restore BACKUPS NEW_FOLDER`), and \
             serve that. No record was removed."
        ),
    ))
}

/// Checks that a closed log has its first and last file still.
pub(super) fn check_first(clean: &CleanEnd, opened: &[OpenedFile]) -> Result<()> {
    let numbers = |file: &OpenedFile| file.header.number;
    if opened
        .first()
        .map(numbers)
        .is_none_or(|first| first > clean.first)
    {
        return Err(missing_file(clean.first));
    }
    if opened
        .last()
        .map(numbers)
        .is_none_or(|last| last < clean.last)
    {
        return Err(missing_file(clean.last));
    }
    Ok(())
}

/// Checks that the last file of a closed log ends where it ended then.
pub(super) fn check_last(clean: &CleanEnd, file: &OpenedFile, walked: WalkEnd) -> Result<()> {
    let same = file.header.number == clean.last
        && walked.offset == clean.end
        && walked.chain == clean.chain
        && file.bytes == clean.end;
    if same {
        return Ok(());
    }
    Err(Error::corrupted(
        &file_path(file.header.number),
        walked.offset.min(clean.end),
        format!(
            "the log was closed with {} bytes in file {}; {} sound bytes of {} are found",
            clean.end, clean.last, walked.offset, file.bytes
        ),
    ))
}

/// Opens the last file for appending, its torn tail cut, all of it durable.
fn reopen(storage: &dyn Storage, opened: &OpenedFile, walked: WalkEnd) -> Result<Active> {
    let path = file_path(opened.header.number);
    let mut file = storage.append(&path)?;
    if opened.bytes > walked.offset {
        let bytes = opened.bytes - walked.offset;
        // A crash tore it, or the file was written over and it is of another life.
        tracing::info!(
            path,
            offset = walked.offset,
            bytes,
            "what stands behind the last whole batch of the log is cut"
        );
        file.truncate(walked.offset)?;
    }
    file.sync()?;
    Ok(Active {
        file,
        header: opened.header,
        synced: walked.offset,
        synced_chain: walked.chain,
        end: walked.offset,
        chain: walked.chain,
        torn: false,
        written_over: false,
    })
}

/// Hands frames on, and checks that no SeqId is missing or stands there twice.
struct Replayer<'a> {
    applied: &'a dyn Fn(CollectionId) -> Option<SeqId>,
    replay: &'a mut dyn FnMut(Logged<'_>) -> Result<()>,
    /// What each collection seen so far had applied at first sight, and its last SeqId since.
    known: HashMap<CollectionId, Option<Progress>>,
    flushes: Flushes,
    /// The highest generation of the catalogue so far.
    generation: u64,
}

#[derive(Clone, Copy)]
struct Progress {
    applied: SeqId,
    last: Option<SeqId>,
}

impl Replayer<'_> {
    fn file(
        &mut self,
        storage: &dyn Storage,
        file: &OpenedFile,
        next: Option<&OpenedFile>,
    ) -> Result<(LiveFile, WalkEnd)> {
        let end = match next {
            None => None,
            Some(next) => Some(next.header.previous.ok_or_else(|| {
                let detail = "the file says that none was before it";
                Error::corrupted(&file_path(next.header.number), 0, detail)
            })?),
        };
        let (mut highest, hold) = (HashMap::new(), FileHold::default());
        let mut each = |frame: &FrameHeader, payload: &[u8]| -> Result<()> {
            self.generation = self.generation.max(frame.generation());
            if frame.kind == FrameKind::Batch {
                highest.insert(frame.collection, frame.last());
                self.frame(storage, (file.header.number, &hold), frame, payload)?;
            }
            Ok(())
        };
        let walked = file.walk(storage, end, &mut each)?;
        let live = LiveFile {
            header: file.header,
            chain: file.chain,
            end: walked.offset,
            highest,
            going: false,
            hold,
        };
        Ok((live, walked))
    }

    fn frame(
        &mut self,
        storage: &dyn Storage,
        (file, hold): (u64, &FileHold),
        frame: &FrameHeader,
        payload: &[u8],
    ) -> Result<()> {
        let seqs = SeqRange::of(frame.first, frame.count as usize);
        if let Some(key) = frame.flush {
            self.flushes.done(key, frame.collection, seqs, file);
        }
        let applied = self.applied;
        let progress = self.known.entry(frame.collection).or_insert_with(|| {
            let progress = |applied| Progress {
                applied,
                last: None,
            };
            applied(frame.collection).map(progress)
        });
        let Some(progress) = progress else {
            return Ok(());
        };
        let follows = match progress.last {
            Some(last) => frame.first == last.plus(1),
            None => frame.first <= progress.applied.plus(1),
        };
        if !follows {
            let after = progress.last.unwrap_or(progress.applied);
            let (first, collection) = (frame.first, frame.collection);
            let path = file_path(file);
            return Err(not_following(&path, frame.offset, first, collection, after));
        }
        progress.last = Some(seqs.last);
        if seqs.last <= progress.applied {
            return Ok(());
        }
        (self.replay)(Logged {
            storage,
            file,
            hold,
            frame,
            payload,
            applied: progress.applied,
        })
    }

    fn heads(&self) -> HashMap<CollectionId, Head> {
        self.known
            .iter()
            .filter_map(|(collection, progress)| {
                progress.map(|progress| {
                    let last = progress.last.unwrap_or_default();
                    let head = Head {
                        purged: progress.applied,
                        highest: last.max(progress.applied),
                    };
                    (*collection, head)
                })
            })
            .collect()
    }
}

/// The part of a batch behind `start`.
pub(super) fn after(batch: RecordBatch, seqs: SeqRange, start: SeqId) -> (RecordBatch, SeqRange) {
    if seqs.first > start {
        return (batch, seqs);
    }
    let skipped = (start.0 + 1 - seqs.first.0) as usize;
    let rest = SeqRange {
        first: start.plus(1),
        last: seqs.last,
    };
    (batch.rows(skipped..batch.len()), rest)
}

/// The error for a frame before which something is missing.
pub(super) fn not_following(
    path: &str,
    offset: u64,
    first: SeqId,
    collection: CollectionId,
    after: SeqId,
) -> Error {
    let detail = format!(
        "SeqId {first} of collection {collection} follows on {after}; what was between them, perhaps \
         a whole file, is missing"
    );
    Error::corrupted(path, offset, detail)
}
