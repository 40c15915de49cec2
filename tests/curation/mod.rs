//! `vermilion curation` against a real server: what it sends, shows and refuses.

use std::fs;
use std::path::Path;
use std::time::Duration;

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
    let counted = answer(&["signals", "corners"], &url);
    assert_eq!(
        (&counted["right"], &counted["wrong"]),
        (&json!(24), &json!(0))
    );
    let shown = succeed(&["curation", "signals", "corners", "--url", &url]);
    assert!(
        shown.starts_with("SIGNAL") && shown.contains("training is right about 24 of its records"),
        "{shown}"
    );
    let first = entries[0]["id"].as_str().unwrap();
    let one = answer(&["explain", "corners", first], &url);
    assert_eq!(one["assessment"]["parts"], entries[0]["parts"]);
    assert_eq!(one["weights"]["signals"], counted["signals"]);
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
fn a_record_that_is_told_again_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = begin(folder.path());
    let file = folder.path().join("again.jsonl");
    let head = json!({"space": "corners", "context": "training", "idempotency_key": "again"});
    let told = |label: &str| lines("again", 0, 2, &json!({"label_class": label}));
    // Its first lines are those of its end, which count all the same.
    let (a, b) = (told("a"), told("b"));
    fs::write(&file, format!("{head}\n{a}{b}{a}")).unwrap();
    let upload = ["upload", file.to_str().unwrap()];
    let sent = answer(&upload, &url);
    assert_eq!(sent[0]["records"], 6);
    let space = answer(&["inspect", "corners"], &url);
    assert_eq!(space["contexts"]["training"], 26);
    let training = folder.path().join("training.out");
    let export = ["curation", "export", "corners", training.to_str().unwrap()];
    let export = [&export[..], &["--what", "training", "--format", "jsonl"]].concat();
    succeed(&[&export[..], &["--url", &url]].concat());
    let rows = fs::read_to_string(&training).unwrap();
    let rows = rows.lines().filter(|row| row.contains("again/0/"));
    let labels: Vec<Value> = rows
        .map(|row| serde_json::from_str::<Value>(row).unwrap()["label_class"].clone())
        .collect();
    assert_eq!(labels, ["a", "a"]);
    assert_eq!(answer(&upload, &url)[0]["records"], 6);
    assert_eq!(answer(&["inspect", "corners"], &url)["seq"], space["seq"]);
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

#[test]
fn issues_and_reports_are_shown_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = begin(folder.path());
    let wrong = folder.path().join("wrong.jsonl");
    fs::write(&wrong, lines("wrong", 0, 1, &json!({"label_class": "b"}))).unwrap();
    let log = [
        "log",
        wrong.to_str().unwrap(),
        "--space",
        "corners",
        "--context",
        "training",
    ];
    answer(&log, &url);
    let found = answer(&["issues", "corners", "--type", "label"], &url);
    assert_eq!(found["issues"][0]["suggested_class"], "a", "{found}");
    let shown = succeed(&["curation", "issues", "corners", "--url", &url]);
    assert!(
        shown.starts_with("TYPE") && shown.contains("in all: "),
        "{shown}"
    );
    let page = folder.path().join("report.html");
    succeed(&[
        "curation",
        "report",
        "corners",
        page.to_str().unwrap(),
        "--url",
        &url,
    ]);
    assert!(
        fs::read_to_string(&page)
            .unwrap()
            .starts_with("<!doctype html>")
    );
    assert!(succeed(&["curation", "report", "corners", "--url", &url]).starts_with("# corners"));
    assert_eq!(
        answer(&["report", "corners"], &url)["space"]["space"],
        "corners"
    );
    let refused = fail(
        1,
        &[
            "curation", "report", "corners", "--format", "pdf", "--url", &url,
        ],
    );
    assert!(refused.contains("json, md, html"), "{refused}");
    let refused = fail(
        1,
        &[
            "curation", "issues", "corners", "--type", "x", "--url", &url,
        ],
    );
    assert!(refused.contains("field type"), "{refused}");
    assert_eq!(server.stop().0, 0);
}

/// Begins a retraining of `corners`.
fn fire(url: &str) -> Value {
    let path = format!("{url}/curation/v1/spaces/corners/retrainings");
    let mut response = ureq::post(path).send_empty().unwrap();
    serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
}

fn retraining(url: &str, id: &Value) -> Value {
    let path = format!("{url}/curation/v1/retrainings/{}", id.as_str().unwrap());
    let mut response = ureq::get(path).call().unwrap();
    serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
}

#[test]
fn a_command_does_a_retraining_and_keeps_its_lease() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = begin(folder.path());
    let claim = ["curation", "retrain", "claim", "corners", "--url", &url];
    let idle = succeed(&[&claim[..], &["--exec", "exit 1"]].concat());
    assert_eq!(idle, "no retraining waits\n");
    let id = fire(&url)["id"].clone();
    let seen = folder.path().join("seen.json");
    // Longer than the lease, which is kept.
    let command = format!(
        "cat > {0}; test \"$VERMILION_RETRAINING_EVENT\" = \"$(cat {0})\" || exit 3; sleep 3; \
         echo '{{\"embedding_set\": {{\"model\": \"new\"}}, \"metrics\": {{\"accuracy\": 0.5}}}}' > $VERMILION_RETRAINING_RESULT",
        seen.display()
    );
    let more = [
        "--exec",
        &command,
        "--lease-seconds",
        "2",
        "--worker",
        "w",
        "--json",
    ];
    let ended: Value = serde_json::from_str(&succeed(&[&claim[..], &more].concat())).unwrap();
    assert_eq!(
        (&ended["state"], &ended["leases_lost"]),
        (&json!("succeeded"), &json!(0))
    );
    let event: Value = serde_json::from_slice(&fs::read(&seen).unwrap()).unwrap();
    assert_eq!(event["retraining"], id);
    assert_eq!(answer(&["spaces"], &url)["total"], 2);
    for (command, why) in [
        ("exit 7", "exit status: 7"),
        (
            "echo nonsense > $VERMILION_RETRAINING_RESULT",
            "no object of JSON",
        ),
    ] {
        let id = fire(&url)["id"].clone();
        let failed = fail(1, &[&claim[..], &["--exec", command]].concat());
        assert!(failed.contains(why), "{failed}");
        let told = retraining(&url, &id);
        assert_eq!(told["state"], "failed");
        assert!(told["message"].as_str().unwrap().contains(why), "{told}");
    }
    assert_eq!(server.stop().0, 0);
}

#[test]
fn a_command_ends_when_its_retraining_is_called_off() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = begin(folder.path());
    let id = fire(&url)["id"].clone();
    let begun = folder.path().join("begun");
    let command = format!("touch {}; exec sleep 50", begun.display());
    let (claim_url, started) = (url.clone(), std::time::Instant::now());
    let worker = std::thread::spawn(move || {
        let claim = [
            "curation", "retrain", "claim", "corners", "--url", &claim_url,
        ];
        fail(
            1,
            &[&claim[..], &["--lease-seconds", "2", "--exec", &command]].concat(),
        )
    });
    while !begun.exists() {
        assert!(started.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
    let cancel = format!(
        "{url}/curation/v1/retrainings/{}/cancel",
        id.as_str().unwrap()
    );
    assert_eq!(ureq::post(cancel).send_empty().unwrap().status(), 200);
    assert!(worker.join().unwrap().contains("lease is lost"));
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(server.stop().0, 0);
}

#[test]
fn drift_is_shown_and_components_are_switched() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = begin(folder.path());
    let found = answer(
        &["drift", "corners", "--alpha", "0.01", "--bucket", "1h"],
        &url,
    );
    assert_eq!(
        (&found["alpha"], &found["records"]),
        (&json!(0.01), &json!(35)),
        "{found}"
    );
    let shown = succeed(&["curation", "drift", "corners", "--url", &url]);
    assert!(
        shown.starts_with("production has ") && shown.contains("\nFROM"),
        "{shown}"
    );
    let refused = fail(
        1,
        &[
            "curation", "drift", "corners", "--window", "soon", "--url", &url,
        ],
    );
    assert!(refused.contains("field window"), "{refused}");
    fail(
        2,
        &[
            "curation", "drift", "corners", "--window", "1d", "--from", "0", "--url", &url,
        ],
    );
    let shown = succeed(&["curation", "pause", "scorer", "--url", &url]);
    assert!(
        shown.starts_with("COMPONENT") && shown.contains("paused"),
        "{shown}"
    );
    let state = |status: &Value| {
        let components = status["components"].as_array().unwrap();
        let scorer = components.iter().find(|one| one["component"] == "scorer");
        scorer.unwrap()["state"].clone()
    };
    assert_eq!(state(&answer(&["status"], &url)), "paused");
    succeed(&["curation", "resume", "scorer", "--url", &url]);
    assert_ne!(state(&answer(&["status"], &url)), "paused");
    let refused = fail(1, &["curation", "pause", "drift", "--url", &url]);
    assert!(refused.contains("409"), "{refused}");
    assert_eq!(server.stop().0, 0);
}

#[test]
fn lists_and_maps_are_written_to_files_that_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = begin(folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let export = |more: &[&str]| -> Vec<String> {
        let begin = ["curation", "export", "corners", "--url", &url];
        let all = begin.iter().chain(more).map(|one| (*one).to_owned());
        all.collect()
    };
    let run = |more: &[&str]| {
        let all = export(more);
        succeed(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let todo = file("todo.csv");
    let shown = run(&[&todo]);
    assert!(
        shown.starts_with(&todo) && shown.ends_with(" bytes\n"),
        "{shown}"
    );
    let csv = fs::read_to_string(&todo).unwrap();
    assert!(
        csv.starts_with("rank,") || csv.contains("priority"),
        "{csv}"
    );
    let training = file("training.out");
    run(&[&training, "--what", "training", "--format", "jsonl"]);
    assert_eq!(fs::read_to_string(&training).unwrap().lines().count(), 24);
    let again = export(&[&training]);
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    assert!(fail(1, &again).contains("--overwrite"));
    run(&[
        &training,
        "--what",
        "training",
        "--format",
        "jsonl",
        "--overwrite",
    ]);
    let nothing = file("nothing.pdf");
    let refused = export(&[&nothing]);
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    assert!(fail(1, &refused).contains("pdf"));
    let map = file("map.arrow");
    succeed(&[
        "curation", "map", "corners", &map, "--fields", "context", "--url", &url,
    ]);
    assert!(fs::metadata(&map).unwrap().len() > 500);
    for name in ["nothing.pdf", "nothing.pdf.partial", "map.arrow.partial"] {
        assert!(!folder.path().join(name).exists(), "{name}");
    }
    assert_eq!(server.stop().0, 0);
}

#[test]
fn triggers_are_made_listed_and_ended_and_retrainings_begun_and_called_off() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = begin(folder.path());
    let policy = r#"{"type": "amount", "labels": 200}"#;
    let made = answer(
        &[
            "trigger",
            "add",
            "corners",
            "--policy",
            policy,
            "--name",
            "many",
            "--webhook",
            "http://127.0.0.1:9/retrain",
        ],
        &url,
    );
    assert!(made["webhook"]["secret"].as_str().unwrap().len() >= 16);
    let id = made["id"].as_str().unwrap();
    let shown = succeed(&["curation", "trigger", "list", "corners", "--url", &url]);
    assert!(
        shown.contains(id) && shown.contains("many") && shown.contains("retrain"),
        "{shown}"
    );
    assert!(!shown.contains(made["webhook"]["secret"].as_str().unwrap()));
    let wrong = [
        "curation", "trigger", "add", "corners", "--policy", "{}", "--url", &url,
    ];
    assert!(fail(1, &wrong).contains("policy"));
    let broken = [
        "curation", "trigger", "add", "corners", "--policy", "labels", "--url", &url,
    ];
    assert!(fail(2, &broken).contains("--policy is no JSON"));
    let begun = answer(
        &["retrain", "start", "corners", "--note", "ten new classes"],
        &url,
    );
    let retraining = begun["id"].as_str().unwrap();
    let shown = succeed(&["curation", "retrain", "list", "corners", "--url", &url]);
    assert!(
        shown.contains(retraining) && shown.contains("pending"),
        "{shown}"
    );
    let called_off = answer(&["retrain", "cancel", retraining], &url);
    assert_eq!(called_off["state"], "cancelled");
    let listed = answer(
        &["retrain", "list", "corners", "--state", "cancelled"],
        &url,
    );
    assert_eq!(listed["total"], 1);
    succeed(&[
        "curation", "trigger", "remove", "corners", id, "--url", &url,
    ]);
    assert_eq!(answer(&["trigger", "list", "corners"], &url)["total"], 0);
    let gone = [
        "curation", "trigger", "remove", "corners", id, "--url", &url,
    ];
    assert!(fail(1, &gone).contains("404"));
    assert_eq!(server.stop().0, 0);
}
