//! The bytes of a log file, and why a crash cannot make them lie.
//!
//! All numbers are little-endian. Checksums are CRC-32C. A file is `log/<number, 20 digits>.log`:
//! one file header, then frames without a gap.
//!
//! ```text
//! file header, 64 bytes                        frame header, 96 bytes
//!  0  8  magic "VERMLOG\n"                      0  4  magic 0xF0 "VLF"
//!  8  4  version, 1                             4  4  checksum of the 96 bytes, this field zero
//! 12  4  checksum of the 64 bytes,              8  1  version, 1
//!        this field zero                        9  1  kind: 1 batch, 2 mark
//! 16  8  number of the file                    10  2  zero
//! 24  8  salt, random                          12  4  chain: checksum of the frame header before,
//! 32  8  end of the file before;                      or of the file header
//!        0 where there was none                16  8  salt of the file
//! 40  4  chain at that end                     24  8  offset of this frame in the file
//! 44  4  1 where there was a file before       32  8  synced: the file's durable bytes when this
//! 48 16  zero                                         frame was written
//!                                              40 16  collection; in a mark with a time the
//!                                                     catalogue's generation (8) and zero (8)
//!                                              56 16  flush key; zero where there is none
//!                                              72  8  first SeqId; in a mark the time, or zero
//!                                              80  4  records
//!                                              84  4  checksum of the payload
//!                                              88  8  bytes of the payload, which follows
//! ```
//!
//! A batch's payload is drawn in `payload.rs`. A mark has no payload and no records. Each group of
//! batches (see below) begins with a mark that tells when it was written, in nanoseconds since the
//! Unix epoch, so that a backup can be restored as of a time. It also tells the generation of the
//! catalogue then: how many transactions had changed it. Such a mark is made durable, too, before a
//! file is removed since segments hold its records. A catalogue of a lower generation than the log
//! tells has lost transactions, and nothing is opened.
//!
//! # Writing
//!
//! The log's thread takes all batches that wait (a group), writes their frames in one call, and
//! syncs the file once. Only then the batches are acknowledged. So at any time the file is a
//! durable part, which ends where the last sync found the end, and at most one group after it.
//! `synced` in each frame tells where the group began. When nothing waits after a sync, a mark is
//! written, not synced: it says on disk what the sync made true. The next group follows it.
//!
//! A new file is made, its header synced, and the folder synced before the first frame goes in;
//! nothing goes into the file before from then on. If that fails, the new file's removal is made
//! durable before the old file is used on. A group that could not be written whole is cut away
//! and the cut is synced before the next one, so that no remnant can come back.
//!
//! A new file may be one that nobody needed, written over (`spares.rs`): its header is durable before it gets its number.
//! Then bytes of its former life stand behind its end while it is the last file; they carry another salt.
//!
//! # Reading after a crash
//!
//! A frame is good if its magic, version, checksums, salt, offset and chain are right. Salt and
//! offset tell a frame of this place from one that some other file left in the same blocks; the
//! chain tells that no frame between was lost.
//!
//! - In every file but the last, the durable end and the chain there stand in the header of the
//!   file after it. Anything else than good frames up to that very place is damage. What lies
//!   beyond it is a mark that nobody synced, and is not looked at.
//! - In the last file the first bad frame, at P, is either where the crash tore the last group, or
//!   damage. It is damage exactly if something later in the file proves that P was durable: a
//!   frame header, right but for the chain, whose `synced` is above P. Frames of the torn group
//!   itself, kept by a disk that writes out of order, say at most P. Nobody can write such a
//!   header into a document, because nobody knows the salt.
//! - A torn tail is cut and the cut is synced before anything is appended. Good frames before P
//!   are kept, acknowledged or not: each is whole.
//! - A file header that is bad in a last file of at most 64 bytes is a file whose making the crash
//!   interrupted; nothing was in it. In any other file it is damage.
//! - The last file and the folder are synced before anything read is believed: after a mere kill
//!   of the process, bytes that were never synced can be read and could still be lost.
//!
//! # A clean end
//!
//! `log/clean-end`, 48 bytes, is written by a clean stop under another name, synced, renamed, and
//! the folder synced; the next start checks it and removes it before it appends.
//!
//! ```text
//!  0  8  magic "VERMEND\n"        16  8  number of the first file
//!  8  4  version, 1               24  8  number of the last file
//! 12  4  checksum of the 48       32  8  bytes of the last file
//!        bytes, this field zero   40  4  chain at its end     44  4  zero
//! ```
//!
//! With it even a cut that takes whole frames off the last file, or takes whole files, is noticed.
//! A clean-end file that is damaged itself is passed over with a warning: it guards no record.
//!
//! # The newest file
//!
//! `log/newest` holds the number of the file that was begun last: the checksum of the number's digits
//! (XXH3-64, 16 hexadecimal digits), a line feed, the digits. It is replaced as a whole once the file
//! is durable and before the first frame goes in, so that a start after a crash notices that the last
//! file is missing, whose frames were acknowledged. It may be behind, where it could not be written.

use uuid::Uuid;

use crate::model::{CollectionId, FlushKey, SeqId};

/// Bytes of a file header.
pub const FILE_HEADER_BYTES: u64 = 64;
/// Bytes of a frame header.
pub const FRAME_HEADER_BYTES: u64 = 96;
/// The version of files and frames that this release writes.
pub const VERSION: u32 = 1;

/// The first bytes of a frame.
pub(super) const FRAME_MAGIC: [u8; 4] = [0xf0, b'V', b'L', b'F'];
const FILE_MAGIC: [u8; 8] = *b"VERMLOG\n";

const _: () = assert!(
    cfg!(target_endian = "little"),
    "vectors go to disk as they lie in memory, which the format wants little-endian"
);

/// Why bytes are not the header they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// They are something else, or damaged.
    Damaged(String),
    /// They are whole, but of a release that this one does not know.
    Newer(u32),
}

/// The path of the log file with this number.
pub(super) fn file_path(number: u64) -> String {
    format!("{}/{number:020}.log", super::FOLDER)
}

/// The number in the name of a log file.
pub(super) fn file_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log")?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// What stands at the beginning of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) number: u64,
    pub(super) salt: u64,
    /// Where the file before ended, with the chain there.
    pub(super) previous: Option<(u64, u32)>,
}

impl FileHeader {
    /// The bytes, with the chain that the first frame carries on.
    pub(super) fn encode(&self) -> ([u8; FILE_HEADER_BYTES as usize], u32) {
        let mut bytes = [0; FILE_HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt.to_le_bytes());
        if let Some((end, chain)) = self.previous {
            bytes[32..40].copy_from_slice(&end.to_le_bytes());
            bytes[40..44].copy_from_slice(&chain.to_le_bytes());
            bytes[44] = 1;
        }
        let checksum = seal(&mut bytes, 12);
        (bytes, checksum)
    }

    /// Reads the bytes, answering the chain too.
    pub(super) fn decode(bytes: &[u8], number: u64) -> Result<(Self, u32), Flaw> {
        let checksum = check(bytes, FILE_HEADER_BYTES as usize, &FILE_MAGIC, 12)?;
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(Flaw::Newer(version));
        }
        let header = Self {
            number: u64_at(bytes, 16),
            salt: u64_at(bytes, 24),
            previous: (bytes[44] == 1).then(|| (u64_at(bytes, 32), u32_at(bytes, 40))),
        };
        if header.number != number {
            return Err(Flaw::Damaged(format!(
                "the file says that its number is {}",
                header.number
            )));
        }
        Ok((header, checksum))
    }
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    Batch = 1,
    Mark = 2,
}

/// What stands before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: FrameKind,
    pub(super) chain: u32,
    pub(super) salt: u64,
    pub(super) offset: u64,
    pub(super) synced: u64,
    pub(super) collection: CollectionId,
    pub(super) flush: Option<FlushKey>,
    pub(super) first: SeqId,
    pub(super) count: u32,
    pub(super) payload_checksum: u32,
    pub(super) payload_bytes: u64,
}

impl FrameHeader {
    /// A mark of the time (nanoseconds since the Unix epoch) at which the frames behind it are
    /// written, at `offset` of a file that is durable up to `synced`.
    pub(super) fn time_mark(chain: u32, salt: u64, offset: u64, synced: u64, time: u64) -> Self {
        Self {
            synced,
            first: SeqId(time),
            ..Self::mark(chain, salt, offset)
        }
    }

    /// The same mark, which also tells the catalogue's generation.
    #[must_use]
    pub(super) fn with_generation(self, generation: u64) -> Self {
        let collection = CollectionId(Uuid::from_u128_le(u128::from(generation)));
        Self { collection, ..self }
    }

    /// The catalogue's generation that a mark tells; 0 where it tells none.
    pub(super) fn generation(&self) -> u64 {
        self.time()
            .map_or(0, |_| self.collection.0.to_u128_le() as u64)
    }

    /// The time that a mark tells, where it tells one.
    pub(super) fn time(&self) -> Option<u64> {
        (self.kind == FrameKind::Mark && self.first.0 > 0).then_some(self.first.0)
    }

    /// A mark at `offset`.
    pub(super) fn mark(chain: u32, salt: u64, offset: u64) -> Self {
        Self {
            kind: FrameKind::Mark,
            chain,
            salt,
            offset,
            synced: offset,
            collection: CollectionId(Uuid::nil()),
            flush: None,
            first: SeqId(0),
            count: 0,
            payload_checksum: 0,
            payload_bytes: 0,
        }
    }

    /// Where the next frame begins.
    pub(super) fn end(&self) -> u64 {
        self.offset
            .saturating_add(FRAME_HEADER_BYTES)
            .saturating_add(self.payload_bytes)
    }

    /// The last SeqId of the frame.
    pub(super) fn last(&self) -> SeqId {
        SeqId((self.first.0 + u64::from(self.count)).saturating_sub(1))
    }

    /// The bytes, with the chain that the next frame carries on.
    pub(super) fn encode(&self) -> ([u8; FRAME_HEADER_BYTES as usize], u32) {
        let mut bytes = [0; FRAME_HEADER_BYTES as usize];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[8] = VERSION as u8;
        bytes[9] = self.kind as u8;
        bytes[12..16].copy_from_slice(&self.chain.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.salt.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.offset.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.synced.to_le_bytes());
        bytes[40..56].copy_from_slice(self.collection.0.as_bytes());
        if let Some(flush) = self.flush {
            bytes[56..72].copy_from_slice(flush.0.as_bytes());
        }
        bytes[72..80].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[80..84].copy_from_slice(&self.count.to_le_bytes());
        bytes[84..88].copy_from_slice(&self.payload_checksum.to_le_bytes());
        bytes[88..96].copy_from_slice(&self.payload_bytes.to_le_bytes());
        let checksum = seal(&mut bytes, 4);
        (bytes, checksum)
    }

    /// Reads the bytes found at `offset` of the file with this salt, answering the chain too.
    pub(super) fn decode(bytes: &[u8], salt: u64, offset: u64) -> Result<(Self, u32), Flaw> {
        let checksum = check(bytes, FRAME_HEADER_BYTES as usize, &FRAME_MAGIC, 4)?;
        if u32::from(bytes[8]) != VERSION {
            return Err(Flaw::Newer(u32::from(bytes[8])));
        }
        let kind = match bytes[9] {
            1 => FrameKind::Batch,
            2 => FrameKind::Mark,
            other => {
                return Err(Flaw::Damaged(format!(
                    "a frame of the unknown kind {other}"
                )));
            }
        };
        let flush = uuid_at(bytes, 56);
        let header = Self {
            kind,
            chain: u32_at(bytes, 12),
            salt: u64_at(bytes, 16),
            offset: u64_at(bytes, 24),
            synced: u64_at(bytes, 32),
            collection: CollectionId(uuid_at(bytes, 40)),
            flush: (!flush.is_nil()).then_some(FlushKey(flush)),
            first: SeqId(u64_at(bytes, 72)),
            count: u32_at(bytes, 80),
            payload_checksum: u32_at(bytes, 84),
            payload_bytes: u64_at(bytes, 88),
        };
        if header.salt != salt || header.offset != offset {
            return Err(Flaw::Damaged(format!(
                "a frame that was written for byte {} of another place",
                header.offset
            )));
        }
        let whole = match kind {
            FrameKind::Batch => header.count > 0 && header.first.0 > 0,
            FrameKind::Mark => header.count == 0 && header.payload_bytes == 0,
        };
        if !whole
            || header
                .first
                .0
                .checked_add(u64::from(header.count))
                .is_none()
        {
            return Err(Flaw::Damaged("a frame with impossible SeqIds".to_owned()));
        }
        Ok((header, checksum))
    }
}

/// Writes the checksum of `bytes` into them at `at`, where they are zero.
pub(super) fn seal(bytes: &mut [u8], at: usize) -> u32 {
    let checksum = crc32c::crc32c(bytes);
    bytes[at..at + 4].copy_from_slice(&checksum.to_le_bytes());
    checksum
}

/// Checks that `bytes` begin with `magic` and carry their checksum at `at`.
pub(super) fn check(bytes: &[u8], length: usize, magic: &[u8], at: usize) -> Result<u32, Flaw> {
    let damaged = |detail: String| Err(Flaw::Damaged(detail));
    if bytes.len() < length {
        return damaged(format!("{length} bytes expected, {} found", bytes.len()));
    }
    let bytes = &bytes[..length];
    if !bytes.starts_with(magic) {
        return damaged("its first bytes are not those of a header".to_owned());
    }
    let written = u32_at(bytes, at);
    let mut found = crc32c::crc32c(&bytes[..at]);
    found = crc32c::crc32c_append(found, &[0; 4]);
    found = crc32c::crc32c_append(found, &bytes[at + 4..]);
    if found != written {
        return damaged(format!(
            "its header has the checksum {found:08x}, {written:08x} was written"
        ));
    }
    Ok(written)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn uuid_at(bytes: &[u8], at: usize) -> Uuid {
    Uuid::from_bytes(bytes[at..at + 16].try_into().expect("sixteen bytes"))
}
