//! What a watch costs in SIP messages, and what presence would have cost for the same: the numbers that this system is built for.
//!
//! Both are counted beyond the failed INVITE, the callee's own REGISTER and the final call. Per watch, presence (RFC 3856) with a
//! subscription of [`REFRESH`] that is given up at the end costs
//!
//! ```text
//!  4                       SUBSCRIBE and NOTIFY that open it, with their answers
//!  4 x floor(waited / 1 h) SUBSCRIBE and NOTIFY of each refresh
//!  4                       PUBLISH of the callee and NOTIFY that it is back; only if it came back
//!  4                       SUBSCRIBE and NOTIFY that close it
//! ```
//!
//! which makes 16 for an hour, 108 for a day, and 12 for an hour in which nobody came back. 3600 s is the longest refresh in common use and
//! so the cheapest; with 600 s presence costs 36, 588 and 32. We spend messages on recalls only, see [`of_rung`].

use std::time::Duration;

use crate::watch::State;
use crate::{EndReason, Policy, Watch};

/// Refresh of a presence subscription: the default of RFC 3856 section 6.4.
pub const REFRESH: Duration = Duration::from_secs(3600);

/// Messages of one ended watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// What presence would have spent.
    pub presence: u64,
    /// What we spent.
    pub spent: u64,
}

impl Balance {
    /// 0 where presence would have been cheaper.
    #[must_use]
    pub fn saved(&self) -> u64 {
        self.presence.saturating_sub(self.spent)
    }
}

/// The balance of a watch that ended after it had waited so long. What was spent is what its recalls cost when every rung was gone through
/// to its end: never less than what was sent.
#[must_use]
pub fn balance(policy: &Policy, watch: &Watch, reason: EndReason, waited: Duration) -> Balance {
    let whole: u64 = policy.ladder.iter().map(|rung| of_rung(*rung)).sum();
    let last = match watch.state {
        State::Armed => 0,
        State::Claimed { rung, .. } | State::Recalling { rung, .. } | State::Calling { rung, .. } => {
            let below = policy.ladder.iter().take_while(|below| **below != rung);
            of_rung(rung) + below.map(|rung| of_rung(*rung)).sum::<u64>()
        }
    };
    let spent = u64::from(watch.attempts) * whole + last;
    let came_back = spent > 0 || matches!(reason, EndReason::Connected | EndReason::Recalled);
    Balance { presence: presence(waited, came_back), spent }
}

/// The balance of a watch whose callee did not come back.
#[must_use]
pub fn unanswered(waited: Duration) -> Balance {
    Balance { presence: presence(waited, false), spent: 0 }
}

fn presence(waited: Duration, came_back: bool) -> u64 {
    8 + 4 * (waited.as_secs() / REFRESH.as_secs()) + if came_back { 4 } else { 0 }
}

/// Messages of one recall on this rung of the ladder: 1 is REFER and its answer; 2 adds the subscription's two NOTIFYs; 3 is a call of ours
/// with the REFER in it; higher ones are a MESSAGE and its answer.
#[must_use]
pub fn of_rung(rung: u8) -> u64 {
    match rung {
        2 => 6,
        3 => 13,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn presence_costs_what_the_table_says() {
        assert_eq!((presence(HOUR, true), presence(24 * HOUR, true), presence(HOUR, false)), (16, 108, 12));
    }

    #[test]
    fn a_recall_costs_what_its_rungs_cost() {
        let policy = Policy { ladder: vec![1, 2], ..Policy::default() };
        let watch = |state, attempts| Watch { attempts, ..crate::machine::tests::watch(state) };
        let until = crate::UnixMillis(0);
        let spent = |state, attempts, reason| balance(&policy, &watch(state, attempts), reason, HOUR);
        let connected = spent(State::Calling { rung: 1, until }, 0, EndReason::Connected);
        assert_eq!((connected, connected.saved()), (Balance { presence: 16, spent: 2 }, 14));
        assert_eq!(spent(State::Calling { rung: 2, until }, 1, EndReason::Connected).spent, 8 + 2 + 6);
        assert_eq!(spent(State::Armed, 0, EndReason::Cancelled), unanswered(HOUR));
        assert_eq!(spent(State::Armed, 9, EndReason::Failed).saved(), 0, "presence would have been cheaper");
    }
}
