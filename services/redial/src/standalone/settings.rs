//! What `redial standalone` can be told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use redial_coordinator::Setup;
use redial_coordinator::app::Config;
use redial_coordinator::settings::RedisSettings;
use redial_runtime::settings::duration;
use redial_runtime::telemetry::TelemetrySettings;
use sip_edge::settings::SipSettings;

/// By flag, environment (`REDIAL_...`) or file (`--config`).
#[derive(Clone, Debug, Args)]
pub struct Settings {
    #[command(flatten)]
    pub sip: SipSettings,
    #[command(flatten)]
    pub redis: RedisSettings,
    /// Policy file (TOML), read again when it changes or on SIGHUP [default: default policies]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Credentials for phones that challenge a recall (TOML: [name] with username and password), read again when it changes; policies name its entries
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Time between a callee's REGISTER and the recall, whatever the policies say [default: as they say, 1s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub settle: Option<Duration>,
    /// Address of the admin HTTP server with /live, /ready and /metrics
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub admin: SocketAddr,
    /// Address that `redial watch`, `redial binding` and `redial doctor` ask
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    pub control: SocketAddr,
    /// Time between two looks at everything that is due
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub sweep_interval: Duration,
    /// How long to wait for open transactions after SIGTERM; over 32 s lets every SIP transaction end by itself
    #[arg(long, value_name = "TIME", default_value = "35s", value_parser = duration)]
    pub grace: Duration,
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

impl Settings {
    /// The coordinator's half, without its store.
    pub fn coordinator(&self) -> Config {
        Config {
            listen: self.control,
            policy: self.policy.clone().into(),
            credentials: self.credentials.clone(),
            settle: self.settle,
            setup: Setup {
                replica: "standalone".to_owned(),
                store_kind: self.redis.kind(),
                sweep_interval: self.sweep_interval,
                ..Setup::default()
            },
            drain_delay: Duration::ZERO,
            grace: self.grace,
        }
    }
}
