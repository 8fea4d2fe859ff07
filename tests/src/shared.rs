//! The deployment behind one address: every datagram reaches an edge that chance picks.

use anyhow::{Result, bail};

use crate::kamailio::PASSWORD;
use crate::process::Scratch;
use crate::{Coordinator, DOMAIN, Edge, Kamailio, Policy, Redis, Splitter, ports};

const SECRET: &str = "what the edges of a test know and nobody else";
/// Of users `alice` and `bob` with a number below.
const PAIRS: usize = 4;

/// Two edges and two coordinators.
#[derive(Debug)]
pub struct Shared {
    pub redis: Redis,
    pub coordinators: Vec<Coordinator>,
    pub edges: Vec<Edge>,
    pub splitter: Splitter,
    /// The registrar that the edges stand before.
    _server: Option<Kamailio>,
    _scratch: Scratch,
}

impl Shared {
    /// Registrar of the users `alice0`, `bob0`, ... `bob3`, or in front of `server`. `more` are options of the edges; `seed` decides what is left to
    /// chance.
    /// # Errors
    /// When a part does not become ready.
    pub fn start(server: Option<Kamailio>, policy: &Policy, more: &[&str], seed: u64) -> Result<Self> {
        let redis = Redis::start()?;
        let coordinators = (0..2).map(|_| Coordinator::start(&redis, policy, &[])).collect::<Result<Vec<_>>>()?;
        let scratch = Scratch::new("shared")?;
        let (secret, users) = (scratch.file("secret", SECRET)?, scratch.file("users", &users()?)?);
        let (public, socket) = Splitter::bind()?;
        let advertise = public.to_string();
        let urls: Vec<_> = coordinators.iter().map(|c| format!("http://{}", c.grpc)).collect();
        let names = [(ports::free()?, ports::free()?), (ports::free()?, ports::free()?)];
        let peers = names.map(|(sip, peer)| format!("edge-{}={peer}", sip.port()));
        let upstream = server.as_ref().map(|server| format!("{DOMAIN}={}", server.sip));
        let mode = match &upstream {
            Some(upstream) => ["--mode", "front", "--upstream", upstream],
            None => ["--mode", "registrar", "--users", &users],
        };
        let mut edges = Vec::new();
        for (sip, peer) in names {
            let listen = peer.to_string();
            let own = ["--secret-file", &secret, "--advertise", &advertise, "--peer-listen", &listen];
            let peers = peers.iter().flat_map(|peer| ["--peer", peer]);
            let options: Vec<&str> = own.into_iter().chain(mode).chain(peers).chain(more.iter().copied()).collect();
            edges.push(Edge::at(sip, &urls, &options)?);
        }
        let splitter = Splitter::start(socket, edges.iter().map(|edge| edge.sip).collect(), seed)?;
        let this = Self { redis, coordinators, edges, splitter, _server: server, _scratch: scratch };
        this.wait_peers()?;
        Ok(this)
    }

    /// The edges have heard of each other.
    /// # Errors
    /// When they do not.
    pub fn wait_peers(&self) -> Result<()> {
        self.edges.iter().try_for_each(|edge| edge.service.wait_metric("sip_edge_peers", &[("state", "live")], 1.0))
    }

    /// The sum over both coordinators.
    /// # Errors
    /// When one does not answer.
    pub fn coordinators(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        Ok(self.coordinators.iter().map(|c| c.service.metrics()).collect::<Result<Vec<_>>>()?.iter().map(|m| m.sum(name, labels)).sum())
    }

    /// What may explain a story that went wrong.
    #[must_use]
    pub fn troubles(&self) -> String {
        let edge = |name: &str, labels: &[(&str, &str)]| self.edges(name, labels).unwrap_or(f64::NAN);
        let coordinator = |name: &str, labels: &[(&str, &str)]| self.coordinators(name, labels).unwrap_or(f64::NAN);
        format!(
            "unanswered questions {}, asked before anybody was there {}, datagrams between edges dropped {}, recalls not ordered again {}, watches {}, armed {}, ended {:?}, recalls {:?}",
            edge("redial_link_requests_total", &[("event", "timed_out")]),
            edge("redial_link_requests_total", &[("event", "unattached")]),
            edge("sip_edge_peer_dropped_total", &[]),
            edge("sip_recall_orders_dropped_total", &[]),
            coordinator("redial_watches", &[]),
            coordinator("redial_watches_armed_total", &[]),
            ["connected", "cancelled", "failed", "expired"].map(|reason| coordinator("redial_watches_ended_total", &[("reason", reason)])),
            ["ordered", "accepted", "refused", "unreachable", "silent"]
                .map(|result| coordinator("redial_recalls_total", &[("result", result)])),
        )
    }

    /// The sum over both edges.
    /// # Errors
    /// When one does not answer.
    pub fn edges(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        Ok(self.edges.iter().map(|e| e.service.metrics()).collect::<Result<Vec<_>>>()?.iter().map(|m| m.sum(name, labels)).sum())
    }
}

/// An htdigest line: MD5 of `user:realm:password`, by the tool that everybody has.
fn users() -> Result<String> {
    use sip_core::digest::{Algorithm, Ha1};
    let mut text = String::new();
    for n in 0..PAIRS {
        for who in [format!("alice{n}"), format!("bob{n}")] {
            let Ha1::Md5(hash) = Ha1::new(Algorithm::Md5, &who, DOMAIN, PASSWORD) else { bail!("no MD5") };
            let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            text += &format!("{who}:{DOMAIN}:{hex}\n");
        }
    }
    Ok(text)
}

/// Another one in every run; `REDIAL_TEST_SEED` plays one again.
#[must_use]
pub fn seed() -> u64 {
    let seed = std::env::var("REDIAL_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or_else(|| u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
