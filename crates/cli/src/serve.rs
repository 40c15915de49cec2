//! `vermilion serve` and `vermilion run`: a data folder over HTTP.
//!
//! What must stay true: one line on standard output tells where the server listens and how to
//! connect; SIGTERM and SIGINT end it after the running requests; a taken port or a locked folder
//! is one line and a non-zero exit status.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vermilion_engine::{Config, Database};
use vermilion_server::settings::Values;
use vermilion_server::{Secret, ServerConfig, serve as serve_http, usual_socket};

use crate::arguments::{Run, Serve};
use crate::configuration::{ADMIN_KEY_VARIABLE, of_run, of_serve};
use crate::console::say;
use crate::destinations;
use crate::failure::Failure;
use crate::logging;

/// Runs `vermilion serve`.
pub(crate) fn serve(arguments: &Serve) -> Result<(), Failure> {
    serve_values(&of_serve(arguments, variables())?)
}

/// Runs `vermilion run`.
pub(crate) fn run(arguments: &Run) -> Result<(), Failure> {
    serve_values(&of_run(arguments, variables())?)
}

/// Variables whose names and values are text; others cannot be settings.
fn variables() -> Vec<(String, String)> {
    let texts = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts.collect()
}

fn serve_values(values: &Values) -> Result<(), Failure> {
    let collector = values.otel_endpoint.0.as_deref();
    let _logging = logging::start(values.log_level, values.log_format, collector)?;
    let database = Arc::new(open(values)?);
    let path = values.path.display().to_string();
    let config = server_config(values);
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let ssl = if config.tls.is_some() {
        ", ssl=True"
    } else {
        ""
    };
    let keys = config.access_file.is_some() || config.admin_key.is_some();
    let headers = if keys {
        ", headers={\"X-Chroma-Token\": KEY}"
    } else {
        ""
    };
    listen(config, database, move |address| {
        say(&format!(
            "Vermilion serves {path} on {scheme}://{address} (Python: chromadb.HttpClient(host=\"{}\", \
             port={}{ssl}{headers}); Ctrl-C stops it)",
            address.ip(),
            address.port()
        ))
    })
}

fn open(values: &Values) -> Result<Database, Failure> {
    let mut config = Config::at(&values.path)?;
    config.limits = values.limits();
    config.upkeep = values.upkeep();
    config.ingest = values.ingest();
    config.scheduler_class = values.scheduler_class;
    let backups = values.backup_folder.0.as_deref();
    config.backups = backups.map(destinations::all_at).transpose()?;
    let database = Database::open(config)?;
    database.check_destinations()?;
    Ok(database)
}

/// The server's part of the settings.
fn server_config(values: &Values) -> ServerConfig {
    ServerConfig {
        host: values.host.clone(),
        port: values.port,
        socket: socket(values),
        allow_reset: values.allow_reset,
        access_file: values.access_file.0.clone(),
        admin_key: std::env::var(ADMIN_KEY_VARIABLE).ok().map(Secret::new),
        audit_file: values.audit_file.0.clone(),
        tls: values.tls(),
        tenant_requests_max: values.tenant_requests_max.0,
        webhook_public_only: values.webhook_public_only,
        body_bytes_max: values.body_bytes_max.0 as usize,
        answer_bytes_max: values.answer_bytes_max.0,
        read_timeout: values.read_timeout,
        header_timeout: values.header_timeout,
        body_timeout: values.body_timeout,
        connections_max: values.connections_max,
        cors_allow_origins: values.cors_allow_origins.0.clone(),
        ..ServerConfig::default()
    }
}

/// Where the Unix socket is to be.
fn socket(values: &Values) -> Option<PathBuf> {
    let asked = values.socket.0.as_deref()?;
    if asked == Path::new("auto") {
        return usual_socket(&values.path);
    }
    Some(values.path.join(asked))
}

/// How long reads that were left may take to end before they are ended with the process.
const LEFT_READS_MAX: Duration = Duration::from_secs(1);

/// Serves `database` until a signal; `listening` is told the address.
pub(crate) fn listen(
    config: ServerConfig,
    database: Arc<Database>,
    listening: impl FnOnce(SocketAddr) -> Result<(), Failure> + Send + 'static,
) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("vermilion-http")
        .build()
        .map_err(|error| Failure::from(error).context("cannot start the server's threads"))?;
    let served = runtime.block_on(async move {
        let signal = signals()?;
        let listening = |address| {
            // A reader that has gone away does not stop the server.
            let _ = listening(address);
        };
        Ok(serve_http(config, database, listening, signal).await?)
    });
    // A read that was left may be within one test of one document; nobody waits for it.
    runtime.shutdown_timeout(LEFT_READS_MAX);
    served
}

/// Completes at the first SIGTERM or SIGINT. The handlers stand when this returns.
fn signals() -> Result<impl Future<Output = ()>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let install = |kind| {
        signal(kind).map_err(|error| Failure::from(error).context("cannot wait for signals"))
    };
    let mut terminate = install(SignalKind::terminate())?;
    let mut interrupt = install(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
