//! The form of a batch in a frame: its columns one after the other.
//!
//! What must stay true: encoding copies neither vectors nor texts; decoding any bytes whatever
//! ends with a batch or an error, never with a panic or with memory out of proportion to them.
//!
//! ```text
//!  0  4  rows                        32  8  bytes of uris together
//!  4  4  dimension                   40  8  bytes of the metadata
//!  8  4  flags                       48     operations, 1 byte a row
//! 12  1  zeros before the vectors           offsets of ids, 4 bytes each, rows + 1
//! 13  1  zeros at the end, then 2 zero
//! 16  8  bytes of ids together              flag 1: which rows have a vector, 1 byte a row
//! 24  8  bytes of documents together        flag 2: which rows have a document, then offsets
//!                                           flag 4: which rows have a uri, then offsets
//! then the texts of ids; zeros; flag 8: the vectors, rows * dimension * 4 bytes; the texts of documents;
//! the texts of uris; flag 16: the metadata; zeros
//! ```
//!
//! The zeros, three at most each, let the vectors begin and the batch end at a multiple of 4 bytes, so that the vectors
//! can be looked at where they stand in the file.
//!
//! Metadata: the number of keys (4), each as its length (4) and text; then for each row the number
//! of its cells (4), each as the number of its key (4), its type (1), and its value: 0 null, 1
//! bool (1), 2 integer (8), 3 float (8), 4 string (length 4, text), 5 to 8 lists of those (length
//! 4, values), 9 sparse vector (length 4, indices, values, 1 or 0, tokens as strings).

use std::ops::Range;
use std::sync::Arc;

use bytemuck::{cast_slice, pod_collect_to_vec};

use crate::model::{
    Embeddings, LENT_BYTES_MIN, LentNumbers, MetadataColumn, Numbers, Operation, OptionalStrings,
    RecordBatch, SparseVector, Strings, Value,
};

const HEAD_BYTES: usize = 48;
/// Where the head tells how many zeros stand before the vectors.
const ZEROS_BEFORE_VECTORS: usize = 12;
/// Where it tells how many stand at the end.
const ZEROS_AT_END: usize = 13;
const SOME_VECTORS: u32 = 1;
const DOCUMENTS: u32 = 2;
const URIS: u32 = 4;
const VECTORS: u32 = 8;
const METADATA: u32 = 16;

/// A batch as bytes: what was made for it, and the batch itself, which holds the rest.
pub struct Encoded {
    batch: Arc<RecordBatch>,
    head: Vec<u8>,
    metadata: Vec<u8>,
    flags: u32,
}

const ZEROS: [u8; 3] = [0; 3];
/// Which of [`Encoded::parts`] the vectors are.
const VECTORS_PART: usize = 3;

/// How many zeros go from `bytes` to the next multiple of 4.
fn zeros_behind(bytes: u64) -> u8 {
    (bytes.next_multiple_of(4) - bytes) as u8
}

/// The checksum of a batch; and that of its vectors alone, where they are worth being looked at in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksums {
    pub(super) whole: u32,
    pub(super) vectors: Option<u32>,
}

impl Encoded {
    /// The bytes, to be written one part after the other.
    pub fn parts(&self) -> [&[u8]; 8] {
        let text = |flag: u32, column: &'_ OptionalStrings| -> usize {
            if self.flags & flag == 0 {
                0
            } else {
                column.values().text().len()
            }
        };
        let batch = &*self.batch;
        let documents = text(DOCUMENTS, &batch.documents);
        let uris = text(URIS, &batch.uris);
        [
            &self.head,
            batch.ids.text().as_bytes(),
            &ZEROS[..self.head[ZEROS_BEFORE_VECTORS].into()],
            cast_slice(batch.embeddings.values()),
            &batch.documents.values().text().as_bytes()[..documents],
            &batch.uris.values().text().as_bytes()[..uris],
            &self.metadata,
            &ZEROS[..self.head[ZEROS_AT_END].into()],
        ]
    }

    /// Where the vectors are among the bytes.
    pub(super) fn vectors(&self) -> Range<u64> {
        let parts = self.parts();
        let before = parts[..VECTORS_PART].iter().map(|part| part.len() as u64);
        let from = before.sum();
        from..from + parts[VECTORS_PART].len() as u64
    }

    /// Lets the vectors begin and the bytes end at a multiple of 4.
    fn pad(&mut self) {
        self.head[ZEROS_BEFORE_VECTORS] = zeros_behind(self.vectors().start);
        self.head[ZEROS_AT_END] = zeros_behind(self.bytes());
    }

    /// How many bytes there are.
    pub fn bytes(&self) -> u64 {
        self.parts().iter().map(|part| part.len() as u64).sum()
    }

    /// Their checksums.
    pub(super) fn checksums(&self) -> Checksums {
        let parts = self.parts();
        let append = |sum, part: &&[u8]| crc32c::crc32c_append(sum, part);
        let vectors = parts[VECTORS_PART];
        if vectors.len() < LENT_BYTES_MIN {
            return Checksums {
                whole: parts.iter().fold(0, append),
                vectors: None,
            };
        }
        let of_vectors = crc32c::crc32c(vectors);
        let before = parts[..VECTORS_PART].iter().fold(0, append);
        let until = crc32c::crc32c_combine(before, of_vectors, vectors.len());
        Checksums {
            whole: parts[VECTORS_PART + 1..].iter().fold(until, append),
            vectors: Some(of_vectors),
        }
    }
}

/// Makes bytes of `batch`; an error says which of its columns does not fit the others.
pub fn encode(batch: Arc<RecordBatch>) -> Result<Encoded, String> {
    let rows = batch.len();
    check_columns(&batch)?;
    let mut flags = 0;
    let mut set = |flag: u32, on: bool| flags |= if on { flag } else { 0 };
    set(SOME_VECTORS, batch.embeddings.present().is_some());
    set(DOCUMENTS, !batch.documents.all_absent());
    set(URIS, !batch.uris.all_absent());
    set(VECTORS, !batch.embeddings.is_empty());
    set(METADATA, batch.metadata.cell_count() > 0);
    let mut metadata = Vec::new();
    if flags & METADATA != 0 {
        put_metadata(&mut metadata, &batch.metadata);
    }
    let mut head = Vec::with_capacity(HEAD_BYTES + rows * 8);
    let text = |flag: u32, column: &OptionalStrings| {
        if flags & flag == 0 {
            0
        } else {
            column.values().text().len() as u64
        }
    };
    for number in [rows as u32, batch.embeddings.dimension() as u32, flags] {
        put_u32(&mut head, number);
    }
    // Where the padding is told, once it is known.
    put_u32(&mut head, 0);
    for number in [
        batch.ids.text().len() as u64,
        text(DOCUMENTS, &batch.documents),
        text(URIS, &batch.uris),
        metadata.len() as u64,
    ] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    head.extend(batch.operations.iter().map(|operation| *operation as u8));
    head.extend_from_slice(cast_slice(batch.ids.offsets()));
    if let Some(present) = batch.embeddings.present() {
        put_bools(&mut head, present);
    }
    for (flag, column) in [(DOCUMENTS, &batch.documents), (URIS, &batch.uris)] {
        if flags & flag != 0 {
            put_bools(&mut head, column.present());
            head.extend_from_slice(cast_slice(column.values().offsets()));
        }
    }
    let mut encoded = Encoded {
        batch,
        head,
        metadata,
        flags,
    };
    encoded.pad();
    Ok(encoded)
}

fn check_columns(batch: &RecordBatch) -> Result<(), String> {
    let rows = batch.len();
    let columns = [
        ("operations", batch.operations.len()),
        ("documents", batch.documents.len()),
        ("uris", batch.uris.len()),
        ("metadata", batch.metadata.len()),
    ];
    for (name, found) in columns {
        if found != rows {
            return Err(format!("{name} has {found} rows where ids has {rows}"));
        }
    }
    let vectors = batch.embeddings.len();
    if vectors != rows && !batch.embeddings.is_empty() {
        return Err(format!(
            "embeddings has {vectors} rows where ids has {rows}"
        ));
    }
    if u32::try_from(rows).is_err() || u32::try_from(batch.embeddings.dimension()).is_err() {
        return Err(format!("{rows} rows are more than a batch can have"));
    }
    Ok(())
}

fn put_u32(to: &mut Vec<u8>, number: u32) {
    to.extend_from_slice(&number.to_le_bytes());
}

fn put_bools(to: &mut Vec<u8>, values: &[bool]) {
    to.extend(values.iter().map(|value| u8::from(*value)));
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    put_u32(to, text.len() as u32);
    to.extend_from_slice(text.as_bytes());
}

fn put_metadata(to: &mut Vec<u8>, column: &MetadataColumn) {
    put_u32(to, column.keys().len() as u32);
    for key in column.keys() {
        put_text(to, key);
    }
    for row in 0..column.len() {
        let cells = column.cells(row);
        put_u32(to, cells.len() as u32);
        for (key, value) in cells {
            put_u32(to, *key);
            put_value(to, value);
        }
    }
}

fn put_value(to: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => to.push(0),
        Value::Bool(value) => to.extend([1, u8::from(*value)]),
        Value::Int(value) => {
            to.push(2);
            to.extend_from_slice(&value.to_le_bytes());
        }
        Value::Float(value) => {
            to.push(3);
            to.extend_from_slice(&value.to_le_bytes());
        }
        Value::Str(text) => {
            to.push(4);
            put_text(to, text);
        }
        Value::Bools(list) => {
            to.push(5);
            put_u32(to, list.len() as u32);
            put_bools(to, list);
        }
        Value::Ints(list) => {
            to.push(6);
            put_u32(to, list.len() as u32);
            to.extend_from_slice(cast_slice(list));
        }
        Value::Floats(list) => {
            to.push(7);
            put_u32(to, list.len() as u32);
            to.extend_from_slice(cast_slice(list));
        }
        Value::Strs(list) => {
            to.push(8);
            put_u32(to, list.len() as u32);
            list.iter().for_each(|text| put_text(to, text));
        }
        Value::Sparse(sparse) => {
            to.push(9);
            put_u32(to, sparse.indices.len() as u32);
            to.extend_from_slice(cast_slice(&sparse.indices));
            to.extend_from_slice(cast_slice(&sparse.values));
            to.push(u8::from(sparse.tokens.is_some()));
            if let Some(tokens) = &sparse.tokens {
                tokens.iter().for_each(|token| put_text(to, token));
            }
        }
    }
}

/// Makes a batch of `count` records of bytes; an error says what is wrong with them.
pub fn decode(bytes: &[u8], count: u32) -> Result<RecordBatch, String> {
    decode_lending(bytes, count, |_, _| None)
}

/// The same; of a batch with many vectors `lend` is asked for them, with the place at which they stand in `bytes`.
pub(super) fn decode_lending(
    bytes: &[u8],
    count: u32,
    lend: impl FnOnce(usize, &[u8]) -> Option<LentNumbers>,
) -> Result<RecordBatch, String> {
    let mut input = Input { rest: bytes };
    let rows = input.u32()?;
    if rows != count {
        return Err(format!("{rows} rows where {count} are expected"));
    }
    let rows = rows as usize;
    let (dimension, flags) = (input.u32()? as usize, input.u32()?);
    let (before_vectors, at_end) = (input.u8()?, input.u8()?);
    input.zeros(2)?;
    let (ids_text, documents_text) = (input.length()?, input.length()?);
    let (uris_text, metadata_bytes) = (input.length()?, input.length()?);
    let operations = input
        .take(rows)?
        .iter()
        .map(|&number| {
            Operation::from_number(number).ok_or_else(|| format!("no operation {number}"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let id_offsets = input.offsets(rows)?;
    let some_vectors = match flags & SOME_VECTORS {
        0 => None,
        _ => Some(input.bools(rows)?),
    };
    let documents = optional_offsets(&mut input, flags & DOCUMENTS, rows)?;
    let uris = optional_offsets(&mut input, flags & URIS, rows)?;
    let ids = strings(id_offsets, input.take(ids_text)?)?;
    input.zeros(before_vectors)?;
    let vectors = match flags & VECTORS {
        0 => 0,
        _ => rows
            .checked_mul(dimension)
            .and_then(|numbers| numbers.checked_mul(4))
            .ok_or("vectors of impossible size")?,
    };
    let vectors = input.take(vectors)?;
    let from = vectors.as_ptr().addr() - bytes.as_ptr().addr();
    let lent = (vectors.len() >= LENT_BYTES_MIN).then(|| lend(from, vectors));
    let own = || Numbers::Own(pod_collect_to_vec(vectors));
    let values = lent.flatten().map_or_else(own, Numbers::Lent);
    let embeddings = Embeddings::of_numbers(dimension, values, some_vectors);
    let batch = RecordBatch {
        operations,
        ids,
        embeddings: embeddings.ok_or("vectors that are no whole rows")?,
        documents: optional_strings(documents, input.take(documents_text)?, rows)?,
        uris: optional_strings(uris, input.take(uris_text)?, rows)?,
        metadata: match flags & METADATA {
            0 => MetadataColumn::absent(rows),
            _ => take_metadata(
                &mut Input {
                    rest: input.take(metadata_bytes)?,
                },
                rows,
            )?,
        },
    };
    input.zeros(at_end)?;
    if !input.rest.is_empty() {
        return Err(format!("{} bytes too many", input.rest.len()));
    }
    Ok(batch)
}

/// The metadata keys of a batch as bytes, of which nothing else is looked at.
pub(super) fn metadata_keys(bytes: &[u8]) -> Result<Vec<&str>, String> {
    let mut head = Input { rest: bytes };
    let (_, flags) = (head.u64()?, head.u32()?);
    let (_, at_end) = (head.u8()?, head.u8()?);
    head.take(26)?;
    let metadata_bytes = head.length()?;
    if flags & METADATA == 0 {
        return Ok(Vec::new());
    }
    let behind = metadata_bytes.checked_add(at_end.into());
    let start = behind.and_then(|behind| head.rest.len().checked_sub(behind));
    let mut metadata = Input {
        rest: &head.rest[start.ok_or("metadata that is longer than the batch")?..],
    };
    let keys = metadata.u32()?;
    (0..keys).map(|_| metadata.text()).collect()
}

type Present = Option<(Vec<bool>, Vec<u32>)>;

fn optional_offsets(input: &mut Input<'_>, flag: u32, rows: usize) -> Result<Present, String> {
    if flag == 0 {
        return Ok(None);
    }
    Ok(Some((input.bools(rows)?, input.offsets(rows)?)))
}

fn optional_strings(column: Present, text: &[u8], rows: usize) -> Result<OptionalStrings, String> {
    let Some((present, offsets)) = column else {
        return Ok(OptionalStrings::absent(rows));
    };
    OptionalStrings::from_parts(strings(offsets, text)?, present)
        .ok_or_else(|| "a column of the wrong length".to_owned())
}

fn strings(offsets: Vec<u32>, text: &[u8]) -> Result<Strings, String> {
    let text = std::str::from_utf8(text).map_err(|cause| format!("text is not UTF-8: {cause}"))?;
    Strings::from_parts(offsets, text.to_owned())
        .ok_or_else(|| "offsets that do not fit their text".to_owned())
}

fn take_metadata(input: &mut Input<'_>, rows: usize) -> Result<MetadataColumn, String> {
    let keys = input.u32()?;
    let mut column = MetadataColumn::default();
    for number in 0..keys {
        let key = input.text()?;
        if column.intern(key) != number {
            return Err(format!("the key {key:?} stands there twice"));
        }
    }
    for _ in 0..rows {
        for _ in 0..input.u32()? {
            let key = input.u32()?;
            if key >= keys {
                return Err(format!("key {key} of {keys}"));
            }
            let value = take_value(input)?;
            column.push_cell(key, value);
        }
        column.finish_row();
    }
    if !input.rest.is_empty() {
        return Err(format!("{} bytes of metadata too many", input.rest.len()));
    }
    Ok(column)
}

fn take_value(input: &mut Input<'_>) -> Result<Value, String> {
    let kind = input.u8()?;
    Ok(match kind {
        0 => Value::Null,
        1 => Value::Bool(input.bool()?),
        2 => Value::Int(input.u64()? as i64),
        3 => Value::Float(f64::from_bits(input.u64()?)),
        4 => Value::Str(input.text()?.into()),
        5 => {
            let length = input.u32()? as usize;
            Value::Bools(input.bools(length)?.into())
        }
        6 => Value::Ints(input.numbers()?.into()),
        7 => Value::Floats(input.numbers()?.into()),
        8 => {
            let length = input.u32()?;
            Value::Strs(input.texts(length)?.into())
        }
        9 => {
            let length = input.u32()?;
            let indices: Vec<u32> = input.numbers_of(length)?;
            if !indices.is_sorted_by(|a, b| a < b) {
                return Err("a sparse vector whose indices do not ascend".to_owned());
            }
            Value::from(SparseVector {
                indices,
                values: input.numbers_of(length)?,
                tokens: input.bool()?.then(|| input.texts(length)).transpose()?,
            })
        }
        other => return Err(format!("a value of the unknown type {other}")),
    })
}

/// Bytes that are taken from the front.
struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(bytes)
            .ok_or_else(|| format!("{bytes} bytes expected, {} left", self.rest.len()))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Passes over padding.
    fn zeros(&mut self, count: u8) -> Result<(), String> {
        if self.take(count.into())?.iter().any(|byte| *byte != 0) {
            return Err(format!("{count} zeros expected"));
        }
        Ok(())
    }

    fn u8(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(super::format::u32_at(self.take(4)?, 0))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(super::format::u64_at(self.take(8)?, 0))
    }

    fn length(&mut self) -> Result<usize, String> {
        let length = self.u64()?;
        usize::try_from(length).map_err(|_| format!("the impossible length {length}"))
    }

    fn bool(&mut self) -> Result<bool, String> {
        Ok(self.bools(1)?[0])
    }

    fn bools(&mut self, count: usize) -> Result<Vec<bool>, String> {
        self.take(count)?
            .iter()
            .map(|&byte| match byte {
                0 => Ok(false),
                1 => Ok(true),
                other => Err(format!("{other} is neither true nor false")),
            })
            .collect()
    }

    fn offsets(&mut self, rows: usize) -> Result<Vec<u32>, String> {
        let bytes = rows
            .checked_add(1)
            .and_then(|count| count.checked_mul(4))
            .ok_or("offsets of impossible size")?;
        Ok(pod_collect_to_vec(self.take(bytes)?))
    }

    fn numbers<T: bytemuck::Pod>(&mut self) -> Result<Vec<T>, String> {
        let length = self.u32()?;
        self.numbers_of(length)
    }

    fn numbers_of<T: bytemuck::Pod>(&mut self, length: u32) -> Result<Vec<T>, String> {
        let bytes = (length as usize)
            .checked_mul(size_of::<T>())
            .ok_or("a list of impossible size")?;
        Ok(pod_collect_to_vec(self.take(bytes)?))
    }

    fn text(&mut self) -> Result<&'a str, String> {
        let length = self.u32()? as usize;
        std::str::from_utf8(self.take(length)?).map_err(|cause| format!("text: {cause}"))
    }

    fn texts(&mut self, length: u32) -> Result<Vec<String>, String> {
        (0..length)
            .map(|_| self.text().map(str::to_owned))
            .collect()
    }
}
