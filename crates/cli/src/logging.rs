//! The log of the process: one line an event, to standard error.

use tracing_subscriber::EnvFilter;
use vermilion_server::settings::{LogFormat, LogLevel};

/// Starts logging. A second start in one process changes nothing.
pub(crate) fn start(level: LogLevel, format: LogFormat) {
    let filter = EnvFilter::new(level.name());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // Fails only where another subscriber is already there, which then stays.
    let _ = match format {
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
