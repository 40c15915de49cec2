//! Replays the bodies of `tests/corpus`, and what is near them, through the decoder that their
//! names begin with.
//!
//! What must stay true: whatever bytes come, a decoder answers, and what it refuses is the client's
//! fault by its status. A body that once went wrong is kept here.

use std::path::Path;

use vermilion_engine::model::Operation;
use vermilion_protocol::{ApiError, arrow, collections, reads, records, search};

/// Decodes `body` as the routes of `kind` do.
fn decode(kind: &str, body: &[u8]) -> Result<(), ApiError> {
    match kind {
        "records" => [Operation::Add, Operation::Update, Operation::Upsert]
            .into_iter()
            .try_for_each(|operation| records::decode(body, operation, 100).map(drop)),
        "arrow" => {
            let limits = arrow::Limits {
                records_max: 100,
                bytes_max: 1 << 20,
            };
            let body = || bytes::Bytes::copy_from_slice(body);
            arrow::decode(body(), Operation::Update, limits).map(drop)?;
            arrow::decode(body(), Operation::Upsert, limits).map(drop)
        }
        "get" => reads::decode_get(body).map(drop),
        "query" => reads::decode_query(body).map(drop),
        "search" => search::decode_search(body).map(drop),
        "delete" => reads::decode_delete(body).map(drop),
        "change" => collections::decode_collection_change(body).map(drop),
        "collection" => {
            collections::decode_new_collection("default_tenant", "default_database", body).map(drop)
        }
        other => panic!("no decoder is called {other}"),
    }
}

fn check(kind: &str, body: &[u8]) {
    if let Err(error) = decode(kind, body) {
        let body = String::from_utf8_lossy(body);
        assert!((400..500).contains(&error.status), "{body}: {error:?}");
        assert!(!error.message.is_empty(), "{body}");
    }
}

#[test]
fn kept_bodies_and_their_neighbours_are_decoded_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let body = std::fs::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (kind, _) = name.split_once('-').unwrap();
        check(kind, &body);
        for at in 0..body.len() {
            check(kind, &body[..at]);
            for byte in [0, b'"', b'{', b']', b'9', b'-', 0xff] {
                let mut changed = body.clone();
                changed[at] = byte;
                check(kind, &changed);
            }
            let doubled = [&body[..at], &body[at / 2..]].concat();
            check(kind, &doubled);
        }
        seen += 1;
    }
    assert!(seen >= 19, "the corpus has {seen} bodies");
}

#[test]
fn sound_bodies_of_the_corpus_are_taken() {
    for (kind, body) in [
        ("records", &include_bytes!("corpus/records-plain.json")[..]),
        ("records", include_bytes!("corpus/records-base64.json")),
        ("arrow", include_bytes!("corpus/arrow-plain.stream")),
        ("arrow", include_bytes!("corpus/arrow-zstd.stream")),
        ("get", include_bytes!("corpus/get-filters.json")),
        ("query", include_bytes!("corpus/query-plain.json")),
        ("search", include_bytes!("corpus/search-hybrid.json")),
        ("collection", include_bytes!("corpus/collection-new.json")),
    ] {
        decode(kind, body).unwrap();
    }
}
