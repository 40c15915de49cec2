//! Measures filters of metadata: prints one JSON object for each filter, with the time of the first request
//! and of those that come again. Times are of this thread's processor (Linux).
//!
//! `cargo run --release -p vermilion-engine --example filters -- ROWS [DIMENSION]` writes ROWS records of 10
//! fields to a database in memory, and asks for the first ten that pass each filter. With vectors of DIMENSION
//! numbers it asks for the ten nearest that pass too, and again once some records are deleted.

#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

#[allow(dead_code, reason = "each program uses some of it")]
mod support;

use support::{cpu_seconds, fill, scope_of};
use vermilion_engine::Database;
use vermilion_engine::model::{
    CollectionScope, Comparison, Embeddings, Filter, GetRequest, MetadataColumn, Number, Operation,
    OptionalStrings, QueryRequest, RecordBatch, RecordSelection, Scalar, Schema, Value,
};

const BATCH: usize = 20_000;

/// A number that follows from `row` and looks random.
fn mixed(row: usize, of: u64) -> u64 {
    let mut z = (row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ of.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn name(row: usize) -> String {
    format!("user-{:07}", mixed(row, 6) % 10_000_000)
}

/// The 10 fields of a record: numbers, texts and lists with few and with many distinct values.
fn fields(row: usize) -> [(&'static str, Value); 10] {
    let below = |of: u64, end: u64| mixed(row, of) % end;
    let tags: Vec<String> = (0..3)
        .map(|at| format!("tag{}", below(10 + at, 50)))
        .collect();
    [
        ("number", Value::Int(row as i64)),
        ("time", Value::Int(below(1, 2_000_000_000) as i64)),
        ("group", Value::Int(below(2, 1000) as i64)),
        ("year", Value::Int(1990 + below(3, 35) as i64)),
        ("price", Value::Float(below(4, 100_000_000) as f64 / 100.0)),
        ("name", Value::Str(name(row).into())),
        (
            "city",
            Value::Str(format!("city {}", below(7, 5000)).into()),
        ),
        ("kind", Value::Str(format!("kind {}", below(8, 8)).into())),
        ("open", Value::Bool(below(9, 2) == 0)),
        ("tags", Value::Strs(tags.into())),
    ]
}

/// A vector near one of 1,000 points.
fn vector(row: usize, dimension: usize) -> Vec<f32> {
    let number = |of: u64, axis: usize| mixed(axis, of) as f32 / u64::MAX as f32 - 0.5;
    let point = 1000 + row as u64 % 1000;
    (0..dimension)
        .map(|axis| number(point, axis) + 0.3 * number(10_000 + row as u64, axis))
        .collect()
}

fn batch(first: usize, rows: usize, dimension: usize) -> RecordBatch {
    let mut metadata = MetadataColumn::default();
    for row in first..first + rows {
        metadata.push_row(fields(row));
    }
    let ids: Vec<String> = (first..first + rows).map(|row| row.to_string()).collect();
    let vectors = (first..first + rows).flat_map(|row| vector(row, dimension));
    let vectors: Vec<f32> = vectors.collect();
    RecordBatch {
        operations: vec![Operation::Add; rows],
        ids: ids.iter().map(String::as_str).collect(),
        embeddings: Embeddings::new(dimension, vectors).expect("whole rows"),
        documents: OptionalStrings::absent(rows),
        uris: OptionalStrings::absent(rows),
        metadata,
    }
}

fn test(key: &str, comparison: Comparison) -> Filter {
    Filter::Metadata {
        key: key.to_owned(),
        comparison,
    }
}

fn text(text: &str) -> Scalar {
    Scalar::Str(text.to_owned())
}

fn equal(key: &str, value: i64) -> Filter {
    test(key, Comparison::Equal(Scalar::Int(value)))
}

fn between(key: &str, low: f64, high: f64) -> Filter {
    Filter::And(vec![
        test(key, Comparison::GreaterOrEqual(Number::Float(low))),
        test(key, Comparison::Less(Number::Float(high))),
    ])
}

/// Filters of one test, or one range.
fn single(rows: usize) -> Vec<(&'static str, Filter)> {
    let open = Comparison::Equal(Scalar::Bool(true));
    let half = Comparison::Less(Number::Int(1_000_000_000));
    let all = Comparison::GreaterOrEqual(Number::Int(0));
    let dear = Comparison::Greater(Number::Float(250_000.0));
    let one = Comparison::Equal(text(&name(rows / 2)));
    vec![
        ("equal, one row", test("name", one)),
        ("equal, 1 of 1000", equal("group", 77)),
        ("equal, half", test("open", open)),
        (
            "not equal",
            test("city", Comparison::NotEqual(text("city 17"))),
        ),
        ("contains", test("tags", Comparison::Contains(text("tag7")))),
        ("range, few", between("price", 500.0, 600.0)),
        ("range, half of distinct", test("time", half)),
        ("range, all of distinct", test("time", all)),
        ("range, floats", test("price", dear)),
        ("range, years", between("year", 1995.0, 2010.0)),
    ]
}

/// Filters of many operands, and of many tests.
fn many(rows: usize) -> Vec<(&'static str, Filter)> {
    let ten_thousand = || (0..10_000).map(|at| mixed(at, 20) as usize % rows);
    let ints = ten_thousand().map(|row| Scalar::Int(row as i64));
    let ints = Comparison::In(ints.collect());
    let floats = ten_thousand().map(|row| Scalar::Float((row * 97) as f64 / 100.0));
    let names: Vec<Scalar> = ten_thousand().map(|row| Scalar::Str(name(row))).collect();
    let kind = test("kind", Comparison::Equal(text("kind 3")));
    let open = test("open", Comparison::Equal(Scalar::Bool(true)));
    let nest = Filter::And(vec![
        Filter::Or(vec![
            Filter::And(vec![equal("year", 2001), kind]),
            Filter::And(vec![equal("year", 2002), open]),
            Filter::Or(vec![
                equal("group", 7),
                equal("group", 8),
                between("price", 10.0, 5000.0),
            ]),
        ]),
        test("tags", Comparison::Contains(text("tag7"))),
        test("city", Comparison::NotEqual(text("city 17"))),
    ]);
    let pair = |group| {
        Filter::And(vec![
            equal("group", group),
            equal("year", 1990 + group % 35),
        ])
    };
    let all = vec![
        nest.clone(),
        test("time", Comparison::Less(Number::Int(1_000_000_000))),
        test("number", ints.clone()),
        test("name", Comparison::NotIn(names.clone())),
    ];
    vec![
        ("in 10,000 integers", test("number", ints)),
        (
            "in 10,000 floats",
            test("price", Comparison::In(floats.collect())),
        ),
        (
            "in 10,000 texts",
            test("name", Comparison::In(names.clone())),
        ),
        (
            "not in 10,000 texts",
            test("name", Comparison::NotIn(names)),
        ),
        ("nest", nest),
        ("or of 100 ands", Filter::Or((0..100).map(pair).collect())),
        ("and of all", Filter::And(all)),
    ]
}

/// What a request takes when it comes for the first time, and when it came before: milliseconds of this
/// thread, and the records that it found.
fn measure(mut ask: impl FnMut() -> usize) -> (f64, f64, usize) {
    let mut time = || {
        let begun = cpu_seconds();
        let found = ask();
        ((cpu_seconds() - begun) * 1e3, found)
    };
    let (first, found) = time();
    // The second one keeps what the others find.
    time();
    let again = (0..5).map(|_| time().0).fold(f64::INFINITY, f64::min);
    (first, again, found)
}

fn tell(kind: &str, what: &str, (first, again, found): (f64, f64, usize)) {
    println!(
        "{{\"{kind}\":\"{what}\",\"found\":{found},\"first_ms\":{first:.3},\"again_ms\":{again:.3}}}"
    );
}

fn selection(filter: Option<Filter>) -> RecordSelection {
    RecordSelection { ids: None, filter }
}

/// Asks for the first ten that pass.
fn first_ten(database: &Database, scope: CollectionScope<'_>, filter: Filter) -> usize {
    let request = GetRequest {
        selection: selection(Some(filter)),
        limit: Some(10),
        ..GetRequest::default()
    };
    let got = database.get(scope, &request);
    got.expect("a sound filter").ids.len()
}

/// Asks for the ten nearest that pass, of another vector each time.
fn nearest_ten(
    database: &Database,
    scope: CollectionScope<'_>,
    dimension: usize,
    filter: Option<&Filter>,
) -> (f64, f64, usize) {
    let mut at = 0;
    measure(|| {
        at += 1;
        let request = QueryRequest {
            embeddings: Embeddings::new(dimension, vector(usize::MAX - at, dimension))
                .expect("one"),
            n_results: 10,
            selection: selection(filter.cloned()),
            ..QueryRequest::default()
        };
        let found = database.query(scope, &request);
        found.expect("a sound query")[0].records.ids.len()
    })
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(rows) = arguments.next() else {
        println!("ROWS [DIMENSION]");
        return;
    };
    let rows: usize = rows.parse().expect("a number of rows");
    let dimension = arguments.next();
    let dimension: usize = dimension.map_or(1, |text| text.parse().expect("a dimension"));
    let batches = (0..rows).step_by(BATCH);
    let batches = batches.map(|first| batch(first, BATCH.min(rows - first), dimension));
    let (database, collection) = fill(Schema::default(), batches);
    let scope = scope_of(&collection);
    for (what, filter) in single(rows).into_iter().chain(many(rows)) {
        tell(
            "filter",
            what,
            measure(|| first_ten(&database, scope, filter.clone())),
        );
    }
    if dimension == 1 {
        return;
    }
    let nearest = |what: &str, filter: Option<Filter>| {
        tell(
            "nearest",
            what,
            nearest_ten(&database, scope, dimension, filter.as_ref()),
        );
    };
    nearest("all", None);
    for (what, filter) in single(rows) {
        nearest(what, Some(filter));
    }
    for share in [1000, 10] {
        let ids: Vec<String> = (0..rows)
            .step_by(share)
            .map(|row| row.to_string())
            .collect();
        for ids in ids.chunks(BATCH) {
            let gone = RecordBatch::deletion(ids.iter().map(String::as_str).collect());
            database.write(scope, gone).expect("the batch is sound");
        }
        nearest(&format!("all, 1 of {share} deleted"), None);
        let half = test("open", Comparison::Equal(Scalar::Bool(true)));
        nearest(&format!("half, 1 of {share} deleted"), Some(half));
    }
}
