//! The payload of a frame: a batch of records as columns, little-endian.
//!
//! What must stay true: [`decode`] never panics and never reads past its input, whatever the
//! bytes are; the vectors are neither copied nor converted by [`encode`]. The layout is drawn in
//! `docs/format.md`.

use std::sync::Arc;

use crate::model::{
    Embeddings, MetadataColumn, Operation, OptionalStrings, RecordBatch, SparseVector, Strings,
    Value,
};

/// An encoded batch: what stands before the vectors, the vectors in the batch itself, the rest.
pub(super) struct Payload {
    before: Vec<u8>,
    batch: Arc<RecordBatch>,
    after: Vec<u8>,
}

impl Payload {
    /// The payload's parts, to be written one after the other.
    pub(super) fn parts(&self) -> [&[u8]; 3] {
        [
            &self.before,
            bytemuck::cast_slice(self.batch.embeddings.values()),
            &self.after,
        ]
    }

    /// Bytes in all.
    pub(super) fn bytes(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    /// The checksum of all parts.
    pub(super) fn checksum(&self) -> u32 {
        self.parts()
            .iter()
            .fold(0, |sum, part| crc32c::crc32c_append(sum, part))
    }
}

/// Encodes `batch`, whose vector block is used where it lies.
pub(super) fn encode(batch: Arc<RecordBatch>) -> Payload {
    let mut before = Vec::with_capacity(64 + batch.ids.text().len() + batch.len() * 5);
    put_u32(&mut before, batch.len());
    before.extend(batch.operations.iter().map(|operation| *operation as u8));
    put_strings(&mut before, &batch.ids);
    put_u32(&mut before, batch.embeddings.dimension());
    match batch.embeddings.present() {
        Some(present) => {
            before.push(1);
            before.extend(present.iter().map(|&present| u8::from(present)));
        }
        None => before.push(0),
    }
    put_u32(&mut before, batch.embeddings.values().len());
    let text = batch.documents.values().text().len() + batch.uris.values().text().len();
    let mut after =
        Vec::with_capacity(64 + text + batch.len() * 10 + batch.metadata.cell_count() * 24);
    put_optional(&mut after, &batch.documents);
    put_optional(&mut after, &batch.uris);
    put_metadata(&mut after, &batch.metadata);
    Payload {
        before,
        batch,
        after,
    }
}

/// The batch that `bytes` hold, or what is wrong with them.
pub(super) fn decode(bytes: &[u8]) -> Result<RecordBatch, &'static str> {
    let mut reader = Reader { rest: bytes };
    let rows = reader.count(1)?;
    let operations = reader
        .take(rows)?
        .iter()
        .map(|&number| Operation::from_number(number).ok_or("an unknown operation"))
        .collect::<Result<Vec<_>, _>>()?;
    let ids = reader.strings(rows)?;
    let dimension = reader.number()? as usize;
    let present = match reader.byte()? {
        0 => None,
        _ => Some(reader.flags(rows)?),
    };
    let numbers = reader.count(4)?;
    let values: Vec<f32> = bytemuck::allocation::pod_collect_to_vec(reader.take(numbers * 4)?);
    let embeddings = match present {
        Some(present) => Embeddings::with_absent(dimension, values, present),
        None => Embeddings::new(dimension, values),
    }
    .filter(|embeddings| embeddings.is_empty() || embeddings.len() == rows)
    .ok_or("vectors of another number than there are records")?;
    let documents = reader.optional(rows)?;
    let uris = reader.optional(rows)?;
    let metadata = reader.metadata(rows)?;
    if !reader.rest.is_empty() {
        return Err("bytes after the end of the batch");
    }
    Ok(RecordBatch {
        operations,
        ids,
        embeddings,
        documents,
        uris,
        metadata,
    })
}

fn put_u32(to: &mut Vec<u8>, number: usize) {
    let number = u32::try_from(number).expect("a batch holds under 4 GiB in each column");
    to.extend_from_slice(&number.to_le_bytes());
}

fn put_text(to: &mut Vec<u8>, text: &str) {
    put_u32(to, text.len());
    to.extend_from_slice(text.as_bytes());
}

fn put_strings(to: &mut Vec<u8>, strings: &Strings) {
    to.extend_from_slice(bytemuck::cast_slice(strings.offsets()));
    put_text(to, strings.text());
}

fn put_optional(to: &mut Vec<u8>, strings: &OptionalStrings) {
    to.push(u8::from(!strings.all_absent()));
    if !strings.all_absent() {
        to.extend(strings.present().iter().map(|&present| u8::from(present)));
        put_strings(to, strings.values());
    }
}

fn put_metadata(to: &mut Vec<u8>, metadata: &MetadataColumn) {
    put_u32(to, metadata.keys().len());
    metadata.keys().iter().for_each(|key| put_text(to, key));
    for row in 0..metadata.len() {
        let cells = metadata.cells(row);
        put_u32(to, cells.len());
        for (key, value) in cells {
            put_u32(to, *key as usize);
            put_value(to, value);
        }
    }
}

fn put_value(to: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => to.push(0),
        Value::Bool(flag) => to.extend([1, u8::from(*flag)]),
        Value::Int(number) => {
            to.push(2);
            to.extend_from_slice(&number.to_le_bytes());
        }
        Value::Float(number) => {
            to.push(3);
            to.extend_from_slice(&number.to_le_bytes());
        }
        Value::Str(text) => {
            to.push(4);
            put_text(to, text);
        }
        Value::Bools(list) => {
            to.push(5);
            put_u32(to, list.len());
            to.extend(list.iter().map(|&flag| u8::from(flag)));
        }
        Value::Ints(list) => {
            to.push(6);
            put_u32(to, list.len());
            to.extend_from_slice(bytemuck::cast_slice(list));
        }
        Value::Floats(list) => {
            to.push(7);
            put_u32(to, list.len());
            to.extend_from_slice(bytemuck::cast_slice(list));
        }
        Value::Strs(list) => {
            to.push(8);
            put_u32(to, list.len());
            list.iter().for_each(|text| put_text(to, text));
        }
        Value::Sparse(sparse) => {
            to.push(9);
            put_u32(to, sparse.indices.len());
            to.extend_from_slice(bytemuck::cast_slice(&sparse.indices));
            put_u32(to, sparse.values.len());
            to.extend_from_slice(bytemuck::cast_slice(&sparse.values));
            to.push(u8::from(sparse.tokens.is_some()));
            if let Some(tokens) = &sparse.tokens {
                put_u32(to, tokens.len());
                tokens.iter().for_each(|text| put_text(to, text));
            }
        }
    }
}

/// What is left to be read.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self
            .rest
            .split_at_checked(bytes)
            .ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u32, &'static str> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A number of items of at least `item_bytes` bytes each, which must all still be there: no
    /// number read from damaged bytes makes the reader reserve more than it was given.
    fn count(&mut self, item_bytes: usize) -> Result<usize, &'static str> {
        let count = self.number()? as usize;
        if count
            .checked_mul(item_bytes)
            .is_none_or(|bytes| bytes > self.rest.len())
        {
            return Err("it counts more than it holds");
        }
        Ok(count)
    }

    fn flags(&mut self, rows: usize) -> Result<Vec<bool>, &'static str> {
        Ok(self.take(rows)?.iter().map(|&byte| byte != 0).collect())
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        let bytes = self.count(1)?;
        std::str::from_utf8(self.take(bytes)?).map_err(|_| "text that is no UTF-8")
    }

    fn strings(&mut self, rows: usize) -> Result<Strings, &'static str> {
        let offsets = rows.checked_add(1).and_then(|count| count.checked_mul(4));
        let offsets =
            bytemuck::allocation::pod_collect_to_vec(self.take(offsets.ok_or("too many rows")?)?);
        let text = self.text()?.to_owned();
        Strings::from_parts(offsets, text).ok_or("strings with impossible offsets")
    }

    fn optional(&mut self, rows: usize) -> Result<OptionalStrings, &'static str> {
        if self.byte()? == 0 {
            return Ok(OptionalStrings::absent(rows));
        }
        let present = self.flags(rows)?;
        let values = self.strings(rows)?;
        OptionalStrings::from_parts(values, present).ok_or("strings of another number of rows")
    }

    fn metadata(&mut self, rows: usize) -> Result<MetadataColumn, &'static str> {
        let mut column = MetadataColumn::default();
        let keys = self.count(4)?;
        for _ in 0..keys {
            let key = self.text()?;
            column.intern(key);
        }
        if column.keys().len() != keys {
            return Err("a metadata key that stands twice");
        }
        for _ in 0..rows {
            for _ in 0..self.count(5)? {
                let key = self.number()?;
                if key as usize >= keys {
                    return Err("a metadata key that is not there");
                }
                column.push_cell(key, self.value()?);
            }
            column.finish_row();
        }
        Ok(column)
    }

    fn value(&mut self) -> Result<Value, &'static str> {
        Ok(match self.byte()? {
            0 => Value::Null,
            1 => Value::Bool(self.byte()? != 0),
            2 => Value::Int(i64::from_le_bytes(self.eight()?)),
            3 => Value::Float(f64::from_le_bytes(self.eight()?)),
            4 => Value::Str(self.text()?.into()),
            5 => {
                let count = self.count(1)?;
                Value::Bools(self.flags(count)?)
            }
            6 => {
                let count = self.count(8)?;
                Value::Ints(bytemuck::allocation::pod_collect_to_vec(
                    self.take(count * 8)?,
                ))
            }
            7 => {
                let count = self.count(8)?;
                Value::Floats(bytemuck::allocation::pod_collect_to_vec(
                    self.take(count * 8)?,
                ))
            }
            8 => Value::Strs(self.texts()?),
            9 => {
                let count = self.count(4)?;
                let indices = bytemuck::allocation::pod_collect_to_vec(self.take(count * 4)?);
                let count = self.count(4)?;
                let values = bytemuck::allocation::pod_collect_to_vec(self.take(count * 4)?);
                let tokens = if self.byte()? == 0 {
                    None
                } else {
                    Some(self.texts()?)
                };
                Value::Sparse(SparseVector {
                    indices,
                    values,
                    tokens,
                })
            }
            _ => return Err("a metadata value of unknown type"),
        })
    }

    fn eight(&mut self) -> Result<[u8; 8], &'static str> {
        Ok(self.take(8)?.try_into().expect("eight bytes were taken"))
    }

    fn texts(&mut self) -> Result<Vec<String>, &'static str> {
        let count = self.count(4)?;
        (0..count).map(|_| self.text().map(str::to_owned)).collect()
    }
}
