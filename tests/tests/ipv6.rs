//! IPv6, alone and next to IPv4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use redial_tests::stories::{self, End};
use redial_tests::{Phone, Policy, Standalone, ports};
use sip_core::message::Header;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[test]
fn the_whole_story_over_ipv6() -> Result<()> {
    let redial = Standalone::on(&[ports::free_at(V6)?], &Policy::default(), &[])?;
    stories::by_sipp(End::new("alice", ports::free_at(V6)?, redial.sip), End::new("bob", ports::free_at(V6)?, redial.sip))?;
    redial.service.wait_ended("connected", 1)?;
    ensure!(redial.service.recalls()? == 1.0);
    Ok(())
}

/// Either phone sees only addresses of its own IP version in what it has to send to, and in-dialog requests pass in both directions.
#[test]
fn a_recall_and_its_call_cross_from_ipv4_to_ipv6_and_back() -> Result<()> {
    let (v4, v6) = (ports::free_at(V4)?, ports::free_at(V6)?);
    let redial = Standalone::on(&[v4, v6], &Policy::default(), &[])?;
    for (here, there, count) in [(v4, v6, 1), (v6, v4, 2)] {
        let (who, peer) = (format!("caller{count}"), format!("callee{count}"));
        let mut alice = Phone::registered(&who, here)?;
        alice.miss(&peer)?;
        let mut bob = Phone::registered(&peer, there)?;
        let refer = alice.expect("REFER")?;
        ensure!(refer.from == here, "the REFER came from {}", refer.from);
        alice.answer(&refer, 202, "")?;
        let callee = std::thread::spawn(move || -> Result<(Phone, _)> {
            let invite = bob.expect("INVITE")?;
            bob.pick_up(&invite)?;
            Ok((bob, invite))
        });
        let call = alice.invite(&peer, "")?;
        ensure!(call.status() == 200);
        let Ok(called) = callee.join() else { anyhow::bail!("the callee failed") };
        let (mut bob, invite) = called?;
        ensure!(invite.from == there, "the INVITE came from {}", invite.from);
        let first = String::from_utf8_lossy(invite.message().first(Header::RecordRoute).unwrap_or_default()).into_owned();
        ensure!(first.contains(&there.to_string()), "the callee's first hop is {first}");
        // The callee hangs up.
        let caller = std::thread::spawn(move || -> Result<()> {
            let bye = alice.expect("BYE")?;
            alice.answer(&bye, 200, "")
        });
        bob.end(&invite)?;
        ensure!(caller.join().is_ok_and(|ended| ended.is_ok()));
        redial.service.wait_ended("connected", count)?;
    }
    Ok(())
}
