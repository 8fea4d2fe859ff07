//! How many watches each policy has: a walk through all shards, by the replica that writes statuses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redial_core::ids::SHARDS;
use redial_core::watch::State;
use redial_core::{PolicySet, Shard, Watch, WatchStore};
use redial_crd::WatchCounts;
use tokio::sync::watch;

/// Policies, and the uids of the objects behind them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Register {
    pub set: Arc<PolicySet>,
    /// One for each rule.
    pub rules: Vec<String>,
    /// None: the built-in default.
    pub default: Option<String>,
}

/// Watches of each object by uid.
pub type Counts = HashMap<String, WatchCounts>;

/// The pace of the walk: so many shards or so many watches a second, whatever comes first. A small installation is counted every 8 s, and a
/// million watches, each read of which costs the store some microseconds, in two minutes.
const SHARDS_A_SECOND: u16 = 128;
const WATCHES_A_SECOND: usize = 8000;

/// Watches that are read of one shard: ten times what a shard holds on average with a million in all. More are not counted.
const PER_SHARD: usize = 10_000;

/// One walk.
#[derive(Debug)]
pub struct Census {
    register: Register,
    rules: Vec<WatchCounts>,
    default: WatchCounts,
}

impl Census {
    #[must_use]
    pub fn new(register: Register) -> Self {
        let rules = vec![WatchCounts::default(); register.rules.len()];
        Self { register, rules, default: WatchCounts::default() }
    }

    pub fn count(&mut self, watch: &Watch) {
        let of = self.register.set.rules.iter().position(|rule| rule.matches(&watch.pair.callee));
        let counts = of.and_then(|n| self.rules.get_mut(n)).unwrap_or(&mut self.default);
        match watch.state {
            State::Armed => counts.armed += 1,
            State::Claimed { .. } | State::Recalling { .. } | State::Calling { .. } => counts.active += 1,
        }
    }

    #[must_use]
    pub fn done(self) -> Counts {
        let rules = self.register.rules.into_iter().zip(self.rules);
        rules.chain(self.register.default.map(|uid| (uid, self.default))).collect()
    }
}

/// Walks for as long as this replica leads, from the start again whenever the policies change. A walk that the store does not answer is
/// given up; the counts of the last one stay.
pub async fn keep_counting<S: WatchStore>(
    store: Arc<S>,
    mut register: watch::Receiver<Register>,
    mut leading: watch::Receiver<bool>,
    counts: watch::Sender<Counts>,
) {
    loop {
        if leading.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        let census = Census::new(register.borrow_and_update().clone());
        tokio::select! {
            counted = walk(&*store, census) => {
                if let Some(counted) = counted {
                    counts.send_if_modified(|known| {
                        let differs = *known != counted;
                        *known = counted;
                        differs
                    });
                }
            }
            changed = register.changed() => if changed.is_err() { return },
            stopped = leading.wait_for(|leads| !*leads) => if stopped.is_err() { return },
        }
    }
}

/// None when the store failed. Takes a second even then.
async fn walk<S: WatchStore>(store: &S, mut census: Census) -> Option<Counts> {
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut shards, mut watches) = (SHARDS_A_SECOND, WATCHES_A_SECOND);
    for shard in (0..SHARDS).map(Shard) {
        if shards >= SHARDS_A_SECOND || watches >= WATCHES_A_SECOND {
            pace.tick().await;
            (shards, watches) = (0, 0);
        }
        // The engine's own sweep says what is wrong with the store.
        let Ok(found) = store.list(shard, PER_SHARD).await else {
            pace.tick().await;
            return None;
        };
        shards += 1;
        watches += found.len();
        found.iter().for_each(|watch| census.count(watch));
    }
    pace.tick().await;
    Some(census.done())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use redial_core::policy::Rule;
    use redial_core::store::{Step, Turn};
    use redial_core::{Aor, Fence, Flow, Pair, Policy, UnixMillis};

    fn watch(callee: &str, n: u16) -> Watch {
        let pair = Pair { callee: Aor::new(callee), caller: Aor::new(format!("caller-{n}@a.test")) };
        Watch {
            pair,
            fence: Fence(1),
            state: State::Armed,
            armed_at: UnixMillis(0),
            deadline: UnixMillis(u64::MAX / 2),
            not_before: UnixMillis(0),
            attempts: 0,
            parked: false,
            caller_flow: Flow::new("udp/0/192.0.2.9:5060"),
            caller_seen: 0,
            past: Fence(0),
            trace: None,
        }
    }

    fn register() -> Register {
        let rule = |user: &str| Rule { domain: "a.test".into(), user: user.into(), policy: Policy::default() };
        let set = PolicySet { rules: vec![rule("sales-*"), rule("*")], ..PolicySet::default() };
        Register { set: Arc::new(set), rules: vec!["sales".into(), "all".into()], default: Some("default".into()) }
    }

    /// All shards are walked, at the pace of the clock, which stands still but for timers here.
    #[tokio::test(start_paused = true)]
    async fn watches_are_counted_by_the_policy_that_is_theirs() {
        let store = Arc::new(MemoryStore::new());
        let watches: Vec<Watch> = (0..300).map(|n| watch(["sales-1@a.test", "bob@a.test", "bob@b.test"][usize::from(n % 3)], n)).collect();
        store.arm(UnixMillis(0), &watches).await.unwrap();
        let mut recalled = watches[0].clone();
        recalled.fence = Fence(2);
        recalled.state = State::Claimed { rung: 1, lease_until: UnixMillis(9) };
        let step = Step { expect: watches[0].fence, next: recalled, due: UnixMillis(9), turn: Turn::Leave };
        store.step(UnixMillis(0), &step).await.unwrap();

        let (_registered, register) = watch::channel(register());
        let (leading, leads) = watch::channel(false);
        let (counts, mut counted) = watch::channel(Counts::new());
        let counting = tokio::spawn(keep_counting(store, register, leads, counts));
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(counted.borrow().is_empty(), "counted without leading");
        leading.send_replace(true);
        tokio::time::timeout(Duration::from_secs(9), counted.changed()).await.expect("in one walk").unwrap();
        let of = |uid: &str| counted.borrow().get(uid).copied();
        assert_eq!(of("sales"), Some(WatchCounts { armed: 99, active: 1 }));
        assert_eq!(of("all"), Some(WatchCounts { armed: 100, active: 0 }));
        assert_eq!(of("default"), Some(WatchCounts { armed: 100, active: 0 }));
        counting.abort();
    }
}
