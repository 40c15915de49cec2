//! Traces of requests and jobs, sent to a collector as OpenTelemetry says it: protobuf over HTTP.
//!
//! What must stay true: whoever answers a request never waits for the collector; spans that it does
//! not take are dropped, and a line of the log says so; those that are left at the end get a few
//! seconds.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::failure::Failure;

/// What the traces are told to come from, unless `OTEL_SERVICE_NAME` says otherwise.
const SERVICE: &str = "vermilion";
/// How long a batch of spans may take to be sent, and all that are left at the end.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// What sends traces until it is dropped.
#[derive(Debug)]
pub(crate) struct Telemetry(SdkTracerProvider);

impl Telemetry {
    /// Sends to the collector at `endpoint`, such as `http://localhost:4318`.
    pub(crate) fn to(endpoint: &str) -> Result<Self, Failure> {
        let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new())
            .with_endpoint(url)
            .with_timeout(SEND_TIMEOUT)
            .build()
            .map_err(|error| Failure::usage(format!("otel_endpoint is `{endpoint}`: {error}")))?;
        let name = std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| SERVICE.to_owned());
        let resource = Resource::builder()
            .with_service_name(name)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(exporter)
            .build();
        Ok(Self(provider))
    }

    /// What hands the program's spans over, whatever is written to its log.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let own = ["vermilion_engine", "vermilion_server"];
        let own = own.map(|target| (target, tracing::Level::INFO));
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(SERVICE))
            .with_location(false)
            .with_threads(false)
            .with_filter(Targets::new().with_targets(own))
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(SEND_TIMEOUT) {
            tracing::warn!(%error, "the last traces did not reach the collector");
        }
    }
}

/// Sends with the client that the commands have, on the thread that collects spans.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(SEND_TIMEOUT))
            .build();
        Self(config.into())
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.0.run(request.map(|body| body.to_vec()))?;
        let (head, mut body) = response.into_parts();
        Ok(Response::from_parts(head, body.read_to_vec()?.into()))
    }
}
