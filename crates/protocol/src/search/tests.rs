//! Bodies of `search`: what is understood, what is refused and how.

use super::*;
use crate::error::fails;

fn one(search: &str) -> Result<(Search, Vec<String>), ApiError> {
    let body = format!(r#"{{"searches":[{search}]}}"#);
    let mut body = decode_search(body.as_bytes())?;
    Ok((body.request.searches.remove(0), body.selected.remove(0)))
}

fn rank(rank: &str) -> Result<Rank, ApiError> {
    one(&format!(r#"{{"rank":{rank}}}"#)).map(|(search, _)| search.rank.unwrap())
}

#[test]
fn search_as_the_client_sends_it_is_understood() {
    let (search, keys) = one(
        r##"{"filter":{"$and":[{"n":{"$gt":1}},{"#document":{"$contains":"x"}},{"#id":{"$in":["a","b"]}}]},
            "rank":{"$sum":[{"$mul":[{"$knn":{"query":[1.0,2.0],"key":"#embedding","limit":50}},{"$val":0.7}]},{"$val":0.5}]},
            "group_by":{},"limit":{"offset":2,"limit":5},"select":{"keys":["#score","n","#document","a"]}}"##,
    )
    .unwrap();
    assert!(search.filter.is_some() && search.group_by.is_none());
    assert_eq!((search.offset, search.limit), (2, Some(5)));
    assert_eq!(keys, ["#document", "#score", "a", "n"]);
    assert!(search.select.documents && search.select.scores && !search.select.embeddings);
    let fields = ["a".to_owned(), "n".to_owned()].into();
    assert_eq!(search.select.metadata, SelectMetadata::Keys(fields));
    let knn = Rank::Knn(Knn {
        query: KnnQuery::Dense(vec![1.0, 2.0]),
        key: "#embedding".to_owned(),
        limit: 50,
        default: None,
        by_place: false,
    });
    let scaled = Rank::Product(vec![knn, Rank::Value(0.7)]);
    assert_eq!(search.rank, Some(Rank::Sum(vec![scaled, Rank::Value(0.5)])));
}

#[test]
fn what_is_null_or_absent_has_its_default() {
    for empty in [
        "{}",
        r#"{"filter":null,"rank":null,"group_by":null,"limit":null,"select":null}"#,
        r#"{"filter":{},"group_by":{},"limit":{},"select":{"keys":null}}"#,
    ] {
        let (search, keys) = one(empty).unwrap();
        assert!(search.filter.is_none() && search.rank.is_none() && keys.is_empty());
        assert_eq!((search.offset, search.limit), (0, None));
        assert_eq!(search.select, Select::default());
    }
    let knn =
        rank(r#"{"$knn":{"query":[1],"key":null,"limit":null,"default":null,"return_rank":null}}"#);
    let Rank::Knn(knn) = knn.unwrap() else {
        panic!("a $knn is a $knn");
    };
    assert_eq!((knn.key.as_str(), knn.limit), ("#embedding", 16));
    assert!(knn.default.is_none() && !knn.by_place);
}

#[test]
fn fusion_of_ranks_is_read_operator_by_operator() {
    let read = rank(
        r##"{"$mul":[{"$val":-1},{"$div":{"left":{"$val":1},"right":{"$sum":[{"$val":60},
            {"$knn":{"query":{"#type":"sparse_vector","indices":[1,3],"values":[0.5,0.25]},"key":"sparse",
             "default":1000.0,"return_rank":true}}]}}}]}"##,
    );
    let query = SparseVector {
        indices: vec![1, 3],
        values: vec![0.5, 0.25],
        tokens: None,
    };
    let knn = Rank::Knn(Knn {
        query: KnnQuery::Sparse(query),
        key: "sparse".to_owned(),
        limit: 16,
        default: Some(1000.0),
        by_place: true,
    });
    let below = Rank::Sum(vec![Rank::Value(60.0), knn]);
    let share = Rank::Quotient(Box::new([Rank::Value(1.0), below]));
    assert_eq!(read.unwrap(), Rank::Product(vec![Rank::Value(-1.0), share]));
    for operator in ["$abs", "$exp", "$log"] {
        rank(&format!(r#"{{"{operator}":{{"$val":1}}}}"#)).unwrap();
    }
    rank(r#"{"$max":[{"$min":[{"$val":1}]},{"$sub":{"left":{"$val":1},"right":{"$val":2}}}]}"#)
        .unwrap();
}

#[test]
fn wrong_shapes_are_422() {
    fails(decode_search(b"{}"), 422, "missing field `searches`");
    fails(
        rank(r#"{"$pow":1}"#),
        422,
        "unknown variant `$pow`, expected one of `$val`",
    );
    fails(
        rank(r#"{"$val":1,"$sum":[]}"#),
        422,
        "$val and $sum are two",
    );
    fails(
        rank("{}"),
        422,
        "searches[0].rank: an expression without an operator",
    );
    fails(
        rank("7"),
        422,
        "expected an expression, an object with one operator",
    );
    fails(rank(r#"{"$knn":{}}"#), 422, "missing field `query`");
    fails(
        rank(r#"{"$knn":{"query":"text"}}"#),
        422,
        "a list of numbers, or an object",
    );
    fails(rank(r#"{"$knn":{"query":[1],"limit":-1}}"#), 422, "limit");
    fails(
        rank(r##"{"$knn":{"query":{"#type":"x","indices":[],"values":[]}}}"##),
        422,
        "sparse_vector",
    );
    fails(one(r#"{"limit":{"limit":-1}}"#), 422, "limit");
    fails(
        one(r#"{"group_by":{"keys":["a"],"aggregate":{"$avg":{}}}}"#),
        422,
        "$avg",
    );
}

#[test]
fn wrong_values_are_400_and_name_their_search() {
    let wrong = |body: &str, message: &str| fails(one(body), 400, message);
    wrong(r#"{"filter":{"a":1,"b":2}}"#, "Invalid where clause");
    wrong(
        r#"{"rank":{"$sum":[]}}"#,
        "searches[0].rank: $sum has no member",
    );
    wrong(r#"{"rank":{"$knn":{"query":[]}}}"#, "at least 1 dimension");
    wrong(r#"{"rank":{"$knn":{"query":[1e39]}}}"#, "NaN or Infinity");
    wrong(
        r#"{"rank":{"$knn":{"query":[1],"limit":0}}}"#,
        "limit of a $knn is 0",
    );
    let sparse = |sparse: &str, message: &str| {
        wrong(
            &format!(r#"{{"rank":{{"$knn":{{"query":{sparse},"key":"s"}}}}}}"#),
            message,
        );
    };
    sparse(r#"{"indices":[1,1],"values":[1,1]}"#, "must ascend");
    sparse(r#"{"indices":[1],"values":[]}"#, "equally many");
    sparse(
        r#"{"indices":[1],"values":[1],"tokens":[]}"#,
        "equally many",
    );
    let groups = |groups: &str, message: &str| {
        wrong(
            &format!(r#"{{"rank":{{"$val":1}},"group_by":{groups}}}"#),
            &format!("Validation error: searches[0].group_by: {message}"),
        );
    };
    groups(r#"{"keys":["a"]}"#, "keys are given and no aggregate");
    groups(
        r##"{"aggregate":{"$min_k":{"keys":["#score"],"k":1}}}"##,
        "an aggregate is given",
    );
    groups(
        r##"{"keys":["#score"],"aggregate":{"$min_k":{"keys":["a"],"k":1}}}"##,
        "keys has #score",
    );
    groups(
        r##"{"keys":["a"],"aggregate":{"$max_k":{"keys":["#document"],"k":1}}}"##,
        "the aggregate has",
    );
    groups(
        r#"{"keys":["a"],"aggregate":{"$max_k":{"keys":["b"],"k":0}}}"#,
        "k is 0",
    );
    groups(
        r#"{"keys":["a"],"aggregate":{"$max_k":{"keys":[],"k":1}}}"#,
        "from 1 to 32 keys",
    );
    wrong(
        r#"{"group_by":{"keys":["a"],"aggregate":{"$max_k":{"keys":["b"],"k":1}}}}"#,
        "groups need a rank",
    );
    fails(
        decode_search(br#"{"searches":[],"read_level":"all"}"#),
        400,
        "is no read level",
    );
}

#[test]
fn size_and_depth_are_bounded() {
    let many = |count: usize, one: &str| vec![one; count].join(",");
    let body = format!(r#"{{"searches":[{}]}}"#, many(257, "{}"));
    fails(decode_search(body.as_bytes()), 400, "at most 256");
    let values = many(1024, r#"{"$val":1}"#);
    fails(
        rank(&format!(r#"{{"$sum":[{values}]}}"#)),
        400,
        "more than 1024 operators",
    );
    let knns = many(65, r#"{"$knn":{"query":[1]}}"#);
    fails(
        rank(&format!(r#"{{"$sum":[{knns}]}}"#)),
        400,
        "more than 64 $knn",
    );
    let deep = |levels: usize| {
        rank(&format!(
            r#"{}{{"$val":1}}{}"#,
            r#"{"$abs":"#.repeat(levels),
            "}".repeat(levels)
        ))
    };
    assert!(deep(59).is_ok());
    fails(deep(60), 400, "nested more than 60 levels deep");
    fails(deep(100_000), 400, "a filter or a rank may have 60 levels");
    let keys = (0..1025)
        .map(|key| format!("\"k{key}\""))
        .collect::<Vec<_>>();
    fails(
        one(&format!(r#"{{"select":{{"keys":[{}]}}}}"#, keys.join(","))),
        400,
        "at most 1024",
    );
}

/// `levels` of `before` and `after` around `inside`.
fn nested(before: &str, levels: usize, inside: &str, after: &str) -> String {
    format!("{}{inside}{}", before.repeat(levels), after.repeat(levels))
}

#[test]
fn ranks_and_filters_of_all_levels_that_are_allowed_are_read() {
    let deepest = r#"{"$knn":{"query":{"indices":[1],"values":[1]},"key":"k"}}"#;
    for (before, after) in [
        (r#"{"$sum":["#, "]}"),
        (r#"{"$div":{"right":{"$val":1},"left":"#, "}}"),
    ] {
        let deep = |levels: usize| rank(&nested(before, levels, deepest, after));
        assert!(deep(59).is_ok(), "{before}");
        fails(deep(60), 400, "60 levels");
        fails(deep(80), 400, "60 levels");
    }
    let filter = |levels: usize| {
        let filter = nested(r#"{"$or":["#, levels, r#"{"k":{"$in":[1]}}"#, "]}");
        one(&format!(r#"{{"filter":{filter}}}"#))
    };
    assert!(filter(60).is_ok());
    fails(filter(61), 400, "60 levels");
    fails(filter(80), 400, "60 levels");
}
