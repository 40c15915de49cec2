//! What all requests share, and the router they go through.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::http::HeaderValue;
use axum::middleware::from_fn_with_state;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};
use vermilion_curation::{Curation, Options};
use vermilion_engine::Database;
use vermilion_protocol::ApiError;

use crate::access::{Audit, Guarded, Keyring, Rates, guard};
use crate::blocking::{Blocking, Work};
use crate::config::{Secret, ServerConfig};
use crate::listen::ServerError;
use crate::local::Advert;
use crate::metrics::Metrics;
use crate::observe::{admit, answer_panic, observe};
use crate::{handlers, routes};

/// What all requests share.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

/// See [`App`].
pub(crate) struct Shared {
    /// The open database.
    pub(crate) database: Arc<Database>,
    /// What to label and retrain on next.
    pub(crate) curation: Arc<Curation>,
    /// What the server was told.
    pub(crate) config: ServerConfig,
    /// Counts and times.
    pub(crate) metrics: Metrics,
    /// The keys of those who may send requests; without them anybody may.
    pub(crate) keyring: Option<Arc<Keyring>>,
    /// Where changes and refusals are noted.
    pub(crate) audit: Option<Audit>,
    /// How much each tenant may send.
    pub(crate) rates: Option<Rates>,
    /// How clients on this machine find the Unix socket.
    pub(crate) advert: Advert,
    blocking: Blocking,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// Shares `database` under `config`; the Unix socket, if there is one, is at `socket`.
    pub(crate) fn new(
        config: ServerConfig,
        database: Arc<Database>,
        socket: Option<&Path>,
    ) -> Result<Self, ServerError> {
        let secret = config.admin_key.as_ref().map(Secret::text);
        let keyring = Keyring::open(config.access_file.clone(), secret)?;
        let audit = config.audit_file.clone().map(|path| {
            Audit::open(path.clone()).map_err(|error| ServerError::Audit {
                path,
                reason: error.to_string(),
            })
        });
        let options = Options {
            webhooks_public_only: config.webhook_public_only,
        };
        let blocking = Blocking::new(&config).map_err(ServerError::Thread)?;
        Ok(Self(Arc::new(Shared {
            curation: Curation::open(database.clone(), options)?,
            database,
            keyring: keyring.map(Arc::new),
            audit: audit.transpose()?,
            rates: config.tenant_requests_max.map(Rates::new),
            config,
            advert: Advert::new(socket),
            metrics: Metrics::default(),
            blocking,
        })))
    }

    /// Whether requests must bring API keys.
    pub(crate) fn has_keys(&self) -> bool {
        self.keyring.is_some()
    }

    /// Whether anything stands between requests and their handlers.
    fn is_guarded(&self) -> bool {
        self.keyring.is_some() || self.audit.is_some() || self.rates.is_some()
    }

    /// Reads and writes that wait for their turn.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        self.blocking.waiting()
    }

    /// Runs `work`, which only looks at the database, where it may block.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, ApiError> + Send + 'static,
    {
        let database = self.database.clone();
        self.blocking.run(Work::Read, move || work(&database)).await
    }

    /// Runs `work`, which only looks at records and waits for nothing but memory and the disk.
    pub(crate) async fn read_records<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, ApiError> + Send + 'static,
    {
        let database = self.database.clone();
        self.blocking.read_records(move || work(&database)).await
    }

    /// Runs `work`, which decodes a large body, where it may take long.
    pub(crate) async fn decode<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, ApiError> + Send + 'static,
    {
        self.blocking.run(Work::Decode, work).await
    }

    /// Runs `work`, which changes the database, where it may block.
    pub(crate) async fn write<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, ApiError> + Send + 'static,
    {
        let database = self.database.clone();
        self.blocking
            .run(Work::Write, move || work(&database))
            .await
    }
}

/// The router with everything around it. `cors_allow_origins` was checked by [`cors`] before.
pub(crate) fn router(app: &App, cors: Option<CorsLayer>) -> Router {
    let mut router = Router::new();
    for route in routes::all() {
        let mut handler = (route.handler)(route.filter());
        if app.is_guarded() {
            let guarded = Guarded {
                app: app.clone(),
                route,
            };
            handler = handler.route_layer(from_fn_with_state(guarded, guard));
        }
        router = router.route(route.path, handler);
    }
    for path in ["/api/v1", "/api/v1/{*rest}"] {
        router = router.route(path, axum::routing::any(handlers::system::version_one));
    }
    let router = router
        .fallback(handlers::unrouted::path)
        .method_not_allowed_fallback(handlers::unrouted::method)
        .layer(from_fn_with_state(app.clone(), admit))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(from_fn_with_state(app.clone(), observe))
        .with_state(app.clone());
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// What lets web pages of other origins send requests; `Err` is an origin that is none.
pub(crate) fn cors(origins: &[String]) -> Result<Option<CorsLayer>, String> {
    if origins.is_empty() {
        return Ok(None);
    }
    // `*` would stand for all headers but `Authorization`.
    let headers = AllowHeaders::mirror_request();
    let layer = CorsLayer::new().allow_methods(Any).allow_headers(headers);
    if origins.iter().any(|origin| origin == "*") {
        return Ok(Some(layer.allow_origin(Any)));
    }
    let origins = origins
        .iter()
        .map(|origin| HeaderValue::try_from(origin).map_err(|_| origin.clone()))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Some(layer.allow_origin(AllowOrigin::list(origins))))
}
