//! Requests to the routes of curation.
//!
//! What must stay true: a busy server is asked again, which nothing here changes anything by; a refusal
//! is shown in the server's own words, with the field, the record and the hint.

use std::io::{self, Write};

use serde_json::{Value, json};
use vermilion_protocol::ascii::encoded;

use crate::arguments::Curation;
use crate::failure::Failure;
use crate::transfer::{broke_off, cannot_reach, patiently, reach};

/// What is answered while something large is made for the first time.
pub(super) const MADE_LATER: u16 = 202;
/// The media type of lines of JSON.
const LINES: &str = "application/x-ndjson";

/// The routes of one database of a server.
pub(super) struct Server {
    agent: ureq::Agent,
    /// Where the routes of curation begin, and those of the database.
    base: String,
    root: String,
}

impl Server {
    /// The server that is meant; nothing is sent yet.
    pub(super) fn new(asked: &Curation) -> Result<Self, Failure> {
        let (agent, server) = reach(&asked.url)?;
        let base = format!("{server}/curation/v1");
        let root = format!(
            "{base}/tenants/{}/databases/{}",
            encoded(&asked.tenant),
            encoded(&asked.database)
        );
        Ok(Self { agent, base, root })
    }

    /// What a path answers.
    pub(super) fn get(&self, path: &str) -> Result<Value, Failure> {
        let (status, body) = self.fetch(path)?;
        taken(status, read(&body))
    }

    /// The page that a path answers.
    pub(super) fn get_text(&self, path: &str) -> Result<String, Failure> {
        let (status, body) = self.fetch(path)?;
        if !(200..300).contains(&status) {
            return taken(status, read(&body)).map(|answer| answer.to_string());
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// What a path of the whole server answers.
    pub(super) fn get_of_all(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let (status, body) = patiently(&url, || self.agent.get(&url).call())?;
        taken(status, read(&body))
    }

    /// What the whole server answers to a request that may be repeated.
    pub(super) fn post_to_all(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.base);
        let (status, body) = patiently(&url, || self.agent.post(&url).send_empty())?;
        taken(status, read(&body))
    }

    /// Writes what a path answers with 200 to the file that `make` makes, piece by piece: its bytes, or the
    /// answer that is none.
    pub(super) fn download<W: Write>(
        &self,
        path: &str,
        make: impl FnOnce() -> Result<W, Failure>,
    ) -> Result<(u16, Result<u64, Value>), Failure> {
        let url = format!("{}{path}", self.root);
        let mut response = self
            .agent
            .get(&url)
            .call()
            .map_err(|error| cannot_reach(&url, &error))?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(u64::MAX);
        if status != 200 {
            let body = body
                .read_to_vec()
                .map_err(|error| broke_off(&url, &error))?;
            return Ok((status, Err(read(&body))));
        }
        let mut file = make()?;
        let copied = io::copy(&mut body.reader(), &mut file);
        let bytes = copied.map_err(|error| broke_off(&url, &error))?;
        file.flush()?;
        Ok((status, Ok(bytes)))
    }

    /// What a path answers to being deleted.
    pub(super) fn delete(&self, path: &str) -> Result<Value, Failure> {
        let url = format!("{}{path}", self.root);
        let (status, body) = patiently(&url, || self.agent.delete(&url).call())?;
        taken(status, read(&body))
    }

    /// The status and the answer to a body that is sent once, since it would do something again.
    pub(super) fn try_post_once(&self, path: &str, body: &Value) -> Result<(u16, Value), Failure> {
        let url = format!("{}{path}", self.root);
        let sent = self
            .agent
            .post(&url)
            .header("content-type", "application/json");
        let mut response = sent
            .send(body.to_string())
            .map_err(|error| cannot_reach(&url, &error))?;
        let answer = response.body_mut().read_to_vec();
        let answer = answer.map_err(|error| broke_off(&url, &error))?;
        Ok((response.status().as_u16(), read(&answer)))
    }

    fn fetch(&self, path: &str) -> Result<(u16, Vec<u8>), Failure> {
        let url = format!("{}{path}", self.root);
        patiently(&url, || self.agent.get(&url).call())
    }

    /// The status and the answer to a body.
    pub(super) fn try_post(&self, path: &str, body: &Value) -> Result<(u16, Value), Failure> {
        self.send(path, "application/json", body.to_string().as_bytes())
    }

    /// The status and the answer to lines of a log.
    pub(super) fn log(&self, lines: &[u8]) -> Result<(u16, Value), Failure> {
        self.send("/log", LINES, lines)
    }

    fn send(&self, path: &str, form: &str, body: &[u8]) -> Result<(u16, Value), Failure> {
        let url = format!("{}{path}", self.root);
        let (status, body) = patiently(&url, || {
            self.agent
                .post(&url)
                .header("content-type", form)
                .send(body)
        })?;
        Ok((status, read(&body)))
    }
}

/// A body as JSON; what is none is told as the message of a refusal.
fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body)
        .unwrap_or_else(|_| json!({"message": String::from_utf8_lossy(body).trim()}))
}

/// Counts the record that a refusal names from the first of all, where `before` went in earlier parts.
pub(super) fn shift(answer: &mut Value, before: usize) {
    if let Some(row) = answer.get("row").and_then(Value::as_u64) {
        answer["row"] = json!(row + before as u64);
    }
}

/// The answer, if it is none of a refusal.
pub(super) fn taken(status: u16, answer: Value) -> Result<Value, Failure> {
    if (200..300).contains(&status) {
        return Ok(answer);
    }
    let text = |name: &str| answer[name].as_str().unwrap_or_default();
    let mut message = format!("the server refused with {status}");
    if !text("message").is_empty() {
        message = format!("{message}: {}", text("message"));
    }
    let row = answer["row"].as_u64().map(|row| format!("record {row}"));
    let field = answer["field"]
        .as_str()
        .map(|field| format!("field {field}"));
    let place: Vec<String> = field.into_iter().chain(row).collect();
    if !place.is_empty() {
        message = format!("{message} ({})", place.join(", "));
    }
    let failure = Failure::new(message);
    Err(match text("hint") {
        "" => failure,
        hint => failure.hint(hint),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_servers_words_with_the_place_and_the_hint() {
        let mut body = json!({
            "error": "not_finite", "message": "A number is not finite.", "field": "embeddings", "row": 2,
            "hint": "finite numbers",
        });
        shift(&mut body, 5000);
        let shown = taken(400, body).unwrap_err().to_string();
        let expected = "the server refused with 400: A number is not finite. (field embeddings, record 5002) \
                        (hint: finite numbers)";
        assert_eq!(shown, expected);
        let bare = taken(502, read(b"<html>")).unwrap_err().to_string();
        assert_eq!(bare, "the server refused with 502: <html>");
        assert_eq!(taken(201, json!(1)).unwrap(), json!(1));
    }
}
