//! Tenants and databases.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::Catalog;
use super::fault::Result;
use super::forks::delete_origins;
use super::manifests::delete_segments;
use super::tables::{Place, Table};
use crate::model::{CollectionId, DatabaseInfo, Page, Tenant};
use crate::{Error, ErrorKind};

impl Catalog {
    /// Makes a tenant; `AlreadyExists` where the name is taken.
    pub fn create_tenant(&self, name: &str) -> crate::Result<()> {
        self.write(|changes| {
            if find_tenant(changes.connection, name)?.is_some() {
                return Err(
                    Error::already_exists(format!("Tenant [{name}] already exists")).into(),
                );
            }
            changes.insert(
                Table::Tenant,
                &[ValueRef::Text(name.as_bytes()), ValueRef::Null],
            )
        })
    }

    /// A tenant by name; `NotFound`.
    pub fn tenant(&self, name: &str) -> crate::Result<Tenant> {
        self.read(|connection| find_tenant(connection, name))?
            .map(|(_, tenant)| tenant)
            .ok_or_else(|| Error::not_found(format!("Tenant [{name}] not found")))
    }

    /// The tenants with this resource name, by name.
    pub fn tenants_of_resource(&self, resource_name: &str) -> crate::Result<Vec<Tenant>> {
        let found = self.read(|connection| {
            let condition = "WHERE resource_name = ?1 ORDER BY name";
            Table::Tenant.rows(connection, condition, [resource_name], tenant_of)
        })?;
        Ok(found.into_iter().map(|(_, tenant)| tenant).collect())
    }

    /// Gives a tenant its resource name; a tenant that is missing is passed over.
    pub fn update_tenant(&self, name: &str, resource_name: &str) -> crate::Result<()> {
        if self
            .read(|connection| find_tenant(connection, name))?
            .is_none()
        {
            return Ok(());
        }
        self.write(|changes| {
            let Some((place, _)) = find_tenant(changes.connection, name)? else {
                return Ok(());
            };
            let name = ValueRef::Text(name.as_bytes());
            changes.update(place, &[name, ValueRef::Text(resource_name.as_bytes())])
        })
    }

    /// Makes a database; the tenant need not exist.
    pub fn create_database(&self, tenant: &str, name: &str) -> crate::Result<DatabaseInfo> {
        let id = Uuid::new_v4();
        self.write(|changes| {
            if find_database(changes.connection, tenant, name)?.is_some() {
                let message = format!("Database [{name}] already exists");
                return Err(Error::already_exists(message).into());
            }
            let texts = [tenant, name].map(|text| ValueRef::Text(text.as_bytes()));
            changes.insert(
                Table::Database,
                &[ValueRef::Blob(id.as_bytes()), texts[0], texts[1]],
            )
        })?;
        Ok(DatabaseInfo {
            id,
            name: name.into(),
            tenant: tenant.into(),
        })
    }

    /// A database by name; `NotFound`.
    pub fn database(&self, tenant: &str, name: &str) -> crate::Result<DatabaseInfo> {
        self.read(|connection| find_database(connection, tenant, name))?
            .map(|(_, database)| database)
            .ok_or_else(|| {
                let message = format!("Database [{name}] not found. Are you sure it exists?");
                Error::not_found(message)
            })
    }

    /// Databases of a tenant by name; none for a tenant that is missing.
    pub fn databases(&self, tenant: &str, page: Page) -> crate::Result<Vec<DatabaseInfo>> {
        let limit = page.limit.map_or(-1, i64::from);
        let rows = self.read(|connection| {
            let condition = "WHERE tenant = ?1 ORDER BY name LIMIT ?2 OFFSET ?3";
            let params = params![tenant, limit, i64::from(page.offset)];
            Table::Database.rows(connection, condition, params, database_of)
        })?;
        Ok(rows.into_iter().map(|(_, database)| database).collect())
    }

    /// Deletes a database and the rows of its collections, whose ids it answers.
    pub fn delete_database(&self, tenant: &str, name: &str) -> crate::Result<Vec<CollectionId>> {
        self.write(|changes| {
            let Some((place, database)) = find_database(changes.connection, tenant, name)? else {
                let message = format!("Database [{name}] not found");
                return Err(Error::new(ErrorKind::NotFound, message).into());
            };
            let of_database = "WHERE database_id = ?1 ORDER BY id";
            let collections = Table::Collection.rows(
                changes.connection,
                of_database,
                [database.id.as_bytes()],
                |row| Ok(CollectionId(uuid_at(row, 1)?)),
            )?;
            for (collection, id) in &collections {
                delete_segments(changes, *id)?;
                delete_origins(changes, *id)?;
                changes.delete(*collection)?;
            }
            changes.delete(place)?;
            Ok(collections.into_iter().map(|(_, id)| id).collect())
        })
    }
}

fn find_tenant(connection: &Connection, name: &str) -> Result<Option<(Place, Tenant)>> {
    Table::Tenant.first(connection, "WHERE name = ?1", [name], tenant_of)
}

/// The tenant in a row.
pub(super) fn tenant_of(row: &Row<'_>) -> Result<Tenant> {
    Ok(Tenant {
        name: row.get(1)?,
        resource_name: row.get(2)?,
    })
}

/// The database `name` of `tenant`.
pub(super) fn find_database(
    connection: &Connection,
    tenant: &str,
    name: &str,
) -> Result<Option<(Place, DatabaseInfo)>> {
    let condition = "WHERE tenant = ?1 AND name = ?2";
    Table::Database.first(connection, condition, [tenant, name], database_of)
}

/// The database in a row.
pub(super) fn database_of(row: &Row<'_>) -> Result<DatabaseInfo> {
    Ok(DatabaseInfo {
        id: uuid_at(row, 1)?,
        tenant: row.get(2)?,
        name: row.get(3)?,
    })
}

/// The id in a column of a row.
pub(super) fn uuid_at(row: &Row<'_>, column: usize) -> Result<Uuid> {
    Ok(Uuid::from_bytes(row.get(column)?))
}
