//! Vectors at the edges of what can be: few and many dimensions, zeros, duplicates, huge and tiny
//! numbers; sealed, merged, searched and filtered, at each way to compare.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use vermilion_engine::model::{
    Comparison, Embeddings, Filter, MetadataColumn, NewCollection, Number, Operation,
    OptionalStrings, QueryRequest, Recall, RecordBatch, RecordSelection, Schema, Space, Strings,
    Value,
};
use vermilion_engine::{Config, Database};

use crate::support::{Choices, DATABASE, TENANT, with_scope};

/// Queries of a sample: enough that what they find is near what is to be expected.
const QUERIES: usize = 40;
/// The least that they find of the nearest where 0.95 is asked: what is left of it by chance.
const RECALL_MIN: f64 = 0.93;

const SPACES: [Space; 3] = [Space::L2, Space::Cosine, Space::Ip];

/// Rows that the engine is given, and queries.
struct Sample {
    name: &'static str,
    dimension: usize,
    rows: Vec<f32>,
    queries: Vec<f32>,
    /// Whether true neighbours can be told apart by codes, so that a recall can be asked.
    ranked: bool,
}

fn number(choices: &mut Choices) -> f32 {
    choices.below(2_000_001) as f32 / 1e6 - 1.0
}

fn numbers(choices: &mut Choices, count: usize) -> Vec<f32> {
    (0..count).map(|_| number(choices)).collect()
}

/// Makes a collection of the sample's rows in two segments, one of them merged with what comes
/// after it, and checks what every search must answer.
fn check(sample: &Sample) {
    for space in SPACES {
        let database = filled(sample, space);
        for below in [None, Some(5_i64), Some(1)] {
            check_searches(&database, sample, space, below);
        }
    }
}

fn filled(sample: &Sample, space: Space) -> Database {
    let mut config = Config::in_memory();
    config.upkeep.background = false;
    config.upkeep.merge_fan_out = 2;
    let database = Database::open(config).unwrap();
    let mut schema = Schema::default();
    schema.change_vectors(|vectors| vectors.space = Some(space));
    database
        .create_collection(NewCollection {
            tenant: TENANT.to_owned(),
            database: DATABASE.to_owned(),
            name: "things".to_owned(),
            metadata: None,
            schema,
            get_or_create: false,
        })
        .unwrap();
    let count = sample.rows.len() / sample.dimension;
    let half = count / 2;
    for rows in [0..half, half..count] {
        write(&database, sample, rows);
        database.seal_all().unwrap();
    }
    while database.upkeep().unwrap() {}
    assert_eq!(
        database.statistics().segments,
        1,
        "{} {space:?}",
        sample.name
    );
    database
}

fn write(database: &Database, sample: &Sample, rows: std::ops::Range<usize>) {
    let ids: Vec<String> = rows.clone().map(|row| format!("id{row}")).collect();
    let mut metadata = MetadataColumn::default();
    for row in rows.clone() {
        let key = metadata.intern("n");
        metadata.push_cell(key, Value::Int(row as i64 % 10));
        metadata.finish_row();
    }
    let values = &sample.rows[rows.start * sample.dimension..rows.end * sample.dimension];
    let batch = RecordBatch {
        operations: vec![Operation::Add; rows.len()],
        ids: ids.iter().map(String::as_str).collect::<Strings>(),
        embeddings: Embeddings::new(sample.dimension, values.to_vec()).unwrap(),
        documents: OptionalStrings::absent(rows.len()),
        uris: OptionalStrings::absent(rows.len()),
        metadata,
    };
    with_scope(database, "things", |scope| database.write(scope, batch)).unwrap();
}

/// The distances that a query of the sample is answered with.
fn distances(
    database: &Database,
    sample: &Sample,
    below: Option<i64>,
    recall: Recall,
) -> Vec<(Vec<f32>, Vec<String>)> {
    let filter = below.map(|limit| Filter::Metadata {
        key: "n".to_owned(),
        comparison: Comparison::Less(Number::Int(limit)),
    });
    let request = QueryRequest {
        embeddings: Embeddings::new(sample.dimension, sample.queries.clone()).unwrap(),
        n_results: 10,
        selection: RecordSelection { ids: None, filter },
        recall: Some(recall),
        ..QueryRequest::default()
    };
    let found = with_scope(database, "things", |scope| database.query(scope, &request));
    let found = found.unwrap().into_iter();
    found
        .map(|one| {
            let ids = one.records.ids.iter().map(str::to_owned).collect();
            (one.distances, ids)
        })
        .collect()
}

fn check_searches(database: &Database, sample: &Sample, space: Space, below: Option<i64>) {
    let label = format!("{} {space:?} {below:?}", sample.name);
    let truth = distances(database, sample, below, Recall::EXACT);
    let found = distances(database, sample, below, Recall::default());
    let (mut hits, mut wanted) = (0, 0);
    for ((truth, _), (found, ids)) in truth.iter().zip(&found) {
        assert_eq!(found.len(), truth.len(), "{label}");
        assert!(found.iter().all(|distance| distance.is_finite()), "{label}");
        assert!(found.is_sorted(), "{label}");
        for id in ids {
            let row: i64 = id[2..].parse().unwrap();
            assert!(
                below.is_none_or(|limit| row % 10 < limit),
                "{label}: {id} is filtered out"
            );
        }
        let reach = *truth.last().unwrap();
        hits += found.iter().filter(|distance| **distance <= reach).count();
        wanted += truth.len();
    }
    let recall = hits as f64 / wanted as f64;
    assert!(
        !sample.ranked || recall >= RECALL_MIN,
        "{label}: recall {recall}"
    );
}

fn random(name: &'static str, dimension: usize, count: usize) -> Sample {
    let mut choices = Choices(dimension as u64 + 1);
    Sample {
        name,
        dimension,
        rows: numbers(&mut choices, count * dimension),
        queries: numbers(&mut choices, QUERIES * dimension),
        ranked: true,
    }
}

#[test]
fn few_dimensions_are_searched() {
    for dimension in [1, 2, 3, 15, 16, 31] {
        check(&random("few dimensions", dimension, 2_600));
    }
}

#[test]
fn the_most_dimensions_are_searched() {
    // Few rows have no index, which is also an answer; the unit tests build one of this size.
    check(&random("most dimensions", 65_535, 24));
}

#[test]
fn zero_vectors_among_others_are_searched() {
    let mut sample = random("zeros", 24, 2_600);
    for row in sample.rows.chunks_exact_mut(24).step_by(3) {
        row.fill(0.0);
    }
    sample.queries[..24].fill(0.0);
    check(&sample);
}

#[test]
fn only_zero_vectors_are_searched() {
    let mut sample = random("only zeros", 24, 2_600);
    sample.rows.fill(0.0);
    check(&sample);
}

#[test]
fn duplicates_by_the_thousand_are_searched() {
    let mut sample = random("duplicates", 24, 4_000);
    let first: Vec<f32> = sample.rows[..24].to_vec();
    for row in sample.rows.chunks_exact_mut(24).skip(1).step_by(2) {
        row.copy_from_slice(&first);
    }
    sample.queries[..24].copy_from_slice(&first);
    check(&sample);
}

#[test]
fn vectors_that_are_all_equal_are_searched() {
    let mut sample = random("all equal", 24, 2_600);
    let first: Vec<f32> = sample.rows[..24].to_vec();
    for row in sample.rows.chunks_exact_mut(24) {
        row.copy_from_slice(&first);
    }
    check(&sample);
}

#[test]
fn dimensions_that_are_constant_are_searched() {
    let mut sample = random("constant", 40, 2_600);
    for row in sample.rows.chunks_exact_mut(40) {
        row[5..].fill(7.0);
    }
    for query in sample.queries.chunks_exact_mut(40) {
        query[5..].fill(7.0);
    }
    check(&sample);
}

#[test]
fn huge_vectors_are_searched() {
    for (name, scale) in [("1e15", 1e15), ("1e30", 1e30), ("1e38", 1e38)] {
        let mut sample = random(name, 24, 2_600);
        sample.rows.iter_mut().for_each(|number| *number *= scale);
        check(&sample);
        sample
            .queries
            .iter_mut()
            .for_each(|number| *number *= scale);
        check(&sample);
    }
}

#[test]
fn a_few_huge_vectors_among_usual_ones_are_searched() {
    for scale in [1e12, 1e30] {
        let mut sample = random("few huge", 24, 2_600);
        for row in sample.rows.chunks_exact_mut(24).step_by(500) {
            row.iter_mut().for_each(|number| *number *= scale);
        }
        check(&sample);
    }
}

#[test]
fn tiny_vectors_are_searched() {
    for (name, scale) in [("1e-15", 1e-15), ("1e-30", 1e-30), ("denormal", 1e-42)] {
        let mut sample = random(name, 24, 2_600);
        sample.rows.iter_mut().for_each(|number| *number *= scale);
        // Squares of such numbers are nothing, and distances between them no more.
        sample.ranked = scale > 1e-20;
        check(&sample);
        sample
            .queries
            .iter_mut()
            .for_each(|number| *number *= scale);
        check(&sample);
    }
}
