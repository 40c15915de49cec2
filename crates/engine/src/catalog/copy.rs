//! The whole catalogue as data: out of one catalogue for a backup, and into a new one.
//!
//! What must stay true: a copy is what the catalogue was between two transactions; it is put into
//! a catalogue in one transaction, which then holds that and nothing else.

use rusqlite::types::ValueRef;

use super::collections::{Stored, load, to_json};
use super::documents::{documents, put_document};
use super::fault::Fault;
use super::forks::insert_origins;
use super::manifests::insert_segment;
use super::names::{database_of, find_database, tenant_of};
use super::open::delete_all;
use super::tables::{Changes, Table};
use super::{Catalog, CatalogCopy, CollectionRow};
use crate::Error;

impl Catalog {
    /// Everything there is.
    pub fn export(&self) -> crate::Result<CatalogCopy> {
        self.read(|connection| {
            let tenants = Table::Tenant.rows(connection, "ORDER BY name", [], tenant_of)?;
            let order = "ORDER BY tenant, name";
            let databases = Table::Database.rows(connection, order, [], database_of)?;
            Ok(CatalogCopy {
                tenants: tenants.into_iter().map(|(_, tenant)| tenant).collect(),
                databases: databases
                    .into_iter()
                    .map(|(_, database)| database)
                    .collect(),
                collections: load(connection)?,
                documents: documents(connection)?,
            })
        })
    }

    /// Makes this catalogue hold what `copy` holds, and nothing else.
    pub fn import(&self, copy: &CatalogCopy) -> crate::Result<()> {
        self.write(|changes| {
            delete_all(changes)?;
            for tenant in &copy.tenants {
                let resource = tenant.resource_name.as_deref();
                let resource = resource.map(|text| ValueRef::Text(text.as_bytes()));
                let name = ValueRef::Text(tenant.name.as_bytes());
                changes.insert(Table::Tenant, &[name, resource.unwrap_or(ValueRef::Null)])?;
            }
            for database in &copy.databases {
                let id = ValueRef::Blob(database.id.as_bytes());
                let tenant = ValueRef::Text(database.tenant.as_bytes());
                let name = ValueRef::Text(database.name.as_bytes());
                changes.insert(Table::Database, &[id, tenant, name])?;
            }
            for document in &copy.documents {
                put_document(changes, document)?;
            }
            copy.collections
                .iter()
                .try_for_each(|row| insert_collection(changes, row))
        })
    }
}

fn insert_collection(changes: &mut Changes<'_>, row: &CollectionRow) -> Result<(), Fault> {
    let CollectionRow {
        collection,
        manifest,
    } = row;
    let (tenant, name) = (&collection.tenant, &collection.database);
    let Some((_, database)) = find_database(changes.connection, tenant, name)? else {
        let message = format!(
            "Database [{name}] of collection [{}] is missing",
            row.collection.id
        );
        return Err(Error::invalid(message).into());
    };
    let stored = Stored {
        id: collection.id.0,
        database: database.id,
        name: collection.name.clone(),
        metadata: collection.metadata.as_ref().map(to_json).transpose()?,
        schema: to_json(&collection.schema)?,
        dimension: collection.dimension,
        manifest_version: manifest.version,
        applied: manifest.applied,
    };
    changes.insert(Table::Collection, &stored.values())?;
    for (position, segment) in manifest.segments.iter().enumerate() {
        insert_segment(changes, collection.id, position as i64, segment)?;
    }
    insert_origins(changes, collection.id, &collection.origins)
}

/// Bytes as text of two digits each.
pub(super) mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the digits.
    pub(in crate::catalog) fn serialize<S: Serializer>(
        bytes: &[u8],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let digit = |value: u8| char::from_digit(value.into(), 16).expect("below sixteen");
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        serializer.serialize_str(&digits.map(digit).collect::<String>())
    }

    /// Reads the digits.
    pub(in crate::catalog) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |at: u8| char::from(at).to_digit(16);
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
        bytes.ok_or_else(|| D::Error::custom("bytes are pairs of hexadecimal digits"))
    }
}
