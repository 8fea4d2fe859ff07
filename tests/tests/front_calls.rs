//! What passes an edge that stands before existing servers: calls from ring to BYE, forks of the server's making, messages.

use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use redial_tests::front::Site;
use redial_tests::kamailio::{Kamailio, PATH, user};
use redial_tests::phone::Received;
use redial_tests::{Phone, Policy, Sipp, ports};

/// Both ways in which a server may be told to reach phones, before one that does as it is asked and before one as its package configures it.
fn sites(edges: usize) -> impl Iterator<Item = Result<Site>> {
    let servers: [fn(bool) -> Result<Kamailio>; 2] =
        [|path| Kamailio::start(if path { &[PATH] } else { &[] }), |_| Kamailio::stock(&["alice", "bob"])];
    servers.into_iter().flat_map(move |server| {
        [(true, "path"), (false, "contact")]
            .map(|(path, way)| Site::before(vec![server(path)?], edges, &Policy::default(), &["--upstream-path", way]))
    })
}

fn joined<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    match thread.join() {
        Ok(done) => done,
        Err(_) => bail!("a phone's thread panicked"),
    }
}

fn registered(site: &Site, edge: usize, who: &str) -> Result<Phone> {
    let mut phone = user(who, site.edge(edge))?;
    phone.register(600)?;
    Ok(phone)
}

/// With a watch of the pair and without one, which makes the edge stay in the dialog for its own sake.
#[test]
fn a_call_is_changed_and_ended_from_either_side() -> Result<()> {
    for site in sites(2) {
        let site = site?;
        let mut alice = registered(&site, 0, "alice")?;
        for (watched, callee_ends) in [(false, false), (false, true), (true, true)] {
            if watched {
                alice.miss_with("bob", 404)?;
            }
            let mut bob = registered(&site, 1, "bob")?;
            if watched {
                let refer = alice.expect("REFER")?;
                alice.answer(&refer, 202, "")?;
            }
            let serve = std::thread::spawn(move || -> Result<()> {
                let invite = bob.expect("INVITE")?;
                bob.answer(&invite, 180, "")?;
                bob.pick_up(&invite)?;
                let again = bob.expect("INVITE")?;
                bob.pick_up(&again)?;
                ensure!(bob.invite_back(&invite)? == 200, "re-INVITE of the callee");
                if callee_ends {
                    bob.end(&invite)?;
                } else {
                    let bye = bob.expect("BYE")?;
                    bob.answer(&bye, 200, "")?;
                }
                bob.register(0)
            });
            let mut call = alice.invite("bob", "")?;
            ensure!(call.status() == 200, "{}", call.status());
            ensure!(alice.invite_again(&mut call)? == 200, "re-INVITE of the caller");
            let back = alice.expect("INVITE")?;
            alice.pick_up(&back)?;
            if callee_ends {
                let bye = alice.expect("BYE")?;
                alice.answer(&bye, 200, "")?;
            } else {
                alice.hang_up(&call)?;
            }
            joined(serve)?;
        }
        site.over(1)?;
    }
    Ok(())
}

#[test]
fn a_call_that_is_given_up_stops_ringing() -> Result<()> {
    for site in sites(1) {
        let site = site?;
        let (alice, bob) = (ports::free()?, ports::free()?);
        for (who, local) in [("alice", alice), ("bob", bob)] {
            Sipp::new("register_digest", who, local, site.edge(0)).run()?;
        }
        let callee = Sipp::new("callee_cancelled", "bob", bob, site.edge(0)).start()?;
        Sipp::new("invite_cancelled_digest", "alice", alice, site.edge(0)).to("bob").run()?;
        callee.wait()?;
        ensure!(site.watched()? == 0.0);
    }
    Ok(())
}

#[test]
fn a_recalled_call_that_is_given_up_ends_its_watch() -> Result<()> {
    let site = Site::start(1, 1, &[PATH], &[])?;
    let mut alice = registered(&site, 0, "alice")?;
    alice.miss_with("bob", 404)?;
    let bob = ports::free()?;
    Sipp::new("register_digest", "bob", bob, site.edge(0)).run()?;
    let refer = alice.expect("REFER")?;
    alice.answer(&refer, 202, "")?;
    let callee = Sipp::new("callee_cancelled", "bob", bob, site.edge(0)).start()?;
    // From another port: the name and the password make it her call.
    Sipp::new("invite_cancelled_digest", "alice", ports::free()?, site.edge(0)).to("bob").run()?;
    callee.wait()?;
    site.cluster.wait_ended("cancelled", 1)?;
    site.cluster.wait_no_watch_keys()
}

#[test]
fn a_message_passes() -> Result<()> {
    for site in sites(2) {
        let site = site?;
        let mut bob = registered(&site, 1, "bob")?;
        let serve = std::thread::spawn(move || -> Result<Received> {
            let message = bob.expect("MESSAGE")?;
            bob.answer(&message, 200, "")?;
            Ok(message)
        });
        Sipp::new("message_digest", "alice", ports::free()?, site.edge(0)).to("bob").run()?;
        ensure!(joined(serve)?.message().body().starts_with(b"hello"));
    }
    Ok(())
}

/// The callee has two phones; the server rings both, one answers, the other one stops. The watch hears of one call.
#[test]
fn a_call_that_the_server_forks_is_one_call() -> Result<()> {
    for site in sites(1) {
        let site = site?;
        let mut alice = registered(&site, 0, "alice")?;
        alice.miss_with("bob", 404)?;
        let (mut desk, mut mobile) = (registered(&site, 0, "bob")?, registered(&site, 0, "bob")?);
        let refer = alice.expect("REFER")?;
        let edge = &site.cluster.edges[0].service;
        std::thread::scope(|scope| -> Result<()> {
            let rings = scope.spawn(|| desk.ring_in_vain());
            let answers = scope.spawn(|| -> Result<Vec<String>> {
                // The edge has sent the desk's 180 to the server, and the server's to alice: a proxy stops only what it has heard to ring.
                edge.wait_metric("sip_responses_sent_total", &[("method", "INVITE"), ("status", "180")], 2.0)?;
                mobile.serve_calls(1)
            });
            alice.take_recall(&refer)?;
            ensure!(rings.join().is_ok_and(|rang| rang.is_ok()), "the desk phone");
            ensure!(answers.join().is_ok_and(|served| served.is_ok()), "the mobile");
            Ok(())
        })?;
        site.over(1)?;
        ensure!(alice.within(Duration::from_secs(2), "REFER")?.is_none(), "recalled twice");
    }
    Ok(())
}
