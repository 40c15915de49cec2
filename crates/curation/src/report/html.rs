//! The report as a page: one file without scripts that loads nothing, light or dark as the reader likes.
//!
//! What must stay true: a text that users logged comes onto the page by [`Cell::html`] only, which lets none of it be
//! markup; a section that the report does not tell is left out, or says why.

use std::collections::HashMap;

use serde_json::Value as Json;

use super::cells::{Cell, SIGNAL_HEAD, counted, each, joined, of_signal};
use super::plots::{Chart, Line};

const HEAD: &str = include_str!("head.html");
/// Classes of a matrix at most; of more the pairs that are confused most are told.
const MATRIX_CLASSES_MAX: usize = 25;
/// See [`MATRIX_CLASSES_MAX`].
const PAIRS_MAX: usize = 50;
/// Letters of a time up to its minute.
const DAY_AND_MINUTE: usize = 16;
/// How strong the colour of a cell is at most, of a hundred.
const TONES: u64 = 70;

/// The page of a report.
pub(super) fn page(report: &Json) -> String {
    let space = &report["space"];
    let name = Cell::plain(&space["space"]).html();
    let mut page = HEAD.replace("{title}", &name);
    page.push_str(&format_head(report, &name));
    let sections = [
        spaces,
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
    page.push_str("</main></body></html>\n");
    page
}

fn format_head(report: &Json, name: &str) -> String {
    let list = &report["recommendations"];
    let stale = list["stale_records"].as_u64().unwrap_or(0);
    let mut said = format!("As of {}", Cell::moment(&report["made_at"]).html());
    if !list.is_null() {
        said = format!(
            "{said}, position {} of the log, training data of position {}",
            Cell::plain(&list["as_of_seq"]).html(),
            Cell::plain(&list["epoch"]).html()
        );
    }
    if stale > 0 {
        said = format!(
            "{said}; {} older scores",
            counted(stale, "record has", "records have")
        );
    }
    format!("<header><h1>{name}</h1><p>{said}.</p></header><main>")
}

/// A section, or why it cannot be told; `body` is only asked where it can.
fn section(report: &Json, name: &str, title: &str, body: impl FnOnce(&Json) -> String) -> String {
    let told = &report[name];
    let why = &report["unavailable"][name];
    let body = match (told.is_null(), why.is_null()) {
        (true, true) => return String::new(),
        (true, false) => format!(
            "<p class=\"none\">{} To mend it: {}.</p>",
            Cell::plain(&why["message"]).html(),
            Cell::plain(&why["hint"]).html()
        ),
        (false, _) => body(told),
    };
    format!("<section id=\"{name}\"><h2>{title}</h2>{body}</section>")
}

/// A table; cells of numbers stand at the right.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    let heads = joined(head.iter().map(|one| format!("<th>{one}</th>")));
    let rows = joined(rows.map(|row| {
        let cells = joined(row.iter().map(|cell| format!("<td>{}</td>", cell.html())));
        format!("<tr>{cells}</tr>")
    }));
    if rows.is_empty() {
        return "<p class=\"none\">None.</p>".to_owned();
    }
    format!(
        "<div class=\"wide\"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

fn spaces(report: &Json) -> String {
    section(report, "space", "What is logged", |space| {
        let facts = [
            ("Records", Cell::plain(&space["records"])),
            ("Dimension", Cell::plain(&space["dim"])),
            ("Metric", Cell::plain(&space["metric"])),
            ("Embedding set", Cell::plain(&space["embedding_set"])),
            ("First observed", Cell::moment(&space["first_observed_at"])),
            ("Last observed", Cell::moment(&space["last_observed_at"])),
            ("Classes", Cell::list(&space["classes"])),
        ];
        let facts = joined(
            facts
                .iter()
                .map(|(name, cell)| format!("<dt>{name}</dt><dd>{}</dd>", cell.html())),
        );
        let contexts = space["contexts"].as_object().into_iter().flatten();
        let contexts = table(
            &["Context", "Records"],
            contexts.map(|(name, count)| vec![Cell::of(name.as_str()), Cell::plain(count)]),
        );
        let datasets = table(
            &["Dataset", "Context", "Records"],
            each(&space["datasets"]).map(|one| {
                let cell = |name: &str| Cell::plain(&one[name]);
                vec![cell("name"), cell("context"), cell("records")]
            }),
        );
        format!("<dl>{facts}</dl>{contexts}{datasets}")
    })
}

fn recommendations(report: &Json) -> String {
    section(report, "recommendations", "What to label next", |list| {
        let curve: Vec<f64> = each(&report["coverage_curve"])
            .filter_map(Json::as_f64)
            .collect();
        let said = match curve.last() {
            Some(last) => format!(
                "<p>{} of {} on the list cover {:.0} % of what the model is uncertain about.</p>{}",
                curve.len(),
                Cell::plain(&list["total"]).html(),
                last * 100.0,
                coverage(&curve)
            ),
            None => "<p class=\"none\">Nothing is left to label.</p>".to_owned(),
        };
        let shown = each(&list["recommendations"]).any(|one| !one["thumbnail"].is_null());
        let rows = each(&list["recommendations"]).map(|one| {
            let mut cells = vec![
                Cell::plain(&one["rank"]),
                Cell::plain(&one["id"]),
                Cell::plain(&one["input_uri"]),
                Cell::number(&one["priority"]),
                Cell::number(&one["trouble"]),
                Cell::plain(&one["inferred_class"]),
                Cell::list(&one["reasons"]),
            ];
            cells.extend(shown.then(|| Cell::picture(&one["thumbnail"])));
            cells
        });
        let mut head = vec!["", "Record", "Input", "Priority", "Trouble", "Class", "Why"];
        head.extend(shown.then_some(""));
        format!("{said}{}", table(&head, rows))
    })
}

fn signals(report: &Json) -> String {
    section(report, "signals", "What trouble is made of", |found| {
        table(&SIGNAL_HEAD, each(&found["signals"]).map(of_signal))
    })
}

fn labels(report: &Json) -> String {
    section(
        report,
        "label_issues",
        "Labels that are probably wrong",
        |found| {
            let rows = each(&found["issues"]).map(|one| {
                vec![
                    Cell::plain(&one["id"]),
                    Cell::plain(&one["given_class"]),
                    Cell::plain(&one["suggested_class"]),
                    Cell::number(&one["confidence"]),
                    Cell::number(&one["score"]),
                    Cell::plain(&one["explanation"]),
                ]
            });
            let head = ["Record", "Label", "Suggested", "Confidence", "Score", "Why"];
            let pairs = each(&found["estimated_errors"]).map(|one| {
                vec![
                    Cell::plain(&one["given_class"]),
                    Cell::plain(&one["suggested_class"]),
                    Cell::plain(&one["count"]),
                ]
            });
            let errors = table(&["Label", "Probably", "Records"], pairs);
            let total = counted(
                found["total"].as_u64().unwrap_or(0),
                "label is",
                "labels are",
            );
            let labels = table(&head, rows);
            format!(
                "<p>{total} probably wrong.</p>{}{labels}<h3>Estimated errors by pair</h3>{errors}",
                waiting(found)
            )
        },
    )
}

fn others(report: &Json) -> String {
    section(
        report,
        "issues",
        "What else is wrong with the data",
        |found| {
            let totals = found["totals"].as_object().into_iter().flatten();
            let totals =
                totals.map(|(kind, count)| vec![Cell::of(words(kind)), Cell::plain(count)]);
            let totals = table(&["Issue", "Found"], totals);
            let rows = each(&found["issues"]).map(|one| {
                vec![
                    Cell::of(words(one["type"].as_str().unwrap_or_default())),
                    Cell::plain(&one["id"]),
                    Cell::number(&one["score"]),
                    Cell::plain(&one["explanation"]),
                ]
            });
            let worst = table(&["Issue", "Record", "Score", "Why"], rows);
            format!("{}{totals}<h3>The worst</h3>{worst}", waiting(found))
        },
    )
}

/// That a job has not looked at all records yet, where it has not.
fn waiting(found: &Json) -> String {
    if found["ready"] != false {
        return String::new();
    }
    let kinds = Cell::list(&found["not_ready"]).html();
    format!("<p class=\"none\">Not all records were looked at yet: {kinds}.</p>")
}

/// A name of the API as words.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn confusion(report: &Json) -> String {
    section(report, "confusion", "Labels by inferences", |parts| {
        let parts = parts.as_object().into_iter().flatten();
        let shown = parts.filter(|(_, part)| part["records"] != 0);
        let shown = joined(shown.map(|(context, part)| matrix(context, part)));
        if shown.is_empty() {
            return "<p class=\"none\">No record has a label and an inference.</p>".to_owned();
        }
        shown
    })
}

/// One confusion: a matrix of the classes, or of the pairs where there are too many of them.
fn matrix(context: &str, part: &Json) -> String {
    let said = format!(
        "<h3>{}: {} of {} right</h3>",
        Cell::of(context).html(),
        Cell::percent(&part["accuracy"]).html(),
        counted(part["records"].as_u64().unwrap_or(0), "record", "records"),
    );
    let classes: Vec<&str> = each(&part["classes"])
        .filter_map(|one| one["class"].as_str())
        .collect();
    if classes.len() > MATRIX_CLASSES_MAX {
        let mut pairs: Vec<&Json> = each(&part["cells"])
            .filter(|one| one["label_class"] != one["inference_class"])
            .collect();
        pairs.sort_by_key(|one| std::cmp::Reverse(one["count"].as_u64()));
        let rows = pairs.into_iter().take(PAIRS_MAX).map(|one| {
            let cell = |name: &str| Cell::plain(&one[name]);
            vec![cell("label_class"), cell("inference_class"), cell("count")]
        });
        return format!("{said}{}", table(&["Label", "Inference", "Records"], rows));
    }
    let counts: HashMap<(&str, &str), u64> = each(&part["cells"])
        .filter_map(|one| {
            let names = (
                one["label_class"].as_str()?,
                one["inference_class"].as_str()?,
            );
            Some((names, one["count"].as_u64()?))
        })
        .collect();
    let heads = joined(
        classes
            .iter()
            .map(|class| format!("<th>{}</th>", Cell::of(*class).html())),
    );
    let rows = joined(
        classes
            .iter()
            .map(|label| matrix_row(label, &classes, &counts)),
    );
    format!(
        "{said}<div class=\"wide\"><table class=\"matrix\"><thead><tr><th>Label</th>{heads}</tr></thead>\
         <tbody>{rows}</tbody></table></div>"
    )
}

fn matrix_row(label: &str, classes: &[&str], counts: &HashMap<(&str, &str), u64>) -> String {
    let count = |inferred: &str| counts.get(&(label, inferred)).copied().unwrap_or(0);
    let all: u64 = classes.iter().map(|inferred| count(inferred)).sum();
    let cells = joined(classes.iter().map(|inferred| {
        let style = if *inferred == label { "same" } else { "other" };
        let (count, share) = (count(inferred), count(inferred) * TONES / all.max(1));
        format!("<td class=\"{style}\" style=\"--share:{share}\">{count}</td>")
    }));
    format!("<tr><th>{}</th>{cells}</tr>", Cell::of(label).html())
}

fn drift(report: &Json) -> String {
    section(report, "drift", "Whether production has moved", |found| {
        let estimate = &found["estimated_accuracy"];
        let accuracy = if estimate.is_null() {
            String::new()
        } else {
            format!(
                "<p>The model is thought to be right on {} (standard error {}). Assumes: {}.</p>",
                Cell::percent(&estimate["accuracy"]).html(),
                Cell::percent(&estimate["standard_error"]).html(),
                Cell::plain(&estimate["assumes"]).html()
            )
        };
        let clusters = each(&found["cluster"]).map(|one| {
            vec![
                Cell::percent(&one["share"]),
                Cell::plain(&one["inferred_class"]),
                Cell::number(&one["mean_trouble"]),
                Cell::list(&one["ids"]),
            ]
        });
        let head = ["Of the difference", "Class", "Trouble", "Such as"];
        format!(
            "<p>{}</p>{accuracy}{}<h3>What is new</h3>{}",
            Cell::plain(&found["explanation"]).html(),
            timeline(found),
            table(&head, clusters)
        )
    })
}

/// How far each bucket of production is from the reference, and how accurate the model is thought to be.
fn timeline(found: &Json) -> String {
    let buckets: Vec<&Json> = each(&found["timeline"]).collect();
    let line = |of: &dyn Fn(&Json) -> Option<f64>| -> Vec<(f64, f64)> {
        let points = buckets
            .iter()
            .map(|one| Some((one["from"].as_f64()?, of(one)?)));
        points.flatten().collect()
    };
    let moved = line(&|one| one["statistic"].as_f64());
    if moved.is_empty() {
        return "<p class=\"none\">There are too few records for a timeline.</p>".to_owned();
    }
    let accuracy = line(&|one| one["estimated_accuracy"]["accuracy"].as_f64());
    let x = (moved[0].0, moved[moved.len() - 1].0);
    let top = moved
        .iter()
        .map(|point| point.1)
        .fold(f64::MIN_POSITIVE, f64::max);
    let x_word = |at: f64| {
        let time = Cell::moment(&Json::from(at)).text().replace('T', " ");
        time.chars().take(DAY_AND_MINUTE).collect()
    };
    let chart = |title, style, points, y, y_word: &dyn Fn(f64) -> String| {
        let lines = vec![Line {
            style,
            points,
            is_marked: true,
        }];
        Chart {
            title,
            lines,
            x,
            y,
            x_word: &x_word,
            y_word,
        }
        .svg()
    };
    let distance = chart(
        "The distance of each stretch of production from the reference",
        "first",
        moved,
        (0.0, top),
        &|at| format!("{at:.4}"),
    );
    let right = chart(
        "The estimated accuracy of the model in each stretch of production",
        "second",
        accuracy,
        (0.0, 1.0),
        &|at| format!("{:.0} %", at * 100.0),
    );
    format!("<h3>Distance from the reference</h3>{distance}<h3>Estimated accuracy</h3>{right}")
}

fn runs(report: &Json) -> String {
    section(report, "retrainings", "Retrainings", |found| {
        let rows = each(&found["retrainings"]).map(|one| {
            vec![
                Cell::plain(&one["number"]),
                Cell::plain(&one["state"]),
                Cell::moment(&one["fired_at"]),
                Cell::moment(&one["finished_at"]),
                Cell::plain(&one["reason"]["text"]),
                Cell::metrics(&one["result"]["metrics_before"]),
                Cell::metrics(&one["result"]["metrics"]),
                Cell::plain(&one["message"]),
            ]
        });
        let head = [
            "", "State", "Begun", "Ended", "Why", "Before", "After", "Message",
        ];
        table(&head, rows)
    })
}

fn coverage(curve: &[f64]) -> String {
    let points = curve.iter().enumerate();
    let points = points.map(|(at, share)| ((at + 1) as f64, *share));
    Chart {
        title: "The share of the uncertain mass that the list covers, by the number of labels",
        lines: vec![Line {
            style: "first",
            points: std::iter::once((0.0, 0.0)).chain(points).collect(),
            is_marked: false,
        }],
        x: (0.0, curve.len() as f64),
        y: (0.0, 1.0),
        x_word: &|at| format!("{at:.0}"),
        y_word: &|at| format!("{:.0} %", at * 100.0),
    }
    .svg()
}
