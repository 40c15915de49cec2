//! Answers of curation as tables for a person.

use serde_json::Value;

use crate::console::grouped;
use crate::control::table;

/// What was sent, a file a line.
pub(super) fn sent(files: &Value) -> String {
    let rows = each(files).map(|one| {
        let count = one["records"].as_u64().unwrap_or(0);
        vec![text(&one["file"]), grouped(count), text(&one["space"])]
    });
    table(&["FILE", "RECORDS", "SPACE"], rows.collect())
}

/// Spaces, one a line.
pub(super) fn spaces(answer: &Value) -> String {
    let rows = each(&answer["spaces"]).map(|one| {
        let count = |name: &str| grouped(one["contexts"][name].as_u64().unwrap_or(0));
        vec![
            text(&one["space"]),
            text(&one["embedding_set_key"]),
            text(&one["dim"]),
            count("training"),
            count("production"),
            count("triage"),
            count("test"),
            each(&one["classes"]).count().to_string(),
            grouped(one["index_lag"].as_u64().unwrap_or(0)),
        ]
    });
    let head = [
        "SPACE",
        "KEY",
        "DIM",
        "TRAINING",
        "PRODUCTION",
        "TRIAGE",
        "TEST",
        "CLASSES",
        "LAG",
    ];
    table(&head, rows.collect())
}

/// A list, an entry a line, and what it covers.
pub(super) fn recommendations(list: &Value) -> String {
    let rows = each(&list["recommendations"]).map(|one| {
        vec![
            text(&one["rank"]),
            text(&one["id"]),
            text(&one["input_uri"]),
            share(&one["priority"]),
            share(&one["coverage"]),
            share(&one["trouble"]),
            text(&one["inferred_class"]),
            reasons(one),
        ]
    });
    let head = [
        "RANK", "ID", "INPUT", "PRIORITY", "COVERAGE", "TROUBLE", "CLASS", "WHY",
    ];
    let mut shown = vec![table(&head, rows.collect())];
    if let Some(coverage) = list["coverage"].as_f64() {
        shown.push(format!(
            "the first {} of {} cover {:.0} % of what the model is uncertain about\n",
            each(&list["recommendations"]).count(),
            text(&list["total"]),
            coverage * 100.0
        ));
    }
    if list["degraded"] == true {
        shown.push("there is no training data yet: the order is by density alone\n".to_owned());
    }
    if let Some(stale @ 1..) = list["stale_records"].as_u64() {
        let stale = grouped(stale);
        shown.push(format!("{stale} records have older scores, or none yet\n"));
    }
    shown.concat()
}

/// Issues, one a line, and how many of each type there are.
pub(super) fn issues(answer: &Value) -> String {
    let rows = each(&answer["issues"]).map(|one| {
        vec![
            text(&one["type"]),
            text(&one["id"]),
            share(&one["score"]),
            text(&one["given_class"]),
            text(&one["suggested_class"]),
            text(&one["explanation"]),
        ]
    });
    let head = ["TYPE", "ID", "SCORE", "LABEL", "SUGGESTED", "WHY"];
    let mut shown = vec![table(&head, rows.collect())];
    let totals = answer["totals"].as_object().into_iter().flatten();
    let totals: Vec<String> = totals
        .filter(|(_, count)| count.as_u64() > Some(0))
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    if !totals.is_empty() {
        shown.push(format!("in all: {}\n", totals.join(", ")));
    }
    if answer["ready"] == false {
        let kinds: Vec<String> = each(&answer["not_ready"]).map(text).collect();
        shown.push(format!(
            "not all records were looked at yet: {}\n",
            kinds.join(", ")
        ));
    }
    shown.concat()
}

/// What each signal counts in trouble, one a line.
pub(super) fn signals(answer: &Value) -> String {
    let rows = each(&answer["signals"]).map(|one| {
        vec![
            text(&one["signal"]),
            share(&one["share"]),
            share(&one["tells_errors"]),
            share(&one["tells_unknown"]),
            text(&one["explanation"]),
        ]
    });
    let head = ["SIGNAL", "COUNTS", "ERRORS", "UNKNOWN", "WHY"];
    let count = |name: &str| grouped(answer[name].as_u64().unwrap_or(0));
    format!(
        "{}training is right about {} of its records and wrong about {}; percentiles are among {}\n",
        table(&head, rows.collect()),
        count("right"),
        count("wrong"),
        text(&answer["percentiles_among"])
    )
}

/// A file that was written.
pub(super) fn saved(saved: &Value) -> String {
    let bytes = grouped(saved["bytes"].as_u64().unwrap_or(0));
    format!("{} has {bytes} bytes\n", text(&saved["file"]))
}

/// A trigger that was made. Its secret is never told again.
pub(super) fn made_trigger(made: &Value) -> String {
    let id = text(&made["id"]);
    match &made["webhook"]["secret"] {
        Value::Null => format!("trigger {id}\n"),
        secret => {
            let secret = text(secret);
            format!("trigger {id}\nits events are signed with {secret}, which is shown this once\n")
        }
    }
}

/// Triggers, one a line.
pub(super) fn triggers(answer: &Value) -> String {
    let rows = each(&answer["triggers"]).map(|one| {
        vec![
            text(&one["id"]),
            text(&one["name"]),
            text(&one["policy"]),
            if one["dry_run"] == true { "dry" } else { "" }.to_owned(),
            text(&one["webhook"]["url"]),
        ]
    });
    let head = ["TRIGGER", "NAME", "POLICY", "", "RECEIVER"];
    table(&head, rows.collect())
}

/// Retrainings, one a line.
pub(super) fn retrainings(answer: &Value) -> String {
    let rows = each(&answer["retrainings"]).map(|one| {
        vec![
            text(&one["id"]),
            text(&one["number"]),
            text(&one["state"]),
            moment(&one["fired_at"]),
            moment(&one["finished_at"]),
            text(&one["reason"]["text"]),
            text(&one["message"]),
        ]
    });
    let head = [
        "RETRAINING",
        "NUMBER",
        "STATE",
        "BEGAN",
        "ENDED",
        "WHY",
        "MESSAGE",
    ];
    table(&head, rows.collect())
}

/// A retraining as it stands.
pub(super) fn retraining(ended: &Value) -> String {
    if ended.is_null() {
        return "no retraining waits\n".to_owned();
    }
    format!(
        "retraining {} {}\n",
        text(&ended["id"]),
        text(&ended["state"])
    )
}

/// What moved, then the timeline.
pub(super) fn drift(found: &Value) -> String {
    let rows = each(&found["timeline"]).map(|one| {
        vec![
            moment(&one["from"]),
            text(&one["sampled"]),
            share(&one["statistic"]),
            share(&one["p"]),
            share(&one["estimated_accuracy"]["accuracy"]),
            if one["drifted"] == true { "moved" } else { "" }.to_owned(),
        ]
    });
    let head = ["FROM", "RECORDS", "DISTANCE", "P", "ACCURACY", ""];
    let said = text(&found["explanation"]);
    let (distance, p) = (share(&found["statistic"]), share(&found["p"]));
    let verdict = if found["drifted"] == true {
        "production has moved"
    } else {
        "production has not moved"
    };
    let timeline = table(&head, rows.collect());
    format!("{verdict} (distance {distance}, p {p}): {said}\n{timeline}")
}

/// Seconds since 1970 as a time.
fn moment(value: &Value) -> String {
    let nanoseconds = value.as_f64().map(|seconds| seconds * 1e9);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "times before 1970 are told as 1970"
    )]
    let time = nanoseconds.map(|nanoseconds| crate::utc::text(nanoseconds.max(0.0) as u64));
    time.unwrap_or_default()
}

/// Components, one a line.
pub(super) fn status(status: &Value) -> String {
    let rows = each(&status["components"]).map(|one| {
        let lag = one["lag"].as_u64().unwrap_or(0);
        vec![
            text(&one["component"]),
            text(&one["state"]),
            text(&one["queue"]),
            format!("{} {}", grouped(lag), text(&one["lag_unit"])),
            text(&one["last_error"]),
        ]
    });
    let head = ["COMPONENT", "STATE", "QUEUE", "LAG", "LAST ERROR"];
    table(&head, rows.collect())
}

/// Assessments, one a line.
pub(super) fn assessments(answer: &Value) -> String {
    let rows = each(&answer["assessments"]).map(|one| {
        let verdict = match (&one["training_recommended"], &one["not_useful"]) {
            (Value::Bool(true), _) => "upload",
            (_, Value::Bool(true)) => "not useful",
            _ => "undecided",
        };
        vec![
            verdict.to_owned(),
            text(&one["input_uri"]),
            share(&one["trouble"]),
            text(&one["inferred_class"]),
            reasons(one),
        ]
    });
    table(
        &["VERDICT", "INPUT", "TROUBLE", "CLASS", "WHY"],
        rows.collect(),
    )
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A line for people of a text, number or nothing; what would break a table is written as escapes.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.chars().flat_map(shown).collect(),
        other => other.to_string(),
    }
}

fn shown(letter: char) -> Vec<char> {
    if letter.is_control() {
        return letter.escape_default().collect();
    }
    vec![letter]
}

/// A number between 0 and 1.
fn share(value: &Value) -> String {
    let number = value.as_f64();
    number.map_or_else(String::new, |number| format!("{number:.3}"))
}

fn reasons(one: &Value) -> String {
    let reasons: Vec<String> = each(&one["reasons"]).map(text).collect();
    reasons.join("; ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_a_table_with_what_it_covers() {
        let shown = recommendations(&json!({
            "recommendations": [{
                "rank": 1, "id": "a", "input_uri": "s3://x\n", "priority": 1.0, "coverage": 0.25,
                "trouble": null, "inferred_class": "cat", "reasons": ["new", "rare"],
            }],
            "total": 1200, "coverage": 0.25, "degraded": true, "stale_records": 1500,
        }));
        let expected = "RANK  ID  INPUT     PRIORITY  COVERAGE  TROUBLE  CLASS  WHY\n\
                        1     a   s3://x\\n  1.000     0.250              cat    new; rare\n\
                        the first 1 of 1200 cover 25 % of what the model is uncertain about\n\
                        there is no training data yet: the order is by density alone\n\
                        1 500 records have older scores, or none yet\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn assessments_have_a_verdict_each() {
        let one = |recommended: bool, useless: bool| json!({"training_recommended": recommended, "not_useful": useless, "trouble": 0.5, "reasons": []});
        let all = json!({"assessments": [one(true, false), one(false, true), one(false, false)]});
        let shown = assessments(&all);
        let verdicts: Vec<&str> = shown
            .lines()
            .skip(1)
            .map(|line| line[..10].trim())
            .collect();
        assert_eq!(verdicts, ["upload", "not useful", "undecided"]);
    }
}
