//! The log of a backup: files of batches in the form of log files, written and read.
//!
//! What must stay true: what is read has passed the checksum of its file and of each frame.

use super::manifest::{BackupFile, BackupManifest, HashedWriter, object_path, read_checked};
use super::{BackupNumber, Destination};
use crate::log::archive::{
    ARCHIVE_FRAME_BYTES, ARCHIVE_HEADER_BYTES, FrameDecoder, FrameEncoder, LoggedBatch,
};
use crate::{Error, Result};

/// Bytes of a file at which the next is begun.
const FILE_BYTES: u64 = 64 << 20;
/// The folder of the log in a backup.
pub(super) const LOG_FOLDER: &str = "log/";

/// Where files of batches are made.
pub(super) trait BatchFiles {
    /// A file that is being written.
    type File;

    /// Begins the file `path`.
    fn begin(&mut self, path: &str) -> Result<Self::File>;
    /// Appends `bytes` to it.
    fn write(&mut self, file: &mut Self::File, bytes: &[u8]) -> Result<()>;
    /// Makes it durable.
    fn end(&mut self, file: Self::File) -> Result<()>;
}

/// Writes batches to files of a bounded size, in the form of log files.
pub(super) struct BatchWriter<F: BatchFiles> {
    files: F,
    file_bytes: u64,
    open: Option<(FrameEncoder, F::File)>,
    batches: u64,
}

impl<F: BatchFiles> BatchWriter<F> {
    /// Begins the next of `files` at `file_bytes`; none is made before the first batch.
    pub(super) fn new(files: F, file_bytes: u64) -> Self {
        Self {
            files,
            file_bytes,
            open: None,
            batches: 0,
        }
    }

    /// Appends a batch.
    pub(super) fn push(&mut self, batch: &LoggedBatch<'_>) -> Result<()> {
        let full = |(encoder, _): &(FrameEncoder, _)| encoder.bytes() >= self.file_bytes;
        if self.open.as_ref().is_none_or(full) {
            let before = self.open.take();
            let (encoder, header) = FrameEncoder::begin(before.as_ref().map(|(one, _)| one));
            if let Some((_, file)) = before {
                self.files.end(file)?;
            }
            let mut file = self.files.begin(&encoder.path())?;
            self.files.write(&mut file, &header)?;
            self.open = Some((encoder, file));
        }
        let (encoder, file) = self.open.as_mut().expect("a file was begun");
        let head = encoder.frame(batch);
        self.files.write(file, &head)?;
        self.files.write(file, batch.payload)?;
        self.batches += 1;
        Ok(())
    }

    /// How many batches were written.
    pub(super) fn batches(&self) -> u64 {
        self.batches
    }

    /// Makes the last file durable; answers the files, and where the last one ended.
    pub(super) fn finish(mut self) -> Result<(F, Option<FrameEncoder>)> {
        let last = match self.open {
            Some((encoder, file)) => {
                self.files.end(file)?;
                Some(encoder)
            }
            None => None,
        };
        Ok((self.files, last))
    }
}

/// The files of the log of one backup.
pub(super) struct BackupLog<'a> {
    to: &'a dyn Destination,
    number: BackupNumber,
    /// What the manifest says of those that are whole.
    pub(super) written: Vec<BackupFile>,
}

impl<'a> BackupLog<'a> {
    /// A writer for the log of backup `number`.
    pub(super) fn writer(to: &'a dyn Destination, number: BackupNumber) -> BatchWriter<Self> {
        let files = Self {
            to,
            number,
            written: Vec::new(),
        };
        BatchWriter::new(files, FILE_BYTES)
    }
}

impl BatchFiles for BackupLog<'_> {
    type File = HashedWriter;

    fn begin(&mut self, path: &str) -> Result<HashedWriter> {
        HashedWriter::begin(self.to, self.number, path)
    }

    fn write(&mut self, file: &mut HashedWriter, bytes: &[u8]) -> Result<()> {
        file.write(bytes)
    }

    fn end(&mut self, file: HashedWriter) -> Result<()> {
        self.written.push(file.finish()?);
        Ok(())
    }
}

/// Hands every batch of a backup to `each`, in order, with the path of its file.
pub(super) fn read_batches(
    from: &dyn Destination,
    manifest: &BackupManifest,
    each: &mut dyn FnMut(&LoggedBatch<'_>, &str) -> Result<()>,
) -> Result<()> {
    for (at, file) in manifest.files_in(LOG_FOLDER).enumerate() {
        read_checked(from, manifest.number, file, &mut |_| Ok(()))?;
        let path = object_path(manifest.number, &file.path);
        let header = from.read_at(&path, 0, ARCHIVE_HEADER_BYTES as usize)?;
        let mut decoder = FrameDecoder::begin(&header, at as u64 + 1, &path)?;
        while decoder.offset() < file.bytes {
            let head = from.read_at(&path, decoder.offset(), ARCHIVE_FRAME_BYTES as usize)?;
            let Some(frame) = decoder.next(&head, &path)? else {
                continue;
            };
            let (offset, length) = frame.payload_place();
            if offset
                .checked_add(length)
                .is_none_or(|end| end > file.bytes)
            {
                let detail = "a frame reaches beyond the end of the file";
                return Err(Error::corrupted(&path, offset, detail));
            }
            let payload = from.read_at(&path, offset, length as usize)?;
            each(&frame.with_payload(&payload, &path)?, &path)?;
        }
    }
    Ok(())
}
