//! Counters of the hot path: plain atomics here, exported as observable OpenTelemetry instruments by the shell.

mod labels;

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use redial_core::link::{NotWatched, RecallResult};
use sip_core::Method;

pub use labels::{DropReason, OrderDrop, Origin, Outcome};
use labels::{METHODS, method_index};

/// Status codes that a SIP message can have.
const CODES: std::ops::Range<u16> = 100..700;

/// One value with its name and labels, as an exporter wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub labels: Vec<(&'static str, Cow<'static, str>)>,
    pub value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    /// May go down: an exporter shows it as it is.
    Gauge,
}

/// Everything that one edge process counts. Shared by its workers.
#[derive(Debug)]
pub struct Metrics {
    requests_in: [AtomicU64; METHODS.len()],
    requests_out: [AtomicU64; METHODS.len()],
    responses_in: StatusCounts,
    responses_out: [StatusCounts; Origin::ALL.len()],
    retransmissions_in: AtomicU64,
    retransmissions_out: AtomicU64,
    drops: [AtomicU64; DropReason::ALL.len()],
    routed: [AtomicU64; Outcome::ALL.len()],
    watches_granted: AtomicU64,
    watches_refused: [AtomicU64; NotWatched::ALL.len()],
    recalls: [[AtomicU64; RECALL_RESULTS.len()]; RUNGS],
    order_drops: [AtomicU64; OrderDrop::ALL.len()],
    handovers: AtomicU64,
    server_transactions: AtomicU64,
    client_transactions: AtomicU64,
}

/// Rungs of the recall ladder (design: 1 to 4), counted as given; others share the last place.
const RUNGS: usize = 5;
const RECALL_RESULTS: [&str; 7] = ["accepted", "refused", "unreachable", "notified", "unanswered", "declined", "silent"];

/// One count per method and status code.
#[derive(Debug)]
struct StatusCounts(Box<[AtomicU64]>);

impl StatusCounts {
    fn new() -> Self {
        Self((0..METHODS.len() * CODES.len()).map(|_| AtomicU64::new(0)).collect())
    }

    fn add(&self, method: Method<'_>, code: u16) {
        if CODES.contains(&code)
            && let Some(count) = self.0.get(method_index(method) * CODES.len() + usize::from(code - CODES.start))
        {
            count.fetch_add(1, Relaxed);
        }
    }

    fn samples(&self, name: &'static str, help: &'static str) -> impl Iterator<Item = Sample> {
        self.0.iter().enumerate().filter_map(move |(i, count)| {
            let value = count.load(Relaxed);
            let code = usize::from(CODES.start) + i % CODES.len();
            let method = METHODS.get(i / CODES.len()).copied()?;
            (value > 0).then(|| Sample {
                name,
                help,
                kind: Kind::Counter,
                labels: vec![("method", method.into()), ("status", code.to_string().into())],
                value,
            })
        })
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests_in: Default::default(),
            requests_out: Default::default(),
            responses_in: StatusCounts::new(),
            responses_out: Origin::ALL.map(|_| StatusCounts::new()),
            retransmissions_in: AtomicU64::new(0),
            retransmissions_out: AtomicU64::new(0),
            drops: Default::default(),
            routed: Default::default(),
            watches_granted: AtomicU64::new(0),
            watches_refused: Default::default(),
            recalls: Default::default(),
            order_drops: Default::default(),
            handovers: AtomicU64::new(0),
            server_transactions: AtomicU64::new(0),
            client_transactions: AtomicU64::new(0),
        }
    }
}

impl Metrics {
    pub fn request_in(&self, method: Method<'_>) {
        self.requests_in[method_index(method)].fetch_add(1, Relaxed);
    }

    pub fn request_out(&self, method: Method<'_>) {
        self.requests_out[method_index(method)].fetch_add(1, Relaxed);
    }

    pub fn response_in(&self, method: Method<'_>, code: u16) {
        self.responses_in.add(method, code);
    }

    pub fn response_out(&self, origin: Origin, method: Method<'_>, code: u16) {
        self.responses_out[origin as usize].add(method, code);
    }

    /// A request that a server transaction knew already.
    pub fn retransmission_in(&self) {
        self.retransmissions_in.fetch_add(1, Relaxed);
    }

    /// A stored message that was sent again.
    pub fn retransmission_out(&self) {
        self.retransmissions_out.fetch_add(1, Relaxed);
    }

    pub fn dropped(&self, reason: DropReason) {
        self.drops[reason as usize].fetch_add(1, Relaxed);
    }

    pub fn order_dropped(&self, why: OrderDrop) {
        self.order_drops[why as usize].fetch_add(1, Relaxed);
    }

    pub fn routed(&self, outcome: Outcome) {
        self.routed[outcome as usize].fetch_add(1, Relaxed);
    }

    pub fn watch_granted(&self) {
        self.watches_granted.fetch_add(1, Relaxed);
    }

    pub fn watch_refused(&self, why: NotWatched) {
        if let Some(i) = NotWatched::ALL.iter().position(|w| *w == why) {
            self.watches_refused[i].fetch_add(1, Relaxed);
        }
    }

    pub fn recall(&self, rung: u8, result: RecallResult) {
        let result = match result {
            RecallResult::Accepted => 0,
            RecallResult::Refused(_) => 1,
            RecallResult::Unreachable => 2,
            RecallResult::Notified(_) => 3,
            RecallResult::Unanswered => 4,
            RecallResult::Declined(_) => 5,
            RecallResult::Silent => 6,
        };
        self.recalls[usize::from(rung).min(RUNGS - 1)][result].fetch_add(1, Relaxed);
    }

    pub fn handed_over(&self) {
        self.handovers.fetch_add(1, Relaxed);
    }

    pub(crate) fn server_opened(&self) {
        self.server_transactions.fetch_add(1, Relaxed);
    }

    pub(crate) fn server_closed(&self) {
        self.server_transactions.fetch_sub(1, Relaxed);
    }

    pub(crate) fn client_opened(&self) {
        self.client_transactions.fetch_add(1, Relaxed);
    }

    pub(crate) fn client_closed(&self) {
        self.client_transactions.fetch_sub(1, Relaxed);
    }

    /// Every counter that has counted something, and every gauge.
    pub fn samples(&self) -> impl Iterator<Item = Sample> {
        let requests_in = "SIP requests received, by method; retransmissions included";
        let requests_out = "SIP requests sent, by method; retransmissions not included";
        let mut all: Vec<Sample> = Vec::new();
        all.extend(self.responses_in.samples("sip_responses_received_total", "SIP responses received, by method and status"));
        let sent = "SIP responses sent, by method, status and who made them; retransmissions not included";
        for (origin, counts) in Origin::ALL.into_iter().zip(&self.responses_out) {
            all.extend(counts.samples("sip_responses_sent_total", sent).map(|mut sample| {
                sample.labels.push(("origin", origin.as_str().into()));
                sample
            }));
        }
        all.extend(labelled("sip_requests_received_total", requests_in, "method", METHODS, &self.requests_in));
        all.extend(labelled("sip_requests_sent_total", requests_out, "method", METHODS, &self.requests_out));
        all.extend(labelled(
            "sip_dropped_total",
            "received messages that were dropped",
            "reason",
            DropReason::ALL.map(DropReason::as_str),
            &self.drops,
        ));
        all.extend(labelled(
            "sip_routed_total",
            "requests for our domains, by what became of them",
            "outcome",
            Outcome::ALL.map(Outcome::as_str),
            &self.routed,
        ));
        all.extend(labelled(
            "redial_watches_refused_total",
            "offline INVITEs that armed no watch",
            "reason",
            NotWatched::ALL.map(NotWatched::as_str),
            &self.watches_refused,
        ));
        all.extend(labelled(
            "redial_orders_dropped_total",
            "recalls and probes that a coordinator ordered and this edge did not make",
            "reason",
            OrderDrop::ALL.map(OrderDrop::as_str),
            &self.order_drops,
        ));
        for (rung, results) in self.recalls.iter().enumerate() {
            let of_rung =
                labelled("redial_recalls_total", "recalls made by this edge, by rung and result", "result", RECALL_RESULTS, results);
            all.extend(of_rung.map(|mut sample| {
                sample.labels.push(("rung", rung.to_string().into()));
                sample
            }));
        }
        let single = [
            ("sip_retransmissions_received_total", "requests received again", Kind::Counter, &self.retransmissions_in),
            ("sip_retransmissions_sent_total", "messages sent again", Kind::Counter, &self.retransmissions_out),
            ("redial_watches_granted_total", "offline INVITEs answered with a grant", Kind::Counter, &self.watches_granted),
            ("sip_handovers_total", "datagrams passed on to another worker", Kind::Counter, &self.handovers),
            ("sip_server_transactions", "open server transactions", Kind::Gauge, &self.server_transactions),
            ("sip_client_transactions", "open client transactions", Kind::Gauge, &self.client_transactions),
        ];
        all.extend(single.map(|(name, help, kind, value)| Sample { name, help, kind, labels: Vec::new(), value: value.load(Relaxed) }));
        all.into_iter()
    }
}

fn labelled<const N: usize>(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    words: [&'static str; N],
    counts: &[AtomicU64; N],
) -> impl Iterator<Item = Sample> {
    words.into_iter().zip(counts).filter_map(move |(word, count)| {
        let value = count.load(Relaxed);
        (value > 0).then(|| Sample { name, help, kind: Kind::Counter, labels: vec![(label, word.into())], value })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_is_exported_under_its_labels() {
        let metrics = Metrics::default();
        metrics.request_in(Method::Invite);
        metrics.request_in(Method::Other("FOO"));
        metrics.response_out(Origin::Edge, Method::Register, 200);
        metrics.response_out(Origin::Edge, Method::Register, 99);
        metrics.response_out(Origin::Forwarded, Method::Invite, 503);
        metrics.dropped(DropReason::NoTransaction);
        metrics.watch_refused(NotWatched::CallerLimit);
        metrics.recall(1, RecallResult::Refused(501));
        metrics.server_opened();
        let value = |name: &str, word: &str| {
            metrics.samples().find(|s| s.name == name && (word.is_empty() || s.labels.iter().any(|l| l.1 == word))).map(|s| s.value)
        };
        assert_eq!(value("sip_requests_received_total", "INVITE"), Some(1));
        assert_eq!(value("sip_requests_received_total", "other"), Some(1));
        assert_eq!(value("sip_responses_sent_total", "200"), Some(1));
        assert_eq!(value("sip_responses_sent_total", "forwarded"), Some(1));
        assert_eq!(value("sip_dropped_total", "no_transaction"), Some(1));
        assert_eq!(value("redial_watches_refused_total", "caller_limit"), Some(1));
        assert_eq!(value("redial_recalls_total", "refused"), Some(1));
        assert_eq!(value("sip_server_transactions", ""), Some(1));
    }
}
