//! The index of a segment's documents: for each trigram and each word the rows whose document has it.
//!
//! A search takes from a pattern what trigrams and words a match must have, and from the index the
//! rows that have them; only their documents are read and tested. Trigrams tell what text may be
//! where, whatever it is; where many documents have all of a text's trigrams, but not the text, its
//! words tell more, and that the text is there where it lies within one. What must stay true: the
//! index leaves out no row that matches and proves none that does not; how many it leaves to be read
//! decides the time, never the answer; it is made from documents that are in another file too, so
//! that damage to it costs no answer.
//!
//! | file | what |
//! |---|---|
//! | `letters` | 64 letters for 256 bytes, and trigrams of them |
//! | `query` | what trigrams and words a match of a pattern must have |
//! | `regex` | the same of a regular expression |
//! | `words` | words, and what they must look like for a match of a pattern |
//! | `dictionary` | the words of a block's documents, numbered |
//! | `build` | [`TextWriter`]: writes the index of documents row by row |
//! | `layout` | the bytes of the file |
//! | `index` | [`TextIndex`]: an opened file; takes rows that cannot match from a set |

mod build;
mod dictionary;
mod index;
mod layout;
mod letters;
mod query;
mod regex;
#[cfg(test)]
mod tests;
mod words;

pub(super) use build::{TextWriter, build_bytes};
pub use index::TextIndex;
pub(super) use query::Query;

/// The name of the file in a segment's folder.
pub(super) const TEXT_FILE: &str = "documents.index";

/// Batches of documents that are read as fast as an index of them.
const BATCHES_MIN: usize = 32;

/// Whether an index of so many batches of documents is worth its making.
pub(super) fn pays(batches: usize) -> bool {
    batches >= BATCHES_MIN
}
