//! The searches of the demo and what is printed of them.

use std::net::SocketAddr;
use std::time::Instant;

use vermilion_engine::Database;
use vermilion_engine::model::{
    CollectionScope, Comparison, DocumentTest, Embeddings, Fetched, Filter, GetRequest, Include,
    Nearest, Number, QueryRequest, RecordSelection, Scalar, Value,
};

use crate::console::say;
use crate::failure::Failure;

use super::sample::{Query, Sample};

/// Queries that are shown.
const SHOWN: usize = 3;

/// Runs and prints the nearest documents, a filtered search and a substring search.
pub(super) fn searches(
    database: &Database,
    scope: CollectionScope<'_>,
    sample: &Sample,
) -> Result<(), Failure> {
    for query in sample.queries.iter().take(SHOWN) {
        nearest(database, scope, query, None)?;
    }
    let filter = Filter::And(vec![
        metadata(
            "section",
            Comparison::Equal(Scalar::Str("python".to_owned())),
        ),
        metadata("size", Comparison::Less(Number::Int(200_000))),
    ]);
    if let Some(query) = sample.queries.get(1) {
        let shown = "where {\"$and\": [{\"section\": \"python\"}, {\"size\": {\"$lt\": 200000}}]}";
        nearest(database, scope, query, Some((shown, filter)))?;
    }
    substring(database, scope, "SQLite")
}

fn metadata(key: &str, comparison: Comparison) -> Filter {
    Filter::Metadata {
        key: key.to_owned(),
        comparison,
    }
}

/// Prints the three nearest documents to a query.
fn nearest(
    database: &Database,
    scope: CollectionScope<'_>,
    query: &Query,
    filter: Option<(&str, Filter)>,
) -> Result<(), Failure> {
    let (shown, filter) = filter.map_or((None, None), |(text, one)| (Some(text), Some(one)));
    let request = QueryRequest {
        embeddings: Embeddings::new(query.embedding.len(), query.embedding.clone())
            .expect("one whole row"),
        n_results: 3,
        recall: None,
        selection: RecordSelection { ids: None, filter },
        include: Include {
            documents: true,
            metadatas: true,
            distances: true,
            ..Include::default()
        },
        ..QueryRequest::default()
    };
    let started = Instant::now();
    let answers = database.query(scope, &request)?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    let filtered = shown.map(|text| format!(", {text}")).unwrap_or_default();
    say(&format!(
        "Nearest to \"{}\"{filtered} ({took:.1} ms)",
        query.text
    ))?;
    for Nearest { records, distances } in &answers {
        for (row, distance) in distances.iter().enumerate() {
            say(&format!("  {distance:.3}  {}", line(records, row)))?;
        }
    }
    say("")
}

/// Prints some documents that hold a text, and how many do.
fn substring(database: &Database, scope: CollectionScope<'_>, text: &str) -> Result<(), Failure> {
    let test = DocumentTest::Contains(text.to_owned());
    let request = GetRequest {
        selection: RecordSelection {
            ids: None,
            filter: Some(Filter::Document(test)),
        },
        include: Include {
            documents: true,
            metadatas: true,
            ..Include::default()
        },
        ..GetRequest::default()
    };
    let started = Instant::now();
    let found = database.get(scope, &request)?;
    let took = started.elapsed().as_secs_f64() * 1e3;
    let count = found.ids.len();
    say(&format!(
        "Documents that hold \"{text}\": {count} ({took:.1} ms)"
    ))?;
    for row in 0..count.min(3) {
        say(&format!("         {}", line(&found, row)))?;
    }
    say("")
}

/// The name of a record's package and the first line of its document.
fn line(records: &Fetched, row: usize) -> String {
    let document = records
        .documents
        .as_ref()
        .and_then(|column| column.get(row));
    let title = document
        .and_then(|text| text.lines().next())
        .unwrap_or("(no document)");
    let cells = records.metadatas.as_ref();
    let name = cells.and_then(|column| column.get(row, column.key_number("name")?));
    match name {
        Some(Value::Str(name)) => format!("{name}: {title}"),
        _ => title.to_owned(),
    }
}

/// Prints where the server listens and two ways to ask it.
pub(super) fn how_to_connect(address: SocketAddr, collection: &str) -> Result<(), Failure> {
    let (host, port) = (address.ip(), address.port());
    say(&format!(
        "Vermilion serves on http://{address} until Ctrl-C. From another terminal:\n\n  \
         pip install chromadb\n  \
         python -c \"import chromadb\n\
         packages = chromadb.HttpClient(host='{host}', port={port}).get_collection('{collection}', embedding_function=None)\n\
         print(packages.get(where={{'section': 'editors'}}, limit=3)['documents'])\"\n\n  \
         curl http://{address}/api/v2/tenants/default_tenant/databases/default_database/collections\n"
    ))
}
