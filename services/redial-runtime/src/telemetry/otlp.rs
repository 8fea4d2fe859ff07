//! The exporters of all three signals, on threads of their own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig, Identity};
use opentelemetry_otlp::{ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{self, BatchLogProcessor, LogBatch, LogProcessor, SdkLogRecord, SdkLoggerProvider};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{self, BatchSpanProcessor, SpanData, SpanProcessor as _};
use opentelemetry_semantic_conventions::resource::{SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_VERSION};
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::collector::{Collector, QUEUE, Signal, register};
use super::spans::Queue;
use super::{Builder, Service, Spans};
use crate::pem;
use crate::settings::Problem;

/// Items of one export.
const BATCH: usize = 512;

/// A collector that takes longer for one export is away.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the URL of a collector.
pub(super) fn endpoint(text: &str) -> Result<String, String> {
    let host = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme)).ok_or("must start with http:// or https://")?;
    if host.trim_end_matches('/').is_empty() { Err("names no host".to_owned()) } else { Ok(text.to_owned()) }
}

/// What OpenTelemetry's own variables say; `OTEL_SDK_DISABLED=true` turns them off.
pub(super) fn endpoint_of_environment() -> Result<Option<String>, String> {
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(|url| endpoint(&url)).transpose()
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

const CA: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
const KEY: &str = "OTEL_EXPORTER_OTLP_CLIENT_KEY";

/// Where to export to.
#[derive(Debug)]
pub(super) struct Address {
    url: String,
    /// For `https`.
    tls: Option<ClientTlsConfig>,
}

impl Address {
    /// Whom to trust and who we are, as OpenTelemetry's variables name the files: the public authorities and nobody where they do not.
    pub(super) fn new(url: String) -> Result<Self, Problem> {
        if !url.starts_with("https://") {
            return Ok(Self { url, tls: None });
        }
        let file = |name| variable(name).map(PathBuf::from);
        let wrong = |name: &'static str| move |wrong| Problem::new(name, wrong);
        let mut tls = match file(CA) {
            Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem::certificates(&path).map_err(wrong(CA))?.bytes)),
            None => ClientTlsConfig::new().with_webpki_roots(),
        };
        tls = match (file(CERTIFICATE), file(KEY)) {
            (None, None) => tls,
            (Some(cert), Some(key)) => {
                let (cert, key) = (pem::certificates(&cert).map_err(wrong(CERTIFICATE))?, pem::key(&key).map_err(wrong(KEY))?);
                tls.identity(Identity::from_pem(cert.bytes, key.bytes))
            }
            (Some(_), None) => return Err(Problem::new(CERTIFICATE, format!("is given without {KEY}"))),
            (None, Some(_)) => return Err(Problem::new(KEY, format!("is given without {CERTIFICATE}"))),
        };
        Ok(Self { url, tls: Some(tls) })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Set here and not left to the environment, which might name another one per signal: one collector, one log line about it.
    fn given_to<B: WithExportConfig + WithTonicConfig>(&self, builder: B) -> B {
        let builder = builder.with_endpoint(&self.url).with_timeout(TIMEOUT);
        match &self.tls {
            Some(tls) => builder.with_tls_config(tls.clone()),
            None => builder,
        }
    }
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub(super) enum OtlpError {
    #[error("no thread for exporting: {0}")]
    Thread(#[from] std::io::Error),
    #[error("no exporter: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Everything that exports. Cloning shares it.
#[derive(Clone)]
pub(super) struct Otlp {
    resource: Resource,
    collector: Arc<Collector>,
    metrics: Exporting<Arc<MetricExporter>>,
    spans: Arc<Queue>,
    logs: SdkLoggerProvider,
    records: Arc<Signal>,
    /// The connections' thread lives as long as anything that exports.
    _thread: Arc<DropGuard>,
}

impl Otlp {
    pub(super) fn start(address: &Address, service: Service<'_>) -> Result<Self, OtlpError> {
        let resource = resource(service);
        let collector = Collector::new(address.url());
        let signal = |name| Signal::new(name, &collector);
        let (metrics, spans, records) = (signal("metrics"), signal("traces"), signal("logs"));
        let (runtime, thread) = carrier()?;
        let entered = runtime.enter();
        let exporter = address.given_to(MetricExporter::builder().with_tonic()).build()?;
        let metrics = Exporting { exporter: Arc::new(exporter), signal: metrics };
        let exporter = address.given_to(SpanExporter::builder().with_tonic()).build()?;
        let config = trace::BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_max_export_batch_size(BATCH).build();
        let exporter = Exporting { exporter, signal: spans.clone() };
        let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        processor.set_resource(&resource);
        let spans = Arc::new(Queue { processor, signal: spans });
        let exporter = address.given_to(LogExporter::builder().with_tonic()).build()?;
        let config = logs::BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_max_export_batch_size(BATCH).build();
        let exporter = Exporting { exporter, signal: records.clone() };
        let inner = BatchLogProcessor::builder(exporter).with_batch_config(config).build();
        let processor = Counting { inner, signal: records.clone() };
        let logs = SdkLoggerProvider::builder().with_resource(resource.clone()).with_log_processor(processor).build();
        drop(entered);
        Ok(Self { resource, collector, metrics, spans, logs, records, _thread: Arc::new(thread) })
    }

    pub(super) fn logs(&self) -> &SdkLoggerProvider {
        &self.logs
    }

    pub(super) fn spans(&self) -> Spans {
        Spans::to(self.spans.clone())
    }

    /// Every minute, or as `OTEL_METRIC_EXPORT_INTERVAL` says.
    pub(super) fn add_metrics(&self, builder: Builder) -> Builder {
        builder.with_reader(PeriodicReader::builder(self.metrics.clone()).build()).with_resource(self.resource.clone())
    }

    pub(super) fn register(&self, meter: &opentelemetry::metrics::Meter) {
        register(meter, &self.collector, [self.metrics.signal.clone(), self.spans.signal.clone(), self.records.clone()]);
    }

    /// Exports what waits. An error is a collector that is away, and that has been said.
    pub(super) fn end(&self, timeout: Duration) {
        let _ = self.spans.processor.shutdown_with_timeout(timeout);
        let _ = self.logs.shutdown_with_timeout(timeout);
    }
}

/// The thread that carries what the SDK's threads ask to be exported. It is none of the process's own, so that exports neither wait for SIP nor
/// end with it.
fn carrier() -> Result<(Handle, DropGuard), OtlpError> {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let (built, handle) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new().name("telemetry".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let _ = built.send(runtime.as_ref().map(|runtime| runtime.handle().clone()).map_err(|error| io::Error::other(error.to_string())));
        if let Ok(runtime) = runtime {
            runtime.block_on(stopped.cancelled_owned());
        }
    })?;
    let handle = handle.recv().unwrap_or_else(|_| Err(io::Error::other("it ended at once")))?;
    Ok((handle, stop.drop_guard()))
}

/// What `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` say has the last word.
fn resource(service: Service<'_>) -> Resource {
    let own = [
        KeyValue::new(SERVICE_NAMESPACE, "redial"),
        KeyValue::new(SERVICE_NAME, service.name),
        KeyValue::new(SERVICE_VERSION, service.version),
        KeyValue::new(SERVICE_INSTANCE_ID, service.instance.to_owned()),
    ];
    let named = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    Resource::builder_empty()
        .with_attributes(own)
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes(named.map(|name| KeyValue::new(SERVICE_NAME, name)))
        .build()
}

/// An exporter whose results go into the books.
#[derive(Clone)]
struct Exporting<E> {
    exporter: E,
    signal: Arc<Signal>,
}

impl<E> fmt::Debug for Exporting<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporting").field("signal", &self.signal).finish_non_exhaustive()
    }
}

impl trace::SpanExporter for Exporting<SpanExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let items = batch.len();
        self.signal.left(items);
        let result = self.exporter.export(batch).await;
        self.signal.exported(items, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl logs::LogExporter for Exporting<LogExporter> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let items = batch.iter().count();
        self.signal.left(items);
        let result = self.exporter.export(batch).await;
        self.signal.exported(items, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl PushMetricExporter for Exporting<Arc<MetricExporter>> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        self.signal.exported(1, &result);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}

/// A batch processor that says what it does not take.
#[derive(Debug)]
struct Counting {
    inner: BatchLogProcessor,
    signal: Arc<Signal>,
}

impl LogProcessor for Counting {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.signal.takes_one() {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_http_url() {
        assert_eq!(endpoint("http://collector:4317"), Ok("http://collector:4317".to_owned()));
        assert_eq!(endpoint("https://collector:4317"), Ok("https://collector:4317".to_owned()));
        assert!(endpoint("http:///").is_err());
        assert!(endpoint("https://").is_err());
        assert!(endpoint("collector:4317").is_err());
    }
}
