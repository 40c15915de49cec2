//! Walks over the frames of a log file, and tells a torn tail from damage.
//!
//! What must stay true: memory is bounded by one frame and one window; every error of damage
//! names file and offset. The reasoning is in [`super::format`].

use memchr::memmem;

use super::format::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FRAME_MAGIC, FileHeader, Flaw, FrameHeader, file_path,
};
use crate::storage::Storage;
use crate::{Error, ErrorKind, Result};

/// Bytes that are read at once where frames are smaller.
const WINDOW_BYTES: usize = 1 << 20;

/// Part of a file, read ahead.
pub(super) struct Window<'a> {
    storage: &'a dyn Storage,
    path: String,
    /// Nothing at or past this offset is read.
    limit: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) fn new(storage: &'a dyn Storage, path: String, limit: u64) -> Self {
        Self {
            storage,
            path,
            limit,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// Lets more of the file be read; what is read already does not change.
    pub(super) fn extend(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Reads what it is asked for next again.
    fn forget(&mut self) {
        self.bytes.clear();
    }

    /// The `length` bytes at `offset`; fewer where the file or the limit ends before.
    pub(super) fn get(&mut self, offset: u64, length: usize) -> Result<&[u8]> {
        let rest = self.limit.saturating_sub(offset);
        let length = length.min(usize::try_from(rest).unwrap_or(usize::MAX));
        let inside = |window: &Self| {
            offset >= window.start
                && offset + length as u64 <= window.start + window.bytes.len() as u64
        };
        if !inside(self) {
            let ahead = WINDOW_BYTES.min(usize::try_from(rest).unwrap_or(usize::MAX));
            self.bytes = self
                .storage
                .read_at(&self.path, offset, length.max(ahead))?;
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..(from + length).min(self.bytes.len())])
    }
}

/// What stands at a place of a file.
pub(super) enum Found {
    /// A frame whose header is good; the payload is yet to be read.
    Frame(FrameHeader),
    /// Nothing: the file ends there.
    End,
    /// No good frame.
    Bad(String),
}

/// Reads the frames of one file in order.
pub(super) struct FrameReader<'a> {
    window: Window<'a>,
    salt: u64,
    /// Where the next frame begins, with the chain it carries on.
    pub(super) offset: u64,
    pub(super) chain: u32,
}

impl<'a> FrameReader<'a> {
    /// Reads from the first frame of the file with this header, up to `limit`.
    pub(super) fn new(
        storage: &'a dyn Storage,
        header: &FileHeader,
        chain: u32,
        limit: u64,
    ) -> Self {
        Self {
            window: Window::new(storage, file_path(header.number), limit),
            salt: header.salt,
            offset: FILE_HEADER_BYTES,
            chain,
        }
    }

    /// Lets more of the file be read.
    pub(super) fn extend(&mut self, limit: u64) {
        self.window.extend(limit);
    }

    /// The header of the next frame. The reader stays where it is until [`Self::pass`].
    pub(super) fn header(&mut self) -> Result<Found> {
        if self.offset >= self.window.limit {
            return Ok(Found::End);
        }
        let bytes = self.window.get(self.offset, FRAME_HEADER_BYTES as usize)?;
        match FrameHeader::decode(bytes, self.salt, self.offset) {
            Err(Flaw::Damaged(detail)) => Ok(Found::Bad(detail)),
            Err(Flaw::Newer(version)) => Err(newer(&self.window.path, version)),
            Ok((header, _)) if header.chain != self.chain => Ok(Found::Bad(format!(
                "the frame carries on from {:08x}, but the frame before is {:08x}",
                header.chain, self.chain
            ))),
            Ok((header, _)) if header.end() > self.window.limit => Ok(Found::Bad(format!(
                "the frame has {} bytes of payload, which is more than the file holds",
                header.payload_bytes
            ))),
            Ok((header, _)) => Ok(Found::Frame(header)),
        }
    }

    /// The payload of the frame with this header; the inner error says why it is bad.
    pub(super) fn payload(&mut self, header: &FrameHeader) -> Result<Result<&[u8], String>> {
        let length = header.payload_bytes as usize;
        let from = header.offset + FRAME_HEADER_BYTES;
        let bytes = self.window.get(from, length)?;
        if bytes.len() < length {
            return Ok(Err(format!(
                "{length} bytes of payload expected, {} found",
                bytes.len()
            )));
        }
        let found = crc32c::crc32c(bytes);
        if found != header.payload_checksum {
            return Ok(Err(format!(
                "the frame's payload has the checksum {found:08x}, {:08x} was written",
                header.payload_checksum
            )));
        }
        Ok(Ok(bytes))
    }

    /// Goes on behind the frame with this header.
    pub(super) fn pass(&mut self, header: &FrameHeader) {
        self.offset = header.end();
        self.chain = header.encode().1;
    }

    /// Whether a good frame stands at the reader's place once it is read again.
    fn is_good_by_now(&mut self) -> Result<bool> {
        self.window.forget();
        match self.header()? {
            Found::Frame(frame) => Ok(self.payload(&frame)?.is_ok()),
            Found::End | Found::Bad(_) => Ok(false),
        }
    }

    /// Whether something behind the bad frame at the reader's place proves that it was durable
    /// once: where that proof stands.
    pub(super) fn proof_of_damage(&mut self) -> Result<Option<u64>> {
        let bad = self.offset;
        let mut from = bad + 1;
        let overlap = FRAME_MAGIC.len() - 1;
        while from < self.window.limit {
            let bytes = self.window.get(from, WINDOW_BYTES)?;
            let read = bytes.len();
            if read <= overlap {
                break;
            }
            let candidates: Vec<u64> = memmem::find_iter(bytes, &FRAME_MAGIC)
                .map(|at| from + at as u64)
                .collect();
            for candidate in candidates {
                let header = self.window.get(candidate, FRAME_HEADER_BYTES as usize)?;
                if let Ok((header, _)) = FrameHeader::decode(header, self.salt, candidate)
                    && header.synced > bad
                {
                    return Ok(Some(candidate));
                }
            }
            from += (read - overlap) as u64;
        }
        Ok(None)
    }
}

/// The header at the beginning of a file.
pub(super) enum Beginning {
    /// It is good; with the chain of the first frame.
    Good(FileHeader, u32),
    /// It is bad.
    Bad(String),
}

/// Reads the header of file `number`.
pub(super) fn read_beginning(storage: &dyn Storage, number: u64) -> Result<Beginning> {
    let path = file_path(number);
    let bytes = storage.read_at(&path, 0, FILE_HEADER_BYTES as usize)?;
    match FileHeader::decode(&bytes, number) {
        Ok((header, chain)) => Ok(Beginning::Good(header, chain)),
        Err(Flaw::Damaged(detail)) => Ok(Beginning::Bad(detail)),
        Err(Flaw::Newer(version)) => Err(newer(&path, version)),
    }
}

/// Where a walk over a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WalkEnd {
    pub(super) offset: u64,
    pub(super) chain: u32,
}

/// Walks over the frames of a file and hands each, good through and through, to `each`.
///
/// With `end`, which comes from the file after it, the frames must reach to that very place;
/// without it the file is the last one, and a torn tail ends the walk where it begins.
pub(super) fn walk(
    storage: &dyn Storage,
    header: &FileHeader,
    chain: u32,
    bytes: u64,
    end: Option<(u64, u32)>,
    each: &mut dyn FnMut(&FrameHeader, &[u8]) -> Result<()>,
) -> Result<WalkEnd> {
    let path = file_path(header.number);
    let limit = end.map_or(bytes, |(end, _)| end);
    if limit > bytes {
        let detail = format!("the file after it says that it had {limit} bytes");
        return Err(Error::corrupted(&path, bytes, detail));
    }
    let mut reader = FrameReader::new(storage, header, chain, limit);
    loop {
        let bad = match reader.header()? {
            Found::End => break,
            Found::Bad(detail) => detail,
            Found::Frame(frame) => match reader.payload(&frame)? {
                Ok(payload) => {
                    each(&frame, payload)?;
                    reader.pass(&frame);
                    continue;
                }
                Err(detail) => detail,
            },
        };
        if end.is_some() {
            return Err(Error::corrupted(&path, reader.offset, bad));
        }
        let Some(proof) = reader.proof_of_damage()? else {
            return Ok(WalkEnd {
                offset: reader.offset,
                chain: reader.chain,
            });
        };
        // A server may have written the frame, and others behind it, since it was read.
        if reader.is_good_by_now()? {
            continue;
        }
        return Err(Error::corrupted(
            &path,
            reader.offset,
            format!("{bad}; the frame at byte {proof} proves that it was whole once"),
        ));
    }
    match end {
        Some((end, chain)) if reader.offset != end || reader.chain != chain => {
            let detail = "the file after it carries on from another frame";
            Err(Error::corrupted(&path, reader.offset, detail))
        }
        _ => Ok(WalkEnd {
            offset: reader.offset,
            chain: reader.chain,
        }),
    }
}

fn newer(path: &str, version: u32) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "{path} has the format version {version}, which a newer release wrote; this release \
             reads version {}.",
            super::format::VERSION
        ),
    )
}
