//! Callees that have come back and whose queue is not served yet: how long is a caller's phone kept waiting for its recall?

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redial_core::{Aor, UnixMillis};
use rustc_hash::FxHashMap;

/// What is measured at a time; more go unmeasured.
const CAPACITY: usize = 10_000;

/// A recall that comes later is due to something else: another replica served the queue, or nobody could be recalled then.
const FRESH: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Returns(Mutex<FxHashMap<Aor, UnixMillis>>);

impl Returns {
    /// `callee` registered at `now`, and somebody waits.
    pub(super) fn note(&self, now: UnixMillis, callee: &Aor) {
        let mut table = self.lock();
        if table.len() >= CAPACITY {
            table.retain(|_, at| now.since(*at) < FRESH);
        }
        if table.len() < CAPACITY {
            table.insert(callee.clone(), now);
        }
    }

    /// When the callee of the recall that is ordered now came back, the first time that somebody asks.
    pub(super) fn take(&self, now: UnixMillis, callee: &Aor) -> Option<UnixMillis> {
        self.lock().remove(callee).filter(|at| now.since(*at) < FRESH)
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<Aor, UnixMillis>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_is_told_once_and_not_when_it_is_old() {
        let (returns, bob) = (Returns::default(), Aor::new("bob@example.com"));
        returns.note(UnixMillis(1000), &bob);
        assert_eq!(returns.take(UnixMillis(2000), &bob), Some(UnixMillis(1000)));
        assert_eq!(returns.take(UnixMillis(2000), &bob), None);
        returns.note(UnixMillis(1000), &bob);
        assert_eq!(returns.take(UnixMillis(1000 + 120_000), &bob), None);
    }
}
