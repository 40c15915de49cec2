//! The key of an embedding set: the same set always leads to the same space, with no look-up.

use serde_json::Value;
use sha2::{Digest, Sha256};
pub(crate) use vermilion_protocol::ascii::hexadecimal;

/// Bytes of the digest that make a key: 32 hexadecimal digits.
const KEY_BYTES: usize = 16;

/// `value` as JSON with sorted keys and without white space, in UTF-8.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|a, b| a.0.cmp(b.0));
            text.push('{');
            for (number, (name, member)) in sorted.into_iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write_canonical(member, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// The key of an embedding set: the first 32 hexadecimal digits of the SHA-256 of its canonical JSON.
pub fn embedding_set_key(set: &Value) -> String {
    hexadecimal(&Sha256::digest(canonical(set).as_bytes())[..KEY_BYTES])
}

/// The id of a record that brings none: a digest of what names it.
pub(crate) fn record_id(input_uri: &str, target: Option<&str>, context: &str) -> String {
    let named = serde_json::json!([input_uri, target, context]);
    hexadecimal(&Sha256::digest(named.to_string().as_bytes())[..KEY_BYTES])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn canonical_json_sorts_keys_at_every_depth_and_has_no_white_space() {
        let set = json!({"version": "7", "b": [1, {"z": null, "a": 2.5}], "a": "\u{e9} \"x\""});
        let expected =
            "{\"a\":\"\u{e9} \\\"x\\\"\",\"b\":[1,{\"a\":2.5,\"z\":null}],\"version\":\"7\"}";
        assert_eq!(canonical(&set), expected);
    }

    #[test]
    fn a_key_is_the_head_of_the_digest() {
        // From sha256 of the text {"layer":"fc2","model":"m","version":"7"}.
        let set = json!({"model": "m", "version": "7", "layer": "fc2"});
        assert_eq!(embedding_set_key(&set), "1ce6979a9537d4616ad04e10c9e9ed28");
        assert_ne!(
            embedding_set_key(&json!({"model": "m"})),
            embedding_set_key(&set)
        );
    }

    #[test]
    fn an_id_tells_inputs_targets_and_contexts_apart() {
        let ids = [
            record_id("a", None, "training"),
            record_id("a", Some(""), "training"),
            record_id("a", Some("b"), "training"),
            record_id("a", None, "production"),
            record_id("ab", None, "training"),
        ];
        let different: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
        assert_eq!(ids[0], record_id("a", None, "training"));
    }
}
