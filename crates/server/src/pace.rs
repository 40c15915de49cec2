//! Where requests wait for indexing or for room: writers that are held back before their body is
//! read, and readers that must see what is not indexed yet.
//!
//! What must stay true: whoever waits here takes none of the turns of [`crate::blocking`], so that
//! a collection that is behind holds up nobody else; every wait has a limit.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};
use vermilion_engine::model::{Consistency, SeqId};
use vermilion_engine::{Database, ErrorKind, Sight};
use vermilion_protocol::{ApiError, reads};

use crate::answer::{Answer, Failure, Reply};
use crate::app::App;
use crate::extract::Scope;

/// The SeqId that a read must see.
pub(crate) const MIN_SEQ_ID: &str = "x-vermilion-min-seq-id";
/// How many milliseconds it may wait for that.
pub(crate) const WAIT_MS: &str = "x-vermilion-wait-ms";
/// The longest wait that a request may ask for.
pub(crate) const WAIT_MS_MAX: u64 = 600_000;

/// Says that the writer of a request was held back as long as it had to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldBack;

impl FromRequestParts<App> for HeldBack {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let scope = Scope::from_request_parts(parts, app).await?;
        let begun = Instant::now();
        // Exactly nothing at first, by which a writer that is slowed down is counted once.
        let mut waited = Duration::ZERO;
        loop {
            match app.database.hold_back(scope.get(), waited) {
                Ok(Duration::ZERO) => return Ok(Self),
                Ok(delay) => sleep(delay).await,
                // What is wrong with the body is told first.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self),
                Err(error) => return Err(error.into()),
            }
            waited = begun.elapsed();
        }
    }
}

/// What the headers and the query string of a request say that it must see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sees(Consistency);

#[derive(Deserialize)]
struct LevelQuery {
    read_level: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Sees {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let asked = Query::<LevelQuery>::from_request_parts(parts, state).await;
        let Query(asked) = asked.map_err(|error| ApiError::invalid(error.body_text()))?;
        let level = asked.read_level.as_deref().map(reads::read_level);
        let wait_ms = number(&parts.headers, WAIT_MS, WAIT_MS_MAX)?;
        Ok(Self(Consistency {
            read_level: level.transpose()?,
            min_seq: number(&parts.headers, MIN_SEQ_ID, u64::MAX)?.map(SeqId),
            wait_max: wait_ms.map(Duration::from_millis),
        }))
    }
}

impl Sees {
    /// The same, where the body says something of its own: its level comes before that of the
    /// query string.
    fn or(self, body: Consistency) -> Consistency {
        Consistency {
            read_level: body.read_level.or(self.0.read_level),
            ..self.0
        }
    }
}

/// The number in a header, if it is there.
fn number(headers: &HeaderMap, name: &str, most: u64) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    match number {
        Some(number) if number <= most => Ok(Some(number)),
        _ => Err(ApiError::invalid(format!(
            "The header {name} is {value:?}; it must be a number from 0 to {most}."
        ))),
    }
}

/// A read after its first turn.
enum Turn<R, T> {
    Done(T),
    Waits(R, Consistency, Sight),
}

/// Decodes a read, waits until what it must see is visible, and answers it. `consistency` is where
/// the read says what it must see; once that is visible, it says that it sees what is there.
pub(crate) async fn read_once_visible<R, T>(
    app: &App,
    scope: Scope,
    sees: Sees,
    decode: impl FnOnce() -> Result<R, ApiError> + Send + 'static,
    consistency: fn(&mut R) -> &mut Consistency,
    answer: fn(&Database, &Scope, R) -> Result<T, ApiError>,
) -> Reply
where
    R: Send + 'static,
    T: Into<Answer> + Send + 'static,
{
    let of = scope.clone();
    let first = move |database: &Database| {
        let mut asked = decode()?;
        let said = consistency(&mut asked);
        let consistency = sees.or(*said);
        *said = Consistency::at_once();
        let sight = database.sight(of.get(), consistency)?;
        if sight.is_clear() {
            return answer(database, &of, asked).map(Turn::Done);
        }
        Ok(Turn::Waits(asked, consistency, sight))
    };
    let (asked, consistency, sight) = match app.read_records(first).await? {
        Turn::Done(answer) => return Ok(answer.into()),
        Turn::Waits(asked, consistency, sight) => (asked, consistency, sight),
    };
    let wait_max = Database::wait_max(consistency);
    if let Ok(seen) = timeout(wait_max, sight).await {
        seen?;
    } else {
        let late = app.database.late(scope.get(), consistency, wait_max);
        return Err(match late.kind() {
            ErrorKind::Busy => ApiError::new(504, late.message()).into(),
            _ => late.into(),
        });
    }
    let answer = app.read_records(move |database| answer(database, &scope, asked));
    Ok(answer.await?.into())
}
