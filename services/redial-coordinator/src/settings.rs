//! Settings of the `redial-coordinator` binary.

mod redis;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use redial_runtime::discovery::{Found, Kubernetes, ServiceRef};
use redial_runtime::settings::{Problem, duration};
use redial_runtime::telemetry::TelemetrySettings;

use crate::app::{Config, PolicySource};
use crate::coordinator::Setup;

pub use redis::RedisSettings;

/// Remembers missed calls and orders their recalls, for any number of sip-edge processes
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Address that edges and `redial` attach to, by gRPC
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7070")]
    pub listen: SocketAddr,
    #[command(flatten)]
    pub redis: RedisSettings,
    /// Policy file (TOML), read again when it changes or on SIGHUP [default: default policies]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Kubernetes namespace whose RedialPolicy objects are the policies, instead of a file
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    pub policy_namespace: Option<String>,
    /// Credentials for phones that challenge a recall (TOML: [name] with username and password), read again when it changes; policies name its entries
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// Address of the admin HTTP server with /live, /ready and /metrics
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub admin: SocketAddr,
    /// Time between two looks at everything that is due
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    pub sweep_interval: Duration,
    /// Kubernetes Service, as [NS/]NAME:PORT, whose ready pods are all replicas and listen on PORT: they share the sweep
    #[arg(long, value_name = "NAME")]
    pub peer_service: Option<ServiceRef>,
    /// Name of this replica, with peer-service its pod's [default: the address it listens on]
    #[arg(long, value_name = "NAME")]
    pub replica_name: Option<String>,
    /// How long to finish what is in progress after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub grace: Duration,
    /// How long to go on as before after SIGTERM, no longer ready: until every edge has noticed
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub drain_delay: Duration,
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

impl Settings {
    /// What the operator knows this replica by.
    #[must_use]
    pub fn replica(&self) -> String {
        self.replica_name.clone().unwrap_or_else(|| self.listen.to_string())
    }

    /// Everything but the store and the policies that are Kubernetes objects. `peers` are the members of the peer service.
    #[must_use]
    pub fn config(&self, peers: Option<Found>) -> Config {
        let setup = Setup {
            replica: self.replica(),
            store_kind: self.redis.kind(),
            sweep_interval: self.sweep_interval,
            peers,
            ..Setup::default()
        };
        Config {
            listen: self.listen,
            policy: self.policy.clone().into(),
            credentials: self.credentials.clone(),
            settle: None,
            setup,
            drain_delay: self.drain_delay,
            grace: self.grace,
        }
    }

    /// The API server, where a setting needs one: one client for all of them.
    ///
    /// # Errors
    /// When a setting needs one and there is none, or both a policy file and a namespace of policies are given.
    pub async fn kubernetes(&self) -> Result<Option<Kubernetes>, Problem> {
        let key = match (&self.policy_namespace, &self.peer_service) {
            (Some(_), _) if self.policy.is_some() => {
                return Err(Problem::new("policy-namespace", "is given together with policy: policies are either objects or a file"));
            }
            (Some(_), _) => "policy-namespace",
            (None, Some(_)) => "peer-service",
            (None, None) => return Ok(None),
        };
        Kubernetes::infer().await.map(Some).map_err(|error| Problem::new(key, error.to_string()))
    }

    /// Where policies come from.
    #[must_use]
    pub fn policy_source(&self, kubernetes: Option<&Kubernetes>) -> PolicySource {
        match kubernetes.cloned().zip(self.policy_namespace.clone()) {
            Some((kubernetes, namespace)) => PolicySource::Objects { kubernetes, namespace },
            None => self.policy.clone().into(),
        }
    }
}

/// A DNS label (RFC 1123).
fn namespace(text: &str) -> Result<String, String> {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_label = (1..=63).contains(&text.len()) && text.bytes().all(letters) && !text.starts_with('-') && !text.ends_with('-');
    if is_label { Ok(text.to_owned()) } else { Err(format!("`{text}` is no namespace such as redial")) }
}

/// Nothing shorter than 100 ms: every replica asks the store for 1024 shards each time.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_millis(100) { Err("is shorter than 100ms".to_owned()) } else { Ok(interval) }
}
