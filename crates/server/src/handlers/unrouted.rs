//! What is answered where no route is.
//!
//! What must stay true: on Chroma's own paths, and on those that neither it nor we have, such answers have the empty
//! bodies that its clients know; on all others they are errors as any.

use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use vermilion_protocol::ApiError;

use crate::answer::Failure;
use crate::handlers::curation::Refused;
use crate::routes::{self, CURATION};

/// The first parts of Chroma's paths; that of `/` is empty.
const CHROMA: [&str; 4] = ["", "api", "docs", "openapi.json"];

pub(crate) async fn path(uri: Uri) -> Response {
    let path = uri.path();
    let message = format!("{path} is no path of this server; /openapi.json has them all.");
    answer(path, StatusCode::NOT_FOUND, message)
}

pub(crate) async fn method(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    let message = format!("{path} takes no {method}; the header `allow` says what it takes.");
    answer(path, StatusCode::METHOD_NOT_ALLOWED, message)
}

fn answer(path: &str, status: StatusCode, message: String) -> Response {
    if !is_ours(path) {
        return status.into_response();
    }
    let error = ApiError::new(status.as_u16(), message);
    if path.starts_with(CURATION) {
        Refused::from(error).into_response()
    } else {
        Failure(error).into_response()
    }
}

/// Whether `path` begins as a route does that Chroma has not.
fn is_ours(path: &str) -> bool {
    let first = first_part(path);
    !CHROMA.contains(&first) && routes::all().any(|route| first_part(route.path) == first)
}

fn first_part(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}
