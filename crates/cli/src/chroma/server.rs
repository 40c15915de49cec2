//! Collections behind a running Chroma server.

use serde_json::Value;
use vermilion_engine::model::DEFAULT_TENANT;
use vermilion_protocol::ascii::encoded;

use super::Described;
use crate::arguments::Place;
use crate::failure::Failure;
use crate::transfer::{Collection, fetch, reach};

/// Collections and databases asked for at once.
const PAGE: usize = 500;

/// A running server and the tenant that is read.
pub(super) struct Server {
    agent: ureq::Agent,
    url: String,
    tenant: String,
}

impl Server {
    /// The server at `url`, for collections of `tenant`; a server does not tell which there are.
    pub(super) fn open(url: &str, tenant: Option<&str>) -> Result<Self, Failure> {
        let (agent, url) = reach(url)?;
        let tenant = tenant.unwrap_or(DEFAULT_TENANT).to_owned();
        Ok(Self { agent, url, tenant })
    }

    fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        loop {
            let url = format!("{}/{path}?limit={PAGE}&offset={}", self.url, all.len());
            let page: Vec<Value> = fetch(&self.agent, &url)?;
            let last = page.len() < PAGE;
            all.extend(page);
            if last {
                return Ok(all);
            }
        }
    }

    pub(super) fn collections(&self) -> Result<Vec<Described>, Failure> {
        let databases = format!("api/v2/tenants/{}/databases", encoded(&self.tenant));
        let mut found = Vec::new();
        for database in self.list(&databases)? {
            let database = text(&database, "name");
            let path = format!("{databases}/{}/collections", encoded(&database));
            for collection in self.list(&path)? {
                found.push(self.described(&database, &collection));
            }
        }
        Ok(found)
    }

    fn described(&self, database: &str, collection: &Value) -> Described {
        let settings = ["schema", "configuration_json"]
            .into_iter()
            .find(|member| collection[*member].is_object());
        let settings = settings.map(|member| match member {
            "schema" => ("schema", collection["schema"].clone()),
            _ => (
                "configuration",
                configuration(&collection["configuration_json"]),
            ),
        });
        Described {
            tenant: self.tenant.clone(),
            database: database.to_owned(),
            name: text(collection, "name"),
            metadata: collection["metadata"].as_object().cloned(),
            settings,
        }
    }

    pub(super) fn records(&self, of: &Described) -> Result<Collection, Failure> {
        Collection::open(&Place {
            path: "unused".into(),
            url: Some(self.url.clone()),
            collection: of.name.clone(),
            tenant: of.tenant.clone(),
            database: of.database.clone(),
        })
    }
}

/// The members of a configuration that say something.
pub(super) fn configuration(stored: &Value) -> Value {
    let mut said = stored.as_object().cloned().unwrap_or_default();
    said.retain(|_, value| !value.is_null());
    Value::Object(said)
}

fn text(object: &Value, member: &str) -> String {
    object[member].as_str().unwrap_or_default().to_owned()
}
