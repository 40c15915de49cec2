//! The vectors of a Chroma collection: its HNSW files, and after them its queue of operations.
//!
//! What must stay true: files are read, never trusted: a length or an offset that does not fit is an
//! error by name. An HNSW index of a cosine collection holds vectors of length one, and their lengths
//! beside them (`length.bin`, `f32` by element): vectors here are the products, as Chroma answers them.
//!
//! The header of `header.bin` is that of hnswlib after a version: numbers of 8 bytes for the offset of
//! the lowest level, the room, the elements, the bytes of an element, where its label is and where its
//! vector is. `index_metadata.pickle` tells which id has which label.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::Connection;
use serde::Deserialize;

use crate::failure::Failure;

/// Where a vector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In this element of the index.
    Element(u64),
    /// In the queue's operation with this number.
    Queue(i64),
}

/// Where the vector of each id is.
type Places = HashMap<String, At>;

/// The vectors of one collection, by id.
pub(super) struct Vectors {
    index: Option<Index>,
    at: Places,
}

/// What an operation of the queue does, by its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Update,
    Upsert,
    Delete,
}

impl Operation {
    pub(super) fn of(number: i64) -> Result<Self, Failure> {
        match number {
            0 => Ok(Self::Add),
            1 => Ok(Self::Update),
            2 => Ok(Self::Upsert),
            3 => Ok(Self::Delete),
            other => Err(Failure::new(format!(
                "an operation of the queue has the unknown number {other}"
            ))),
        }
    }
}

impl Vectors {
    /// The vectors in the index in `folder`, if one was ever written, changed by the operations of
    /// `topic` after `applied`.
    pub(super) fn open(
        folder: &Path,
        connection: &Connection,
        topic: &str,
        applied: i64,
        cosine: bool,
    ) -> Result<Self, Failure> {
        let (index, mut at) = match Index::open(folder, cosine)? {
            Some((index, at)) => (Some(index), at),
            None => (None, HashMap::new()),
        };
        let applied = if index.is_some() { applied } else { -1 };
        let mut statement = connection.prepare(
            "SELECT seq_id, operation, id, vector IS NOT NULL FROM embeddings_queue \
             WHERE topic = ?1 AND seq_id > ?2 ORDER BY seq_id",
        )?;
        let mut rows = statement.query((topic, applied))?;
        while let Some(row) = rows.next()? {
            let (seq, id): (i64, String) = (row.get(0)?, row.get(2)?);
            let has_vector: bool = row.get(3)?;
            let known = at.contains_key(&id);
            match Operation::of(row.get(1)?)? {
                Operation::Delete => {
                    at.remove(&id);
                }
                Operation::Add if known => {}
                Operation::Update if !known => {}
                _ if has_vector => {
                    at.insert(id, At::Queue(seq));
                }
                _ => {}
            }
        }
        Ok(Self { index, at })
    }

    /// The vector of `id`; empty where there is none.
    pub(super) fn get(&self, connection: &Connection, id: &str) -> Result<Vec<f32>, Failure> {
        match (self.at.get(id), &self.index) {
            (None, _) | (Some(At::Element(_)), None) => Ok(Vec::new()),
            (Some(At::Element(element)), Some(index)) => index.vector(*element),
            (Some(At::Queue(seq)), _) => {
                let mut statement = connection.prepare_cached(
                    "SELECT vector, encoding FROM embeddings_queue WHERE seq_id = ?1",
                )?;
                let (bytes, encoding): (Vec<u8>, String) =
                    statement.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
                decode(&bytes, &encoding)
            }
        }
    }
}

fn decode(bytes: &[u8], encoding: &str) -> Result<Vec<f32>, Failure> {
    let (words, rest) = bytes.as_chunks::<4>();
    let numbers = words.iter();
    match encoding {
        _ if !rest.is_empty() => Err(Failure::new("a vector of the queue is cut off")),
        "FLOAT32" => Ok(numbers.map(|word| f32::from_le_bytes(*word)).collect()),
        "INT32" => Ok(numbers
            .map(|word| i32::from_le_bytes(*word) as f32)
            .collect()),
        other => Err(Failure::new(format!(
            "a vector of the queue has the unknown encoding {other}"
        ))),
    }
}

/// What `index_metadata.pickle` tells.
#[derive(Deserialize)]
struct Labels {
    id_to_label: HashMap<String, u64>,
}

/// The lowest level of an HNSW index, which holds the vectors.
struct Index {
    file: File,
    path: String,
    element_bytes: u64,
    vector_offset: u64,
    vector_bytes: usize,
    /// What each vector was divided by; none where they are as they were given.
    lengths: Option<File>,
}

impl Index {
    /// The index in `folder` and where each id is in it; `None` where none was written yet.
    fn open(folder: &Path, cosine: bool) -> Result<Option<(Self, Places)>, Failure> {
        let labels = folder.join("index_metadata.pickle");
        if !labels.exists() {
            return Ok(None);
        }
        let reading = |path: &Path| format!("cannot read {}", path.display());
        let bytes = std::fs::read(&labels)
            .map_err(|error| Failure::from(error).context(reading(&labels)))?;
        let options = serde_pickle::DeOptions::new().replace_unresolved_globals();
        let known: Labels = serde_pickle::from_slice(&bytes, options)
            .map_err(|error| Failure::new(error.to_string()).context(reading(&labels)))?;
        let path = folder.join("header.bin");
        let header =
            std::fs::read(&path).map_err(|error| Failure::from(error).context(reading(&path)))?;
        let word = |number: usize| {
            let at = 4 + number * 8;
            let bytes = header.get(at..at + 8).and_then(|bytes| bytes.first_chunk());
            bytes
                .map(|bytes| u64::from_le_bytes(*bytes))
                .ok_or_else(|| Failure::new(format!("{} is shorter than a header", path.display())))
        };
        let (elements, element_bytes) = (word(2)?, word(3)?);
        let (label_offset, vector_offset) = (word(4)?, word(5)?);
        let path = folder.join("data_level0.bin");
        let file =
            File::open(&path).map_err(|error| Failure::from(error).context(reading(&path)))?;
        let bytes = file.metadata()?.len();
        let vector = label_offset.checked_sub(vector_offset);
        let fits = elements
            .checked_mul(element_bytes)
            .is_some_and(|all| all <= bytes)
            && label_offset
                .checked_add(8)
                .is_some_and(|end| end <= element_bytes);
        let Some(vector_bytes) = vector.filter(|bytes| fits && bytes.is_multiple_of(4)) else {
            return Err(Failure::new(format!(
                "{} does not have the form that its header tells",
                path.display()
            )));
        };
        let lengths = folder.join("length.bin");
        let lengths = (cosine && lengths.exists()).then(|| File::open(&lengths));
        let index = Self {
            lengths: lengths.transpose()?,
            file,
            path: path.display().to_string(),
            element_bytes,
            vector_offset,
            vector_bytes: vector_bytes as usize,
        };
        let at = index.places(elements, label_offset, known.id_to_label)?;
        Ok(Some((index, at)))
    }

    /// Where each id is, by the labels of all elements.
    fn places(
        &self,
        elements: u64,
        label_offset: u64,
        labels: HashMap<String, u64>,
    ) -> Result<Places, Failure> {
        let mut element_of = HashMap::with_capacity(elements as usize);
        for element in 0..elements {
            let mut label = [0; 8];
            self.read(element * self.element_bytes + label_offset, &mut label)?;
            element_of.insert(u64::from_le_bytes(label), element);
        }
        let places = labels.into_iter().filter_map(|(id, label)| {
            let element = element_of.get(&label)?;
            Some((id, At::Element(*element)))
        });
        Ok(places.collect())
    }

    fn vector(&self, element: u64) -> Result<Vec<f32>, Failure> {
        let mut bytes = vec![0; self.vector_bytes];
        self.read(
            element * self.element_bytes + self.vector_offset,
            &mut bytes,
        )?;
        let mut vector = decode(&bytes, "FLOAT32")?;
        if let Some(lengths) = &self.lengths {
            let mut length = [0; 4];
            lengths.read_exact_at(&mut length, element * 4)?;
            let length = f32::from_le_bytes(length);
            vector.iter_mut().for_each(|number| *number *= length);
        }
        Ok(vector)
    }

    fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Failure> {
        self.file
            .read_exact_at(bytes, offset)
            .map_err(|error| Failure::from(error).context(format!("cannot read {}", self.path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_decoded_by_their_encoding_or_refused() {
        let bytes: Vec<u8> = [1.5_f32, -2.0]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        assert_eq!(decode(&bytes, "FLOAT32").unwrap(), [1.5, -2.0]);
        let whole: Vec<u8> = [7_i32, -1].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(decode(&whole, "INT32").unwrap(), [7.0, -1.0]);
        decode(&bytes[..7], "FLOAT32").unwrap_err();
        decode(&bytes, "FLOAT16").unwrap_err();
    }

    #[test]
    fn an_index_whose_files_do_not_fit_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Index::open(folder.path(), false).unwrap().is_none());
        let write =
            |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("index_metadata.pickle", b"no pickle");
        assert!(Index::open(folder.path(), false).is_err());
        let labels = serde_pickle::to_vec(
            &serde_json::json!({"id_to_label": {"a": 1}}),
            serde_pickle::SerOptions::default(),
        );
        write("index_metadata.pickle", &labels.unwrap());
        write("header.bin", &[0; 20]);
        let error = Index::open(folder.path(), false).err().unwrap().to_string();
        assert!(error.contains("header.bin is shorter"), "{error}");
        let header: Vec<u8> = [0_u64, 1, 1, 1 << 60, 8, 0]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        write("header.bin", &[vec![1, 0, 0, 0], header].concat());
        write("data_level0.bin", &[0; 16]);
        let error = Index::open(folder.path(), false).err().unwrap().to_string();
        assert!(
            error.contains("data_level0.bin does not have the form"),
            "{error}"
        );
    }
}
