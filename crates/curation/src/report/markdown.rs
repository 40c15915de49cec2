//! The report as Markdown: headings and tables.

use serde_json::Value as Json;

use super::cells::{Cell, SIGNAL_HEAD, each, joined, of_signal};

/// The page of a report.
pub(super) fn page(report: &Json) -> String {
    let space = &report["space"];
    let mut page = format!(
        "# {}\n\nAs of {}: {} records.\n",
        Cell::plain(&space["space"]).markdown(),
        Cell::moment(&report["made_at"]).markdown(),
        Cell::plain(&space["records"]).markdown()
    );
    let contexts = space["contexts"].as_object().into_iter().flatten();
    let contexts = contexts.map(|(name, count)| vec![Cell::of(name.as_str()), Cell::plain(count)]);
    page.push_str(&table(&["Context", "Records"], contexts));
    let sections = [
        recommendations,
        signals,
        labels,
        others,
        confusion,
        drift,
        runs,
    ];
    for section in sections {
        page.push_str(&section(report));
    }
    page
}

/// A section, or why it cannot be told.
fn section(report: &Json, name: &str, title: &str, body: impl FnOnce(&Json) -> String) -> String {
    let told = &report[name];
    let why = &report["unavailable"][name];
    let body = match (told.is_null(), why.is_null()) {
        (true, true) => return String::new(),
        (true, false) => format!("{}\n", Cell::plain(&why["message"]).markdown()),
        (false, _) => body(told),
    };
    format!("\n## {title}\n\n{}\n", body.trim_matches('\n'))
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    let rows = joined(rows.map(|row| {
        let cells: Vec<String> = row.iter().map(Cell::markdown).collect();
        format!("| {} |\n", cells.join(" | "))
    }));
    if rows.is_empty() {
        return "\nNone.\n".to_owned();
    }
    let heads = head.join(" | ");
    format!("\n| {heads} |\n|{}\n{rows}", "---|".repeat(head.len()))
}

fn recommendations(report: &Json) -> String {
    section(report, "recommendations", "What to label next", |list| {
        let rows = each(&list["recommendations"]).map(|one| {
            vec![
                Cell::plain(&one["rank"]),
                Cell::plain(&one["id"]),
                Cell::plain(&one["input_uri"]),
                Cell::number(&one["priority"]),
                Cell::percent(&one["coverage"]),
                Cell::number(&one["trouble"]),
                Cell::plain(&one["inferred_class"]),
                Cell::list(&one["reasons"]),
            ]
        });
        let head = [
            "Rank", "Record", "Input", "Priority", "Covered", "Trouble", "Class", "Why",
        ];
        table(&head, rows)
    })
}

fn signals(report: &Json) -> String {
    section(report, "signals", "What trouble is made of", |found| {
        table(&SIGNAL_HEAD, each(&found["signals"]).map(of_signal))
    })
}

fn labels(report: &Json) -> String {
    let title = "Labels that are probably wrong";
    section(report, "label_issues", title, |found| {
        let rows = each(&found["issues"]).map(|one| {
            vec![
                Cell::plain(&one["id"]),
                Cell::plain(&one["given_class"]),
                Cell::plain(&one["suggested_class"]),
                Cell::number(&one["confidence"]),
                Cell::plain(&one["explanation"]),
            ]
        });
        table(&["Record", "Label", "Suggested", "Confidence", "Why"], rows)
    })
}

fn others(report: &Json) -> String {
    let title = "What else is wrong with the data";
    section(report, "issues", title, |found| {
        let rows = each(&found["issues"]).map(|one| {
            vec![
                Cell::plain(&one["type"]),
                Cell::plain(&one["id"]),
                Cell::number(&one["score"]),
                Cell::plain(&one["explanation"]),
            ]
        });
        table(&["Issue", "Record", "Score", "Why"], rows)
    })
}

fn confusion(report: &Json) -> String {
    section(report, "confusion", "Labels by inferences", |parts| {
        let rows = parts
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(context, part)| {
                let mistakes =
                    each(&part["cells"]).filter(|one| one["label_class"] != one["inference_class"]);
                mistakes.map(|one| {
                    vec![
                        Cell::of(context.as_str()),
                        Cell::plain(&one["label_class"]),
                        Cell::plain(&one["inference_class"]),
                        Cell::plain(&one["count"]),
                    ]
                })
            });
        table(&["Context", "Label", "Inference", "Records"], rows)
    })
}

fn drift(report: &Json) -> String {
    section(report, "drift", "Whether production has moved", |found| {
        let rows = each(&found["timeline"]).map(|one| {
            vec![
                Cell::moment(&one["from"]),
                Cell::plain(&one["sampled"]),
                Cell::number(&one["statistic"]),
                Cell::number(&one["p"]),
                Cell::percent(&one["estimated_accuracy"]["accuracy"]),
            ]
        });
        let head = ["From", "Records", "Distance", "p", "Estimated accuracy"];
        let said = Cell::plain(&found["explanation"]).markdown();
        format!("{said}\n{}", table(&head, rows))
    })
}

fn runs(report: &Json) -> String {
    section(report, "retrainings", "Retrainings", |found| {
        let rows = each(&found["retrainings"]).map(|one| {
            vec![
                Cell::plain(&one["number"]),
                Cell::plain(&one["state"]),
                Cell::moment(&one["fired_at"]),
                Cell::plain(&one["reason"]["text"]),
                Cell::metrics(&one["result"]["metrics_before"]),
                Cell::metrics(&one["result"]["metrics"]),
            ]
        });
        table(&["", "State", "Begun", "Why", "Before", "After"], rows)
    })
}
