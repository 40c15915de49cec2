//! What curation finds wrong with the data of a space, over a real socket.

use serde_json::{Value, json};

use crate::curation_scores::{Noise, SPACE, fill, log, refused};
use crate::harness::TestServer;

fn issues(server: &TestServer, query: &str) -> Value {
    let answer = server.get(&format!("{SPACE}/issues?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    for one in told["issues"].as_array().unwrap() {
        assert!(!one["explanation"].as_str().unwrap().is_empty(), "{one}");
        assert!(one["score"].as_f64().unwrap().is_finite(), "{one}");
    }
    told
}

fn each<'a>(told: &'a Value, member: &str) -> Vec<&'a str> {
    let all = told["issues"].as_array().unwrap().iter();
    all.map(|one| one[member].as_str().unwrap()).collect()
}

fn named(one: &Value) -> Vec<&str> {
    let ids = one["ids"].as_array().unwrap().iter();
    ids.map(|id| id.as_str().unwrap()).collect()
}

#[test]
fn wrong_labels_come_first_with_the_class_that_they_should_be() {
    let server = TestServer::start();
    fill(&server, 20, 0);
    assert_eq!(issues(&server, "type=label")["total"], 0);
    assert_eq!(issues(&server, "type=label&all=true")["total"], 60);
    // Of class `a` by its vector.
    let wrong = json!({"ids": ["t-003", "t-006"], "label_classes": ["b", "c"]});
    assert_eq!(server.post(&format!("{SPACE}/labels"), &wrong).status, 200);
    let told = issues(&server, "type=label");
    assert_eq!(
        (&told["total"], &told["ready"]),
        (&json!(2), &json!(true)),
        "{told}"
    );
    for one in told["issues"].as_array().unwrap() {
        assert!(
            ["t-003", "t-006"].contains(&one["id"].as_str().unwrap()),
            "{one}"
        );
        assert_eq!(one["suggested_class"], "a");
        assert!(one["confidence"].as_f64().unwrap() > 0.5);
    }
    let pairs = told["estimated_errors"].as_array().unwrap();
    assert_eq!(pairs.len(), 2, "{pairs:?}");
    let second = issues(&server, "type=label&limit=1&offset=1");
    assert_eq!(each(&second, "id"), each(&told, "id")[1..]);
    let scores = issues(&server, "type=label&all=true");
    let scores: Vec<f64> = scores["issues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores.len() == 60);
    // Put right again, nothing is wrong.
    let right = json!({"ids": ["t-003", "t-006"], "label_classes": ["a", "a"]});
    assert_eq!(server.post(&format!("{SPACE}/labels"), &right).status, 200);
    let after = issues(&server, "type=label");
    assert_eq!(after["total"], 0);
    assert!(after["epoch"].as_u64() > told["epoch"].as_u64());
}

#[test]
fn duplicates_leaks_and_outliers_are_named_with_how_near_they_are() {
    let server = TestServer::start();
    fill(&server, 60, 0);
    let mut noise = Noise(3);
    let same = noise.near(1, 0.2);
    let mut almost = same.clone();
    almost[0] += 1e-4;
    let apart = vec![-5.0, -4.0, -5.0, -4.0, 0.0, 0.0, 0.0, 0.0];
    log(
        &server,
        "training",
        &[("twin-train".to_owned(), same.clone(), Some("b"))],
    );
    log(
        &server,
        "production",
        &[
            ("twin-seen".to_owned(), same, Some("b")),
            ("far".to_owned(), apart, Some("a")),
        ],
    );
    let body = json!({
        "space": "digits", "context": "test", "ids": ["twin-test"], "embeddings": [almost],
        "input_uris": ["file:///twin-test"], "label_classes": ["b"],
    });
    assert_eq!(server.post("/curation/v1/log", &body).status, 201);
    let twins = issues(&server, "type=near_duplicate&threshold=0.001");
    assert_eq!(twins["total"], 1, "{twins}");
    let all = ["twin-seen", "twin-test", "twin-train"];
    assert_eq!(named(&twins["issues"][0]), all);
    assert!(twins["issues"][0]["score"].as_f64().unwrap() > 0.99);
    let leaks = issues(&server, "type=leak&threshold=0.001");
    assert_eq!(named(&leaks["issues"][0]), all);
    assert_eq!(issues(&server, "type=leak&threshold=0")["total"], 0);
    let by_rule = issues(&server, "type=near_duplicate");
    assert!(by_rule["total"].as_u64().unwrap() >= 1, "{by_rule}");
    let outliers = issues(&server, "type=outlier");
    assert_eq!(each(&outliers, "id"), ["far"], "{outliers}");
    assert_eq!(outliers["issues"][0]["dataset"], "production");
    // What a client deletes behind the back of curation is no issue any more.
    let gone = json!({"ids": ["far", "twin-test"]});
    let collection = server.get(SPACE).json()["collection_id"].clone();
    let path = format!(
        "{}/collections/{}/delete",
        crate::harness::DATABASE,
        collection.as_str().unwrap()
    );
    assert_eq!(server.post(&path, &gone).status, 200);
    assert_eq!(issues(&server, "type=outlier")["total"], 0);
    assert_eq!(issues(&server, "type=leak&threshold=0.001")["total"], 0);
}

#[test]
fn counts_and_vectors_tell_rare_and_unknown_classes_dead_numbers_and_moved_norms() {
    let server = TestServer::start();
    fill(&server, 60, 0);
    let mut noise = Noise(9);
    log(
        &server,
        "training",
        &[("rare".to_owned(), noise.near(4, 0.2), Some("e"))],
    );
    let strange: Vec<_> = (0..5)
        .map(|n| {
            (
                format!("strange-{n}"),
                noise.near(6, 0.2),
                Some("unheard of"),
            )
        })
        .collect();
    log(&server, "production", &strange);
    let rare = issues(&server, "type=imbalance");
    assert_eq!(each(&rare, "class"), ["e"]);
    assert_eq!(named(&rare["issues"][0]), ["rare"]);
    let unknown = issues(&server, "type=unknown_class");
    assert_eq!(each(&unknown, "class"), ["unheard of"]);
    assert_eq!(unknown["issues"][0]["records"], 5);
    let missing = issues(&server, "type=missing_probabilities");
    assert_eq!(each(&missing, "dataset"), ["production", "training"]);
    let none = issues(&server, "type=dead_dimension")["total"].clone();
    assert_eq!(
        (none, &issues(&server, "type=norm_shift")["total"]),
        (json!(0), &json!(0))
    );
    let long: Vec<_> = (0..200)
        .map(|n| {
            let mut vector: Vec<f64> = noise.near(n % 3, 0.2).iter().map(|x| x * 9.0).collect();
            vector[7] = 0.5;
            (format!("long-{n}"), vector, Some("a"))
        })
        .collect();
    log(&server, "production", &long);
    let moved = issues(&server, "type=norm_shift");
    assert_eq!(moved["total"], 1, "{moved}");
    // Pages lead through all types, one after the other.
    let whole = issues(&server, "");
    let mut paged = Vec::new();
    for offset in 0..whole["total"].as_u64().unwrap() {
        let page = issues(&server, &format!("limit=1&offset={offset}"));
        paged.extend(page["issues"].as_array().unwrap().clone());
    }
    assert_eq!(&json!(paged), &whole["issues"]);
    let totals = whole["totals"].as_object().unwrap();
    let sum: u64 = totals.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!((totals.len(), whole["total"].as_u64()), (10, Some(sum)));
}

#[test]
fn a_cluster_on_which_the_model_is_mostly_wrong_is_named() {
    let server = TestServer::start();
    // The model says `a` of everything near the axis of `b` from production, rightly elsewhere.
    let mut noise = Noise(11);
    fill(&server, 0, 0);
    let seen: Vec<_> = (0..240)
        .map(|n| {
            let said = ["a", "a", "c"][n % 3];
            (format!("p-{n:03}"), noise.near(n % 3, 0.2), Some(said))
        })
        .collect();
    log(&server, "production", &seen);
    let labels: Vec<&str> = (0..240).map(|n| ["a", "b", "c"][n % 3]).collect();
    let ids: Vec<&String> = seen.iter().map(|one| &one.0).collect();
    let told = json!({"ids": ids, "label_classes": labels});
    assert_eq!(server.post(&format!("{SPACE}/labels"), &told).status, 200);
    let weak = issues(&server, "type=underperforming_cluster");
    assert!(weak["total"].as_u64().unwrap() >= 1, "{weak}");
    for one in weak["issues"].as_array().unwrap() {
        assert_eq!(one["inferred_class"], "a");
        let of_b = |id: &&str| id[2..].parse::<usize>().unwrap() % 3 == 1;
        assert!(named(one).iter().all(of_b), "{one}");
    }
}

#[test]
fn labels_and_inferences_are_counted_with_examples() {
    let server = TestServer::start();
    fill(&server, 20, 0);
    let right = json!({"ids": ["p-003", "p-004"], "label_classes": ["a", "c"]});
    assert_eq!(server.post(&format!("{SPACE}/labels"), &right).status, 200);
    let confusion = |query: &str| {
        let answer = server.get(&format!("{SPACE}/confusion?{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let told = confusion("context=production");
    let expected = json!([
        {"label_class": "a", "inference_class": "a", "count": 1, "examples": ["p-003"]},
        {"label_class": "c", "inference_class": "b", "count": 1, "examples": ["p-004"]},
    ]);
    assert_eq!(told["cells"], expected);
    assert_eq!(
        (&told["accuracy"], &told["records"]),
        (&json!(0.5), &json!(2))
    );
    let of_b = &told["classes"][1];
    assert_eq!(
        (&of_b["class"], &of_b["precision"]),
        (&json!("b"), &json!(0.0))
    );
    let some = confusion("dataset=production&where=%7B%22label_class%22%3A%22c%22%7D");
    assert_eq!(some["cells"], json!([expected[1]]));
    // Pages lead through all cells; what is told besides them is of all records.
    let mut led: Vec<Value> = Vec::new();
    for offset in 0..4 {
        let page = confusion(&format!("context=production&limit=1&offset={offset}"));
        assert_eq!((&page["total"], &page["records"]), (&json!(2), &json!(2)));
        assert_eq!(page["classes"], told["classes"]);
        led.extend(page["cells"].as_array().unwrap().clone());
    }
    assert_eq!(json!(led), expected);
    assert_eq!(confusion("limit=0")["cells"], json!([]));
    let nothing = confusion("dataset=training&context=production");
    assert_eq!(nothing["accuracy"], Value::Null);
    let path = |query: &str| format!("{SPACE}/confusion?{query}");
    refused(
        &server.get(&path("dataset=none")),
        404,
        "dataset_not_found",
        Some("dataset"),
    );
    refused(
        &server.get(&path("limit=10001")),
        400,
        "too_many_records",
        Some("limit"),
    );
    refused(
        &server.get(&path("where=x")),
        400,
        "bad_filter",
        Some("where"),
    );
    refused(
        &server.get(&path("context=work")),
        400,
        "unknown_context",
        Some("context"),
    );
}

#[test]
fn issues_that_cannot_be_told_say_why() {
    let server = TestServer::start();
    let path = |query: &str| format!("{SPACE}/issues?{query}");
    refused(
        &server.get(&path("")),
        404,
        "space_not_found",
        Some("space"),
    );
    let mut noise = Noise(5);
    let rows: Vec<_> = (0..4)
        .map(|n| (format!("p-{n}"), noise.near(n, 0.1), None))
        .collect();
    log(&server, "production", &rows);
    refused(
        &server.get(&path("type=label")),
        422,
        "no_reference",
        Some("label_class"),
    );
    let told = issues(&server, "");
    assert_eq!(told["no_reference"], true);
    assert_eq!(told["totals"]["missing_probabilities"], 1);
    assert!(told["totals"]["label"].is_null());
    refused(
        &server.get(&path("type=typo")),
        400,
        "unknown_type",
        Some("type"),
    );
    refused(
        &server.get(&path("limit=10001")),
        400,
        "too_many_records",
        Some("limit"),
    );
    refused(
        &server.get(&path("threshold=3")),
        400,
        "out_of_range",
        Some("threshold"),
    );
    refused(
        &server.get(&path("threshold=near")),
        400,
        "invalid_argument",
        Some("threshold"),
    );
}

#[test]
fn lists_issues_and_training_are_exported_as_lines_and_as_csv() {
    let server = TestServer::start();
    fill(&server, 1200, 0);
    let export = |query: &str| {
        let answer = server.get(&format!("{SPACE}/export?{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().to_owned()
    };
    let lines = |text: &str| -> Vec<Value> {
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let training = lines(&export("what=training"));
    assert_eq!(training.len(), 60);
    assert_eq!(
        (&training[3]["id"], &training[3]["label_class"]),
        (&json!("t-003"), &json!("a"))
    );
    assert_eq!(training[3]["embedding"].as_array().unwrap().len(), 8);
    let list = lines(&export("what=recommendations&format=jsonl"));
    let whole = server
        .post(&format!("{SPACE}/recommendations"), &json!({"n": 1000}))
        .json();
    let expected: Vec<&Value> = whole["recommendations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(
        list.iter().map(|one| &one["id"]).collect::<Vec<_>>(),
        expected
    );
    assert!(list.len() > 100 && list[0]["reasons"].is_array());
    let found = export("what=issues&format=csv");
    let (head, rows) = found.split_once("\r\n").unwrap();
    assert!(head.starts_with("type,id,ids,score,explanation,"), "{head}");
    let total = issues(&server, "limit=0")["total"].as_u64().unwrap() as usize;
    assert_eq!(rows.matches("\r\n").count(), total);
    let path = |query: &str| format!("{SPACE}/export?{query}");
    refused(&server.get(&path("")), 400, "unknown_export", Some("what"));
    refused(
        &server.get(&path("what=all")),
        400,
        "unknown_export",
        Some("what"),
    );
    refused(
        &server.get(&path("what=issues&format=xml")),
        400,
        "unknown_format",
        Some("format"),
    );
    refused(
        &server.get("/curation/v1/spaces/none/export?what=issues"),
        404,
        "space_not_found",
        Some("space"),
    );
}
