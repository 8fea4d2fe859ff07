//! Domain types to messages by `From`, messages to domain types by `TryFrom`; a conversion moves what it can.
//!
//! Two replicas of different versions may talk to each other, so frames are read item by item: an item that is not understood is
//! reported and left out, its neighbours are kept.

mod event;
mod frame;
mod operator;
mod order;
mod policy;
mod reply;
mod stored;
#[cfg(test)]
mod tests;

use redial_core::TraceContext;

pub use frame::{batch, downlink, hello, requests};
pub use stored::{decode_binding, decode_watch, encode_binding, encode_keyed_binding, encode_watch};

/// A message that does not say what its type requires.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A field without which the message means nothing, or a variant that a newer version added.
    #[error("{0} is missing or unknown")]
    Missing(&'static str),
    /// A number that the domain type cannot hold.
    #[error("{field} is out of range: {value}")]
    Range { field: &'static str, value: u64 },
    /// Stored bytes that are no such record.
    #[error("undecodable record: {0}")]
    Undecodable(String),
}

fn missing<T>(value: Option<T>, field: &'static str) -> Result<T, ConvertError> {
    value.ok_or(ConvertError::Missing(field))
}

/// A SIP status code: three digits (RFC 3261 section 7.2).
fn status(value: u32, field: &'static str) -> Result<u16, ConvertError> {
    u16::try_from(value).ok().filter(|code| (100..700).contains(code)).ok_or(ConvertError::Range { field, value: u64::from(value) })
}

fn narrow<T: TryFrom<u32>>(value: u32, field: &'static str) -> Result<T, ConvertError> {
    T::try_from(value).map_err(|_| ConvertError::Range { field, value: u64::from(value) })
}

/// Whole milliseconds; anything finer is lost.
fn millis(d: std::time::Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// Empty where nothing is traced, which is nearly always: costs no allocation.
fn traceparent(trace: Option<TraceContext>) -> String {
    trace.map_or_else(String::new, |trace| trace.to_string())
}

fn each<A, B: TryFrom<A, Error = ConvertError>>(items: Vec<A>) -> Result<Vec<B>, ConvertError> {
    items.into_iter().map(B::try_from).collect()
}

fn into_each<A, B: From<A>>(items: Vec<A>) -> Vec<B> {
    items.into_iter().map(B::from).collect()
}
