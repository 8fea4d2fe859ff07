//! What holds for every machine and every sequence of events.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::tables::{Event, Machine, start};
use super::{Action, Actions, InviteClient, InviteServer, NonInviteClient, NonInviteServer, Timers};

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => prop_oneof![Just(100_u16), Just(180), Just(200), Just(408), Just(480), Just(603), any::<u16>()].prop_map(Event::Code),
        2 => Just(Event::Again),
        1 => Just(Event::Ack),
        1 => Just(Event::TransportError),
        1 => Just(Event::Cancelled),
        4 => Just(Event::Timer),
    ]
}

fn timers() -> impl Strategy<Value = Timers> {
    (1_u64..1_000, 1_u64..8_000, 0_u64..6_000, any::<bool>()).prop_map(|(t1, t2, t4, reliable)| Timers {
        t1: Duration::from_millis(t1),
        t2: Duration::from_millis(t2.max(t1)),
        t4: Duration::from_millis(t4),
        reliable,
    })
}

/// A gap in milliseconds, then an event.
fn story() -> impl Strategy<Value = Vec<(u64, Event)>> {
    prop::collection::vec((prop_oneof![Just(0_u64), 0_u64..2_000, 0_u64..40_000], event()), 0..40)
}

#[derive(Default)]
struct Watcher {
    terminated: bool,
    timeouts: u32,
}

impl Watcher {
    fn step<M: Machine>(&mut self, machine: &mut M, now: Instant, event: Event) -> Result<Actions, TestCaseError> {
        let mut actions = Actions::new();
        machine.feed(now, event, &mut actions);
        prop_assert!(!actions.spilled(), "a call asks for few things");
        if self.terminated {
            prop_assert!(actions.is_empty(), "{:?} after Terminate", actions);
        }
        self.timeouts += actions.iter().filter(|a| **a == Action::Timeout).count() as u32;
        prop_assert!(self.timeouts <= 1);
        if let Some(at) = actions.iter().position(|a| *a == Action::Terminate) {
            prop_assert_eq!(at, actions.len() - 1, "Terminate is the last action");
            self.terminated = true;
        }
        if self.terminated {
            prop_assert_eq!(machine.due(), None);
        }
        if matches!(event, Event::Timer) {
            prop_assert!(machine.due().is_none_or(|due| due > now), "a timer that has fired is not due again at once");
        }
        Ok(actions)
    }
}

/// Plays the story, gives machines that wait for their user what they wait for, then lets time pass: the machine ends.
fn any_story_ends<M: Machine>(timers: Timers, story: &[(u64, Event)], nudge: Event) -> Result<(), TestCaseError> {
    let mut now = start();
    let mut watcher = Watcher::default();
    let mut actions = Actions::new();
    let mut machine = M::create(now, timers, &mut actions);
    for (gap, event) in story {
        now += Duration::from_millis(*gap);
        watcher.step(&mut machine, now, *event)?;
    }
    watcher.step(&mut machine, now, nudge)?;
    let limit = now + timers.give_up().max(Duration::from_secs(32)) + timers.t4;
    let mut calls = 0;
    while let Some(due) = machine.due() {
        now = now.max(due);
        prop_assert!(now <= limit, "ends within 64*T1 or Timer D");
        watcher.step(&mut machine, now, Event::Timer)?;
        calls += 1;
        prop_assert!(calls < 200, "no busy loop of timers");
    }
    prop_assert!(watcher.terminated);
    Ok(())
}

/// Intervals between retransmissions, first one included, up to the end.
fn intervals<M: Machine>(timers: Timers, first: Option<Event>) -> Vec<Duration> {
    let mut last = start();
    let mut actions = Actions::new();
    let mut machine = M::create(last, timers, &mut actions);
    if let Some(event) = first {
        machine.feed(last, event, &mut actions);
    }
    let mut out = Vec::new();
    while let Some(due) = machine.due() {
        let mut actions = Actions::new();
        machine.feed(due, Event::Timer, &mut actions);
        if actions.contains(&Action::Transmit) {
            out.push(due - last);
            last = due;
        }
    }
    out
}

fn doubles_up_to(intervals: &[Duration], timers: Timers, cap: Duration) -> Result<(), TestCaseError> {
    if timers.reliable {
        prop_assert!(intervals.is_empty(), "a reliable transport repeats by itself");
        return Ok(());
    }
    prop_assert_eq!(intervals.first(), Some(&timers.t1));
    for pair in intervals.windows(2) {
        prop_assert_eq!(pair[1], (pair[0] * 2).min(cap));
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_machine_ends_by_its_timers_and_is_silent_afterwards(timers in timers(), story in story()) {
        any_story_ends::<InviteClient>(timers, &story, Event::Cancelled)?;
        any_story_ends::<NonInviteClient>(timers, &story, Event::Timer)?;
        any_story_ends::<InviteServer>(timers, &story, Event::Code(487))?;
        any_story_ends::<NonInviteServer>(timers, &story, Event::Timer)?;
    }

    #[test]
    fn retransmission_intervals_double_up_to_t2(timers in timers()) {
        doubles_up_to(&intervals::<InviteClient>(timers, None), timers, Duration::MAX)?;
        doubles_up_to(&intervals::<NonInviteClient>(timers, None), timers, timers.t2)?;
        doubles_up_to(&intervals::<InviteServer>(timers, Some(Event::Code(480))), timers, timers.t2)?;
    }
}
