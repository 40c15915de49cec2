//! Reads batches of one collection again, for those that index the log behind its writers.
//!
//! What must stay true: only durable bytes are read, every one against its checksum; nothing is
//! locked while files are read. Files are there as long as the collection has not told that
//! segments hold their records, so one that is gone means that the collection is.

use std::sync::Arc;

use super::format::{FrameKind, file_path};
use super::reader::{Found, FrameReader};
use super::recovery::after;
use super::state::LiveFile;
use super::writer::unknown_collection;
use super::{Log, LogBatch, lend};
use crate::model::{CollectionId, SeqId, SeqRange};
use crate::{Error, ErrorKind, Result};

/// Where reading goes on, so that no file is walked over twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMark {
    file: u64,
    offset: u64,
    chain: u32,
}

impl Log {
    /// The batches of `collection` behind `start` up to and with `end`, in order, without a gap:
    /// as many as have `bytes_max` bytes in the log, and one at least. `end` must be durable.
    /// `mark` comes from the call before, which ended where this one starts; an error leaves it, so
    /// that the call can be made again.
    pub fn read(
        &self,
        collection: CollectionId,
        start: SeqId,
        end: SeqId,
        bytes_max: u64,
        mark: &mut Option<ReadMark>,
    ) -> Result<Vec<LogBatch>> {
        let mut found = Vec::new();
        let (mut seen, mut bytes) = (start, 0);
        let mut place = *mark;
        while seen < end && bytes < bytes_max {
            let file = self.file_behind(collection, seen)?;
            let storage = self.shared.storage.as_ref();
            let mut reader = FrameReader::new(storage, &file.header, file.chain, file.end);
            let number = file.header.number;
            if let Some(place) = place.filter(|place| place.file == number) {
                (reader.offset, reader.chain) = (place.offset, place.chain);
            }
            let path = file_path(number);
            let before = seen;
            while seen < end && bytes < bytes_max {
                let frame = match reader.header()? {
                    Found::End => break,
                    Found::Bad(detail) => {
                        return Err(Error::corrupted(&path, reader.offset, detail));
                    }
                    Found::Frame(frame) => frame,
                };
                let wanted = frame.kind == FrameKind::Batch && frame.collection == collection;
                if wanted && frame.first > end {
                    break;
                }
                if wanted && frame.last() > seen {
                    if frame.first > seen.plus(1) {
                        return Err(missing(&path, reader.offset, collection, seen));
                    }
                    let batch = reader
                        .payload(&frame)?
                        .and_then(|payload| {
                            lend::decode(storage, (number, &file.hold), &frame, payload)
                        })
                        .map_err(|detail| Error::corrupted(&path, frame.offset, detail))?;
                    let seqs = SeqRange::of(frame.first, frame.count as usize);
                    let (batch, seqs) = after(batch, seqs, seen);
                    (seen, bytes) = (seqs.last, bytes + frame.payload_bytes);
                    found.push(LogBatch {
                        collection,
                        seqs,
                        batch: Arc::new(batch),
                    });
                }
                reader.pass(&frame);
            }
            place = Some(ReadMark {
                file: number,
                offset: reader.offset,
                chain: reader.chain,
            });
            if seen == before {
                // The file is said to hold what comes next, and does not.
                return Err(missing(&path, reader.offset, collection, seen));
            }
        }
        *mark = place;
        Ok(found)
    }

    /// The file that holds the first record of `collection` behind `seen`.
    fn file_behind(&self, collection: CollectionId, seen: SeqId) -> Result<LiveFile> {
        let state = self.shared.state.lock();
        if !state.heads.contains_key(&collection) {
            return Err(unknown_collection(collection));
        }
        let holds = |file: &&LiveFile| {
            let highest = file.highest.get(&collection);
            !file.going && highest.is_some_and(|highest| *highest > seen)
        };
        state.files.iter().find(holds).cloned().ok_or_else(|| {
            Error::new(
                ErrorKind::Internal,
                format!("The log holds no record of collection [{collection}] behind {seen}."),
            )
        })
    }
}

fn missing(path: &str, offset: u64, collection: CollectionId, seen: SeqId) -> Error {
    let detail = format!(
        "SeqId {} of collection {collection} is missing",
        seen.plus(1)
    );
    Error::corrupted(path, offset, detail)
}
