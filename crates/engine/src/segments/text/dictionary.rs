//! The words of a block's documents, numbered as they come.
//!
//! What must stay true: word 0 stands for all words that are too long, and has no bytes; every other
//! has the number of its first appearance and is there once.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::words::{WORD_BYTES_MAX, words};

/// Bytes of documents for each byte of their words at least, for these to be worth looking through
/// instead.
const TEXT_PER_WORD: usize = 8;

/// The words of a block's documents.
pub(super) struct Dictionary {
    hasher: DefaultHashBuilder,
    /// The number of each word, by what it hashes to.
    numbers: HashTable<u32>,
    /// The words, with a line break before, between and after them.
    lines: Vec<u8>,
    /// Where the line break after each word is.
    ends: Vec<u32>,
    /// For each word the last row that has it, and one more.
    seen: Vec<u32>,
    /// Bytes of the documents.
    text_bytes: usize,
}

impl Default for Dictionary {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            numbers: HashTable::new(),
            lines: b"\n\n".to_vec(),
            ends: vec![1],
            seen: vec![0],
            text_bytes: 0,
        }
    }
}

impl Dictionary {
    /// Appends the numbers of the words of `text`, the document of `row`, to `to`, each once. Rows
    /// ascend.
    pub(super) fn push(&mut self, row: u32, text: &[u8], to: &mut Vec<u32>) {
        self.text_bytes += text.len();
        for word in words(text) {
            let number = self.number(word);
            let seen = &mut self.seen[number as usize];
            if *seen != row + 1 {
                *seen = row + 1;
                to.push(number);
            }
        }
    }

    fn number(&mut self, word: &[u8]) -> u32 {
        if word.len() > WORD_BYTES_MAX {
            return 0;
        }
        let Self {
            hasher,
            numbers,
            lines,
            ends,
            ..
        } = self;
        let hash = hasher.hash_one(word);
        let is_same = |&number: &u32| word_of(lines, ends, number) == word;
        if let Some(&number) = numbers.find(hash, is_same) {
            return number;
        }
        let number = ends.len() as u32;
        lines.extend_from_slice(word);
        ends.push(lines.len() as u32);
        lines.push(b'\n');
        self.seen.push(0);
        numbers.insert_unique(hash, number, |&number| {
            hasher.hash_one(word_of(lines, ends, number))
        });
        number
    }

    /// How many words there are, the one for all that are too long among them.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether looking through the words is much faster than through the documents.
    pub(super) fn pays(&self) -> bool {
        self.lines.len() * TEXT_PER_WORD <= self.text_bytes
    }

    /// The words, with a line break before, between and after them.
    pub(super) fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Where in the lines the line break after each word is.
    pub(super) fn ends(&self) -> &[u32] {
        &self.ends
    }
}

/// The word of `number`.
fn word_of<'a>(lines: &'a [u8], ends: &[u32], number: u32) -> &'a [u8] {
    let end = ends[number as usize] as usize;
    let begin = match number {
        0 => 1,
        _ => ends[number as usize - 1] as usize + 1,
    };
    &lines[begin..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_numbered_once_and_long_ones_are_one() {
        let mut dictionary = Dictionary::default();
        let long = "x".repeat(WORD_BYTES_MAX + 1);
        let mut rows = Vec::new();
        for (row, text) in [&format!("a b, a {long}"), "B b", &format!("{long} {long}y")]
            .into_iter()
            .enumerate()
        {
            let mut numbers = Vec::new();
            dictionary.push(row as u32, text.as_bytes(), &mut numbers);
            rows.push(numbers);
        }
        assert_eq!(rows, [vec![1, 2, 0], vec![3, 2], vec![0]]);
        assert_eq!(dictionary.lines(), b"\n\na\nb\nB\n");
        assert_eq!(dictionary.ends(), [1, 3, 5, 7]);
        assert!(dictionary.pays());
    }

    #[test]
    fn words_of_which_each_is_another_do_not_pay() {
        let mut dictionary = Dictionary::default();
        for row in 0..100 {
            dictionary.push(row, format!("id{row:08}").as_bytes(), &mut Vec::new());
        }
        assert!(!dictionary.pays());
    }
}
