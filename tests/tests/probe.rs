//! Policy `probe`: a callee whose registration ran out is asked by OPTIONS.

use anyhow::{Result, ensure};
use redial_tests::front::Site;
use redial_tests::kamailio::{PATH, SHORT, user};
use redial_tests::wait::PATIENCE;
use redial_tests::{Cluster, Phone, Policy, Sipp, ports, redial, until};

/// One edge that grants registrations of a second, and two replicas that both see every watch.
fn cluster(settle: &str) -> Result<Cluster> {
    let policy = Policy::default().set("probe", "\"10s\"").set("settle", format!("\"{settle}\""));
    Cluster::start_with(2, 1, &policy, &["--register-min", "1s"])
}

fn probes(cluster: &Cluster, result: &str) -> f64 {
    cluster.sum("redial_probes_total", &[("result", result)])
}

fn wait_run_out(cluster: &Cluster, who: &str) -> Result<()> {
    let control = format!("http://{}", cluster.coordinators[0].grpc);
    until(&format!("the registration of {who} to run out"), PATIENCE, || {
        let listed = redial(&["binding", "list", &format!("{who}@example.com"), "--coordinator", &control])?;
        ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        Ok((!String::from_utf8_lossy(&listed.stdout).contains(&format!("sip:{who}@"))).then_some(()))
    })
}

#[test]
fn a_phone_whose_registration_ran_out_answers_a_probe_and_its_caller_is_recalled() -> Result<()> {
    // Long enough for bob's second sipp to be there when the caller calls.
    let cluster = cluster("3s")?;
    let edge = cluster.edges[0].sip;
    let (alice, bob) = (ports::free()?, ports::free()?);
    let alice = |scenario: &'static str| Sipp::new(scenario, "alice", alice, edge).to("bob");
    let bob = |scenario: &'static str| Sipp::new(scenario, "bob", bob, edge);
    bob("register").key("ttl", 1).run()?;
    alice("register").run()?;
    wait_run_out(&cluster, "bob")?;
    alice("invite_remembered").run()?;
    let recalled = alice("caller_recalled").start()?;
    bob("callee_probed").run()?;
    bob("callee_answers").run()?;
    recalled.wait()?;
    cluster.wait_ended("connected", 1)?;
    cluster.wait_no_watch_keys()?;
    ensure!(probes(&cluster, "ordered") == 1.0, "asked by one replica, once");
    ensure!(probes(&cluster, "reinstated") == 1.0);
    let sent = cluster.edges[0].service.metrics()?.sum("sip_requests_sent_total", &[("method", "OPTIONS")]);
    ensure!(sent == 1.0, "{sent} OPTIONS");
    Ok(())
}

#[test]
fn probes_stop_with_the_watch_and_are_not_sent_to_who_said_goodbye_or_never_came() -> Result<()> {
    let cluster = cluster("0s")?;
    let edge = cluster.edges[0].sip;
    let mut alice = Phone::registered("alice", edge)?;
    let (mut bob, mut carol, mut dave) = (Phone::new("bob", edge)?, Phone::new("carol", edge)?, Phone::registered("dave", edge)?);
    bob.register(1)?;
    carol.register(1)?;
    dave.register(0)?;
    for who in ["bob", "carol"] {
        wait_run_out(&cluster, who)?;
    }
    // Bob's watch has time for one probe, the others for all that may come.
    ensure!(alice.invite("bob", "Redial-Period: 15\r\n")?.is_remembered());
    for who in ["dave", "eve", "carol"] {
        ensure!(alice.invite(who, "Redial-Period: 600\r\n")?.is_remembered(), "{who}");
    }
    let asked = bob.expect("OPTIONS")?;
    bob.answer(&asked, 480, "")?;
    // Carol's second probe is the clock: she was the last who was missed.
    for _ in 0..2 {
        let asked = carol.expect("OPTIONS")?;
        carol.answer(&asked, 480, "")?;
    }
    cluster.wait_ended("expired", 1)?;
    ensure!(probes(&cluster, "ordered") == 3.0, "bob once, carol twice, nobody else: {}", probes(&cluster, "ordered"));
    ensure!(probes(&cluster, "reinstated") == 0.0, "480 is not being back");
    Ok(())
}

/// The registrar is another server, which has forgotten the phones: only the edges know that bob is there, and take alice's call to him.
fn probed_in_front(defines: &[&'static str], [servers, edges]: [usize; 2], way: &str) -> Result<()> {
    let policy = Policy::default().set("probe", "\"10s\"");
    let site = Site::with(servers, edges, defines, &policy, &["--upstream-path", way])?;
    let (here, there) = (site.edge(0), site.edge(edges - 1));
    let (mut alice, mut bob, mut carol) = (user("alice", here)?, user("bob", there)?, user("carol", there)?);
    alice.register(300)?;
    for (phone, who) in [(&mut bob, "bob"), (&mut carol, "carol")] {
        phone.register(1)?;
        wait_run_out(&site.cluster, who)?;
        alice.miss_with(who, 404)?;
    }
    let asked = bob.expect("OPTIONS")?;
    bob.answer(&asked, 200, "")?;
    let refer = alice.expect("REFER")?;
    alice.reconnect(&refer, &mut bob)?;
    site.cluster.wait_ended("connected", 1)?;
    // Carol's second probe is the clock: by then bob would have had one more.
    for _ in 0..2 {
        let asked = carol.expect("OPTIONS")?;
        carol.answer(&asked, 480, "")?;
    }
    let (ordered, reinstated) = (probes(&site.cluster, "ordered"), probes(&site.cluster, "reinstated"));
    ensure!((ordered, reinstated) == (3.0, 1.0), "bob once, carol twice: {ordered}, {reinstated}");
    Ok(())
}

#[test]
fn a_phone_that_its_server_has_forgotten_answers_a_probe_and_is_called_all_the_same() -> Result<()> {
    probed_in_front(&[PATH, SHORT], [1, 1], "path")
}

#[test]
fn a_phone_that_both_servers_have_forgotten_is_called_by_the_edge_that_it_registered_at() -> Result<()> {
    probed_in_front(&[SHORT], [2, 2], "contact")
}
