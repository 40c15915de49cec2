//! The messages of a stream, one after the other: a schema, dictionaries, batches, an end.
//!
//! What must stay true: nothing is handed to the Arrow library before [`check`] has seen it; a stream
//! without its end is refused, so that a body that was cut never counts as a shorter one.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{RecordBatchDecoder, read_dictionary};
use arrow_ipc::{Message, MessageHeader, root_as_message};
use arrow_schema::{DataType, Schema};
use bytes::Bytes;

use super::check::{check_batch, check_schema, check_version};
use super::{Budget, Limits, broken};
use crate::ApiError;

/// What every message begins with.
const MARKER: [u8; 4] = [0xff; 4];
/// What an Arrow file begins with, which is no stream.
const FILE_MAGIC: &[u8] = b"ARROW1";
/// To what addresses messages are aligned.
const ALIGNMENT: usize = 8;

/// A stream that is being read.
pub(super) struct Stream {
    rest: Buffer,
    schema: Arc<Schema>,
    dictionaries: HashMap<i64, ArrayRef>,
    rows_left: usize,
    limits: Limits,
    unpacked: Budget,
}

impl Stream {
    /// Reads the schema of the stream in `body`.
    pub(super) fn open(body: Bytes, limits: Limits) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Err(broken(&"it is empty"));
        }
        if body.starts_with(FILE_MAGIC) {
            return Err(broken(
                &"it is an Arrow file; send the stream format, which has no footer",
            ));
        }
        let mut stream = Self {
            rest: Buffer::from(body),
            schema: Arc::new(Schema::empty()),
            dictionaries: HashMap::new(),
            rows_left: limits.records_max,
            limits,
            unpacked: Budget::new(limits.bytes_max),
        };
        let Some(metadata) = stream.next_metadata()? else {
            return Err(broken(&"it has no schema"));
        };
        let message = parse(&metadata)?;
        stream.take_body(&message)?;
        let Some(schema) = message.header_as_schema() else {
            return Err(broken(&"its first message is no schema"));
        };
        check_schema(&schema, metadata.len())?;
        stream.schema = Arc::new(try_fb_to_schema(schema).map_err(|error| broken(&error))?);
        Ok(stream)
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The next batch, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<RecordBatch>, ApiError> {
        while let Some(metadata) = self.next_metadata()? {
            let message = parse(&metadata)?;
            let body = self.take_body(&message)?;
            let version = message.version();
            match message.header_type() {
                MessageHeader::RecordBatch => {
                    let Some(batch) = message.header_as_record_batch() else {
                        return Err(broken(&"a batch has no header"));
                    };
                    let fields = self.schema.fields().iter();
                    let types = fields.map(|field| field.data_type());
                    let most = self.limits.bytes_max;
                    check_batch(&batch, types, &body, most, &mut self.unpacked)?;
                    self.rows_left = self.rows_after(batch.length())?;
                    let schema = self.schema.clone();
                    let decoder = RecordBatchDecoder::try_new(
                        &body,
                        batch,
                        schema,
                        &self.dictionaries,
                        &version,
                    );
                    let batch = decoder.and_then(RecordBatchDecoder::read_record_batch);
                    return batch.map(Some).map_err(|error| broken(&error));
                }
                MessageHeader::DictionaryBatch => self.read_dictionary(&message, &body)?,
                _ => return Err(broken(&"a message is neither a batch nor a dictionary")),
            }
        }
        Ok(None)
    }

    /// How many rows may still come after a batch that says it has `length`.
    fn rows_after(&self, length: i64) -> Result<usize, ApiError> {
        let rows = usize::try_from(length).unwrap_or(usize::MAX);
        self.rows_left.checked_sub(rows).ok_or_else(|| {
            let most = self.limits.records_max;
            let before = most - self.rows_left;
            ApiError::invalid(format!(
                "Batch size {} exceeds maximum batch size {most}",
                before.saturating_add(rows)
            ))
        })
    }

    fn read_dictionary(&mut self, message: &Message, body: &Buffer) -> Result<(), ApiError> {
        let dictionary = message.header_as_dictionary_batch();
        let Some((dictionary, values)) =
            dictionary.and_then(|dictionary| Some((dictionary, dictionary.data()?)))
        else {
            return Err(broken(&"a dictionary has no values"));
        };
        // Each would copy the dictionary as it is, so that many small ones take time without end.
        if dictionary.isDelta() {
            return Err(broken(
                &"it adds to a dictionary; send each dictionary whole (without deltas)",
            ));
        }
        #[expect(
            deprecated,
            reason = "fields have no other way to tell their dictionary"
        )]
        let fields = self.schema.fields_with_dict_id(dictionary.id());
        let types = fields.first().and_then(|field| match field.data_type() {
            DataType::Dictionary(_, values) => Some(values.as_ref()),
            _ => None,
        });
        let most = self.limits.bytes_max;
        check_batch(&values, types.into_iter(), body, most, &mut self.unpacked)?;
        let version = message.version();
        let dictionaries = &mut self.dictionaries;
        read_dictionary(body, dictionary, &self.schema, dictionaries, &version)
            .map_err(|error| broken(&error))
    }

    /// The metadata of the next message, or `None` at the end of the stream.
    fn next_metadata(&mut self) -> Result<Option<Buffer>, ApiError> {
        if self.rest.is_empty() {
            return Err(broken(
                &"it has no end; close the writer before what it wrote is sent",
            ));
        }
        let head = self.take(8)?;
        if head[..4] != MARKER {
            return Err(broken(&"a message does not begin with its marker"));
        }
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if length == 0 {
            return if self.rest.is_empty() {
                Ok(None)
            } else {
                Err(broken(&"there are bytes after its end"))
            };
        }
        let metadata = self.take(length)?;
        if metadata.as_ptr().align_offset(ALIGNMENT) == 0 {
            return Ok(Some(metadata));
        }
        Ok(Some(Buffer::from_slice_ref(metadata.as_slice())))
    }

    /// The buffers that go with `message`.
    fn take_body(&mut self, message: &Message) -> Result<Buffer, ApiError> {
        check_version(message.version())?;
        match usize::try_from(message.bodyLength()) {
            Ok(bytes) => self.take(bytes),
            Err(_) => Err(broken(&"a message has a body of negative length")),
        }
    }

    fn take(&mut self, bytes: usize) -> Result<Buffer, ApiError> {
        if bytes > self.rest.len() {
            return Err(broken(&"it is cut: a message is longer than what is left"));
        }
        let taken = self.rest.slice_with_length(0, bytes);
        self.rest.advance(bytes);
        Ok(taken)
    }
}

fn parse(metadata: &Buffer) -> Result<Message<'_>, ApiError> {
    root_as_message(metadata).map_err(|error| broken(&format!("a message is damaged: {error}")))
}
