//! Every message is lost once on every leg, and the story still has one course.

use anyhow::{Result, ensure};
use redial_tests::relay::Relay;
use redial_tests::{Policy, Sipp, Standalone, ports};

#[test]
fn the_story_survives_the_loss_of_the_first_copy_of_every_message() -> Result<()> {
    let redial = Standalone::start(&Policy::default().set("recallTimeout", "\"20s\""), &[])?;
    let (alice, bob) = (ports::free()?, ports::free()?);
    let (to_alice, to_bob) = (Relay::between(alice, redial.sip)?, Relay::between(bob, redial.sip)?);
    // Phones register the relay's address, so that what the service sends passes there, too.
    let alice = |scenario| Sipp::new(scenario, "alice", alice, to_alice.inner).key("reach", to_alice.outer).to("bob");
    let bob = |scenario| Sipp::new(scenario, "bob", bob, to_bob.inner).key("reach", to_bob.outer);

    alice("register").run()?;
    alice("invite_remembered").run()?;
    let recalled = alice("caller_recalled_slowly").start()?;
    bob("register").run()?;
    bob("callee_answers_slowly").run()?;
    recalled.wait()?;

    redial.service.wait_ended("connected", 1)?;
    ensure!(redial.service.armed()? == 1.0, "a repeated INVITE armed a second watch");
    ensure!(redial.service.recalls()? == 1.0, "a repeated REGISTER made a second recall");
    ensure!(to_alice.lost() >= 10 && to_bob.lost() >= 6, "lost {} and {}", to_alice.lost(), to_bob.lost());
    Ok(())
}
