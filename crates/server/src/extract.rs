//! What handlers take from a request: names of the path, the body, pages of a list.
//!
//! What must stay true: whatever is wrong with a request is answered as an error of the API,
//! never as the framework's plain text.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::HeaderName;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;
use vermilion_engine::model::{CollectionId, CollectionScope, Page};
use vermilion_protocol::ApiError;

use crate::answer::Failure;
use crate::app::App;
use crate::local::{Handed, Passed};
use crate::media::Form;

/// The header of requests whose body is in memory that their client shares: how many bytes it has.
const MEMORY: HeaderName = HeaderName::from_static("x-vermilion-memory");

/// The names in a path, percent-decoded. One that the route does not have is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// The tenant.
    pub(crate) tenant: String,
    /// The database.
    pub(crate) database: String,
    /// The collection: a name, an id or a CRN, as the route says.
    pub(crate) collection: String,
    /// A function attached to a collection.
    pub(crate) function: String,
    /// A job, a component, a retraining, a trigger or a dataset.
    pub(crate) target: String,
    /// A record.
    pub(crate) record: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Names {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|error| ApiError::invalid(error.body_text()))?;
        let mut names = Self::default();
        for (name, value) in &params {
            let place = match name {
                "tenant" => &mut names.tenant,
                "database" => &mut names.database,
                "function" => &mut names.function,
                "job" | "component" | "retraining" | "trigger" | "dataset" | "file" => {
                    &mut names.target
                }
                "record" => &mut names.record,
                _ => &mut names.collection,
            };
            value.clone_into(place);
        }
        Ok(names)
    }
}

impl Names {
    /// The id that stands for the collection.
    pub(crate) fn collection_id(&self) -> Result<CollectionId, ApiError> {
        match Uuid::try_parse(&self.collection) {
            Ok(id) => Ok(CollectionId(id)),
            Err(_) => Err(ApiError::invalid("Collection ID is not a valid UUIDv4")),
        }
    }
}

/// A collection by id, with the tenant and database that the path says it is in.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    names: Names,
    id: CollectionId,
}

impl<S: Send + Sync> FromRequestParts<S> for Scope {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let names = Names::from_request_parts(parts, state).await?;
        let id = names.collection_id()?;
        Ok(Self { names, id })
    }
}

impl Scope {
    /// As the engine takes it.
    pub(crate) fn get(&self) -> CollectionScope<'_> {
        CollectionScope {
            tenant: &self.names.tenant,
            database: &self.names.database,
            id: self.id,
        }
    }
}

/// The query string as a `T`.
#[derive(Clone, Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(error) => Err(ApiError::invalid(error.body_text()).into()),
        }
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Paging {
    limit: Option<u32>,
    offset: Option<u32>,
}

impl From<Paging> for Page {
    fn from(paging: Paging) -> Self {
        Self {
            limit: paging.limit,
            offset: paging.offset.unwrap_or(0),
        }
    }
}

/// The body of a request that is to be JSON, whole.
#[derive(Clone, Debug)]
pub(crate) struct JsonBody(pub(crate) Bytes);

impl FromRequest<App> for JsonBody {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        if Form::of_body(request.headers()) != Some(Form::Json) {
            return Err(ApiError::new(
                415,
                "Expected request with `Content-Type: application/json`",
            )
            .into());
        }
        Ok(Self(read_body(request, app).await?))
    }
}

/// The body of a request that holds records, whole.
#[derive(Clone, Debug)]
pub(crate) struct RecordsBody {
    pub(crate) form: Form,
    pub(crate) content: Content,
}

/// Where a body is.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Here.
    Read(Bytes),
    /// In the memory of its client.
    Handed(Handed),
}

impl Content {
    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Read(bytes) => bytes.len(),
            Self::Handed(memory) => memory.len(),
        }
    }

    /// Its bytes, which are copied where they are not here.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Read(bytes) => bytes,
            Self::Handed(memory) => memory.copy(),
        }
    }
}

impl FromRequest<App> for RecordsBody {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let Some(form) = Form::of_body(request.headers()) else {
            let message = format!(
                "Expected request with `Content-Type: application/json` or `Content-Type: {}`",
                Form::Arrow.media_type()
            );
            return Err(ApiError::new(415, message).into());
        };
        if let Some((passed, bytes)) = passed_with(&request)? {
            if form != Form::Arrow {
                let told = format!("Memory holds `{}` only", Form::Arrow.media_type());
                return Err(ApiError::new(415, told).into());
            }
            let content = Content::Handed(passed.take(bytes, app.config.body_bytes_max)?);
            return Ok(Self { form, content });
        }
        let content = Content::Read(read_body(request, app).await?);
        Ok(Self { form, content })
    }
}

/// What a client has handed over for `request`, whose body is in memory if it says so, and how many bytes
/// of that are the body.
fn passed_with(request: &Request) -> Result<Option<(Passed, usize)>, ApiError> {
    let Some(told) = request.headers().get(MEMORY) else {
        return Ok(None);
    };
    let bytes = told.to_str().ok().and_then(|told| told.parse().ok());
    let bytes = bytes.ok_or_else(|| {
        ApiError::invalid(format!(
            "The header `{MEMORY}` is {told:?}; it must be the number of bytes in memory"
        ))
    })?;
    if !request.body().is_end_stream() {
        let told = format!("A request has a body or the header `{MEMORY}`, not both");
        return Err(ApiError::invalid(told));
    }
    let passed = request.extensions().get::<Passed>();
    Ok(passed.map(|passed| (passed.clone(), bytes)))
}

fn too_large() -> ApiError {
    ApiError::new(
        413,
        "Failed to buffer the request body: length limit exceeded",
    )
}

/// Reads a body whole, within the limits of size and time.
pub(crate) async fn read_body(request: Request, app: &App) -> Result<Bytes, ApiError> {
    let encoding = request.headers().get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        let told = "Bodies are taken as they are: send the request without `Content-Encoding`";
        return Err(ApiError::new(415, told));
    }
    let bytes_max = app.config.body_bytes_max;
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok())
        .unwrap_or(0);
    if announced > bytes_max {
        return Err(too_large());
    }
    let mut body = request.into_body();
    let Some(first) = next_part(&mut body, app).await? else {
        return Ok(Bytes::new());
    };
    if first.len() >= announced && body.is_end_stream() {
        return if first.len() > bytes_max {
            Err(too_large())
        } else {
            Ok(first)
        };
    }
    let mut whole = Vec::with_capacity(announced.max(first.len()));
    whole.extend_from_slice(&first);
    while let Some(part) = next_part(&mut body, app).await? {
        if whole.len() + part.len() > bytes_max {
            return Err(too_large());
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.into())
}

/// The next part of a body, or `None` at its end.
async fn next_part(body: &mut Body, app: &App) -> Result<Option<Bytes>, ApiError> {
    loop {
        let Ok(frame) = tokio::time::timeout(app.config.body_timeout, body.frame()).await else {
            return Err(ApiError::new(
                408,
                "The request body did not arrive in time",
            ));
        };
        match frame {
            None => return Ok(None),
            Some(Err(error)) => {
                let reason = format!("Failed to read the request body: {error}");
                return Err(ApiError::invalid(reason));
            }
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
