//! The two stores: [`memory`] for one process, [`redis`] for several. Both implement [`redial_core::WatchStore`] and pass the same
//! conformance suite (`tests/stores/conformance`).
//!
//! # Who picks it up when something dies
//!
//! Replicas A and B, bob the callee, alice and carol wait for him in this order; default policy (settle 1 s, recallTimeout 20 s, so a
//! lease of 22 s and a turn of 24 s), sweep every 5 s. At every step the store holds what is needed to go on; "due" is the due index.
//!
//! | what dies, and when | what the store holds then | who goes on, and when |
//! |---|---|---|
//! | A in the middle of the arming pipeline (P1) | some of record, due, queue | nobody was granted anything. Dialled again, [`arm`] fills in what is missing, or `step` does where the record stood; else it expires |
//! | the connection after the pipeline went out (P1) | the whole watch | plain 480, counted as `redial.watches.unsure`; the watch lives, which is more than was promised |
//! | A between bob's 200 and making his queue due | binding, watch due at its deadline | bob's next REGISTER, or the audit (every watch once in 64 sweeps) |
//! | A while bob settles | the heads of the queue due in 1 s | B's next sweep |
//! | A between claim and order, or the edge with the order (P3) | `Claimed` until t+22, due then; carol due then too | B at t+22: claims again as one more attempt; the old order's report has an old fence and changes nothing |
//! | the order finds the edge's queue full | `Claimed` | A gives the claim back at once, next try in 1 s, no attempt counted |
//! | alice's phone moves: the REFER goes to where it was, her REGISTER comes before the order has failed | `Claimed`, then parked with what was known of her bindings | parking looks again: her bindings are others by now, so she is recalled at once |
//! | A after the 202 | `Recalling` until t+20, due then | any replica takes alice's INVITE; if none comes, B at t+20: next rung |
//! | A or the edge in the call's set-up | `Calling` until t+200, due then | the answer is reported to any replica; if the edge is dead, B at t+200: a failed attempt |
//! | the store while an answer is reported | `Calling` | A keeps the answer in mind and says it again every 2 s; with A dead too, alice is recalled once too often |
//! | A after the end, before carol is served | carol due when alice's turn is over at the latest | BYE at any replica, else B when the turn's TTL is over (turnMax 900 s) |
//! | A in the middle of an end (P2) | record gone, due entry not yet: one script, so both or neither | - |
//! | Redis drops the record at its deadline, nobody listens (P4) | due entry without record | the next sweep ends it as expired; armed again before that, [`arm`] tells the one who armed, and he counts it |
//! | Redis comes back empty | nothing | phones register again; what was watched is lost, as the persistence of Redis was set |
//!
//! # Who picks it up when a replica is told to stop
//!
//! | A is told to stop, and at that time | the store holds then | who goes on, and when |
//! |---|---|---|
//! | bob's 200 is out, his queue is not due yet | A makes it due before it ends | B's next sweep; B sweeps A's share at once when A leaves the list of peers |
//! | bob settles, a lease, a retry or a turn runs | a due entry for each | B's sweep, as if A had died |
//! | the order is in the queue of the edge's link and never left | `Claimed`; A gives it back when the link ends, next try in 1 s, no attempt counted | B in 1 s or with its next sweep |
//! | the order is with the edge | `Claimed`, due when the lease is over | the edge, which reports to B; its death too is what the lease is for |
//! | the store does not know yet that the call was answered | `Calling`; A says it once more before it ends | - |
//!
//! An order that is with an edge is not given back: the caller's phone may ring already, and whoever claimed again would recall it twice (P3). To make
//! such a watch due would only have B look, find the lease running, and put it off again.
//!
//! P2 rests on one rule: whoever takes the pair out of the due index has ended the watch. P3 rests on the fence in the record's first
//! 8 bytes. P4: nothing is claimed at or after the deadline by the claimer's clock, and the record is gone at the deadline by Redis's.
//!
//! **Clocks.** Leases and deadlines are compared by each replica's own clock. One that is ahead by s ends watches and takes over leases s
//! too early (an edge that gets the second order stops the first), one that is behind recalls up to s too late. Every sweep compares with
//! the store's clock: `redial.store.clock_skew`, and an error line above 1 s.
//!
//! [`arm`]: redial_core::WatchStore::arm

mod codec;
pub mod expiry;
mod keys;
pub mod memory;
pub mod redis;
mod registration;
mod timed;
pub mod usage;

pub use memory::MemoryStore;
pub use redis::RedisStore;
pub use timed::Timed;
