//! What an endpoint must know. Built once by the shell; the swappable parts are behind `ArcSwap`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use redial_core::{EdgeId, PolicySet};

#[derive(Debug)]
pub struct EndpointConfig {
    pub edge: EdgeId,
    /// Domains that we, or the servers that we stand before, are registrar for; lower case.
    pub domains: Vec<String>,
    pub listeners: Vec<Listener>,
    /// Shared by all edges: keys the nonces, tags and flow tokens.
    pub secret: [u8; 32],
    /// None: no users file; then anybody may register, and a caller counts as authenticated when registered from the same flow.
    pub users: Option<Arc<ArcSwap<crate::users::Users>>>,
    /// Sent by the coordinator; the default policy until then.
    pub policies: Arc<ArcSwap<PolicySet>>,
    pub metrics: Arc<crate::metrics::Metrics>,
    /// Expires rules of the registrar (RFC 3261 section 10.3 steps 6 and 7): below `min` is 423, above `max` is cut.
    pub register_min: Duration,
    pub register_max: Duration,
    pub register_default: Duration,
    /// Most transactions this worker holds; beyond, new ones get 503.
    pub max_transactions: usize,
    /// The bindings that all workers remember together for the time the coordinator or its store is away (P6).
    pub known: Arc<super::Known>,
    /// Existing SIP servers are registrar and proxy, and this edge stands before them. None: it is both itself.
    pub front: Option<crate::upstream::Front>,
    /// The other edges. None: this one is alone, or each has an address of its own and phones behind no NAT.
    pub peers: Option<Arc<crate::peers::Peers>>,
    /// How long the coordinator may take before a request to it fails.
    pub coordinator_timeout: Duration,
    /// Timer C (RFC 3261 section 16.6 step 11).
    pub timer_c: Duration,
}

#[derive(Debug, Clone)]
pub struct Listener {
    pub bound: SocketAddr,
    /// What goes into Via and Record-Route: an address that phones can reach.
    pub advertised: SocketAddr,
}
