//! The HTTP server of Vermilion: the Chroma v2 API over an open database, metrics and pages.
//!
//! What must stay true: tokio goes no deeper than this, and [`blocking`] is the only bridge to the engine, which
//! is synchronous; every error is a JSON body with the statuses and words of the protocol crate;
//! a panic in a request answers 500 and harms nothing else. Start reading at [`Server`], then at
//! the table in `routes.rs`, from which the router and `/openapi.json` are both made.

pub mod access;
mod answer;
mod app;
mod blocking;
mod config;
mod extract;
mod half_closed;
mod handlers;
mod listen;
mod local;
mod media;
mod metrics;
mod observe;
mod openapi;
mod pace;
mod refused_heads;
mod routes;
pub mod settings;
mod tls;
mod within;

pub use config::{Secret, ServerConfig, TlsFiles};
pub use listen::{Server, ServerError, serve};
pub use local::usual_place as usual_socket;
pub use within::{Answered, InProcess};
