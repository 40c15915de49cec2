//! Pages of reports: what users logged never becomes markup, and every section is there or says why not.

use serde_json::{Value as Json, json};

use super::plots::{Chart, Line};
use super::{ReportFormat, Sections};
use crate::Refusal;

/// What would break out of a page that does not escape it.
const HOSTILE: &str = "<script>alert('x')</script>\"|](javascript:y)*`\u{0}\n# z";

fn report() -> Json {
    json!({
        "made_at": 1_769_860_800.5,
        "space": {
            "space": HOSTILE, "records": 3, "dim": 2, "metric": "cosine", "embedding_set": {"model": HOSTILE},
            "first_observed_at": 0, "last_observed_at": null, "classes": [HOSTILE, "b"],
            "contexts": {"training": 2, HOSTILE: 1},
            "datasets": [{"name": HOSTILE, "context": "training", "records": 2}],
        },
        "recommendations": {
            "recommendations": [{
                "rank": 1, "id": HOSTILE, "input_uri": HOSTILE, "priority": 1.0, "coverage": 0.5,
                "trouble": null, "inferred_class": HOSTILE, "reasons": [HOSTILE, HOSTILE],
            }],
            "total": 7, "epoch": 4, "as_of_seq": 9, "stale_records": 1,
        },
        "coverage_curve": [0.5, 0.75],
        "signals": {"signals": [{
            "signal": "novelty", "share": 0.25, "weight": 1.0, "tells_errors": 0.875, "tells_unknown": null,
            "explanation": HOSTILE,
        }]},
        "label_issues": {
            "issues": [{"type": "label", "id": HOSTILE, "given_class": HOSTILE, "suggested_class": "b",
                        "confidence": 0.9, "score": 0.8, "explanation": HOSTILE}],
            "total": 1, "ready": false, "not_ready": ["label"],
            "estimated_errors": [{"given_class": HOSTILE, "suggested_class": "b", "count": 1}],
        },
        "issues": {
            "issues": [{"type": "near_duplicate", "id": HOSTILE, "score": 1.0, "explanation": HOSTILE}],
            "totals": {"near_duplicate": 1}, "ready": true,
        },
        "confusion": {"training": {
            "classes": [{"class": HOSTILE}, {"class": "b"}], "records": 3, "accuracy": 0.5,
            "cells": [{"label_class": HOSTILE, "inference_class": "b", "count": 3}],
        }},
        "drift": {
            "explanation": HOSTILE,
            "estimated_accuracy": {"accuracy": 0.9, "standard_error": 0.01, "assumes": HOSTILE},
            "cluster": [{"share": 0.5, "inferred_class": HOSTILE, "mean_trouble": null, "ids": [HOSTILE]}],
            "timeline": [
                {"from": 0, "sampled": 30, "statistic": 0.01, "p": 0.5, "estimated_accuracy": {"accuracy": 0.9}},
                {"from": 3600, "sampled": 3, "statistic": null, "p": null, "estimated_accuracy": null},
                {"from": 7200, "sampled": 30, "statistic": 0.3, "p": 0.001, "estimated_accuracy": null},
            ],
        },
        "retrainings": {"retrainings": [{
            "number": 1, "state": "succeeded", "fired_at": 1, "finished_at": 2, "message": HOSTILE,
            "reason": {"text": HOSTILE},
            "result": {"metrics": {HOSTILE: 0.5}, "metrics_before": {}},
        }]},
        "unavailable": {},
    })
}

/// Checks that every element that begins ends, in its order, and answers the names of all of them.
fn elements(page: &str) -> Vec<String> {
    const VOID: [&str; 7] = [
        "img", "meta", "!doctype", "line", "circle", "polyline", "br",
    ];
    let (mut open, mut all) = (Vec::new(), Vec::new());
    // The style has no markup in it.
    let (before, rest) = page.split_once("<style>").unwrap();
    let after = rest.split_once("</style>").unwrap().1;
    for part in format!("{before}{after}").split('<').skip(1) {
        let (tag, _) = part.split_once('>').expect("an element ends");
        let name = tag
            .split([' ', '/'])
            .find(|word| !word.is_empty())
            .unwrap()
            .to_owned();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else {
            if !VOID.contains(&&*name) {
                open.push(name.clone());
            }
            all.push(name);
        }
    }
    assert_eq!(open, Vec::<String>::new());
    all
}

#[test]
fn what_users_logged_is_text_on_the_page() {
    let page = ReportFormat::Html.write(&report());
    let elements = elements(&page);
    assert!(
        !elements
            .iter()
            .any(|name| ["script", "a", "img", "link"].contains(&&**name))
    );
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));
    // It asks nobody for anything.
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("url("));
    assert!(!page.contains('\u{0}'));
    for id in [
        "space",
        "recommendations",
        "signals",
        "label_issues",
        "issues",
        "confusion",
        "drift",
        "retrainings",
    ] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
    }
    assert_eq!(elements.iter().filter(|name| *name == "svg").count(), 3);
    assert!(page.contains("Not all records were looked at yet: label."));
    assert!(page.contains("<td>25.0 %</td><td>87.5 %</td><td></td>"));
    assert!(page.contains("75 % of what the model is uncertain about"));
}

#[test]
fn a_thumbnail_is_shown_where_it_is_a_picture_and_nothing_else_is() {
    let picture = "data:image/jpeg;base64,/9j/4A==";
    for (thumbnail, shown) in [
        (picture, true),
        ("data:image/svg+xml;base64,PHN2Zy8+", false),
        ("data:application/octet-stream;base64,PHN2Zy8+", false),
        ("data:image/png;base64,\"onload=alert(1)", false),
    ] {
        let mut report = report();
        report["recommendations"]["recommendations"][0]["thumbnail"] = thumbnail.into();
        let page = ReportFormat::Html.write(&report);
        let pictures = elements(&page).iter().filter(|name| *name == "img").count();
        assert_eq!(pictures, usize::from(shown), "{thumbnail}");
        assert!(!shown || page.contains(&format!("<img src=\"{picture}\"")));
        assert!(!page.contains("onload"));
    }
}

#[test]
fn markdown_has_a_row_for_each_and_no_markup_of_users() {
    let page = ReportFormat::Markdown.write(&report());
    assert!(!page.contains('<') && !page.contains("javascript:") && !page.contains("\n# z"));
    let tables = page.lines().filter(|line| line.starts_with('|'));
    // What stands between bars that are no text.
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut widths = Vec::new();
    for line in tables {
        widths.push(bars(line));
    }
    assert_eq!(
        widths,
        [
            3, 3, 3, 3, 9, 9, 9, 6, 6, 6, 6, 6, 6, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 7, 7, 7
        ]
    );
}

#[test]
fn what_cannot_be_told_says_why_and_other_failures_are_told() {
    let mut sections = Sections::default();
    let missing =
        Refusal::new(422, "no_reference", "There is no <training> data.").hint("log some");
    sections.put("recommendations", Err(missing)).unwrap();
    sections.put("space", Ok(json!({"space": "s"}))).unwrap();
    assert_eq!(
        sections
            .put("issues", Err(Refusal::new(503, "closed", "no")))
            .unwrap_err()
            .status,
        503
    );
    let report = sections.finish(1.0);
    assert_eq!(
        report["unavailable"]["recommendations"]["error"],
        "no_reference"
    );
    assert!(report["recommendations"].is_null());
    let page = ReportFormat::Html.write(&report);
    elements(&page);
    assert!(page.contains("There is no &lt;training&gt; data. To mend it: log some."));
    assert!(!page.contains("id=\"issues\""));
    assert!(
        ReportFormat::Markdown
            .write(&report)
            .contains("There is no &lt;training&gt; data.")
    );
}

#[test]
fn many_classes_are_told_as_the_pairs_that_are_confused_most() {
    let mut told = report();
    let names: Vec<String> = (0..40).map(|number| format!("c{number}")).collect();
    let classes: Vec<Json> = names.iter().map(|name| json!({"class": name})).collect();
    let cells: Vec<Json> = (0..40)
        .map(|at| json!({"label_class": names[at], "inference_class": names[(at + 1) % 40], "count": at}))
        .collect();
    told["confusion"]["training"]["classes"] = json!(classes);
    told["confusion"]["training"]["cells"] = json!(cells);
    let page = ReportFormat::Html.write(&told);
    elements(&page);
    assert!(!page.contains("class=\"matrix\""));
    let (most, least) = (
        page.find("<td>c39</td>").unwrap(),
        page.find("<td>c1</td>").unwrap(),
    );
    assert!(most < least);
}

#[test]
fn charts_take_any_numbers() {
    for points in [
        vec![],
        vec![(0.0, 0.5)],
        vec![(0.0, f64::NAN), (1.0, f64::INFINITY), (2.0, 1e300)],
        vec![(0.0, -1.0), (1.0, 2.0)],
    ] {
        let chart = Chart {
            title: "<t>",
            lines: vec![Line {
                style: "first",
                points,
                is_marked: true,
            }],
            x: (0.0, 0.0),
            y: (0.0, 1.0),
            x_word: &|at| format!("{at}"),
            y_word: &|at| format!("<{at}>"),
        };
        let svg = chart.svg();
        elements(&format!("<style></style>{svg}"));
        assert!(
            !svg.contains("NaN") && !svg.contains("inf") && svg.contains("&lt;t&gt;"),
            "{svg}"
        );
        for number in svg
            .split("cy=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            assert!(
                (0.0..=220.0).contains(&number.parse::<f64>().unwrap()),
                "{number}"
            );
        }
    }
}

#[test]
fn formats_have_names() {
    assert_eq!(ReportFormat::named(None).unwrap(), ReportFormat::Json);
    assert_eq!(
        ReportFormat::named(Some("md")).unwrap(),
        ReportFormat::Markdown
    );
    assert_eq!(
        ReportFormat::named(Some("pdf")).unwrap_err().code,
        "unknown_format"
    );
    let text = ReportFormat::Json.write(&report());
    assert_eq!(serde_json::from_str::<Json>(&text).unwrap(), report());
}
