//! Routes about the server itself.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use vermilion_engine::Database;
use vermilion_engine::model::{DEFAULT_DATABASE, DEFAULT_TENANT};
use vermilion_protocol::ApiError;

use crate::access::Identity;
use crate::answer::{Answer, Failure, Reply};
use crate::app::App;
use crate::handlers::control::takes_requests;
use crate::listen::Peer;
use crate::metrics;

pub(crate) async fn heartbeat(State(app): State<App>) -> Answer {
    let nanoseconds = app.database.now_nanoseconds();
    Answer::json(format!("{{\"nanosecond heartbeat\":{nanoseconds}}}"))
}

pub(crate) async fn healthcheck(State(app): State<App>) -> Answer {
    let health = app.database.health();
    let status = if health.readable && health.writable {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let (reads, writes) = (health.readable, health.writable);
    let body = format!("{{\"is_executor_ready\":{reads},\"is_log_client_ready\":{writes}}}");
    Answer::with_status(status, body)
}

pub(crate) async fn version() -> Answer {
    Answer::json(concat!("\"", env!("CARGO_PKG_VERSION"), "\""))
}

pub(crate) async fn pre_flight_checks(State(app): State<App>) -> Answer {
    let records = app.database.limits().batch_records_max;
    Answer::json(format!(
        "{{\"max_batch_size\":{records},\"supports_base64_encoding\":true}}"
    ))
}

/// Where the Unix socket is, for callers on this machine.
pub(crate) async fn local_socket(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
) -> Answer {
    Answer::json(app.advert.to_json(peer.is_near()))
}

pub(crate) async fn identity(identity: Option<Extension<Identity>>) -> Answer {
    let Some(Extension(identity)) = identity.filter(|who| !who.name.is_empty()) else {
        return Answer::value(&json!({
            "user_id": "",
            "tenant": DEFAULT_TENANT,
            "databases": [DEFAULT_DATABASE],
        }));
    };
    let everything = || vec!["*".to_owned()];
    let databases = identity.scope.databases;
    Answer::value(&json!({
        "user_id": identity.name,
        "tenant": identity.scope.tenant.unwrap_or_else(|| "*".to_owned()),
        "databases": if databases.is_empty() { everything() } else { databases },
    }))
}

pub(crate) async fn reset(State(app): State<App>) -> Reply {
    if !app.config.allow_reset {
        return Err(ApiError::new(403, "Reset is disabled by config").into());
    }
    app.write(|database| Ok(database.reset()?)).await?;
    tracing::info!("everything was deleted by request");
    Ok(Answer::json("true"))
}

/// Answers every route of the first version of the API.
pub(crate) async fn version_one() -> Failure {
    Failure(ApiError::new(
        410,
        "The v1 API is deprecated. Please use /v2 apis",
    ))
}

/// Whether the process runs at all.
pub(crate) async fn healthz() -> Answer {
    Answer::json("{\"status\":\"ok\"}")
}

/// Whether requests will be answered, and if not, why not.
pub(crate) async fn readyz(State(app): State<App>) -> Answer {
    let health = app.database.health();
    let taken = takes_requests(&app.database);
    let ready = health.readable && health.writable && taken;
    let reason = health.reason.or_else(|| {
        let paused = "requests are not taken: the component `api` is paused";
        (!taken).then(|| paused.to_owned())
    });
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "ready": ready,
        "readable": health.readable,
        "writable": health.writable,
        "reason": reason,
    });
    Answer::with_status(status, body.to_string())
}

/// The page that Prometheus reads.
pub(crate) async fn metrics_page(State(app): State<App>) -> Result<Response, Failure> {
    let (reads, writes) = app.waiting();
    let shared = app.clone();
    let write = move |database: &Database| {
        let statistics = database.statistics();
        let resident = metrics::resident_bytes();
        let mut page = shared
            .metrics
            .page(&statistics, database.mapped_memory(), resident);
        metrics::write_components(&mut page, &database.components());
        metrics::write_jobs(&mut page, &database.jobs().counts());
        metrics::write_turns(&mut page, reads, writes);
        metrics::write_recalls(&mut page, &database.measured_recalls(metrics::RECALLS_TOLD));
        Ok(page)
    };
    let page = app.read(write).await?;
    let headers = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((headers, page).into_response())
}
