//! `vermilion key`: the API keys that a server asks for.
//!
//! What must stay true: a secret is printed once, on standard output, alone in its line, and is
//! never written anywhere else.

use serde_json::json;
use vermilion_server::access::keys::{Key, KeyFile, KeysError};
use vermilion_server::access::{Role, Scope};

use crate::arguments::{KeyCommand, KeyRequest, RoleName};
use crate::console::{say, write};
use crate::failure::Failure;

/// Runs `vermilion key`.
pub(crate) fn key(request: &KeyRequest) -> Result<(), Failure> {
    match &request.what {
        KeyCommand::Create {
            name,
            role,
            tenant,
            database,
        } => {
            let scope = Scope {
                tenant: tenant.clone(),
                databases: database.clone(),
            };
            let mut file = KeyFile::open_or_new(&request.file)?;
            let secret = file.create(name, Role::from(*role), scope)?;
            say(&secret)
        }
        KeyCommand::List { json } => list(&KeyFile::open(&request.file)?, *json),
        KeyCommand::Revoke { name } => {
            KeyFile::open(&request.file)?.revoke(name)?;
            say(&format!("{name} was revoked"))
        }
    }
}

fn list(file: &KeyFile, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let shown = file.keys().iter().map(|key| {
            json!({
                "name": key.name,
                "role": key.role.name(),
                "tenant": key.scope.tenant,
                "databases": key.scope.databases,
            })
        });
        return say(&shown.collect::<serde_json::Value>().to_string());
    }
    let name = |key: &Key| key.name.chars().count();
    let width = file.keys().iter().map(name).max().unwrap_or(0);
    let lines = file.keys().iter().map(|key| {
        let place = match (&key.scope.tenant, key.scope.databases.as_slice()) {
            (None, _) => "the whole server".to_owned(),
            (Some(tenant), []) => format!("tenant {tenant}"),
            (Some(tenant), databases) => {
                format!("tenant {tenant}, databases {}", databases.join(", "))
            }
        };
        format!("{:width$}  {:5}  {place}\n", key.name, key.role.name())
    });
    write(lines.collect::<String>().as_bytes())
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Read => Self::Read,
            RoleName::Write => Self::Write,
            RoleName::Admin => Self::Admin,
        }
    }
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        let failure = Self::new(error.message);
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
