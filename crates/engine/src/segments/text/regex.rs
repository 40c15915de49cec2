//! What trigrams a match of a regular expression must have; what words, tells [`super::words`].
//!
//! The expression is read from left to right with the set of texts that the part read so far can
//! match, as letters, while these are few and short. Where they become too many, and before and
//! after what can be anything, what is known becomes a query, and the set begins anew: with the
//! ends of its texts if what follows follows them directly, so that trigrams across stay known. The
//! idea is that of Russ Cox, "Regular Expression Matching with a Trigram Index" (2012).
//!
//! What must stay true: see [`super::query`]; the work is bounded whatever the expression is.

use regex_syntax::hir::{Class, ClassBytesRange, ClassUnicodeRange, Hir, HirKind, Repetition};
use regex_syntax::parse;

use super::letters::letter;
use super::query::Query;
use super::words;

/// Texts in a set at most.
const TEXTS_MAX: usize = 16;
/// Letters of a text in a set at most, unless they come in one piece.
const LETTERS_MAX: usize = 64;
/// Characters of a class that are texts of their own.
const CLASS_MAX: usize = 8;

/// Texts, as letters, one of which is at this place of a match.
type Texts = Vec<Vec<u8>>;

/// What a match of `pattern` must have.
pub(super) fn query(pattern: &str) -> Query {
    // Every pattern that gets here was compiled before, under the same syntax.
    let Ok(hir) = parse(pattern) else {
        return Query::Has(Vec::new());
    };
    let mut reader = Reader::new();
    reader.read(&hir);
    Query::all(vec![reader.finish(), words::query_of_expression(&hir)])
}

/// Reads an expression from left to right.
struct Reader {
    /// What is known of what was read before the texts.
    known: Vec<Query>,
    /// What directly precedes the place that was read to.
    texts: Texts,
    /// Whether nothing but the texts was read.
    is_whole: bool,
}

/// What an expression is: texts and nothing else, or what is known of it.
enum Read {
    Texts(Texts),
    Known(Query),
}

impl Reader {
    fn new() -> Self {
        Self {
            known: Vec::new(),
            texts: vec![Vec::new()],
            is_whole: true,
        }
    }

    fn read(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => {
                let text = literal.0.iter().map(|&byte| letter(byte)).collect();
                self.append(&vec![text]);
            }
            HirKind::Class(class) => match class_texts(class) {
                Some(texts) => self.append(&texts),
                None => self.skip(),
            },
            HirKind::Repetition(repetition) => self.repeat(repetition),
            HirKind::Capture(capture) => self.read(&capture.sub),
            HirKind::Concat(members) => members.iter().for_each(|member| self.read(member)),
            HirKind::Alternation(members) => self.alternate(members),
        }
    }

    fn repeat(&mut self, repetition: &Repetition) {
        let copies = repetition.min.min(LETTERS_MAX as u32);
        match read(&repetition.sub) {
            // Nothing or one copy of few texts is a set of texts again.
            Read::Texts(mut texts) if (repetition.min, repetition.max) == (0, Some(1)) => {
                texts.push(Vec::new());
                self.append(&texts);
            }
            Read::Texts(texts) => {
                (0..copies).for_each(|_| self.append(&texts));
                if repetition.max != Some(copies) {
                    // More copies may be here; what comes after them follows the last.
                    self.skip();
                    (0..copies.min(1)).for_each(|_| self.append(&texts));
                }
            }
            Read::Known(query) => {
                self.skip();
                self.known.extend((copies > 0).then_some(query));
            }
        }
    }

    fn alternate(&mut self, members: &[Hir]) {
        let read: Vec<Read> = members.iter().map(read).collect();
        if read.iter().all(|one| matches!(one, Read::Texts(_))) {
            let texts = read.into_iter().flat_map(|one| match one {
                Read::Texts(texts) => texts,
                Read::Known(_) => Vec::new(),
            });
            let texts: Texts = texts.collect();
            if texts.len() <= TEXTS_MAX {
                self.append(&texts);
            } else {
                self.skip();
                self.known.push(query_of(&texts));
            }
            return;
        }
        self.skip();
        let queries = read.into_iter().map(|one| match one {
            Read::Texts(texts) => query_of(&texts),
            Read::Known(query) => query,
        });
        self.known.push(Query::any(queries.collect()));
    }

    /// Reads one of `texts`.
    fn append(&mut self, texts: &Texts) {
        let longest = |texts: &Texts| texts.iter().map(Vec::len).max().unwrap_or(0);
        if self.texts.len() * texts.len() > TEXTS_MAX || longest(&self.texts) > LETTERS_MAX {
            self.know();
            self.keep_ends();
            if self.texts.len() * texts.len() > TEXTS_MAX {
                self.skip();
            }
        }
        let before = self.texts.iter();
        let mut both: Texts = before
            .flat_map(|text| texts.iter().map(|next| [&text[..], next].concat()))
            .collect();
        both.sort_unstable();
        both.dedup();
        self.texts = both;
    }

    /// Makes a query of the texts.
    fn know(&mut self) {
        self.known.push(query_of(&self.texts));
        self.is_whole = false;
    }

    /// Leaves of each text what the next trigram begins with.
    fn keep_ends(&mut self) {
        for text in &mut self.texts {
            text.drain(..text.len().saturating_sub(2));
        }
        self.texts.sort_unstable();
        self.texts.dedup();
    }

    /// Reads anything.
    fn skip(&mut self) {
        self.know();
        self.texts = vec![Vec::new()];
    }

    fn finish(mut self) -> Query {
        self.know();
        Query::all(self.known)
    }
}

/// What `hir` is by itself.
fn read(hir: &Hir) -> Read {
    let mut reader = Reader::new();
    reader.read(hir);
    if reader.is_whole {
        Read::Texts(reader.texts)
    } else {
        Read::Known(reader.finish())
    }
}

/// What a document has that has one of `texts`.
fn query_of(texts: &Texts) -> Query {
    Query::any(texts.iter().map(|text| Query::text(text)).collect())
}

/// The characters of a class as texts, where they are few.
fn class_texts(class: &Class) -> Option<Texts> {
    let mut texts: Texts = match class {
        Class::Unicode(class) => {
            if class.iter().map(ClassUnicodeRange::len).sum::<usize>() > CLASS_MAX {
                return None;
            }
            let characters = class.iter().flat_map(|range| range.start()..=range.end());
            characters
                .map(|one| {
                    let mut bytes = [0; 4];
                    let bytes = one.encode_utf8(&mut bytes).bytes();
                    bytes.map(letter).collect()
                })
                .collect()
        }
        Class::Bytes(class) => {
            if class.iter().map(ClassBytesRange::len).sum::<usize>() > CLASS_MAX {
                return None;
            }
            let bytes = class.iter().flat_map(|range| range.start()..=range.end());
            bytes.map(|one| vec![letter(one)]).collect()
        }
    };
    texts.sort_unstable();
    texts.dedup();
    (!texts.is_empty()).then_some(texts)
}
