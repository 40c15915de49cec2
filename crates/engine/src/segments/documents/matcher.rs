//! A document test made ready to run over many documents.
//!
//! What must stay true: negative tests pass records without a document, positive ones do not; before
//! each document is a look at whether somebody still waits.

use memchr::memmem::Finder;

use super::expression::Expression;
use crate::model::DocumentTest;
use crate::{Result, asker};

enum Pattern<'a> {
    Text(Box<Finder<'a>>),
    Regex(Box<Expression<'a>>),
}

/// A document test made ready to run over many documents.
pub(in crate::segments) struct DocumentMatcher<'a> {
    pattern: Pattern<'a>,
    negated: bool,
}

impl<'a> DocumentMatcher<'a> {
    /// Makes `test` ready.
    pub(in crate::segments) fn new(test: &'a DocumentTest) -> Self {
        let (pattern, negated) = match test {
            DocumentTest::Contains(text) => (Pattern::Text(Box::new(Finder::new(text))), false),
            DocumentTest::NotContains(text) => (Pattern::Text(Box::new(Finder::new(text))), true),
            DocumentTest::Regex(regex) => (Pattern::Regex(Box::new(Expression::new(regex))), false),
            DocumentTest::NotRegex(regex) => {
                (Pattern::Regex(Box::new(Expression::new(regex))), true)
            }
        };
        Self { pattern, negated }
    }

    /// Whether the test asks for documents in which the pattern is not.
    pub(in crate::segments) fn is_negated(&self) -> bool {
        self.negated
    }

    /// Whether the pattern is in the document; fails where nobody waits for it any more.
    pub(in crate::segments) fn finds(&self, document: Option<&str>) -> Result<bool> {
        asker::still_waits()?;
        let Some(document) = document else {
            return Ok(false);
        };
        match &self.pattern {
            Pattern::Text(finder) => Ok(finder.find(document.as_bytes()).is_some()),
            Pattern::Regex(expression) => expression.is_in(document),
        }
    }

    /// Whether a record with this document (or with none) passes the test; fails as [`Self::finds`] does.
    pub(in crate::segments) fn passes(&self, document: Option<&str>) -> Result<bool> {
        Ok(self.finds(document)? != self.negated)
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::asker::Answers;

    fn check(test: &DocumentTest, document: Option<&str>, expected: bool) {
        let passes = DocumentMatcher::new(test).passes(document).unwrap();
        assert_eq!(passes, expected, "{test:?} {document:?}");
    }

    #[test]
    fn the_empty_string_is_in_every_document_and_in_no_missing_one() {
        check(&DocumentTest::Contains(String::new()), Some(""), true);
        check(&DocumentTest::Contains(String::new()), None, false);
        check(
            &DocumentTest::NotContains(String::new()),
            Some("text"),
            false,
        );
        check(&DocumentTest::NotContains(String::new()), None, true);
    }

    #[test]
    fn substrings_are_literal_and_case_sensitive() {
        let contains = |text: &str| DocumentTest::Contains(text.into());
        check(&contains("100%_\\"), Some("at 100%_\\ speed"), true);
        check(&contains("a%c"), Some("abc"), false);
        check(&contains("A"), Some("a"), false);
        check(&contains("\u{0}\n"), Some("x\u{0}\ny"), true);
    }

    #[test]
    fn expressions_search_anywhere_and_their_opposite_passes_missing_documents() {
        let regex = || Box::new(Regex::new("b.d").unwrap());
        check(&DocumentTest::Regex(regex()), Some("abcde"), true);
        check(&DocumentTest::Regex(regex()), Some("ab\nde"), false);
        check(&DocumentTest::Regex(regex()), None, false);
        check(&DocumentTest::NotRegex(regex()), Some("abcde"), false);
        check(&DocumentTest::NotRegex(regex()), None, true);
    }
    #[test]
    fn no_document_is_looked_at_for_who_is_gone() {
        let asker = Answers::new(1).asker();
        asker.leave();
        let test = DocumentTest::Contains("a".into());
        let left = asker.serve(|| DocumentMatcher::new(&test).passes(Some("a")));
        assert!(left.is_err());
    }
}
