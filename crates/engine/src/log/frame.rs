//! The bytes around a payload: file headers, frame headers, and the search for what follows a bad
//! frame.
//!
//! What must stay true: a header's checksum covers the file's number and the frame's own offset,
//! so that a frame is valid only where it was written. `synced` is how much of the file was
//! durable when the frame was written: it proves that a bad frame before it is damage and no torn
//! tail. The layout is drawn in `docs/format.md`.

use uuid::Uuid;

use crate::model::{CollectionId, FlushKey, SeqId, SeqRange};

/// Bytes of a file's header.
pub(super) const FILE_HEADER_BYTES: usize = 32;
/// Bytes of a frame's header.
pub(super) const FRAME_HEADER_BYTES: usize = 80;
const FILE_MAGIC: &[u8; 8] = b"VMLNLOG\0";
const FRAME_MAGIC: &[u8; 4] = b"VFRM";
const VERSION: u32 = 1;

/// The header of the file with this number.
pub(super) fn file_header(number: u64) -> [u8; FILE_HEADER_BYTES] {
    let mut bytes = [0; FILE_HEADER_BYTES];
    bytes[..8].copy_from_slice(FILE_MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// What a frame's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) collection: CollectionId,
    pub(super) flush: FlushKey,
    pub(super) seqs: SeqRange,
    pub(super) payload_bytes: u64,
    pub(super) payload_checksum: u32,
    /// Bytes of the file that were durable when this frame was written.
    pub(super) synced: u64,
}

impl FrameHeader {
    /// The header's bytes for a frame at `offset` of file `number`.
    pub(super) fn encode(&self, number: u64, offset: u64) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&VERSION.to_le_bytes());
        bytes[8..24].copy_from_slice(self.collection.0.as_bytes());
        bytes[24..40].copy_from_slice(self.flush.0.as_bytes());
        bytes[40..48].copy_from_slice(&self.seqs.first.0.to_le_bytes());
        bytes[48..52].copy_from_slice(&(self.seqs.count() as u32).to_le_bytes());
        bytes[52..56].copy_from_slice(&self.payload_checksum.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[64..72].copy_from_slice(&self.synced.to_le_bytes());
        let checksum = checksum(&bytes, number, offset);
        bytes[76..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The header at `offset` of file `number`, where `bytes` begin with a valid one.
    pub(super) fn decode(bytes: &[u8], number: u64, offset: u64) -> Option<Self> {
        let bytes: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
        let four = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| bytes[at + byte]));
        let eight =
            |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|byte| bytes[at + byte]));
        let sixteen = |at: usize| Uuid::from_slice(&bytes[at..at + 16]).ok();
        let valid = bytes[..4] == *FRAME_MAGIC
            && four(4) == VERSION
            && four(76) == checksum(bytes, number, offset)
            && four(48) > 0
            && eight(40) > 0;
        valid.then_some(())?;
        Some(Self {
            collection: CollectionId(sixteen(8)?),
            flush: FlushKey(sixteen(24)?),
            seqs: SeqRange::of(SeqId(eight(40)), four(48) as usize),
            payload_bytes: eight(56),
            payload_checksum: four(52),
            synced: eight(64),
        })
    }
}

/// Whether a frame behind `bad` proves that the bytes at `bad` were durable once: then they are
/// damaged, and no torn tail of a write that nobody was told of.
pub(super) fn later_frame_proves_damage(file: &[u8], number: u64, bad: usize) -> bool {
    memchr::memmem::find_iter(&file[bad.min(file.len())..], FRAME_MAGIC)
        .map(|at| bad + at)
        .filter_map(|at| FrameHeader::decode(&file[at..], number, at as u64))
        .any(|later| later.synced > bad as u64)
}

fn checksum(header: &[u8; FRAME_HEADER_BYTES], number: u64, offset: u64) -> u32 {
    let sum = crc32c::crc32c(&header[..76]);
    let sum = crc32c::crc32c_append(sum, &number.to_le_bytes());
    crc32c::crc32c_append(sum, &offset.to_le_bytes())
}
