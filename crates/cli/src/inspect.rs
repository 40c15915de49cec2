//! `vermilion inspect` and `vermilion verify`: a data folder seen without a server.
//!
//! What must stay true: neither takes the lock nor changes a byte.

use serde_json::{Value, json};
use vermilion_engine::{Error, inspect as engine};

use crate::arguments::Look;
use crate::console::{note, say, write};
use crate::failure::Failure;
use crate::folders::must_be_there;

/// Said of a data folder that is not there.
const NAME_IT: &str = "name the data folder with --path";

/// Runs `vermilion inspect`.
pub(crate) fn inspect(arguments: &Look) -> Result<(), Failure> {
    must_be_there(&arguments.path, NAME_IT)?;
    let found = engine::inspect(&arguments.path)?;
    let value = serde_json::to_value(&found)
        .map_err(|error| Failure::new(format!("the folder cannot be described: {error}")))?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&value).expect("a JSON value is always writable");
        return say(&text);
    }
    let mut text = String::new();
    tree(&value, 0, &mut text);
    write(text.as_bytes())
}

/// Runs `vermilion verify`.
pub(crate) fn verify(arguments: &Look) -> Result<(), Failure> {
    let path = &arguments.path;
    must_be_there(path, NAME_IT)?;
    let mut checked = 0_u64;
    let damages = engine::verify(path, &mut |what| {
        checked += 1;
        note(&format!("checking {what}"));
    })?;
    let damages: Vec<&str> = damages.iter().map(Error::message).collect();
    if arguments.json {
        let found = json!({"path": path, "checked": checked, "damage": damages});
        say(&found.to_string())?;
    } else if damages.is_empty() {
        say(&format!(
            "{} is whole: {checked} parts checked, no damage found",
            path.display()
        ))?;
    } else {
        damages.iter().try_for_each(|damage| say(damage))?;
    }
    if damages.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} damaged place{} in {}",
        damages.len(),
        if damages.len() == 1 { "" } else { "s" },
        path.display()
    ))
    .hint("restore these files from a backup, or export what can still be read"))
}

/// Writes a JSON value as an indented tree: scalars on the line of their name, the rest below it.
pub(crate) fn tree(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                branch(
                    &format!("{indent}{}:", name.replace('_', " ")),
                    member,
                    depth,
                    text,
                );
            }
        }
        Value::Array(items) => {
            for item in items {
                branch(&format!("{indent}-"), item, depth, text);
            }
        }
        scalar => line(text, &indent, &plain(scalar)),
    }
}

fn branch(head: &str, value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            line(text, head, "");
            tree(value, depth + 1, text);
        }
        Value::Array(items) if !items.is_empty() => {
            line(text, head, "");
            tree(value, depth + 1, text);
        }
        scalar => line(text, &format!("{head} "), &plain(scalar)),
    }
}

fn line(text: &mut String, start: &str, end: &str) {
    text.push_str(start);
    text.push_str(end);
    text.push('\n');
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Array(_) | Value::Object(_) => "none".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_as_a_tree() {
        let value = serde_json::json!({
            "log_bytes": 12,
            "collections": [{"name": "a", "tags": []}, {"name": "b", "tags": ["x", null]}],
            "clean": true,
        });
        let mut text = String::new();
        tree(&value, 0, &mut text);
        let expected = "clean: true\ncollections:\n  -\n    name: a\n    tags: none\n  -\n    name: b\n    \
                        tags:\n      - x\n      - none\nlog bytes: 12\n";
        assert_eq!(text, expected);
    }
}
