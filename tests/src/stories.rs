//! Stories that more than one test plays.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use crate::{Phone, Policy, Sipp};

/// One of sipp's phones: whose, where it is, and whom it talks to.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    pub who: &'a str,
    pub local: SocketAddr,
    pub server: SocketAddr,
}

impl<'a> End<'a> {
    #[must_use]
    pub fn new(who: &'a str, local: SocketAddr, server: SocketAddr) -> Self {
        Self { who, local, server }
    }

    fn phone(&self, scenario: &'static str) -> Sipp {
        Sipp::new(scenario, self.who, self.local, self.server)
    }

    /// # Errors
    /// When the REGISTER is refused.
    pub fn unregister(&self) -> Result<()> {
        self.phone("register").key("ttl", 0).run().map(drop)
    }
}

/// The story: the caller misses the callee, who comes back; the caller is recalled and they talk.
/// # Errors
/// When a phone sees something else.
pub fn by_sipp(caller: End<'_>, callee: End<'_>) -> Result<()> {
    caller.phone("register").run()?;
    caller.phone("invite_remembered").to(callee.who).run()?;
    let recalled = caller.phone("caller_recalled").to(callee.who).start()?;
    callee.phone("register").run()?;
    callee.phone("callee_answers").run()?;
    recalled.wait().map(drop)
}

/// For [`play`]. Short periods and one attempt, so that every story ends soon.
#[must_use]
pub fn policy() -> Policy {
    Policy::default().set("maxAttempts", 1).set("traceRatio", "1.0")
}

/// Every way for a watch to end, and some noise, at two edges; `round` keeps its phones apart from those of other rounds.
/// # Errors
/// When a phone sees something else than the story says.
pub fn play(here: SocketAddr, there: SocketAddr, round: usize) -> Result<()> {
    let name = |who: &str| format!("{who}{round}");
    let mut alice = Phone::registered(&name("alice"), here)?;
    let bob = name("bob");

    // Missed, back, connected; then they talk again without any watch.
    alice.miss(&bob)?;
    let mut phone = Phone::registered(&bob, there)?;
    let refer = alice.expect("REFER")?;
    let serve = std::thread::spawn(move || phone.serve_calls(2));
    alice.take_recall(&refer)?;
    let call = alice.invite(&bob, "")?;
    ensure!(call.status() == 200, "a plain call: {}", call.status());
    alice.hang_up(&call)?;
    ensure!(serve.join().is_ok_and(|served| served.is_ok()), "{bob}'s phone");

    // Runs out; is taken back; is not remembered at all.
    ensure!(alice.invite(&name("carol"), "Redial-Period: 1\r\n")?.is_remembered());
    alice.miss(&name("dave"))?;
    ensure!(!alice.invite(&name("dave"), "Expires: 0\r\n")?.is_remembered());
    let mut stranger = Phone::new(&name("mallory"), here)?;
    ensure!(!stranger.invite(&bob.replace("bob", "erin"), "")?.is_remembered());

    // The caller's phone refuses both rungs, and the only attempt is used up.
    alice.miss(&name("frank"))?;
    let _frank = Phone::registered(&name("frank"), there)?;
    for _ in 0..2 {
        let refer = alice.expect("REFER")?;
        alice.answer(&refer, 405, "")?;
    }

    // No SIP at all.
    stranger.send(b"GET / HTTP/1.1\r\n\r\n")
}
