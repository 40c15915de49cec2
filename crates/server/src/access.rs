//! Who may do what: roles, the part of the server that a key reaches, and what a route asks for.
//!
//! What must stay true: a route that says nothing asks for an administrator of the whole server;
//! the check happens before a body is read; whatever lies outside a key's scope gets one and the
//! same answer, whether it is there or not.

mod audit;
mod guard;
mod keyring;
pub mod keys;
mod rate;

use serde::{Deserialize, Serialize};

pub(crate) use audit::Audit;
pub(crate) use guard::{Guarded, guard, within_rate};
pub(crate) use keyring::Keyring;
pub(crate) use rate::Rates;

/// What a key may do within its scope; each role may do all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at collections and records.
    Read,
    /// And change them, make and delete collections.
    Write,
    /// And make and delete databases; without a scope also tenants, control and metrics.
    Admin,
}

impl Role {
    /// The role as files and messages write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// The part of the server that a key reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The only tenant; `None` is the whole server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The only databases of the tenant; empty is all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<String>,
}

impl Scope {
    fn has_tenant(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }

    fn has_database(&self, tenant: &str, database: &str) -> bool {
        let listed = self.databases.iter().any(|own| own == database);
        self.has_tenant(tenant) && (self.databases.is_empty() || listed)
    }
}

/// Whoever sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The name of the key.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) role: Role,
    /// Where.
    pub(crate) scope: Scope,
}

/// What a route asks of whoever uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: probes, and what clients ask before they know who they are.
    Nothing,
    /// Any key.
    AnyKey,
    /// A role on the whole server.
    Server(Role),
    /// A role on the whole tenant of the path.
    Tenant(Role),
    /// A role on any part of the tenant of the path.
    PartOfTenant(Role),
    /// A role on the database of the path.
    Database(Role),
}

impl Need {
    /// The role that is asked for, if any.
    pub(crate) fn role(self) -> Option<Role> {
        match self {
            Self::Nothing | Self::AnyKey => None,
            Self::Server(role)
            | Self::Tenant(role)
            | Self::PartOfTenant(role)
            | Self::Database(role) => Some(role),
        }
    }

    /// Whether `identity` fulfils it for the names of a path.
    pub(crate) fn is_met_by(self, identity: &Identity, tenant: &str, database: &str) -> bool {
        let scope = &identity.scope;
        let reached = match self {
            Self::Nothing | Self::AnyKey => true,
            Self::Server(_) => scope.tenant.is_none(),
            Self::Tenant(_) => scope.has_tenant(tenant) && scope.databases.is_empty(),
            Self::PartOfTenant(_) => scope.has_tenant(tenant),
            Self::Database(_) => scope.has_database(tenant, database),
        };
        reached && self.role().is_none_or(|role| identity.role >= role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(role: Role, tenant: Option<&str>, databases: &[&str]) -> Identity {
        Identity {
            name: "k".to_owned(),
            role,
            scope: Scope {
                tenant: tenant.map(str::to_owned),
                databases: databases.iter().map(|&name| name.to_owned()).collect(),
            },
        }
    }

    #[test]
    fn a_role_includes_the_lower_ones_and_never_the_higher() {
        for (at, role) in [Role::Read, Role::Write, Role::Admin]
            .into_iter()
            .enumerate()
        {
            for (other, needed) in [Role::Read, Role::Write, Role::Admin]
                .into_iter()
                .enumerate()
            {
                let met = Need::Server(needed).is_met_by(&key(role, None, &[]), "", "");
                assert_eq!(met, at >= other, "{role:?} for {needed:?}");
            }
        }
    }

    #[test]
    fn a_scope_ends_at_its_tenant_and_its_databases() {
        let whole = key(Role::Admin, None, &[]);
        let tenant = key(Role::Admin, Some("a"), &[]);
        let database = key(Role::Admin, Some("a"), &["x"]);
        let need = |need: Need, identity: &Identity, tenant: &str, database: &str| {
            need.is_met_by(identity, tenant, database)
        };
        let role = Role::Admin;
        assert!(need(Need::Database(role), &whole, "b", "y"));
        assert!(need(Need::Database(role), &tenant, "a", "y"));
        assert!(!need(Need::Database(role), &tenant, "b", "y"));
        assert!(need(Need::Database(role), &database, "a", "x"));
        assert!(!need(Need::Database(role), &database, "a", "y"));
        assert!(need(Need::PartOfTenant(role), &database, "a", ""));
        assert!(!need(Need::Tenant(role), &database, "a", ""));
        assert!(!need(Need::Server(role), &tenant, "", ""));
        assert!(need(Need::AnyKey, &database, "z", "z"));
    }
}
