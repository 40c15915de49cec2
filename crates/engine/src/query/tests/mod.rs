//! Tests of requests against snapshots of several parts with dead rows.

mod indexed;
mod naive;
mod random;
mod requests;
mod search;
mod sparse;
mod survey;

use std::collections::BTreeMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::{Part, Snapshot};
use crate::model::{
    CollectionId, Index, Schema, SegmentId, SeqId, Space, SparseSettings, SparseVectorType, Value,
    ValueTypes,
};
use crate::segments::{Chunk, ChunkBuilder, RowDocument, RowParts, Segment, Source, write_segment};
use crate::storage::{MemoryStorage, Storage};

/// One whole record.
#[derive(Clone, Debug, Default, PartialEq)]
struct Record {
    id: String,
    vector: Vec<f32>,
    document: Option<String>,
    uri: Option<String>,
    metadata: BTreeMap<String, Value>,
}

/// The live records of a collection by birth, and the parts that hold them.
struct World {
    records: BTreeMap<u64, Record>,
    parts: Vec<(Source, RoaringBitmap)>,
    seq: u64,
    dimension: usize,
    storage: MemoryStorage,
}

impl World {
    fn new(dimension: usize) -> Self {
        Self {
            records: BTreeMap::new(),
            parts: Vec::new(),
            seq: 0,
            dimension,
            storage: MemoryStorage::default(),
        }
    }

    fn birth_of(&self, id: &str) -> Option<u64> {
        self.records
            .iter()
            .find(|(_, record)| record.id == id)
            .map(|(birth, _)| *birth)
    }

    fn bury(&mut self, id: &str) {
        for (source, dead) in &mut self.parts {
            if let Some(row) = source.find(id).unwrap() {
                dead.insert(row);
            }
        }
    }

    /// Makes one part of all of them, in memory or on disk, without the dead rows.
    fn join(&mut self, on_disk: bool) {
        let parts: Vec<(Source, Arc<RoaringBitmap>)> = self
            .parts
            .drain(..)
            .map(|(source, dead)| (source, Arc::new(dead)))
            .collect();
        if self.records.is_empty() {
            self.parts = parts
                .into_iter()
                .map(|(source, dead)| (source, (*dead).clone()))
                .collect();
            return;
        }
        let joined = if on_disk {
            let (collection, id) = (CollectionId::random(), SegmentId::random());
            let folder = Segment::folder(collection, id);
            self.storage
                .create_dir(&format!("segments/{collection}"))
                .unwrap();
            let summary =
                write_segment(&self.storage, &folder, &parts, &schema(Space::L2), &|| true)
                    .unwrap();
            let segment = Segment::open(&self.storage, &folder, summary.toc_checksum).unwrap();
            Source::Segment(Arc::new(segment))
        } else {
            Source::Chunk(Arc::new(Chunk::join(&parts).unwrap()))
        };
        self.parts.push((joined, RoaringBitmap::new()));
    }

    /// Applies a batch as one more part: records to upsert, each id once.
    fn upsert(&mut self, batch: &[Record]) {
        let mut builder = ChunkBuilder::default();
        for record in batch {
            self.bury(&record.id);
            self.seq += 1;
            let birth = self.birth_of(&record.id).unwrap_or(self.seq);
            let metadata: Vec<(&str, &Value)> = record
                .metadata
                .iter()
                .map(|(key, value)| (key.as_str(), value))
                .collect();
            builder.push(RowParts {
                id: &record.id,
                birth,
                seq: self.seq,
                vector: &record.vector,
                document: RowDocument::Own(record.document.as_deref()),
                uri: record.uri.as_deref(),
                metadata: &metadata,
            });
            self.records.insert(birth, record.clone());
        }
        let chunk = Source::Chunk(Arc::new(builder.finish()));
        self.parts.push((chunk, RoaringBitmap::new()));
    }

    fn delete(&mut self, id: &str) {
        self.bury(id);
        if let Some(birth) = self.birth_of(id) {
            self.records.remove(&birth);
        }
    }

    fn snapshot(&self, space: Space) -> Snapshot {
        let parts = self.parts.iter().map(|(source, dead)| Part {
            source: source.clone(),
            dead: Arc::new(dead.clone()),
        });
        Snapshot {
            parts: parts.collect(),
            visible: SeqId(self.seq),
            count: self.records.len() as u64,
            dimension: (!self.parts.is_empty()).then_some(self.dimension as u32),
            schema: Arc::new(schema(space)),
        }
    }
}

/// A schema with two indexes of sparse vectors, the second of which weights dimensions.
fn schema(space: Space) -> Schema {
    let mut schema = Schema::standard(2);
    schema.change_vectors(|vectors| vectors.space = Some(space));
    for (key, bm25) in [("s", false), ("t", true)] {
        schema.keys.insert(key.to_owned(), sparse_index(bm25));
    }
    schema
}

/// A key whose sparse vectors are indexed.
fn sparse_index(bm25: bool) -> ValueTypes {
    let config = SparseSettings {
        bm25: Some(bm25),
        ..SparseSettings::default()
    };
    ValueTypes {
        sparse_vector: Some(SparseVectorType {
            sparse_vector_index: Some(Index {
                enabled: true,
                config,
            }),
        }),
        ..ValueTypes::default()
    }
}
