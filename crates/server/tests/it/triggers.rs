//! Triggers over a real socket: policies that hold, receivers that are told, and what is refused.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vermilion_engine::Config;

use crate::harness::{TestServer, told, wait_for};

const SPACE: &str = "/curation/v1/spaces/digits";

/// Training of two classes, and production with a kind that training has never seen.
fn fill(server: &TestServer) {
    let near = |at: usize, n: usize| {
        let far = 0.05 * (n % 7) as f64;
        match at {
            0 => [1.0, far, 0.1],
            1 => [far, 1.0, 0.1],
            _ => [0.5, 0.5 + far, 1.0],
        }
    };
    for (context, count, kinds) in [("training", 40, 2), ("production", 60, 3)] {
        let vectors: Vec<[f64; 3]> = (0..count).map(|n| near(n % kinds, n)).collect();
        let labels: Vec<&str> = (0..count).map(|n| ["a", "b"][n % 2]).collect();
        let ids: Vec<String> = (0..count).map(|n| format!("{context}-{n:02}")).collect();
        let mut body = json!({
            "space": "digits",
            "context": context,
            "ids": ids,
            "input_uris": ids,
            "embeddings": vectors,
        });
        let said = if context == "training" {
            "label_classes"
        } else {
            "inference_classes"
        };
        body[said] = json!(labels);
        told(&server.post("/curation/v1/log", &body), 201);
    }
}

fn label(server: &TestServer, ids: &[&str]) {
    let labels = json!({"ids": ids, "label_classes": vec!["a"; ids.len()]});
    told(&server.post(&format!("{SPACE}/labels"), &labels), 200);
}

fn add(server: &TestServer, trigger: &Value) -> Value {
    told(&server.post(&format!("{SPACE}/triggers"), trigger), 201)
}

fn retrainings(server: &TestServer) -> Vec<Value> {
    let listed = told(&server.get(&format!("{SPACE}/retrainings")), 200);
    listed["retrainings"].as_array().unwrap().clone()
}

fn judged(server: &TestServer, trigger: &Value) -> Value {
    let path = format!("{SPACE}/triggers/{}", trigger["id"].as_str().unwrap());
    told(&server.get(&path), 200)
}

/// A receiver that answers these statuses, one request each; what it was told, head and body.
fn receiver(statuses: &'static [u16]) -> (String, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, seen) = channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = Vec::new();
            let mut part = [0; 4096];
            loop {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let head = head.to_ascii_lowercase();
                    let length = head.split("content-length: ").nth(1).unwrap();
                    let length: usize = length.lines().next().unwrap().parse().unwrap();
                    if body.len() == length {
                        sender.send((head, body.to_owned())).unwrap();
                        break;
                    }
                }
                let count = stream.read(&mut part).unwrap();
                assert!(count > 0, "the request ends early");
                bytes.extend_from_slice(&part[..count]);
            }
            let elsewhere = "location: http://127.0.0.1:9/\r\n";
            write!(
                stream,
                "HTTP/1.1 {status} x\r\n{elsewhere}content-length: 0\r\n\r\n"
            )
            .unwrap();
        }
    });
    (url, seen)
}

#[test]
fn labels_that_are_decided_fire_a_trigger_once() {
    let server = TestServer::start();
    fill(&server);
    let trigger = add(
        &server,
        &json!({"name": "enough", "policy": {"type": "amount", "labels": 2}}),
    );
    label(&server, &["production-00"]);
    wait_for("a judgement", || {
        let told = judged(&server, &trigger);
        (told["judged"]["decided"] == 1).then_some(())
    });
    assert_eq!(retrainings(&server), [] as [Value; 0]);
    label(&server, &["production-01", "training-03"]);
    let fired = wait_for("a retraining", || retrainings(&server).pop());
    assert_eq!(fired["trigger"], trigger["id"]);
    assert_eq!(fired["reason"]["policy"]["decided"], 3);
    assert_eq!(fired["state"], "pending");
    // While it is open nothing fires, and what was counted is not counted again.
    label(&server, &["production-02", "production-03"]);
    let cancel = format!(
        "/curation/v1/retrainings/{}/cancel",
        fired["id"].as_str().unwrap()
    );
    wait_for("a judgement", || {
        let text = judged(&server, &trigger)["judged"]["text"].clone();
        (text == "A retraining of it is open.").then_some(())
    });
    assert_eq!(retrainings(&server).len(), 1);
    told(&server.post(&cancel, &json!({})), 200);
    wait_for("the second", || {
        (retrainings(&server).len() == 2).then_some(())
    });
    assert_eq!(retrainings(&server)[0]["reason"]["policy"]["decided"], 2);
}

#[test]
fn policies_are_combined_and_a_dry_run_only_notes() {
    let server = TestServer::start();
    fill(&server);
    let amount = |labels: u64| json!({"type": "amount", "labels": labels});
    let second = json!({"type": "time", "cron": "* * * * * *", "time_zone": "Europe/Berlin"});
    let all = add(&server, &json!({"policy": {"all": [second, amount(1000)]}}));
    let policy = json!({"any": [amount(1000), {"all": [second, amount(1)]}]});
    let dry = add(
        &server,
        &json!({"policy": policy, "dry_run": true, "min_interval_seconds": 3600}),
    );
    label(&server, &["production-00"]);
    let noted = wait_for("a dry run", || {
        let told = judged(&server, &dry)["last_dry_run"].clone();
        told.is_object().then_some(told)
    });
    let of = &noted["reason"]["policy"]["of"];
    assert_eq!(
        (&of[0]["met"], &of[1]["met"]),
        (&json!(false), &json!(true)),
        "{noted}"
    );
    let not_met = wait_for("a judgement by the clock", || {
        let told = judged(&server, &all)["judged"].clone();
        (told["of"][0]["met"] == true).then_some(told)
    });
    assert_eq!(not_met["met"], false, "{not_met}");
    assert_eq!(retrainings(&server), [] as [Value; 0]);
    let covered = add(
        &server,
        &json!({"policy": {"type": "coverage", "above": 0.001}}),
    );
    let fired = wait_for("a retraining", || retrainings(&server).pop());
    assert_eq!(fired["trigger"], covered["id"]);
    assert!(fired["reason"]["policy"]["share"].as_f64().unwrap() > 0.001);
}

#[test]
fn a_receiver_is_told_again_until_it_says_that_it_knows() {
    let server = TestServer::start();
    fill(&server);
    let (url, seen) = receiver(&[500, 302, 200]);
    let trigger = add(
        &server,
        &json!({"policy": {"type": "manual"}, "webhook": {"url": url}}),
    );
    assert_eq!(trigger["webhook"]["secret"].as_str().unwrap().len(), 64);
    assert_eq!(judged(&server, &trigger)["webhook"], json!({"url": url}));
    let asked = json!({"trigger": trigger["id"], "note": "now"});
    let begun = told(&server.post(&format!("{SPACE}/retrainings"), &asked), 201);
    let messages: Vec<(String, String)> = (0..3)
        .map(|_| seen.recv_timeout(Duration::from_secs(20)).unwrap())
        .collect();
    let told_event: Value = serde_json::from_str(&messages[2].1).unwrap();
    assert_eq!(told_event, begun["event"]);
    assert!(messages.iter().all(|(_, body)| *body == messages[0].1));
    let event = format!("x-vermilion-event: {}", begun["event_id"].as_str().unwrap());
    assert!(messages.iter().all(|(head, _)| head.contains(&event)));
    assert!(messages[0].0.contains("x-vermilion-signature: sha256="));
    let delivered = wait_for("the note of it", || {
        let found = retrainings(&server).pop().unwrap();
        (found["state"] == "delivered").then_some(found)
    });
    let statuses: Vec<&Value> = delivered["delivery"]["last_attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["status"])
        .collect();
    assert_eq!(statuses, [500, 302, 200]);
    // Whoever was told takes it, and it is told no more.
    let claim = format!(
        "/curation/v1/retrainings/{}/claim",
        begun["id"].as_str().unwrap()
    );
    assert_eq!(
        told(&server.post(&claim, &json!({})), 200)["retraining"]["state"],
        "running"
    );
}

#[test]
fn a_paused_notifier_tells_nobody_until_it_is_resumed_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = || TestServer::over(Config::at(folder.path()).unwrap(), |_| {});
    let notifier = |told: &Value| -> Value {
        let all = told["components"].as_array().unwrap();
        let found = all.iter().find(|one| one["component"] == "notifier");
        found.unwrap().clone()
    };
    let switch = |server: &TestServer, what: &str| {
        let path = format!("/curation/v1/service/notifier/{what}");
        notifier(&told(&server.post(&path, &json!({})), 200))
    };
    let server = open();
    fill(&server);
    let (url, seen) = receiver(&[200]);
    let trigger = add(
        &server,
        &json!({"policy": {"type": "manual"}, "webhook": {"url": url}}),
    );
    assert_eq!(switch(&server, "pause")["state"], "paused");
    let asked = json!({"trigger": trigger["id"]});
    told(&server.post(&format!("{SPACE}/retrainings"), &asked), 201);
    assert!(seen.recv_timeout(Duration::from_millis(500)).is_err());
    drop(server);
    let server = open();
    let silent = notifier(&told(&server.get("/curation/v1/status"), 200));
    assert_eq!(
        (&silent["state"], &silent["queue"]),
        (&json!("paused"), &json!(1))
    );
    assert!(seen.recv_timeout(Duration::from_millis(500)).is_err());
    assert_eq!(switch(&server, "resume")["state"], "running");
    seen.recv_timeout(Duration::from_secs(20)).unwrap();
    wait_for("the note of it", || {
        (retrainings(&server)[0]["state"] == "delivered").then_some(())
    });
    assert_eq!(switch(&server, "run")["queue"], 0);
}

/// Begins a retraining of a new trigger with this receiver.
fn fire(server: &TestServer, url: &str) -> Value {
    let manual = json!({"type": "manual"});
    let trigger = add(server, &json!({"policy": manual, "webhook": {"url": url}}));
    let asked = json!({"trigger": trigger["id"]});
    told(&server.post(&format!("{SPACE}/retrainings"), &asked), 201)
}

#[test]
fn receivers_that_say_nothing_keep_waiting_nobody_but_each_other() {
    let server = TestServer::start();
    fill(&server);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = format!("http://{}/", silent.local_addr().unwrap());
    for _ in 0..4 {
        fire(&server, &dead);
    }
    let (url, seen) = receiver(&[500, 200]);
    let begun = Instant::now();
    let answered = fire(&server, &url);
    seen.recv_timeout(Duration::from_secs(5)).unwrap();
    seen.recv_timeout(Duration::from_secs(5)).unwrap();
    wait_for("the note of it", || {
        let all = retrainings(&server);
        let of_it = all.iter().find(|one| one["id"] == answered["id"]).unwrap();
        (of_it["state"] == "delivered").then_some(())
    });
    // Those that say nothing have 10 seconds each.
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    // Two were told there, none of them twice.
    silent.set_nonblocking(true).unwrap();
    let told: Vec<_> = std::iter::from_fn(|| silent.accept().ok()).collect();
    assert_eq!(told.len(), 2);
}

#[test]
fn a_paused_notifier_tells_those_that_wait_once_when_it_is_run() {
    let server = TestServer::start();
    fill(&server);
    let switch = |what: &str| {
        let path = format!("/curation/v1/service/notifier/{what}");
        told(&server.post(&path, &json!({})), 200)
    };
    switch("pause");
    let (url, seen) = receiver(&[500, 200]);
    fire(&server, &url);
    assert!(seen.recv_timeout(Duration::from_millis(500)).is_err());
    switch("run");
    seen.recv_timeout(Duration::from_secs(5)).unwrap();
    // It stays paused: what failed is tried again when somebody says so.
    assert!(seen.recv_timeout(Duration::from_millis(2500)).is_err());
    assert_eq!(retrainings(&server)[0]["delivery"]["attempts"], 1);
    switch("run");
    seen.recv_timeout(Duration::from_secs(5)).unwrap();
    wait_for("the note of it", || {
        (retrainings(&server)[0]["state"] == "delivered").then_some(())
    });
}

#[test]
fn a_server_stops_soon_although_a_receiver_says_nothing() {
    let mut server = TestServer::start();
    fill(&server);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let trigger = add(
        &server,
        &json!({"policy": {"type": "manual"}, "webhook": {"url": url, "secret": "0123456789abcdef"}}),
    );
    assert_eq!(trigger["webhook"]["secret"], "0123456789abcdef");
    told(
        &server.post(
            &format!("{SPACE}/retrainings"),
            &json!({"trigger": trigger["id"]}),
        ),
        201,
    );
    let (_held, _) = silent.accept().unwrap();
    // Nobody waits for the receiver: neither writes nor the end.
    label(&server, &["production-00"]);
    let begun = Instant::now();
    server.wait().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(6));
}

#[test]
fn triggers_that_are_wrong_are_refused_by_name() {
    let server = TestServer::with(|config| config.webhook_public_only = true);
    fill(&server);
    let refused = |trigger: Value, code: &str, field: &str| {
        let answer = server.post(&format!("{SPACE}/triggers"), &trigger);
        let body = told(&answer, 400);
        assert_eq!(
            (&body["error"], &body["field"]),
            (&json!(code), &json!(field)),
            "{body}"
        );
    };
    let manual = json!({"type": "manual"});
    refused(json!({}), "missing_field", "policy");
    refused(
        json!({"policy": {"any": [manual, {"type": "amount"}]}}),
        "missing_field",
        "policy.any[1].labels",
    );
    refused(
        json!({"policy": manual, "min_interval_seconds": -1}),
        "out_of_range",
        "min_interval_seconds",
    );
    refused(
        json!({"policy": manual, "webhook": {}}),
        "missing_field",
        "webhook.url",
    );
    for url in [
        "ftp://a/",
        "http://127.0.0.1:1/",
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "http://[::1]/",
    ] {
        refused(
            json!({"policy": manual, "webhook": {"url": url}}),
            "bad_url",
            "webhook.url",
        );
    }
    let short = json!({"url": "http://example.com/", "secret": "short"});
    refused(
        json!({"policy": manual, "webhook": short}),
        "out_of_range",
        "webhook.secret",
    );
    assert_eq!(
        told(&server.get(&format!("{SPACE}/triggers")), 200)["total"],
        0
    );
}

#[test]
fn a_name_that_leads_to_this_machine_is_found_out_when_it_is_looked_up() {
    let server = TestServer::with(|config| config.webhook_public_only = true);
    fill(&server);
    let manual = json!({"type": "manual"});
    let hidden = json!({"url": "http://localhost:1/"});
    let trigger = add(&server, &json!({"policy": manual, "webhook": hidden}));
    told(
        &server.post(
            &format!("{SPACE}/retrainings"),
            &json!({"trigger": trigger["id"]}),
        ),
        201,
    );
    let error = wait_for("an attempt", || {
        let tried = retrainings(&server).pop().unwrap()["delivery"]["last_attempts"].clone();
        tried[0]["error"].as_str().map(str::to_owned)
    });
    assert!(error.contains("may not reach"), "{error}");
    let path = format!("{SPACE}/triggers/{}", trigger["id"].as_str().unwrap());
    told(&server.send("DELETE", &path, None), 200);
    assert_eq!(told(&server.get(&path), 404)["error"], "trigger_not_found");
    let gone = server.post(
        &format!("{SPACE}/retrainings"),
        &json!({"trigger": trigger["id"]}),
    );
    assert_eq!(told(&gone, 404)["error"], "trigger_not_found");
}
