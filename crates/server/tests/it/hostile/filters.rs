//! Filters that mean nothing, or too much.

use super::Case;

const WHERE: &[&str] = &[
    "1",
    "\"n\"",
    "[]",
    "true",
    r#"{"n":1,"s":"x"}"#,
    r#"{"n":{}}"#,
    r#"{"n":null}"#,
    r#"{"n":[1]}"#,
    r#"{"n":{"$gt":"x"}}"#,
    r#"{"n":{"$gte":true}}"#,
    r#"{"n":{"$lt":null}}"#,
    r#"{"n":{"$lte":[1]}}"#,
    r#"{"n":{"$eq":null}}"#,
    r#"{"n":{"$eq":{}}}"#,
    r#"{"n":{"$ne":[1]}}"#,
    r#"{"n":{"$in":[]}}"#,
    r#"{"n":{"$in":1}}"#,
    r#"{"n":{"$in":[1,"x"]}}"#,
    r#"{"n":{"$in":[true,1]}}"#,
    r#"{"n":{"$in":[null]}}"#,
    r#"{"n":{"$nin":[]}}"#,
    r#"{"n":{"$nin":{"a":1}}}"#,
    r#"{"n":{"$nin":[[1]]}}"#,
    r#"{"n":{"$like":"x"}}"#,
    r#"{"n":{"gt":1}}"#,
    r#"{"n":{"":1}}"#,
    r#"{"n":{"$gt":1,"$lt":5}}"#,
    r#"{"n":{"$contains":null}}"#,
    r#"{"n":{"$contains":[1]}}"#,
    r#"{"$and":{}}"#,
    r#"{"$and":1}"#,
    r#"{"$and":[1]}"#,
    r#"{"$and":[null]}"#,
    r#"{"$and":[{"n":1},{}]}"#,
    r#"{"$or":"n"}"#,
    r#"{"$or":[[{"n":1}]]}"#,
    r#"{"$not":[{"n":1}]}"#,
    r#"{"$xor":[]}"#,
    r#"{"$and":[{"n":1}],"$or":[{"n":2}]}"#,
    r#"{"n":9223372036854775808}"#,
    r#"{"n":1e400}"#,
    r#"{"n":{"$gt":NaN}}"#,
    r##"{"#id":1}"##,
    r##"{"#id":{"$in":[]}}"##,
    r##"{"#id":{"$in":[1]}}"##,
    r##"{"#id":{"$gt":"a"}}"##,
    r##"{"#document":"x"}"##,
    r##"{"#document":{"$eq":"x"}}"##,
    r##"{"#document":{"$regex":"("}}"##,
];

const WHERE_DOCUMENT: &[&str] = &[
    "1",
    "\"x\"",
    "[]",
    r#"{"$contains":1}"#,
    r#"{"$contains":null}"#,
    r#"{"$contains":["a"]}"#,
    r#"{"$contains":{}}"#,
    r#"{"$not_contains":true}"#,
    r#"{"$like":"x"}"#,
    r#"{"n":"x"}"#,
    r#"{"$contains":"a","$regex":"b"}"#,
    r#"{"$and":{}}"#,
    r#"{"$or":[{}]}"#,
    r#"{"$or":[{"$contains":1}]}"#,
    r#"{"$regex":1}"#,
    r#"{"$not_regex":[]}"#,
];

/// Patterns that no engine in linear time takes, or that are too large.
const PATTERNS: &[&str] = &[
    "(",
    ")",
    "[",
    "a{2,1}",
    "*",
    "+a",
    "a**{",
    "(?<n>a)(?<n>b)",
    "(?=a)",
    "(?!a)",
    "(?<=a)b",
    "(a)\\\\1",
    "\\\\p{NoSuch}",
    "\\\\",
    "[z-a]",
    "(?P<>a)",
    "(?x-",
    "a{1000000}",
    "(a{1000}){1000}",
    "((((a{30}){30}){30}){30}){30}",
    "\\\\x{110000}",
    "\\\\u{d800}",
];

pub(super) fn cases(records: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut filter = |member: &str, value: &str| {
        for (route, rest) in [
            ("get", ""),
            ("delete", ""),
            ("query", r#","query_embeddings":[[1,2]]"#),
        ] {
            let body = format!("{{\"{member}\":{value}{rest}}}");
            cases.push(Case::post(format!("{records}/{route}"), body));
        }
        if member == "where" {
            let body = format!(r#"{{"searches":[{{"filter":{value}}}]}}"#);
            cases.push(Case::post(format!("{records}/search"), body));
        }
    };
    WHERE.iter().for_each(|value| filter("where", value));
    WHERE_DOCUMENT
        .iter()
        .for_each(|value| filter("where_document", value));
    for pattern in PATTERNS {
        filter("where_document", &format!("{{\"$regex\":\"{pattern}\"}}"));
    }
    let long = format!("{}{}", "(".repeat(101), ")".repeat(101));
    filter("where_document", &format!("{{\"$not_regex\":\"{long}\"}}"));
    let words: Vec<String> = (0..200_000).map(|word| format!("{word:06x}")).collect();
    filter(
        "where_document",
        &format!("{{\"$regex\":\"{}\"}}", words.join("|")),
    );
    let deep = format!("{}{{\"n\":1}}{}", "{\"$and\":[".repeat(65), "]}".repeat(65));
    filter("where", &deep);
    let deeper = format!("{}{}", "{\"$or\":[".repeat(20_000), "]}".repeat(20_000));
    filter("where", &deeper);
    let many = vec!["{\"n\":1}"; 65_537].join(",");
    filter("where", &format!("{{\"$or\":[{many}]}}"));
    cases
}
