//! Where spans go.

use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use opentelemetry::trace::{self, Link, SpanContext, SpanId, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor as _};
use redial_core::TraceContext;
use redial_core::trace::{Fact, Span, SpanKind};

use super::collector::Signal;

/// Takes finished spans to the collector; nowhere when there is none. Never waits: a queue that is full drops, counted.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<Queue>>);

pub(super) struct Queue {
    pub(super) processor: BatchSpanProcessor,
    pub(super) signal: Arc<Signal>,
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spans").field(&self.on()).finish()
    }
}

impl Spans {
    pub(super) fn to(queue: Arc<Queue>) -> Self {
        Self(Some(queue))
    }

    /// Whether there is a collector: without one no watch is traced.
    #[must_use]
    pub fn on(&self) -> bool {
        self.0.is_some()
    }

    pub fn export(&self, span: Span) {
        if let Some(queue) = self.0.as_deref().filter(|queue| queue.signal.takes_one()) {
            queue.processor.on_end(data(span));
        }
    }
}

/// Names and times are the domain's, so the SDK's own tracer, which draws ids and reads clocks, has no part in it.
fn data(span: Span) -> SpanData {
    let start_time = UNIX_EPOCH + std::time::Duration::from_millis(span.start.0);
    let attributes = span.facts.into_iter().map(|(key, fact)| KeyValue::new(key, value(fact))).collect();
    let mut links = SpanLinks::default();
    links.links.extend(span.link.map(|link| Link::new(context(link, true), Vec::new(), 0)));
    SpanData {
        span_context: context(span.context, false),
        parent_span_id: span.parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.span_id())),
        parent_span_is_remote: true,
        span_kind: match span.kind {
            SpanKind::Server => trace::SpanKind::Server,
            SpanKind::Client => trace::SpanKind::Client,
            SpanKind::Internal => trace::SpanKind::Internal,
        },
        name: span.name.into(),
        start_time,
        end_time: start_time + span.took,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: if span.failed { Status::error("") } else { Status::Unset },
        instrumentation_scope: InstrumentationScope::builder("redial").build(),
    }
}

fn context(of: TraceContext, remote: bool) -> SpanContext {
    SpanContext::new(TraceId::from(of.trace_id()), SpanId::from(of.span_id()), TraceFlags::SAMPLED, remote, TraceState::NONE)
}

fn value(fact: Fact) -> Value {
    match fact {
        Fact::Word(word) => word.into(),
        Fact::Number(number) => i64::try_from(number).unwrap_or(i64::MAX).into(),
    }
}
