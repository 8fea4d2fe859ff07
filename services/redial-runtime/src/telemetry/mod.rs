//! Logs by `tracing`, metrics by OpenTelemetry with a Prometheus reader, and, where a collector is named, all of it and traces by OTLP.
//!
//! Without an endpoint nothing of OTLP is made: no thread, no queue, no span. With one, exporters live on threads of their own behind
//! bounded queues, so a collector that is slow or away costs what it would have got and nothing else.

mod collector;
mod logs;
mod metrics;
mod otlp;
mod process;
mod spans;

use opentelemetry_sdk::metrics::SdkMeterProvider;

pub use logs::LogFormat;
pub use metrics::{Metrics, MetricsError};
pub use spans::Spans;

use crate::settings::Problem;
use otlp::{Address, Otlp};

/// The settings of every binary that logs.
#[derive(Clone, Debug, clap::Args)]
pub struct TelemetrySettings {
    /// What is logged: a level, or `target=level` pairs separated by commas
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = logs::filter)]
    pub log: String,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// OpenTelemetry collector that gets traces, metrics and logs by OTLP over gRPC, as http://HOST:4317 or https://... [default: what OTEL_EXPORTER_OTLP_ENDPOINT says, else none]
    #[arg(long, value_name = "URL", value_parser = otlp::endpoint)]
    pub otlp_endpoint: Option<String>,
}

/// Who exports: the resource attributes `service.name`, `service.version` and `service.instance.id`.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    pub name: &'static str,
    pub version: &'static str,
    pub instance: &'a str,
}

/// Starts logging and, where a collector is named, exporting. Only the first call in a process decides about logs, so tests may call it
/// freely.
///
/// # Errors
/// What is wrong with the settings: one entry per key.
pub fn start(settings: &TelemetrySettings, service: Service<'_>) -> Result<Metrics, Problem> {
    let endpoint = match &settings.otlp_endpoint {
        Some(endpoint) => Some(endpoint.clone()),
        None => otlp::endpoint_of_environment().map_err(|wrong| Problem::new("OTEL_EXPORTER_OTLP_ENDPOINT", wrong))?,
    };
    let failed = |error: MetricsError| Problem::new("otlp-endpoint", error.to_string());
    let Some(endpoint) = endpoint else {
        logs::start(settings, None);
        let metrics = Metrics::new().map_err(failed)?;
        process::register(&metrics.meter("process"), service.version);
        return Ok(metrics);
    };
    let address = Address::new(endpoint)?;
    let otlp = Otlp::start(&address, service).map_err(|error| Problem::new("otlp-endpoint", error.to_string()))?;
    logs::start(settings, Some(&otlp));
    let reader = |builder: opentelemetry_sdk::metrics::MeterProviderBuilder| otlp.add_metrics(builder);
    let metrics = Metrics::with(reader, Some(&otlp)).map_err(failed)?;
    process::register(&metrics.meter("process"), service.version);
    otlp.register(&metrics.meter("telemetry"));
    tracing::info!(endpoint = address.url(), "exporting by OTLP");
    Ok(metrics)
}

/// A provider that is nobody's yet.
type Builder = opentelemetry_sdk::metrics::MeterProviderBuilder;

fn builder() -> Builder {
    SdkMeterProvider::builder()
}
