//! Every state and event of the four machines, as tables: what is fed in after which history, what must come out, when the next timer is due.

use std::time::{Duration, Instant};

use super::Action::{Deliver, Terminate, Timeout, Transmit, TransmitAck};
use super::{Action, Actions, InviteClient, InviteServer, NonInviteClient, NonInviteServer, Timers};

#[allow(clippy::disallowed_methods, reason = "a test needs some first instant; all others are counted from it")]
pub(super) fn start() -> Instant {
    Instant::now()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What happens to a machine, at milliseconds since its creation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A response is received (clients) or given by the user (servers).
    Code(u16),
    /// The request again.
    Again,
    Ack,
    TransportError,
    Cancelled,
    /// `on_timer` is called.
    Timer,
}
use Event::{Ack, Again, Cancelled, Code, Timer, TransportError};

pub(super) trait Machine {
    fn create(now: Instant, timers: Timers, actions: &mut Actions) -> Self;
    fn feed(&mut self, now: Instant, event: Event, actions: &mut Actions);
    fn due(&self) -> Option<Instant>;
}

macro_rules! client {
    ($machine:ty, $($cancelled:ident)?) => {
        impl Machine for $machine {
            fn create(now: Instant, timers: Timers, actions: &mut Actions) -> Self {
                Self::new(now, timers, actions)
            }
            fn feed(&mut self, now: Instant, event: Event, actions: &mut Actions) {
                match event {
                    Code(code) => self.on_response(now, code, actions),
                    TransportError => self.on_transport_error(now, actions),
                    Timer => self.on_timer(now, actions),
                    $(Cancelled => self.$cancelled(now),)?
                    _ => {}
                }
            }
            fn due(&self) -> Option<Instant> {
                self.next_timer()
            }
        }
    };
}
client!(InviteClient, cancelled);
client!(NonInviteClient,);

macro_rules! server {
    ($machine:ty, $($ack:ident)?) => {
        impl Machine for $machine {
            fn create(now: Instant, timers: Timers, _: &mut Actions) -> Self {
                Self::new(now, timers)
            }
            fn feed(&mut self, now: Instant, event: Event, actions: &mut Actions) {
                match event {
                    Code(code) => {
                        let accepted = self.respond(now, code, actions);
                        assert_eq!(accepted, actions.contains(&Transmit), "a response is accepted exactly when it is sent");
                    }
                    Again => self.on_retransmission(now, actions),
                    Timer => self.on_timer(now, actions),
                    $(Ack => self.$ack(now, actions),)?
                    _ => {}
                }
            }
            fn due(&self) -> Option<Instant> {
                self.next_timer()
            }
        }
    };
}
server!(InviteServer, on_ack);
server!(NonInviteServer,);

/// One row: at, event, expected actions, expected next timer (both times in milliseconds since creation).
type Row<'a> = (u64, Event, &'a [Action], Option<u64>);

fn run<M: Machine>(timers: Timers, rows: &[Row<'_>]) {
    let t0 = start();
    let mut machine = M::create(t0, timers, &mut Actions::new());
    for (n, (at, event, expected, next)) in rows.iter().enumerate() {
        let mut actions = Actions::new();
        machine.feed(t0 + ms(*at), *event, &mut actions);
        assert_eq!(actions.as_slice(), *expected, "row {n}: {event:?} at {at} ms");
        assert_eq!(machine.due().map(|t| t - t0), next.map(ms), "row {n}: timer after {event:?} at {at} ms");
    }
}

const UDP: Timers = Timers::UDP;
const TCP: Timers = Timers::RELIABLE;

/// Nothing has an effect any more.
#[rustfmt::skip]
const DEAD: [Row<'static>; 7] = [
    (99_000, Code(100), &[], None), (99_000, Code(200), &[], None), (99_000, Code(486), &[], None), (99_000, Again, &[], None),
    (99_000, Ack, &[], None), (99_000, TransportError, &[], None), (99_000, Timer, &[], None),
];

fn run_to_the_end<M: Machine>(timers: Timers, rows: &[Row<'_>]) {
    run::<M>(timers, &[rows, &DEAD].concat());
}

#[test]
#[rustfmt::skip]
fn invite_client_calling_doubles_timer_a_until_timer_b() {
    run_to_the_end::<InviteClient>(UDP, &[
        (499, Timer, &[], Some(500)), (500, Timer, &[Transmit], Some(1_500)), (1_500, Timer, &[Transmit], Some(3_500)),
        (3_500, Timer, &[Transmit], Some(7_500)), (7_500, Timer, &[Transmit], Some(15_500)), (15_500, Timer, &[Transmit], Some(31_500)),
        (31_500, Timer, &[Transmit], Some(32_000)), (32_000, Timer, &[Timeout, Terminate], None),
    ]);
    run_to_the_end::<InviteClient>(TCP, &[(31_999, Timer, &[], Some(32_000)), (32_000, Timer, &[Timeout, Terminate], None)]);
    run_to_the_end::<InviteClient>(UDP, &[(10, TransportError, &[Timeout, Terminate], None)]);
    run::<InviteClient>(UDP, &[(10, Cancelled, &[], Some(500))]);
}

#[test]
#[rustfmt::skip]
fn invite_client_proceeding_waits_for_ever_unless_cancelled() {
    run_to_the_end::<InviteClient>(UDP, &[
        (100, Code(100), &[Deliver], None), (200, Code(180), &[Deliver], None), (40_000, Timer, &[], None), (40_000, TransportError, &[], None),
        (50_000, Cancelled, &[], Some(82_000)), (50_100, Code(180), &[Deliver], Some(82_000)), (60_000, Cancelled, &[], Some(82_000)),
        (82_000, Timer, &[Timeout, Terminate], None),
    ]);
    run::<InviteClient>(UDP, &[
        (100, Code(180), &[Deliver], None), (1_000, Cancelled, &[], Some(33_000)), (2_000, Code(487), &[Deliver, TransmitAck], Some(34_000)),
    ]);
}

#[test]
#[rustfmt::skip]
fn invite_client_completed_acknowledges_each_retransmission_until_timer_d() {
    run_to_the_end::<InviteClient>(UDP, &[
        (100, Code(486), &[Deliver, TransmitAck], Some(32_100)), (600, Code(486), &[TransmitAck], Some(32_100)),
        (700, Code(180), &[], Some(32_100)), (800, Code(200), &[], Some(32_100)), (900, Timer, &[], Some(32_100)),
        (32_100, Timer, &[Terminate], None),
    ]);
    run_to_the_end::<InviteClient>(UDP, &[(100, Code(603), &[Deliver, TransmitAck], Some(32_100)), (101, TransportError, &[Terminate], None)]);
    run_to_the_end::<InviteClient>(TCP, &[(100, Code(302), &[Deliver, TransmitAck, Terminate], None)]);
}

#[test]
#[rustfmt::skip]
fn invite_client_accepted_delivers_every_2xx_until_timer_m() {
    for timers in [UDP, TCP] {
        run_to_the_end::<InviteClient>(timers, &[
            (100, Code(200), &[Deliver], Some(32_100)), (600, Code(200), &[Deliver], Some(32_100)), (700, Code(180), &[], Some(32_100)),
            (800, Code(486), &[], Some(32_100)), (900, TransportError, &[], Some(32_100)), (32_100, Timer, &[Terminate], None),
        ]);
    }
    run::<InviteClient>(UDP, &[(100, Code(183), &[Deliver], None), (9_000, Code(202), &[Deliver], Some(41_000))]);
}

#[test]
fn codes_that_are_no_sip_status_are_ignored() {
    for code in [0, 99, 700, u16::MAX] {
        run::<InviteClient>(UDP, &[(1, Code(code), &[], Some(500))]);
        run::<NonInviteClient>(UDP, &[(1, Code(code), &[], Some(500))]);
        run::<InviteServer>(UDP, &[(1, Code(code), &[], None)]);
        run::<NonInviteServer>(UDP, &[(1, Code(code), &[], Some(32_000))]);
    }
}

#[test]
#[rustfmt::skip]
fn non_invite_client_trying_doubles_timer_e_up_to_t2_until_timer_f() {
    run_to_the_end::<NonInviteClient>(UDP, &[
        (500, Timer, &[Transmit], Some(1_500)), (1_500, Timer, &[Transmit], Some(3_500)), (3_500, Timer, &[Transmit], Some(7_500)),
        (7_500, Timer, &[Transmit], Some(11_500)), (11_500, Timer, &[Transmit], Some(15_500)), (15_500, Timer, &[Transmit], Some(19_500)),
        (19_500, Timer, &[Transmit], Some(23_500)), (23_500, Timer, &[Transmit], Some(27_500)), (27_500, Timer, &[Transmit], Some(31_500)),
        (31_500, Timer, &[Transmit], Some(32_000)), (32_000, Timer, &[Timeout, Terminate], None),
    ]);
    run_to_the_end::<NonInviteClient>(TCP, &[(31_999, Timer, &[], Some(32_000)), (32_000, Timer, &[Timeout, Terminate], None)]);
    run_to_the_end::<NonInviteClient>(UDP, &[(10, TransportError, &[Timeout, Terminate], None)]);
}

#[test]
#[rustfmt::skip]
fn non_invite_client_proceeding_retransmits_every_t2() {
    run_to_the_end::<NonInviteClient>(UDP, &[
        (100, Code(100), &[Deliver], Some(500)), (500, Timer, &[Transmit], Some(4_500)), (600, Code(100), &[Deliver], Some(4_500)),
        (4_500, Timer, &[Transmit], Some(8_500)), (32_000, Timer, &[Timeout, Terminate], None),
    ]);
    run_to_the_end::<NonInviteClient>(UDP, &[(100, Code(100), &[Deliver], Some(500)), (200, TransportError, &[Timeout, Terminate], None)]);
}

#[test]
#[rustfmt::skip]
fn non_invite_client_completed_absorbs_until_timer_k() {
    run_to_the_end::<NonInviteClient>(UDP, &[
        (100, Code(202), &[Deliver], Some(5_100)), (200, Code(202), &[], Some(5_100)), (300, Code(100), &[], Some(5_100)),
        (400, TransportError, &[], Some(5_100)), (5_100, Timer, &[Terminate], None),
    ]);
    run_to_the_end::<NonInviteClient>(UDP, &[(100, Code(100), &[Deliver], Some(500)), (200, Code(480), &[Deliver], Some(5_200)), (5_200, Timer, &[Terminate], None)]);
    run_to_the_end::<NonInviteClient>(TCP, &[(100, Code(405), &[Deliver, Terminate], None)]);
}

#[test]
#[rustfmt::skip]
fn invite_server_proceeding_repeats_the_last_provisional_response() {
    run::<InviteServer>(UDP, &[
        (1, Again, &[], None), (1, Ack, &[], None), (2, Code(100), &[Transmit], None), (500, Again, &[Transmit], None),
        (600, Code(180), &[Transmit], None), (700, Again, &[Transmit], None), (800, Ack, &[], None), (99_000, Timer, &[], None),
    ]);
}

#[test]
#[rustfmt::skip]
fn invite_server_completed_repeats_by_timer_g_until_the_ack_or_timer_h() {
    run_to_the_end::<InviteServer>(UDP, &[
        (0, Code(486), &[Transmit], Some(500)), (100, Again, &[Transmit], Some(500)), (100, Code(200), &[], Some(500)),
        (100, Code(486), &[], Some(500)), (500, Timer, &[Transmit], Some(1_500)), (1_500, Timer, &[Transmit], Some(3_500)),
        (3_500, Timer, &[Transmit], Some(7_500)), (7_500, Timer, &[Transmit], Some(11_500)), (11_500, Timer, &[Transmit], Some(15_500)),
        (32_000, Timer, &[Timeout, Terminate], None),
    ]);
    run_to_the_end::<InviteServer>(UDP, &[
        (0, Code(480), &[Transmit], Some(500)), (100, Ack, &[], Some(5_100)), (200, Ack, &[], Some(5_100)), (200, Again, &[], Some(5_100)),
        (200, Code(480), &[], Some(5_100)), (5_100, Timer, &[Terminate], None),
    ]);
    run_to_the_end::<InviteServer>(TCP, &[(0, Code(480), &[Transmit], Some(32_000)), (100, Ack, &[Terminate], None)]);
    run_to_the_end::<InviteServer>(TCP, &[(0, Code(480), &[Transmit], Some(32_000)), (32_000, Timer, &[Timeout, Terminate], None)]);
}

#[test]
#[rustfmt::skip]
fn invite_server_accepted_absorbs_the_invite_and_lets_the_user_repeat_its_2xx_until_timer_l() {
    for timers in [UDP, TCP] {
        run_to_the_end::<InviteServer>(timers, &[
            (0, Code(200), &[Transmit], Some(32_000)), (400, Again, &[], Some(32_000)), (500, Code(200), &[Transmit], Some(32_000)),
            (600, Code(180), &[], Some(32_000)), (600, Code(486), &[], Some(32_000)), (700, Ack, &[Deliver], Some(32_000)),
            (32_000, Timer, &[Terminate], None),
        ]);
    }
}

#[test]
#[rustfmt::skip]
fn non_invite_server_sends_no_1xx_but_a_late_100_and_no_408() {
    run_to_the_end::<NonInviteServer>(UDP, &[
        (0, Code(100), &[], Some(32_000)), (1, Again, &[], Some(32_000)), (3_499, Code(100), &[], Some(32_000)),
        (3_500, Code(180), &[], Some(32_000)), (3_500, Code(100), &[Transmit], Some(32_000)), (4_000, Again, &[Transmit], Some(32_000)),
        (5_000, Code(408), &[], Some(32_000)), (32_000, Code(200), &[], Some(32_000)), (32_000, Timer, &[Terminate], None),
    ]);
    run::<NonInviteServer>(TCP, &[(0, Code(183), &[], Some(32_000)), (0, Code(100), &[Transmit], Some(32_000)), (1, Again, &[Transmit], Some(32_000))]);
}

#[test]
#[rustfmt::skip]
fn non_invite_server_completed_repeats_its_answer_until_timer_j() {
    run_to_the_end::<NonInviteServer>(UDP, &[
        (10, Code(200), &[Transmit], Some(32_010)), (500, Again, &[Transmit], Some(32_010)), (600, Code(500), &[], Some(32_010)),
        (600, Code(100), &[], Some(32_010)), (32_010, Timer, &[Terminate], None),
    ]);
    run_to_the_end::<NonInviteServer>(TCP, &[(10, Code(200), &[Transmit, Terminate], None)]);
}

#[test]
fn a_100_is_due_only_while_nothing_was_answered() {
    let t0 = start();
    let mut machine = NonInviteServer::new(t0, UDP);
    assert_eq!(machine.trying_due(), Some(t0 + ms(3_500)));
    assert!(machine.respond(t0 + ms(3_500), 100, &mut Actions::new()));
    assert_eq!(machine.trying_due(), None);
}

#[test]
fn a_late_timer_sends_once_and_not_once_for_each_missed_interval() {
    run::<NonInviteClient>(UDP, &[(20_000, Timer, &[Transmit], Some(21_000))]);
    run::<InviteClient>(UDP, &[(20_000, Timer, &[Transmit], Some(21_000))]);
}
