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

/// Writes batches to files.
pub(super) struct BatchWriter<'a> {
    to: &'a dyn Destination,
    number: BackupNumber,
    open: Option<(FrameEncoder, HashedWriter)>,
    last: Option<FrameEncoder>,
    files: Vec<BackupFile>,
    batches: u64,
}

impl<'a> BatchWriter<'a> {
    /// For backup `number`; no file is made before the first batch.
    pub(super) fn new(to: &'a dyn Destination, number: BackupNumber) -> Self {
        Self {
            to,
            number,
            open: None,
            last: None,
            files: Vec::new(),
            batches: 0,
        }
    }

    /// Appends a batch.
    pub(super) fn push(&mut self, batch: &LoggedBatch<'_>) -> Result<()> {
        if self
            .open
            .as_ref()
            .is_some_and(|(encoder, _)| encoder.bytes() >= FILE_BYTES)
        {
            self.finish_file()?;
        }
        if self.open.is_none() {
            let (encoder, header) = FrameEncoder::begin(self.last.as_ref());
            let mut file = HashedWriter::begin(self.to, self.number, &encoder.path())?;
            file.write(&header)?;
            self.open = Some((encoder, file));
        }
        let (encoder, file) = self.open.as_mut().expect("a file was begun");
        let head = encoder.frame(batch);
        file.write(&head)?;
        file.write(batch.payload)?;
        self.batches += 1;
        Ok(())
    }

    fn finish_file(&mut self) -> Result<()> {
        if let Some((encoder, file)) = self.open.take() {
            self.files.push(file.finish()?);
            self.last = Some(encoder);
        }
        Ok(())
    }

    /// Makes the last file durable; answers the files and how many batches are in them.
    pub(super) fn finish(mut self) -> Result<(Vec<BackupFile>, u64)> {
        self.finish_file()?;
        Ok((self.files, self.batches))
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
