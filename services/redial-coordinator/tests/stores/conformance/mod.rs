//! What every store must do, whatever it is made of. `conformance!` turns each function into a test for one store.

mod bindings;
mod ends;
mod lessons;
mod probes;
mod turns;
mod watches;

pub use bindings::*;
pub use ends::*;
pub use lessons::*;
pub use probes::*;
pub use turns::*;
pub use watches::*;

use redial_core::link::{BindingChange, ContactChange, Register};
use redial_core::store::{ArmOutcome, RegisterOutcome, Step, StepOutcome, Turn};
use redial_core::watch::State;
use redial_core::{Aor, Binding, BindingId, EdgeId, Fence, Flow, Pair, UnixMillis, Watch, WatchStore};

/// One empty store and a view behind it.
pub trait Subject: Sync {
    type Store: WatchStore;
    fn store(&self) -> &Self::Store;
    /// Keys or entries that belong to watches; bindings do not count.
    fn traces(&self, now: UnixMillis) -> impl Future<Output = usize> + Send;
    /// Returns when the record of `pair`, whose deadline has passed, is gone, if the store drops it by its own clock.
    fn run_out(&self, pair: &Pair) -> impl Future<Output = ()> + Send;
}

/// Any time will do: stores take it as an argument.
pub const NOW: UnixMillis = UnixMillis(1_900_000_000_000);
pub const HOUR: u64 = 3_600_000;

pub fn at(ms: u64) -> UnixMillis {
    UnixMillis(NOW.0 + ms)
}

pub fn aor(user: &str) -> Aor {
    Aor::new(format!("{user}@example.com"))
}

pub fn pair(callee: &str, caller: &str) -> Pair {
    Pair { callee: aor(callee), caller: aor(caller) }
}

pub fn binding(id: &str, cseq: u32, expires_at: UnixMillis) -> Binding {
    Binding {
        id: BindingId(id.to_owned()),
        uri: format!("sip:{id}@192.0.2.7:5060"),
        params: ";+sip.instance=\"<urn:uuid:0>\"".to_owned(),
        q: 1000,
        expires_at,
        call_id: "one".to_owned(),
        cseq,
        path: vec!["<sip:path.example.com;lr>".to_owned()],
        edge: EdgeId::new("edge-1"),
        flow: Flow::new("udp/0/192.0.2.7:5060"),
        user_agent: "phone/1.0".to_owned(),
        probed: false,
    }
}

pub fn register(user: &str, cseq: u32, change: BindingChange) -> Register {
    Register { aor: aor(user), call_id: "one".to_owned(), cseq, change }
}

pub fn put(user: &str, id: &str, cseq: u32) -> Register {
    register(user, cseq, BindingChange::Each(vec![ContactChange::Put(binding(id, cseq, at(HOUR)))]))
}

pub fn remove(user: &str, id: &str, cseq: u32) -> Register {
    register(user, cseq, BindingChange::Each(vec![ContactChange::Remove(BindingId(id.to_owned()))]))
}

pub fn fetch(user: &str) -> Register {
    register(user, 0, BindingChange::Fetch)
}

pub fn watch(pair: Pair, armed_at: UnixMillis) -> Watch {
    Watch {
        pair,
        fence: Fence(armed_at.0),
        state: State::Armed,
        armed_at,
        deadline: UnixMillis(armed_at.0 + HOUR),
        not_before: armed_at,
        attempts: 0,
        parked: false,
        caller_flow: Flow::new("udp/0/192.0.2.9:5060"),
        caller_seen: 0,
        past: Fence(0),
        trace: None,
    }
}

/// The step that follows `watch`, due with its deadline.
pub fn step(watch: &Watch, state: State, turn: Turn) -> Step {
    let next = Watch { fence: Fence(watch.fence.0 + 1), state, ..watch.clone() };
    Step { expect: watch.fence, due: next.deadline, next, turn }
}

pub fn claimed() -> State {
    State::Claimed { rung: 1, lease_until: at(22_000) }
}

pub async fn registered(store: &impl WatchStore, op: Register) -> RegisterOutcome {
    let mut outcomes = store.register(NOW, &[op]).await.expect("register");
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

pub async fn armed(store: &impl WatchStore, watch: &Watch) -> ArmOutcome {
    let mut outcomes = store.arm(watch.armed_at, std::slice::from_ref(watch)).await.expect("arm");
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

pub async fn loaded(store: &impl WatchStore, pair: &Pair) -> Option<Watch> {
    store.load(std::slice::from_ref(pair)).await.expect("load").remove(0)
}

pub async fn applied(store: &impl WatchStore, step: &Step) {
    assert_eq!(store.step(NOW, step).await, Ok(StepOutcome::Applied));
}

/// Pairs of `pair`'s shard that are due at `now`.
pub async fn due(store: &impl WatchStore, pair: &Pair, now: UnixMillis) -> Vec<Pair> {
    store.due(&[pair.callee.shard()], now, 100).await.expect("due").pairs
}

pub fn ids(bindings: &[Binding]) -> Vec<&str> {
    bindings.iter().map(|b| b.id.0.as_str()).collect()
}

/// Makes a test of each named function for the store that `$subject` builds.
macro_rules! conformance {
    ($subject:expr; $($name:ident)*) => {
        $(#[tokio::test]
        async fn $name() {
            let subject = $subject;
            conformance::$name(&subject).await;
        })*
    };
    ($subject:expr) => {
        conformance! { $subject;
            a_registered_contact_is_listed_as_it_was_stored
            contacts_are_listed_best_first_and_removed_one_by_one_or_all
            bindings_expire_by_themselves
            operations_of_one_aor_in_one_batch_apply_in_order
            an_older_register_changes_nothing
            an_older_register_in_a_batch_changes_nothing_for_its_neighbours
            stale_contacts_do_not_pile_up
            fetching_an_unknown_aor_is_an_empty_list
            arming_stores_once_and_counts_both_sides
            arming_sees_the_binding_and_registering_sees_the_waiter
            racing_arm_and_register_never_miss_each_other
            the_queue_is_in_the_order_of_arrival
            lookups_find_both_ends_and_both_directions
            p3_a_step_applies_to_its_fence_only_and_once
            a_step_moves_deadline_and_due_time
            hastening_and_postponing_move_the_due_time
            due_pairs_come_in_order_and_are_bounded
            parked_watches_are_seen_when_the_caller_registers
            parking_a_caller_who_has_just_registered_is_due_at_once
            watches_are_listed_by_shard
            p2_a_watch_ends_once_however_many_try
            p2_no_trace_is_left_after_any_way_to_end
            p2_a_watch_that_ran_out_ends_once
            p2_a_watch_that_ran_out_unnoticed_ends_when_armed_again
            ending_by_an_old_fence_is_refused
            one_caller_at_a_time_has_the_turn
            an_ended_call_keeps_the_turn_while_somebody_waits
            what_was_learned_of_a_phone_is_remembered_for_its_time
            lessons_are_bounded
            contacts_are_remembered_beyond_their_expiry_until_forgotten
            one_replica_at_a_time_probes_a_callee
            a_ping_is_answered
        }
    };
}
pub(crate) use conformance;
