//! Pages for people, and the description of the API for programs.

use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{Html, IntoResponse};

use crate::answer::Answer;
use crate::openapi;

/// What stands at the root.
pub(crate) async fn root() -> Html<&'static str> {
    Html(include_str!("../pages/root.html"))
}

/// The documentation's old address.
pub(crate) async fn docs_redirect() -> impl IntoResponse {
    (StatusCode::SEE_OTHER, [(LOCATION, "/docs/")])
}

/// The operations, read from the description of the API; works without a network.
pub(crate) async fn docs() -> Html<&'static str> {
    Html(include_str!("../pages/docs.html"))
}

/// The description of the API.
pub(crate) async fn openapi() -> Answer {
    Answer::json(openapi::document())
}
