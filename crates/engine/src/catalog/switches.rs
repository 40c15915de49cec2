//! What an operator has switched off, so that a restart leaves it off.
//!
//! What must stay true: a switch is a marker whose name begins with `off:`; its value is when it was
//! switched, in milliseconds since the Unix epoch.

use rusqlite::types::ValueRef;

use super::Catalog;
use super::tables::Table;

/// What the names of these markers begin with.
const PREFIX: &str = "off:";

impl Catalog {
    /// What is switched off, by name, each with when.
    pub fn switched_off(&self) -> crate::Result<Vec<(String, i64)>> {
        let rows = self.read(|connection| {
            Table::Marker.rows(connection, "ORDER BY name", [], |row| {
                Ok((row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
            })
        })?;
        let off = |(_, (name, at)): (_, (String, i64))| {
            let name = name.strip_prefix(PREFIX)?;
            Some((name.to_owned(), at))
        };
        Ok(rows.into_iter().filter_map(off).collect())
    }

    /// Notes that `name` is switched off since `at`, or on again where that is `None`.
    pub fn put_switch(&self, name: &str, at: Option<i64>) -> crate::Result<()> {
        let name = format!("{PREFIX}{name}");
        self.write(|changes| {
            let found =
                Table::Marker.first(changes.connection, "WHERE name = ?1", [&name], |_| Ok(()))?;
            match (found, at) {
                (None, None) => Ok(()),
                (Some((place, ())), None) => changes.delete(place),
                (found, Some(at)) => {
                    let row = [ValueRef::Text(name.as_bytes()), ValueRef::Integer(at)];
                    match found {
                        Some((place, ())) => changes.update(place, &row),
                        None => changes.insert(Table::Marker, &row),
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::CatalogLocation;

    #[test]
    fn what_is_switched_off_is_told_until_it_is_on_again() {
        let catalog = Catalog::open(&CatalogLocation::memory()).expect("it opens");
        assert!(catalog.switched_off().expect("readable").is_empty());
        catalog.put_switch("b", Some(5)).expect("writable");
        catalog.put_switch("a", Some(7)).expect("writable");
        catalog.put_switch("b", Some(9)).expect("writable");
        let off = catalog.switched_off().expect("readable");
        assert_eq!(off, [("a".to_owned(), 7), ("b".to_owned(), 9)]);
        catalog.put_switch("a", None).expect("writable");
        catalog.put_switch("never", None).expect("writable");
        assert_eq!(catalog.switched_off().expect("readable").len(), 1);
        catalog.verify().expect("its checksums are right");
    }
}
