//! Stories for telemetry: every way for a watch to end, and some noise.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use crate::{Phone, Policy};

/// Short periods and one attempt, so that every story ends soon.
#[must_use]
pub fn policy() -> Policy {
    Policy::default().set("maxAttempts", 1).set("traceRatio", "1.0")
}

/// Plays one round at two edges; `round` keeps its phones apart from those of other rounds.
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
