//! Two existing servers of which one is slow or overloaded: calls go by the other, each is one call, and the first has its users back when it is well.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redial_tests::Phone;
use redial_tests::front::{Site, wait_up};
use redial_tests::kamailio::{Kamailio, OVERLOADED, PATH, TRUSTING, user};
use sip_core::message::Header;

/// Where `who` is registered.
fn at(site: &Site, who: &str) -> Result<Vec<usize>> {
    let count = |server: &Kamailio| user(who, server.sip)?.contacts();
    site.servers.iter().map(count).collect()
}

/// How many of eight users that register now are at each server.
fn spread(site: &Site) -> Result<[usize; 2]> {
    let mut found = [0, 0];
    for n in 0..8 {
        let who = format!("user{n}");
        user(&who, site.edge(0))?.register(600)?;
        let places = at(site, &who)?;
        found = [found[0] + places[0], found[1] + places[1]];
    }
    Ok(found)
}

/// A phone, and the server that has its user while both are well. It is registered with the other one, as after an outage, and `with_both` if it
/// says so.
fn registered(site: &Site, who: &str, with_both: bool) -> Result<(Phone, usize)> {
    let mut phone = user(who, site.edge(0))?;
    phone.register(600)?;
    let own = at(site, who)?.iter().position(|contacts| *contacts == 1).context("registered nowhere")?;
    if !with_both {
        phone.register(0)?;
    }
    site.servers[own].pause()?;
    let again = phone.register(600);
    site.servers[own].resume()?;
    again?;
    wait_up(&site.cluster, site.servers[own].sip, true)?;
    ensure!(at(site, who)? == if own == 0 { [usize::from(with_both), 1] } else { [1, usize::from(with_both)] });
    Ok((phone, own))
}

/// The first server says nothing for longer than `--upstream-timeout`, and wakes while the second one has the phone ringing: it is told to stop what it
/// then begins, and the call that is up is the second's.
#[test]
fn a_server_that_wakes_while_another_has_taken_its_call_is_cancelled() -> Result<()> {
    let site = Site::start(2, 1, &[PATH, TRUSTING], &[])?;
    let (mut bob, own) = registered(&site, "bob", true)?;
    let mut alice = user("alice", site.edge(0))?;
    alice.register(600)?;
    let slow = &site.servers[own];
    slow.pause()?;
    std::thread::scope(|scope| -> Result<()> {
        let called = scope.spawn(|| -> Result<Phone> {
            let invite = bob.expect("INVITE")?;
            bob.answer(&invite, 180, "")?;
            wait_up(&site.cluster, slow.sip, false)?;
            slow.resume()?;
            // The CANCEL may reach it before it has called anybody.
            if let Some(late) = bob.within(Duration::from_secs(2), "INVITE")? {
                ensure!(late.header(Header::CallId) == invite.header(Header::CallId));
                bob.answer(&late, 180, "")?;
                let cancel = bob.expect("CANCEL")?;
                bob.answer(&cancel, 200, "")?;
                bob.answer(&late, 487, "")?;
                bob.expect("ACK")?;
            }
            bob.pick_up(&invite)?;
            let bye = bob.expect("BYE")?;
            bob.answer(&bye, 200, "")?;
            ensure!(bob.within(Duration::from_secs(1), "INVITE")?.is_none(), "called once more");
            Ok(bob)
        });
        let call = alice.invite("bob", "")?;
        ensure!(call.status() == 200, "{}", call.status());
        alice.hang_up(&call)?;
        ensure!(called.join().is_ok_and(|called| called.is_ok()), "bob's phone");
        Ok(())
    })?;
    ensure!(site.watched()? == 0.0, "a call that was answered is no reason");
    wait_up(&site.cluster, slow.sip, true)?;
    let found = spread(&site)?;
    ensure!(found[own] > 0 && found[0] + found[1] == 8, "{found:?}");
    Ok(())
}

/// What it says then is about nobody: the callee is with the second one, and it is his own answer that counts.
#[test]
fn what_a_server_says_late_is_not_the_answer_of_the_one_that_was_asked_next() -> Result<()> {
    let site = Site::start(2, 1, &[PATH, TRUSTING], &[])?;
    let (mut bob, own) = registered(&site, "bob", false)?;
    let mut alice = user("alice", site.edge(0))?;
    alice.register(600)?;
    let slow = &site.servers[own];
    slow.pause()?;
    std::thread::scope(|scope| -> Result<()> {
        let called = scope.spawn(|| -> Result<()> {
            let invite = bob.expect("INVITE")?;
            bob.answer(&invite, 180, "")?;
            slow.resume()?;
            // It answers in the order of what it was sent: its 404 has gone out before this.
            wait_up(&site.cluster, slow.sip, true)?;
            bob.answer(&invite, 486, "")
        });
        let call = alice.invite("bob", "")?;
        ensure!((call.status(), call.is_remembered()) == (486, false), "{}", call.status());
        ensure!(called.join().is_ok_and(|called| called.is_ok()), "bob's phone");
        Ok(())
    })?;
    ensure!(site.watched()? == 0.0);
    site.cluster.wait_no_watch_keys()
}

/// 503 to everything, OPTIONS as well: nobody notices, and when it is well again it has its users.
#[test]
fn nobody_notices_a_server_that_says_503() -> Result<()> {
    let mut site = Site::start(2, 1, &[PATH], &[])?;
    for server in 0..2 {
        site.servers[server].turn_into(&[PATH, OVERLOADED])?;
        for n in 0..4 {
            site.story([&format!("alice{n}"), &format!("bob{server}{n}")], [0, 0], 404)?;
        }
        wait_up(&site.cluster, site.servers[server].sip, false)?;
        let mut phone = user("dave", site.edge(0))?;
        phone.register(600)?;
        ensure!(user("dave", site.servers[1 - server].sip)?.contacts()? == 1);
        site.servers[server].turn_into(&[PATH])?;
        wait_up(&site.cluster, site.servers[server].sip, true)?;
    }
    site.over(8)?;
    let found = spread(&site)?;
    ensure!(found[0] > 0 && found[1] > 0 && found[0] + found[1] == 8, "{found:?}");
    Ok(())
}
