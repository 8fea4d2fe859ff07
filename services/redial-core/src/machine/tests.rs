mod properties;
mod table;

use super::*;
use crate::{Aor, Flow, Pair};

pub(super) const NOW: UnixMillis = UnixMillis(1_000_000);
pub(super) const DEADLINE: UnixMillis = UnixMillis(1_000_000 + 3_600_000);
pub(super) const HERE: Situation = Situation { callee_online: true, caller_online: true, caller_returned: false, learned: None };

pub(crate) fn watch(state: State) -> Watch {
    Watch {
        pair: Pair { callee: Aor::new("bob@example.com"), caller: Aor::new("alice@example.com") },
        fence: Fence(900_010),
        state,
        armed_at: UnixMillis(900_000),
        deadline: DEADLINE,
        not_before: NOW,
        attempts: 0,
        parked: false,
        caller_flow: Flow::default(),
        caller_seen: 0,
        past: Fence(0),
        trace: None,
    }
}

pub(super) fn at(ms: u64) -> UnixMillis {
    UnixMillis(NOW.0 + ms)
}
