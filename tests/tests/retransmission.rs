//! Every message is lost once on every leg of one phone, and the story still has one course.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use redial_tests::relay::Relay;
use redial_tests::{Policy, Sipp, Standalone, ports};

/// A phone behind a good network or a bad one. It registers the address where the service sees it, so that what the service sends on its
/// own passes the bad network, too.
struct Line {
    local: SocketAddr,
    service: SocketAddr,
    relay: Option<Relay>,
}

impl Line {
    fn new(service: SocketAddr, bad: bool) -> Result<Self> {
        let local = ports::free()?;
        Ok(Self { local, service, relay: bad.then(|| Relay::between(local, service)).transpose()? })
    }

    fn play(&self, scenario: &'static str, who: &str) -> Sipp {
        match &self.relay {
            Some(relay) => Sipp::new(scenario, who, self.local, relay.inner).key("reach", relay.outer),
            None => Sipp::new(scenario, who, self.local, self.service),
        }
    }

    fn lost(&self) -> u64 {
        self.relay.as_ref().map_or(0, Relay::lost)
    }
}

/// The whole story; returns how many messages were lost on the way.
fn story(callers_line_is_bad: bool, callees_line_is_bad: bool) -> Result<u64> {
    let redial = Standalone::start(&Policy::default().set("recallTimeout", "\"20s\""), &[])?;
    let alice = Line::new(redial.sip, callers_line_is_bad)?;
    let bob = Line::new(redial.sip, callees_line_is_bad)?;
    alice.play("register", "alice").run()?;
    alice.play("invite_remembered_slowly", "alice").to("bob").run()?;
    let recalled = alice.play("caller_recalled_slowly", "alice").to("bob").start()?;
    bob.play("register", "bob").run()?;
    let answers = bob.play("callee_answers_slowly", "bob").start()?;
    recalled.wait()?;
    answers.wait()?;

    redial.service.wait_ended("connected", 1)?;
    ensure!(redial.service.armed()? == 1.0, "a repeated INVITE armed a second watch");
    ensure!(redial.service.recalls()? == 1.0, "a repeated REGISTER made a second recall");
    Ok(alice.lost() + bob.lost())
}

/// REGISTER, 200, INVITE, 480, ACK, REFER, 202, INVITE, 200, ACK, BYE, 200.
#[test]
fn the_story_survives_the_loss_of_every_first_message_on_the_callers_line() -> Result<()> {
    let lost = story(true, false)?;
    ensure!(lost >= 12, "lost {lost}");
    Ok(())
}

/// REGISTER, 200, INVITE, 200, ACK, BYE, 200.
#[test]
fn the_story_survives_the_loss_of_every_first_message_on_the_callees_line() -> Result<()> {
    let lost = story(false, true)?;
    ensure!(lost >= 7, "lost {lost}");
    Ok(())
}
