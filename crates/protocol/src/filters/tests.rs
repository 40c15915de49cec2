//! Tests of the filter parsers.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn metadata(value: Value) -> Result<Filter, ApiError> {
    Parser::metadata().parse(value)
}

fn document(value: Value) -> Result<Filter, ApiError> {
    Parser::document().parse(value)
}

/// The filter as text, regular expressions by their pattern.
fn check(value: Value, expected: &str) {
    assert_eq!(format!("{:?}", metadata(value).unwrap()), expected);
}

#[test]
fn every_operator_of_the_grammar_is_read() {
    let leaf = |text: &str| format!("Metadata {{ key: \"k\", comparison: {text} }}");
    let table = [
        (json!("x"), "Equal(Str(\"x\"))"),
        (json!(1), "Equal(Int(1))"),
        (json!(1.0), "Equal(Float(1.0))"),
        (json!(true), "Equal(Bool(true))"),
        (json!({"$eq": -5}), "Equal(Int(-5))"),
        (json!({"$ne": "x"}), "NotEqual(Str(\"x\"))"),
        (json!({"$gt": 1}), "Greater(Int(1))"),
        (json!({"$gte": 1.5}), "GreaterOrEqual(Float(1.5))"),
        (json!({"$lt": 1}), "Less(Int(1))"),
        (json!({"$lte": 1}), "LessOrEqual(Int(1))"),
        (json!({"$in": ["a", "b"]}), "In([Str(\"a\"), Str(\"b\")])"),
        (json!({"$nin": [true]}), "NotIn([Bool(true)])"),
        (json!({"$in": [1.5, 2]}), "In([Float(1.5), Float(2.0)])"),
        (json!({"$in": [1, 2.0]}), "In([Int(1), Int(2)])"),
        (json!({"$contains": "x"}), "Contains(Str(\"x\"))"),
        (json!({"$not_contains": false}), "NotContains(Bool(false))"),
    ];
    for (operand, expected) in table {
        check(json!({ "k": operand }), &leaf(expected));
    }
    check(json!({"$and": []}), "And([])");
    check(json!({"$or": []}), "Or([])");
    check(
        json!({"$and": [{"$or": [{"k": 1}]}]}),
        &format!("And([Or([{}])])", leaf("Equal(Int(1))")),
    );
}

#[test]
fn documents_and_ids_can_be_tested_in_where() {
    check(
        json!({"#document": {"$contains": "x"}}),
        "Document(Contains(\"x\"))",
    );
    check(
        json!({"#document": {"$not_regex": "x+"}}),
        "Document(NotRegex(Regex(\"x+\")))",
    );
    check(json!({"#id": "a"}), "Id { ids: [\"a\"], negated: false }");
    check(
        json!({"#id": {"$nin": ["a", "b"]}}),
        "Id { ids: [\"a\", \"b\"], negated: true }",
    );
}

/// Each clause is refused in the words clients know, and says the problem.
fn refused(cases: &[(Value, &str)]) {
    for (clause, problem) in cases {
        let error = metadata(clause.clone()).unwrap_err();
        assert_eq!(error.status, 400, "{clause}");
        let known = "Invalid where clause: ";
        assert!(
            error.message.starts_with(known) && error.message.contains(problem),
            "{clause}: {error}"
        );
    }
}

#[test]
fn what_is_no_expression_is_refused_with_what_is_one() {
    refused(&[
        (json!({}), "an expression has one key, got none"),
        (
            json!([]),
            "an expression is an object with one key, got an empty list",
        ),
        (
            json!("x"),
            "an expression is an object with one key, got \"x\"",
        ),
        (
            json!({"a": 1, "b": 2}),
            "an expression has one key, got 2: a, b; join several",
        ),
        (
            json!({"a": null}),
            "$eq takes strings, numbers and booleans, got null (key a)",
        ),
        (json!({"a": []}), "got an empty list (key a)"),
        (json!({"a": {}}), "a test of a value has one key, got none"),
        (
            json!({"a": {"$gt": 1, "$lt": 2}}),
            "a test of a value has one key, got 2: $gt, $lt; join",
        ),
        (
            json!({"a": {"$gt": "x"}}),
            "$gt takes a number, got \"x\" (key a)",
        ),
        (json!({"a": {"$gt": true}}), "$gt takes a number, got true"),
    ]);
}

#[test]
fn operators_and_operands_are_refused_with_what_is_allowed() {
    let big = 9_223_372_036_854_775_808_u64;
    refused(&[
        (
            json!({"a": {"$foo": 1}}),
            "$foo is no operator here; $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin",
        ),
        (
            json!({"a": {"$eq": null}}),
            "$eq takes strings, numbers and booleans, got null",
        ),
        (json!({"a": {"$eq": [1]}}), "got a list"),
        (
            json!({"a": {"$in": []}}),
            "$in takes a list with at least one value, got an empty list (key a)",
        ),
        (
            json!({"a": {"$in": "x"}}),
            "$in takes a list with at least one value, got \"x\"",
        ),
        (
            json!({"a": {"$in": [1, 1.5]}}),
            "$in takes values of one type",
        ),
        (
            json!({"a": {"$in": [1, "x"]}}),
            "$in takes values of one type",
        ),
        (
            json!({"a": {"$in": [[1]]}}),
            "$in takes strings, numbers and booleans, got a list",
        ),
        (json!({"a": {"$regex": "x"}}), "$regex is no operator here"),
        (
            json!({"a": big}),
            "$eq takes whole numbers of 64 bits with a sign, and floats, got 9223",
        ),
        (
            json!({"$contains": "x"}),
            "$contains is no operator here; $and, $or and keys of metadata are",
        ),
        (
            json!({"$and": {"a": 1}}),
            "$and takes a list of expressions, got an object",
        ),
        (json!({"$or": [{}]}), "an expression has one key, got none"),
        (
            json!({"#document": "x"}),
            "$eq is no operator here; $contains, $not_contains",
        ),
        (
            json!({"#document": {"$contains": 1}}),
            "$contains takes a string, got 1",
        ),
        (
            json!({"#document": {"$eq": "x"}}),
            "$eq is no operator here",
        ),
        (json!({"#id": 1}), "an id is a string, got 1"),
        (
            json!({"#id": {"$in": []}}),
            "$in takes a list with at least one value",
        ),
        (
            json!({"#id": {"$gt": "x"}}),
            "$gt is no operator here; $eq, $ne, $in and $nin are",
        ),
    ]);
}

#[test]
fn where_document_reads_its_own_grammar_and_refuses_the_rest() {
    let filter = document(json!({"$or": [{"$contains": "a"}, {"$not_contains": ""}]})).unwrap();
    assert_eq!(
        format!("{filter:?}"),
        "Or([Document(Contains(\"a\")), Document(NotContains(\"\"))])"
    );
    for (clause, problem) in [
        (json!({}), "an expression has one key, got none"),
        (json!([]), "got an empty list"),
        (json!({"$contains": 1}), "$contains takes a string, got 1"),
        (
            json!({"$contains": "a", "$regex": "b"}),
            "one key, got 2: $contains, $regex",
        ),
        (
            json!({"a": "b"}),
            "a is no operator here; $contains, $not_contains, $regex and $not_regex are",
        ),
        (json!({"$foo": 1}), "$foo is no operator here"),
        (
            json!({"$and": "a"}),
            "$and takes a list of expressions, got \"a\"",
        ),
    ] {
        let error = document(clause.clone()).unwrap_err();
        let known = "Invalid where document clause: ";
        assert!(
            error.message.starts_with(known) && error.message.contains(problem),
            "{clause}: {error}"
        );
    }
}

#[test]
fn an_error_shows_the_beginning_of_a_long_value_alone() {
    let error = metadata(json!({"k": {"$gt": "\u{e9}".repeat(1 << 20)}})).unwrap_err();
    assert!(error.message.len() < 300, "{}", error.message.len());
    let error = metadata(json!({"k": {"x".repeat(1 << 20): 1}})).unwrap_err();
    assert!(error.message.len() < 300, "{}", error.message.len());
}

#[test]
fn bad_and_oversized_regular_expressions_are_400() {
    let error = document(json!({"$regex": "a("})).unwrap_err();
    assert!(
        error
            .message
            .starts_with("Regex syntax errror: regex parse error"),
        "{error}"
    );
    for pattern in ["a{1000000}", "((a{100}){100}){100}"] {
        let error = document(json!({ "$regex": pattern })).unwrap_err();
        assert_eq!(error.status, 400, "{error}");
    }
    let nested = format!("{}a{}", "(".repeat(1000), ")".repeat(1000));
    assert_eq!(
        document(json!({ "$regex": nested })).unwrap_err().status,
        400
    );
}

#[test]
fn large_but_legal_filters_are_read_and_endless_ones_are_not() {
    let values: Vec<_> = (0..100_000).collect();
    assert!(metadata(json!({"k": {"$in": values}})).is_ok());
    let members: Vec<_> = (0..10_000).map(|i| json!({ "k": i })).collect();
    assert!(metadata(json!({ "$or": members })).is_ok());
    let many: Vec<_> = (0..70_000).map(|i| json!({ "k": i })).collect();
    let error = metadata(json!({ "$or": many })).unwrap_err();
    assert!(
        error.message.starts_with("Invalid where clause: more than"),
        "{error}"
    );
    let deep = |levels| (0..levels).fold(json!({"k": 1}), |inner, _| json!({"$and": [inner]}));
    assert!(metadata(deep(60)).is_ok());
    let error = metadata(deep(61)).unwrap_err();
    assert!(
        error.message.starts_with("Invalid where clause: nested"),
        "{error}"
    );
}

#[test]
fn both_clauses_together_make_one_filter() {
    let both = parse(Some(json!({"k": 1})), Some(json!({"$contains": "x"}))).unwrap();
    assert!(matches!(both, Some(Filter::And(members)) if members.len() == 2));
    assert!(parse(None, None).unwrap().is_none());
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("$and".to_owned()),
        Just("$or".to_owned()),
        Just("$in".to_owned()),
        Just("$gt".to_owned()),
        Just("$contains".to_owned()),
        Just("$regex".to_owned()),
        Just("#document".to_owned()),
        Just("#id".to_owned()),
        ".{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_or_refused_with_400(value in any_json()) {
        for parsed in [metadata(value.clone()), document(value)] {
            if let Err(error) = parsed {
                prop_assert_eq!(error.status, 400);
            }
        }
    }
}

#[test]
fn patterns_of_many_words_are_refused_by_their_length() {
    let words = |count: usize| {
        let words: Vec<String> = (0..count).map(|word| format!("{word:06}")).collect();
        json!({"$regex": words.join("|")})
    };
    assert!(parse(None, Some(words(15_000))).is_ok());
    let error = parse(None, Some(words(20_000))).unwrap_err();
    assert_eq!(error.status, 400);
    assert!(
        error.message.contains("139999 bytes; at most 131072"),
        "{}",
        error.message
    );
}

#[test]
fn regular_expressions_of_a_filter_share_what_they_may_take() {
    let any = |count: usize, pattern: &str| {
        let members: Vec<Value> = (0..count)
            .map(|member| json!({"$regex": format!("{pattern}{member}")}))
            .collect();
        parse(None, Some(json!({"$or": members})))
    };
    assert!(any(2000, "short").is_ok());
    assert!(any(10, r"\w{30}").is_ok());
    let error = any(400, r"\w{30}").unwrap_err();
    assert_eq!(error.status, 400);
    assert!(
        error.message.contains("ask for fewer at a time"),
        "{}",
        error.message
    );
}
