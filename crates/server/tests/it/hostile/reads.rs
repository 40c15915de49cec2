//! Reads that ask for what cannot be.

use super::Case;

const GET: &[&str] = &[
    r#"{"order_by":[["n","desc"]]}"#,
    r#"{"aggregates":[["n"]]}"#,
    "",
    "{",
    "[]",
    "1",
    r#"{"ids":1}"#,
    r#"{"ids":[1]}"#,
    r#"{"ids":[null]}"#,
    r#"{"ids":{"a":1}}"#,
    r#"{"limit":-1}"#,
    r#"{"limit":1.5}"#,
    r#"{"limit":"1"}"#,
    r#"{"limit":4294967296}"#,
    r#"{"limit":[]}"#,
    r#"{"offset":-1}"#,
    r#"{"offset":1e-3}"#,
    r#"{"offset":true}"#,
    r#"{"offset":99999999999999999999}"#,
    r#"{"include":null}"#,
    r#"{"include":"documents"}"#,
    r#"{"include":["vectors"]}"#,
    r#"{"include":[1]}"#,
    r#"{"include":[null]}"#,
    r#"{"include":{}}"#,
];

const QUERY: &[&str] = &[
    "",
    "[]",
    "{}",
    r#"{"query_embeddings":null}"#,
    r#"{"query_embeddings":1}"#,
    r#"{"query_embeddings":[1,2]}"#,
    r#"{"query_embeddings":["AACAPwAAAEA="]}"#,
    r#"{"query_embeddings":[[]]}"#,
    r#"{"query_embeddings":[[1]]}"#,
    r#"{"query_embeddings":[[1,2,3]]}"#,
    r#"{"query_embeddings":[[1,2],[1]]}"#,
    r#"{"query_embeddings":[[1,null]]}"#,
    r#"{"query_embeddings":[[1,"2"]]}"#,
    r#"{"query_embeddings":[[1,NaN]]}"#,
    r#"{"query_embeddings":[[1,1e39]]}"#,
    r#"{"query_embeddings":[[[1,2]]]}"#,
    r#"{"query_embeddings":[[1,2]],"n_results":-1}"#,
    r#"{"query_embeddings":[[1,2]],"n_results":1.5}"#,
    r#"{"query_embeddings":[[1,2]],"n_results":"3"}"#,
    r#"{"query_embeddings":[[1,2]],"n_results":4294967296}"#,
    r#"{"query_embeddings":[[1,2]],"n_results":[]}"#,
    r#"{"query_embeddings":[[1,2]],"include":["everything"]}"#,
    r#"{"query_embeddings":[[1,2]],"include":null}"#,
    r#"{"query_embeddings":[[1,2]],"ids":7}"#,
    r#"{"query_embeddings":[[1,2]],"ids":[7]}"#,
    r#"{"query_embeddings":[[1,2]],"recall":2}"#,
    r#"{"query_embeddings":[[1,2]],"recall":0.1}"#,
    r#"{"query_embeddings":[[1,2]],"recall":"most"}"#,
    r#"{"query_embeddings":[[1,2]],"recall":[]}"#,
];

/// Members of a search.
const SEARCH: &[&str] = &[
    r#""limit":[0,1]"#,
    r#""select":[["n"]]"#,
    r#""group_by":[["n"],{"$min_k":{"keys":["n"],"k":1}}],"rank":{"$val":1}"#,
    r#""group_by":{"keys":["n"],"aggregate":{"$min_k":[["n"],1]}},"rank":{"$val":1}"#,
    r#""rank":{"$knn":[[1,2]]}"#,
    r#""rank":{"$div":[{"$val":1},{"$val":2}]}"#,
    r#""rank":1"#,
    r#""rank":[]"#,
    r#""rank":{}"#,
    r#""rank":{"$pow":1}"#,
    r#""rank":{"$val":"1"}"#,
    r#""rank":{"$val":null}"#,
    r#""rank":{"$val":1,"$sum":[]}"#,
    r#""rank":{"$sum":1}"#,
    r#""rank":{"$sum":[1]}"#,
    r#""rank":{"$sub":{"left":{"$val":1}}}"#,
    r#""rank":{"$div":{"left":1,"right":2}}"#,
    r#""rank":{"$abs":[]}"#,
    r#""rank":{"$knn":1}"#,
    r#""rank":{"$knn":{}}"#,
    r#""rank":{"$knn":{"query":1}}"#,
    r#""rank":{"$knn":{"query":"x"}}"#,
    r#""rank":{"$knn":{"query":[]}}"#,
    r#""rank":{"$knn":{"query":[1]}}"#,
    r#""rank":{"$knn":{"query":[1,2,3]}}"#,
    r#""rank":{"$knn":{"query":[1,"2"]}}"#,
    r#""rank":{"$knn":{"query":[1,1e39]}}"#,
    r#""rank":{"$knn":{"query":[1,2],"limit":-1}}"#,
    r#""rank":{"$knn":{"query":[1,2],"limit":"1"}}"#,
    r#""rank":{"$knn":{"query":[1,2],"key":1}}"#,
    r#""rank":{"$knn":{"query":[1,2],"key":"none"}}"#,
    r#""rank":{"$knn":{"query":[1,2],"default":"x"}}"#,
    r#""rank":{"$knn":{"query":[1,2],"return_rank":1}}"#,
    r#""rank":{"$knn":{"query":{"indices":[1],"values":[1]}}}"#,
    r#""rank":{"$knn":{"query":{"indices":[2,1],"values":[1,2]},"key":"s"}}"#,
    r#""rank":{"$knn":{"query":{"indices":[1],"values":[]},"key":"s"}}"#,
    r#""limit":1"#,
    r#""limit":{"limit":-1}"#,
    r#""limit":{"offset":"0"}"#,
    r#""limit":{"limit":4294967296}"#,
    r#""group_by":1"#,
    r#""group_by":{"keys":["n"]}"#,
    r##""rank":{"$val":1},"group_by":{"keys":["#score"],"aggregate":{"$min_k":{"keys":["#score"],"k":1}}}"##,
    r##""rank":{"$val":1},"group_by":{"keys":["n"],"aggregate":{"$min_k":{"keys":["#score"],"k":0}}}"##,
    r##""rank":{"$val":1},"group_by":{"keys":["n"],"aggregate":{"$sum":{"keys":["#score"],"k":1}}}"##,
    r##""group_by":{"keys":["n"],"aggregate":{"$min_k":{"keys":["#score"],"k":1}}}"##,
    r#""select":1"#,
    r#""select":{"keys":"n"}"#,
    r#""select":{"keys":[1]}"#,
    r#""select":{"keys":[null]}"#,
    r#""filter":7"#,
    r#""filter":"n""#,
];

pub(super) fn cases(records: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut refuse = |route: &str, body: String| {
        cases.push(Case::post(format!("{records}/{route}"), body));
    };
    GET.iter()
        .for_each(|body| refuse("get", (*body).to_owned()));
    QUERY
        .iter()
        .for_each(|body| refuse("query", (*body).to_owned()));
    for member in SEARCH {
        refuse("search", format!(r#"{{"searches":[{{{member}}}]}}"#));
    }
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"searches":null}"#,
        r#"{"searches":{}}"#,
        r#"{"searches":[1]}"#,
        r#"{"searches":[null]}"#,
        r#"{"searches":[[null,null,null,{"limit":1}]]}"#,
    ] {
        refuse("search", body.to_owned());
    }
    let deep = format!(
        "{}{{\"$val\":1}}{}",
        "{\"$abs\":".repeat(20_000),
        "}".repeat(20_000)
    );
    refuse("search", format!(r#"{{"searches":[{{"rank":{deep}}}]}}"#));
    let wide = vec!["{\"$val\":1}"; 100_000].join(",");
    refuse(
        "search",
        format!(r#"{{"searches":[{{"rank":{{"$sum":[{wide}]}}}}]}}"#),
    );
    for level in ["", "all", "INDEX_ONLY", "1"] {
        let path = format!("{records}/count?read_level={level}");
        cases.push(Case::new("GET", path, "").with(&[400]));
    }
    for header in [
        "x-vermilion-min-seq-id: -1",
        "x-vermilion-min-seq-id: x",
        "x-vermilion-wait-ms: 1.5",
        "x-vermilion-wait-ms: x",
    ] {
        cases.push(
            Case::post(format!("{records}/get"), "{}")
                .header(header)
                .with(&[400]),
        );
    }
    cases
}
