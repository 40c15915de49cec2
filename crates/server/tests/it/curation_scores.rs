//! What curation says of records over a real socket: trouble, reasons, the list, decisions, labels.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use vermilion_engine::Config;

use crate::harness::{Answer, DATABASE, TestServer};

pub(crate) const SPACE: &str = "/curation/v1/spaces/digits";

/// A seeded source of numbers in [-1, 1).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as f64 / f64::from(1 << 30) - 1.0
    }

    /// A vector near that of a class: eight dimensions, classes on their axes.
    pub(crate) fn near(&mut self, class: usize, spread: f64) -> Vec<f64> {
        (0..8)
            .map(|at| f64::from(u8::from(at == class)) + spread * self.next())
            .collect()
    }
}

pub(crate) fn log(
    server: &TestServer,
    context: &str,
    rows: &[(String, Vec<f64>, Option<&str>)],
) -> Value {
    let is_training = context == "training";
    let classes: Vec<Option<&str>> = rows.iter().map(|row| row.2).collect();
    let body = json!({
        "space": "digits",
        "context": context,
        "ids": rows.iter().map(|row| &row.0).collect::<Vec<_>>(),
        "input_uris": rows.iter().map(|row| format!("file:///{}", row.0)).collect::<Vec<_>>(),
        "embeddings": rows.iter().map(|row| &row.1).collect::<Vec<_>>(),
        "label_classes": if is_training { json!(classes) } else { Value::Null },
        "inference_classes": if is_training { Value::Null } else { json!(classes) },
    });
    let answer = server.post("/curation/v1/log", &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

const CLASSES: [&str; 3] = ["a", "b", "c"];

/// Training of three classes, and production of these and of one that is new: `new-N`.
pub(crate) fn fill(server: &TestServer, production: usize, new: usize) {
    let mut noise = Noise(7);
    let training: Vec<_> = (0..60)
        .map(|n| {
            (
                format!("t-{n:03}"),
                noise.near(n % 3, 0.2),
                Some(CLASSES[n % 3]),
            )
        })
        .collect();
    log(server, "training", &training);
    let mut seen: Vec<_> = (0..production)
        .map(|n| {
            (
                format!("p-{n:03}"),
                noise.near(n % 3, 0.2),
                Some(CLASSES[n % 3]),
            )
        })
        .collect();
    seen.extend((0..new).map(|n| (format!("new-{n:03}"), noise.near(5, 0.2), Some("a"))));
    for part in seen.chunks(37) {
        log(server, "production", part);
    }
}

fn recommend(server: &TestServer, asked: &Value) -> Value {
    let answer = server.post(&format!("{SPACE}/recommendations"), asked);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn ids(told: &Value) -> Vec<String> {
    let all = told["recommendations"].as_array().unwrap().iter();
    all.map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

fn explain(server: &TestServer, id: &str) -> Value {
    let answer = server.get(&format!("{SPACE}/records/{id}/explain"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn trouble(server: &TestServer, id: &str) -> f64 {
    explain(server, id)["assessment"]["trouble"]
        .as_f64()
        .unwrap()
}

#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, code: &str, field: Option<&str>) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    assert_eq!(
        (body["error"].as_str(), body["field"].as_str()),
        (Some(code), field)
    );
}

#[test]
fn what_is_unseen_is_in_more_trouble_than_what_was_learned_and_says_why() {
    let server = TestServer::start();
    fill(&server, 300, 20);
    let mean = |prefix: &str, count: usize| {
        let all = (0..count).map(|n| trouble(&server, &format!("{prefix}-{n:03}")));
        all.sum::<f64>() / count as f64
    };
    let (learned, new) = (mean("p", 40), mean("new", 20));
    assert!(new > 0.85 && learned < 0.6, "{new} {learned}");
    let told = explain(&server, "new-003");
    let one = &told["assessment"];
    assert_eq!(one["inferred_by"], "model");
    assert_eq!(one["training_recommended"], true);
    assert_eq!(one["missing"], json!([]));
    let novelty = &one["parts"]["novelty"];
    assert!(novelty["percentile"].as_f64().unwrap() > 0.9, "{novelty}");
    let reasons = one["reasons"].to_string();
    assert!(
        reasons.contains("farther from all training records"),
        "{reasons}"
    );
    assert_eq!(one["nearest_training"].as_array().unwrap().len(), 5);
    assert_eq!(told["class_distances"].as_array().unwrap().len(), 3);
    assert_eq!(told["as_of"]["stale_records"], 0);
    refused(
        &server.get(&format!("{SPACE}/records/none/explain")),
        404,
        "record_not_found",
        Some("id"),
    );
}

#[test]
fn vectors_are_assessed_without_being_stored_and_batches_as_they_are_logged() {
    let server = TestServer::start();
    let empty = json!({"embeddings": [[1, 0, 0, 0, 0, 0, 0, 0]]});
    refused(
        &server.post(&format!("{SPACE}/assess"), &empty),
        404,
        "space_not_found",
        Some("space"),
    );
    let early = json!({
        "space": "digits", "context": "production", "assess": true,
        "embeddings": [[1, 0, 0, 0, 0, 0, 0, 0]], "input_uris": ["early"],
    });
    let answer = server.post("/curation/v1/log", &early);
    assert_eq!(answer.status, 202, "{}", answer.text());
    refused(
        &server.post(&format!("{SPACE}/assess"), &empty),
        422,
        "no_reference",
        Some("label_class"),
    );
    fill(&server, 30, 0);
    let vectors = json!({
        "embeddings": [[1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 3, 0, 0]],
        "inference_classes": ["a", "unheard of"],
    });
    let answer = server.post(&format!("{SPACE}/assess"), &vectors);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    let value = |at: usize| told["assessments"][at]["trouble"].as_f64().unwrap();
    assert!(value(1) > 0.8 && value(0) < 0.5, "{told}");
    let mut batch = early.clone();
    batch["input_uris"] = json!(["late"]);
    let answer = server.post("/curation/v1/log", &batch);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let one = &answer.json()["assessments"][0];
    assert_eq!(
        (&one["inferred_class"], &one["inferred_by"]),
        (&json!("a"), &json!("server"))
    );
    let wrong = json!({"embeddings": [[1, 0]]});
    refused(
        &server.post(&format!("{SPACE}/assess"), &wrong),
        400,
        "dimension_mismatch",
        Some("embeddings"),
    );
}

#[test]
fn trouble_is_the_sum_of_what_its_signals_count_and_that_is_told_with_why() {
    let server = TestServer::start();
    let path = format!("{SPACE}/signals");
    let rows = vec![("p-000".to_owned(), Noise(1).near(0, 0.1), None)];
    log(&server, "production", &rows);
    refused(&server.get(&path), 422, "no_reference", Some("label_class"));
    fill(&server, 300, 20);
    let told = server.get(&path).json();
    assert_eq!(
        told["right"].as_u64().zip(told["wrong"].as_u64()),
        Some((60, 0))
    );
    assert_eq!(
        (&told["ready"], &told["percentiles_among"]),
        (&json!(true), &json!("production"))
    );
    let signals = told["signals"].as_array().unwrap();
    let shares = signals.iter().map(|one| one["share"].as_f64().unwrap());
    assert!((shares.sum::<f64>() - 1.0).abs() < 1e-9, "{told}");
    let novelty = signals
        .iter()
        .find(|one| one["signal"] == "novelty")
        .unwrap();
    // Classes are apart, so that a record without its own is always farther than one with it.
    assert_eq!(
        (&novelty["tells_errors"], &novelty["tells_unknown"]),
        (&Value::Null, &json!(1.0))
    );
    let why = novelty["explanation"].as_str().unwrap();
    assert!(
        why.contains("no errors on training") && why.contains("100 %"),
        "{why}"
    );
    let one = explain(&server, "new-003");
    let parts = one["assessment"]["parts"].as_object().unwrap();
    let counted = parts
        .values()
        .map(|part| part["share"].as_f64().unwrap() * part["percentile"].as_f64().unwrap());
    let trouble = one["assessment"]["trouble"].as_f64().unwrap();
    assert!((counted.sum::<f64>() - trouble).abs() < 1e-9, "{one}");
    let words = one["trouble_explanation"].as_str().unwrap();
    assert!(
        words.starts_with(&format!("trouble {trouble:.2} = ")),
        "{words}"
    );
    assert_eq!(one["weights"]["signals"], told["signals"]);
    let status = server.get("/curation/v1/status").json();
    assert_eq!(
        status["spaces"][0]["signal_shares"]["novelty"],
        novelty["share"]
    );
}

#[test]
fn a_cursor_leads_on_in_its_list_whatever_is_logged_and_decided_meanwhile() {
    let server = TestServer::start();
    fill(&server, 200, 30);
    let whole = ids(&recommend(&server, &json!({"n": 1000})));
    let mut noise = Noise(11);
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    let mut decided = Vec::new();
    for page in 0.. {
        let told = recommend(&server, &json!({"n": 7, "cursor": cursor}));
        seen.extend(ids(&told));
        assert_eq!(told["ready"], page == 0, "{page}");
        cursor = told["cursor"].clone();
        if cursor.is_null() {
            break;
        }
        let more: Vec<_> = (0..5)
            .map(|n| (format!("later-{page}-{n}"), noise.near(5, 0.2), Some("b")))
            .collect();
        log(&server, "production", &more);
        if page == 2 {
            // What is decided meanwhile is told no more, and shifts nothing.
            let last = whole.last().unwrap();
            let body = json!({"ids": [last], "decision": "junk"});
            assert_eq!(
                server.post(&format!("{SPACE}/decisions"), &body).status,
                200
            );
            decided.push(last.clone());
        }
    }
    let open = whole.iter().filter(|id| !decided.contains(id));
    assert_eq!(seen, open.cloned().collect::<Vec<_>>());
    assert!(
        ids(&recommend(&server, &json!({})))
            .iter()
            .any(|id| id.starts_with("later"))
    );
}

#[test]
fn recommendations_descend_cover_more_and_more_and_page_through_one_list() {
    let server = TestServer::start();
    fill(&server, 200, 30);
    let whole = recommend(&server, &json!({"n": 60}));
    let all = whole["recommendations"].as_array().unwrap();
    let numbers =
        |key: &str| -> Vec<f64> { all.iter().map(|one| one[key].as_f64().unwrap()).collect() };
    assert!((numbers("priority")[0] - 1.0).abs() < 1e-12);
    assert!(numbers("priority").is_sorted_by(|a, b| a >= b));
    assert!(numbers("coverage").is_sorted());
    assert!(
        all.iter()
            .all(|one| one["state"] == "open" && one["input_uri"].is_string())
    );
    // The first entries stand for many; what they stand for is told with the other reasons.
    let stood_for = |one: &Value| one["stands_for"].as_u64().unwrap();
    assert!(stood_for(&all[0]) > 1 && all.iter().all(|one| stood_for(one) <= 15));
    for one in all {
        let reasons = one["reasons"].as_array().unwrap();
        let told = reasons.iter().filter_map(|reason| {
            let rest = reason.as_str()?.strip_prefix("stands for ")?;
            rest.split(' ').next()?.parse::<u64>().ok()
        });
        let expected = Some(stood_for(one)).filter(|count| *count > 0);
        assert_eq!(told.collect::<Vec<_>>(), Vec::from_iter(expected), "{one}");
        assert!(reasons.len() > usize::from(expected.is_some()));
    }
    let head = recommend(&server, &json!({"n": 10, "explain": false}));
    assert_eq!(ids(&head), ids(&whole)[..10]);
    assert!(head["recommendations"][0]["reasons"].is_null());
    let next = recommend(&server, &json!({"n": 10, "cursor": head["cursor"]}));
    assert_eq!(ids(&next), ids(&whole)[10..20]);
    assert_eq!(next["recommendations"][0]["rank"], 11);
    let simple = server
        .get("/curation/v1/recommendations?space=digits&skip=3&limit=4")
        .json();
    assert_eq!(ids(&simple), ids(&whole)[3..7]);
    let capped = recommend(&server, &json!({"n": 100, "per_class_cap": 2}));
    assert!(ids(&capped).len() <= 6, "{}", ids(&capped).len());
    let some = recommend(&server, &json!({"where": {"inference_class": "b"}}));
    let of_b = some["recommendations"].as_array().unwrap();
    assert!(!of_b.is_empty() && of_b.iter().all(|one| one["inferred_class"] == "b"));
    let other = json!({"cursor": head["cursor"], "per_class_cap": 2});
    let answer = server.post(&format!("{SPACE}/recommendations"), &other);
    refused(&answer, 409, "cursor_expired", Some("cursor"));
    for (wrong, code, field) in [
        (
            json!({"objective": "win"}),
            "unknown_objective",
            "objective",
        ),
        (json!({"candidates": 0}), "out_of_range", "candidates"),
        (json!({"n": 1001}), "too_many_records", "n"),
        (json!({"cursor": "x"}), "bad_cursor", "cursor"),
        (json!({"where": {"a": {"$x": 1}}}), "bad_filter", "where"),
        (json!({"top": 1}), "unknown_field", "top"),
    ] {
        let answer = server.post(&format!("{SPACE}/recommendations"), &wrong);
        refused(&answer, 400, code, Some(field));
    }
}

#[test]
fn without_training_data_recommendations_are_refused_or_degraded() {
    let server = TestServer::start();
    let mut noise = Noise(3);
    let rows: Vec<_> = (0..40)
        .map(|n| (format!("p-{n:03}"), noise.near(n % 3, 0.1), None))
        .collect();
    log(&server, "production", &rows);
    let path = format!("{SPACE}/recommendations");
    refused(
        &server.post(&path, &json!({})),
        422,
        "no_reference",
        Some("label_class"),
    );
    let told = recommend(&server, &json!({"allow_degraded": true, "n": 3}));
    assert_eq!(told["degraded"], true);
    // One of each cluster covers most.
    let mut clusters: Vec<usize> = ids(&told)
        .iter()
        .map(|id| id[2..].parse::<usize>().unwrap() % 3)
        .collect();
    clusters.sort_unstable();
    assert_eq!(clusters, [0, 1, 2]);
}

#[test]
fn decisions_and_labels_take_records_off_the_list_and_promotion_moves_them() {
    let server = TestServer::start();
    fill(&server, 200, 30);
    let before = ids(&recommend(&server, &json!({"n": 5})));
    let decide = |body: Value| server.post(&format!("{SPACE}/decisions"), &body);
    let decided = decide(json!({"ids": &before[..1], "decision": "junk"}));
    assert_eq!(decided.status, 200, "{}", decided.text());
    let snoozed =
        decide(json!({"ids": &before[1..2], "decisions": ["snoozed"], "snooze_seconds": 0.3}));
    assert_eq!(snoozed.json()["records"], 1);
    let after = ids(&recommend(&server, &json!({"n": 100})));
    assert!(!after.contains(&before[0]) && !after.contains(&before[1]));
    let shown = recommend(
        &server,
        &json!({"n": 200, "candidates": 1.0, "exclude_decided": false}),
    );
    let all = shown["recommendations"].as_array().unwrap();
    assert!(
        all.iter()
            .any(|one| one["id"] == before[0].as_str() && one["state"] == "junk")
    );
    std::thread::sleep(std::time::Duration::from_millis(400));
    let later = ids(&recommend(&server, &json!({"n": 200, "candidates": 1.0})));
    assert!(later.contains(&before[1]) && !later.contains(&before[0]));
    let taken_back = decide(json!({"ids": &before[..1], "decisions": [null]}));
    assert_eq!(taken_back.status, 200);
    let epoch = recommend(&server, &json!({"n": 1}))["epoch"]
        .as_u64()
        .unwrap();
    let new: Vec<String> = (0..10).map(|n| format!("new-{n:03}")).collect();
    let old = trouble(&server, "new-020");
    let labels = json!({"ids": new, "label_classes": vec!["d"; 10], "promote": "v8"});
    let labelled = server.post(&format!("{SPACE}/labels"), &labels);
    assert_eq!(labelled.status, 200, "{}", labelled.text());
    assert!(labelled.json()["epoch"].as_u64().unwrap() > epoch);
    assert!(trouble(&server, "new-020") < old, "its like was labelled");
    let told = explain(&server, "new-000");
    assert_eq!(
        (&told["context"], &told["dataset"]),
        (&json!("training"), &json!("v8"))
    );
    let spaces = server.get(SPACE).json();
    assert_eq!(
        spaces["contexts"],
        json!({"production": 220, "training": 70})
    );
    refused(
        &decide(json!({"ids": ["none"], "decision": "junk"})),
        404,
        "record_not_found",
        Some("id"),
    );
    refused(
        &decide(json!({"ids": ["p-001"], "decision": "win"})),
        400,
        "unknown_decision",
        Some("decision"),
    );
    refused(
        &decide(json!({"ids": ["p-001", "p-001"], "decision": "junk"})),
        400,
        "duplicate_id",
        Some("ids"),
    );
    let lengths = json!({"ids": ["p-001"], "label_classes": []});
    refused(
        &server.post(&format!("{SPACE}/labels"), &lengths),
        400,
        "length_mismatch",
        Some("label_classes"),
    );
}

/// Trouble of every record in `ids`, and the list.
fn everything(server: &TestServer, ids: &[String]) -> (Vec<f64>, Value) {
    let troubles = ids.iter().map(|id| trouble(server, id)).collect();
    let mut list = recommend(server, &json!({"n": 50}));
    // What a restart counts anew.
    for member in ["epoch", "as_of_seq", "cursor"] {
        list[member] = Value::Null;
    }
    (troubles, list)
}

#[test]
fn a_desk_that_followed_every_batch_says_what_one_that_read_everything_says() {
    let folder = tempfile::tempdir().unwrap();
    let open = || TestServer::over(Config::at(folder.path()).unwrap(), |_| {});
    let server = open();
    fill(&server, 230, 10);
    recommend(&server, &json!({}));
    let collection = server.get(SPACE).json()["collection_id"].clone();
    let path = format!("{DATABASE}/collections/{}", collection.as_str().unwrap());
    // Behind the back of curation: a deletion, and a label taken back.
    let gone = json!({"ids": ["p-003", "t-004", "new-001"]});
    assert_eq!(server.post(&format!("{path}/delete"), &gone).status, 200);
    recommend(&server, &json!({}));
    let other = json!({"ids": ["t-005"], "metadatas": [{"label_class": "a"}]});
    assert_eq!(server.post(&format!("{path}/update"), &other).status, 200);
    let labels = json!({"ids": ["t-006", "p-007"], "label_classes": [null, "b"]});
    assert_eq!(server.post(&format!("{SPACE}/labels"), &labels).status, 200);
    let asked: Vec<String> = (10..60).map(|n| format!("p-{n:03}")).collect();
    let (streamed, list) = everything(&server, &asked);
    drop(server);
    let server = open();
    let (anew, list_anew) = everything(&server, &asked);
    for (at, (a, b)) in streamed.iter().zip(&anew).enumerate() {
        assert!((a - b).abs() < 1e-4, "{}: {a} {b}", asked[at]);
    }
    assert_eq!(ids(&list), ids(&list_anew));
    let gone = server.get(&format!("{SPACE}/records/p-003/explain"));
    assert_eq!(gone.status, 404);
}

/// Logs production with `assess`; the answered assessments.
fn assessed(server: &TestServer, rows: &[(String, Vec<f64>)]) -> Vec<Value> {
    let ids: Vec<&String> = rows.iter().map(|row| &row.0).collect();
    let body = json!({
        "space": "digits", "context": "production", "assess": true, "ids": ids, "input_uris": ids,
        "embeddings": rows.iter().map(|row| &row.1).collect::<Vec<_>>(),
        "inference_classes": vec!["a"; rows.len()],
    });
    let answer = server.post("/curation/v1/log", &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["assessments"].as_array().unwrap().clone()
}

#[test]
fn what_is_logged_gets_a_provisional_priority_that_decisions_lower() {
    let server = TestServer::start();
    // The job would make the list anew in between.
    let paused = server.post("/curation/v1/service/scorer/pause", &json!({}));
    assert_eq!(paused.status, 200, "{}", paused.text());
    fill(&server, 200, 0);
    recommend(&server, &json!({}));
    let mut noise = Noise(77);
    let mut some = |name: &str, count: usize, class: usize| -> Vec<(String, Vec<f64>)> {
        (0..count)
            .map(|n| (format!("{name}-{n}"), noise.near(class, 0.1)))
            .collect()
    };
    // A new kind: the more of it there is, the more labelling one of it would add.
    let first = assessed(&server, &some("kind", 1, 6));
    assert_eq!(first[0]["provisional"], true, "{first:?}");
    let alone = first[0]["priority"].as_f64().unwrap();
    let many = assessed(&server, &some("more", 12, 6));
    let among: f64 = many
        .iter()
        .map(|one| one["priority"].as_f64().unwrap())
        .sum::<f64>()
        / 12.0;
    assert!(among > alone + 0.1 && among <= 1.0, "{among} {alone}");
    let known = assessed(&server, &some("known", 5, 0));
    let usual: f64 = known
        .iter()
        .map(|one| one["priority"].as_f64().unwrap())
        .sum::<f64>()
        / 5.0;
    assert!(usual < among, "{usual} {among}");
    // One is decided about: what is like it matters less at once.
    let ids: Vec<String> = (0..12).map(|n| format!("more-{n}")).collect();
    let body = json!({"ids": ids, "decision": "model_is_right"});
    assert_eq!(
        server.post(&format!("{SPACE}/decisions"), &body).status,
        200
    );
    let after = assessed(&server, &some("after", 5, 6));
    let left: f64 = after
        .iter()
        .map(|one| one["priority"].as_f64().unwrap())
        .sum::<f64>()
        / 5.0;
    assert!(left < among * 0.8, "{left} {among}");
    // What is no production has none.
    let body = json!({
        "space": "digits", "context": "test", "assess": true, "ids": ["x"], "input_uris": ["x"],
        "embeddings": [noise.near(6, 0.1)],
    });
    let test = server.post("/curation/v1/log", &body).json();
    assert!(test["assessments"][0]["priority"].is_null(), "{test}");
}

#[test]
fn the_job_makes_the_list_by_itself_so_that_logs_are_measured_by_it() {
    let server = TestServer::start();
    fill(&server, 100, 0);
    let mut noise = Noise(5);
    let begun = std::time::Instant::now();
    for n in 0.. {
        let told = assessed(&server, &[(format!("probe-{n}"), noise.near(1, 0.2))]);
        if told[0]["priority"].is_number() {
            break;
        }
        assert!(begun.elapsed().as_secs() < 20, "{told:?}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn what_is_asked_while_records_are_logged_misses_none_of_them_later() {
    const WRITERS: usize = 4;
    const BATCHES: usize = 60;
    let server = TestServer::start();
    fill(&server, 10, 0);
    let before = records(&server);
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while done.load(Ordering::Relaxed) < WRITERS {
                    records(&server);
                }
            });
        }
        for writer in 0..WRITERS {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                for batch in 0..BATCHES {
                    let id = |n| format!("w{writer}-{batch}-{n}");
                    let near: Vec<_> = (0..5)
                        .map(|n| (id(n), Noise(9).near(0, 0.2), None))
                        .collect();
                    log(server, "production", &near);
                }
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    let logged = (WRITERS * BATCHES * 5) as u64;
    assert_eq!(records(&server), before + logged);
}

/// The records of the space that requests know.
fn records(server: &TestServer) -> u64 {
    let asked = server.get("/curation/v1/spaces/digits/confusion");
    assert_eq!(asked.status, 200, "{}", asked.text());
    let told = server.get("/curation/v1/status").json();
    told["spaces"][0]["records"].as_u64().unwrap()
}

#[test]
fn a_first_batch_of_production_is_ranked_among_training_until_it_is_scored() {
    let server = TestServer::start();
    let paused = server.post("/curation/v1/service/scorer/pause", &json!({}));
    assert_eq!(paused.status, 200, "{}", paused.text());
    let mut noise = Noise(11);
    let training: Vec<_> = (0..711)
        .map(|n| {
            (
                format!("t-{n}"),
                noise.near(n % 3, 0.2),
                Some(CLASSES[n % 3]),
            )
        })
        .collect();
    log(&server, "training", &training);
    let odd = |n: usize| n.is_multiple_of(10);
    let rows: Vec<_> = (0..250)
        .map(|n| {
            (
                format!("p-{n}"),
                noise.near(if odd(n) { 5 } else { 0 }, 0.2),
            )
        })
        .collect();
    let told = assessed(&server, &rows);
    let troubles: Vec<f64> = told
        .iter()
        .map(|one| one["trouble"].as_f64().unwrap())
        .collect();
    let of = |is_odd: bool| (0..250).filter(move |n| odd(*n) == is_odd);
    let least = of(true).map(|n| troubles[n]).fold(1.0, f64::min);
    let usual = of(false).map(|n| troubles[n]).sum::<f64>() / 225.0;
    let above = of(false).filter(|n| troubles[*n] >= least).count();
    assert!(
        least > 0.8 && usual < 0.65 && above <= 5,
        "{least} {usual} {above}"
    );
    let differ: std::collections::BTreeSet<u64> = troubles.iter().map(|t| t.to_bits()).collect();
    assert!(differ.len() > 100, "{}", differ.len());
}

#[test]
fn a_class_that_nobody_has_named_is_told_back_and_nothing_at_all_is_refused() {
    let server = TestServer::start();
    fill(&server, 30, 0);
    let path = format!("{SPACE}/assess");
    let vectors = json!({
        "embeddings": [[0, 0, 0, 0, 0, 3, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]],
        "inference_classes": ["zebra", null],
    });
    let told = server.post(&path, &vectors).json();
    let [one, other] = [0, 1].map(|at| &told["assessments"][at]);
    assert_eq!(
        (&one["inferred_class"], &one["inferred_by"]),
        (&json!("zebra"), &json!("model"))
    );
    let reasons = one["reasons"].to_string();
    assert!(
        reasons.contains("other examples of `zebra`") || reasons.contains("not `zebra`"),
        "{reasons}"
    );
    assert_eq!(
        (&other["inferred_class"], &other["inferred_by"]),
        (&json!("a"), &json!("server"))
    );
    for nothing in [json!({}), json!({"embeddings": []})] {
        refused(
            &server.post(&path, &nothing),
            400,
            "empty_batch",
            Some("embeddings"),
        );
    }
}

#[test]
fn lists_in_any_order_tell_what_their_entries_cover_of_what_is_uncertain() {
    let server = TestServer::start();
    fill(&server, 200, 60);
    let entries = |asked: Value| {
        let told = recommend(&server, &asked);
        told["recommendations"].as_array().unwrap().clone()
    };
    let coverage = |entry: &Value| entry["coverage"].as_f64().unwrap();
    let best = entries(json!({"n": 20, "candidates": 1.0, "explain": false}));
    let random = entries(json!({"n": 300, "objective": "random", "explain": false}));
    assert_eq!(random.len(), 260);
    assert!(
        random
            .iter()
            .all(|one| one["drawn"] == true && one["priority"] == 0.0)
    );
    assert!(random.iter().map(coverage).is_sorted());
    assert!(coverage(&random[0]) < 0.3, "{}", random[0]);
    assert!(
        coverage(&random[19]) < coverage(&best[19]),
        "{} {}",
        random[19],
        best[19]
    );
    assert!(coverage(&random[259]) > 0.99, "{}", random[259]);
    let other = entries(json!({"n": 300, "objective": "random", "seed": 7, "explain": false}));
    assert_ne!(other[0]["id"], random[0]["id"]);
    // What is drawn among others covers what is like it too, be it a candidate or not.
    let asked = |candidates: f64| {
        let asked =
            json!({"n": 10, "random_share": 1.0, "candidates": candidates, "explain": false});
        entries(asked)
    };
    let (few, all) = (asked(0.01), asked(1.0));
    assert_eq!(few, all);
    assert_eq!(few[9]["coverage"], random[9]["coverage"]);
}

#[test]
fn decisions_are_taken_back_by_null_and_only_a_snooze_has_a_length() {
    let server = TestServer::start();
    fill(&server, 30, 0);
    let decide = |body: Value| server.post(&format!("{SPACE}/decisions"), &body);
    let decision = || explain(&server, "p-001")["decision"].clone();
    assert_eq!(
        decide(json!({"ids": ["p-001"], "decision": "junk"})).status,
        200
    );
    assert_eq!(decision(), "junk");
    let none = decide(json!({"ids": ["p-001"]}));
    refused(&none, 400, "missing_field", Some("decision"));
    assert_eq!(
        decide(json!({"ids": ["p-001"], "decision": null})).status,
        200
    );
    assert_eq!(decision(), Value::Null);
    let both = json!({"ids": ["p-001"], "decision": null, "decisions": ["duplicate"]});
    assert_eq!(decide(both).status, 200);
    assert_eq!(decision(), "duplicate");
    let long = json!({"ids": ["p-001"], "decision": "junk", "snooze_seconds": 60});
    refused(&decide(long), 400, "unknown_field", Some("snooze_seconds"));
    let some =
        json!({"ids": ["p-001", "p-002"], "decisions": ["junk", "snoozed"], "snooze_seconds": 60});
    assert_eq!(decide(some).status, 200);
}
