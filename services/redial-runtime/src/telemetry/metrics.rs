//! One meter provider with a reader for `/metrics` and, where a collector is named, one that pushes the same instruments.

use std::fmt;
use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use super::otlp::Otlp;
use super::{Builder, Spans, builder};

/// How long the last telemetry of a process may take to leave it.
const FLUSH: Duration = Duration::from_secs(5);

/// The meter provider, the registry that `/metrics` prints, and where spans go. Cloning shares them.
#[derive(Clone)]
pub struct Metrics {
    provider: SdkMeterProvider,
    registry: Registry,
    otlp: Option<Otlp>,
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
    /// One provider per process (or per test), for `/metrics` alone.
    ///
    /// # Errors
    /// When the exporter cannot be registered.
    pub fn new() -> Result<Self, MetricsError> {
        Self::with(|builder| builder, None)
    }

    pub(super) fn with(more: impl FnOnce(Builder) -> Builder, otlp: Option<&Otlp>) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .without_target_info()
            .scope_info_enabled(false)
            .build()
            .map_err(|error| MetricsError(error.to_string()))?;
        Ok(Self { provider: more(builder().with_reader(exporter)).build(), registry, otlp: otlp.cloned() })
    }

    /// A meter for one part of the process. Instrument names carry their own prefix (`sip_edge.`, `redial.`).
    #[must_use]
    pub fn meter(&self, name: &'static str) -> Meter {
        self.provider.meter(name)
    }

    /// Where spans go: nowhere without a collector.
    #[must_use]
    pub fn spans(&self) -> Spans {
        self.otlp.as_ref().map(Otlp::spans).unwrap_or_default()
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

    /// Pushes out what is still held and ends every exporter; returns after 5 s at the latest.
    pub fn flush(&self) {
        let (provider, otlp) = (self.provider.clone(), self.otlp.clone());
        let (done, wait) = std::sync::mpsc::channel();
        let ending = std::thread::Builder::new().name("telemetry-end".to_owned()).spawn(move || {
            if let Some(otlp) = &otlp {
                otlp.end(FLUSH);
            }
            // An error is a collector that is away, and that has been said.
            let _ = provider.shutdown_with_timeout(FLUSH);
            let _ = done.send(());
        });
        if ending.is_err() || wait.recv_timeout(FLUSH).is_err() {
            tracing::debug!("telemetry not flushed");
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
        assert!(!metrics.spans().on(), "nothing is traced without a collector");
    }
}
