//! Around every request: its id, its log line, its metrics, and what becomes of a panic.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tracing::Instrument;
use vermilion_protocol::ApiError;

use crate::answer::{Failure, FailureMessage};
use crate::app::App;
use crate::listen::Peer;
use crate::refused_heads::refuse_large;
use crate::routes::CONTROL;

/// The header that names a request, in both directions.
const REQUEST_ID: &str = "x-request-id";
/// The header of an error that clients show with its message.
const TRACE_ID: &str = "chroma-trace-id";
/// Bytes of the longest id that is taken from a client.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Paths of requests that watch the server.
const ALWAYS_TAKEN: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/openapi.json"];

/// The id of a request, for whoever handles it.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Names the request, runs it, and notes how it went.
pub(crate) async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let method = request.method().clone();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    // Paths that no route has are all one, or anybody could fill the memory with them.
    let path = matched.as_ref().map_or("unknown", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        otel.kind = tracing::field::Empty,
        otel.name = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
        http.request.method = tracing::field::Empty,
        http.route = tracing::field::Empty,
        http.response.status_code = tracing::field::Empty,
    );
    #[cfg(feature = "otel")]
    begin_trace(&span, &method, path, request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let begun = Instant::now();
    let running = Running::new(&app);
    let mut response = next.run(request).instrument(span.clone()).await;
    drop(running);
    let microseconds = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    let status = response.status().as_u16();
    app.metrics
        .note(method.as_str(), path, status, microseconds);
    let failure = response.extensions_mut().remove::<FailureMessage>();
    let failure = failure.as_ref().map(|failure| failure.0.as_str());
    match status {
        500 => app
            .database
            .note_request(Some(failure.unwrap_or("a request failed"))),
        200..300 => app.database.note_request(None),
        _ => {}
    }
    span.in_scope(|| {
        if status >= 500 && status != 501 {
            tracing::warn!(%method, path, status, microseconds, failure, "request failed");
        } else {
            tracing::debug!(%method, path, status, microseconds, failure, "request answered");
        }
    });
    #[cfg(feature = "otel")]
    end_trace(&span, status);
    if failure.is_some() {
        response.headers_mut().insert(TRACE_ID, id.clone());
    }
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Says in the span of a request what it is, in the words that OpenTelemetry has for it, and makes it
/// a part of the trace that the client says it is in. A span has its name once it is entered.
#[cfg(feature = "otel")]
fn begin_trace(
    span: &tracing::Span,
    method: &axum::http::Method,
    path: &str,
    headers: &axum::http::HeaderMap,
) {
    use opentelemetry::propagation::TextMapPropagator;
    use opentelemetry_http::HeaderExtractor;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    span.record("otel.kind", "server");
    span.record("otel.name", format!("{method} {path}"));
    span.record("http.request.method", method.as_str());
    span.record("http.route", path);
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    // Where nobody collects traces there is none to go on with.
    let _ = span.set_parent(context);
}

#[cfg(feature = "otel")]
fn end_trace(span: &tracing::Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR");
    }
}

/// Lets a request in unless its head is too large or the component `api` is paused; those that
/// control the server, from whoever may, and those that watch it are let in when it is.
pub(crate) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    if let Some(refusal) = refuse_large(&request) {
        return refusal;
    }
    let path = request.uri().path();
    if path.starts_with(CONTROL) {
        return match may_control(app.has_keys(), &request) {
            Ok(()) => next.run(request).await,
            Err(error) => Failure(error).into_response(),
        };
    }
    if ALWAYS_TAKEN.contains(&path) {
        return next.run(request).await;
    }
    match app.database.enter_api() {
        Ok(_inside) => next.run(request).await,
        Err(error) => Failure(ApiError::new(503, error.message())).into_response(),
    }
}

/// Without API keys, nobody but callers on this machine may control the server.
fn may_control(has_keys: bool, request: &Request) -> Result<(), ApiError> {
    let peer = request.extensions().get::<Peer>();
    if has_keys || peer.is_some_and(Peer::is_near) {
        return Ok(());
    }
    Err(ApiError::new(
        403,
        "Without API keys, control routes answer callers on the server's own machine only; the \
         setting access_file lets others in.",
    ))
}

/// Counts a request as running until it is dropped, also when the client goes away.
struct Running<'a>(&'a App);

impl<'a> Running<'a> {
    fn new(app: &'a App) -> Self {
        app.metrics.running.fetch_add(1, Ordering::Relaxed);
        Self(app)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.metrics.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The id that the client gave, or a new one: what this process is called, and a number.
fn request_id(request: &Request) -> HeaderValue {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    static PROCESS: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let mut name = uuid::Uuid::new_v4().simple().to_string();
        name.truncate(8);
        name
    });
    if let Some(given) = request.headers().get(REQUEST_ID) {
        let plain = |byte: &u8| byte.is_ascii_graphic();
        let bytes = given.as_bytes();
        if (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(plain) {
            return given.clone();
        }
    }
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let id = format!("{}-{number}", *PROCESS);
    HeaderValue::try_from(id).expect("letters, digits and a dash make a header")
}

/// What a request is answered that panicked.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands the panic over"
)]
pub(crate) fn answer_panic(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    tracing::error!(panic = text, "a request panicked");
    let message = "The server failed on this request; its log says more under the request's id";
    Failure(ApiError::new(500, message)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn without_keys_callers_on_this_machine_alone_may_control_the_server() {
        let from = |address: Option<&str>| {
            let mut request = Request::new(Body::empty());
            if let Some(address) = address {
                let peer = Peer::Address(address.parse().unwrap());
                request.extensions_mut().insert(peer);
            }
            request
        };
        for near in [
            "127.0.0.1:5",
            "127.9.9.9:5",
            "[::1]:5",
            "[::ffff:127.0.0.1]:5",
        ] {
            may_control(false, &from(Some(near))).expect(near);
        }
        for far in [Some("10.0.0.1:5"), Some("[2001:db8::1]:5"), None] {
            let error = may_control(false, &from(far)).expect_err("far away");
            assert_eq!(error.status, 403);
            assert!(error.message.contains("access_file"), "{error}");
            may_control(true, &from(far)).expect("keys are asked for elsewhere");
        }
    }
}
