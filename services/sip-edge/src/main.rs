//! The `sip-edge` binary.

use std::process::ExitCode;

use clap::Command;
use redial_runtime::admin::{Admin, Readiness};
use redial_runtime::settings::{self, Stop};
use redial_runtime::telemetry::{Metrics, Service};
use redial_runtime::{shutdown, telemetry};
use sip_edge::Config;
use sip_edge::cluster::Cluster;
use sip_edge::settings::EdgeSettings;

/// Messages are allocated by one thread and freed by another all the time, at which the C library's allocator is slow.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// EX_UNAVAILABLE and EX_SOFTWARE of sysexits.h.
const EXIT_UNAVAILABLE: u8 = 69;
const EXIT_SOFTWARE: u8 = 70;

fn main() -> ExitCode {
    let about = Command::new("sip-edge")
        .version(env!("CARGO_PKG_VERSION"))
        .about("SIP registrar and proxy that remembers calls to phones that are away, together with redial-coordinator");
    let settings: EdgeSettings = match settings::read(about) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let config = match settings.clone().config() {
        Ok(config) => config,
        Err(problems) => return Stop::Problems(problems).report(),
    };
    let service = Service { name: "sip-edge", version: env!("CARGO_PKG_VERSION"), instance: config.edge.as_str() };
    let metrics = match telemetry::start(&settings.telemetry, service) {
        Ok(metrics) => metrics,
        Err(problem) => return Stop::Problems(vec![problem]).report(),
    };
    // Workers have threads of their own; this one carries the link, admin and signals.
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(serve(settings, config, metrics)),
        Err(error) => failed(EXIT_SOFTWARE, "no runtime", &error),
    }
}

async fn serve(settings: EdgeSettings, mut config: Config, metrics: Metrics) -> ExitCode {
    let cluster = match Cluster::of(&settings).await {
        Ok(cluster) => cluster,
        Err(problem) => return Stop::Problems(vec![problem]).report(),
    };
    let readiness = Readiness::default();
    if let (Some(peers), Some(service)) = (&mut config.peers, &settings.peer_service)
        && let Err(problem) = peers.follow(service, &metrics).await
    {
        return Stop::Problems(vec![problem]).report();
    }
    let admin = match Admin::bind(settings.admin, readiness.clone(), metrics.clone()) {
        Ok(admin) => admin,
        Err(error) => return failed(EXIT_UNAVAILABLE, "admin address not bound", &error),
    };
    let signals = match shutdown::on_signals() {
        Ok(signals) => signals,
        Err(error) => return failed(EXIT_SOFTWARE, "no signal handlers", &error),
    };
    let admin_addr = admin.local_addr();
    tokio::spawn(admin.serve(tokio_util::sync::CancellationToken::new()));
    let stop = signals.child_token();
    if signals.run_until_cancelled(cluster.fill(&mut config, &metrics, &readiness, &stop)).await.is_none() {
        return ExitCode::SUCCESS;
    }
    let edge = match config.build(&metrics, &readiness) {
        Ok(edge) => edge,
        Err(error) => return failed(EXIT_UNAVAILABLE, "not started", &error),
    };
    for listener in edge.listeners() {
        tracing::info!(edge = edge.id().as_str(), transport = listener.transport.word(), bound = %listener.bound, advertised = %listener.advertised, "listening");
    }
    tracing::info!(admin = %admin_addr, "admin http");
    let outcome = edge.run(stop).await;
    metrics.flush();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(EXIT_SOFTWARE, "ended", &error),
    }
}

fn failed(code: u8, what: &str, error: &dyn std::error::Error) -> ExitCode {
    tracing::error!(%error, "{what}");
    ExitCode::from(code)
}
