//! An OpenTelemetry collector that remembers what it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{MetricsService, MetricsServiceServer};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::oneshot;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

use crate::authority::Authority;
use crate::ports;

/// Everything that was sent, by signal.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub traces: Vec<ExportTraceServiceRequest>,
    pub metrics: Vec<ExportMetricsServiceRequest>,
    pub logs: Vec<ExportLogsServiceRequest>,
}

impl Received {
    /// Every span, with the `service.name` that sent it.
    #[must_use]
    pub fn spans(&self) -> Vec<(String, Span)> {
        let resources = self.traces.iter().flat_map(|request| &request.resource_spans);
        let spans = resources.flat_map(|of| {
            let service = attribute(of.resource.as_ref().map_or(&[], |r| &r.attributes[..]), "service.name");
            of.scope_spans.iter().flat_map(|scope| &scope.spans).map(move |span| (service.clone(), span.clone()))
        });
        spans.collect()
    }

    #[must_use]
    pub fn resources(&self) -> Vec<Resource> {
        let of_traces = self.traces.iter().flat_map(|r| &r.resource_spans).map(|r| r.resource.clone());
        let of_metrics = self.metrics.iter().flat_map(|r| &r.resource_metrics).map(|r| r.resource.clone());
        let of_logs = self.logs.iter().flat_map(|r| &r.resource_logs).map(|r| r.resource.clone());
        of_traces.chain(of_metrics).chain(of_logs).flatten().collect()
    }

    /// Names of the metrics that service has sent.
    #[must_use]
    pub fn metric_names(&self, service: &str) -> Vec<String> {
        let of_service =
            |resource: &Option<Resource>| resource.as_ref().is_some_and(|r| attribute(&r.attributes, "service.name") == service);
        let resources = self.metrics.iter().flat_map(|r| &r.resource_metrics).filter(|r| of_service(&r.resource));
        resources.flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics).map(|m| m.name.clone()).collect()
    }

    /// Bodies of all log records.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let resources = self.logs.iter().flat_map(|r| &r.resource_logs);
        resources.flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records).map(|record| text(record.body.as_ref())).collect()
    }
}

/// The attribute's text; empty when there is none.
#[must_use]
pub fn attribute(attributes: &[KeyValue], key: &str) -> String {
    text(attributes.iter().find(|a| a.key == key).and_then(|a| a.value.as_ref()))
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|v| v.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

type Shared = Arc<Mutex<Received>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Received> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs on a thread of its own; gone when dropped.
#[derive(Debug)]
pub struct Collector {
    pub addr: SocketAddr,
    url: String,
    received: Shared,
    _stop: oneshot::Sender<()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Collector {
    /// # Errors
    /// When its port cannot be bound.
    pub fn start() -> Result<Self> {
        Self::at(ports::free()?)
    }

    /// At a given address: where one was before.
    /// # Errors
    /// When it cannot be bound.
    pub fn at(addr: SocketAddr) -> Result<Self> {
        Self::serve(addr, format!("http://{addr}"), Server::builder())
    }

    /// By TLS, with a certificate of `authority`, and for those alone who have one of it, too.
    /// # Errors
    /// When its port cannot be bound, or openssl refuses.
    pub fn with_tls(authority: &Authority) -> Result<Self> {
        let (addr, own) = (ports::free()?, authority.issue("collector")?);
        let identity = Identity::from_pem(std::fs::read(own.cert)?, std::fs::read(own.key)?);
        let tls = ServerTlsConfig::new().identity(identity).client_ca_root(Certificate::from_pem(std::fs::read(authority.ca())?));
        Self::serve(addr, format!("https://localhost:{}", addr.port()), Server::builder().tls_config(tls)?)
    }

    fn serve(addr: SocketAddr, url: String, mut server: Server) -> Result<Self> {
        let received = Shared::default();
        let inbox = Inbox(received.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let incoming = {
            let _entered = runtime.enter();
            TcpIncoming::bind(addr).map_err(|error| anyhow::anyhow!("{error}")).context("the collector's port")?
        };
        let server = server
            .add_service(TraceServiceServer::new(inbox.clone()))
            .add_service(MetricsServiceServer::new(inbox.clone()))
            .add_service(LogsServiceServer::new(inbox))
            .serve_with_incoming(incoming);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = server => drop(served),
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { addr, url, received, _stop: stop, thread: Some(thread) })
    }

    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    #[must_use]
    pub fn received(&self) -> Received {
        lock(&self.received).clone()
    }

    /// Ends it and frees its port.
    pub fn stop(mut self) {
        let thread = self.thread.take();
        drop(self);
        drop(thread.map(std::thread::JoinHandle::join));
    }
}

#[derive(Clone, Debug)]
struct Inbox(Shared);

#[tonic::async_trait]
impl TraceService for Inbox {
    async fn export(&self, request: Request<ExportTraceServiceRequest>) -> Result<Response<ExportTraceServiceResponse>, Status> {
        lock(&self.0).traces.push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Inbox {
    async fn export(&self, request: Request<ExportMetricsServiceRequest>) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        lock(&self.0).metrics.push(request.into_inner());
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Inbox {
    async fn export(&self, request: Request<ExportLogsServiceRequest>) -> Result<Response<ExportLogsServiceResponse>, Status> {
        lock(&self.0).logs.push(request.into_inner());
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}
