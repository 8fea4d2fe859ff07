//! Records as bytes.
//!
//! A watch is stored as its fence (8 bytes, big-endian) and its `redial.v1.WatchRecord`: the scripts compare the fence without
//! understanding the record, so records of other versions pass through them. A binding is a `redial.v1.BindingRecord` without its id,
//! which is the hash field.

use redial_core::store::StoreError;
use redial_core::{Binding, BindingId, Fence, Pair, Watch};
use redial_proto::convert;

const FENCE: usize = 8;

pub(super) fn fence(fence: Fence) -> [u8; FENCE] {
    fence.0.to_be_bytes()
}

pub(super) fn encode_watch(watch: &Watch) -> Vec<u8> {
    let record = convert::encode_watch(watch);
    let mut bytes = Vec::with_capacity(FENCE + record.len());
    bytes.extend_from_slice(&fence(watch.fence));
    bytes.extend_from_slice(&record);
    bytes
}

pub(super) fn decode_watch(pair: Pair, bytes: &[u8]) -> Result<Watch, StoreError> {
    let corrupt = |why: &str| StoreError::Corrupt(format!("watch of {} for {}: {why}", pair.caller, pair.callee));
    let Some((stored_fence, record)) = bytes.split_first_chunk::<FENCE>() else { return Err(corrupt("shorter than its fence")) };
    let watch = convert::decode_watch(pair.clone(), record).map_err(|e| corrupt(&e.to_string()))?;
    if fence(watch.fence) == *stored_fence { Ok(watch) } else { Err(corrupt("its two fences differ")) }
}

pub(super) fn encode_binding(binding: &Binding) -> Vec<u8> {
    convert::encode_keyed_binding(binding)
}

pub(super) fn decode_binding(id: &[u8], bytes: &[u8]) -> Result<Binding, StoreError> {
    let corrupt = |why: String| StoreError::Corrupt(format!("binding {}: {why}", String::from_utf8_lossy(id)));
    let binding = convert::decode_binding(bytes).map_err(|e| corrupt(e.to_string()))?;
    let id = String::from_utf8(id.to_vec()).map_err(|e| corrupt(e.to_string()))?;
    Ok(Binding { id: BindingId(id), ..binding })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use redial_core::watch::State;
    use redial_core::{Aor, EdgeId, Flow, UnixMillis};

    fn pair() -> Pair {
        Pair { callee: Aor::new("bob@example.com"), caller: Aor::new("alice@example.com") }
    }

    proptest! {
        #[test]
        fn watches_survive(fence in 1u64.., times in any::<[u64; 4]>(), attempts: u32, parked: bool, state in 0u8..4, rung: u8, flow in "\\PC{0,20}") {
            let until = UnixMillis(times[3]);
            let state = match state {
                0 => State::Armed,
                1 => State::Claimed { rung, lease_until: until },
                2 => State::Recalling { rung, until },
                _ => State::Calling { rung, until },
            };
            let watch = Watch {
                pair: pair(), fence: Fence(fence), state, attempts, parked,
                armed_at: UnixMillis(times[0]), deadline: UnixMillis(times[1]), not_before: UnixMillis(times[2]),
                caller_flow: Flow::new(flow), caller_seen: times[0] ^ times[1], past: Fence(times[1]),
                trace: redial_core::TraceContext::new(times[0].into(), times[1]).map(|armed| redial_core::WatchTrace { armed, recall: None }),
            };
            prop_assert_eq!(decode_watch(pair(), &encode_watch(&watch)), Ok(watch));
        }

        #[test]
        fn bindings_survive(texts in any::<[String; 6]>(), path in proptest::collection::vec("\\PC{0,9}", 0..3), q in 0u16..=1000, at: u64, cseq: u32) {
            let [id, uri, params, call_id, flow, user_agent] = texts;
            let binding = Binding {
                id: BindingId(id), uri, params, q, expires_at: UnixMillis(at), call_id, cseq, path,
                edge: EdgeId::new("edge-1"), flow: Flow::new(flow), user_agent, probed: false,
            };
            prop_assert_eq!(decode_binding(binding.id.0.as_bytes(), &encode_binding(&binding)), Ok(binding));
        }

        #[test]
        fn garbage_is_corrupt_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode_watch(pair(), &bytes);
            let _ = decode_binding(&bytes, &bytes);
        }
    }
}
