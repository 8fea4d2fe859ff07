//! What an edge can be told, and the checks between settings.

mod address;
mod check;
mod streams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use redial_runtime::discovery::{Member, ServiceName, ServiceRef};
use redial_runtime::settings::duration;
use redial_runtime::telemetry::TelemetrySettings;

use crate::upstream::{UpstreamSpec, Way};

pub use address::{Advertised, ListenAddr};
pub use streams::StreamSettings;

/// Settings of the `sip-edge` binary.
#[derive(Clone, Debug, Args)]
pub struct EdgeSettings {
    #[command(flatten)]
    pub sip: SipSettings,
    /// Coordinator replica, as http://HOST:PORT; repeatable. All edges must spell the same replica alike [default: http://127.0.0.1:7070]
    #[arg(long, value_name = "URL", value_parser = coordinator)]
    pub coordinator: Vec<String>,
    /// Kubernetes Service, as [NS/]NAME:PORT, whose ready pods are the coordinators and listen on PORT, in place of --coordinator
    #[arg(long, value_name = "NAME")]
    pub coordinator_service: Option<ServiceRef>,
    /// Kubernetes Service, as [NS/]NAME, that phones reach this edge by: its load balancer's address or first external IP is waited for and advertised
    #[arg(long, value_name = "NAME")]
    pub advertise_service: Option<ServiceName>,
    /// Where other edges pass on what reached them and belongs here, as ADDRESS:PORT for UDP; best seen by the edges alone
    #[arg(long, value_name = "ADDR")]
    pub peer_listen: Option<SocketAddr>,
    /// Another edge, by its --edge-id and --peer-listen; repeatable, the same list may be given to all
    #[arg(long, value_name = "NAME=ADDR", value_parser = peer)]
    pub peer: Vec<Member>,
    /// Kubernetes Service, as [NS/]NAME:PORT, whose pods are the edges, with the port of their --peer-listen, in place of --peer; --edge-id must be the pod's name
    #[arg(long, value_name = "NAME")]
    pub peer_service: Option<ServiceRef>,
    /// Address of the admin HTTP server with /live, /ready and /metrics
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub admin: SocketAddr,
    /// How long to wait for open transactions after SIGTERM; over 32 s lets every SIP transaction end by itself
    #[arg(long, value_name = "TIME", default_value = "35s", value_parser = duration)]
    pub grace: Duration,
    /// How long to go on as before after SIGTERM, no longer ready: until everybody has noticed who sends requests here
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub drain_delay: Duration,
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
}

/// Settings of an edge in whatever process it runs.
#[derive(Clone, Debug, Args)]
pub struct SipSettings {
    /// Where to take SIP, as udp:, tcp: or tls:ADDRESS:PORT; repeatable, the same port may be given for udp and tcp
    #[arg(long, value_name = "TRANSPORT:ADDR", default_value = "udp:127.0.0.1:5060")]
    pub listen: Vec<ListenAddr>,
    #[command(flatten)]
    pub streams: StreamSettings,
    /// Address that phones reach, for Via and Record-Route: one for all listeners or one for each in their order [default: the listener's own]
    #[arg(long, value_name = "ADDR")]
    pub advertise: Vec<Advertised>,
    /// Domain that is served; repeatable, at least one [default with --mode front: those of --upstream]
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Vec<String>,
    /// registrar: registrar and proxy of the domains; front: stand before the servers of --upstream, which stay that
    #[arg(long, value_enum, default_value_t = Mode::Registrar)]
    pub mode: Mode,
    /// Server of a domain, as DOMAIN=SERVER: an address, HOST:PORT, or a name that is looked up by SRV, else A and AAAA; repeatable, also for one domain
    #[arg(long, value_name = "DOMAIN=SERVER")]
    pub upstream: Vec<UpstreamSpec>,
    /// How servers upstream are told to reach phones by this edge: path (a Path header, RFC 3327) or contact (its address in Contact, where they know no Path)
    #[arg(long, value_enum, hide_possible_values = true, value_name = "WAY", default_value_t = Way::Path)]
    pub upstream_path: Way,
    /// How often a server upstream is asked by OPTIONS whether it is there
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub upstream_check: Duration,
    /// How long a server upstream may say nothing before another one is tried
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub upstream_timeout: Duration,
    /// DNS server that names of --upstream are looked up by [default: the system's]
    #[arg(long, value_name = "ADDR")]
    pub dns: Option<SocketAddr>,
    /// Users file in htdigest form (user:realm:hash), read again when it changes
    #[arg(long, value_name = "FILE")]
    pub users: Option<PathBuf>,
    /// Serve anybody on any address without a users file
    #[arg(long)]
    pub open: bool,
    /// Worker threads, 1 to 255 [default: number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub workers: Option<u8>,
    /// Name of this edge, unique among all and best the same after a restart [default: host name and first port]
    #[arg(long, value_name = "NAME")]
    pub edge_id: Option<String>,
    /// File with the secret (32 bytes or more) that all edges share [default: random, for this process alone]
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// Shortest registration; less is answered 423
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub register_min: Duration,
    /// Longest registration; more is cut
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub register_max: Duration,
    /// Registration for a phone that asks for none
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub register_default: Duration,
    /// How long a coordinator may take before a request to it fails
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration)]
    pub coordinator_timeout: Duration,
    /// Under load, frames to a coordinator leave at most this often; a lone request never waits
    #[arg(long, value_name = "TIME", default_value = "4ms", value_parser = duration)]
    pub batch_linger: Duration,
    /// Under load, a worker takes in datagrams at most this often; a lone one never waits [0s: always at once]
    #[arg(long, value_name = "TIME", default_value = "2ms", value_parser = duration)]
    pub receive_linger: Duration,
    /// Requests to coordinators that may be open at once; more fail at once
    #[arg(long, value_name = "N", default_value_t = 16384, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_requests: u32,
    /// Transactions that one worker holds; new ones beyond are answered 503
    #[arg(long, value_name = "N", default_value_t = 65536, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_transactions: u32,
    /// Addresses-of-record whose bindings are remembered for when the store is away
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub max_known: u32,
    /// Timer C: how long a forwarded INVITE may ring, over 3 min (RFC 3261 section 16.6)
    #[arg(long, value_name = "TIME", default_value = "185s", value_parser = duration)]
    pub timer_c: Duration,
}

/// Who is registrar and proxy of the domains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    #[default]
    Registrar,
    Front,
}

fn peer(text: &str) -> Result<Member, String> {
    let (name, addr) = text
        .split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| format!("`{text}` is no edge such as edge-2=10.0.0.2:5070"))?;
    let addr: SocketAddr = addr.parse().map_err(|_| format!("`{addr}` is no IP address and port such as 10.0.0.2:5070"))?;
    Ok(Member { name: name.to_owned(), addr })
}

fn coordinator(text: &str) -> Result<String, String> {
    crate::link::check_url(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
