//! `redial standalone`: one edge and one coordinator in one process. Wiring only: the halves are the same code as in the two binaries,
//! joined by channels instead of a gRPC stream.

mod settings;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Command;
use redial_coordinator::app::{App, BuildError};
use redial_coordinator::store::{MemoryStore, Timed, expiry, usage};
use redial_coordinator::{HINTS, Hints, credentials, policies};
use redial_core::WatchStore;
use redial_runtime::admin::{Admin, Readiness};
use redial_runtime::settings::{self as reader, Stop};
use redial_runtime::shutdown;
use redial_runtime::telemetry::{self, Metrics, Service};
use sip_edge::app::Edge;
use sip_edge::link::{Coordinator, LocalLink};
use tokio_util::sync::CancellationToken;

pub use settings::Settings;

/// EX_UNAVAILABLE of sysexits.h: an address is taken, the store's URL is none.
const EXIT_UNAVAILABLE: u8 = 69;

/// Reads the settings, starts, and serves until SIGTERM or SIGINT.
pub async fn main(args: Vec<OsString>) -> ExitCode {
    let about = Command::new("redial standalone")
        .version(env!("CARGO_PKG_VERSION"))
        .about("SIP registrar and proxy that remembers calls to phones that are away, in one process");
    let settings: Settings = match reader::read_after(about, args) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let instance = settings.sip.edge_id.clone().unwrap_or_default();
    let service = Service { name: "redial", version: env!("CARGO_PKG_VERSION"), instance: &instance };
    let metrics = match telemetry::start(&settings.telemetry, service) {
        Ok(metrics) => metrics,
        Err(problem) => return Stop::Problems(vec![problem]).report(),
    };
    let outcome = match settings.redis.open() {
        Ok(None) => run(settings, Arc::new(MemoryStore::new()), None, metrics).await,
        Ok(Some(store)) => {
            let hints = expiry::hints(&store, HINTS, CancellationToken::new()).hints;
            let meter = metrics.meter("redial_store");
            let _usage = usage::follow(&store, &meter);
            run(settings, Arc::new(Timed::new(store, &meter)), Some(hints), metrics).await
        }
        Err(problems) => return Stop::Problems(problems).report(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Settings(stop)) => stop.report(),
        Err(Failure::Start(error)) => {
            tracing::error!(error = format!("{error:#}"), "not started");
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

/// Why a standalone process ends other than by a signal.
enum Failure {
    Settings(Stop),
    Start(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Start(error)
    }
}

async fn run<S: WatchStore>(settings: Settings, store: Arc<S>, hints: Option<Hints>, metrics: Metrics) -> Result<(), Failure> {
    let signals = shutdown::on_signals().context("no signal handlers")?;
    let readiness = Readiness::default();
    let admin = settings.admin;
    let parts = Parts::build(settings, store, hints, &metrics, &readiness)?;
    let admin = Admin::bind(admin, readiness, metrics.clone()).with_context(|| format!("admin address {admin}"))?;
    for listener in parts.edge.listeners() {
        tracing::info!(transport = listener.transport.word(), bound = %listener.bound, advertised = %listener.advertised, "listening");
    }
    tracing::info!(admin = %admin.local_addr(), control = %parts.coordinator.local_addr(), "for the operator");
    tokio::spawn(admin.serve(CancellationToken::new()));
    parts.run(signals).await?;
    metrics.flush();
    Ok(())
}

/// The two halves, joined.
#[derive(Debug)]
pub struct Parts<S> {
    pub coordinator: App<S>,
    pub edge: Edge,
}

impl<S: WatchStore> Parts<S> {
    /// Binds every address. The demo builds them too.
    fn build(settings: Settings, store: Arc<S>, hints: Option<Hints>, metrics: &Metrics, readiness: &Readiness) -> Result<Self, Failure> {
        let coordinator = settings.coordinator();
        let grace = settings.grace;
        let mut edge = settings.sip.config(Vec::new()).map_err(|problems| Failure::Settings(Stop::Problems(problems)))?;
        edge.grace = grace;
        let coordinator = coordinator.build(store, hints, metrics, readiness).map_err(|error| match error {
            BuildError::Policies(bad) => Failure::Settings(Stop::Problems(policies::problems(&bad))),
            BuildError::Credentials(bad) => Failure::Settings(Stop::Problems(credentials::problems(&bad))),
            error => Failure::Start(error.into()),
        })?;
        let link = coordinator.coordinator().attach(edge.edge.clone(), env!("CARGO_PKG_VERSION"));
        edge.coordinators.push(Coordinator::Local(LocalLink { requests: link.requests, downlinks: link.downlinks }));
        let edge = edge.build(metrics, readiness).map_err(anyhow::Error::from)?;
        Ok(Self { coordinator, edge })
    }

    /// Serves until `stop`. The edge drains first, because its open transactions still need the coordinator.
    pub async fn run(self, stop: CancellationToken) -> Result<()> {
        let edge_gone = CancellationToken::new();
        let coordinator = tokio::spawn(self.coordinator.run(edge_gone.clone()));
        let served = self.edge.run(stop).await;
        edge_gone.cancel();
        coordinator.await.context("coordinator")?.context("coordinator")?;
        served.context("edge")
    }
}

impl Parts<MemoryStore> {
    /// An open server on a free port of loopback, with everything else as it is by default.
    pub async fn for_demo(domain: &str) -> Result<Self> {
        Self::with(&["--listen=udp:127.0.0.1:0", &format!("--domain={domain}")])
    }

    /// In memory, with these settings.
    pub fn with(args: &[&str]) -> Result<Self> {
        let args = ["--control=127.0.0.1:0", "--settle=500ms"].iter().chain(args).map(Into::into).collect();
        let sources = reader::Sources { args, ..Default::default() };
        let settings: Settings = reader::read_from(Command::new("demo"), &sources).map_err(|stop| anyhow::anyhow!("{stop:?}"))?;
        let metrics = Metrics::new()?;
        match Self::build(settings, Arc::new(MemoryStore::new()), None, &metrics, &Readiness::default()) {
            Ok(parts) => Ok(parts),
            Err(Failure::Settings(stop)) => Err(anyhow::anyhow!("{stop:?}")),
            Err(Failure::Start(error)) => Err(error),
        }
    }
}
