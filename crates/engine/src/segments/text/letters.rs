//! 64 letters for the 256 bytes of text, so that there are few trigrams enough to count in a table.
//!
//! What must stay true: a letter stands for the same bytes for ever, since files are full of them.
//! Upper and lower case share a letter, which finds expressions that ignore the case. Continuation
//! bytes of UTF-8 keep all their six bits.

/// How many trigrams there are.
pub(super) const TRIGRAMS: usize = 1 << 18;

/// The letter of each byte.
const LETTERS: [u8; 256] = letters();

const fn letters() -> [u8; 256] {
    let mut letters = [0; 256];
    let mut byte = 0;
    // Letters 37 to 63 are for what is neither a letter, nor a digit, nor a space.
    let mut other = 0;
    while byte < 256 {
        let found = byte as u8;
        letters[byte] = match found {
            b'a'..=b'z' => found - b'a',
            b'A'..=b'Z' => found - b'A',
            b'0'..=b'9' => 26 + found - b'0',
            b' ' => 36,
            0x80.. => found & 63,
            _ => {
                other += 1;
                37 + other % 27
            }
        };
        byte += 1;
    }
    letters
}

/// The letter of `byte`.
pub(super) fn letter(byte: u8) -> u8 {
    LETTERS[usize::from(byte)]
}

/// The trigrams of `letters`, one for each three that follow each other.
pub(super) fn trigrams(letters: &[u8]) -> impl Iterator<Item = u32> + '_ {
    letters
        .windows(3)
        .map(|three| u32::from(three[0]) << 12 | u32::from(three[1]) << 6 | u32::from(three[2]))
}

/// The trigrams of documents, each once.
pub(super) struct Distinct {
    /// A bit for each trigram that the document at hand has.
    seen: Vec<u64>,
}

impl Distinct {
    pub(super) fn new() -> Self {
        Self {
            seen: vec![0; TRIGRAMS / 64],
        }
    }

    /// Appends the trigrams of `text` to `to`, each once.
    pub(super) fn push(&mut self, text: &[u8], to: &mut Vec<u32>) {
        let first = to.len();
        let Some((&[a, b], rest)) = text.split_first_chunk::<2>() else {
            return;
        };
        let mut trigram = u32::from(letter(a)) << 6 | u32::from(letter(b));
        for &byte in rest {
            trigram = (trigram << 6 | u32::from(letter(byte))) % TRIGRAMS as u32;
            let (word, bit) = (&mut self.seen[trigram as usize / 64], 1 << (trigram % 64));
            if *word & bit == 0 {
                *word |= bit;
                to.push(trigram);
            }
        }
        for &trigram in &to[first..] {
            self.seen[trigram as usize / 64] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_64_and_cases_share_theirs() {
        assert!((0..=255).all(|byte| letter(byte) < 64));
        assert_eq!(letter(b'q'), letter(b'Q'));
        let plain: std::collections::BTreeSet<u8> =
            (b"az09 ".iter()).map(|&byte| letter(byte)).collect();
        assert_eq!(plain.len(), 5);
    }

    #[test]
    fn each_trigram_of_a_document_comes_once_whatever_came_before() {
        let mut distinct = Distinct::new();
        for text in ["abcabcABC", "abc", "", "ab", "\u{20ac}\u{20ac}"] {
            let mut found = Vec::new();
            distinct.push(text.as_bytes(), &mut found);
            let letters: Vec<u8> = text.bytes().map(letter).collect();
            let mut expected: Vec<u32> = trigrams(&letters).collect();
            expected.sort_unstable();
            expected.dedup();
            found.sort_unstable();
            assert_eq!(found, expected, "{text}");
        }
    }
}
