//! Frames on their way out of the log into a backup, and from a backup into a new log.
//!
//! What must stay true: while a [`LogCut`] lives, no file of the log is removed, and it reads
//! durable frames only; frames in a backup have the form of a log file (see [`super::format`]), so
//! that salt, offset, chain and checksums tell any damage there too.

use std::sync::Arc;

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::clean_end::CleanEnd;
use super::format::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, Flaw, FrameHeader, FrameKind, file_path,
};
use super::reader::{Found, FrameReader};
use super::state::{LiveFile, Shared};
use super::{Log, payload};
use crate::model::{CollectionId, FlushKey, RecordBatch, SeqId, SeqRange};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

pub use super::format::{
    FILE_HEADER_BYTES as ARCHIVE_HEADER_BYTES, FRAME_HEADER_BYTES as ARCHIVE_FRAME_BYTES,
};

/// A place between two frames of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPlace {
    /// The number of the file.
    pub file: u64,
    /// The salt of the file, which tells it from another log's.
    pub salt: u64,
    /// Bytes before the place.
    pub offset: u64,
    /// The chain there, which tells what was before it.
    pub chain: u32,
}

/// One batch as it lies in the log.
#[derive(Clone, Copy, Debug)]
pub struct LoggedBatch<'a> {
    /// When it was written, in nanoseconds since the Unix epoch; 0 where nobody knows.
    pub time: u64,
    /// The collection it is for.
    pub collection: CollectionId,
    /// Its SeqIds.
    pub seqs: SeqRange,
    /// Its flush key.
    pub flush: Option<FlushKey>,
    /// Its columns, encoded, found to be what was written.
    pub payload: &'a [u8],
}

impl LoggedBatch<'_> {
    /// Its records; the error says why the payload is none.
    pub fn decode(&self) -> Result<RecordBatch, String> {
        payload::decode(self.payload, self.seqs.count() as u32)
    }
}

/// The log up to one moment, kept from being purged while this lives.
pub struct LogCut {
    shared: Arc<Shared>,
    files: Vec<LiveFile>,
    highest: HashMap<CollectionId, SeqId>,
}

impl Log {
    /// The log as it is durable now.
    pub fn cut(&self) -> LogCut {
        let mut state = self.shared.state.lock();
        state.readers += 1;
        let files = state.files.iter().filter(|file| !file.going);
        LogCut {
            files: files.cloned().collect(),
            highest: state
                .heads
                .iter()
                .map(|(id, head)| (*id, head.highest))
                .collect(),
            shared: self.shared.clone(),
        }
    }
}

impl Drop for LogCut {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.readers -= 1;
        self.shared.wake_for_upkeep(&mut state);
    }
}

impl LogCut {
    /// The last durable SeqId of a collection.
    pub fn highest(&self, collection: CollectionId) -> SeqId {
        self.highest.get(&collection).copied().unwrap_or_default()
    }

    /// Whether the log still has everything behind `place`, and had before it what it had when the
    /// place was noted. `None` is the place before the first frame that any log of this folder had.
    pub fn reaches_back_to(&self, place: Option<LogPlace>) -> Result<bool> {
        let first = self.files.first();
        let Some(place) = place else {
            return Ok(first.is_none_or(|file| file.header.number == 1));
        };
        let found = self.files.iter().find(|file| {
            file.header.number == place.file
                && file.header.salt == place.salt
                && file.end >= place.offset
        });
        let Some(file) = found else {
            return Ok(false);
        };
        let storage = self.shared.storage.as_ref();
        let mut reader = FrameReader::new(storage, &file.header, file.chain, file.end);
        while reader.offset < place.offset {
            match reader.header()? {
                Found::Frame(frame) => reader.pass(&frame),
                Found::End | Found::Bad(_) => return Ok(false),
            }
        }
        Ok(reader.offset == place.offset && reader.chain == place.chain)
    }

    /// Hands every batch behind `from` (`None`: every batch there is) to `each`, in order, and
    /// answers the place behind the last.
    pub fn batches(
        &self,
        from: Option<LogPlace>,
        each: &mut dyn FnMut(&LoggedBatch<'_>, LogPlace) -> Result<()>,
    ) -> Result<Option<LogPlace>> {
        let mut place = from;
        let mut time = 0;
        let first = from.map_or(0, |from| from.file);
        for file in self.files.iter().filter(|file| file.header.number >= first) {
            let storage = self.shared.storage.as_ref();
            let mut reader = FrameReader::new(storage, &file.header, file.chain, file.end);
            if let Some(from) = from.filter(|from| from.file == file.header.number) {
                (reader.offset, reader.chain) = (from.offset, from.chain);
            }
            let path = file_path(file.header.number);
            loop {
                let here = LogPlace {
                    file: file.header.number,
                    salt: file.header.salt,
                    offset: reader.offset,
                    chain: reader.chain,
                };
                place = Some(here);
                let frame = match reader.header()? {
                    Found::End => break,
                    Found::Bad(detail) => {
                        return Err(Error::corrupted(&path, reader.offset, detail));
                    }
                    Found::Frame(frame) => frame,
                };
                match frame.time() {
                    Some(told) => time = told.max(time),
                    None if frame.kind == FrameKind::Batch => {
                        let payload = reader
                            .payload(&frame)?
                            .map_err(|detail| Error::corrupted(&path, frame.offset, detail))?;
                        each(&logged(&frame, time, payload), here)?;
                    }
                    None => {}
                }
                reader.pass(&frame);
            }
        }
        Ok(place)
    }
}

fn logged<'a>(frame: &FrameHeader, time: u64, payload: &'a [u8]) -> LoggedBatch<'a> {
    LoggedBatch {
        time,
        collection: frame.collection,
        seqs: SeqRange::of(frame.first, frame.count as usize),
        flush: frame.flush,
        payload,
    }
}

/// Makes the bytes of one log file, to be written somewhere by the caller.
#[derive(Clone, Copy, Debug)]
pub struct FrameEncoder {
    number: u64,
    salt: u64,
    offset: u64,
    chain: u32,
    time: u64,
}

impl FrameEncoder {
    /// Begins the file behind `previous`, or the first one; answers the bytes of its header too.
    pub fn begin(previous: Option<&Self>) -> (Self, Vec<u8>) {
        let header = FileHeader {
            number: previous.map_or(1, |previous| previous.number + 1),
            salt: Uuid::new_v4().as_u64_pair().0,
            previous: previous.map(|previous| (previous.offset, previous.chain)),
        };
        let (bytes, chain) = header.encode();
        let encoder = Self {
            number: header.number,
            salt: header.salt,
            offset: FILE_HEADER_BYTES,
            chain,
            time: 0,
        };
        (encoder, bytes.to_vec())
    }

    /// The path of the file in a folder of data or of a backup.
    pub fn path(&self) -> String {
        file_path(self.number)
    }

    /// Bytes of the file so far.
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// What goes into the file before the payload of `batch`.
    pub fn frame(&mut self, batch: &LoggedBatch<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 * FRAME_HEADER_BYTES as usize);
        if batch.time > self.time {
            self.time = batch.time;
            let (chain, salt, offset) = (self.chain, self.salt, self.offset);
            let mark = FrameHeader::time_mark(chain, salt, offset, offset, batch.time);
            self.put(&mark, &mut bytes);
        }
        let header = FrameHeader {
            kind: FrameKind::Batch,
            chain: self.chain,
            salt: self.salt,
            offset: self.offset,
            synced: self.offset,
            collection: batch.collection,
            flush: batch.flush,
            first: batch.seqs.first,
            count: batch.seqs.count() as u32,
            payload_checksum: crc32c::crc32c(batch.payload),
            payload_bytes: batch.payload.len() as u64,
        };
        self.put(&header, &mut bytes);
        bytes
    }

    fn put(&mut self, header: &FrameHeader, bytes: &mut Vec<u8>) {
        let (encoded, chain) = header.encode();
        bytes.extend_from_slice(&encoded);
        (self.offset, self.chain) = (header.end(), chain);
    }

    /// Says in `storage` that its log was closed cleanly behind this file.
    pub fn mark_clean_end(&self, storage: &dyn Storage) -> Result<()> {
        let end = CleanEnd {
            first: 1,
            last: self.number,
            end: self.offset,
            chain: self.chain,
        };
        end.write(storage)
    }
}

/// Reads the frames of one file that a [`FrameEncoder`] made, from bytes that the caller fetches.
#[derive(Clone, Copy, Debug)]
pub struct FrameDecoder {
    salt: u64,
    offset: u64,
    chain: u32,
    time: u64,
}

/// A frame whose header is good.
#[derive(Clone, Copy, Debug)]
pub struct DecodedFrame {
    header: FrameHeader,
    time: u64,
}

impl FrameDecoder {
    /// Begins with the header of the file with this number.
    pub fn begin(bytes: &[u8], number: u64, path: &str) -> Result<Self> {
        let (header, chain) =
            FileHeader::decode(bytes, number).map_err(|flaw| told(flaw, path, 0))?;
        Ok(Self {
            salt: header.salt,
            offset: FILE_HEADER_BYTES,
            chain,
            time: 0,
        })
    }

    /// Where the next frame begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the header of the next frame and goes on behind the frame; `None` for a mark.
    pub fn next(&mut self, bytes: &[u8], path: &str) -> Result<Option<DecodedFrame>> {
        let (header, checksum) = FrameHeader::decode(bytes, self.salt, self.offset)
            .map_err(|flaw| told(flaw, path, self.offset))?;
        if header.chain != self.chain {
            let detail = "the frame does not carry on from the one before it";
            return Err(Error::corrupted(path, self.offset, detail));
        }
        (self.offset, self.chain) = (header.end(), checksum);
        if let Some(time) = header.time() {
            self.time = time.max(self.time);
        }
        let time = self.time;
        Ok((header.kind == FrameKind::Batch).then_some(DecodedFrame { header, time }))
    }
}

impl DecodedFrame {
    /// Where its payload is in the file.
    pub fn payload_place(&self) -> (u64, u64) {
        let from = self.header.offset + FRAME_HEADER_BYTES;
        (from, self.header.payload_bytes)
    }

    /// The batch with this payload, which must be the one that was written.
    pub fn with_payload<'a>(&self, payload: &'a [u8], path: &str) -> Result<LoggedBatch<'a>> {
        if payload.len() as u64 != self.header.payload_bytes
            || crc32c::crc32c(payload) != self.header.payload_checksum
        {
            let detail = "the frame's payload is not what its header says";
            return Err(Error::corrupted(path, self.header.offset, detail));
        }
        Ok(logged(&self.header, self.time, payload))
    }
}

fn told(flaw: Flaw, path: &str, offset: u64) -> Error {
    match flaw {
        Flaw::Damaged(detail) => Error::corrupted(path, offset, detail),
        Flaw::Newer(version) => Error::new(
            ErrorKind::Unsupported,
            format!("{path} has the format version {version}, which a newer release wrote."),
        ),
    }
}
