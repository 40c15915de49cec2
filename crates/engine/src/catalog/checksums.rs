//! Checksums of rows and digests of tables.
//!
//! What must stay true: two different rows never give the same bytes to the hash (each value
//! carries its type and length), and the digest of a table is kept in the transaction that
//! changes it. So a changed value shows in its row, and a row that is lost, old or twice shows
//! in the digest.

use rusqlite::types::ValueRef;
use xxhash_rust::xxh3::Xxh3;

/// The checksum of a row of `table` with these values.
pub(super) fn row_checksum<'a>(table: &str, values: impl IntoIterator<Item = ValueRef<'a>>) -> u64 {
    let mut hash = Xxh3::new();
    put(&mut hash, 0, table.as_bytes());
    for value in values {
        match value {
            ValueRef::Null => put(&mut hash, 1, &[]),
            ValueRef::Integer(number) => put(&mut hash, 2, &number.to_le_bytes()),
            ValueRef::Real(number) => put(&mut hash, 3, &number.to_le_bytes()),
            ValueRef::Text(text) => put(&mut hash, 4, text),
            ValueRef::Blob(bytes) => put(&mut hash, 5, bytes),
        }
    }
    hash.digest()
}

fn put(hash: &mut Xxh3, kind: u8, bytes: &[u8]) {
    hash.update(&[kind]);
    hash.update(&(bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// What all rows of a table come to, in whatever order they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    /// How many rows there are.
    pub(super) rows: u64,
    /// Their checksums, joined by exclusive or.
    pub(super) joined: u64,
}

impl Digest {
    /// Takes a row in.
    pub(super) fn add(&mut self, checksum: u64) {
        self.rows += 1;
        self.joined ^= checksum;
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, checksum: u64) {
        self.rows -= 1;
        self.joined ^= checksum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_run_together_have_different_checksums() {
        let checksum = |values: &[ValueRef<'_>]| row_checksum("t", values.iter().copied());
        let (ab, c) = (ValueRef::Text(b"ab"), ValueRef::Text(b"c"));
        let (a, bc) = (ValueRef::Text(b"a"), ValueRef::Text(b"bc"));
        assert_ne!(checksum(&[ab, c]), checksum(&[a, bc]));
        assert_ne!(
            checksum(&[ValueRef::Null]),
            checksum(&[ValueRef::Text(b"")])
        );
        assert_ne!(
            checksum(&[ValueRef::Text(b"")]),
            checksum(&[ValueRef::Blob(b"")])
        );
        assert_ne!(row_checksum("t", [c]), row_checksum("u", [c]));
    }

    #[test]
    fn digest_forgets_what_was_removed_whatever_the_order() {
        let mut digest = Digest::default();
        digest.add(7);
        digest.add(9);
        digest.remove(7);
        let mut other = Digest::default();
        other.add(9);
        assert_eq!(digest, other);
    }
}
