//! A group: the batches that are written in one call and synced once.
//!
//! What must stay true: frames stand in the file in the order in which their batches were
//! submitted, each carrying on the chain of the one before.

use super::format::{FRAME_HEADER_BYTES, FrameHeader, FrameKind};
use super::lend::VectorPlace;
use super::payload::Encoded;
use super::state::{Pending, State};
use super::ticket::Appended;
use super::writer::Active;
use crate::Result;
use crate::model::SeqRange;

/// Bytes of a group beyond which the next batch waits for the next group.
const GROUP_BYTES: u64 = 8 << 20;
/// Batches of a group at most.
const GROUP_BATCHES: usize = 1024;

/// Takes the next group from the queue.
pub(super) fn take_group(state: &mut State) -> Vec<Pending> {
    let mut group = Vec::new();
    let mut bytes = 0;
    while let Some(next) = state.queue.front() {
        if !group.is_empty() && bytes + next.bytes > GROUP_BYTES || group.len() == GROUP_BATCHES {
            break;
        }
        bytes += next.bytes;
        group.extend(state.queue.pop_front());
    }
    state.queue_bytes -= bytes;
    group
}

/// What a group left in the file.
pub(super) struct Written {
    /// The file's end.
    pub(super) end: u64,
    /// The chain there.
    pub(super) chain: u32,
    /// Each batch; `None` where its collection is gone.
    pub(super) appended: Vec<Option<Appended>>,
}

/// Writes the frames in one call, behind a mark of the time and the catalogue's generation where
/// there is a clock; answers the file's end and the chain there.
pub(super) fn write_frames(
    active: &mut Active,
    group: &[Pending],
    ranges: &[Option<SeqRange>],
    time: Option<(u64, u64)>,
) -> Result<Written> {
    let (mut end, mut chain) = (active.end, active.chain);
    let mut mark = Vec::new();
    if let Some((time, generation)) = time {
        let salt = active.header.salt;
        let header = FrameHeader::time_mark(chain, salt, end, active.synced, time)
            .with_generation(generation);
        let (bytes, checksum) = header.encode();
        mark.extend_from_slice(&bytes);
        (end, chain) = (header.end(), checksum);
    }
    let mut headers = Vec::with_capacity(group.len());
    let mut written: Vec<&Encoded> = Vec::with_capacity(group.len());
    let mut appended = Vec::with_capacity(group.len());
    for (pending, seqs) in group.iter().zip(ranges) {
        let Some(seqs) = *seqs else {
            appended.push(None);
            continue;
        };
        let payload_at = end + FRAME_HEADER_BYTES;
        let vectors = pending.checksums.vectors.map(|checksum| {
            let place = pending.encoded.vectors();
            VectorPlace {
                file: active.header.number,
                offset: payload_at + place.start,
                bytes: place.end - place.start,
                checksum,
            }
        });
        appended.push(Some(Appended { seqs, vectors }));
        let header = FrameHeader {
            kind: FrameKind::Batch,
            chain,
            salt: active.header.salt,
            offset: end,
            synced: active.synced,
            collection: pending.collection,
            flush: pending.flush,
            first: seqs.first,
            count: pending.count,
            payload_checksum: pending.checksums.whole,
            payload_bytes: pending.bytes,
        };
        let (bytes, checksum) = header.encode();
        headers.push(bytes);
        written.push(&pending.encoded);
        (end, chain) = (header.end(), checksum);
    }
    let mut parts: Vec<&[u8]> = Vec::with_capacity(headers.len() * 9 + 1);
    parts.push(&mark);
    for (header, encoded) in headers.iter().zip(written) {
        parts.push(header);
        parts.extend(encoded.parts());
    }
    active.file.write(&parts)?;
    Ok(Written {
        end,
        chain,
        appended,
    })
}
