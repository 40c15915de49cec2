//! What the head of a message may say before the Arrow library acts on it.
//!
//! What must stay true: the library takes offsets, lengths and sizes at their word, and so makes room
//! for what a compressed buffer says it unfolds to; here each is held against what is there. Buffers
//! that lie on each other are refused: a small body could be looked through thousands of times.

use arrow_buffer::Buffer;
use arrow_ipc::{
    CompressionType, Endianness, Field, KeyValue, MetadataVersion, RecordBatch, Schema,
};
use arrow_schema::DataType;

use super::{Budget, broken};
use crate::ApiError;

/// Fields of a schema, those in lists included.
const FIELDS_MAX: usize = 65_536;
/// Bytes by which the names and notes of a schema may be more than the bytes it is written in.
const SHARED_TEXT_MAX: usize = 64 << 10;
/// What stands before a compressed buffer: the bytes it unfolds to, or -1 where it is as it is.
const UNPACKED_LENGTH_BYTES: usize = 8;

/// Refuses versions of the format that are laid out in another way.
pub(super) fn check_version(version: MetadataVersion) -> Result<(), ApiError> {
    if [MetadataVersion::V4, MetadataVersion::V5].contains(&version) {
        return Ok(());
    }
    Err(broken(
        &"its version is not supported; versions 4 and 5 of the format are",
    ))
}

/// Checks a schema that is written in `bytes`.
pub(super) fn check_schema(schema: &Schema, bytes: usize) -> Result<(), ApiError> {
    if schema.endianness() != Endianness::Little {
        return Err(broken(&"its numbers are not little-endian"));
    }
    let mut sums = Sums::default();
    for pair in schema.custom_metadata().into_iter().flatten() {
        sums.add_note(&pair);
    }
    for field in schema.fields().into_iter().flatten() {
        sums.add_field(&field);
        sums.check(bytes)?;
    }
    sums.check(bytes)
}

/// Sizes of a schema. Its texts may share bytes, and each is copied.
#[derive(Default)]
struct Sums {
    fields: usize,
    text: usize,
}

impl Sums {
    /// The depth is that of the message, which the library's verifier bounds.
    fn add_field(&mut self, field: &Field) {
        self.fields += 1;
        self.text += field.name().map_or(0, str::len);
        for pair in field.custom_metadata().into_iter().flatten() {
            self.add_note(&pair);
        }
        for child in field.children().into_iter().flatten() {
            self.add_field(&child);
        }
    }

    fn add_note(&mut self, pair: &KeyValue) {
        self.text += pair.key().map_or(0, str::len) + pair.value().map_or(0, str::len);
    }

    fn check(&self, bytes: usize) -> Result<(), ApiError> {
        if self.fields > FIELDS_MAX {
            return Err(broken(&format!(
                "its schema has more than {FIELDS_MAX} fields"
            )));
        }
        if self.text > bytes + SHARED_TEXT_MAX {
            return Err(broken(
                &"the names and notes of its schema are more than the schema holds",
            ));
        }
        Ok(())
    }
}

/// How wide the numbers are that the buffers of columns hold, one after the other; 1 where any length
/// will do. Columns that hold `types` have these buffers in `batch`.
fn widths<'a>(types: impl Iterator<Item = &'a DataType>, batch: &RecordBatch) -> Vec<usize> {
    let mut variadic = batch.variadicBufferCounts().into_iter().flatten();
    let buffers = batch.buffers().map_or(0, |buffers| buffers.len());
    let mut widths = Vec::new();
    let mut types: Vec<&DataType> = types.collect();
    types.reverse();
    while let Some(holds) = types.pop() {
        match holds {
            DataType::Null => {}
            DataType::Utf8 => widths.extend([1, 4, 1]),
            DataType::LargeUtf8 => widths.extend([1, 8, 1]),
            DataType::Utf8View => {
                let count = usize::try_from(variadic.next().unwrap_or(0)).unwrap_or(0);
                widths.extend([1, 16]);
                widths.extend(std::iter::repeat_n(1, count.min(buffers)));
            }
            DataType::List(items) | DataType::LargeList(items) => {
                let wide = matches!(holds, DataType::LargeList(_));
                widths.extend([1, if wide { 8 } else { 4 }]);
                types.push(items.data_type());
            }
            DataType::FixedSizeList(items, _) => {
                widths.push(1);
                types.push(items.data_type());
            }
            DataType::Dictionary(keys, _) => {
                widths.extend([1, keys.primitive_width().unwrap_or(1)]);
            }
            other => widths.extend([1, other.primitive_width().unwrap_or(1)]),
        }
    }
    widths
}

/// Checks the head of a batch of columns that hold `types`, or of a dictionary, whose buffers are in
/// `body`; compressed ones take what they unfold to from `unpacked`. No array may be longer than what
/// `bytes_max` could hold in bits.
pub(super) fn check_batch<'a>(
    batch: &RecordBatch,
    types: impl Iterator<Item = &'a DataType>,
    body: &Buffer,
    bytes_max: usize,
    unpacked: &mut Budget,
) -> Result<(), ApiError> {
    if batch.length() < 0 {
        return Err(broken(&"a batch has a negative length"));
    }
    let items_max = i64::try_from(bytes_max.saturating_mul(8)).unwrap_or(i64::MAX);
    for node in batch.nodes().into_iter().flatten() {
        let (length, nulls) = (node.length(), node.null_count());
        if length < 0 || length > items_max || nulls < 0 || nulls > length {
            return Err(broken(&format!(
                "a batch has an array of length {length} with {nulls} nulls"
            )));
        }
    }
    let compressed = match batch.compression().map(|compression| compression.codec()) {
        None => false,
        Some(CompressionType::ZSTD) => true,
        Some(_) => {
            return Err(broken(
                &"its buffers are compressed by another codec than zstd; send them with zstd or \
                  without compression",
            ));
        }
    };
    let mut left = body.len();
    let mut widths = widths(types, batch).into_iter();
    for buffer in batch.buffers().into_iter().flatten() {
        let range = usize::try_from(buffer.offset())
            .ok()
            .zip(usize::try_from(buffer.length()).ok())
            .and_then(|(from, bytes)| body.get(from..from.checked_add(bytes)?));
        let Some(bytes) = range else {
            return Err(broken(&format!(
                "a buffer of {} bytes at {} is not within its message",
                buffer.length(),
                buffer.offset()
            )));
        };
        left = left
            .checked_sub(bytes.len())
            .ok_or_else(|| broken(&"buffers of a message lie on each other"))?;
        let mut length = bytes.len();
        if compressed && length > 0 {
            length = unpacked_length(bytes)?;
            unpacked.take(length)?;
        }
        // The library looks at these as numbers, and takes no part of one.
        if !length.is_multiple_of(widths.next().unwrap_or(1)) {
            return Err(broken(&format!(
                "a buffer of {length} bytes holds no whole number of its values"
            )));
        }
    }
    Ok(())
}

/// What a compressed buffer says that it unfolds to.
fn unpacked_length(bytes: &[u8]) -> Result<usize, ApiError> {
    let said = bytes.first_chunk::<UNPACKED_LENGTH_BYTES>();
    match said.map(|said| i64::from_le_bytes(*said)) {
        Some(-1) => Ok(bytes.len() - UNPACKED_LENGTH_BYTES),
        Some(length) if length >= 0 => usize::try_from(length)
            .map_err(|_| broken(&"a compressed buffer unfolds to more than there is memory")),
        _ => Err(broken(&"a compressed buffer does not say its length")),
    }
}
