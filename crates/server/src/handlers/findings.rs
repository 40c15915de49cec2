//! Routes of curation that tell what it found in a whole space.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Deserialize;
use vermilion_curation::{
    AskedConfusion, AskedDrift, AskedIssues, AskedMap, Curation, Refusal, ReportFormat,
};

use super::curation::{Asked, At, Refused, Reply, read};
use crate::answer::Answer;
use crate::app::App;

/// What the query string of issues says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfIssues {
    #[serde(rename = "type")]
    kind: Option<String>,
    offset: Option<usize>,
    limit: Option<usize>,
    all: Option<bool>,
    threshold: Option<f32>,
    ids_limit: Option<usize>,
    ids_offset: Option<usize>,
}

pub(crate) async fn issues(State(app): State<App>, at: At, Asked(asked): Asked<OfIssues>) -> Reply {
    let look = move |curation: &Curation| {
        let asked = AskedIssues {
            kind: asked.kind,
            offset: asked.offset.unwrap_or(0),
            limit: asked.limit,
            all: asked.all == Some(true),
            threshold: asked.threshold,
            ids_limit: asked.ids_limit,
            ids_offset: asked.ids_offset.unwrap_or(0),
        };
        curation.issues(&at.place, &at.names.collection, &asked)
    };
    Ok(Answer::value(&read(&app, look).await?))
}

pub(crate) async fn signals(State(app): State<App>, at: At) -> Reply {
    let look = move |curation: &Curation| curation.signals(&at.place, &at.names.collection);
    Ok(Answer::value(&read(&app, look).await?))
}

/// What the query string of a confusion says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfConfusion {
    dataset: Option<String>,
    context: Option<String>,
    #[serde(rename = "where")]
    filter: Option<String>,
    offset: Option<usize>,
    limit: Option<usize>,
}

pub(crate) async fn confusion(
    State(app): State<App>,
    at: At,
    Asked(asked): Asked<OfConfusion>,
) -> Reply {
    let look = move |curation: &Curation| {
        let asked = AskedConfusion {
            dataset: asked.dataset,
            context: asked.context,
            filter: asked.filter.as_deref().map(filter_of).transpose()?,
            offset: asked.offset.unwrap_or(0),
            limit: asked.limit,
        };
        curation.confusion(&at.place, &at.names.collection, &asked)
    };
    Ok(Answer::value(&read(&app, look).await?))
}

/// What the query string of a report says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfReport {
    format: Option<String>,
}

pub(crate) async fn report(
    State(app): State<App>,
    at: At,
    Asked(asked): Asked<OfReport>,
) -> Result<impl IntoResponse, Refused> {
    let tell = move |curation: &Curation| {
        let format = ReportFormat::named(asked.format.as_deref())?;
        let report = curation.report(&at.place, &at.names.collection)?;
        Ok((format.media_type(), format.write(&report)))
    };
    let (kind, page) = read(&app, tell).await?;
    Ok(([(CONTENT_TYPE, kind)], page))
}

/// What the query string of drift says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfDrift {
    from: Option<String>,
    to: Option<String>,
    window: Option<String>,
    reference: Option<String>,
    by: Option<String>,
    bucket: Option<String>,
    alpha: Option<f64>,
}

pub(crate) async fn drift(State(app): State<App>, at: At, Asked(asked): Asked<OfDrift>) -> Reply {
    let look = move |curation: &Curation| {
        let asked = AskedDrift {
            from: asked.from,
            to: asked.to,
            window: asked.window,
            reference: asked.reference,
            by: asked.by,
            bucket: asked.bucket,
            alpha: asked.alpha,
        };
        curation.drift(&at.place, &at.names.collection, &asked)
    };
    Ok(Answer::value(&read(&app, look).await?))
}

/// What the query string of a map says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfMap {
    fields: Option<String>,
    bounds: Option<String>,
    points: Option<usize>,
}

pub(crate) async fn map(State(app): State<App>, at: At, Asked(asked): Asked<OfMap>) -> Reply {
    let look = move |curation: &Curation| {
        let asked = AskedMap {
            fields: asked.fields,
            bounds: asked.bounds,
            points: asked.points,
        };
        curation.map(&at.place, &at.names.collection, &asked)
    };
    Ok(match read(&app, look).await?.stream {
        Some(stream) => Answer::arrow(stream),
        None => Answer::with_status(StatusCode::ACCEPTED, r#"{"ready": false}"#),
    })
}

/// The filter that a query string holds.
pub(super) fn filter_of(text: &str) -> Result<serde_json::Value, Refusal> {
    serde_json::from_str(text).map_err(|error| {
        let message = format!("The filter is no JSON: {error}.");
        Refusal::wrong("bad_filter", message).field("where")
    })
}
