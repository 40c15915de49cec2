//! JSON documents by kind and key: small facts of what is built on the database, such as curation.
//!
//! What must stay true: a change is one durable transaction; documents are in every backup, and go
//! with everything else when the database is reset.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use super::collections::to_json;
use super::fault::{Fault, Result};
use super::tables::{Changes, Place, Table};
use super::{Catalog, Document};
use crate::Error;

const BY_KEY: &str = "WHERE kind = ?1 AND key = ?2";

impl Catalog {
    /// A document; `None` where there is none.
    pub fn document(&self, kind: &str, key: &str) -> crate::Result<Option<Document>> {
        let found = self.read(|connection| {
            Table::Document.first(connection, BY_KEY, [kind, key], document_of)
        })?;
        Ok(found.map(|(_, document)| document))
    }

    /// The documents of a kind whose keys begin with `prefix`, by key.
    pub fn documents(&self, kind: &str, prefix: &str) -> crate::Result<Vec<Document>> {
        let found = self.read(|connection| with_prefix(connection, kind, prefix))?;
        Ok(found.into_iter().map(|(_, document)| document).collect())
    }

    /// Stores a document in the place of the one that has its kind and key.
    pub fn put_document(&self, document: &Document) -> crate::Result<()> {
        self.write(|changes| put_document(changes, document))
    }

    /// Forgets the document `key` of a kind; whether there was one.
    pub fn delete_document(&self, kind: &str, key: &str) -> crate::Result<bool> {
        self.write(|changes| {
            let found =
                Table::Document.first(changes.connection, BY_KEY, [kind, key], |_| Ok(()))?;
            found.map_or(Ok(false), |(place, ())| {
                changes.delete(place).map(|()| true)
            })
        })
    }
}

/// All documents, by kind and key.
pub(super) fn documents(connection: &Connection) -> Result<Vec<Document>> {
    let rows = Table::Document.rows(connection, "ORDER BY kind, key", [], document_of)?;
    Ok(rows.into_iter().map(|(_, document)| document).collect())
}

/// Stores a document in the place of the one that has its kind and key.
pub(super) fn put_document(changes: &mut Changes<'_>, document: &Document) -> Result<()> {
    let Document { kind, key, body } = document;
    let body = to_json(body)?;
    let values = [kind, key, &body].map(|text| ValueRef::Text(text.as_bytes()));
    match Table::Document.first(changes.connection, BY_KEY, [kind, key], |_| Ok(()))? {
        Some((place, ())) => changes.update(place, &values),
        None => changes.insert(Table::Document, &values),
    }
}

fn with_prefix(
    connection: &Connection,
    kind: &str,
    prefix: &str,
) -> Result<Vec<(Place, Document)>> {
    // Letters are counted, as `substr` does.
    let condition = "WHERE kind = ?1 AND substr(key, 1, ?3) = ?2 ORDER BY key";
    let letters = prefix.chars().count() as i64;
    Table::Document.rows(
        connection,
        condition,
        params![kind, prefix, letters],
        document_of,
    )
}

fn document_of(row: &Row<'_>) -> Result<Document> {
    let body: String = row.get(3)?;
    let body = serde_json::from_str(&body)
        .map_err(|cause| Fault::from(Error::internal(format!("A document is no JSON: {cause}"))))?;
    Ok(Document {
        kind: row.get(1)?,
        key: row.get(2)?,
        body,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog::CatalogLocation;

    fn document(kind: &str, key: &str, body: serde_json::Value) -> Document {
        let (kind, key) = (kind.to_owned(), key.to_owned());
        Document { kind, key, body }
    }

    #[test]
    fn a_document_is_found_by_kind_and_key_until_it_is_deleted() {
        let catalog = Catalog::open(&CatalogLocation::memory()).expect("it opens");
        let first = document("dataset", "s/v7", json!({"n": 1}));
        catalog.put_document(&first).expect("writable");
        let other_kind = document("trigger", "s/v7", json!([]));
        catalog.put_document(&other_kind).expect("writable");
        let second = document("dataset", "s/v7", json!({"n": 2.5, "t": "\u{e9}"}));
        catalog.put_document(&second).expect("writable");
        let read = |kind: &str| catalog.document(kind, "s/v7").expect("readable");
        assert_eq!(read("dataset"), Some(second));
        assert_eq!(read("trigger"), Some(other_kind));
        assert!(
            catalog
                .delete_document("dataset", "s/v7")
                .expect("writable")
        );
        assert!(
            !catalog
                .delete_document("dataset", "s/v7")
                .expect("writable")
        );
        assert_eq!(read("dataset"), None);
        catalog.verify().expect("its checksums are right");
    }

    #[test]
    fn documents_are_listed_by_the_letters_that_their_keys_begin_with() {
        let catalog = Catalog::open(&CatalogLocation::memory()).expect("it opens");
        for key in ["\u{e9}/b", "\u{e9}/a", "e/a", "\u{e9}%", ""] {
            let one = document("k", key, json!(key));
            catalog.put_document(&one).expect("writable");
        }
        let keys = |prefix: &str| -> Vec<String> {
            let found = catalog.documents("k", prefix).expect("readable");
            found.into_iter().map(|one| one.key).collect()
        };
        assert_eq!(keys("\u{e9}/"), ["\u{e9}/a", "\u{e9}/b"]);
        assert_eq!(keys("").len(), 5);
        assert_eq!(keys("%"), Vec::<String>::new());
        catalog.reset().expect("writable");
        assert_eq!(keys("").len(), 0);
    }
}
