//! Whether production has moved, over a real socket.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::curation_scores::{Noise, SPACE, fill, refused};
use crate::harness::{TestServer, wait_for};

const CLASSES: [&str; 3] = ["a", "b", "c"];
const HOUR: f64 = 3600.0;

/// Logs production of some hours, 60 records each; from hour `moved` on a third is of a new kind.
fn log_hours(server: &TestServer, hours: usize, moved: usize) {
    log_hours_from(server, 0.0, hours, moved);
}

/// The same with the moment that hour 0 begins.
fn log_hours_from(server: &TestServer, begin: f64, hours: usize, moved: usize) {
    let mut noise = Noise(21);
    for hour in 0..hours {
        let (mut ids, mut vectors, mut said, mut cells) = (vec![], vec![], vec![], vec![]);
        for n in 0..60 {
            let is_new = hour >= moved && n % 3 == 0;
            let kind = if is_new { "new" } else { "old" };
            ids.push(format!("{kind}-{hour:02}-{n:02}"));
            vectors.push(noise.near(if is_new { 5 } else { n % 3 }, 0.2));
            said.push(CLASSES[n % 3]);
            cells
                .push(json!({"camera": if is_new { "north" } else { "south" }, "light": n as f64}));
        }
        let body = json!({
            "space": "digits", "context": "production", "ids": ids, "embeddings": vectors,
            "input_uris": ids, "inference_classes": said, "metadatas": cells,
            "observed_at": (0..60).map(|n| begin + hour as f64 * HOUR + f64::from(n) * 60.0).collect::<Vec<_>>(),
        });
        let answer = server.post("/curation/v1/log", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

fn drift(server: &TestServer, query: &str) -> Value {
    let answer = server.get(&format!("{SPACE}/drift?{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn what_is_new_in_production_is_found_dated_and_named() {
    let server = TestServer::start();
    fill(&server, 0, 0);
    log_hours(&server, 8, 5);
    let before = drift(&server, "from=0&to=18000");
    assert_eq!(
        (&before["drifted"], &before["records"]),
        (&json!(false), &json!(300)),
        "{before}"
    );
    let after = drift(&server, "from=18000&bucket=1h");
    assert!(after["p"].as_f64().unwrap() <= 0.01, "{after}");
    assert_eq!(
        (&after["drifted"], &after["records"]),
        (&json!(true), &json!(180))
    );
    assert!(after["share_new"].as_f64().unwrap() > 0.3, "{after}");
    assert!(
        after["explanation"]
            .as_str()
            .unwrap()
            .contains("more than chance")
    );
    for witness in after["witnesses"].as_array().unwrap() {
        assert!(
            witness["id"].as_str().unwrap().starts_with("new-"),
            "{witness}"
        );
    }
    let first = &after["cluster"][0];
    assert!(
        first["ids"]
            .as_array()
            .unwrap()
            .iter()
            .all(|id| id.as_str().unwrap().starts_with("new-"))
    );
    // Since when: the whole of production, hour by hour.
    let whole = drift(&server, "bucket=1h");
    let hours = whole["timeline"].as_array().unwrap();
    assert_eq!(hours.len(), 8, "{whole}");
    let moved = |hour: &Value| hour["drifted"].as_bool().unwrap();
    assert!(hours[5..].iter().all(moved), "{whole}");
    assert!(
        hours[..5].iter().filter(|hour| moved(hour)).count() <= 1,
        "{whole}"
    );
    let accuracy = |told: &Value| told["estimated_accuracy"]["accuracy"].as_f64().unwrap();
    assert!(
        accuracy(&after) < accuracy(&before),
        "{} {}",
        accuracy(&after),
        accuracy(&before)
    );
    assert!(after["estimated_accuracy"]["assumes"].is_string());
    assert_eq!(after["estimated_accuracy"]["counted"], Value::Null);
}

#[test]
fn production_is_compared_with_earlier_production_by_class_and_metadata() {
    let server = TestServer::start();
    fill(&server, 0, 0);
    log_hours(&server, 8, 5);
    let told = drift(&server, "window=3h&reference=previous");
    assert_eq!(told["drifted"], true, "{told}");
    assert_eq!(
        (&told["records"], &told["reference"]["records"]),
        (&json!(180), &json!(180))
    );
    let camera = &told["metadata"][0];
    assert_eq!(camera["key"], "camera");
    let values = camera["values"].as_array().unwrap();
    assert!(
        values
            .iter()
            .any(|one| one["value"] == "north" && one["reference"] == 0.0)
    );
    let shift = camera["shift"].as_f64().unwrap();
    assert!((shift - 1.0 / 3.0).abs() < 0.02, "{camera}");
    let class = told["class"]["shift"].as_f64().unwrap();
    assert!(class < 0.05, "{told}");
    let same = drift(&server, "from=7200&to=18000&reference=0..7200&by=class");
    assert_eq!(same["drifted"], false, "{same}");
    assert_eq!(
        (&same["cluster"], &same["metadata"]),
        (&Value::Null, &Value::Null)
    );
    // The same question has the same answer.
    assert_eq!(
        same,
        drift(&server, "from=7200&to=18000&reference=0..7200&by=class")
    );
    // Labels of the window count beside the estimate.
    let labels = json!({"ids": ["old-07-01", "old-07-02"], "label_classes": ["b", "a"]});
    assert_eq!(server.post(&format!("{SPACE}/labels"), &labels).status, 200);
    let counted = drift(&server, "window=1h")["estimated_accuracy"]["counted"].clone();
    assert_eq!(
        (&counted["records"], &counted["accuracy"]),
        (&json!(2), &json!(0.5))
    );
}

#[test]
fn a_trigger_fires_when_production_has_moved_in_each_of_some_windows() {
    // Windows are whole hours that are over: three before this one, and this one should it end meanwhile.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let begin = (now.unwrap().as_secs_f64() / HOUR - 3.0).floor() * HOUR;
    let policy = json!({"type": "drift", "alpha": 0.01, "windows": 2, "window_seconds": HOUR});
    for (moved, fires) in [(0, true), (4, false)] {
        let server = TestServer::start();
        let add = || {
            let path = format!("{SPACE}/triggers");
            let trigger = server.post(&path, &json!({"policy": policy}));
            assert_eq!(trigger.status, 201, "{}", trigger.text());
            format!("{path}/{}", trigger.json()["id"].as_str().unwrap())
        };
        let judged = |path: &str, what: &str| {
            wait_for(what, || {
                let judged = server.get(path).json()["judged"].clone();
                let text = judged["text"].as_str().unwrap_or_default();
                text.contains(what).then_some(judged)
            })
        };
        fill(&server, 20, 0);
        let trigger = add();
        judged(
            &trigger,
            "A window has 0 records of production; 20 are needed.",
        );
        log_hours_from(&server, begin, 4, moved);
        // Once it has fired, the next judgement says that its retraining is open.
        let reason = || {
            let listed = server.get(&format!("{SPACE}/retrainings")).json();
            let policy = listed["retrainings"][0]["reason"]["policy"].clone();
            policy.is_object().then_some(policy)
        };
        let verdict = if fires {
            wait_for("a retraining", reason)
        } else {
            judged(&trigger, "does not differ")
        };
        assert_eq!(verdict["met"], fires, "{verdict}");
        let p = verdict["p"].as_array().unwrap();
        assert_eq!(
            p.iter().all(|p| p.as_f64().unwrap() < 0.01),
            fires,
            "{verdict}"
        );
        assert_eq!(p.len(), if fires { 2 } else { 1 }, "{verdict}");
    }
}

#[test]
fn questions_about_drift_that_make_no_sense_are_refused() {
    let server = TestServer::start();
    fill(&server, 0, 0);
    let path = |query: &str| format!("{SPACE}/drift?{query}");
    refused(
        &server.get(&path("")),
        422,
        "too_few_records",
        Some("context"),
    );
    log_hours(&server, 2, 2);
    for (query, status, code, field) in [
        ("from=7000", 422, "too_few_records", "from"),
        ("from=9000000", 422, "too_few_records", "from"),
        ("to=-5", 422, "too_few_records", "to"),
        (
            "reference=previous&from=0",
            422,
            "too_few_records",
            "reference",
        ),
        ("reference=test", 422, "too_few_records", "reference"),
        ("reference=v9", 404, "dataset_not_found", "reference"),
        ("from=tomorrow", 400, "bad_time", "from"),
        ("window=1x", 400, "bad_time", "window"),
        ("from=1&window=1d", 400, "ambiguous_window", "window"),
        ("from=9&to=8", 400, "bad_time", "to"),
        ("by=colour", 400, "unknown_breakdown", "by"),
        ("alpha=2", 400, "out_of_range", "alpha"),
        ("bucket=1s", 400, "out_of_range", "bucket"),
    ] {
        refused(&server.get(&path(query)), status, code, Some(field));
    }
}

#[test]
fn a_timeline_has_buckets_that_are_long_enough_to_be_compared() {
    let server = TestServer::start();
    fill(&server, 0, 0);
    let mut noise = Noise(5);
    let ids: Vec<String> = (0..800).map(|n| format!("p-{n}")).collect();
    let body = json!({
        "space": "digits", "context": "production", "ids": ids, "input_uris": ids,
        "embeddings": (0..800).map(|n| noise.near(n % 3, 0.2)).collect::<Vec<_>>(),
        "observed_at": (0..800).map(|n| f64::from(n) * 46.0 * HOUR / 800.0).collect::<Vec<_>>(),
    });
    let answer = server.post("/curation/v1/log", &body);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let told = drift(&server, "");
    let timeline = told["timeline"].as_array().unwrap();
    assert_eq!(timeline.len(), 16, "{told}");
    assert!(
        timeline.iter().filter(|one| one["p"].is_number()).count() >= 15,
        "{told}"
    );
    let asked = drift(&server, "bucket=1h");
    assert_eq!(asked["timeline"].as_array().unwrap().len(), 46);
}
