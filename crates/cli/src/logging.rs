//! The log of the process, one line an event, to standard error; and its traces, where they are
//! collected.

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};
use vermilion_server::settings::{LogFormat, LogLevel};

use crate::failure::Failure;
#[cfg(feature = "otel")]
use crate::telemetry::Telemetry;

/// What is sent until this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Logging {
    #[cfg(feature = "otel")]
    _telemetry: Option<Telemetry>,
}

/// Starts logging, and sending traces to `collector` where one is named. A second start in one process
/// changes nothing.
pub(crate) fn start(
    level: LogLevel,
    format: LogFormat,
    collector: Option<&str>,
) -> Result<Logging, Failure> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => lines.with_ansi(ansi).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let lines = lines.with_filter(EnvFilter::new(level.name()));
    let subscriber = Registry::default().with(lines);
    #[cfg(feature = "otel")]
    {
        let telemetry = collector.map(Telemetry::to).transpose()?;
        let traces = telemetry.as_ref().map(Telemetry::layer);
        // Fails only where another subscriber is already there, which then stays.
        let _ = subscriber.with(traces).try_init();
        Ok(Logging {
            _telemetry: telemetry,
        })
    }
    #[cfg(not(feature = "otel"))]
    {
        if collector.is_some() {
            return Err(
                Failure::usage("otel_endpoint is set, and this program sends no traces")
                    .hint("build it with `cargo build --release --features otel`"),
            );
        }
        let _ = subscriber.try_init();
        Ok(Logging::default())
    }
}
