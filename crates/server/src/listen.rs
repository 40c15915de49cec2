//! Listening, connections, and an end that loses nothing.
//!
//! What must stay true: a client that is slow to send its request holds one connection for a
//! limited time; one that has closed its side behind a request is answered; once the server is to stop, nothing new is accepted, idle connections close at
//! once, running requests are finished within a limit, and then the database is closed.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::{Extension, Router};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tower_layer::Layer;
use vermilion_engine::Database;

use crate::access::keys::KeysError;
use crate::app::{self, App};
use crate::config::ServerConfig;
use crate::half_closed::{Answer, Exchange, HalfClosed, PATIENCE};
use crate::local::{LocalListener, LocalStream, Passed};
use crate::refused_heads::{HEAD_BYTES_MAX, RefusedHeads};
use crate::tls::Tls;

/// How long accepting waits after it failed for want of a resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes of a connection that are read ahead at most; a head must fit.
const READ_BUFFER_BYTES: usize = HEAD_BYTES_MAX;

/// Why the server cannot start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        reason: String,
    },
    /// An origin that web pages may come from is none.
    #[error("`{0}` in cors_allow_origins is no origin, such as https://example.org")]
    Origin(String),
    /// The API keys cannot be used.
    #[error("{0}")]
    Keys(#[from] KeysError),
    /// The audit log cannot be written.
    #[error("the audit log {path} cannot be written: {reason}")]
    Audit {
        /// Where it was to be.
        path: std::path::PathBuf,
        /// Why not.
        reason: String,
    },
    /// The certificate or its key cannot be used.
    #[error("{0}")]
    Tls(String),
    /// A thread could not be started.
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// The database did not close well.
    #[error("the database did not close: {0}")]
    Close(#[from] vermilion_engine::Error),
}

/// A server that listens but does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    local: Option<LocalListener>,
    router: Router,
    tls: Option<Arc<Tls>>,
    app: App,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// An address.
    Address(SocketAddr),
    /// The Unix socket.
    Local,
}

impl Peer {
    /// Whether it is on the server's own machine.
    pub(crate) fn is_near(&self) -> bool {
        match self {
            Self::Address(address) => address.ip().to_canonical().is_loopback(),
            Self::Local => true,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Local => f.write_str("local socket"),
        }
    }
}

impl Server {
    /// Listens where `config` says, for requests about `database`.
    pub async fn bind(config: ServerConfig, database: Arc<Database>) -> Result<Self, ServerError> {
        let cors = app::cors(&config.cors_allow_origins).map_err(ServerError::Origin)?;
        let tls = config.tls.clone().map(Tls::open).transpose()?.map(Arc::new);
        let host = config.host.trim_start_matches('[').trim_end_matches(']');
        let failed = |error: &std::io::Error| ServerError::Listen {
            address: format!("{}:{}", config.host, config.port),
            reason: match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "another process listens there; choose another port".to_owned()
                }
                std::io::ErrorKind::PermissionDenied => {
                    "it is not allowed; ports below 1024 need rights of their own".to_owned()
                }
                _ => error.to_string(),
            },
        };
        let listener = TcpListener::bind((host, config.port)).await;
        let listener = listener.map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        let local = config.socket.as_deref().and_then(listen_locally);
        let app = App::new(config, database, local.as_ref().map(LocalListener::path))?;
        let router = app::router(&app, cors);
        Ok(Self {
            listener,
            address,
            local,
            router,
            tls,
            app,
        })
    }

    /// Where the server listens; with port 0 in the configuration, the port that was free.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `shutdown` is ready, then ends as the head of this file says.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServerError> {
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        tokio::select! {
            () = shutdown => {}
            () = self.accept(&mut connections, &stopping) => {}
            () = self.watch_files() => {}
        }
        let Self {
            listener,
            local,
            app,
            ..
        } = self;
        drop((listener, local));
        tracing::info!(connections = connections.len(), "stopping");
        stop.send_replace(true);
        // A request that waits for indexing would hold up the stop for as long as it waits.
        app.database.end_waits();
        let finished = async { while connections.join_next().await.is_some() {} };
        let limit = app.config.shutdown_timeout;
        if tokio::time::timeout(limit, finished).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                "some requests did not end in time and are cut off"
            );
            connections.abort_all();
        }
        let database = app.database.clone();
        let curation = app.curation.clone();
        let closed = tokio::task::spawn_blocking(move || {
            curation.close();
            database.close()
        })
        .await;
        closed.unwrap_or_else(|error| {
            Err(vermilion_engine::Error::internal(format!(
                "closing failed: {error}"
            )))
        })?;
        Ok(())
    }

    /// Reads keys and certificates again when their files change, for ever.
    async fn watch_files(&self) {
        let keys = async {
            match self.app.keyring.clone() {
                Some(ring) => ring.watch().await,
                None => std::future::pending().await,
            }
        };
        let certificate = async {
            match self.tls.clone() {
                Some(tls) => tls.watch().await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(keys, certificate);
    }

    /// The next connection of the port or of the local socket.
    async fn next(&self) -> io::Result<Accepted> {
        let local = async {
            match &self.local {
                Some(local) => local.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.listener.accept() => {
                accepted.map(|(stream, address)| Accepted::Remote(stream, address))
            }
            accepted = local => accepted.map(Accepted::Local),
        }
    }

    /// Accepts connections for ever.
    async fn accept(&self, connections: &mut JoinSet<()>, stopping: &watch::Receiver<bool>) {
        let room = Arc::new(Semaphore::new(self.app.config.connections_max));
        loop {
            while connections.try_join_next().is_some() {}
            let permit = room.clone().acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            match self.next().await {
                Ok(stream) => {
                    let connection = Connection {
                        app: self.app.clone(),
                        router: self.router.clone(),
                        tls: self.tls.clone(),
                        stopping: stopping.clone(),
                        _permit: permit,
                    };
                    connections.spawn(connection.serve(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A connection that was accepted.
enum Accepted {
    Remote(TcpStream, SocketAddr),
    Local(UnixStream),
}

/// Listens at `path`, or says why not: everything is served at the port too.
fn listen_locally(path: &Path) -> Option<LocalListener> {
    match LocalListener::bind(path) {
        Ok(listener) => Some(listener),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "there will be no local socket; the port serves everything");
            None
        }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// One connection and what it needs.
struct Connection {
    app: App,
    router: Router,
    tls: Option<Arc<Tls>>,
    stopping: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Answers the requests of this connection until either side ends it.
    async fn serve(self, stream: Accepted) {
        let app = self.app.clone();
        app.metrics.connections.fetch_add(1, Ordering::Relaxed);
        match stream {
            Accepted::Remote(stream, address) => self.serve_remote(stream, address).await,
            Accepted::Local(stream) => {
                let passed = Passed::default();
                let stream = LocalStream::new(stream, passed.clone());
                self.answer(stream, Peer::Local, passed).await;
            }
        }
        app.metrics.connections.fetch_sub(1, Ordering::Relaxed);
    }

    async fn serve_remote(self, stream: TcpStream, address: SocketAddr) {
        let (peer, none) = (Peer::Address(address), Passed::default());
        // Answers are written whole, so waiting to fill packets would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        match self.tls.clone() {
            None => self.answer(stream, peer, none).await,
            Some(tls) => {
                let limit = self.app.config.header_timeout;
                match tokio::time::timeout(limit, tls.accept(stream)).await {
                    Ok(Ok(stream)) => self.answer(stream, peer, none).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a connection was not encrypted"),
                    Err(_) => tracing::debug!("a connection was not encrypted in time"),
                }
            }
        }
    }

    /// Answers the requests that come through `stream` from `peer`, which hands over memory in `passed`.
    async fn answer(
        mut self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: Peer,
        passed: Passed,
    ) {
        let router = Extension(peer).layer(Extension(passed).layer(self.router.clone()));
        let router = TowerToHyperService::new(router);
        let exchange = Exchange::default();
        let stream = HalfClosed::new(stream, exchange.clone(), PATIENCE);
        let mut stream = RefusedHeads::new(stream);
        let service = service_fn(move |request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            let announced = body.size_hint().upper();
            let (body, answering) = exchange.begin(body);
            let answer = router.call(Request::from_parts(head, body));
            let exchange = exchange.clone();
            async move {
                let mut answer = answer.await?;
                if exchange.is_unread() && ends_connection(answer.status(), announced) {
                    let close = HeaderValue::from_static("close");
                    answer.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, Infallible>(answer.map(|body| Answer::new(body, answering)))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.app.config.header_timeout)
            .max_buf_size(READ_BUFFER_BYTES)
            .serve_connection(TokioIo::new(&mut stream), service);
        let stop = async {
            // An error means that the server is gone, which is as good a reason to stop.
            let _ = self.stopping.wait_for(|stopping| *stopping).await;
        };
        let ended = {
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        };
        if let Err(error) = &ended {
            tracing::debug!(%error, "a connection ended early");
        }
        stream.end(&ended).await;
    }
}

/// Whether an answer to a request that has `announced` bytes, and of which a part was not read, is the
/// last of its connection: the rest of the request, which nobody wants, would stand before the next.
/// Of a short request that was not refused the rest is there, and is passed over.
fn ends_connection(status: StatusCode, announced: Option<u64>) -> bool {
    let is_long = announced.is_none_or(|bytes| bytes > READ_BUFFER_BYTES as u64);
    status.is_client_error() || status.is_server_error() || is_long
}

/// Listens, says where through `bound`, and answers until `shutdown` is ready.
pub async fn serve(
    config: ServerConfig,
    database: Arc<Database>,
    bound: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServerError> {
    let server = Server::bind(config, database).await?;
    bound(server.address());
    server.run(shutdown).await
}
