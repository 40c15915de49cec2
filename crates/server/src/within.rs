//! The server without a port: a program that has a database open asks it in its own process.
//!
//! What must stay true: requests go through the router that a port serves, so that both say the same; whoever
//! can ask has the database itself, so there are no keys. It is closed before its database is.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use vermilion_engine::Database;

use crate::app::{App, router};
use crate::config::ServerConfig;
use crate::listen::{Peer, ServerError};
use crate::local::Passed;

/// Threads that requests run on; whoever asks waits for one of them.
const THREADS: usize = 2;
/// How long what was given up may take to end.
const END_WITHIN: Duration = Duration::from_secs(1);

/// Answers requests about a database of this process. All methods can be called from any thread.
pub struct InProcess {
    app: App,
    router: Router,
    runtime: Mutex<Option<Arc<Runtime>>>,
}

/// An answer whose body comes piece by piece.
#[derive(Debug)]
pub struct Answered {
    /// Its status.
    pub status: u16,
    /// The media type of its body, empty where it has none.
    pub kind: String,
    body: Body,
    runtime: Arc<Runtime>,
}

impl InProcess {
    /// Begins to answer requests about `database`.
    pub fn open(config: ServerConfig, database: Arc<Database>) -> Result<Self, ServerError> {
        let app = App::new(config, database, None)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("vermilion-within")
            .enable_all()
            .build()
            .map_err(ServerError::Thread)?;
        Ok(Self {
            router: router(&app, None),
            app,
            runtime: Mutex::new(Some(Arc::new(runtime))),
        })
    }

    /// Answers a request: its method, its path with the query string, the media type of its body, and that.
    ///
    /// # Errors
    /// What is no request, or one after [`Self::close`].
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        form: Option<&str>,
        body: Vec<u8>,
    ) -> io::Result<Answered> {
        let closed = || io::Error::other("the database was closed");
        let runtime = self.runtime.lock().clone().ok_or_else(closed)?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .extension(Peer::Local)
            .extension(Passed::default());
        if let Some(form) = form {
            request = request.header(CONTENT_TYPE, form);
        }
        let request = request.body(Body::from(body)).map_err(io::Error::other)?;
        let service = TowerToHyperService::new(self.router.clone());
        let answer = runtime.spawn(async move { service.call(request).await });
        let answer = runtime.block_on(answer).map_err(io::Error::other)?;
        let response = answer.unwrap_or_else(|never| match never {});
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()?.split(';').next());
        Ok(Answered {
            status: response.status().as_u16(),
            kind: kind.unwrap_or_default().to_owned(),
            body: response.into_body(),
            runtime,
        })
    }

    /// Ends what it does by itself, and takes no more requests. Idempotent.
    pub fn close(&self) {
        self.app.curation.close();
        let runtime = self.runtime.lock().take();
        if let Some(runtime) = runtime.and_then(Arc::into_inner) {
            runtime.shutdown_timeout(END_WITHIN);
        }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

impl Answered {
    /// The next piece of the body; nothing at its end.
    ///
    /// # Errors
    /// The answer broke off: what came before is not the whole.
    pub fn piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let Some(frame) = self.runtime.block_on(self.body.frame()) else {
                return Ok(None);
            };
            if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
                return Ok(Some(data));
            }
        }
    }
}
