//! What an endpoint must know. Built once by the shell; the swappable parts are behind `ArcSwap`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use redial_core::{EdgeId, Flow, PolicySet};
use sip_core::transaction::Timers;

use super::Peer;

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

/// How messages reach a listener (RFC 3261 section 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
}

impl Transport {
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];

    /// As settings, flows and the `transport` parameter of a URI spell it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.word().eq_ignore_ascii_case(word))
    }

    /// As a Via spells it.
    #[must_use]
    pub fn in_via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// Messages come by a connection of the phone's: the only way back to it.
    #[must_use]
    pub fn is_stream(self) -> bool {
        self != Self::Udp
    }

    /// What a connection repeats by itself no machine repeats (RFC 3261 section 17).
    #[must_use]
    pub fn timers(self) -> Timers {
        if self.is_stream() { Timers::RELIABLE } else { Timers::UDP }
    }
}

/// Displayed as a URI of ours names it: what phones can reach, and how.
#[derive(Debug, Clone)]
pub struct Listener {
    pub transport: Transport,
    pub bound: SocketAddr,
    /// What goes into Via and Record-Route: an address that phones can reach.
    pub advertised: SocketAddr,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.advertised.fmt(f)?;
        if self.transport.is_stream() { write!(f, ";transport={}", self.transport.word()) } else { Ok(()) }
    }
}

impl EndpointConfig {
    pub(crate) fn listener(&self, peer: Peer) -> Option<&Listener> {
        self.listeners.get(usize::from(peer.listener))
    }

    pub(crate) fn transport(&self, peer: Peer) -> Transport {
        self.listener(peer).map_or(Transport::Udp, |listener| listener.transport)
    }

    /// The text that is stored with a binding and handed back to this edge.
    pub(crate) fn flow_of(&self, peer: Peer) -> Flow {
        peer.flow(self.transport(peer))
    }
}
