//! The counters as OpenTelemetry instruments. Observed when somebody asks, so counting costs the hot path one atomic add.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};

use crate::counters::{Closed, Count, Counters, Refused};
use crate::endpoint::config::Transport;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::peers::wire::Kind;
use crate::upstream::{Fault, Upstream, Upstreams};

/// Seconds: from an in-process store to a coordinator that is about to be given up.
const LATENCY_BOUNDS: [f64; 12] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// From a request's submission to its reply, batching included.
pub(crate) fn round_trip(meter: &Meter) -> Histogram<f64> {
    meter
        .f64_histogram("redial_link_latency")
        .with_unit("s")
        .with_description("time from a request of this edge to the coordinator's reply, by what was asked")
        .with_boundaries(LATENCY_BOUNDS.to_vec())
        .build()
}

/// Makes every counter visible. No label names a user or an address.
pub(crate) fn register(meter: &Meter, metrics: &Arc<Metrics>, counters: &Arc<Counters>) {
    messages(meter, metrics);
    datagrams(meter, counters);
    drops(meter, counters);
    requests(meter, counters);
    peers(meter, counters);
    streams(meter, counters);
    levels(meter, counters);
}

/// The endpoints' samples: name there, instrument, description. Watches and recalls are also counted by the coordinator, under
/// `redial_`; in a process that holds both, the edge's view needs names of its own. The exporter adds `_total` to counters.
#[rustfmt::skip]
const FAMILIES: [(&str, &str, &str); 15] = [
    ("sip_requests_received_total", "sip_requests_received", "SIP requests received, by method; retransmissions included"),
    ("sip_requests_sent_total", "sip_requests_sent", "SIP requests sent, by method; retransmissions not included"),
    ("sip_responses_received_total", "sip_responses_received", "SIP responses received, by method and status"),
    ("sip_responses_sent_total", "sip_responses_sent", "SIP responses sent, by method, status and who made them"),
    ("sip_retransmissions_received_total", "sip_retransmissions_received", "requests received again"),
    ("sip_retransmissions_sent_total", "sip_retransmissions_sent", "messages sent again"),
    ("sip_dropped_total", "sip_dropped", "received messages that were dropped, by reason"),
    ("sip_routed_total", "sip_routed", "requests for our domains, by what became of them"),
    ("sip_handovers_total", "sip_handovers", "datagrams passed on to another worker"),
    ("sip_server_transactions", "sip_server_transactions", "open server transactions"),
    ("sip_client_transactions", "sip_client_transactions", "open client transactions"),
    ("redial_watches_granted_total", "redial_watches_granted", "offline INVITEs answered with a grant"),
    ("redial_watches_refused_total", "sip_watches_refused", "offline INVITEs that armed no watch, by reason"),
    ("redial_orders_dropped_total", "sip_recall_orders_dropped", "recalls that a coordinator ordered and this edge did not make, by reason"),
    ("redial_recalls_total", "sip_recalls", "recalls made by this edge, by rung and result"),
];

/// What the endpoints count: messages by method and status, drops by reason, watches, recalls, transactions.
fn messages(meter: &Meter, metrics: &Arc<Metrics>) {
    for (sample_name, instrument, description) in FAMILIES {
        let metrics = Arc::clone(metrics);
        let observe = move |observer: &dyn AsyncInstrument<u64>| {
            for sample in metrics.samples().filter(|sample| sample.name == sample_name) {
                let labels: Vec<KeyValue> = sample.labels.into_iter().map(|(label, word)| KeyValue::new(label, word)).collect();
                observer.observe(sample.value, &labels);
            }
        };
        if sample_name.ends_with("_total") {
            meter.u64_observable_counter(instrument).with_description(description).with_callback(observe).build();
        } else {
            meter.u64_observable_gauge(instrument).with_description(description).with_callback(observe).build();
        }
    }
}

/// One counter whose series are told apart by one label.
fn counter<const N: usize>(
    meter: &Meter,
    (name, description): (&'static str, &'static str),
    counters: &Arc<Counters>,
    read: impl Fn(&Counters) -> [(KeyValue, u64); N] + Send + Sync + 'static,
) {
    let counters = Arc::clone(counters);
    let observe = meter.u64_observable_counter(name).with_description(description).with_callback(move |observer| {
        for (label, value) in read(&counters) {
            observer.observe(value, &[label]);
        }
    });
    observe.build();
}

fn datagrams(meter: &Meter, counters: &Arc<Counters>) {
    counter(meter, ("sip_datagrams", "datagrams by direction"), counters, |c| {
        let label = |word: &'static str| KeyValue::new("direction", word);
        [(label("received"), c.sip.received.value()), (label("sent"), c.sip.sent.value())]
    });
    counter(meter, ("sip_socket_errors", "system calls on SIP sockets that failed"), counters, |c| {
        let label = |word: &'static str| KeyValue::new("direction", word);
        [(label("received"), c.sip.receive_errors.value()), (label("sent"), c.sip.send_errors.value())]
    });
}

fn drops(meter: &Meter, counters: &Arc<Counters>) {
    counter(meter, ("sip_edge_queue_drops", "items dropped because a bounded queue was full"), counters, |c| {
        let label = |word: &'static str| KeyValue::new("queue", word);
        [
            (label("send"), c.sip.dropped.value()),
            (label("handover"), c.handovers_dropped.value()),
            (label("order"), c.orders_dropped.value()),
            (label("request"), c.requests_overloaded.value()),
            (label("connection"), c.streams.dropped.value()),
        ]
    });
}

fn requests(meter: &Meter, counters: &Arc<Counters>) {
    counter(meter, ("redial_link_requests", "requests on their way to coordinators, by what happened to them"), counters, |c| {
        let label = |word: &'static str| KeyValue::new("event", word);
        [
            (label("sent"), c.requests_sent.value()),
            (label("resent"), c.requests_resent.value()),
            (label("overloaded"), c.requests_overloaded.value()),
            (label("unattached"), c.requests_unattached.value()),
            (label("timed_out"), c.requests_timed_out.value()),
            (label("late_reply"), c.replies_late.value()),
        ]
    });
    counter(meter, ("redial_link_frames", "frames exchanged with coordinators, by what happened to them"), counters, |c| {
        let label = |word: &'static str| KeyValue::new("event", word);
        [
            (label("sent"), c.frames_sent.value()),
            (label("garbled"), c.downlink_errors.value()),
            (label("stream_lost"), c.streams_lost.value()),
        ]
    });
}

/// What edges behind one address do for each other.
fn peers(meter: &Meter, counters: &Arc<Counters>) {
    let kinds = |counts: &[Count; 3]| {
        let value = |kind: Kind| counts[kind as usize - 1].value();
        [("request", value(Kind::Request)), ("response", value(Kind::Response)), ("send", value(Kind::Send))]
            .map(|(word, value)| (KeyValue::new("what", word), value))
    };
    let passed = "datagrams passed to another edge: a request or response of its, or one to a phone that it reaches";
    counter(meter, ("sip_edge_peer_passed", passed), counters, move |c| kinds(&c.peers.passed));
    counter(meter, ("sip_edge_peer_received", "datagrams that another edge has passed"), counters, move |c| kinds(&c.peers.received));
    counter(meter, ("sip_edge_peer_dropped", "datagrams from or for other edges that were dropped, by reason"), counters, |c| {
        let label = |word: &'static str| KeyValue::new("reason", word);
        let socket = &c.peers.socket;
        [
            (label("queue_full"), socket.dropped.value()),
            (label("socket_error"), socket.receive_errors.value() + socket.send_errors.value()),
            (label("forged"), c.peers.forged.value()),
            (label("malformed"), c.peers.malformed.value()),
            (label("no_listener"), c.peers.no_listener.value()),
            (label("gone"), c.peers.gone.value()),
        ]
    });
}

/// Connections of phones by TCP and TLS.
fn streams(meter: &Meter, counters: &Arc<Counters>) {
    const STREAMS: [Transport; 2] = [Transport::Tcp, Transport::Tls];
    let transport = |transport: Transport| KeyValue::new("transport", transport.word());
    let read = Arc::clone(counters);
    let open = meter.u64_observable_gauge("sip_connections").with_description("open connections of phones, by transport");
    open.with_callback(move |observer| {
        STREAMS.iter().for_each(|t| observer.observe(read.streams.open[*t as usize].value(), &[transport(*t)]))
    })
    .build();
    counter(meter, ("sip_connections_accepted", "connections of phones taken, by transport"), counters, move |c| {
        STREAMS.map(|t| (transport(t), c.streams.accepted[t as usize].value()))
    });
    counter(meter, ("sip_connections_refused", "connections not taken, by what was full"), counters, |c| {
        Refused::ALL.map(|why| (KeyValue::new("reason", why.word()), c.streams.refused[why as usize].value()))
    });
    counter(meter, ("sip_connections_closed", "connections that ended, by reason"), counters, |c| {
        Closed::ALL.map(|why| (KeyValue::new("reason", why.word()), c.streams.closed[why as usize].value()))
    });
    counter(
        meter,
        ("sip_connection_errors", "what failed with connections: accepting, handshakes, reading a changed certificate"),
        counters,
        |c| {
            let label = |word: &'static str| KeyValue::new("what", word);
            [
                (label("accept"), c.streams.accept_errors.value()),
                (label("handshake"), c.streams.handshakes_failed.value()),
                (label("certificate"), c.streams.certificate_errors.value()),
            ]
        },
    );
    let read = Arc::clone(counters);
    let gone = meter.u64_observable_counter("sip_unreachable").with_description("messages for a phone whose connection is gone");
    gone.with_callback(move |observer| observer.observe(read.streams.unreachable.value(), &[])).build();
    let read = Arc::clone(counters);
    let expires = meter.u64_observable_gauge("sip_tls_certificate_expiry").with_unit("s");
    let expires = expires.with_description("when the certificate for TLS ends, in seconds since 1970");
    let observe = move |observer: &dyn AsyncInstrument<u64>| match read.streams.certificate_expires.value() {
        0 => {}
        seconds => observer.observe(seconds, &[]),
    };
    expires.with_callback(observe).build();
}

/// Other edges, by whether they are heard.
pub(crate) fn peer_levels(meter: &Meter, peers: &Arc<Peers>) {
    let read = Arc::clone(peers);
    let known =
        meter.u64_observable_gauge("sip_edge_peers").with_description("other edges that are listed, and those of them that are there");
    let observe = move |observer: &dyn AsyncInstrument<u64>| {
        let (listed, live) = read.count();
        observer.observe(listed as u64, &[KeyValue::new("state", "listed")]);
        observer.observe(live as u64, &[KeyValue::new("state", "live")]);
    };
    known.with_callback(observe).build();
}

/// Servers that this edge stands before. Their addresses are the operator's own, not a user's.
pub(crate) fn upstreams(meter: &Meter, upstreams: &Arc<Upstreams>) {
    let label = |server: &Upstream| KeyValue::new("upstream", server.name.clone());
    let read = Arc::clone(upstreams);
    let up = meter.u64_observable_gauge("sip_upstream_up").with_description("servers upstream: 1 answers, 0 is passed over");
    up.with_callback(move |observer| read.all().iter().for_each(|server| observer.observe(server.is_up().into(), &[label(server)])))
        .build();
    let read = Arc::clone(upstreams);
    let faults =
        meter.u64_observable_counter("sip_upstream_faults").with_description("times that a server upstream was passed over, by reason");
    let observe = move |observer: &dyn AsyncInstrument<u64>| {
        for server in read.all() {
            for (fault, word) in [(Fault::Timeout, "timeout"), (Fault::Unavailable, "unavailable")] {
                observer.observe(server.faults(fault), &[label(&server), KeyValue::new("reason", word)]);
            }
        }
    };
    faults.with_callback(observe).build();
}

fn levels(meter: &Meter, counters: &Arc<Counters>) {
    let read = Arc::clone(counters);
    let open = meter.u64_observable_gauge("redial_link_requests_open").with_description("requests without reply");
    open.with_callback(move |observer| observer.observe(read.requests_open.value(), &[])).build();
    let read = Arc::clone(counters);
    let attached = meter.u64_observable_gauge("redial_link_coordinators_attached").with_description("coordinators with an open stream");
    attached.with_callback(move |observer| observer.observe(read.coordinators_attached.value(), &[])).build();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_levels_are_printed() {
        let telemetry = redial_runtime::telemetry::Metrics::new().unwrap();
        let meter = telemetry.meter("sip-edge");
        let counters = Arc::new(Counters::default());
        let metrics = Arc::new(Metrics::default());
        register(&meter, &metrics, &counters);
        metrics.request_in(sip_core::Method::Invite);
        metrics.response_out(crate::metrics::Origin::Edge, sip_core::Method::Register, 200);
        counters.sip.received.add(5);
        counters.sip.dropped.add(2);
        counters.coordinators_attached.set(1);
        round_trip(&meter).record(0.002, &[KeyValue::new("asked", "register")]);
        let text = telemetry.render().unwrap();
        for line in [
            "sip_requests_received_total{method=\"INVITE\"} 1",
            "sip_responses_sent_total{method=\"REGISTER\",origin=\"edge\",status=\"200\"} 1",
            "sip_server_transactions 0",
            "sip_datagrams_total{direction=\"received\"} 5",
            "sip_edge_queue_drops_total{queue=\"send\"} 2",
            "redial_link_coordinators_attached 1",
            "redial_link_latency_seconds_bucket{asked=\"register\",le=\"0.0025\"} 1",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn nothing_that_an_endpoint_counts_is_left_out() {
        use redial_core::link::{NotWatched, RecallResult};
        use sip_core::Method;

        use crate::metrics::{DropReason, Kind, OrderDrop, Origin, Outcome};

        let metrics = Metrics::default();
        metrics.request_in(Method::Invite);
        metrics.request_out(Method::Invite);
        metrics.response_in(Method::Invite, 200);
        metrics.response_out(Origin::Edge, Method::Invite, 200);
        metrics.dropped(DropReason::NotSip);
        metrics.routed(Outcome::Online);
        metrics.watch_refused(NotWatched::PolicyOff);
        metrics.order_dropped(OrderDrop::Repeated);
        metrics.recall(1, RecallResult::Accepted);
        let mut exported = 0;
        for sample in metrics.samples() {
            let (name, ..) = FAMILIES.iter().find(|(name, ..)| *name == sample.name).expect(sample.name);
            assert_eq!(name.ends_with("_total"), sample.kind == Kind::Counter, "{name}");
            exported += 1;
        }
        assert_eq!(exported, FAMILIES.len());
    }
}
