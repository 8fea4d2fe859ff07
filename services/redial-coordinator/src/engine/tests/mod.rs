//! The engine on the embedded store, with a gateway that notes orders and a clock that the test turns. Stories of section 4 of the
//! design, by name.

mod bench;
pub(crate) mod flaky;
mod front;
mod ladder;
mod mishaps;
mod outage;
mod probe;
mod queue;
mod recall;
mod story;
mod who;
