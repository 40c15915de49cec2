//! Writes `documents.arrow`: an Arrow IPC file of many small batches, compressed with zstd.
//!
//! What must stay true: batches follow each other without a gap from row 0; there is a file only
//! if a row has a document.

use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{DataType, Field, Schema};

use super::DocumentBatch;
use crate::segments::arrow::{message_buffers, take_sink};
use crate::segments::sink::{FileEntry, FileSink};
use crate::storage::Storage;
use crate::{Error, Result};

/// Bytes of text at which a batch is full.
const BATCH_BYTES: usize = 4 << 10;
/// Rows at which a batch is full.
const BATCH_ROWS: usize = 4096;
/// Level of the compression: the one that costs least for nearly all of the gain.
const COMPRESSION_LEVEL: i32 = 1;

/// Writes `documents.arrow`.
pub(in crate::segments) struct DocumentWriter<'a> {
    storage: &'a dyn Storage,
    folder: &'a str,
    file: Option<(FileWriter<FileSink>, Arc<Schema>)>,
    next_row: u32,
    text: Vec<u8>,
    offsets: Vec<i32>,
    present: Vec<bool>,
    leading: u32,
    batches: Vec<DocumentBatch>,
}

impl<'a> DocumentWriter<'a> {
    /// A writer of the documents of the segment in `folder`.
    pub(in crate::segments) fn new(storage: &'a dyn Storage, folder: &'a str) -> Self {
        Self {
            storage,
            folder,
            file: None,
            next_row: 0,
            text: Vec::new(),
            offsets: vec![0],
            present: Vec::new(),
            leading: 0,
            batches: Vec::new(),
        }
    }

    /// Appends the document of the next row.
    pub(in crate::segments) fn push(&mut self, document: Option<&str>) -> Result<()> {
        if self.file.is_none() {
            if document.is_none() {
                self.leading += 1;
                return Ok(());
            }
            self.open()?;
            for _ in 0..std::mem::take(&mut self.leading) {
                self.append(None)?;
            }
        }
        self.append(document)
    }

    /// Writes the rest and makes the file durable; `None` where no row had a document.
    pub(in crate::segments) fn finish(mut self) -> Result<Option<(FileEntry, Vec<DocumentBatch>)>> {
        self.flush()?;
        let Some((file, _)) = self.file else {
            return Ok(None);
        };
        Ok(Some((take_sink(file)?.finish()?, self.batches)))
    }

    fn open(&mut self) -> Result<()> {
        let sink = FileSink::create(self.storage, self.folder, "documents.arrow")?;
        let schema = Schema::new(vec![Field::new("document", DataType::Utf8, true)]);
        let options = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::ZSTD))
            .and_then(|options| options.try_with_compression_level(Some(COMPRESSION_LEVEL)))
            .map_err(|error| Error::internal(format!("zstd is not to be had: {error}")))?;
        let file = FileWriter::try_new_with_options(sink, &schema, options)
            .map_err(|error| Error::internal(format!("documents.arrow was not begun: {error}")))?;
        self.file = Some((file, Arc::new(schema)));
        Ok(())
    }

    fn append(&mut self, document: Option<&str>) -> Result<()> {
        let document_bytes = document.map_or(0, str::len);
        if self.text.len() + document_bytes > i32::MAX as usize {
            self.flush()?;
        }
        self.text
            .extend_from_slice(document.unwrap_or("").as_bytes());
        self.offsets
            .push(i32::try_from(self.text.len()).map_err(|_| {
                Error::invalid(format!(
                    "a document of {document_bytes} bytes does not fit; at most {} are allowed",
                    i32::MAX
                ))
            })?);
        self.present.push(document.is_some());
        if self.text.len() >= BATCH_BYTES || self.present.len() >= BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let Some((file, schema)) = &mut self.file else {
            return Ok(());
        };
        if self.present.is_empty() {
            return Ok(());
        }
        let rows = self.present.len() as u32;
        let nulls = NullBuffer::from(std::mem::take(&mut self.present));
        let text = std::mem::take(&mut self.text);
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let start = file.get_ref().position();
        file.get_mut().watch_message();
        let written = StringArray::try_new(
            OffsetBuffer::new(ScalarBuffer::from(offsets)),
            Buffer::from_vec(text),
            Some(nulls),
        )
        .and_then(|array| RecordBatch::try_new(schema.clone(), vec![Arc::new(array)]))
        .and_then(|batch| file.write(&batch));
        if let Err(error) = written {
            return Err(file.get_mut().failure(error));
        }
        let message = message_buffers(file.get_ref(), start)?;
        let [validity, offsets, text] = message.buffers[..] else {
            return Err(Error::internal("a column of documents has three buffers"));
        };
        self.batches.push(DocumentBatch {
            first_row: self.next_row,
            at: message.body,
            buffers: [validity, offsets, text],
        });
        self.next_row += rows;
        Ok(())
    }
}
