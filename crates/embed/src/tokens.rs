//! Texts to tokens as BERT's uncased tokenizer makes them: cleaned, in small letters without accents, cut
//! at spaces and punctuation, and each word into the longest pieces that the vocabulary has
//! (Devlin et al., "BERT", 2018, and the WordPiece of Wu et al., 2016).
//!
//! What must stay true: the same ids as the reference tokenizer gives, for every text.

use std::collections::HashMap;

use regex_syntax::hir::{Class, HirKind};
use unicode_normalization::UnicodeNormalization;

use crate::files::ModelError;

/// Characters of a word that is cut into pieces; longer ones are unknown as a whole.
const WORD_CHARACTERS_MAX: usize = 100;
/// What is put before pieces that do not begin a word.
const INSIDE: &str = "##";
/// Tokens that a text may name as they stand.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

// The classes of characters are those of Unicode 8, as the reference has them: without characters that came
// later, and with the few as they were that are in another class since.

/// Characters that are dropped.
const CONTROLS: &str = r"[[\p{Cc}\p{Cf}\p{Co}]&&\p{Age:8.0}]";
/// Characters that are dropped once a character is taken apart.
const ACCENTS: &str =
    r"[[[\p{Mn}\x{1734}\x{1171e}]--[\x{1885}\x{1886}\x{a9bd}\x{111c9}]]&&\p{Age:8.0}]";
/// Characters that stand alone.
const PUNCTUATION: &str = r"[[\p{P}\x{166d}\x{111c9}!-/:-@\[-`{-~]&&\p{Age:8.0}]";

/// Where ideographs are: each counts as a word.
const IDEOGRAPHS: [(char, char); 8] = [
    ('\u{4e00}', '\u{9fff}'),
    ('\u{3400}', '\u{4dbf}'),
    ('\u{20000}', '\u{2a6df}'),
    ('\u{2a700}', '\u{2b73f}'),
    ('\u{2b740}', '\u{2b81f}'),
    ('\u{2b920}', '\u{2ceaf}'),
    ('\u{f900}', '\u{faff}'),
    ('\u{2f800}', '\u{2fa1f}'),
];

/// Makes tokens of texts.
#[derive(Debug)]
pub(crate) struct Tokenizer {
    ids: HashMap<String, u32>,
    special: [u32; SPECIAL.len()],
    /// Characters that are dropped, that are accents once a character is taken apart, and that stand alone.
    controls: Ranges,
    accents: Ranges,
    punctuation: Ranges,
}

impl Tokenizer {
    /// Of a vocabulary with a token on each line, whose number is its id.
    pub(crate) fn new(vocabulary: &[u8]) -> Result<Self, ModelError> {
        let text = str::from_utf8(vocabulary)
            .map_err(|_| ModelError::Damaged("its vocabulary is no text".to_owned()))?;
        let ids: HashMap<String, u32> = (0..)
            .zip(text.lines())
            .map(|(id, token)| (token.to_owned(), id))
            .collect();
        let mut special = [0; SPECIAL.len()];
        for (id, name) in special.iter_mut().zip(SPECIAL) {
            *id = *ids.get(name).ok_or_else(|| {
                ModelError::Damaged(format!("its vocabulary does not have the token {name}"))
            })?;
        }
        Ok(Self {
            ids,
            special,
            controls: Ranges::of(CONTROLS)?,
            accents: Ranges::of(ACCENTS)?,
            punctuation: Ranges::of(PUNCTUATION)?,
        })
    }

    /// The ids of the first tokens of `text`, `most` at most, between those of begin and end.
    pub(crate) fn ids(&self, text: &str, most: usize) -> Vec<u32> {
        let [_, _, begin, end, _] = self.special;
        let mut ids = vec![begin];
        let mut rest = text;
        while !rest.is_empty() && ids.len() < most {
            let named = SPECIAL.iter().zip(self.special);
            let next = named
                .filter_map(|(name, id)| Some((rest.find(name)?, name.len(), id)))
                .min();
            let (plain, after) = match next {
                Some((at, length, _)) => (&rest[..at], &rest[at + length..]),
                None => (rest, ""),
            };
            self.push_plain(plain, most, &mut ids);
            ids.extend(next.map(|(_, _, id)| id));
            rest = after;
        }
        ids.truncate(most - 1);
        ids.push(end);
        ids
    }

    /// Appends the tokens of a text that names none of [`SPECIAL`].
    fn push_plain(&self, text: &str, most: usize, ids: &mut Vec<u32>) {
        let mut word = String::new();
        // Cleaned and spaced, taken apart without accents, in small letters: each for all of the
        // text before the next, since a character may become several.
        let spaced = text.chars().flat_map(|character| self.spaced(character));
        let letters = spaced
            .nfd()
            .filter(|&character| !self.accents.has(character));
        for character in letters.flat_map(char::to_lowercase) {
            let alone = self.punctuation.has(character);
            if character.is_whitespace() || alone {
                self.push_word(&word, ids);
                word.clear();
                if ids.len() >= most {
                    return;
                }
            }
            if alone {
                self.push_word(character.encode_utf8(&mut [0; 4]), ids);
            } else if !character.is_whitespace() {
                word.push(character);
            }
        }
        self.push_word(&word, ids);
    }

    /// A character as it is read: nothing, a space, itself, or itself between spaces.
    fn spaced(&self, character: char) -> impl Iterator<Item = char> + use<> {
        let around = is_ideograph(character).then_some(' ');
        let read = match character {
            '\t' | '\n' | '\r' => Some(' '),
            '\0' | '\u{fffd}' => None,
            _ if self.controls.has(character) => None,
            _ if character.is_whitespace() => Some(' '),
            _ => Some(character),
        };
        around.into_iter().chain(read).chain(around)
    }

    /// Appends the pieces of a word, or the unknown token where it has none.
    fn push_word(&self, word: &str, ids: &mut Vec<u32>) {
        if word.is_empty() {
            return;
        }
        let before = ids.len();
        let unknown = self.special[1];
        if word.chars().count() > WORD_CHARACTERS_MAX {
            ids.push(unknown);
            return;
        }
        let mut rest = word;
        let mut piece = String::new();
        while !rest.is_empty() {
            let ends = rest
                .char_indices()
                .map(|(at, one)| at + one.len_utf8())
                .rev();
            let longest = ends.into_iter().find_map(|end| {
                piece.clear();
                if rest.len() < word.len() {
                    piece.push_str(INSIDE);
                }
                piece.push_str(&rest[..end]);
                Some((end, *self.ids.get(&piece)?))
            });
            let Some((end, id)) = longest else {
                ids.truncate(before);
                ids.push(unknown);
                return;
            };
            ids.push(id);
            rest = &rest[end..];
        }
    }
}

fn is_ideograph(character: char) -> bool {
    IDEOGRAPHS
        .iter()
        .any(|&(from, to)| (from..=to).contains(&character))
}

/// A set of characters as ascending ranges.
#[derive(Debug)]
struct Ranges(Vec<(char, char)>);

impl Ranges {
    /// The characters of a class of a regular expression.
    fn of(class: &str) -> Result<Self, ModelError> {
        let parsed = regex_syntax::parse(class);
        match parsed.as_ref().map(regex_syntax::hir::Hir::kind) {
            Ok(HirKind::Class(Class::Unicode(class))) => {
                let ranges = class.ranges().iter();
                Ok(Self(
                    ranges.map(|range| (range.start(), range.end())).collect(),
                ))
            }
            _ => Err(ModelError::Damaged(format!(
                "{class} is no class of characters"
            ))),
        }
    }

    fn has(&self, character: char) -> bool {
        let at = self.0.partition_point(|&(_, to)| to < character);
        self.0.get(at).is_some_and(|&(from, _)| from <= character)
    }
}
