//! Admin HTTP: `/live`, `/ready`, `/metrics`. It reports on the service and never stops it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;

/// Named conditions that must all hold before `/ready` says 200. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    latches: Arc<Mutex<Vec<Latch>>>,
}

/// One condition; starts unset.
#[derive(Clone, Debug)]
pub struct Latch {
    name: &'static str,
    set: Arc<AtomicBool>,
}

impl Latch {
    /// Says whether the condition holds now.
    pub fn set(&self, holds: bool) {
        if self.set.swap(holds, Ordering::Relaxed) != holds {
            tracing::info!(latch = self.name, holds, "readiness");
        }
    }

    /// Whether the condition holds.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }
}

impl Readiness {
    /// A new condition that must hold. The same name gives the same latch.
    #[must_use]
    pub fn latch(&self, name: &'static str) -> Latch {
        let mut latches = self.latches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(latch) = latches.iter().find(|latch| latch.name == name) {
            return latch.clone();
        }
        let latch = Latch { name, set: Arc::default() };
        latches.push(latch.clone());
        latch
    }

    /// Names of the conditions that do not hold; empty means ready.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let latches = self.latches.lock().unwrap_or_else(PoisonError::into_inner);
        latches.iter().filter(|latch| !latch.is_set()).map(|latch| latch.name).collect()
    }
}

/// A bound admin listener that does not answer yet.
pub struct Admin {
    listener: std::net::TcpListener,
    addr: SocketAddr,
    router: Router,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Admin {
    /// Binds now, so that a port in use fails the start and port 0 is known before anything runs.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(addr: SocketAddr, readiness: Readiness, metrics: Metrics) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        Ok(Self { listener, addr, router: router(readiness, metrics) })
    }

    /// The address that was really bound.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers until `stop`. A failure is logged and ends only the admin.
    pub async fn serve(self, stop: CancellationToken) {
        let served = async {
            let listener = TcpListener::from_std(self.listener)?;
            axum::serve(listener, self.router).with_graceful_shutdown(stop.cancelled_owned()).await
        };
        if let Err(error) = served.await {
            tracing::error!(%error, "admin http ended, the service goes on without it");
        }
    }
}

fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready).with_state(readiness))
        .route("/metrics", get(render).with_state(metrics))
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    let missing = readiness.missing();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", missing.join(", "))).into_response()
}

async fn render(State(metrics): State<Metrics>) -> Response {
    match metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn fetch(addr: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn live_ready_and_metrics_answer() {
        let readiness = Readiness::default();
        let listeners = readiness.latch("listeners");
        let coordinator = readiness.latch("coordinator");
        let metrics = Metrics::new().unwrap();
        metrics.meter("test").u64_counter("calls").build().add(1, &[]);
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap(), readiness, metrics).unwrap();
        let addr = admin.local_addr();
        let stop = CancellationToken::new();
        let served = tokio::spawn(admin.serve(stop.clone()));

        assert!(fetch(addr, "/live").await.starts_with("HTTP/1.1 200"));
        let answer = fetch(addr, "/ready").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("listeners, coordinator"), "{answer}");
        listeners.set(true);
        coordinator.set(true);
        assert!(fetch(addr, "/ready").await.starts_with("HTTP/1.1 200"));
        coordinator.set(false);
        let answer = fetch(addr, "/ready").await;
        assert!(answer.contains("not ready: coordinator"), "{answer}");
        assert!(fetch(addr, "/live").await.starts_with("HTTP/1.1 200"), "liveness depends on nothing");
        assert!(fetch(addr, "/metrics").await.contains("calls_total 1"));
        assert!(fetch(addr, "/other").await.starts_with("HTTP/1.1 404"));

        stop.cancel();
        served.await.unwrap();
    }

    #[tokio::test]
    async fn an_address_in_use_fails_the_bind() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        assert!(Admin::bind(addr, Readiness::default(), Metrics::new().unwrap()).is_err());
    }
}
