//! Rows come back from chunks and segments as they went in.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::sample::{FOLDER, Sample, all, ascending, chunk, error, row, rows, sealed};
use super::shelf::Shelf;
use crate::ErrorKind;
use crate::model::{SeqId, Space, Value};
use crate::segments::{Chunk, ChunkBuilder, RowDocument, RowParts, Segment, Source, write_segment};
use crate::storage::{DiskStorage, MemoryStorage, Storage};

fn by_birth(mut rows: Vec<super::sample::Row>) -> Vec<super::sample::Row> {
    rows.sort_by_key(|row| row.birth);
    rows
}

#[test]
fn a_segment_holds_the_rows_of_its_chunk() {
    for (seed, count) in [(1, 1), (2, 63), (3, 64), (4, 65), (5, 1500)] {
        let source = all(ascending(seed, count));
        let (segment, summary) = sealed(&Shelf::default(), std::slice::from_ref(&source));
        assert_eq!(rows(&segment), rows(&source.0));
        assert_eq!(summary.rows, count as u32);
        assert_eq!(summary.row_of, [(0..count as u32).collect::<Vec<_>>()]);
        assert_eq!(segment.last_seq(), source.0.last_seq());
        assert_eq!(segment.dimension(), 7);
        assert_eq!(
            segment.vectors(0, count as u32).unwrap(),
            source.0.vectors(0, count as u32).unwrap()
        );
    }
}

#[test]
fn ids_are_found_where_they_are_and_others_are_not() {
    let source = all(ascending(6, 700));
    let (segment, _) = sealed(&Shelf::default(), std::slice::from_ref(&source));
    for source in [&source.0, &segment] {
        for row in 0..source.rows() {
            assert_eq!(source.find(source.id(row).unwrap()).unwrap(), Some(row));
        }
        for id in ["", "record-", "record-0", "record-701", "Record-1"] {
            assert_eq!(source.find(id).unwrap(), None, "{id:?}");
        }
    }
}

#[test]
fn a_segment_is_ordered_by_birth_and_a_chunk_tells_the_order() {
    let unordered = chunk(Sample {
        seed: 7,
        rows: 96,
        birth: 1,
        ascending: false,
        documents: true,
    });
    let source = all(unordered);
    let order = source
        .0
        .order()
        .unwrap()
        .expect("births do not ascend")
        .to_vec();
    let births = source.0.births().unwrap();
    assert!(order.is_sorted_by_key(|&row| births[row as usize]));
    let (segment, summary) = sealed(&Shelf::default(), std::slice::from_ref(&source));
    assert_eq!(segment.order().unwrap(), None);
    assert_eq!(rows(&segment), by_birth(rows(&source.0)));
    for (from, &to) in summary.row_of[0].iter().enumerate() {
        assert_eq!(
            row(&source.0, from as u32).unwrap(),
            row(&segment, to).unwrap()
        );
    }
}

/// Two sources whose births interleave, with some rows dead, one of them a segment.
fn parts() -> Vec<(Source, Arc<RoaringBitmap>)> {
    let first = chunk(Sample {
        seed: 8,
        rows: 300,
        birth: 1,
        ascending: true,
        documents: false,
    });
    let (first, _) = sealed(&Shelf::default(), &[all(first)]);
    let second = Sample {
        seed: 9,
        rows: 200,
        birth: 301,
        ascending: false,
        documents: true,
    };
    let dead = |rows: std::ops::Range<u32>| Arc::new(rows.step_by(3).collect::<RoaringBitmap>());
    vec![
        (first, dead(0..300)),
        (Source::Chunk(Arc::new(chunk(second))), dead(1..200)),
        all(ChunkBuilder::default().finish()),
    ]
}

#[test]
fn merging_leaves_out_dead_rows_and_tells_where_the_others_went() {
    let parts = parts();
    let (segment, summary) = sealed(&Shelf::default(), &parts);
    let mut alive = Vec::new();
    for (number, (source, dead)) in parts.iter().enumerate() {
        assert_eq!(summary.row_of[number].len(), source.rows() as usize);
        for from in 0..source.rows() {
            let to = summary.row_of[number][from as usize];
            if dead.contains(from) {
                assert_eq!(to, u32::MAX);
            } else {
                let from = row(source, from).unwrap();
                assert_eq!(from, row(&segment, to).unwrap());
                alive.push(from);
            }
        }
    }
    assert_eq!(rows(&segment), by_birth(alive));
}

#[test]
fn joining_gives_the_chunk_of_the_same_rows_as_merging() {
    let parts = parts();
    let (segment, _) = sealed(&Shelf::default(), &parts);
    let joined = Source::Chunk(Arc::new(Chunk::join(&parts).unwrap()));
    assert_eq!(rows(&joined), rows(&segment));
    assert_eq!(joined.order().unwrap(), None);
}

#[test]
fn nothing_alive_makes_an_empty_segment_that_opens() {
    let dead = Arc::new((0..5).collect::<RoaringBitmap>());
    let source = (all(ascending(10, 5)).0, dead);
    let (segment, summary) = sealed(&Shelf::default(), &[source]);
    assert_eq!((segment.rows(), summary.rows), (0, 0));
    assert_eq!(segment.find("record-1").unwrap(), None);
    assert_eq!(segment.births().unwrap(), [0u64; 0]);
    assert_eq!(segment.last_seq(), SeqId(0));
    let empty = Source::Chunk(Arc::new(Chunk::join(&[]).unwrap()));
    assert_eq!((empty.rows(), empty.find("x").unwrap()), (0, None));
}

#[test]
fn thousands_of_rare_keys_stay_small_and_come_back() {
    let mut builder = ChunkBuilder::default();
    for row in 0..3000u64 {
        let keys: Vec<String> = (0..20)
            .map(|key| format!("key {}", row * 20 + key))
            .collect();
        let value = Value::Int(row as i64);
        let cells: Vec<_> = keys.iter().map(|key| (key.as_str(), &value)).collect();
        builder.push(RowParts {
            id: &row.to_string(),
            birth: row,
            seq: row,
            vector: &[0.0],
            document: RowDocument::Own(None),
            uri: None,
            metadata: &cells,
        });
    }
    let source = all(builder.finish());
    let shelf = Shelf::default();
    let (segment, summary) = sealed(&shelf, std::slice::from_ref(&source));
    assert_eq!(row(&segment, 2999).unwrap(), row(&source.0, 2999).unwrap());
    assert!(summary.bytes < 60_000 * 150, "{} bytes", summary.bytes);
    assert!(
        segment.heap_bytes() < 64 << 10,
        "{} bytes held",
        segment.heap_bytes()
    );
    assert!(
        !shelf
            .0
            .lock()
            .files
            .contains_key(&format!("{FOLDER}/documents.arrow"))
    );
}

#[test]
fn disk_bytes_are_those_of_the_files() {
    let shelf = Shelf::default();
    let (segment, summary) = sealed(&shelf, &[all(ascending(11, 100))]);
    let files: usize = shelf.0.lock().files.values().map(Vec::len).sum();
    let Source::Segment(segment) = segment else {
        unreachable!("a segment was opened")
    };
    assert_eq!(segment.disk_bytes(), files as u64);
    assert_eq!(summary.bytes, files as u64);
}

#[test]
fn other_programs_read_the_columns_as_arrow() {
    use arrow_array::{Array, StringArray, UInt64Array};
    use arrow_ipc::reader::FileReader;
    let shelf = Shelf::default();
    let source = all(ascending(12, 400));
    let (segment, _) = sealed(&shelf, &[source]);
    let expected = rows(&segment);
    let open = |name: &str| {
        let bytes = shelf.0.lock().files[&format!("{FOLDER}/{name}")].clone();
        FileReader::try_new(std::io::Cursor::new(bytes), None).unwrap()
    };
    let records = open("records.arrow")
        .map(Result::unwrap)
        .collect::<Vec<_>>();
    let [records] = &records[..] else {
        panic!("one batch is written, not {}", records.len())
    };
    let text = |batch: &arrow_array::RecordBatch, name: &str| {
        let column = batch.column_by_name(name).expect(name).clone();
        column
            .as_any()
            .downcast_ref::<StringArray>()
            .expect(name)
            .clone()
    };
    let ids = text(records, "id");
    assert!(
        ids.iter()
            .eq(expected.iter().map(|row| Some(row.id.as_str())))
    );
    let uris = text(records, "uri");
    assert!(
        uris.iter()
            .eq(expected.iter().map(|row| row.uri.as_deref()))
    );
    let births = records.column_by_name("birth").unwrap();
    let births = births.as_any().downcast_ref::<UInt64Array>().unwrap();
    assert!(births.iter().eq(expected.iter().map(|row| Some(row.birth))));
    let schema = records.schema();
    let field = schema.field_with_name("id (string)").unwrap();
    assert_eq!(
        field.metadata().get("vermilion.key").map(String::as_str),
        Some("id")
    );
    let documents: Vec<Option<String>> = open("documents.arrow")
        .flat_map(|batch| {
            let column = text(&batch.unwrap(), "document");
            column
                .iter()
                .map(|text| text.map(str::to_owned))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(
        documents
            .iter()
            .eq(expected.iter().map(|row| &row.document))
    );
}

#[test]
fn a_segment_in_a_data_folder_is_read_back_from_its_mapped_files() {
    let folder = tempfile::tempdir().unwrap();
    let disk = DiskStorage::open(folder.path()).unwrap();
    let memory = MemoryStorage::default();
    let source = all(ascending(13, 2500));
    for storage in [&disk as &dyn Storage, &memory] {
        let sources = std::slice::from_ref(&source);
        let summary = write_segment(storage, FOLDER, sources, Space::L2, &|| true).unwrap();
        let segment = Segment::open(storage, FOLDER, summary.toc_checksum).unwrap();
        assert!(segment.verify().is_empty());
        let segment = Source::Segment(Arc::new(segment));
        assert_eq!(rows(&segment), rows(&source.0));
        let again = write_segment(storage, FOLDER, sources, Space::L2, &|| true);
        assert_eq!(error(again).kind(), ErrorKind::AlreadyExists);
        let stopped = write_segment(
            storage,
            "segments/collection/other",
            sources,
            Space::L2,
            &|| false,
        );
        assert_eq!(error(stopped).kind(), ErrorKind::Busy);
        assert!(!storage.exists("segments/collection/other").unwrap());
    }
}
