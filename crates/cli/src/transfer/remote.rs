//! A collection behind a running server, over its HTTP API.
//!
//! What must stay true: every request has a time limit; a server that is busy is asked again, every
//! other refusal is shown in the server's own words.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;
use vermilion_protocol::ascii::encoded;

use crate::arguments::Place;
use crate::configuration::API_KEY_VARIABLE;
#[cfg(feature = "tls")]
use crate::configuration::CA_VARIABLE;
use crate::failure::Failure;

use super::Record;

/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_mins(5);
/// What is exported is all that was acknowledged; how long the server may index until it answers.
const READ_LEVEL: &str = "index_and_wal";
/// See [`READ_LEVEL`]: milliseconds.
const WAIT_MS: &str = "240000";
/// How often a busy server is asked again.
const ATTEMPTS: u32 = 6;

/// The collection and the server that holds it.
pub(crate) struct Remote {
    agent: ureq::Agent,
    /// The address without a slash at its end.
    server: String,
    /// The path of the collection.
    collection: String,
    /// The path of all of its database.
    collections: String,
    id: String,
    batch_records_max: usize,
    function: Option<Value>,
    space: Option<String>,
}

/// An answer of `get`.
#[derive(Deserialize)]
struct Answer {
    ids: Vec<String>,
    embeddings: Option<Vec<Option<Vec<f32>>>>,
    documents: Option<Vec<Option<String>>>,
    metadatas: Option<Vec<Option<Map<String, Value>>>>,
    uris: Option<Vec<Option<String>>>,
}

#[derive(Deserialize)]
struct Described {
    id: String,
    #[serde(default)]
    configuration_json: Configuration,
}

#[derive(Default, Deserialize)]
struct Configuration {
    embedding_function: Option<Value>,
    hnsw: Option<Index>,
    spann: Option<Index>,
}

#[derive(Deserialize)]
struct Index {
    space: Option<String>,
}

#[derive(Deserialize)]
struct PreFlight {
    max_batch_size: usize,
}

impl Remote {
    /// The collection that `request` describes, made where it is not there; says whether it was.
    pub(crate) fn open_or_create(
        url: &str,
        place: &Place,
        request: &Value,
    ) -> Result<(Self, bool), Failure> {
        let mut is_new = false;
        let opened = Self::connect(url, place, |agent, collections| {
            let named = format!("{collections}/{}", encoded(&place.collection));
            if let Ok(found) = get(agent, &named) {
                return Ok(found);
            }
            match post(agent, collections, request) {
                Ok(made) => {
                    is_new = true;
                    Ok(made)
                }
                // Somebody else may have made it meanwhile.
                Err(refused) => get(agent, &named).map_err(|_| refused),
            }
        });
        Ok((opened?, is_new))
    }

    /// The collection that `request` describes; its tenant and database are made where they are not
    /// there.
    pub(crate) fn create(url: &str, place: &Place, request: &Value) -> Result<Self, Failure> {
        let (agent, server) = reach(url)?;
        let tenant = format!("{server}/api/v2/tenants/{}", encoded(&place.tenant));
        let make = |found: &str, list: &str, name: &str| {
            if get::<Value>(&agent, found).is_ok() {
                return Ok(());
            }
            post(&agent, list, &json!({ "name": name })).map(|_: Value| ())
        };
        make(&tenant, &format!("{server}/api/v2/tenants"), &place.tenant)?;
        let databases = format!("{tenant}/databases");
        let database = format!("{databases}/{}", encoded(&place.database));
        make(&database, &databases, &place.database)?;
        Self::connect(url, place, |agent, collections| {
            post(agent, collections, request)
        })
    }

    /// The collection, which must be there.
    pub(crate) fn open(url: &str, place: &Place) -> Result<Self, Failure> {
        Self::connect(url, place, |agent, collections| {
            get(
                agent,
                &format!("{collections}/{}", encoded(&place.collection)),
            )
        })
    }

    fn connect(
        url: &str,
        place: &Place,
        describe: impl FnOnce(&ureq::Agent, &str) -> Result<Described, Failure>,
    ) -> Result<Self, Failure> {
        let (agent, server) = reach(url)?;
        let limits: PreFlight = get(&agent, &format!("{server}/api/v2/pre-flight-checks"))?;
        let collections = format!(
            "{server}/api/v2/tenants/{}/databases/{}/collections",
            encoded(&place.tenant),
            encoded(&place.database)
        );
        let described = describe(&agent, &collections)?;
        let configuration = described.configuration_json;
        let index = configuration.hnsw.or(configuration.spann);
        Ok(Self {
            agent,
            server,
            collection: format!("{collections}/{}", described.id),
            collections,
            id: described.id,
            batch_records_max: limits.max_batch_size.max(1),
            function: configuration.embedding_function,
            space: index.and_then(|index| index.space),
        })
    }

    pub(crate) fn identity(&self) -> (String, String) {
        (self.server.clone(), self.id.clone())
    }

    /// The embedding function that the collection was made with, as it is kept.
    pub(crate) fn function(&self) -> Option<&Value> {
        self.function.as_ref()
    }

    pub(crate) fn space(&self) -> Option<&str> {
        self.space.as_deref()
    }

    pub(crate) fn batch_records_max(&self) -> usize {
        self.batch_records_max
    }

    pub(crate) fn upsert(&self, records: &[Record]) -> Result<(), Failure> {
        let column = |of: &dyn Fn(&Record) -> Value| records.iter().map(of).collect::<Vec<_>>();
        let body = json!({
            "ids": column(&|record| json!(record.id)),
            "embeddings": column(&|record| {
                let bytes: Vec<u8> =
                    record.embedding.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            }),
            "documents": column(&|record| json!(record.document)),
            "uris": column(&|record| json!(record.uri)),
            "metadatas": column(&|record| json!(record.metadata.as_ref().map(without_nulls))),
        });
        let _: Value = post(&self.agent, &format!("{}/upsert", self.collection), &body)?;
        Ok(())
    }

    /// Removes the collection where it has no record and its name still means it.
    pub(crate) fn remove_unused(&self, name: &str) -> Result<(), Failure> {
        let named = format!("{}/{}", self.collections, encoded(name));
        let count = format!("{}/count?read_level={READ_LEVEL}", self.collection);
        let found: Described = get(&self.agent, &named)?;
        if found.id == self.id && get::<u64>(&self.agent, &count)? == 0 {
            let _: Value = answer(&named, || self.agent.delete(&named).call())?;
        }
        Ok(())
    }

    pub(crate) fn ids(&self) -> Result<Vec<String>, Failure> {
        let answer: Answer = self.get_records(&json!({"include": [], "read_level": READ_LEVEL}))?;
        Ok(answer.ids)
    }

    pub(crate) fn records(&self, ids: &[String]) -> Result<Vec<Record>, Failure> {
        let include = ["embeddings", "documents", "metadatas", "uris"];
        let body = json!({"ids": ids, "include": include, "read_level": READ_LEVEL});
        let answer = self.get_records(&body)?;
        let (mut embeddings, mut documents) = (answer.embeddings, answer.documents);
        let (mut metadatas, mut uris) = (answer.metadatas, answer.uris);
        let records = answer.ids.into_iter().enumerate().map(|(row, id)| Record {
            id,
            embedding: take(&mut embeddings, row).unwrap_or_default(),
            document: take(&mut documents, row),
            metadata: take(&mut metadatas, row),
            uri: take(&mut uris, row),
        });
        Ok(records.collect())
    }

    fn get_records(&self, body: &Value) -> Result<Answer, Failure> {
        post(&self.agent, &format!("{}/get", self.collection), body)
    }
}

/// What sends requests to the server at `url`, and its address without a slash at the end.
pub(crate) fn reach(url: &str) -> Result<(ureq::Agent, String), Failure> {
    let server = url
        .trim_end_matches('/')
        .trim_end_matches("/api/v2")
        .to_owned();
    let encrypted = cfg!(feature = "tls") && server.starts_with("https://");
    if !encrypted && !server.starts_with("http://") {
        let schemes = if cfg!(feature = "tls") {
            "write http://HOST:PORT or https://HOST:PORT"
        } else {
            "write http://HOST:PORT; this program was built without TLS"
        };
        let message = format!("{url} is no address this command can reach");
        return Err(Failure::usage(message).hint(schemes));
    }
    let config = usual()?;
    let config = match std::env::var(API_KEY_VARIABLE) {
        Ok(key) => {
            let bearer = ureq::http::HeaderValue::try_from(format!("Bearer {key}"));
            let mut bearer = bearer.map_err(|_| {
                Failure::usage(format!("{API_KEY_VARIABLE} is no API key"))
                    .hint("it is the text that `vermilion key create` printed")
            })?;
            bearer.set_sensitive(true);
            config.middleware(WithKey(bearer))
        }
        Err(_) => config,
    };
    Ok((config.build().into(), server))
}

/// How requests are sent, whatever they are for.
pub(crate) fn usual() -> Result<ConfigBuilder<AgentScope>, Failure> {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(REQUEST_LIMIT))
        .timeout_connect(Some(Duration::from_secs(10)));
    #[cfg(feature = "tls")]
    let config = config.tls_config(trusted()?);
    Ok(config)
}

/// Sends a key with every request.
struct WithKey(ureq::http::HeaderValue);

impl ureq::middleware::Middleware for WithKey {
    fn handle(
        &self,
        mut request: ureq::http::Request<ureq::SendBody>,
        next: ureq::middleware::MiddlewareNext,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let headers = request.headers_mut();
        headers.insert(ureq::http::header::AUTHORIZATION, self.0.clone());
        next.handle(request)
    }
}

/// The certificates that a server's must lead to: those that all trust, or the ones of a file.
#[cfg(feature = "tls")]
fn trusted() -> Result<ureq::tls::TlsConfig, Failure> {
    let config = ureq::tls::TlsConfig::builder();
    let Some(file) = std::env::var_os(CA_VARIABLE) else {
        return Ok(config.build());
    };
    let doing = format!("cannot read the certificates in {CA_VARIABLE}");
    let pem = std::fs::read(&file).map_err(|error| Failure::from(error).context(&doing))?;
    let mut roots = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        let item = item.map_err(|error| Failure::new(error.to_string()).context(&doing))?;
        if let ureq::tls::PemItem::Certificate(certificate) = item {
            roots.push(certificate);
        }
    }
    Ok(config.root_certs(ureq::tls::RootCerts::from(roots)).build())
}

fn take<T>(column: &mut Option<Vec<Option<T>>>, row: usize) -> Option<T> {
    column.as_mut()?.get_mut(row)?.take()
}

/// In an upsert a null deletes a key; in a file it means that there is none.
fn without_nulls(metadata: &Map<String, Value>) -> Map<String, Value> {
    let cells = metadata.iter().filter(|(_, value)| !value.is_null());
    cells
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Gets `url` and reads the answer.
pub(crate) fn get<T: DeserializeOwned>(agent: &ureq::Agent, url: &str) -> Result<T, Failure> {
    answer(url, || agent.get(url).call())
}

fn post<T: DeserializeOwned>(agent: &ureq::Agent, url: &str, body: &Value) -> Result<T, Failure> {
    let bytes = serde_json::to_vec(body).expect("a JSON value is always writable");
    answer(url, || {
        agent
            .post(url)
            .header("content-type", "application/json")
            .header("x-vermilion-wait-ms", WAIT_MS)
            .send(&bytes[..])
    })
}

/// Sends a request until the server is not busy, and reads its answer.
fn answer<T: DeserializeOwned>(
    url: &str,
    send: impl Fn() -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<T, Failure> {
    match patiently(url, send)? {
        (200 | 201, body) => serde_json::from_slice(&body).map_err(|error| {
            Failure::new(format!(
                "{url} answered something else than expected: {error}"
            ))
        }),
        (status, body) => Err(refusal(status, &body)),
    }
}

/// Sends a request until the server is not busy; answers the status and the body. Asking again must
/// change nothing.
pub(crate) fn patiently(
    url: &str,
    send: impl Fn() -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
) -> Result<(u16, Vec<u8>), Failure> {
    let mut wait = Duration::from_millis(250);
    for attempt in 1.. {
        let mut response = send().map_err(|error| cannot_reach(url, &error))?;
        let status = response.status().as_u16();
        let body = response
            .body_mut()
            .with_config()
            .limit(u64::MAX)
            .read_to_vec();
        let body = body.map_err(|error| broke_off(url, &error))?;
        if !matches!(status, 429 | 503 | 504) || attempt == ATTEMPTS {
            return Ok((status, body));
        }
        std::thread::sleep(wait);
        wait *= 2;
    }
    unreachable!("the loop ends with an answer")
}

/// The failure where no server answers.
pub(crate) fn cannot_reach(url: &str, error: &ureq::Error) -> Failure {
    Failure::new(format!("cannot reach {url}: {error}"))
        .hint("is the server running? `vermilion serve` starts one")
}

/// The failure where an answer began and did not end.
pub(crate) fn broke_off(url: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("{url} broke off: {error}"))
}

/// What a server refused, in its own words.
pub(crate) fn refusal(status: u16, body: &[u8]) -> Failure {
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let message = parsed
        .as_ref()
        .and_then(|value| value.get("message"))
        .and_then(Value::as_str);
    Failure::new(match message {
        Some(message) => format!("the server refused with {status}: {message}"),
        None => format!("the server refused with {status}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_servers_words() {
        let failure = refusal(
            404,
            br#"{"error":"NotFoundError","message":"no such thing"}"#,
        );
        assert_eq!(
            failure.to_string(),
            "the server refused with 404: no such thing"
        );
        assert_eq!(
            refusal(502, b"<html>").to_string(),
            "the server refused with 502"
        );
    }
}
