//! Writes one file of a segment: buffered, with a checksum for each block as it goes.
//!
//! What must stay true: checksums are of the bytes handed in, in order, whatever their pieces.

use std::io;

use xxhash_rust::xxh3::xxh3_64;

use super::blocks::BLOCK_BYTES;
use crate::storage::{Storage, StorageFile};
use crate::{Error, Result};

/// Bytes collected before they are written; whole blocks.
const BUFFER_BYTES: usize = 16 * BLOCK_BYTES;

/// Bytes after which what was written is made durable, so that the system never has much of a large
/// file to write at once, for which everybody would wait.
const SYNC_BYTES: u64 = 64 << 20;

/// A finished file as the table of contents records it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileEntry {
    /// Its name in the segment's folder.
    pub(super) name: String,
    /// Its length.
    pub(super) bytes: u64,
    /// The checksum of each block.
    pub(super) checksums: Vec<u64>,
}

/// A file that is being written.
pub(super) struct FileSink {
    name: String,
    file: Box<dyn StorageFile>,
    buffer: Vec<u8>,
    written: u64,
    synced: u64,
    checksums: Vec<u64>,
    header: Vec<u8>,
    header_wanted: usize,
    failure: Option<Error>,
}

impl FileSink {
    /// Makes the file `name` in `folder`.
    pub(super) fn create(storage: &dyn Storage, folder: &str, name: &str) -> Result<Self> {
        Ok(Self {
            name: name.into(),
            file: storage.create(&format!("{folder}/{name}"))?,
            buffer: Vec::new(),
            written: 0,
            synced: 0,
            checksums: Vec::new(),
            header: Vec::new(),
            header_wanted: 0,
            failure: None,
        })
    }

    /// How many bytes were put.
    pub(super) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends `bytes`.
    pub(super) fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.keep_header(bytes);
        while !bytes.is_empty() {
            if self.buffer.is_empty() && bytes.len() >= BUFFER_BYTES {
                // Large pieces are written from where they are, all but the last, partial block.
                let whole = bytes.len().min(SYNC_BYTES as usize) / BLOCK_BYTES * BLOCK_BYTES;
                let (whole, rest) = bytes.split_at(whole);
                self.write_blocks(whole)?;
                bytes = rest;
                continue;
            }
            let taken = bytes.len().min(BUFFER_BYTES - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.buffer.len() == BUFFER_BYTES {
                self.flush_buffer()?;
            }
        }
        Ok(())
    }

    /// Appends zeros up to the next multiple of `bytes`.
    pub(super) fn align(&mut self, bytes: u64) -> Result<()> {
        let missing = self.position().next_multiple_of(bytes) - self.position();
        self.put(&[0; 64][..missing as usize])
    }

    /// Keeps the header of the Arrow message that is put next: its first 8 bytes and then as many
    /// as the second four of them say.
    pub(super) fn watch_message(&mut self) {
        self.header.clear();
        self.header_wanted = 8;
    }

    /// The header kept since [`Self::watch_message`].
    pub(super) fn message_header(&self) -> &[u8] {
        &self.header
    }

    /// Writes what is left and makes the file durable.
    pub(super) fn finish(mut self) -> Result<FileEntry> {
        self.flush_buffer()?;
        self.file.sync()?;
        Ok(FileEntry {
            name: self.name,
            bytes: self.written,
            checksums: self.checksums,
        })
    }

    /// The error behind one that an [`io::Write`] caller passed on; `other` where there is none.
    pub(super) fn failure(&mut self, other: impl std::fmt::Display) -> Error {
        self.failure.take().unwrap_or_else(|| {
            Error::internal(format!(
                "the columns of {} were refused: {other}",
                self.name
            ))
        })
    }

    fn flush_buffer(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        self.write_blocks(&buffer)?;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    /// Writes `bytes`, which begin at a block's start.
    fn write_blocks(&mut self, bytes: &[u8]) -> Result<()> {
        self.checksums
            .extend(bytes.chunks(BLOCK_BYTES).map(xxh3_64));
        self.file.write(&[bytes])?;
        self.written += bytes.len() as u64;
        if self.written - self.synced >= SYNC_BYTES {
            self.file.sync()?;
            self.synced = self.written;
        }
        Ok(())
    }

    fn keep_header(&mut self, mut bytes: &[u8]) {
        while self.header.len() < self.header_wanted && !bytes.is_empty() {
            let taken = bytes.len().min(self.header_wanted - self.header.len());
            self.header.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.header.len() == 8 && self.header_wanted == 8 {
                let length = [
                    self.header[4],
                    self.header[5],
                    self.header[6],
                    self.header[7],
                ];
                self.header_wanted += u32::from_le_bytes(length) as usize;
            }
        }
    }
}

impl io::Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.put(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                let message = error.message().to_owned();
                self.failure = Some(error);
                Err(io::Error::other(message))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
