//! Settings of the `redial-coordinator` binary.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use redial_runtime::settings::duration;
use redial_runtime::telemetry::LogSettings;

use crate::app::Config;
use crate::coordinator::Setup;

/// Remembers missed calls and orders their recalls, for any number of sip-edge processes
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Address that edges and `redial` attach to, by gRPC
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,
    /// Redis that holds bindings and watches, as redis://HOST:PORT/DB or rediss://...; without it they are kept in this process alone
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,
    /// Policy file (TOML), read again when it changes or on SIGHUP [default: default policies]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Credentials for phones that challenge a recall (TOML: [name] with username and password), read again when it changes; policies name its entries
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Address of the admin HTTP server with /live, /ready and /metrics
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub admin: SocketAddr,
    /// Time between two looks at everything that is due
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    pub sweep_interval: Duration,
    /// Name of this replica, for the operator [default: the address it listens on]
    #[arg(long, value_name = "NAME")]
    pub replica_name: Option<String>,
    /// How long to finish what is in progress after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub grace: Duration,
    #[command(flatten)]
    pub logs: LogSettings,
}

impl Settings {
    /// Everything but the store.
    #[must_use]
    pub fn config(&self) -> Config {
        let replica = self.replica_name.clone().unwrap_or_else(|| self.listen.to_string());
        let store_kind = if self.redis.is_some() { "redis" } else { "memory" };
        let setup = Setup { replica, store_kind, sweep_interval: self.sweep_interval, ..Setup::default() };
        Config {
            listen: self.listen,
            policy: self.policy.clone(),
            credentials: self.credentials.clone(),
            settle: None,
            setup,
            grace: self.grace,
        }
    }
}

/// Nothing shorter than 100 ms: every replica asks the store for 1024 shards each time.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_millis(100) { Err("is shorter than 100ms".to_owned()) } else { Ok(interval) }
}
