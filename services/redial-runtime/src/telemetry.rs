//! Logs by `tracing`, metrics by OpenTelemetry with a Prometheus reader.

use std::fmt;
use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// The settings of every binary that logs.
#[derive(Clone, Debug, clap::Args)]
pub struct LogSettings {
    /// What is logged: a level, or `target=level` pairs separated by commas
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = filter)]
    pub log: String,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Sends log lines to standard error. Only the first call in a process has an effect, so tests may call it freely.
pub fn init_logs(settings: &LogSettings) {
    // What these report is reported by whoever uses them, once and not with every attempt. Who asks for more gets it.
    let quiet = format!("kube_client=off,kube_runtime=off,{}", settings.log);
    let filter = EnvFilter::try_new(quiet).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // An error means that the process logs already.
    let _ = match settings.log_format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// The meter provider and the registry that `/metrics` prints. Cloning shares both.
#[derive(Clone)]
pub struct Metrics {
    provider: SdkMeterProvider,
    registry: Registry,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The metrics exporter could not be built.
#[derive(Debug, thiserror::Error)]
#[error("metrics exporter: {0}")]
pub struct MetricsError(String);

impl Metrics {
    /// One provider per process (or per test).
    ///
    /// # Errors
    /// When the exporter cannot be registered.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| MetricsError(error.to_string()))?;
        Ok(Self { provider: SdkMeterProvider::builder().with_reader(exporter).build(), registry })
    }

    /// A meter for one part of the process. Instrument names carry their own prefix (`sip_edge.`, `redial.`).
    #[must_use]
    pub fn meter(&self, name: &'static str) -> Meter {
        self.provider.meter(name)
    }

    /// The Prometheus text format, version 0.0.4.
    ///
    /// # Errors
    /// When a metric family cannot be encoded.
    pub fn render(&self) -> Result<String, MetricsError> {
        let mut text = String::new();
        TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text).map_err(|error| MetricsError(error.to_string()))?;
        Ok(text)
    }

    /// Pushes out whatever a push exporter still holds.
    pub fn flush(&self) {
        if let Err(error) = self.provider.force_flush() {
            tracing::debug!(%error, "telemetry not flushed");
        }
        if let Err(error) = self.provider.shutdown_with_timeout(Duration::from_secs(2)) {
            tracing::debug!(%error, "telemetry not shut down");
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;

    use super::*;

    #[test]
    fn instruments_show_up_as_prometheus_text() {
        let metrics = Metrics::new().unwrap();
        let counter = metrics.meter("test").u64_counter("sip_edge.messages").with_description("messages").build();
        counter.add(3, &[KeyValue::new("method", "INVITE")]);
        let text = metrics.render().unwrap();
        assert!(text.contains("sip_edge_messages_total{method=\"INVITE\"} 3"), "{text}");
    }

    #[test]
    fn a_bad_filter_is_refused() {
        assert!(filter("info,sip_edge=debug").is_ok());
        assert!(filter("sip_edge=loud").is_err());
    }
}
