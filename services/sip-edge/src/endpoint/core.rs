//! The state of one worker, and the small acts that everything else is made of.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redial_core::TraceContext;
use redial_core::link::{Event, ProbeOrder, Request};
use rustc_hash::FxHashMap;
use sip_core::Message;
use sip_core::routing::{Branch, EdgeTag};
use sip_core::transaction::TransactionKey;

use super::config::Listener;
use super::pending::{Continuation, Pending};
use super::recall::RecallId;
use super::table::{Id, Table};
use super::timers::Timers;
use super::transactions::{Client, Server};
use super::{EndpointConfig, Now, Outbox, Peer};
use crate::upstream::Upstream;

/// For a report a replica that died without a word must have been found out, which takes the link's keep-alive 8 s, so that the report goes to
/// the next one: without it, a pair that has talked would be recalled again. No phone waits for it.
const REPORT_TIMEOUT: Duration = Duration::from_secs(20);

/// Everything but the recalls, which use it as their context.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Arc<EndpointConfig>,
    pub(crate) worker: u8,
    pub(crate) servers: Table<Server>,
    /// The key is a keyed hash already, so a cheap hasher does.
    pub(crate) by_key: FxHashMap<TransactionKey, Id>,
    pub(crate) clients: Table<Client>,
    /// Client transactions of recalls.
    pub(crate) recalls: HashMap<RecallId, Id>,
    /// Probes that wait for their answer, by client transaction.
    pub(crate) probes: FxHashMap<Id, ProbeOrder>,
    /// OPTIONS to servers upstream that wait for their answer, by client transaction.
    pub(crate) checks: FxHashMap<Id, Arc<Upstream>>,
    /// When the next ones are due; one worker of an edge sends them.
    pub(crate) next_check: Option<Instant>,
    pub(crate) timers: Timers,
    pub(crate) pending: Pending,
    pub(crate) draining: bool,
    pub(crate) edge_tag: EdgeTag,
    /// The same for all edges with the same secret.
    pub(crate) loop_seed: u64,
    /// What our Vias say, one per listener.
    pub(crate) advertised: Vec<SocketAddr>,
}

impl Core {
    pub(crate) fn new(config: Arc<EndpointConfig>, worker: u8) -> Self {
        Self {
            worker,
            servers: Table::new(0),
            by_key: FxHashMap::default(),
            clients: Table::new(unpredictable()),
            recalls: HashMap::new(),
            probes: FxHashMap::default(),
            checks: FxHashMap::default(),
            next_check: None,
            timers: Timers::default(),
            pending: Pending::new(worker, config.coordinator_timeout),
            draining: false,
            edge_tag: EdgeTag::of(&config.secret, config.edge.as_str()),
            loop_seed: hash_of(&config.secret),
            advertised: config.listeners.iter().map(|l| l.advertised).collect(),
            config,
        }
    }

    /// Room for one more server transaction.
    pub(crate) fn has_room(&self) -> bool {
        self.servers.len() < self.config.max_transactions
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.servers.len() == 0 && self.clients.len() == 0 && self.pending.is_empty()
    }

    /// Via value of the next client transaction: its branch is the transaction's id. `back` is where its responses go on to; other edges may have to do
    /// that. None: no such listener.
    pub(crate) fn via(&self, to: Peer, back: Option<Peer>, loop_hash: u32) -> Option<String> {
        let listener = self.config.listener(to)?;
        let branch = self.branch(loop_hash);
        if let Some(back) = back.filter(|_| self.config.peers.is_some()) {
            let branch = branch.with_way_back(&self.config.secret, &self.config.end_of(back));
            return Some(via(listener, branch));
        }
        Some(via(listener, branch.text().as_str()))
    }

    /// Via value of the ACK for a 2xx to an INVITE of our own: the same whenever it is made, and no client transaction's.
    pub(crate) fn via_of_ack(&self, to: Peer, call_id: &str, cseq: u32) -> Option<String> {
        let listener = self.config.listener(to)?;
        let serial = hash_of(&(self.loop_seed, call_id, cseq));
        let branch = Branch { serial, ..self.branch(0) }.text();
        Some(via(listener, branch.as_str()))
    }

    /// The branch of the next client transaction.
    pub(crate) fn branch(&self, loop_hash: u32) -> Branch {
        Branch { edge: self.edge_tag, worker: self.worker, serial: self.clients.next_id().to_u64(), loop_hash }
    }

    /// The same number for the same request: what a stateless proxy's branch is made of (RFC 3261 section 16.11).
    pub(crate) fn stateless_serial(&self, request: Message<'_>) -> u64 {
        let branch = request.top_via().map(|via| via.raw);
        hash_of(&(self.loop_seed, branch, request.call_id(), request.cseq().map(|cseq| cseq.number)))
    }

    /// Asks the coordinator; the answer comes to `continuation`.
    pub(crate) fn ask(&mut self, now: Now, event: Event, continuation: Continuation, out: &mut Outbox) {
        let id = self.pending.insert(now.instant, continuation);
        out.requests.push(Request { id, timeout: self.config.coordinator_timeout, event, trace: None });
    }

    /// Tells the coordinator; nobody waits for the answer, the link repeats it if it gets lost.
    pub(crate) fn tell(&mut self, event: Event, trace: Option<TraceContext>, out: &mut Outbox) {
        let id = self.pending.fresh_id();
        out.requests.push(Request { id, timeout: self.config.coordinator_timeout.max(REPORT_TIMEOUT), event, trace });
    }

    /// Tells the coordinator what it did not answer in time, for as long as a report may take.
    pub(crate) fn tell_late(&mut self, now: Now, event: Event, out: &mut Outbox) {
        let id = self.pending.insert(now.instant, Continuation::Told);
        out.requests.push(Request { id, timeout: REPORT_TIMEOUT, event, trace: None });
    }
}

/// Our Via in what leaves by that listener.
pub(crate) fn via(listener: &Listener, branch: impl fmt::Display) -> String {
    format!("SIP/2.0/{} {};branch={branch};rport", listener.transport.in_via(), listener.advertised)
}

fn hash_of(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A number that differs from start to start: the standard library's hash keys come from the operating system.
fn unpredictable() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8) as u32
}
