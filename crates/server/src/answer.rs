//! What handlers answer: JSON text or a stream that is ready, or an error of the API.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use vermilion_engine::model::SeqRange;
use vermilion_protocol::ApiError;

use crate::media::Form;

/// What a handler answers.
pub(crate) type Reply = Result<Answer, Failure>;

/// The last SeqId of what a request wrote.
pub(crate) const SEQ_ID: HeaderName = HeaderName::from_static("x-vermilion-seq-id");
/// The first.
const FIRST_SEQ_ID: HeaderName = HeaderName::from_static("x-vermilion-first-seq-id");

/// A body with its form and status.
#[derive(Debug)]
pub(crate) struct Answer {
    status: StatusCode,
    form: Form,
    body: Body,
    /// What was written.
    seqs: Option<SeqRange>,
}

impl Answer {
    /// 200 with `json`.
    pub(crate) fn json(json: impl Into<Body>) -> Self {
        Self::with_status(StatusCode::OK, json)
    }

    /// 200 with `value` as JSON.
    pub(crate) fn value(value: &impl serde::Serialize) -> Self {
        Self::json(serde_json::to_vec(value).expect("answers have string keys only"))
    }

    /// 200 with an empty object.
    pub(crate) fn empty() -> Self {
        Self::json("{}")
    }

    /// `status` with `json`.
    pub(crate) fn with_status(status: StatusCode, json: impl Into<Body>) -> Self {
        Self {
            status,
            form: Form::Json,
            body: json.into(),
            seqs: None,
        }
    }

    /// 200 with a stream of Arrow.
    pub(crate) fn arrow(stream: Vec<u8>) -> Self {
        Self {
            form: Form::Arrow,
            ..Self::json(stream)
        }
    }

    /// The same, telling in its headers what was written.
    pub(crate) fn telling(mut self, seqs: Option<SeqRange>) -> Self {
        self.seqs = seqs;
        self
    }
}

impl From<Vec<u8>> for Answer {
    fn from(json: Vec<u8>) -> Self {
        Self::json(json)
    }
}

impl From<String> for Answer {
    fn from(json: String) -> Self {
        Self::json(json)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.form.into());
        if let Some(SeqRange { first, last }) = self.seqs {
            response.headers_mut().insert(SEQ_ID, last.0.into());
            response.headers_mut().insert(FIRST_SEQ_ID, first.0.into());
        }
        response
    }
}

/// An error of the API on its way to the client.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) ApiError);

impl<E: Into<ApiError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// What went wrong, for the log line of the request.
#[derive(Clone, Debug)]
pub(crate) struct FailureMessage(pub(crate) String);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).expect("the error table holds statuses");
        let mut response = Answer::with_status(status, self.0.to_json()).into_response();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let second = HeaderValue::from_static("1");
            response.headers_mut().insert(RETRY_AFTER, second);
        }
        response
            .extensions_mut()
            .insert(FailureMessage(self.0.message));
        response
    }
}
