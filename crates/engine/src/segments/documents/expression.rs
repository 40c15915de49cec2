//! A regular expression that is looked for in documents, by a search that can be left.
//!
//! What must stay true: the answers are those of the expression; between two looks at whether somebody
//! still waits there is a bounded piece of a document, whatever the expression costs. Short documents are
//! such a piece. In longer ones an automaton goes on byte by byte, made where the first of them comes.
//! A document in which it cannot go on (beyond ASCII, where an expression asks for the ends of words) is
//! one piece however long it is.

use std::cell::{OnceCell, RefCell};

use regex::Regex;
use regex_automata::Anchored;
use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson;
use regex_automata::util::start;

use crate::{Result, asker};

/// Bytes of a document up to which it is searched in one piece.
const SHORT_BYTES: usize = 16 << 10;
/// Bytes of a longer one between two looks: a byte may cost a visit of every state of the expression.
const STEP_BYTES: usize = 1 << 10;
/// Bytes that the automaton keeps of its states before it begins anew.
const CACHE_BYTES: usize = 2 << 20;

/// An expression made ready for many documents.
pub(super) struct Expression<'a> {
    regex: &'a Regex,
    stepped: OnceCell<Option<Stepped>>,
}

impl<'a> Expression<'a> {
    pub(super) fn new(regex: &'a Regex) -> Self {
        Self {
            regex,
            stepped: OnceCell::new(),
        }
    }

    /// Whether the expression is in `document`; fails where nobody waits for it any more.
    pub(super) fn is_in(&self, document: &str) -> Result<bool> {
        if document.len() > SHORT_BYTES
            && let Some(stepped) = self.stepped.get_or_init(|| Stepped::new(self.regex))
            && let Some(found) = stepped.is_in(document.as_bytes())?
        {
            return Ok(found);
        }
        Ok(self.regex.is_match(document))
    }
}

/// The automaton of an expression, whose states are made as they are needed.
struct Stepped {
    automaton: DFA,
    states: RefCell<Cache>,
}

impl Stepped {
    /// The automaton of `regex`; `None` where it has none.
    fn new(regex: &Regex) -> Option<Self> {
        let config = Config::new()
            .unicode_word_boundary(true)
            .cache_capacity(CACHE_BYTES)
            .skip_cache_capacity_check(true);
        let states = thompson::Config::new().which_captures(thompson::WhichCaptures::None);
        let automaton = DFA::builder()
            .configure(config)
            .thompson(states)
            .build(regex.as_str())
            .ok()?;
        let states = RefCell::new(automaton.create_cache());
        Some(Self { automaton, states })
    }

    /// Whether the expression is in `document`; `None` where the automaton cannot tell.
    fn is_in(&self, document: &[u8]) -> Result<Option<bool>> {
        let states = &mut *self.states.borrow_mut();
        let start = start::Config::new().anchored(Anchored::No);
        let Ok(mut state) = self.automaton.start_state(states, &start) else {
            return Ok(None);
        };
        for piece in document.chunks(STEP_BYTES) {
            asker::still_waits()?;
            for &byte in piece {
                let Ok(next) = self.automaton.next_state(states, state, byte) else {
                    return Ok(None);
                };
                state = next;
                if !state.is_tagged() {
                    continue;
                }
                if state.is_match() {
                    return Ok(Some(true));
                }
                if state.is_dead() {
                    return Ok(Some(false));
                }
                if state.is_quit() {
                    return Ok(None);
                }
            }
        }
        // A match is told one byte late, so that the end is one more step.
        let last = self.automaton.next_eoi_state(states, state);
        Ok(last.ok().map(|last| last.is_match()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::asker::Answers;

    /// A long document of one letter, with `end` at its end.
    fn long(end: &str) -> String {
        "a".repeat(2 * SHORT_BYTES) + end
    }

    #[track_caller]
    fn check(pattern: &str, document: &str) {
        let regex = Regex::new(pattern).unwrap();
        let found = Expression::new(&regex).is_in(document).unwrap();
        assert_eq!(found, regex.is_match(document), "{pattern}");
    }

    #[test]
    fn long_documents_are_answered_as_short_ones_are() {
        let patterns = [
            "",
            "b",
            "b$",
            "^b",
            "^a+b$",
            r"\bb",
            r"a\b",
            r"\Bb",
            r"(?m)^b$",
            r"b\z",
            r"(?i)A{3}B",
            r"[^ab]",
            r"\x{e9}",
            r"a{30}b",
            r"\W",
            "ac|ab",
            r"(?:a|aa)*c$",
            r"\bx\b",
        ];
        for pattern in patterns {
            for end in ["", "b", "\nb", " b ", "\u{e9}", "b\n", " x", "\u{e9}b"] {
                check(pattern, &long(end));
                check(pattern, &format!("{end}{}", long("")));
            }
        }
    }

    #[test]
    fn a_search_of_one_long_document_is_left_when_its_time_is_up() {
        let regex = Regex::new("[ab]*a[ab]{250}c").unwrap();
        let mut state = 1u64;
        let letters = (0..4_000_000).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            if state >> 63 == 0 { 'a' } else { 'b' }
        });
        let document: String = letters.collect();
        let asker = Answers::new(1).asker();
        asker.leave_after(Duration::from_millis(50));
        let left = asker.serve(|| Expression::new(&regex).is_in(&document));
        assert!(left.is_err());
    }
}
