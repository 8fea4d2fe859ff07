//! Bindings and watches as they are stored.

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use redial_core::watch::State;
use redial_core::{Binding, BindingId, EdgeId, Fence, Flow, Pair, TraceContext, UnixMillis, Watch, WatchTrace};

use super::{ConvertError, narrow, traceparent};
use crate::v1;

impl From<Binding> for v1::BindingRecord {
    fn from(b: Binding) -> Self {
        Self {
            id: b.id.0,
            uri: b.uri,
            params: b.params,
            q: b.q.into(),
            expires_at: b.expires_at.0,
            call_id: b.call_id,
            cseq: b.cseq,
            path: b.path,
            edge: b.edge.as_str().into(),
            flow: b.flow.as_str().into(),
            user_agent: b.user_agent,
            probed: b.probed,
        }
    }
}

impl TryFrom<v1::BindingRecord> for Binding {
    type Error = ConvertError;
    fn try_from(r: v1::BindingRecord) -> Result<Self, ConvertError> {
        Ok(Self {
            id: BindingId(r.id),
            uri: r.uri,
            params: r.params,
            q: narrow(r.q, "binding.q")?,
            expires_at: UnixMillis(r.expires_at),
            call_id: r.call_id,
            cseq: r.cseq,
            path: r.path,
            edge: EdgeId::new(r.edge),
            flow: Flow::new(r.flow),
            user_agent: r.user_agent,
            probed: r.probed,
        })
    }
}

impl From<&Watch> for v1::WatchRecord {
    fn from(w: &Watch) -> Self {
        use v1::watch_record::{State as Wire, Turn};
        let turn = |rung: u8, until: UnixMillis| Turn { rung: rung.into(), until: until.0 };
        Self {
            fence: w.fence.0,
            armed_at: w.armed_at.0,
            deadline: w.deadline.0,
            not_before: w.not_before.0,
            attempts: w.attempts,
            parked: w.parked,
            caller_flow: w.caller_flow.as_str().into(),
            caller_seen: w.caller_seen,
            past: w.past.0,
            traceparent: traceparent(w.trace.map(|trace| trace.armed)),
            recall_span: w.trace.and_then(|trace| trace.recall).map_or(0, |recall| recall.span_id()),
            state: match w.state {
                State::Armed => None,
                State::Claimed { rung, lease_until } => Some(Wire::Claimed(turn(rung, lease_until))),
                State::Recalling { rung, until } => Some(Wire::Recalling(turn(rung, until))),
                State::Calling { rung, until } => Some(Wire::Calling(turn(rung, until))),
            },
        }
    }
}

impl v1::WatchRecord {
    /// The watch that this record describes; the pair comes from the record's key.
    ///
    /// # Errors
    /// [`ConvertError::Range`] for a rung that no ladder has.
    pub fn into_watch(self, pair: Pair) -> Result<Watch, ConvertError> {
        use v1::watch_record::State as Wire;
        let state = match self.state {
            None => State::Armed,
            Some(Wire::Claimed(t)) => State::Claimed { rung: narrow(t.rung, "watch.rung")?, lease_until: UnixMillis(t.until) },
            Some(Wire::Recalling(t)) => State::Recalling { rung: narrow(t.rung, "watch.rung")?, until: UnixMillis(t.until) },
            Some(Wire::Calling(t)) => State::Calling { rung: narrow(t.rung, "watch.rung")?, until: UnixMillis(t.until) },
        };
        let trace = TraceContext::parse(&self.traceparent).map(|armed| {
            let recall = TraceContext::new(armed.trace_id(), self.recall_span);
            WatchTrace { armed, recall }
        });
        Ok(Watch {
            pair,
            fence: Fence(self.fence),
            state,
            armed_at: UnixMillis(self.armed_at),
            deadline: UnixMillis(self.deadline),
            not_before: UnixMillis(self.not_before),
            attempts: self.attempts,
            parked: self.parked,
            caller_flow: Flow::new(self.caller_flow),
            caller_seen: self.caller_seen,
            past: Fence(self.past),
            trace,
        })
    }
}

/// A binding as bytes for the store. Every REGISTER does this, so it writes the record straight from the binding instead of copying its
/// strings into a message first.
#[must_use]
pub fn encode_binding(binding: &Binding) -> Vec<u8> {
    let mut record = encode_keyed_binding(binding);
    // Fields may come in any order (protobuf encoding, "Field order").
    put_text(1, &binding.id.0, &mut record);
    record
}

/// The same without the id, for a store that keeps it in the record's key.
#[must_use]
pub fn encode_keyed_binding(b: &Binding) -> Vec<u8> {
    let mut record = Vec::with_capacity(64 + b.uri.len() + b.params.len() + b.call_id.len() + b.flow.as_str().len() + b.user_agent.len());
    put_text(2, &b.uri, &mut record);
    put_text(3, &b.params, &mut record);
    put_number(4, b.q.into(), &mut record);
    put_number(5, b.expires_at.0, &mut record);
    put_text(6, &b.call_id, &mut record);
    put_number(7, b.cseq.into(), &mut record);
    b.path.iter().for_each(|hop| put_bytes(8, hop.as_bytes(), &mut record));
    put_text(9, b.edge.as_str(), &mut record);
    put_text(10, b.flow.as_str(), &mut record);
    put_text(11, &b.user_agent, &mut record);
    put_number(12, b.probed.into(), &mut record);
    record
}

fn put_text(tag: u32, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        put_bytes(tag, text.as_bytes(), out);
    }
}

fn put_bytes(tag: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_number(tag: u32, number: u64, out: &mut Vec<u8>) {
    if number != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(number, out);
    }
}

/// Reads what [`encode_binding`] of this or another version wrote.
///
/// # Errors
/// [`ConvertError::Undecodable`] for bytes that are no record.
pub fn decode_binding(bytes: &[u8]) -> Result<Binding, ConvertError> {
    v1::BindingRecord::decode(bytes).map_err(|e| ConvertError::Undecodable(e.to_string()))?.try_into()
}

/// A watch as bytes for the store, without its pair, which is the key.
#[must_use]
pub fn encode_watch(watch: &Watch) -> Vec<u8> {
    v1::WatchRecord::from(watch).encode_to_vec()
}

/// Reads what [`encode_watch`] of this or another version wrote.
///
/// # Errors
/// [`ConvertError::Undecodable`] for bytes that are no record.
pub fn decode_watch(pair: Pair, bytes: &[u8]) -> Result<Watch, ConvertError> {
    v1::WatchRecord::decode(bytes).map_err(|e| ConvertError::Undecodable(e.to_string()))?.into_watch(pair)
}
