//! Reading what Redis answers. A record that cannot be read is reported and treated as absent: one bad record must not take its
//! neighbours in the batch along, and its TTL removes it.

use std::sync::atomic::{AtomicU64, Ordering};

use redial_core::store::StoreError;
use redial_core::{Binding, Pair, UnixMillis, Watch};
use redis::Value;

use crate::store::{codec, registration};

/// One field of a bindings hash as stored.
pub(super) struct Field {
    pub id: Vec<u8>,
    pub record: Vec<u8>,
}

/// Takes the replies of a pipeline one by one, in the order of its commands.
pub(super) struct Replies(std::vec::IntoIter<Value>);

impl Replies {
    pub(super) fn new(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }

    fn next(&mut self) -> Result<Value, StoreError> {
        self.0.next().ok_or_else(|| unexpected("fewer replies than commands"))
    }

    /// Passes over replies that say nothing of use; an error among them has failed the whole pipeline already.
    pub(super) fn skip(&mut self, replies: usize) {
        self.0.by_ref().take(replies).for_each(drop);
    }

    pub(super) fn int(&mut self) -> Result<i64, StoreError> {
        match self.next()? {
            Value::Int(n) => Ok(n),
            other => Err(unexpected(&format!("{other:?} is no integer"))),
        }
    }

    pub(super) fn count(&mut self) -> Result<u32, StoreError> {
        Ok(u32::try_from(self.int()?).unwrap_or(u32::MAX))
    }

    /// Whether a `SET NX` set it.
    pub(super) fn was_set(&mut self) -> Result<bool, StoreError> {
        Ok(!matches!(self.next()?, Value::Nil))
    }

    pub(super) fn bytes(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        match self.next()? {
            Value::BulkString(bytes) => Ok(Some(bytes)),
            Value::Nil => Ok(None),
            other => Err(unexpected(&format!("{other:?} is no string"))),
        }
    }

    /// The strings of an array; anything else in it is left out.
    pub(super) fn strings(&mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        match self.next()? {
            Value::Array(items) | Value::Set(items) => Ok(items
                .into_iter()
                .filter_map(|item| match item {
                    Value::BulkString(bytes) => Some(bytes),
                    _ => None,
                })
                .collect()),
            other => Err(unexpected(&format!("{other:?} is no array"))),
        }
    }

    /// The fields of a hash.
    pub(super) fn fields(&mut self) -> Result<Vec<Field>, StoreError> {
        let mut items = self.strings()?.into_iter();
        let mut fields = Vec::with_capacity(items.len() / 2);
        while let (Some(id), Some(record)) = (items.next(), items.next()) {
            fields.push(Field { id, record });
        }
        Ok(fields)
    }

    /// The live bindings of a hash, best first.
    pub(super) fn live(&mut self, now: UnixMillis) -> Result<Vec<Binding>, StoreError> {
        let mut bindings = bindings(&self.fields()?);
        bindings.retain(|b| b.expires_at > now);
        registration::sort(&mut bindings);
        Ok(bindings)
    }

    pub(super) fn watch(&mut self, pair: &Pair) -> Result<Option<Watch>, StoreError> {
        let Some(bytes) = self.bytes()? else { return Ok(None) };
        Ok(readable(codec::decode_watch(pair.clone(), &bytes)))
    }
}

/// All bindings that can be read, in no order.
pub(super) fn bindings(fields: &[Field]) -> Vec<Binding> {
    fields.iter().filter_map(|f| readable(codec::decode_binding(&f.id, &f.record))).collect()
}

fn readable<T>(decoded: Result<T, StoreError>) -> Option<T> {
    decoded.map_err(|error| say(&error)).ok()
}

/// The 1st, 2nd, 4th, 8th... time: a record that cannot be read is met by every sweep until its TTL removes it.
fn say(error: &StoreError) {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
    if seen.is_power_of_two() {
        tracing::warn!(%error, seen, "stored record is ignored");
    }
}

fn unexpected(what: &str) -> StoreError {
    StoreError::Unavailable(format!("unexpected reply: {what}"))
}
