//! What the server itself must be told; the engine has its own configuration.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The certificate and the private key of a server, each a PEM file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and after it those that lead to one that clients trust.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Everything [`crate::Server::bind`] needs besides the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The address to listen on: a name or an IP address.
    pub host: String,
    /// The port to listen on; 0 takes any free one.
    pub port: u16,
    /// The Unix socket to listen on besides.
    pub socket: Option<PathBuf>,
    /// Whether clients may delete everything with one request.
    pub allow_reset: bool,
    /// The file of API keys; with it or [`Self::admin_key`] every request must bring one.
    pub access_file: Option<PathBuf>,
    /// The key of an administrator that is in no file.
    pub admin_key: Option<Secret>,
    /// Where changes and refusals are noted, a line of JSON each.
    pub audit_file: Option<PathBuf>,
    /// With it, connections are encrypted.
    pub tls: Option<TlsFiles>,
    /// Requests a second that each tenant may send.
    pub tenant_requests_max: Option<NonZeroUsize>,
    /// Whether webhooks of curation reach public addresses only.
    pub webhook_public_only: bool,
    /// The largest request body.
    pub body_bytes_max: usize,
    /// Bytes in memory that an answer of records may take; all together may take twice as much.
    pub answer_bytes_max: u64,
    /// How long a read of records may take.
    pub read_timeout: Duration,
    /// Origins whose web pages may send requests; `*` means any. Empty sends no CORS headers.
    pub cors_allow_origins: Vec<String>,
    /// Connections at a time; more wait to be accepted.
    pub connections_max: usize,
    /// How long a client may take to send the head of a request, or stay idle between two.
    pub header_timeout: Duration,
    /// How long a client may take between two parts of a body.
    pub body_timeout: Duration,
    /// How long running requests may take to finish once the server is to stop.
    pub shutdown_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8000,
            socket: None,
            allow_reset: false,
            access_file: None,
            admin_key: None,
            audit_file: None,
            tls: None,
            tenant_requests_max: None,
            webhook_public_only: false,
            body_bytes_max: 40 << 20,
            answer_bytes_max: 1 << 30,
            read_timeout: Duration::from_mins(10),
            cors_allow_origins: Vec::new(),
            connections_max: 4096,
            header_timeout: Duration::from_mins(1),
            body_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}
