//! Routes of curation.
//!
//! What must stay true: the tenant and the database are those that access was checked for: of the
//! path, else of the headers, else the default ones; whatever is wrong is told as a refusal, with the
//! field and the row.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use vermilion_curation::{
    Asked as Recommended, Curation, Listed, Place, Recommendations, Refusal, body,
};
use vermilion_engine::model::{DEFAULT_DATABASE, DEFAULT_TENANT};
use vermilion_protocol::{ApiError, arrow};

use crate::answer::{Answer, Failure, FailureMessage};
use crate::app::App;
use crate::extract::{Names, read_body};
use crate::media::Form;

/// The headers that name the tenant and the database where the path does not.
const TENANT: &str = "x-vermilion-tenant";
/// See [`TENANT`].
const DATABASE: &str = "x-vermilion-database";

/// A refusal on its way to the client.
#[derive(Debug)]
pub(crate) struct Refused(Refusal);

pub(super) type Reply = Result<Answer, Refused>;

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        let code = match error.status {
            401 => "no_key",
            403 => "forbidden",
            404 => "not_found",
            405 => "method_not_allowed",
            408 => "timeout",
            413 => "too_large",
            415 => "unsupported_media_type",
            429 => "busy",
            503 => "closed",
            500.. => "internal",
            _ => "invalid_argument",
        };
        Self(Refusal::new(error.status, code, error.message))
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        failure.0.into()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).expect("refusals have sound statuses");
        let mut response = Answer::with_status(status, self.0.to_json()).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let second = HeaderValue::from_static("1");
            response.headers_mut().insert(RETRY_AFTER, second);
        }
        let message = FailureMessage(self.0.message);
        response.extensions_mut().insert(message);
        response
    }
}

/// The tenant and the database that `headers` name where a path names none.
pub(crate) fn place_of(tenant: &str, database: &str, headers: &HeaderMap) -> (String, String) {
    let named = |in_path: &str, header: &str, default: &str| {
        if !in_path.is_empty() {
            return in_path.to_owned();
        }
        let said = headers.get(header).and_then(|value| value.to_str().ok());
        said.unwrap_or(default).to_owned()
    };
    (
        named(tenant, TENANT, DEFAULT_TENANT),
        named(database, DATABASE, DEFAULT_DATABASE),
    )
}

/// Where a request looks, and the names of its path.
#[derive(Debug)]
pub(crate) struct At {
    pub(super) place: Place,
    pub(super) names: Names,
}

impl<S: Send + Sync> FromRequestParts<S> for At {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let names = Names::from_request_parts(parts, state).await?;
        let (tenant, database) = place_of(&names.tenant, &names.database, &parts.headers);
        let place = Place { tenant, database };
        Ok(Self { place, names })
    }
}

/// The query string as a `T`. What is wrong with it is told with the parameter at fault.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(wrong_query(&error.body_text()).into()),
        }
    }
}

/// The refusal of a query string, by what axum says of it: the parameter, a colon and what is wrong, or that there is
/// no such parameter.
fn wrong_query(said: &str) -> Refusal {
    let problem = said.split_once(": ").map_or(said, |(_, problem)| problem);
    if let Some((_, rest)) = problem.split_once("unknown field `")
        && let Some((name, others)) = rest.split_once('`')
    {
        let message = format!("There is no parameter `{name}`.");
        let others = others.trim_start_matches(", expected ").replace('`', "");
        return Refusal::wrong("unknown_field", message)
            .field(name)
            .hint(others.trim_start_matches("one of ").to_owned());
    }
    let refusal = Refusal::wrong("invalid_argument", format!("The query string: {problem}."));
    match problem.split_once(": ") {
        Some((name, _)) => refusal.field(name),
        None => refusal,
    }
}

/// The body of a log, and in which form it is.
#[derive(Debug)]
pub(crate) enum LogBody {
    Columns(Bytes),
    Lines(Bytes),
    Stream(Bytes),
}

/// The media types of lines of JSON.
const LINES: [&str; 3] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
];

impl FromRequest<App> for LogBody {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refused> {
        let kind = request.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let is_lines = LINES.iter().any(|one| one.eq_ignore_ascii_case(kind));
        let form = Form::of_body(request.headers());
        if form.is_none() && !is_lines {
            let arrow = Form::Arrow.media_type();
            let message = format!("`{kind}` is no form of a log.");
            let hint = format!("application/json, {}, {arrow}", LINES[0]);
            return Err(Refusal::new(415, "unsupported_media_type", message)
                .hint(hint)
                .into());
        }
        let most = app.config.body_bytes_max;
        let bytes = read_body(request, app).await.map_err(|error| {
            let mut refused = Refused::from(error);
            if refused.0.status == 413 {
                refused.0.hint = Some(format!("a body has {most} bytes at most"));
            }
            refused
        })?;
        Ok(match form {
            Some(Form::Json) => Self::Columns(bytes),
            Some(Form::Arrow) => Self::Stream(bytes),
            None => Self::Lines(bytes),
        })
    }
}

/// What the query string of a log may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfABatch {
    space: Option<String>,
    embedding_set: Option<String>,
    context: Option<String>,
    dataset: Option<String>,
    metric: Option<String>,
    class_names: Option<String>,
    idempotency_key: Option<String>,
    assess: Option<bool>,
}

impl OfABatch {
    fn head(self) -> Result<body::Head, Refusal> {
        let set = self.embedding_set.map(|text| {
            serde_json::from_str(&text).map_err(|error| {
                let message = format!("The embedding set is no JSON: {error}.");
                Refusal::wrong("bad_embedding_set", message).field("embedding_set")
            })
        });
        let names = self.class_names.map(|text| {
            serde_json::from_str(&text).map_err(|error| {
                let message =
                    format!("The names of the classes are no list of texts as JSON: {error}.");
                Refusal::wrong("wrong_type", message)
                    .field("class_names")
                    .hint(r#"such as ["cat","dog"]"#)
            })
        });
        Ok(body::Head {
            class_names: names.transpose()?,
            space: self.space,
            embedding_set: set.transpose()?,
            context: self.context,
            dataset: self.dataset,
            metric: self.metric,
            idempotency_key: self.idempotency_key,
            assess: self.assess,
            ..body::Head::default()
        })
    }
}

/// Runs `work` where it may block and write.
pub(super) async fn write<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Curation) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refused> {
    let curation = app.curation.clone();
    Ok(app.write(move |_| Ok(work(&curation))).await??)
}

/// Runs `work` where it may block and read.
pub(super) async fn read<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Curation) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refused> {
    let curation = app.curation.clone();
    Ok(app.read(move |_| Ok(work(&curation))).await??)
}

pub(crate) async fn log(
    State(app): State<App>,
    at: At,
    Asked(asked): Asked<OfABatch>,
    body: LogBody,
) -> Reply {
    let limits = arrow::Limits {
        records_max: app.database.limits().batch_records_max,
        bytes_max: app.config.body_bytes_max,
    };
    let decode = move || {
        Ok(match body {
            LogBody::Columns(bytes) => body::columns(&bytes),
            LogBody::Lines(bytes) => body::lines(&bytes),
            LogBody::Stream(bytes) => body::stream(bytes, limits),
        })
    };
    let told = app.decode(decode).await??;
    let head = asked.head()?;
    let logged = write(&app, move |curation| curation.log(&at.place, told, head)).await?;
    let status = if logged.scores_missing {
        StatusCode::ACCEPTED
    } else {
        StatusCode::CREATED
    };
    let logged = serde_json::to_vec(&logged).expect("answers have string keys only");
    Ok(Answer::with_status(status, logged))
}

pub(crate) async fn list_spaces(
    State(app): State<App>,
    at: At,
    Asked(page): Asked<Listed>,
) -> Reply {
    let list = move |curation: &Curation| curation.spaces(&at.place, page);
    let (spaces, total) = read(&app, list).await?;
    Ok(Answer::value(&json!({ "spaces": spaces, "total": total })))
}

pub(crate) async fn get_space(State(app): State<App>, at: At) -> Reply {
    let look = move |curation: &Curation| {
        let space = curation.space(&at.place, &at.names.collection)?;
        curation.summary(&space)
    };
    Ok(Answer::value(&read(&app, look).await?))
}

pub(crate) async fn delete_space(State(app): State<App>, at: At) -> Reply {
    let delete = move |curation: &Curation| curation.delete_space(&at.place, &at.names.collection);
    write(&app, delete).await?;
    Ok(Answer::empty())
}

pub(crate) async fn embedding_sets(
    State(app): State<App>,
    at: At,
    Asked(page): Asked<Listed>,
) -> Reply {
    let list = move |curation: &Curation| curation.embedding_sets(&at.place, page);
    Ok(Answer::value(&read(&app, list).await?))
}

/// The body of a request that is JSON; nothing is an empty object.
#[derive(Debug)]
pub(crate) struct Json(pub(super) Bytes);

impl FromRequest<App> for Json {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refused> {
        if Form::of_body(request.headers()) != Some(Form::Json) {
            let message = "The body is no JSON.";
            return Err(Refusal::new(415, "unsupported_media_type", message)
                .hint("application/json")
                .into());
        }
        let bytes = read_body(request, app).await?;
        if bytes.is_empty() {
            return Ok(Self(Bytes::from_static(b"{}")));
        }
        Ok(Self(bytes))
    }
}

pub(crate) async fn recommend(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let list = move |curation: &Curation| {
        let asked: Recommended = body::decode(&bytes)?;
        curation.recommend(&at.place, &at.names.collection, &asked)
    };
    Ok(answer_list(&read(&app, list).await?))
}

/// 202 while there is no list yet.
fn answer_list(told: &Recommendations) -> Answer {
    let status = if told.is_made {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    let page = serde_json::to_vec(&told.page).expect("answers have string keys only");
    Answer::with_status(status, page)
}

/// What the query string of the simple form says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimpleForm {
    space: Option<String>,
    filter: Option<String>,
    skip: Option<usize>,
    limit: Option<usize>,
}

pub(crate) async fn recommend_simply(
    State(app): State<App>,
    at: At,
    Asked(asked): Asked<SimpleForm>,
) -> Reply {
    let list = move |curation: &Curation| {
        let Some(space) = &asked.space else {
            let message = "The query string names no space.";
            return Err(Refusal::wrong("missing_field", message).field("space"));
        };
        let filter = asked.filter.as_deref().map(|text| {
            serde_json::from_str(text).map_err(|error| {
                let message = format!("The filter is no JSON: {error}.");
                Refusal::wrong("bad_filter", message).field("filter")
            })
        });
        let wanted = Recommended {
            n: asked.limit,
            skip: asked.skip,
            filter: filter.transpose()?,
            ..Recommended::default()
        };
        curation.recommend(&at.place, space, &wanted)
    };
    Ok(answer_list(&read(&app, list).await?))
}

pub(crate) async fn explain(State(app): State<App>, at: At) -> Reply {
    let explain = move |curation: &Curation| {
        curation.explain(&at.place, &at.names.collection, &at.names.record)
    };
    Ok(Answer::value(&read(&app, explain).await?))
}

/// A picture as it was logged. Its kind is read from its bytes, and a browser is told to look no further.
pub(crate) async fn thumbnail(State(app): State<App>, at: At) -> Result<Response, Refused> {
    let look = move |curation: &Curation| {
        curation.thumbnail(&at.place, &at.names.collection, &at.names.record)
    };
    let found = read(&app, look).await?;
    let headers = [
        (CONTENT_TYPE, found.media_type()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, found.bytes().to_vec()).into_response())
}

pub(crate) async fn assess(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let assess = move |curation: &Curation| {
        let told = body::columns(&bytes)?;
        curation.assess(&at.place, &at.names.collection, &told)
    };
    Ok(Answer::value(&read(&app, assess).await?))
}

pub(crate) async fn decide(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let decide = move |curation: &Curation| {
        let told = body::decode(&bytes)?;
        curation.decide(&at.place, &at.names.collection, &told)
    };
    Ok(Answer::value(&write(&app, decide).await?))
}

pub(crate) async fn label(State(app): State<App>, at: At, Json(bytes): Json) -> Reply {
    let label = move |curation: &Curation| {
        let told = body::decode(&bytes)?;
        curation.label(&at.place, &at.names.collection, &told)
    };
    Ok(Answer::value(&write(&app, label).await?))
}
