//! The story of a missed call, told by sipp's phones to one `redial standalone`.

use anyhow::{Result, ensure};
use redial_tests::{Policy, Sipp, Standalone, ports};
use std::net::SocketAddr;

/// Alice is registered; what happens next is up to the test.
struct Stage {
    redial: Standalone,
    alice: SocketAddr,
    bob: SocketAddr,
}

impl Stage {
    fn set(policy: &Policy) -> Result<Self> {
        let stage = Self { redial: Standalone::start(policy, &[])?, alice: ports::free()?, bob: ports::free()? };
        stage.alice("register").run()?;
        Ok(stage)
    }

    fn alice(&self, scenario: &'static str) -> Sipp {
        Sipp::new(scenario, "alice", self.alice, self.redial.sip).to("bob")
    }

    fn bob(&self, scenario: &'static str) -> Sipp {
        Sipp::new(scenario, "bob", self.bob, self.redial.sip)
    }

    fn alice_misses_bob(&self) -> Result<()> {
        self.alice("invite_remembered").run()?;
        ensure!(self.redial.service.armed()? == 1.0);
        Ok(())
    }
}

#[test]
fn a_missed_call_is_made_up_for_when_the_callee_comes_back() -> Result<()> {
    let stage = Stage::set(&Policy::default())?;
    stage.alice_misses_bob()?;
    let alice = stage.alice("caller_recalled").start()?;
    stage.bob("register").run()?;
    stage.bob("callee_answers").run()?;
    alice.wait()?;
    stage.redial.service.wait_ended("connected", 1)?;
    ensure!(stage.redial.service.recalls()? == 1.0);
    Ok(())
}

#[test]
fn a_callee_whose_registration_ended_is_as_away_as_one_who_never_registered() -> Result<()> {
    let stage = Stage::set(&Policy::default())?;
    stage.bob("register").run()?;
    stage.bob("register").key("ttl", 0).run()?;
    stage.alice_misses_bob()?;
    let alice = stage.alice("caller_recalled").start()?;
    stage.bob("register").run()?;
    stage.bob("callee_answers").run()?;
    alice.wait()?;
    stage.redial.service.wait_ended("connected", 1)
}

#[test]
fn with_end_on_refer_sent_the_accepted_recall_is_the_end() -> Result<()> {
    let stage = Stage::set(&Policy::default().set("endOn", "\"referSent\""))?;
    stage.alice_misses_bob()?;
    let alice = stage.alice("caller_accepts_only").start()?;
    stage.bob("register").run()?;
    alice.wait()?;
    stage.redial.service.wait_ended("recalled", 1)
}

#[test]
fn a_period_that_runs_out_ends_the_watch_without_a_message() -> Result<()> {
    let stage = Stage::set(&Policy::default())?;
    stage.alice("invite_remembered").asking("Redial-Period: 2").run()?;
    stage.redial.service.wait_ended("expired", 1)?;
    // The callee coming back later is nobody's business any more: the next thing that Alice's phone sees is her own call's answer.
    stage.bob("register").run()?;
    let bob = stage.bob("callee_answers").start()?;
    stage.alice("invite_answered").run()?;
    bob.wait()?;
    ensure!(stage.redial.service.recalls()? == 0.0);
    Ok(())
}

#[test]
fn expires_0_opts_out_and_cancels_what_was_remembered() -> Result<()> {
    let stage = Stage::set(&Policy::default())?;
    stage.alice_misses_bob()?;
    stage.alice("invite_not_remembered").asking("Expires: 0").run()?;
    stage.redial.service.wait_ended("cancelled", 1)?;
    stage.bob("register").run()?;
    let bob = stage.bob("callee_answers").start()?;
    stage.alice("invite_answered").run()?;
    bob.wait()?;
    ensure!(stage.redial.service.recalls()? == 0.0);
    Ok(())
}

#[test]
fn a_caller_who_left_is_recalled_when_she_comes_back() -> Result<()> {
    let stage = Stage::set(&Policy::default())?;
    stage.alice_misses_bob()?;
    stage.alice("register").key("ttl", 0).run()?;
    stage.bob("register").run()?;
    let bob = stage.bob("callee_answers").start()?;
    stage.alice("register").run()?;
    stage.alice("caller_recalled").run()?;
    bob.wait()?;
    stage.redial.service.wait_ended("connected", 1)
}

#[test]
fn a_recall_refused_with_405_climbs_the_ladder_and_is_tried_again_later() -> Result<()> {
    refused_at_first(405)
}

#[test]
fn a_recall_refused_with_403_climbs_the_ladder_and_is_tried_again_later() -> Result<()> {
    refused_at_first(403)
}

#[test]
fn a_recall_refused_with_603_climbs_the_ladder_and_is_tried_again_later() -> Result<()> {
    refused_at_first(603)
}

fn refused_at_first(code: u16) -> Result<()> {
    let stage = Stage::set(&Policy::default())?;
    stage.alice_misses_bob()?;
    let refuses = stage.alice("caller_refuses_recall").code(code).calls(2).start()?;
    stage.bob("register").run()?;
    let bob = stage.bob("callee_answers").start()?;
    refuses.wait()?;
    stage.alice("caller_recalled").run()?;
    bob.wait()?;
    stage.redial.service.wait_ended("connected", 1)?;
    let metrics = stage.redial.service.metrics()?;
    for (rung, ordered) in [("1", 2.0), ("2", 1.0)] {
        ensure!(metrics.sum("redial_recalls_total", &[("rung", rung), ("result", "ordered")]) == ordered, "rung {rung}");
    }
    Ok(())
}

#[test]
fn a_busy_callee_is_tried_again_and_one_who_declines_is_not() -> Result<()> {
    let stage = Stage::set(&Policy::default())?;
    stage.alice_misses_bob()?;
    let alice = stage.alice("caller_recalled_busy").start()?;
    stage.bob("register").run()?;
    stage.bob("callee_busy").run()?;
    alice.wait()?;
    let alice = stage.alice("caller_recalled_declined").start()?;
    stage.bob("callee_declines").run()?;
    alice.wait()?;
    stage.redial.service.wait_ended("failed", 1)?;
    ensure!(stage.redial.service.recalls()? == 2.0);
    Ok(())
}

#[test]
fn a_caller_who_gives_the_new_call_up_is_not_recalled_again() -> Result<()> {
    let stage = Stage::set(&Policy::default())?;
    stage.alice_misses_bob()?;
    let alice = stage.alice("caller_recalled_cancels").start()?;
    stage.bob("register").run()?;
    stage.bob("callee_cancelled").run()?;
    alice.wait()?;
    stage.redial.service.wait_ended("cancelled", 1)
}

/// Bob's phone registers and leaves while Alice's is deaf; then it hears the repeated REFER and calls in vain.
#[test]
fn a_callee_gone_again_before_the_new_call_is_remembered_still() -> Result<()> {
    let stage = Stage::set(&Policy::default().set("recallTimeout", "\"20s\""))?;
    stage.alice_misses_bob()?;
    stage.bob("register").run()?;
    stage.redial.service.wait_metric("redial_recalls_total", &[("result", "ordered")], 1.0)?;
    stage.bob("register").key("ttl", 0).run()?;
    stage.alice("caller_recalled_in_vain").run()?;
    ensure!(stage.redial.service.ended()? == 0.0);
    let alice = stage.alice("caller_recalled").start()?;
    stage.bob("register").run()?;
    stage.bob("callee_answers").run()?;
    alice.wait()?;
    stage.redial.service.wait_ended("connected", 1)?;
    ensure!(stage.redial.service.armed()? == 1.0, "the same watch all along");
    Ok(())
}

#[test]
fn a_call_rings_at_every_contact_and_stops_where_it_is_not_answered() -> Result<()> {
    let stage = Stage::set(&Policy::default())?;
    let desk = ports::free()?;
    stage.bob("register").run()?;
    Sipp::new("register", "bob", desk, stage.redial.sip).run()?;
    let rings = Sipp::new("callee_cancelled", "bob", desk, stage.redial.sip).start()?;
    let answers = stage.bob("callee_answers").start()?;
    stage.alice("invite_answered").run()?;
    answers.wait()?;
    rings.wait()?;
    Ok(())
}

#[test]
fn a_registered_callee_who_refuses_is_not_watched() -> Result<()> {
    let stage = Stage::set(&Policy::default())?;
    stage.bob("register").run()?;
    for refusal in ["callee_unavailable", "callee_busy", "callee_declines"] {
        let bob = stage.bob(refusal).start()?;
        stage.alice("invite_refused").run()?;
        bob.wait()?;
    }
    ensure!(stage.redial.service.armed()? == 0.0);
    Ok(())
}

#[test]
fn a_caller_who_is_not_registered_is_not_remembered() -> Result<()> {
    let stage = Stage::set(&Policy::default())?;
    Sipp::new("invite_not_remembered", "mallory", ports::free()?, stage.redial.sip).to("bob").run()?;
    // Nor is somebody who calls in Alice's name from elsewhere.
    Sipp::new("invite_not_remembered", "alice", ports::free()?, stage.redial.sip).to("bob").run()?;
    ensure!(stage.redial.service.armed()? == 0.0);
    Ok(())
}

#[test]
fn with_a_users_file_only_the_right_password_registers_and_is_remembered() -> Result<()> {
    let users = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/users");
    let redial = Standalone::start(&Policy::default(), &["--users", users])?;
    let (alice, bob) = (ports::free()?, ports::free()?);
    let phone = |scenario, who, local| Sipp::new(scenario, who, local, redial.sip).to("bob");
    phone("register_wrong_password", "alice", alice).args(["-ap", "wrong"]).run()?;
    phone("register_digest", "alice", alice).run()?;
    phone("invite_wrong_password", "alice", alice).args(["-ap", "wrong"]).run()?;
    ensure!(redial.service.armed()? == 0.0);
    phone("invite_remembered_digest", "alice", alice).run()?;
    ensure!(redial.service.armed()? == 1.0);
    let recalled = phone("caller_recalled_digest", "alice", alice).start()?;
    phone("register_digest", "bob", bob).run()?;
    phone("callee_answers", "bob", bob).run()?;
    recalled.wait()?;
    redial.service.wait_ended("connected", 1)
}
