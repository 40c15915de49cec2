//! `vermilion curation` against a real server: what it sends, shows and refuses.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::support::{Server, output, vermilion};
use super::{fail, succeed};

/// A line for each of `count` records around corner `corner` of `classes` corners.
fn lines(context: &str, corner: usize, count: usize, more: &Value) -> String {
    let line = |n: usize| {
        let spread = (n % 7) as f64 * 0.05;
        let mut vector = [spread, 0.1, 0.2, spread / 2.0];
        vector[corner] += 2.0;
        let mut record =
            json!({"embedding": vector, "input_uri": format!("{context}/{corner}/{n}")});
        for (name, value) in more.as_object().unwrap() {
            record[name] = value.clone();
        }
        format!("{record}\n")
    };
    (0..count).map(line).collect()
}

/// A server with a space `corners`: training data of two classes, and production.
fn begin(folder: &Path) -> (Server, String) {
    let server = Server::start(&folder.join("data"), &[]);
    let url = format!("http://{}", server.address);
    let training = folder.join("training.jsonl");
    let a = lines("training", 0, 12, &json!({"label_class": "a"}));
    let b = lines("training", 1, 12, &json!({"label_class": "b"}));
    fs::write(&training, a + &b).unwrap();
    let training = training.to_str().unwrap();
    let log = [
        "curation",
        "log",
        training,
        "--space",
        "corners",
        "--context",
        "training",
    ];
    let shown = succeed(&[&log[..], &["--url", &url]].concat());
    assert!(shown.contains("24") && shown.contains("corners"), "{shown}");
    let production = folder.join("production.jsonl");
    let head = json!({"space": "corners", "context": "production"});
    let seen = lines("production", 0, 30, &json!({"inference_class": "a"}));
    let odd = lines("production", 3, 5, &json!({"inference_class": "a"}));
    fs::write(&production, format!("{head}\n{seen}{odd}")).unwrap();
    succeed(&[
        "curation",
        "log",
        production.to_str().unwrap(),
        "--url",
        &url,
    ]);
    (server, url)
}

fn answer(arguments: &[&str], url: &str) -> Value {
    let out = succeed(&[&["curation"], arguments, &["--json", "--url", url]].concat());
    serde_json::from_str(&out).unwrap()
}

#[test]
fn what_is_logged_is_listed_inspected_and_recommended() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = begin(folder.path());
    let spaces = succeed(&["curation", "spaces", "--url", &url]);
    assert!(
        spaces.starts_with("SPACE") && spaces.contains("corners"),
        "{spaces}"
    );
    let space = answer(&["inspect", "corners"], &url);
    assert_eq!(space["contexts"], json!({"training": 24, "production": 35}));
    let key = space["embedding_set_key"].as_str().unwrap();
    let shown = succeed(&["curation", "inspect", key, "--url", &url]);
    assert!(shown.contains("classes:\n  - a\n  - b\n"), "{shown}");
    let list = answer(
        &["recommend", "corners", "-n", "4", "--candidates", "1"],
        &url,
    );
    let entries = list["recommendations"].as_array().unwrap();
    assert_eq!(entries.len(), 4);
    assert_eq!(entries[0]["priority"], 1.0);
    let shown = succeed(&["curation", "recommend", "corners", "-n", "4", "--url", &url]);
    assert!(
        shown.starts_with("RANK") && shown.contains("of what the model is uncertain about"),
        "{shown}"
    );
    let only = [
        "recommend",
        "corners",
        "--where",
        "{\"inference_class\": \"none\"}",
    ];
    assert_eq!(answer(&only, &url)["recommendations"], json!([]));
    // What was sent before is sent again, and nothing is written.
    let again = folder.path().join("production.jsonl");
    let sent = answer(&["log", again.to_str().unwrap()], &url);
    assert_eq!(
        (&sent[0]["records"], &sent[0]["torn"]),
        (&json!(35), &json!(false))
    );
    assert_eq!(answer(&["inspect", "corners"], &url)["seq"], space["seq"]);
    assert_eq!(server.stop().0, 0);
}

#[test]
fn inputs_are_judged_without_being_stored() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = begin(folder.path());
    let new = folder.path().join("new.jsonl");
    let near = lines("new", 0, 1, &json!({"inference_class": "a"}));
    let far = lines("new", 3, 1, &json!({"inference_class": "b"}));
    fs::write(&new, near + &far).unwrap();
    let request = ["should-upload", new.to_str().unwrap(), "--space", "corners"];
    let told = answer(&request, &url);
    let told = told["assessments"].as_array().unwrap();
    assert_eq!(told[1]["input_uri"], "new/3/0");
    assert_eq!(told[1]["training_recommended"], true);
    assert!(told[0]["trouble"].as_f64().unwrap() < told[1]["trouble"].as_f64().unwrap());
    let shown = succeed(&[&["curation"], &request[..], &["--url", &url]].concat());
    assert!(
        shown.lines().nth(2).unwrap().starts_with("upload "),
        "{shown}"
    );
    assert_eq!(answer(&["inspect", "corners"], &url)["records"], 59);
    assert_eq!(server.stop().0, 0);
}

#[test]
fn files_that_sessions_left_behind_are_sent_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = begin(folder.path());
    let sessions = folder.path().join("sessions");
    fs::create_dir(&sessions).unwrap();
    let head = json!({"space": "corners", "context": "triage", "idempotency_key": "one"});
    let all = lines("triage", 1, 3, &json!({"label_class": "b"}));
    let (left, held) = (sessions.join("left.jsonl"), sessions.join("held.jsonl"));
    fs::write(&left, format!("{head}\n{all}{{\"embedding\": [1, 2")).unwrap();
    fs::write(&held, format!("{head}\n{all}")).unwrap();
    let alive = fs::File::open(&held).unwrap();
    alive.lock().unwrap();
    let refused = fail(
        1,
        &["curation", "upload", held.to_str().unwrap(), "--url", &url],
    );
    assert!(refused.contains("alive"), "{refused}");
    let folder_of_sessions = sessions.to_str().unwrap();
    let sent = answer(
        &["upload", "--pending", "--folder", folder_of_sessions],
        &url,
    );
    assert_eq!(sent.as_array().unwrap().len(), 1);
    assert_eq!(
        (&sent[0]["records"], &sent[0]["torn"]),
        (&json!(3), &json!(true))
    );
    assert!(!left.exists() && held.exists());
    assert_eq!(
        answer(&["inspect", "corners"], &url)["contexts"]["triage"],
        3
    );
    drop(alive);
    let (status, _, err) = output(
        vermilion()
            .args(["curation", "upload", "--pending", "--url", &url])
            .env("VERMILION_SESSIONS", &sessions),
    );
    assert_eq!(status, 0, "{err}");
    assert!(!held.exists());
    // The same records under the same key: they are there once.
    assert_eq!(answer(&["inspect", "corners"], &url)["records"], 62);
    assert_eq!(server.stop().0, 0);
}

#[test]
fn refusals_of_curation_are_one_line_that_names_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = begin(folder.path());
    let wrong = folder.path().join("wrong.jsonl");
    let good = lines("production", 0, 5001, &json!({}));
    fs::write(
        &wrong,
        format!("{good}{{\"embedding\": [1, 2, 3], \"input_uri\": \"x\"}}\n"),
    )
    .unwrap();
    let log = [
        "curation",
        "log",
        wrong.to_str().unwrap(),
        "--space",
        "corners",
    ];
    let refused = fail(
        1,
        &[&log[..], &["--context", "production", "--url", &url]].concat(),
    );
    assert!(
        refused.contains("record 5001") && refused.contains("wrong.jsonl"),
        "{refused}"
    );
    let refused = fail(
        1,
        &[&log[..], &["--context", "mine", "--url", &url]].concat(),
    );
    assert!(
        refused.contains("hint: ") && refused.contains("triage"),
        "{refused}"
    );
    fs::write(&wrong, "{\"embedding\": [1]}\nno\n").unwrap();
    let refused = fail(1, &[&log[..], &["--url", &url]].concat());
    assert!(refused.contains("line 2 of"), "{refused}");
    let refused = fail(1, &["curation", "recommend", "nothing", "--url", &url]);
    assert!(refused.contains("404"), "{refused}");
    let refused = fail(
        2,
        &[
            "curation",
            "recommend",
            "corners",
            "--where",
            "{",
            "--url",
            &url,
        ],
    );
    assert!(refused.contains("--where is no JSON"), "{refused}");
    fail(2, &["curation", "upload", "--url", &url]);
    assert_eq!(server.stop().0, 0);
}
