//! The report of a space over a real socket, in each format.

use serde_json::json;

use crate::curation_scores::{SPACE, fill, refused};
use crate::harness::{DATABASE, TestServer};

#[test]
fn a_report_tells_all_of_a_space_in_each_format() {
    let server = TestServer::start();
    fill(&server, 30, 3);
    // As many as a class has at least for its labels to be judged.
    let label = "<b>|";
    let wrong = json!({
        "ids": ["t-003", "t-006", "t-009", "t-012"], "label_classes": [label, label, label, label],
    });
    assert_eq!(server.post(&format!("{SPACE}/labels"), &wrong).status, 200);
    let report = server.get(&format!("{SPACE}/report")).json();
    let first = &report["recommendations"]["recommendations"][0];
    assert!(first["thumbnail"].is_null());
    let vectors = json!({"ids": [first["id"]], "include": ["embeddings"]});
    let id = server.get(SPACE).json()["collection_id"].clone();
    let path = format!("{DATABASE}/collections/{}/get", id.as_str().unwrap());
    let vector = server.post(&path, &vectors).json()["embeddings"][0].clone();
    let picture = "/9j/4A==";
    let again = json!({
        "space": "digits", "context": "production", "ids": [first["id"]], "embeddings": [vector],
        "input_uris": [first["input_uri"]], "thumbnails": [picture],
    });
    let answer = server.post("/curation/v1/log", &again);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let answer = server.get(&format!("{SPACE}/report"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let report = answer.json();
    assert_eq!(report["unavailable"], json!({}), "{report}");
    assert_eq!(report["space"]["contexts"]["training"], 60);
    let curve = report["coverage_curve"].as_array().unwrap();
    let list = &report["recommendations"];
    assert_eq!(curve.len() as u64, list["total"].as_u64().unwrap());
    assert_eq!(curve[0], list["recommendations"][0]["coverage"]);
    let labels = report["label_issues"]["issues"].as_array().unwrap();
    assert!(labels.iter().any(|one| one["id"] == "t-003"), "{labels:?}");
    assert!(report["issues"]["totals"]["label"].is_null());
    assert!(report["confusion"]["training"]["records"].is_u64());
    assert_eq!(
        report["retrainings"],
        json!({"retrainings": [], "total": 0})
    );
    let page = server.get(&format!("{SPACE}/report?format=html"));
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let page = page.text();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(
        page.contains("&lt;b&gt;|") && !page.contains("<b>"),
        "{page}"
    );
    assert!(page.contains("<polyline"));
    assert_eq!(page.matches("<img ").count(), 1);
    assert!(page.contains(&format!("<img src=\"data:image/jpeg;base64,{picture}\"")));
    let page = server.get(&format!("{SPACE}/report?format=md"));
    assert_eq!(
        page.header("content-type"),
        Some("text/markdown; charset=utf-8")
    );
    assert!(page.text().contains("&lt;b&gt;\\|"));
}

#[test]
fn a_report_without_training_data_says_what_is_missing() {
    let server = TestServer::start();
    let body = json!({
        "space": "bare", "context": "production", "embeddings": [[1.0, 0.0]], "input_uris": ["a"],
    });
    assert_eq!(server.post("/curation/v1/log", &body).status, 201);
    let report = server.get("/curation/v1/spaces/bare/report").json();
    assert_eq!(
        report["unavailable"]["recommendations"]["error"],
        "no_reference"
    );
    assert!(report["recommendations"].is_null());
    assert_eq!(report["issues"]["no_reference"], true);
    let page = server.get("/curation/v1/spaces/bare/report?format=html");
    assert!(page.text().contains("no labelled training records"));
    let wrong = server.get("/curation/v1/spaces/bare/report?format=pdf");
    refused(&wrong, 400, "unknown_format", Some("format"));
    let nothing = server.get("/curation/v1/spaces/nothing/report?format=html");
    refused(&nothing, 404, "space_not_found", Some("space"));
}
