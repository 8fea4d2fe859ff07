//! Who of the replicas writes statuses: the holder of a Lease. Pure; `now` is this machine's monotonic clock.
//!
//! Clocks of machines are never compared: a lease has run out when it has not changed for its duration, measured here from when it was seen
//! for the first time, and its holder gives it up a while before that. Every write names the version of the lease that it replaces, so of
//! two replicas that bid at the same time one wins. (Of the published crates one compares clocks and writes unconditionally, the others are
//! for other versions of kube.)

use std::time::{Duration, Instant};

/// How long a lease is valid without being renewed.
pub const DURATION: Duration = Duration::from_secs(15);

/// How often it is renewed, and looked at by the others.
pub const RENEW: Duration = Duration::from_secs(5);

/// How much earlier the holder believes it to have run out: what an answer may take.
const MARGIN: Duration = Duration::from_secs(3);

/// A lease as the API server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// None or empty: nobody, it was given back.
    pub holder: Option<String>,
    /// Changes with every write.
    pub version: String,
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bid {
    /// Somebody else has it.
    Wait,
    /// There is none: create it.
    Create,
    /// It is ours: write the time.
    Renew,
    /// It is nobody's: become its holder.
    TakeOver,
}

/// One replica's part in the election.
#[derive(Debug)]
pub struct Election {
    me: String,
    /// What the lease was at the last look, and since when.
    seen: Option<(Seen, Instant)>,
    /// Ours until then.
    held_until: Option<Instant>,
}

impl Election {
    /// `me` differs from every other replica's name, and from that of this one's predecessors.
    #[must_use]
    pub fn new(me: String) -> Self {
        Self { me, seen: None, held_until: None }
    }

    #[must_use]
    pub fn me(&self) -> &str {
        &self.me
    }

    /// Whether this replica is to write.
    #[must_use]
    pub fn leads(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| now < until)
    }

    /// The lease was read.
    pub fn looked(&mut self, now: Instant, lease: Option<Seen>) -> Bid {
        let Some(lease) = lease else {
            self.seen = None;
            self.held_until = None;
            return Bid::Create;
        };
        let since = match &self.seen {
            Some((before, since)) if *before == lease => *since,
            _ => now,
        };
        let bid = match lease.holder.as_deref() {
            Some(holder) if holder == self.me => Bid::Renew,
            None | Some("") => Bid::TakeOver,
            Some(_) if now.saturating_duration_since(since) >= DURATION => Bid::TakeOver,
            Some(_) => Bid::Wait,
        };
        if bid != Bid::Renew {
            self.held_until = None;
        }
        self.seen = Some((lease, since));
        bid
    }

    /// The bid of `asked` was written: others let this replica have the lease for [`DURATION`] from some time after that.
    pub fn won(&mut self, asked: Instant) {
        self.held_until = Some(asked + (DURATION - MARGIN));
    }

    /// Somebody else wrote first.
    pub fn lost(&mut self) {
        self.held_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: u32) -> Option<Seen> {
        Some(Seen { holder: Some(holder.to_owned()), version: version.to_string() })
    }

    fn start() -> (Election, Instant) {
        (Election::new("a".to_owned()), redial_runtime::clock::instant())
    }

    #[test]
    fn the_first_creates_renews_and_believes_itself_no_longer_than_it_may() {
        let (mut a, t) = start();
        assert_eq!(a.looked(t, None), Bid::Create);
        assert!(!a.leads(t));
        a.won(t);
        assert!(a.leads(t + DURATION - MARGIN - Duration::from_millis(1)));
        assert!(!a.leads(t + DURATION - MARGIN));
        assert_eq!(a.looked(t + RENEW, lease("a", 1)), Bid::Renew);
        a.won(t + RENEW);
        assert!(a.leads(t + DURATION));
    }

    #[test]
    fn another_waits_until_the_lease_has_not_changed_for_its_duration() {
        let (mut a, t) = start();
        assert_eq!(a.looked(t, lease("b", 1)), Bid::Wait);
        assert_eq!(a.looked(t + DURATION - RENEW, lease("b", 2)), Bid::Wait);
        assert_eq!(a.looked(t + DURATION, lease("b", 2)), Bid::Wait);
        assert_eq!(a.looked(t + DURATION - RENEW + DURATION, lease("b", 2)), Bid::TakeOver);
        a.won(t + 2 * DURATION);
        assert!(a.leads(t + 2 * DURATION));
    }

    #[test]
    fn a_lease_that_was_given_back_is_taken_at_once() {
        let (mut a, t) = start();
        assert_eq!(a.looked(t, lease("", 1)), Bid::TakeOver);
        assert_eq!(a.looked(t, Some(Seen { holder: None, version: "2".to_owned() })), Bid::TakeOver);
    }

    #[test]
    fn who_was_overtaken_leads_no_longer() {
        let (mut a, t) = start();
        a.looked(t, None);
        a.won(t);
        a.lost();
        assert!(!a.leads(t));
        a.won(t);
        assert_eq!(a.looked(t, lease("b", 1)), Bid::Wait);
        assert!(!a.leads(t));
        a.won(t);
        assert_eq!(a.looked(t, None), Bid::Create);
        assert!(!a.leads(t));
    }

    /// Two replicas, any order of looks and any pauses: never do both lead at the same time.
    #[test]
    fn two_never_lead_at_the_same_time() {
        use proptest::prelude::*;
        proptest!(|(steps in proptest::collection::vec((any::<bool>(), 0u64..9000, 0u64..4000, any::<bool>()), 1..200))| {
            let t = redial_runtime::clock::instant();
            let mut now = t;
            let mut version = 0u32;
            let mut stored: Option<Seen> = None;
            let mut both = [Election::new("a".to_owned()), Election::new("b".to_owned())];
            for (who, pause, delay, answered) in steps {
                now += Duration::from_millis(pause);
                let one = &mut both[usize::from(who)];
                let bid = one.looked(now, stored.clone());
                let asked = now;
                now += Duration::from_millis(delay);
                if bid != Bid::Wait {
                    version += 1;
                    stored = Some(Seen { holder: Some(one.me().to_owned()), version: version.to_string() });
                    // The write may have been done without its answer having come.
                    if answered {
                        one.won(asked);
                    }
                }
                prop_assert!(!(both[0].leads(now) && both[1].leads(now)));
            }
        });
    }
}
