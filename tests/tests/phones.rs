//! Soft phones that people use, as callers and as callees, at a registrar of our own and through an edge before Kamailio, which asks them for their
//! passwords. By which rung of the ladder each is connected, the README's table says as well.

use std::time::Duration;

use anyhow::{Result, ensure};
use redial_tests::kamailio::{self, Kamailio, PATH, UNAVAILABLE, user};
use redial_tests::softphone::{By, SoftPhone};
use redial_tests::{Policy, Sipp, Standalone, ports, redial, until};

type Start = fn(&str, std::net::SocketAddr) -> Result<SoftPhone>;

/// Where a phone registers.
struct Server {
    redial: Standalone,
    /// Registrar and proxy, unless redial is that.
    behind: Vec<Kamailio>,
}

impl Server {
    fn own(policy: &Policy) -> Result<Self> {
        Ok(Self { redial: Standalone::start(policy, &[])?, behind: Vec::new() })
    }

    fn front(policy: &Policy) -> Result<Self> {
        Self::front_with(policy, &[PATH, UNAVAILABLE], &[])
    }

    fn front_with(policy: &Policy, defines: &[&'static str], more: &[String]) -> Result<Self> {
        let behind = vec![Kamailio::start(defines)?];
        let options = [&kamailio::before(&behind), more].concat();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Ok(Self { redial: Standalone::start(policy, &options)?, behind })
    }

    /// A scenario of sipp that registers here.
    fn register(&self) -> &'static str {
        if self.behind.is_empty() { "register" } else { "register_digest" }
    }
}

/// Phones that have missed Bob are asked on every rung, and connected by the one that works.
struct Call {
    redial: Standalone,
    _behind: Vec<Kamailio>,
    register: &'static str,
    phone: SoftPhone,
    bob: std::net::SocketAddr,
}

impl Call {
    fn missed(start: Start, server: Server) -> Result<Self> {
        let phone = start("alice", server.redial.sip)?;
        let call = Self { register: server.register(), redial: server.redial, _behind: server.behind, phone, bob: ports::free()? };
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
        Sipp::new(self.register, "bob", self.bob, self.redial.sip).run()?;
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

    /// Rung 3 is the lesson of a phone that calls itself so: with the version of the README's table.
    fn learned(&self, agent: &str) -> Result<()> {
        let doctor = redial(&["doctor", "--coordinator", &format!("http://{}", self.redial.control)])?;
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
        let lesson = said.lines().find(|line| line.starts_with("learned")).unwrap_or_default();
        ensure!(lesson.contains(agent) && lesson.contains(": rung 3"), "{said}");
        Ok(())
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
    let call = Call::missed(SoftPhone::baresip, Server::own(&policy().set("ladder", "[1, 2, 3]"))?)?;
    call.bob_answers(1)?;
    ensure!(call.answered("REFER", 501)? == 2.0, "rungs 1 and 2");
    ensure!(call.answered("INVITE", 200)? >= 1.0 && call.answered("REFER", 202)? == 1.0, "rung 3");
    // Next time the rung that worked comes first.
    Sipp::new("register", "bob", call.bob, call.redial.sip).key("ttl", 0).run()?;
    call.miss(2.0)?;
    call.bob_answers(2)?;
    ensure!((call.asked("1")?, call.asked("2")?, call.asked("3")?) == (1.0, 1.0, 2.0));
    call.learned("baresip v1.0.0 ")
}

#[test]
fn linphone_refuses_refers_and_takes_the_call() -> Result<()> {
    let call = Call::missed(SoftPhone::linphone, Server::own(&policy().set("ladder", "[1, 2, 3]"))?)?;
    call.bob_answers(1)?;
    ensure!(call.answered("REFER", 603)? == 2.0, "rungs 1 and 2:\n{}", call.phone.log());
    ensure!(call.answered("REFER", 202)? == 1.0, "rung 3");
    ensure!((call.asked("1")?, call.asked("2")?, call.asked("3")?) == (1.0, 1.0, 1.0));
    call.learned("Linphonec/5.1.65")
}

#[test]
fn both_show_the_message_of_rung_four() -> Result<()> {
    for start in [SoftPhone::baresip, SoftPhone::linphone] {
        let call = Call::missed(start, Server::own(&policy().set("ladder", "[4]"))?)?;
        Sipp::new("register", "bob", call.bob, call.redial.sip).run()?;
        call.redial.service.wait_ended("notified", 1)?;
        ensure!(call.answered("MESSAGE", 200)? == 1.0);
        ensure!(call.phone.log().contains("bob@example.com can be reached again."));
    }
    Ok(())
}

/// Through an edge that stands before Kamailio: the call that the phone makes for us has its password, too.
fn connected_in_front(start: Start, refused: u16) -> Result<()> {
    let call = Call::missed(start, Server::front(&policy().set("ladder", "[1, 2, 3]"))?)?;
    call.bob_answers(1)?;
    ensure!(call.answered("REFER", refused)? == 2.0, "rungs 1 and 2:\n{}", call.phone.log());
    ensure!((call.asked("1")?, call.asked("2")?, call.asked("3")?) == (1.0, 1.0, 1.0));
    Ok(())
}

#[test]
fn baresip_calls_through_a_front() -> Result<()> {
    connected_in_front(SoftPhone::baresip, 501)
}

#[test]
fn linphone_calls_through_a_front() -> Result<()> {
    connected_in_front(SoftPhone::linphone, 603)
}

/// The phone was off, comes up and is called.
fn is_called(start: Start, server: &Server) -> Result<()> {
    let mut alice = user("alice", server.redial.sip)?;
    alice.register(600)?;
    alice.miss("bob")?;
    let bob = start("bob", server.redial.sip)?;
    let refer = alice.expect("REFER")?;
    alice.take_recall(&refer).map_err(|error| error.context(bob.log()))?;
    server.redial.service.wait_ended("connected", 1)
}

#[test]
fn baresip_comes_back_and_is_called() -> Result<()> {
    is_called(SoftPhone::baresip, &Server::own(&policy())?)?;
    is_called(SoftPhone::baresip, &Server::front(&policy())?)
}

#[test]
fn linphone_comes_back_and_is_called() -> Result<()> {
    is_called(SoftPhone::linphone, &Server::own(&policy())?)?;
    is_called(SoftPhone::linphone, &Server::front(&policy())?)
}

/// The server behind speaks UDP alone; its users need not.
#[test]
fn phones_by_tcp_call_and_are_called_through_a_front() -> Result<()> {
    for (defines, way) in [(&[PATH, UNAVAILABLE][..], "path"), (&[UNAVAILABLE], "contact")] {
        let tcp = ports::free()?;
        let more = [format!("--listen=tcp:{tcp}"), format!("--upstream-path={way}")];
        let server = Server::front_with(&policy().set("ladder", "[3]"), defines, &more)?;
        let alice = SoftPhone::baresip_by("alice", tcp, By::Tcp)?;
        server.redial.service.wait_metric("sip_responses_sent_total", &[("method", "REGISTER"), ("status", "200")], 1.0)?;
        alice.dial("bob")?;
        server.redial.service.wait_metric("redial_watches_armed_total", &[], 1.0)?;
        let bob = SoftPhone::linphone_by("bob", tcp, By::Tcp)?;
        let connected = server.redial.service.wait_ended("connected", 1);
        connected.map_err(|error| error.context(bob.log()).context(alice.log()))?;
        alice.hang_up()?;
    }
    Ok(())
}
