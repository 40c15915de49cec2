//! Serves a folder, or a database in memory, and lets clients reset it: for conformance suites.
//!
//! `cargo run -p vermilion-server --example serve -- PORT [FOLDER]`

use std::sync::Arc;

use vermilion_engine::{Config, Database};
use vermilion_server::{ServerConfig, serve};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().ok_or("a port is needed")?.parse()?;
    let engine = match arguments.next() {
        Some(folder) => Config::at(folder)?,
        None => Config::in_memory(),
    };
    let database = Arc::new(Database::open(engine)?);
    let config = ServerConfig {
        port,
        allow_reset: true,
        ..ServerConfig::default()
    };
    let interrupted = async {
        // Without a way to hear of an interruption there is nothing to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    serve(config, database, |_| {}, interrupted).await?;
    Ok(())
}
