//! Callers with soft phones that people use, and by which rung of the ladder each is connected. The README's table says the same.

use std::time::Duration;

use anyhow::{Result, ensure};
use redial_tests::softphone::SoftPhone;
use redial_tests::{Policy, Sipp, Standalone, ports, redial, until};

/// Phones that have missed Bob are asked on every rung, and connected by the one that works.
struct Call {
    redial: Standalone,
    phone: SoftPhone,
    bob: std::net::SocketAddr,
}

impl Call {
    fn missed(start: fn(&str, std::net::SocketAddr) -> Result<SoftPhone>, policy: &Policy) -> Result<Self> {
        let redial = Standalone::start(policy, &[])?;
        let phone = start("alice", redial.sip)?;
        let call = Self { redial, phone, bob: ports::free()? };
        call.redial.service.wait_metric("sip_responses_sent_total", &[("method", "REGISTER"), ("status", "200")], 1.0)?;
        call.miss(1.0)?;
        Ok(call)
    }

    fn miss(&self, so_far: f64) -> Result<()> {
        self.phone.dial("bob")?;
        self.redial.service.wait_metric("redial_watches_armed_total", &[], so_far)
    }

    /// Bob is back and answers one call of Alice's, which she ends.
    fn bob_answers(&self, so_far: u32) -> Result<()> {
        Sipp::new("register", "bob", self.bob, self.redial.sip).run()?;
        let bob = Sipp::new("callee_answers", "bob", self.bob, self.redial.sip).limit(Duration::from_secs(60)).start()?;
        self.redial.service.wait_ended("connected", so_far)?;
        until("our call to be hung up", Duration::from_secs(20), || {
            Ok((self.answered("BYE", 200)? >= f64::from(2 * so_far - 1)).then_some(()))
        })?;
        self.phone.hang_up()?;
        bob.wait()?;
        Ok(())
    }

    fn answered(&self, method: &str, status: u16) -> Result<f64> {
        let labels = [("method", method), ("status", &status.to_string())];
        Ok(self.redial.service.metrics()?.sum("sip_responses_received_total", &labels))
    }

    fn asked(&self, rung: &str) -> Result<f64> {
        Ok(self.redial.service.metrics()?.sum("redial_recalls_total", &[("rung", rung), ("result", "ordered")]))
    }
}

fn policy() -> Policy {
    Policy::default().set("recallTimeout", "\"15s\"").set("settle", "\"1s\"")
}

#[test]
fn baresip_refuses_refers_and_takes_the_call_and_its_kind_is_remembered() -> Result<()> {
    let call = Call::missed(SoftPhone::baresip, &policy().set("ladder", "[1, 2, 3]"))?;
    call.bob_answers(1)?;
    ensure!(call.answered("REFER", 501)? == 2.0, "rungs 1 and 2");
    ensure!(call.answered("INVITE", 200)? >= 1.0 && call.answered("REFER", 202)? == 1.0, "rung 3");
    // Next time the rung that worked comes first.
    Sipp::new("register", "bob", call.bob, call.redial.sip).key("ttl", 0).run()?;
    call.miss(2.0)?;
    call.bob_answers(2)?;
    ensure!((call.asked("1")?, call.asked("2")?, call.asked("3")?) == (1.0, 1.0, 2.0));
    let doctor = redial(&["doctor", "--coordinator", &format!("http://{}", call.redial.control)])?;
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(said.contains("baresip v1") && said.contains("rung 3"), "{said}");
    Ok(())
}

#[test]
fn linphone_refuses_refers_and_takes_the_call() -> Result<()> {
    let call = Call::missed(SoftPhone::linphone, &policy().set("ladder", "[1, 2, 3]"))?;
    call.bob_answers(1)?;
    ensure!(call.answered("REFER", 603)? == 2.0, "rungs 1 and 2:\n{}", call.phone.log());
    ensure!(call.answered("REFER", 202)? == 1.0, "rung 3");
    ensure!((call.asked("1")?, call.asked("2")?, call.asked("3")?) == (1.0, 1.0, 1.0));
    Ok(())
}

#[test]
fn both_show_the_message_of_rung_four() -> Result<()> {
    for start in [SoftPhone::baresip, SoftPhone::linphone] {
        let call = Call::missed(start, &policy().set("ladder", "[4]"))?;
        Sipp::new("register", "bob", call.bob, call.redial.sip).run()?;
        call.redial.service.wait_ended("notified", 1)?;
        ensure!(call.answered("MESSAGE", 200)? == 1.0);
        ensure!(call.phone.log().contains("bob@example.com can be reached again."));
    }
    Ok(())
}
