//! The counters as OpenTelemetry instruments. Observed when somebody asks, so counting costs the hot path one atomic add.

use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

use crate::counters::Counters;

/// Seconds: from an in-process store to a coordinator that is about to be given up.
const LATENCY_BOUNDS: [f64; 12] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

/// From a request's submission to its reply, batching included.
pub(crate) fn round_trip(meter: &Meter) -> Histogram<f64> {
    meter
        .f64_histogram("redial_link_round_trip")
        .with_unit("s")
        .with_description("time from a request of this edge to the coordinator's reply")
        .with_boundaries(LATENCY_BOUNDS.to_vec())
        .build()
}

/// Makes every counter visible. No label names a user or an address.
pub(crate) fn register(meter: &Meter, counters: &Arc<Counters>) {
    datagrams(meter, counters);
    drops(meter, counters);
    requests(meter, counters);
    levels(meter, counters);
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
        [(label("received"), c.datagrams_received.value()), (label("sent"), c.datagrams_sent.value())]
    });
    counter(meter, ("sip_socket_errors", "system calls on SIP sockets that failed"), counters, |c| {
        let label = |word: &'static str| KeyValue::new("direction", word);
        [(label("received"), c.receive_errors.value()), (label("sent"), c.send_errors.value())]
    });
}

fn drops(meter: &Meter, counters: &Arc<Counters>) {
    counter(meter, ("sip_edge_queue_drops", "items dropped because a bounded queue was full"), counters, |c| {
        let label = |word: &'static str| KeyValue::new("queue", word);
        [
            (label("send"), c.sends_dropped.value()),
            (label("handover"), c.handovers_dropped.value()),
            (label("order"), c.orders_dropped.value()),
            (label("request"), c.requests_overloaded.value()),
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
        register(&meter, &counters);
        counters.datagrams_received.add(5);
        counters.sends_dropped.add(2);
        counters.coordinators_attached.set(1);
        round_trip(&meter).record(0.002, &[]);
        let text = telemetry.render().unwrap();
        for line in [
            "sip_datagrams_total{direction=\"received\"} 5",
            "sip_edge_queue_drops_total{queue=\"send\"} 2",
            "redial_link_coordinators_attached 1",
            "redial_link_round_trip_seconds_bucket{le=\"0.0025\"} 1",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
