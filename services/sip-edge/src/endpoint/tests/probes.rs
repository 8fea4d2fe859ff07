//! OPTIONS to phones whose registration ran out.

use std::time::Duration;

use redial_core::BindingId;
use redial_core::link::{Event, Order, ProbeOrder, ProbeReport};

use super::*;

fn probe() -> Order {
    Order::Probe(ProbeOrder { aor: Aor::new("bob@example.com"), binding: BindingId("desk".to_owned()), target: target(BOB, 1000) })
}

fn there() -> Event {
    Event::ProbeReport(ProbeReport { aor: Aor::new("bob@example.com"), binding: BindingId("desk".to_owned()) })
}

#[test]
fn a_phone_that_answers_with_2xx_is_reported_and_who_refuses_is_not() {
    let mut driver = Driver::new(config());
    for (code, reported) in [(200, vec![there()]), (486, vec![]), (404, vec![])] {
        let sent = driver.order(probe());
        assert_eq!((sent.len(), sent[0].method().as_str(), sent[0].to.to_string()), (1, "OPTIONS", BOB.to_owned()));
        assert!(driver.order(probe()).is_empty(), "it is under way");
        driver.receive(BOB, &sent[0].response(100, ""));
        assert_eq!(driver.events(), []);
        driver.receive(BOB, &sent[0].response(code, ""));
        assert_eq!(driver.events(), reported, "{code}");
        driver.pass(Duration::from_secs(40));
        assert_eq!(driver.transactions(), (0, 0));
    }
}

#[test]
fn a_phone_that_is_off_is_asked_eleven_times_in_32_seconds_and_can_be_asked_again() {
    let mut driver = Driver::new(config());
    assert_eq!(driver.order(probe()).len(), 1);
    assert_eq!(driver.pass(Duration::from_secs(40)).len(), 10);
    assert_eq!(driver.events(), []);
    assert_eq!(driver.order(probe()).len(), 1);
}
