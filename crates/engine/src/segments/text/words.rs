//! Words of documents, and what a word must look like for a pattern to be in a document.
//!
//! A word is a run of bytes that are ASCII letters, digits, `_`, or part of a character beyond ASCII,
//! as long as it gets. What must stay true: a part of a pattern that can match nothing but bytes of
//! words lies, wherever it matches, in one word; and it matches the same in that word between line
//! breaks, since those and all that can stand beside a word are no letters. Words of more than
//! [`WORD_BYTES_MAX`] bytes are kept apart, and may have anything in them.

use std::sync::OnceLock;

use memchr::memmem::Finder;
use regex::bytes::Regex;
use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::query::Query;

/// Bytes of a word at most, in an index.
pub(super) const WORD_BYTES_MAX: usize = 64;
/// Bytes of a part of a pattern at least; few words have more, many have less.
const PART_BYTES_MIN: usize = 4;
/// Parts of a pattern that are looked for at most, the longest ones.
const PARTS_MAX: usize = 4;

/// Whether each byte is one of a word.
const OF_WORD: [bool; 256] = {
    let mut of_word = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let one = byte as u8;
        of_word[byte] = one.is_ascii_alphanumeric() || one == b'_' || !one.is_ascii();
        byte += 1;
    }
    of_word
};

/// Whether `byte` is one of a word.
fn is_of_word(byte: u8) -> bool {
    OF_WORD[usize::from(byte)]
}

/// The words of `text`.
pub(super) fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| !is_of_word(byte))
        .filter(|word| !word.is_empty())
}

/// What a word must look like. Words are looked through all at once, with a line break before,
/// between and after them.
#[derive(Clone, Debug)]
pub(in crate::segments) enum Part {
    /// These bytes are in it; a line break stands where it begins or ends.
    Text(Box<Finder<'static>>),
    /// This expression matches in it.
    Expression(Box<Expression>),
}

/// An expression that is compiled where it is needed first.
#[derive(Clone, Debug)]
pub(in crate::segments) struct Expression {
    pattern: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Part {
    fn text(text: &[u8]) -> Self {
        Self::Text(Box::new(Finder::new(text).into_owned()))
    }

    /// Where, in the words that `lines` hold, the next that looks so begins to, from `at` on.
    pub(super) fn find(&self, lines: &[u8], at: usize) -> Option<usize> {
        match self {
            Self::Text(finder) => {
                let found = finder.find(lines.get(at..)?)?;
                Some(at + found + usize::from(finder.needle().first() == Some(&b'\n')))
            }
            Self::Expression(expression) => {
                let found = expression.get()?.find_at(lines, at)?;
                Some(found.start())
            }
        }
    }

    /// Whether words can be looked through for it.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::Text(_) => true,
            Self::Expression(expression) => expression.get().is_some(),
        }
    }

    /// About the nanoseconds that looking through so many bytes takes.
    pub(super) fn scan_ns(&self, bytes: u64) -> u64 {
        match self {
            Self::Text(_) => bytes / 16,
            Self::Expression(_) => bytes / 4,
        }
    }

    /// What it looks for, in words.
    fn pattern(&self) -> &[u8] {
        match self {
            Self::Text(finder) => finder.needle(),
            Self::Expression(expression) => expression.pattern.as_bytes(),
        }
    }
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        let is_text = |part: &Self| matches!(part, Self::Text(_));
        is_text(self) == is_text(other) && self.pattern() == other.pattern()
    }
}

impl Eq for Part {}

impl Expression {
    fn get(&self) -> Option<&Regex> {
        // What cannot be compiled by itself tells nothing.
        let compile = || Regex::new(&self.pattern).ok();
        self.compiled.get_or_init(compile).as_ref()
    }
}

/// What words a document has that has `text`.
pub(super) fn query_of_text(text: &[u8]) -> Query {
    let mut parts = Vec::new();
    let mut begin = 0;
    while begin < text.len() {
        let length = text[begin..].iter().take_while(|&&byte| is_of_word(byte));
        let end = begin + length.count();
        // What stands beside it in the text is no part of a word, and so a line break there.
        let (before, after) = (begin > 0, end < text.len());
        let breaks = |is: bool| if is { &b"\n"[..] } else { &[] };
        let part = [breaks(before), &text[begin..end], breaks(after)].concat();
        if end > begin && part.len() >= PART_BYTES_MIN {
            parts.push(part);
        }
        begin = end + 1;
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts.truncate(PARTS_MAX);
    let words = parts.iter().map(|part| Query::Word {
        part: Part::text(part),
        proves: part == text,
    });
    Query::all(words.collect())
}

/// What words a document has in which `hir` matches.
pub(super) fn query_of_expression(hir: &Hir) -> Query {
    let mut parts = Vec::new();
    find_parts(hir, &mut parts);
    parts.sort_by_key(|part| std::cmp::Reverse(part.properties().minimum_len()));
    parts.truncate(PARTS_MAX);
    let words = parts.iter().map(|one| Query::Word {
        part: match literal_of(one) {
            Some(literal) => Part::text(literal),
            None => Part::Expression(Box::new(Expression {
                pattern: one.to_string(),
                compiled: OnceLock::new(),
            })),
        },
        // What stands beside a word is not known to it.
        proves: one == hir && hir.properties().look_set().is_empty(),
    });
    Query::all(words.collect())
}

/// What `hir` matches, if that is one text, whatever it wants beside it: a text is looked for much
/// faster, and few words have it elsewhere.
fn literal_of(hir: &Hir) -> Option<&[u8]> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(&literal.0),
        HirKind::Capture(capture) => literal_of(&capture.sub),
        HirKind::Concat(members) => {
            let is_look = |member: &&Hir| matches!(member.kind(), HirKind::Look(_));
            let mut others = members.iter().filter(|member| !is_look(member));
            let only = others.next().filter(|_| others.next().is_none())?;
            literal_of(only)
        }
        _ => None,
    }
}

/// Appends parts of `hir`, each as long as it gets, that every match has and that match nothing but
/// bytes of words.
fn find_parts(hir: &Hir, parts: &mut Vec<Hir>) {
    if matches_within_word(hir) {
        return keep(hir.clone(), parts);
    }
    match hir.kind() {
        HirKind::Capture(capture) => find_parts(&capture.sub, parts),
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            find_parts(&repetition.sub, parts);
        }
        HirKind::Concat(members) => {
            let mut run: Vec<Hir> = Vec::new();
            for member in members.iter().flat_map(pieces) {
                if matches_within_word(&member) {
                    run.push(member);
                    continue;
                }
                keep(Hir::concat(std::mem::take(&mut run)), parts);
                find_parts(&member, parts);
            }
            keep(Hir::concat(run), parts);
        }
        HirKind::Literal(_) => {
            let run = pieces(hir).into_iter().filter(matches_within_word);
            run.for_each(|piece| keep(piece, parts));
        }
        HirKind::Empty
        | HirKind::Look(_)
        | HirKind::Class(_)
        | HirKind::Repetition(_)
        | HirKind::Alternation(_) => {}
    }
}

/// `hir`, and if it is a literal its runs of bytes that are all of words or all not.
fn pieces(hir: &Hir) -> Vec<Hir> {
    match hir.kind() {
        HirKind::Literal(literal) => {
            let runs = literal.0.chunk_by(|a, b| is_of_word(*a) == is_of_word(*b));
            runs.map(Hir::literal).collect()
        }
        _ => vec![hir.clone()],
    }
}

/// Appends `part` unless it is too short to tell much.
fn keep(part: Hir, parts: &mut Vec<Hir>) {
    let least = part.properties().minimum_len();
    if least.is_some_and(|least| least >= PART_BYTES_MIN) {
        parts.push(part);
    }
}

/// Whether `hir` matches nothing but bytes of words.
fn matches_within_word(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty => true,
        HirKind::Look(look) => !matches!(
            look,
            Look::Start | Look::End | Look::StartLF | Look::EndLF | Look::StartCRLF | Look::EndCRLF
        ),
        HirKind::Literal(literal) => literal.0.iter().all(|&byte| is_of_word(byte)),
        HirKind::Class(Class::Unicode(class)) => class.iter().all(|range| {
            let all = |low: char, high: char| (low as u32..=high as u32).all(is_ascii_of_word);
            range.start() > '\u{7f}' || all(range.start(), range.end().min('\u{7f}'))
        }),
        HirKind::Class(Class::Bytes(class)) => class
            .iter()
            .all(|range| (range.start()..=range.end()).all(is_of_word)),
        HirKind::Repetition(repetition) => matches_within_word(&repetition.sub),
        HirKind::Capture(capture) => matches_within_word(&capture.sub),
        HirKind::Concat(members) | HirKind::Alternation(members) => {
            members.iter().all(matches_within_word)
        }
    }
}

/// Whether the character `code` is beyond ASCII or a byte of a word.
fn is_ascii_of_word(code: u32) -> bool {
    u8::try_from(code).map_or(true, is_of_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(query: &Query) -> Vec<String> {
        let of_one = |query: &Query| match query {
            Query::Word { part, .. } => String::from_utf8(part.pattern().to_vec()).unwrap(),
            other => panic!("{other:?}"),
        };
        match query {
            Query::All(members) => members.iter().map(of_one).collect(),
            Query::Has(none) if none.is_empty() => Vec::new(),
            one => vec![of_one(one)],
        }
    }

    #[test]
    fn words_are_as_long_as_they_get() {
        let found: Vec<&[u8]> = words("a_1-\u{20ac}z.\n b".as_bytes()).collect();
        assert_eq!(found, ["a_1".as_bytes(), "\u{20ac}z".as_bytes(), b"b"]);
    }

    #[test]
    fn texts_become_parts_that_end_where_words_do() {
        for (text, expected) in [
            ("stata", &["stata"][..]),
            ("is stata of", &["\nstata\n"]),
            ("library for", &["library\n", "\nfor"]),
            ("a-b", &[]),
            ("", &[]),
        ] {
            assert_eq!(parts(&query_of_text(text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn expressions_become_parts_that_lie_in_one_word() {
        for (pattern, expected) in [
            ("stata", &["stata"][..]),
            (r"\bstata\b", &["stata"]),
            (r"(\bstata)\B", &["stata"]),
            ("^stata$", &["stata"]),
            ("(?:stata )+", &["stata"]),
            ("(?:stata )*", &[]),
            ("one two-three", &["three"]),
            ("stata|other thing", &[]),
            ("[a-z]{3}", &[]),
            (".{9}", &[]),
        ] {
            let hir = regex_syntax::parse(pattern).unwrap();
            assert_eq!(parts(&query_of_expression(&hir)), expected, "{pattern}");
        }
        let hir = regex_syntax::parse("(?i)ask me").unwrap();
        assert_eq!(parts(&query_of_expression(&hir)), [] as [&str; 0]);
        let hir = regex_syntax::parse("(?i)asks?").unwrap();
        assert_eq!(parts(&query_of_expression(&hir)), [] as [&str; 0]);
        let hir = regex_syntax::parse("(?i)asked").unwrap();
        let found = parts(&query_of_expression(&hir));
        assert!(
            found.len() == 1 && found[0].contains('\u{17f}'),
            "{found:?}"
        );
    }
}
