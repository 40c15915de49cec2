//! Records made from a seed, with every kind of value, and everything a source tells of them.

use std::sync::Arc;

use roaring::RoaringBitmap;
use vermilion_kernels::random::split_mix;

use super::shelf::Shelf;
use crate::model::{MetadataColumn, Space, SparseVector, Value};
use crate::segments::{
    Chunk, ChunkBuilder, Keys, RowDocument, RowParts, Segment, SegmentSummary, Source,
    write_segment,
};
use crate::{Error, Result};

pub(super) const FOLDER: &str = "segments/collection/segment";

/// A small generator of numbers.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        split_mix(&mut self.0) % below
    }

    fn word(&mut self) -> String {
        let words = [
            "red",
            "green",
            "blue",
            "\u{e4}ther",
            "",
            "a much longer word than the others",
        ];
        words[self.roll(words.len() as u64) as usize].to_owned()
    }

    fn value(&mut self) -> Value {
        let int = |dice: &mut Self| dice.roll(9) as i64 - 4;
        let float = |dice: &mut Self| (dice.roll(17) as f64 - 8.0) / 2.0;
        match self.roll(9) {
            0 => Value::Bool(self.roll(2) == 0),
            1 => Value::Int(int(self)),
            2 => Value::Float(float(self)),
            3 => Value::Str(self.word().into()),
            4 => Value::Bools((0..=self.roll(2)).map(|_| self.roll(2) == 0).collect()),
            5 => Value::Ints((0..=self.roll(3)).map(|_| int(self)).collect()),
            6 => Value::Floats((0..=self.roll(3)).map(|_| float(self)).collect()),
            7 => Value::Strs((0..=self.roll(3)).map(|_| self.word()).collect()),
            _ => Value::from(SparseVector {
                indices: vec![1, 5, 1 << 31],
                values: vec![0.1, -2.5, 1e-30],
                tokens: (self.roll(2) == 0).then(|| vec!["x".into(), "y".into(), "z".into()]),
            }),
        }
    }

    fn metadata(&mut self, row: u64) -> Vec<(String, Value)> {
        let mut cells = vec![
            ("number".to_owned(), Value::Int(row as i64)),
            (
                "id".to_owned(),
                Value::Str(format!("not the id {}", row % 7).into()),
            ),
        ];
        if self.roll(3) > 0 {
            cells.push(("flag".into(), Value::Bool(self.roll(2) == 0)));
        }
        if self.roll(2) == 0 {
            cells.push(("mixed".into(), self.value()));
        }
        if self.roll(2) == 0 {
            cells.push((
                "tags".into(),
                Value::Strs(vec![self.word(), "always".into()].into()),
            ));
        }
        for _ in 0..self.roll(3) {
            let key = format!("rare {}", self.roll(1000));
            if cells.iter().all(|(other, _)| *other != key) {
                cells.push((key, self.value()));
            }
        }
        cells
    }
}

/// What a sample has.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) seed: u64,
    pub(super) rows: u64,
    /// Birth of the first row.
    pub(super) birth: u64,
    /// Whether births ascend with the rows.
    pub(super) ascending: bool,
    pub(super) documents: bool,
}

pub(super) fn chunk(sample: Sample) -> Chunk {
    let mut dice = Dice(sample.seed);
    let mut builder = ChunkBuilder::default();
    for row in 0..sample.rows {
        let birth = if sample.ascending { row } else { row ^ 5 };
        let vector: Vec<f32> = (0..7).map(|_| dice.roll(1000) as f32 / 8.0).collect();
        let long = if dice.roll(40) == 0 {
            20_000
        } else {
            dice.roll(200)
        };
        let document: String = (0..long / 4)
            .map(|_| dice.word())
            .collect::<Vec<_>>()
            .join(" ");
        let uri = format!("file:///{row}");
        let metadata = if dice.roll(10) == 0 {
            Vec::new()
        } else {
            dice.metadata(row)
        };
        let metadata: Vec<(&str, &Value)> = metadata
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .collect();
        builder.push(RowParts {
            id: &format!("record-{}", sample.birth + row),
            birth: sample.birth + birth,
            seq: sample.birth + birth + row % 3,
            vector: &vector,
            document: RowDocument::Own((sample.documents && dice.roll(5) > 0).then_some(&document)),
            uri: (dice.roll(4) == 0).then_some(&uri),
            metadata: &metadata,
        });
    }
    builder.finish()
}

pub(super) fn ascending(seed: u64, rows: u64) -> Chunk {
    chunk(Sample {
        seed,
        rows,
        birth: 1,
        ascending: true,
        documents: true,
    })
}

pub(super) fn all(source: Chunk) -> (Source, Arc<RoaringBitmap>) {
    (Source::Chunk(Arc::new(source)), Arc::default())
}

/// Writes a segment and opens it.
pub(super) fn sealed(
    shelf: &Shelf,
    sources: &[(Source, Arc<RoaringBitmap>)],
) -> (Source, SegmentSummary) {
    let summary = write_segment(shelf, FOLDER, sources, Space::L2, &|| true).unwrap();
    let segment = Segment::open(shelf, FOLDER, summary.toc_checksum).unwrap();
    (Source::Segment(Arc::new(segment)), summary)
}

/// One row and all there is to know of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) birth: u64,
    pub(super) seq: u64,
    pub(super) vector: Vec<f32>,
    pub(super) document: Option<String>,
    pub(super) uri: Option<String>,
    pub(super) metadata: Vec<(String, Value)>,
}

pub(super) fn row(source: &Source, row: u32) -> Result<Row> {
    let mut metadata = MetadataColumn::default();
    source.push_metadata(row, Keys::All, &mut metadata)?;
    assert_eq!(metadata.len(), 1);
    let mut cells: Vec<(String, Value)> = metadata
        .row(0)
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect();
    cells.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Row {
        id: source.id(row)?.to_owned(),
        birth: source.births()?[row as usize],
        seq: source.seqs()?[row as usize],
        vector: source.vector(row)?.to_vec(),
        document: source.document(row)?.map(std::borrow::Cow::into_owned),
        uri: source.uri(row)?.map(str::to_owned),
        metadata: cells,
    })
}

/// All rows of a source.
pub(super) fn rows(source: &Source) -> Vec<Row> {
    (0..source.rows())
        .map(|at| row(source, at).unwrap())
        .collect()
}

/// The error of a result that must not be a success.
pub(super) fn error<T>(result: Result<T>) -> Error {
    result.err().expect("the call fails")
}
