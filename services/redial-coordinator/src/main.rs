//! The `redial-coordinator` binary.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Command;
use redial_coordinator::app::{BuildError, Config};
use redial_coordinator::settings::Settings;
use redial_coordinator::store::{MemoryStore, Timed, expiry, usage};
use redial_coordinator::{HINTS, Hints, credentials, policies};
use redial_core::WatchStore;
use redial_runtime::admin::{Admin, Readiness};
use redial_runtime::discovery::Which;
use redial_runtime::settings::{self, Stop};
use redial_runtime::telemetry::{Metrics, Service};
use redial_runtime::{shutdown, telemetry};
use tokio_util::sync::CancellationToken;

/// EX_UNAVAILABLE and EX_SOFTWARE of sysexits.h.
const EXIT_UNAVAILABLE: u8 = 69;
const EXIT_SOFTWARE: u8 = 70;

fn main() -> ExitCode {
    let about = Command::new("redial-coordinator")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Remembers missed calls and orders their recalls, for any number of sip-edge processes");
    let settings: Settings = match settings::read(about) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let replica = settings.replica();
    let service = Service { name: "redial-coordinator", version: env!("CARGO_PKG_VERSION"), instance: &replica };
    let metrics = match telemetry::start(&settings.telemetry, service) {
        Ok(metrics) => metrics,
        Err(problem) => return Stop::Problems(vec![problem]).report(),
    };
    // One thread: Redis, which has one too, is busy before this one is, and every hand-over between threads costs more than the work on a
    // request. More replicas use more cores.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(with_store(settings, metrics)),
        Err(error) => failed(EXIT_SOFTWARE, "no runtime", &error),
    }
}

async fn with_store(settings: Settings, metrics: Metrics) -> ExitCode {
    match settings.redis.open() {
        Ok(Some(store)) => {
            let hints = expiry::hints(&store, HINTS, CancellationToken::new()).hints;
            let meter = metrics.meter("redial_store");
            let _usage = usage::follow(&store, &meter);
            serve(settings, Arc::new(Timed::new(store, &meter)), Some(hints), metrics).await
        }
        Ok(None) => {
            tracing::warn!("no --redis: bindings and watches are in this process alone, nothing is shared or durable");
            serve(settings, Arc::new(MemoryStore::new()), None, metrics).await
        }
        Err(problems) => Stop::Problems(problems).report(),
    }
}

async fn serve<S: WatchStore>(settings: Settings, store: Arc<S>, hints: Option<Hints>, metrics: Metrics) -> ExitCode {
    let kubernetes = match settings.kubernetes().await {
        Ok(kubernetes) => kubernetes,
        Err(problem) => return Stop::Problems(vec![problem]).report(),
    };
    let policy = settings.policy_source(kubernetes.as_ref());
    let readiness = Readiness::default();
    let peers = settings.peer_service.as_ref().zip(kubernetes);
    let peers = peers.map(|(service, kubernetes)| kubernetes.members(service, Which::Ready, &metrics.meter("redial_coordinator")));
    let config = Config { policy, ..settings.config(peers) };
    let app = match config.build(store, hints, &metrics, &readiness) {
        Ok(app) => app,
        Err(BuildError::Policies(bad)) => return Stop::Problems(policies::problems(&bad)).report(),
        Err(BuildError::Credentials(bad)) => return Stop::Problems(credentials::problems(&bad)).report(),
        Err(error) => return failed(EXIT_UNAVAILABLE, "not started", &error),
    };
    let admin = match Admin::bind(settings.admin, readiness, metrics.clone()) {
        Ok(admin) => admin,
        Err(error) => return failed(EXIT_UNAVAILABLE, "admin address not bound", &error),
    };
    let signals = match shutdown::on_signals() {
        Ok(signals) => signals,
        Err(error) => return failed(EXIT_SOFTWARE, "no signal handlers", &error),
    };
    tracing::info!(grpc = %app.local_addr(), admin = %admin.local_addr(), "listening");
    tokio::spawn(admin.serve(CancellationToken::new()));
    let outcome = app.run(signals).await;
    metrics.flush();
    outcome.map_or_else(|error| failed(EXIT_SOFTWARE, "ended", &error), |()| ExitCode::SUCCESS)
}

fn failed(code: u8, what: &str, error: &dyn std::error::Error) -> ExitCode {
    tracing::error!(%error, "{what}");
    ExitCode::from(code)
}
