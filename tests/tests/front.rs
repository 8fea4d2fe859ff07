//! In front of existing servers: one of them, several, and several edges before one.

use anyhow::{Result, ensure};
use redial_tests::kamailio::{self, Kamailio};
use redial_tests::{Phone, Sipp, ports};

fn phone(who: &str, server: std::net::SocketAddr) -> Result<Phone> {
    let mut phone = Phone::new(who, server)?;
    phone.password = Some(kamailio::PASSWORD.to_owned());
    Ok(phone)
}

/// Without anything in front: what the other tests take for granted.
#[test]
fn the_server_behind_is_an_ordinary_registrar_and_proxy() -> Result<()> {
    let mut upstream = Kamailio::start(&[kamailio::UNAVAILABLE])?;
    let (mut alice, mut bob) = (phone("alice", upstream.sip)?, phone("bob", upstream.sip)?);
    ensure!(Phone::new("alice", upstream.sip)?.try_register(600)?.status() == 401);
    alice.register(600)?;
    ensure!(alice.invite("bob", "")?.status() == 480);
    let missed = ports::free()?;
    Sipp::new("register_digest", "carol", missed, upstream.sip).run()?;
    bob.register(600)?;
    let serve = std::thread::spawn(move || bob.serve_calls(1));
    let call = alice.invite("bob", "")?;
    ensure!(call.status() == 200);
    alice.hang_up(&call)?;
    ensure!(serve.join().is_ok_and(|served| served.is_ok()));
    upstream.kill()?;
    upstream.start_again()?;
    ensure!(alice.invite("bob", "")?.status() == 480, "what it had registered is forgotten");
    alice.register(600)?;
    upstream.pause()?;
    upstream.resume()?;
    ensure!(Kamailio::start(&[])?.sip != upstream.sip);
    let call = alice.invite("bob", "")?;
    ensure!(call.status() == 480);
    Ok(())
}
