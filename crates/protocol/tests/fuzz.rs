//! The fuzz targets on bounded inputs: random bytes, and sound inputs with some of their bytes changed.
//!
//! What must stay true: every target of `fuzz/` runs here, so that none needs a toolchain of its own to
//! be tried at all.

use proptest::prelude::*;
use proptest::sample::Index;

#[path = "../../../fuzz/targets.rs"]
mod targets;

/// A target with sound inputs.
struct Target {
    run: fn(&[u8]),
    sound: &'static [&'static [u8]],
}

const FILTER: Target = Target {
    run: targets::filter,
    sound: &[
        br#"{"$and":[{"a":{"$gte":1.5}},{"$or":[{"b":"x"},{"c":{"$in":[1,2]}}]}]}"#,
        br##"{"#document":{"$regex":"a+(b|c)[^d]{2,3}"}}"##,
        br#"{"$and":[{"$contains":"text"},{"$not_regex":"^x"}]}"#,
        br#"{"tags":{"$not_contains":true}}"#,
    ],
};

const SEARCH: Target = Target {
    run: targets::search,
    sound: &[
        include_bytes!("corpus/search-hybrid.json"),
        br##"{"$sum":[{"$knn":{"query":[1,2],"key":"#embedding","limit":5}},{"$val":0.5}]}"##,
        br#"{"$div":{"left":{"$abs":{"$val":1}},"right":{"$knn":{"query":{"indices":[1],"values":[2]},"key":"s"}}}}"#,
    ],
};

const SCHEMA: Target = Target {
    run: targets::schema,
    sound: &[
        br##"{"defaults":{},"keys":{"#embedding":{"float_list":{"vector_index":{"enabled":true,"config":{"space":"cosine"}}}}}}"##,
        br#"{"defaults":{"string":{"fts_index":{"enabled":false,"config":{}}}},"keys":{"s":{"sparse_vector":{"sparse_vector_index":{"enabled":true,"config":{"bm25":true}}}}}}"#,
        br#"{"hnsw":{"space":"ip","ef_search":50},"embedding_function":{"type":"known","name":"x","config":{}}}"#,
        br#"{"hnsw:space":"l2","list":[1,2],"vermilion:ttl_seconds":5}"#,
    ],
};

const BASE64: Target = Target {
    run: targets::base64,
    sound: &[b"AACAPw==", b"AACAPwAAAEA=", b"AABAQAAAgEAAAKBA", b""],
};

const RECORDS: Target = Target {
    run: targets::records,
    sound: &[
        include_bytes!("corpus/records-plain.json"),
        include_bytes!("corpus/records-base64.json"),
        include_bytes!("corpus/records-sparse.json"),
    ],
};

const ARROW: Target = Target {
    run: targets::arrow,
    sound: &[
        include_bytes!("corpus/arrow-plain.stream"),
        include_bytes!("corpus/arrow-dictionary.stream"),
        include_bytes!("corpus/arrow-zstd.stream"),
    ],
};

/// A change of an input: bytes at a place replaced, or a part of it repeated or left out.
type Change = (Index, Index, Vec<u8>, u8);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let bytes = prop::collection::vec(any::<u8>(), 1..9);
    prop::collection::vec((any::<Index>(), any::<Index>(), bytes, 0_u8..6), 0..5)
}

impl Target {
    fn try_near(&self, which: Index, changes: Vec<Change>) {
        let mut input = self.sound[which.index(self.sound.len())].to_vec();
        for (at, other, bytes, kind) in changes {
            let (at, other) = (at.index(input.len() + 1), other.index(input.len() + 1));
            let (low, high) = (at.min(other), at.max(other));
            match kind {
                0 => input.splice(low..low, bytes).for_each(drop),
                1 => input.splice(low..high.min(low + 64), []).for_each(drop),
                2 => {
                    let part = input[low..high].to_vec();
                    input.splice(at..at, part).for_each(drop);
                }
                _ => {
                    let end = (at + bytes.len()).min(input.len());
                    let count = end - at;
                    input[at..end].copy_from_slice(&bytes[..count]);
                }
            }
        }
        (self.run)(&input);
    }
}

macro_rules! targets {
    ($($name:ident: $target:expr;)*) => {
        $(
            proptest! {
                #![proptest_config(ProptestConfig {
                    cases: 2000,
                    failure_persistence: None,
                    ..ProptestConfig::default()
                })]

                #[test]
                fn $name(
                    bytes in prop::collection::vec(any::<u8>(), 0..200),
                    text in "[\\[\\]{}:,\"$#a-z0-9.eE+=/ \\\\-]{0,60}",
                    which in any::<Index>(),
                    changes in changes(),
                ) {
                    ($target.run)(&bytes);
                    ($target.run)(text.as_bytes());
                    $target.try_near(which, changes);
                }
            }
        )*
    };
}

targets! {
    filters_of_any_bytes_are_read_or_refused: FILTER;
    searches_of_any_bytes_are_read_or_refused: SEARCH;
    schemas_of_any_bytes_are_read_or_refused: SCHEMA;
    base64_of_any_bytes_is_read_or_refused: BASE64;
    records_of_any_bytes_are_read_or_refused: RECORDS;
    streams_of_any_bytes_are_read_or_refused: ARROW;
}
