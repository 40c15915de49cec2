//! Answers to `get`, `query` and `search`, written as JSON text straight from columns.
//!
//! What must stay true: the text is compact; every member is always there, null where its column
//! was not asked for; numbers are the shortest decimals that read back as the same `f32` or `f64`.

use std::io::Write;

use serde::Serialize;
use vermilion_engine::model::{
    Deleted, Embeddings, Fetched, Found, MetadataColumn, Nearest, OptionalStrings, Search,
    SelectMetadata, SeqRange, SparseVector, Value,
};

use crate::reads::Column;

/// Metadata keys of the storage layout, which clients never see.
pub(crate) const HIDDEN_KEYS: &str = "chroma:";

/// Whether clients see the metadata under `key`.
pub fn is_shown(key: &str) -> bool {
    !key.starts_with(HIDDEN_KEYS)
}

/// Appends the member `name` to `object`, a written object that has members.
pub(crate) fn append_member(object: &mut Vec<u8>, name: &str, value: &impl serde::Serialize) {
    object.pop();
    object.extend_from_slice(format!(",\"{name}\":").as_bytes());
    serde_json::to_writer(&mut *object, value).expect("memory takes every write");
    object.push(b'}');
}

/// Writes the answer to `get`.
pub fn write_fetched(fetched: &Fetched, include: &[Column]) -> Vec<u8> {
    let rows = fetched.ids.len();
    let mut writer = Writer::with_capacity(64 + bytes_of(fetched));
    writer.raw("{\"ids\":");
    writer.ids(fetched);
    writer.raw(",\"embeddings\":");
    writer.column(fetched.embeddings.as_ref(), |w, column| {
        w.embeddings(column, rows);
    });
    writer.raw(",\"documents\":");
    writer.column(fetched.documents.as_ref(), Writer::strings);
    writer.raw(",\"uris\":");
    writer.column(fetched.uris.as_ref(), Writer::strings);
    writer.raw(",\"metadatas\":");
    writer.column(fetched.metadatas.as_ref(), Writer::metadata);
    writer.include(include);
    writer.out
}

/// Writes the answer to `query`: for every member a list with an entry for each query vector.
pub fn write_nearest(answers: &[Nearest], include: &[Column]) -> Vec<u8> {
    let bytes: usize = answers.iter().map(|answer| bytes_of(&answer.records)).sum();
    let mut writer = Writer::with_capacity(128 + bytes);
    writer.raw("{\"ids\":");
    writer.list(answers, |w, answer| w.ids(&answer.records));
    writer.raw(",\"embeddings\":");
    writer.nested(
        answers,
        include.contains(&Column::Embeddings),
        |w, answer| {
            let rows = answer.records.ids.len();
            w.column(answer.records.embeddings.as_ref(), |w, column| {
                w.embeddings(column, rows);
            });
        },
    );
    writer.raw(",\"documents\":");
    writer.nested(
        answers,
        include.contains(&Column::Documents),
        |w, answer| {
            w.column(answer.records.documents.as_ref(), Writer::strings);
        },
    );
    writer.raw(",\"uris\":");
    writer.nested(answers, include.contains(&Column::Uris), |w, answer| {
        w.column(answer.records.uris.as_ref(), Writer::strings);
    });
    writer.raw(",\"metadatas\":");
    writer.nested(
        answers,
        include.contains(&Column::Metadatas),
        |w, answer| {
            w.column(answer.records.metadatas.as_ref(), Writer::metadata);
        },
    );
    writer.raw(",\"distances\":");
    writer.nested(
        answers,
        include.contains(&Column::Distances),
        |w, answer| {
            w.list(&answer.distances, Writer::value);
        },
    );
    writer.include(include);
    writer.out
}

/// Writes the answer to `search`: for every member a list with an entry for each search, null where
/// its column is not selected. A score that is no finite number is null.
pub fn write_found(answers: &[Found], searches: &[Search], selected: &[Vec<String>]) -> Vec<u8> {
    let bytes: usize = answers.iter().map(|answer| bytes_of(&answer.records)).sum();
    let mut writer = Writer::with_capacity(128 + bytes);
    let both = || answers.iter().zip(searches);
    writer.raw("{\"ids\":");
    writer.list(answers, |w, answer| w.ids(&answer.records));
    writer.raw(",\"documents\":");
    writer.list(answers, |w, answer| {
        w.column(answer.records.documents.as_ref(), Writer::strings);
    });
    writer.raw(",\"embeddings\":");
    writer.list(answers, |w, answer| {
        let rows = answer.records.ids.len();
        w.column(answer.records.embeddings.as_ref(), |w, column| {
            w.embeddings(column, rows);
        });
    });
    writer.raw(",\"metadatas\":");
    writer.list(both(), |w, (answer, search)| {
        w.column(
            answer.records.metadatas.as_ref(),
            |w, column| match &search.select.metadata {
                SelectMetadata::Keys(keys) => w.metadata_of(column, |key| keys.contains(key)),
                SelectMetadata::Nothing | SelectMetadata::Everything => w.metadata(column),
            },
        );
    });
    writer.raw(",\"scores\":");
    writer.list(both(), |w, (answer, search)| {
        if !search.select.scores {
            return w.raw("null");
        }
        match &answer.scores {
            Some(scores) => w.list(scores, Writer::value),
            None => w.list(0..answer.records.ids.len(), |w, _| w.raw("null")),
        }
    });
    writer.raw(",\"select\":");
    writer.value(selected);
    writer.raw("}");
    writer.out
}

/// Bytes that an answer will take, near enough to make room for it once.
fn bytes_of(fetched: &Fetched) -> usize {
    let rows = fetched.ids.len();
    let numbers = fetched
        .embeddings
        .as_ref()
        .map_or(0, |column| column.values().len());
    let text = |column: &Option<OptionalStrings>| {
        column
            .as_ref()
            .map_or(0, |column| column.values().text().len())
    };
    let cells = fetched
        .metadatas
        .as_ref()
        .map_or(0, MetadataColumn::cell_count);
    fetched.ids.text().len()
        + rows * 20
        + numbers * 13
        + (text(&fetched.documents) + text(&fetched.uris)) * 17 / 16
        + cells * 32
}

/// Some cells of a record as a JSON object.
pub(crate) fn metadata_text<'a>(cells: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    let mut writer = Writer::with_capacity(64);
    writer.raw("{");
    for (number, (key, value)) in cells.enumerate() {
        if number > 0 {
            writer.raw(",");
        }
        writer.text(key);
        writer.raw(":");
        writer.cell(value);
    }
    writer.raw("}");
    String::from_utf8(writer.out).expect("JSON that was made of texts is text")
}

struct Writer {
    out: Vec<u8>,
}

impl Writer {
    fn with_capacity(bytes: usize) -> Self {
        Self {
            out: Vec::with_capacity(bytes),
        }
    }

    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        serde_json::to_writer(&mut self.out, value).expect("scalars can be written to memory");
    }

    fn text(&mut self, text: &str) {
        self.value(text);
    }

    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.out.push(b'[');
        for (number, item) in items.into_iter().enumerate() {
            if number > 0 {
                self.out.push(b',');
            }
            write(self, item);
        }
        self.out.push(b']');
    }

    /// A column, or null where it was not asked for.
    fn column<T>(&mut self, column: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        match column {
            Some(column) => write(self, column),
            None => self.raw("null"),
        }
    }

    /// An entry for each query vector, or null where the column was not asked for.
    fn nested(
        &mut self,
        answers: &[Nearest],
        included: bool,
        write: impl FnMut(&mut Self, &Nearest),
    ) {
        if included {
            self.list(answers, write);
        } else {
            self.raw("null");
        }
    }

    fn ids(&mut self, fetched: &Fetched) {
        self.list(fetched.ids.iter(), Self::text);
    }

    fn strings(&mut self, column: &OptionalStrings) {
        self.list(column.iter(), |w, text| match text {
            Some(text) => w.text(text),
            None => w.raw("null"),
        });
    }

    fn embeddings(&mut self, column: &Embeddings, rows: usize) {
        self.list(0..rows, |w, row| match column.get(row) {
            Some(vector) => w.list(vector, Writer::value),
            None => w.raw("null"),
        });
    }

    fn metadata(&mut self, column: &MetadataColumn) {
        self.metadata_of(column, |_| true);
    }

    /// The metadata under the keys that are `shown`.
    fn metadata_of(&mut self, column: &MetadataColumn, shown: impl Fn(&str) -> bool) {
        // Each key is escaped once, whatever number of records has it.
        let keys: Vec<Option<Vec<u8>>> = column
            .keys()
            .iter()
            .map(|key| {
                let escaped = || serde_json::to_vec(&**key).expect("a string is always JSON");
                (is_shown(key) && shown(key)).then(escaped)
            })
            .collect();
        self.list(0..column.len(), |w, row| {
            let before = w.out.len();
            for (key, value) in column.cells(row) {
                if let Some(key) = &keys[*key as usize] {
                    w.out.push(if w.out.len() == before { b'{' } else { b',' });
                    w.out.extend_from_slice(key);
                    w.out.push(b':');
                    w.cell(value);
                }
            }
            w.raw(if w.out.len() == before { "null" } else { "}" });
        });
    }

    fn cell(&mut self, value: &Value) {
        match value {
            Value::Null => self.raw("null"),
            Value::Bool(value) => self.value(value),
            Value::Int(value) => self.value(value),
            Value::Float(value) => self.value(value),
            Value::Str(value) => self.text(value),
            Value::Bools(list) => self.value(list),
            Value::Ints(list) => self.value(list),
            Value::Floats(list) => self.value(list),
            Value::Strs(list) => self.value(list),
            Value::Sparse(sparse) => self.sparse(sparse),
        }
    }

    fn sparse(&mut self, sparse: &SparseVector) {
        self.raw("{\"#type\":\"sparse_vector\",\"indices\":");
        self.value(&sparse.indices);
        self.raw(",\"values\":");
        self.value(&sparse.values);
        if let Some(tokens) = &sparse.tokens {
            self.raw(",\"tokens\":");
            self.value(tokens);
        }
        self.raw("}");
    }

    /// The last member, which echoes what was asked for, and the end of the object.
    fn include(&mut self, include: &[Column]) {
        self.raw(",\"include\":");
        self.value(include);
        self.raw("}");
    }
}

/// Writes the answer to `add`, `upsert` and `update`: an object that clients take for an empty one,
/// with the SeqIds of the batch, if it had records.
pub fn write_written(seqs: Option<SeqRange>) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.push(b'{');
    write_seqs(&mut out, seqs);
    out.push(b'}');
    out
}

/// Writes the answer to `delete`.
pub fn write_deleted(deleted: &Deleted) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    write!(out, "{{\"deleted\":{}", deleted.count).expect("memory takes every write");
    if deleted.seqs.is_some() {
        out.push(b',');
    }
    write_seqs(&mut out, deleted.seqs);
    if let Some(ids) = &deleted.ids {
        out.extend_from_slice(b",\"ids\":");
        let ids: Vec<&str> = ids.iter().collect();
        serde_json::to_writer(&mut out, &ids).expect("memory takes every write");
    }
    out.push(b'}');
    out
}

fn write_seqs(out: &mut Vec<u8>, seqs: Option<SeqRange>) {
    if let Some(SeqRange { first, last }) = seqs {
        write!(out, "\"first_seq_id\":{first},\"last_seq_id\":{last}")
            .expect("memory takes every write");
    }
}

#[cfg(test)]
mod tests;
