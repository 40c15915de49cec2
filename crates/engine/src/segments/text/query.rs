//! What trigrams and words a document must have for a pattern to be in it.
//!
//! What must stay true: every document in which the pattern is passes its query. A pattern of which
//! nothing is known has the query that every document passes.

use super::letters::{letter, trigrams};
use super::regex;
use super::words::{self, Part};
use crate::model::DocumentTest;

/// What a document must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::segments) enum Query {
    /// All of these trigrams; with none, every document passes.
    Has(Vec<u32>),
    /// A word that looks like `part`.
    Word {
        part: Part,
        /// Whether such a word has the pattern in it, so that its documents need no reading.
        proves: bool,
    },
    /// What each of these asks for.
    All(Vec<Query>),
    /// What one of these asks for.
    Any(Vec<Query>),
}

impl Query {
    /// What the documents have in which the pattern of `test` is, whether the test asks for them
    /// or for the others; `None` where that may be any document.
    pub(in crate::segments) fn of(test: &DocumentTest) -> Option<Self> {
        let query = match test {
            DocumentTest::Contains(text) | DocumentTest::NotContains(text) => {
                let letters: Vec<u8> = text.bytes().map(letter).collect();
                let words = words::query_of_text(text.as_bytes());
                Self::all(vec![Self::text(&letters), words])
            }
            DocumentTest::Regex(regex) | DocumentTest::NotRegex(regex) => {
                regex::query(regex.as_str())
            }
        };
        (!query.is_everything()).then_some(query)
    }

    /// The trigrams of `letters`.
    pub(super) fn text(letters: &[u8]) -> Self {
        let mut found: Vec<u32> = trigrams(letters).collect();
        found.sort_unstable();
        found.dedup();
        Self::Has(found)
    }

    /// Whether every document passes.
    pub(super) fn is_everything(&self) -> bool {
        matches!(self, Self::Has(trigrams) if trigrams.is_empty())
    }

    /// What all of `members` ask for.
    pub(super) fn all(members: Vec<Self>) -> Self {
        let mut found = Vec::new();
        let mut others = Vec::new();
        for member in members {
            match member {
                Self::Has(trigrams) => found.extend(trigrams),
                Self::All(members) => others.extend(members),
                one @ (Self::Word { .. } | Self::Any(_)) => others.push(one),
            }
        }
        found.sort_unstable();
        found.dedup();
        if others.is_empty() {
            return Self::Has(found);
        }
        if !found.is_empty() {
            others.insert(0, Self::Has(found));
        }
        // Words are looked through for what trigrams leave.
        others.sort_by_key(|one| matches!(one, Self::Word { .. }));
        match others.len() {
            1 => others.swap_remove(0),
            _ => Self::All(others),
        }
    }

    /// What one of `members`, of which there is at least one, asks for.
    pub(super) fn any(mut members: Vec<Self>) -> Self {
        if members.iter().any(Self::is_everything) {
            return Self::Has(Vec::new());
        }
        members.dedup();
        if members.len() == 1 {
            return members.swap_remove(0);
        }
        Self::Any(members)
    }
}
