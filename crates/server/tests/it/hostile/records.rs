//! Bodies of writes that are malformed, do not fit together, or are too much.

use super::Case;

/// What is wrong in every write, whatever it does.
const EVERYWHERE: &[&str] = &[
    "",
    " ",
    "{",
    "}",
    "[]",
    "null",
    "1",
    "\"ids\"",
    "{} {}",
    "{\"ids\"",
    "{'ids':[]}",
    "{\"ids\":[\"x\"],}",
    "\u{feff}{\"ids\":[]}",
    "{}",
    r#"{"ids":null}"#,
    r#"{"ids":"x"}"#,
    r#"{"ids":{"0":"x"}}"#,
    r#"{"ids":[1],"embeddings":[[1,2]]}"#,
    r#"{"ids":[null],"embeddings":[[1,2]]}"#,
    r#"{"ids":[["x"]],"embeddings":[[1,2]]}"#,
    r#"{"ids":[""],"embeddings":[[1,2]]}"#,
    r#"{"ids":["\ud800"],"embeddings":[[1,2]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2],[3,4]]}"#,
    r#"{"ids":["x","y"],"embeddings":[[1,2]]}"#,
    r#"{"ids":["x"],"embeddings":1}"#,
    r#"{"ids":["x"],"embeddings":"AACAPwAAAEA="}"#,
    r#"{"ids":["x"],"embeddings":{"0":[1,2]}}"#,
    r#"{"ids":["x"],"embeddings":[1,2]}"#,
    r#"{"ids":["x"],"embeddings":[[]]}"#,
    r#"{"ids":["x"],"embeddings":[[[1,2]]]}"#,
    r#"{"ids":["x"],"embeddings":[["1","2"]]}"#,
    r#"{"ids":["x"],"embeddings":[[true,false]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,null]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,{}]]}"#,
    r#"{"ids":["x"],"embeddings":[[1]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2,3]]}"#,
    r#"{"ids":["x","y"],"embeddings":[[1,2],[1]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,NaN]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,Infinity]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,1e39]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,-1e400]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,0x1]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,01]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,.5]]}"#,
    r#"{"ids":["x"],"embeddings":["!!!!"]}"#,
    r#"{"ids":["x"],"embeddings":["AACAPw"]}"#,
    r#"{"ids":["x"],"embeddings":["AAAA"]}"#,
    r#"{"ids":["x"],"embeddings":[""]}"#,
    r#"{"ids":["x"],"embeddings":["AADAfwAAAEA="]}"#,
    r#"{"ids":["x"],"embeddings":["AACAfwAAAEA="]}"#,
    r#"{"ids":["x","y"],"embeddings":["AACAPwAAAEA=",[1,2]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"documents":[]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"documents":["a","b"]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"documents":"a"}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"documents":[1]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"documents":[["a"]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"documents":["\udfff"]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"uris":["a","b"]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"uris":[{}]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":{}}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[1]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":["n"]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[[]]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{},{}]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{"n":{"m":1}}]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{"n":[1,"a"]}]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{"n":[true,1]}]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{"n":[[1]]}]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{"n":[null]}]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{"n":1e400}]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{"":1}]}"#,
    r##"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{"#n":1}]}"##,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{"$n":1}]}"#,
    r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{"vermilion:expires_at":"soon"}]}"#,
];

/// Values of metadata that begin as sparse vectors.
const SPARSE: &[&str] = &[
    r##"{"#type":"sparse_vector"}"##,
    r##"{"#type":"sparse_vector","indices":[1]}"##,
    r##"{"#type":"sparse_vector","indices":[1],"values":[1,2]}"##,
    r##"{"#type":"sparse_vector","indices":[2,1],"values":[1,2]}"##,
    r##"{"#type":"sparse_vector","indices":[1,1],"values":[1,2]}"##,
    r##"{"#type":"sparse_vector","indices":[-1],"values":[1]}"##,
    r##"{"#type":"sparse_vector","indices":[4294967296],"values":[1]}"##,
    r##"{"#type":"sparse_vector","indices":[1.5],"values":[1]}"##,
    r##"{"#type":"sparse_vector","indices":["1"],"values":[1]}"##,
    r##"{"#type":"sparse_vector","indices":[1],"values":["1"]}"##,
    r##"{"#type":"sparse_vector","indices":[1],"values":[1e39]}"##,
    r##"{"#type":"sparse_vector","indices":[1],"values":[null]}"##,
    r##"{"#type":"sparse_vector","indices":[1],"values":[1],"tokens":[]}"##,
    r##"{"#type":"sparse_vector","indices":[1],"values":[1],"tokens":[1]}"##,
    r##"{"#type":"dense_vector","indices":[1],"values":[1]}"##,
    r##"{"#type":7,"indices":[1],"values":[1]}"##,
];

/// What only insertions may not be: they need an embedding, and have nothing to delete a key from.
const INSERTIONS: &[&str] = &[
    r#"{"ids":["x"]}"#,
    r#"{"ids":["x"],"embeddings":null}"#,
    r#"{"ids":["x"],"embeddings":[null]}"#,
];

/// One record whose id, metadata and document are as given, as JSON.
fn record(id: &str, metadata: &str, document: &str) -> String {
    format!(
        r#"{{"ids":[{id}],"embeddings":[[1,2]],"metadatas":[{metadata}],"documents":[{document}]}}"#
    )
}

pub(super) fn cases(records: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for operation in ["add", "upsert", "update"] {
        let path = format!("{records}/{operation}");
        let mut refuse = |body: Vec<u8>| cases.push(Case::post(path.clone(), body));
        EVERYWHERE
            .iter()
            .for_each(|body| refuse(body.as_bytes().to_vec()));
        for sparse in SPARSE {
            refuse(record("\"x\"", &format!("{{\"v\":{sparse}}}"), "null").into_bytes());
        }
        if operation != "update" {
            INSERTIONS
                .iter()
                .for_each(|body| refuse(body.as_bytes().to_vec()));
        }
        let long = |bytes: usize| format!("\"{}\"", "x".repeat(bytes));
        refuse(record(&long((64 << 10) + 1), "null", "null").into_bytes());
        refuse(record("\"x\"", &format!("{{{}:1}}", long((4 << 10) + 1)), "null").into_bytes());
        let keys: Vec<String> = (0..10_001).map(|key| format!("\"k{key}\":1")).collect();
        refuse(record("\"x\"", &format!("{{{}}}", keys.join(",")), "null").into_bytes());
        refuse(b"{\"ids\":[\"\xff\xfe\"],\"embeddings\":[[1,2]]}".to_vec());
        refuse(b"{\"ids\":[\"a\0b\"],\"embeddings\":[[1,2]]}".to_vec());
        refuse("[".repeat(200_000).into_bytes());
        refuse("{\"ids\":".repeat(50_000).into_bytes());
        let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
        refuse(record("\"x\"", &format!("{{\"n\":{deep}}}"), "null").into_bytes());
        refuse(format!("{{\"other\":{deep}").into_bytes());
        let wide = vec!["1"; 65_536].join(",");
        refuse(format!(r#"{{"ids":["x"],"embeddings":[[{wide}]]}}"#).into_bytes());
        let text = Case::post(path.clone(), "{}").with(&[415]);
        cases.push(Case {
            headers: vec!["content-type: text/plain".to_owned()],
            ..text
        });
    }
    cases.push(Case::post(
        format!("{records}/add"),
        r#"{"ids":["x"],"embeddings":[[1,2]],"metadatas":[{"n":null}]}"#,
    ));
    for body in [
        "",
        "{",
        "[]",
        "7",
        r#"{"ids":7}"#,
        r#"{"ids":[7]}"#,
        r#"{"ids":[]}"#,
        r#"{"limit":1}"#,
        r#"{"ids":["a"],"limit":1}"#,
        r#"{"where":{"n":1},"limit":-1}"#,
        r#"{"where":{"n":1},"limit":"1"}"#,
        r#"{"where":{"n":1},"limit":4294967296}"#,
        r#"{"where":[]}"#,
        r#"{"where_document":"x"}"#,
    ] {
        cases.push(Case::post(format!("{records}/delete"), body));
    }
    cases
}
