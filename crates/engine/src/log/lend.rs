//! Vectors that chunks look at where they stand in the log, rather than in memory of their own.
//!
//! What must stay true: only what is durable is lent: from then on no byte of it changes or is cut off, and its file stays
//! until segments have the records; a file that is removed earlier, with its collection, stays readable while it is mapped,
//! and is not written over while anybody looks at it.

use super::format::{FRAME_HEADER_BYTES, FrameHeader, file_path};
use super::{Log, payload};
use crate::model::{FileHold, LentNumbers, RecordBatch};
use crate::storage::Storage;

/// Where the vectors of a batch are in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VectorPlace {
    /// The number of the file.
    pub(super) file: u64,
    /// The byte of the file at which they begin.
    pub(super) offset: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Their checksum.
    pub(super) checksum: u32,
}

impl Log {
    /// The vectors of a durable batch; `None` where they cannot be looked at in the log.
    pub(crate) fn lend(&self, place: VectorPlace) -> Option<LentNumbers> {
        let hold = {
            let state = self.shared.state.lock();
            let mut files = state.files.iter();
            let file = files.find(|file| file.header.number == place.file && !file.going);
            file?.hold.clone()
        };
        look_at(self.shared.storage.as_ref(), place, &hold)
    }
}

/// Makes a batch of the payload of a frame, which was read from its file and checked. It looks at vectors in the file, where
/// they are many; an error says what is wrong with the payload.
pub(super) fn decode(
    storage: &dyn Storage,
    file: (u64, &FileHold),
    frame: &FrameHeader,
    payload: &[u8],
) -> Result<RecordBatch, String> {
    payload::decode_lending(payload, frame.count, |from, vectors| {
        let place = VectorPlace {
            file: file.0,
            offset: frame.offset + FRAME_HEADER_BYTES + from as u64,
            bytes: vectors.len() as u64,
            checksum: crc32c::crc32c(vectors),
        };
        look_at(storage, place, file.1)
    })
}

fn look_at(storage: &dyn Storage, place: VectorPlace, hold: &FileHold) -> Option<LentNumbers> {
    let path = file_path(place.file);
    let length = usize::try_from(place.bytes).ok()?;
    match storage.map_part(&path, place.offset, length) {
        Ok(bytes) => LentNumbers::new(bytes?, &path, place.offset, place.checksum, hold.clone()),
        Err(error) => {
            tracing::debug!(%error, "vectors stay in memory of their own");
            None
        }
    }
}
