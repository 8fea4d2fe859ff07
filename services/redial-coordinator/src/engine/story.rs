//! The trace of a watch, as far as this side tells it: arm -> REGISTER -> recall -> end. The edges tell the messages in between.
//!
//! The record carries the context. Each part continues from what the last one left there, and what comes hours later is linked to the
//! arming. Without a collector no watch has a trace, and nothing here reads a clock or allocates.

use std::time::Duration;

use redial_core::link::{Offline, Routed};
use redial_core::signals;
use redial_core::trace::{Span, SpanKind};
use redial_core::{EdgeGateway, EndReason, Fence, Pair, Policy, TraceContext, UnixMillis, Watch, WatchStore, WatchTrace};
use redial_runtime::clock::{self, Now};

use super::Engine;

/// Names the recall that the record is being claimed for.
pub(super) fn recalled(next: &mut Watch) {
    if let Some(trace) = &mut next.trace {
        trace.recall = Some(trace.armed.child("recall", next.fence.0));
    }
}

/// What follows a report follows the span that the edge made of it.
pub(super) fn continued(mut watch: Watch, reported: Option<TraceContext>) -> Watch {
    if let (Some(trace), Some(reported)) = (&mut watch.trace, reported)
        && trace.armed.trace_id() == reported.trace_id()
    {
        trace.recall = Some(reported);
    }
    watch
}

impl<S: WatchStore, G: EdgeGateway> Engine<S, G> {
    /// Whether a watch that is being armed is traced.
    pub(super) fn traced(&self, policy: &Policy, pair: &Pair, fence: Fence) -> Option<WatchTrace> {
        let armed = self.spans.on().then(|| TraceContext::sample(policy.trace_ratio, pair, fence)).flatten()?;
        Some(WatchTrace { armed, recall: None })
    }

    /// The time at which something begins that may become a span.
    pub(super) fn began(&self) -> Option<Now> {
        self.spans.on().then(clock::now)
    }

    pub(super) fn tell_armed(&self, began: Option<Now>, watch: &Watch, routed: &Routed) {
        let granted = matches!(routed, Routed::Offline(Offline::Granted { trace: Some(_), .. }));
        self.tell(began, watch.trace.filter(|_| granted), |trace| {
            Span::new("arm", SpanKind::Internal, trace.armed.child("arm", watch.fence.0), Some(trace.armed), &watch.pair)
        });
    }

    /// `back`: when the callee's REGISTER set it off, if that is known.
    pub(super) fn tell_recall(&self, began: Option<Now>, watch: &Watch, rung: u8, back: Option<UnixMillis>, sent: bool) {
        let Some((began, WatchTrace { armed, recall: Some(recall) })) = began.zip(watch.trace) else { return };
        let link = Some(armed);
        let register = back.map(|back| {
            let context = armed.child("REGISTER", watch.fence.0);
            let span = Span::new("REGISTER", SpanKind::Server, context, link, &watch.pair).at(back, began.unix.since(back));
            Span { link, ..waited(span, watch, back) }
        });
        let parent = register.as_ref().map(|register| register.context).or(link);
        let span = Span::new("recall", SpanKind::Internal, recall, parent, &watch.pair).at(began.unix, taken(began));
        self.spans.export(Span { link, failed: !sent, ..waited(span, watch, began.unix).number("redial.rung", rung) });
        if let Some(register) = register {
            self.spans.export(register);
        }
    }

    pub(super) fn tell_end(&self, began: Option<Now>, watch: &Watch, reason: EndReason) {
        self.tell(began, watch.trace, |trace| {
            let parent = trace.current();
            let span = Span::new("end", SpanKind::Internal, parent.child("end", watch.fence.0), Some(parent), &watch.pair);
            let link = trace.recall.map(|_| trace.armed);
            Span { link, ..span.word("redial.reason", reason.as_str()).number("redial.attempts", watch.attempts) }
        });
    }

    fn tell(&self, began: Option<Now>, trace: Option<WatchTrace>, span: impl FnOnce(WatchTrace) -> Span) {
        if let Some((began, trace)) = began.zip(trace) {
            self.spans.export(span(trace).at(began.unix, taken(began)));
        }
    }

    /// The books of an ended watch.
    pub(super) fn balance(&self, now: UnixMillis, watch: &Watch, reason: EndReason) {
        let policies = self.policies();
        let waited = now.since(watch.armed_at);
        if reason == EndReason::Connected {
            self.metrics.reconnected(waited);
        }
        self.metrics.signals(signals::balance(policies.for_callee(&watch.pair.callee), watch, reason, waited));
    }

    /// The same for a watch whose record has run out with its time: its period is not known any more, so the policy's stands for it.
    pub(super) fn balance_of_unknown(&self, pair: &Pair) {
        let policies = self.policies();
        self.metrics.signals(signals::unanswered(policies.for_callee(&pair.callee).period_default));
    }
}

fn taken(began: Now) -> Duration {
    clock::instant().saturating_duration_since(began.instant)
}

fn waited(span: Span, watch: &Watch, until: UnixMillis) -> Span {
    span.number("redial.waited_s", until.since(watch.armed_at).as_secs())
}
