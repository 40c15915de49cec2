//! Writes `records.arrow`: ids, births, SeqIds, uris and metadata as one Arrow record batch.
//!
//! What must stay true: the places recorded for readers are taken from the message that was
//! written, not from assumptions about how it is laid out.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, GenericListArray, GenericStringArray, Int64Array,
    OffsetSizeTrait, RecordBatch, UInt64Array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, Field, Schema};
use hashbrown::{HashMap, HashSet};

use super::column::{Offsets, StoredColumn, StoredValues, TextColumn};
use super::metadata::Kind;
use super::metadata::gather::{Gathered, GatheredColumn, Text, Values};
use super::sink::{FileEntry, FileSink};
use crate::{Error, Result};

/// The columns to be written, all of the same rows.
pub(super) struct Records {
    /// Ids.
    pub(super) ids: Text,
    /// Births.
    pub(super) births: Vec<u64>,
    /// SeqIds.
    pub(super) seqs: Vec<u64>,
    /// Uris and which rows have one, if any has.
    pub(super) uris: Option<(Text, Vec<bool>)>,
    /// Metadata.
    pub(super) metadata: Gathered,
}

/// Where the columns are in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RecordsLayout {
    /// Ids.
    pub(super) ids: TextColumn,
    /// Births, 8 bytes each.
    pub(super) births: u64,
    /// SeqIds, 8 bytes each.
    pub(super) seqs: u64,
    /// Uris, if any row has one.
    pub(super) uris: Option<TextColumn>,
    /// Metadata columns of their own.
    pub(super) columns: Vec<StoredColumn>,
    /// All other metadata: JSON objects.
    pub(super) extra: Option<TextColumn>,
}

/// Where the buffers of a written message are.
pub(super) struct MessageBuffers {
    /// Where the buffers begin in the file.
    pub(super) body: u64,
    /// Offset from there and length of each buffer.
    pub(super) buffers: Vec<(u64, u64)>,
}

/// Where the buffers are of the record batch that was written to `sink` from byte `start` on,
/// after [`FileSink::watch_message`].
pub(super) fn message_buffers(sink: &FileSink, start: u64) -> Result<MessageBuffers> {
    let header = sink.message_header();
    let batch = header
        .get(8..)
        .and_then(|message| arrow_ipc::root_as_message(message).ok())
        .ok_or_else(|| Error::internal("a message of an Arrow file has another form than known"))?;
    let buffers = batch
        .header_as_record_batch()
        .and_then(|batch| batch.buffers())
        .ok_or_else(|| Error::internal("a message of an Arrow file is no record batch"))?;
    Ok(MessageBuffers {
        body: start + header.len() as u64,
        buffers: buffers
            .iter()
            .map(|buffer| (buffer.offset() as u64, buffer.length() as u64))
            .collect(),
    })
}

/// Ends an Arrow file and gives the sink back.
pub(super) fn take_sink(mut file: FileWriter<FileSink>) -> Result<FileSink> {
    if let Err(error) = file.finish() {
        return Err(file.get_mut().failure(error));
    }
    file.into_inner()
        .map_err(|error| Error::internal(format!("an Arrow file was not ended: {error}")))
}

/// Writes `records` and makes the file durable. `records.metadata` is sorted.
pub(super) fn write_records(
    mut sink: FileSink,
    records: Records,
) -> Result<(FileEntry, RecordsLayout)> {
    let rows = records.births.len();
    let (batch, shapes) = match batch(records, rows) {
        Ok(made) => made,
        Err(error) => return Err(sink.failure(error)),
    };
    let start = match write_batch(&mut sink, &batch) {
        Ok(start) => start,
        Err(error) => return Err(sink.failure(error)),
    };
    let message = message_buffers(&sink, start)?;
    let layout = layout(shapes, &message)
        .ok_or_else(|| Error::internal("records.arrow has other buffers than its columns need"))?;
    Ok((sink.finish()?, layout))
}

/// Writes a whole Arrow file of one batch; answers where the batch begins.
fn write_batch(sink: &mut FileSink, batch: &RecordBatch) -> Result<u64, ArrowError> {
    let mut file = FileWriter::try_new(sink, &batch.schema())?;
    let start = file.get_ref().position();
    file.get_mut().watch_message();
    file.write(batch)?;
    file.finish()?;
    Ok(start)
}

/// What a column of the batch is to readers.
enum Shape {
    Ids {
        wide: bool,
    },
    Births,
    Seqs,
    Uris {
        wide: bool,
    },
    Column {
        key: Arc<str>,
        kind: Kind,
        wide: bool,
        wide_lists: bool,
    },
    Extra {
        wide: bool,
    },
}

fn batch(records: Records, rows: usize) -> Result<(RecordBatch, Vec<Shape>), ArrowError> {
    let mut columns = Columns::default();
    let extra = records.metadata.rare(rows);
    let (ids, wide) = strings(records.ids, None, rows)?;
    columns.push("id", false, ids, Shape::Ids { wide });
    columns.push(
        "birth",
        false,
        Arc::new(UInt64Array::from(records.births)),
        Shape::Births,
    );
    columns.push(
        "seq",
        false,
        Arc::new(UInt64Array::from(records.seqs)),
        Shape::Seqs,
    );
    if let Some((uris, present)) = records.uris {
        let (uris, wide) = strings(uris, Some(NullBuffer::from(present)), rows)?;
        columns.push("uri", true, uris, Shape::Uris { wide });
    }
    let dense: Vec<GatheredColumn> = records
        .metadata
        .columns
        .into_iter()
        .filter(|column| column.is_dense(rows))
        .collect();
    let mut kinds: HashMap<Arc<str>, u32> = HashMap::new();
    for column in &dense {
        *kinds.entry(column.key.clone()).or_default() += 1;
    }
    for column in dense {
        let name = columns.free_name(&column.key, column.kind, kinds[&column.key] > 1);
        let (key, kind) = (column.key.clone(), column.kind);
        let (array, wide, wide_lists) = metadata_array(column, rows)?;
        let notes = [("vermilion.key", &*key), ("vermilion.kind", kind.name())]
            .map(|(name, note)| (name.to_owned(), note.to_owned()));
        columns.push(
            &name,
            true,
            array,
            Shape::Column {
                key,
                kind,
                wide,
                wide_lists,
            },
        );
        columns.note(notes);
    }
    if let Some(extra) = extra {
        let present = extra
            .offsets
            .windows(2)
            .map(|pair| pair[0] < pair[1])
            .collect::<Vec<_>>();
        let (extra, wide) = strings(extra, Some(NullBuffer::from(present)), rows)?;
        columns.push("extra", true, extra, Shape::Extra { wide });
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(columns.fields)), columns.arrays)?;
    Ok((batch, columns.shapes))
}

/// The columns of the batch as they come together.
#[derive(Default)]
struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
    shapes: Vec<Shape>,
    names: HashSet<String>,
}

impl Columns {
    fn push(&mut self, name: &str, nullable: bool, array: ArrayRef, shape: Shape) {
        self.names.insert(name.to_owned());
        self.fields
            .push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
        self.shapes.push(shape);
    }

    /// Adds notes to the field pushed last.
    fn note(&mut self, notes: [(String, String); 2]) {
        if let Some(field) = self.fields.last_mut() {
            field.set_metadata(std::collections::HashMap::from(notes));
        }
    }

    /// A name for a metadata column: its key, with its kind where the key alone is taken.
    fn free_name(&self, key: &str, kind: Kind, shared: bool) -> String {
        let fixed = ["id", "birth", "seq", "uri", "extra"].contains(&key);
        let mut name = if shared || fixed {
            format!("{key} ({})", kind.name())
        } else {
            key.to_owned()
        };
        while self.names.contains(&name) {
            name.push('\'');
        }
        name
    }
}

fn offset_buffer<O: OffsetSizeTrait>(offsets: &[u64]) -> OffsetBuffer<O> {
    let offsets: Vec<O> = offsets
        .iter()
        .map(|&offset| O::usize_as(offset as usize))
        .collect();
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

fn is_wide(offsets: &[u64]) -> bool {
    offsets.last().is_some_and(|&last| last > i32::MAX as u64)
}

/// An array of `text`, one string a row, and whether its offsets have 8 bytes.
fn strings(
    text: Text,
    nulls: Option<NullBuffer>,
    rows: usize,
) -> Result<(ArrayRef, bool), ArrowError> {
    debug_assert_eq!(text.len(), rows, "a column has a string for each row");
    let bytes = Buffer::from_vec(text.bytes);
    if is_wide(&text.offsets) {
        let offsets = offset_buffer::<i64>(&text.offsets);
        let array = GenericStringArray::<i64>::try_new(offsets, bytes, nulls)?;
        return Ok((Arc::new(array), true));
    }
    let offsets = offset_buffer::<i32>(&text.offsets);
    let array = GenericStringArray::<i32>::try_new(offsets, bytes, nulls)?;
    Ok((Arc::new(array), false))
}

/// The array of a metadata column, whether its strings' offsets have 8 bytes, and whether its
/// lists' offsets have.
fn metadata_array(
    column: GatheredColumn,
    rows: usize,
) -> Result<(ArrayRef, bool, bool), ArrowError> {
    let nulls = (column.rows.len() < rows).then(|| {
        let mut present = vec![false; rows];
        column
            .rows
            .iter()
            .for_each(|&row| present[row as usize] = true);
        NullBuffer::from(present)
    });
    if !column.kind.is_list() {
        let values = spread(column.values, &column.rows, rows);
        let (array, wide) = values_array(values, nulls)?;
        return Ok((array, wide, false));
    }
    let mut starts = vec![0];
    starts.extend_from_slice(&column.ends);
    let offsets = spread_offsets(&starts, &column.rows, rows);
    let (elements, wide) = values_array(column.values, None)?;
    let item = Arc::new(Field::new("item", elements.data_type().clone(), true));
    if is_wide(&offsets) {
        let offsets = offset_buffer::<i64>(&offsets);
        let array = GenericListArray::<i64>::try_new(item, offsets, elements, nulls)?;
        return Ok((Arc::new(array), wide, true));
    }
    let offsets = offset_buffer::<i32>(&offsets);
    let array = GenericListArray::<i32>::try_new(item, offsets, elements, nulls)?;
    Ok((Arc::new(array), wide, false))
}

fn values_array(values: Values, nulls: Option<NullBuffer>) -> Result<(ArrayRef, bool), ArrowError> {
    Ok(match values {
        Values::Bools(values) => (Arc::new(BooleanArray::new(values.into(), nulls)), false),
        Values::Ints(values) => (Arc::new(Int64Array::try_new(values.into(), nulls)?), false),
        Values::Floats(values) => (
            Arc::new(Float64Array::try_new(values.into(), nulls)?),
            false,
        ),
        Values::Text(text) => {
            let rows = text.len();
            strings(text, nulls, rows)?
        }
        Values::Sparse(_) => {
            let message = "sparse vectors have no column of their own".to_owned();
            return Err(ArrowError::InvalidArgumentError(message));
        }
    })
}

/// The values of `present` rows at their places among `rows`; the others are zero or empty.
fn spread(values: Values, present: &[u32], rows: usize) -> Values {
    fn each<T: Copy + Default>(values: Vec<T>, present: &[u32], rows: usize) -> Vec<T> {
        if present.len() == rows {
            return values;
        }
        let mut to = vec![T::default(); rows];
        for (&row, value) in present.iter().zip(values) {
            to[row as usize] = value;
        }
        to
    }
    match values {
        Values::Bools(values) => Values::Bools(each(values, present, rows)),
        Values::Ints(values) => Values::Ints(each(values, present, rows)),
        Values::Floats(values) => Values::Floats(each(values, present, rows)),
        Values::Text(text) => Values::Text(Text {
            offsets: spread_offsets(&text.offsets, present, rows),
            bytes: text.bytes,
        }),
        Values::Sparse(values) => Values::Sparse(values),
    }
}

/// Offsets of `present` rows as offsets of all `rows`; the others are empty.
fn spread_offsets(offsets: &[u64], present: &[u32], rows: usize) -> Vec<u64> {
    let mut to = Vec::with_capacity(rows + 1);
    for (&row, &offset) in present.iter().zip(offsets) {
        to.resize(row as usize + 1, offset);
    }
    to.resize(
        rows + 1,
        *offsets.last().expect("there is always a first offset"),
    );
    to
}

/// Gives each column its places; `None` where the buffers are not those the columns need.
fn layout(shapes: Vec<Shape>, message: &MessageBuffers) -> Option<RecordsLayout> {
    let mut places = Places {
        body: message.body,
        buffers: message.buffers.iter(),
    };
    let (mut ids, mut births, mut seqs, mut uris, mut extra) = (None, None, None, None, None);
    let mut columns = Vec::new();
    for shape in shapes {
        match shape {
            Shape::Ids { wide } => ids = Some(places.text(wide)?),
            Shape::Births => births = Some(places.words()?),
            Shape::Seqs => seqs = Some(places.words()?),
            Shape::Uris { wide } => uris = Some(places.text(wide)?),
            Shape::Extra { wide } => extra = Some(places.text(wide)?),
            Shape::Column {
                key,
                kind,
                wide,
                wide_lists,
            } => {
                columns.push(places.column(key, kind, wide, wide_lists)?);
            }
        }
    }
    places.buffers.next().is_none().then_some(RecordsLayout {
        ids: ids?,
        births: births?,
        seqs: seqs?,
        uris,
        columns,
        extra,
    })
}

/// The place of a buffer that has bytes.
fn not_empty((place, bytes): (u64, u64)) -> Option<u64> {
    (bytes > 0).then_some(place)
}

/// Takes the places of buffers in their order.
struct Places<'a> {
    body: u64,
    buffers: std::slice::Iter<'a, (u64, u64)>,
}

impl Places<'_> {
    fn place(&mut self) -> Option<u64> {
        self.buffer().map(|(place, _)| place)
    }

    /// The next buffer's place and bytes; a buffer of validity bits without bytes stands for
    /// "all present".
    fn buffer(&mut self) -> Option<(u64, u64)> {
        let (offset, bytes) = self.buffers.next()?;
        Some((self.body + offset, *bytes))
    }

    fn words(&mut self) -> Option<u64> {
        self.place()?;
        self.place()
    }

    fn text(&mut self, wide: bool) -> Option<TextColumn> {
        Some(TextColumn {
            validity: not_empty(self.buffer()?),
            offsets: Offsets {
                at: self.place()?,
                wide,
            },
            text_at: self.place()?,
        })
    }

    fn column(
        &mut self,
        key: Arc<str>,
        kind: Kind,
        wide: bool,
        wide_lists: bool,
    ) -> Option<StoredColumn> {
        let validity = not_empty(self.buffer()?);
        let lists = if kind.is_list() {
            let lists = Offsets {
                at: self.place()?,
                wide: wide_lists,
            };
            self.place()?;
            Some(lists)
        } else {
            None
        };
        let at = self.place()?;
        let values = match kind {
            Kind::Bool | Kind::Bools => StoredValues::Bits(at),
            Kind::Int | Kind::Ints | Kind::Float | Kind::Floats => StoredValues::Words(at),
            Kind::Str | Kind::Strs => StoredValues::Text(Offsets { at, wide }, self.place()?),
            Kind::Sparse => return None,
        };
        Some(StoredColumn {
            key,
            kind,
            validity,
            lists,
            values,
        })
    }
}
