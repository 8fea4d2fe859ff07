//! Phones by TCP and TLS beside those by UDP, on one edge and on two.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redial_tests::authority::Authority;
use redial_tests::front::Site;
use redial_tests::kamailio::{PATH, user};
use redial_tests::process::Scratch;
use redial_tests::softphone::{By, SoftPhone};
use redial_tests::wait::PATIENCE;
use redial_tests::wire::Wire;
use redial_tests::{Coordinator, DOMAIN, Edge, Phone, Policy, Redis, Sipp, Standalone, ports, until};
use sip_core::Header;

/// UDP, TCP and TLS.
struct Served {
    redial: Standalone,
    tcp: SocketAddr,
    tls: SocketAddr,
    authority: Authority,
    scratch: Scratch,
}

impl Served {
    fn start(policy: &Policy, more: &[&str]) -> Result<Self> {
        let (authority, scratch) = (Authority::new()?, Scratch::new("tls")?);
        let issued = authority.issue("first")?;
        let cert = scratch.file("tls.crt", &std::fs::read_to_string(issued.cert)?)?;
        let key = scratch.file("tls.key", &std::fs::read_to_string(issued.key)?)?;
        let (tcp, tls) = (ports::free()?, ports::free()?);
        let listen = [format!("--listen=tcp:{tcp}"), format!("--listen=tls:{tls}")];
        let args = [&listen[0], &listen[1], "--tls-cert", &cert, "--tls-key", &key];
        let redial = Standalone::start(policy, &args.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())?;
        Ok(Self { redial, tcp, tls, authority, scratch })
    }

    fn metric(&self, name: &str, labels: &[(&str, &str)], value: f64) -> Result<()> {
        self.redial.service.wait_metric(name, labels, value)
    }

    /// Who the TLS listener says it is, by somebody else's TLS.
    fn subject(&self) -> Result<String> {
        let script =
            "openssl s_client -connect \"$0\" -CAfile \"$1\" -verify_return_error </dev/null 2>/dev/null | openssl x509 -noout -subject";
        let output = Command::new("sh").args(["-c", script, &self.tls.to_string(), &self.authority.ca()]).stderr(Stdio::null()).output()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    fn replace(&self, name: &str) -> Result<()> {
        let issued = self.authority.issue(name)?;
        self.scratch.file("tls.key", &std::fs::read_to_string(issued.key)?)?;
        self.scratch.file("tls.crt", &std::fs::read_to_string(issued.cert)?).map(drop)
    }
}

#[test]
fn a_caller_by_tls_is_recalled_when_the_callee_is_back_by_tcp_and_one_by_udp_reaches_it() -> Result<()> {
    let served = Served::start(&Policy::default().set("ladder", "[3]").set("recallTimeout", "\"15s\""), &[])?;
    let ca = served.authority.ca();
    let alice = SoftPhone::baresip_by("alice", served.tls, By::Tls { ca: &ca })?;
    served.metric("sip_responses_sent_total", &[("method", "REGISTER"), ("status", "200")], 1.0)?;
    alice.dial("bob")?;
    served.metric("redial_watches_armed_total", &[], 1.0)?;

    let bob = SoftPhone::linphone_by("bob", served.tcp, By::Tcp)?;
    served.redial.service.wait_ended("connected", 1).with_context(|| format!("{}\n{}", alice.log(), bob.log()))?;
    served.metric("sip_connections", &[("transport", "tls")], 1.0)?;
    served.metric("sip_connections", &[("transport", "tcp")], 1.0)?;
    alice.hang_up()?;
    let byes = || Ok(served.redial.service.metrics()?.sum("sip_responses_received_total", &[("method", "BYE"), ("status", "200")]));
    until("both calls to be hung up", PATIENCE, || byes().map(|count| (count >= 2.0).then_some(())))?;

    // ACK and BYE find bob by both Record-Routes.
    let carol = ports::free()?;
    Sipp::new("invite_answered", "carol", carol, served.redial.sip).to("bob").run().with_context(|| bob.log())?;
    ensure!(served.redial.service.metrics()?.sum("sip_unreachable_total", &[]) == 0.0);
    Ok(())
}

#[test]
fn linphone_comes_by_tls_and_baresip_by_tcp() -> Result<()> {
    let served = Served::start(&Policy::default(), &[])?;
    let ca = served.authority.ca();
    let bob = SoftPhone::linphone_by("bob", served.tls, By::Tls { ca: &ca })?;
    let alice = SoftPhone::baresip_by("alice", served.tcp, By::Tcp)?;
    let registered = served.metric("sip_responses_sent_total", &[("method", "REGISTER"), ("status", "200")], 2.0);
    registered.with_context(|| bob.log())?;
    alice.dial("bob")?;
    served.metric("sip_responses_sent_total", &[("method", "INVITE"), ("status", "200")], 1.0).with_context(|| bob.log())?;
    alice.hang_up()?;
    served.metric("sip_responses_received_total", &[("method", "BYE"), ("status", "200")], 1.0)
}

#[test]
fn a_caller_whose_connection_was_lost_is_recalled_when_it_is_back() -> Result<()> {
    let served = Served::start(&Policy::default(), &[])?;
    let (ca, here) = (served.authority.ca(), served.tls.ip());
    let by_tls = || Phone::by(By::Tls { ca: &ca }, "alice", here, served.tls);
    let mut alice = by_tls()?;
    alice.register(600)?;
    alice.miss("bob")?;
    // No word of TLS comes before the end.
    drop(alice);
    served.metric("sip_connections_closed_total", &[("reason", "failed")], 1.0)?;

    let mut bob = Phone::by(By::Tcp, "bob", here, served.tcp)?;
    bob.register(600)?;
    // At once, and not when the recall's time is over.
    served.metric("redial_recalls_total", &[("result", "unreachable")], 1.0)?;
    let mut alice = by_tls()?;
    alice.register(600)?;
    let refer = alice.expect("REFER")?;
    ensure!(refer.header(Header::Contact).contains(";transport=tls>"), "{}", refer.header(Header::Contact));
    alice.reconnect(&refer, &mut bob)?;
    served.redial.service.wait_ended("connected", 1)
}

/// Servers upstream speak UDP; the way to the phone is in the Path, and so is its connection.
#[test]
fn a_phone_by_tcp_is_reached_through_a_server_that_we_stand_before() -> Result<()> {
    let tcp = ports::free()?;
    let site = Site::start(1, 1, &[PATH], &["--listen", &format!("tcp:{tcp}")])?;
    let mut alice = user("alice", site.edge(0))?;
    alice.register(600)?;
    let missed = alice.invite("bob", "Redial-Period: 600\r\n")?;
    ensure!((missed.status(), missed.is_remembered()) == (404, true), "{}", missed.status());
    let bob = SoftPhone::baresip_by("bob", tcp, By::Tcp)?;
    let refer = alice.expect("REFER").with_context(|| bob.log())?;
    alice.take_recall(&refer).with_context(|| bob.log())?;
    site.over(1)
}

#[test]
fn a_renewed_certificate_is_taken_and_a_bad_one_is_not() -> Result<()> {
    let served = Served::start(&Policy::default(), &[])?;
    ensure!(served.subject()?.contains("first"), "{}", served.subject()?);
    let expires = served.redial.service.metrics()?.sum("sip_tls_certificate_expiry_seconds", &[]);
    ensure!(expires > 1_700_000_000.0, "{expires}");
    served.replace("second")?;
    until("the renewed certificate", PATIENCE, || Ok(served.subject()?.contains("second").then_some(())))?;
    served.scratch.file("tls.key", "nothing\n")?;
    served.metric("sip_connection_errors_total", &[("what", "certificate")], 1.0)?;
    ensure!(served.subject()?.contains("second"), "the last good one stays");
    Ok(())
}

#[test]
fn messages_by_a_connection_may_come_in_any_pieces_but_must_come() -> Result<()> {
    let served = Served::start(&Policy::default(), &["--connection-message", "4s", "--connections-per-ip", "3"])?;
    let mut phone = Wire::connect("alice", served.tcp)?;
    let options = format!("sip:{DOMAIN}");
    let pipelined: String = (0..300).map(|_| phone.request("OPTIONS", &options, "")).collect();
    phone.send(&pipelined)?;
    for _ in 0..300 {
        ensure!(phone.read()?.starts_with("SIP/2.0 200 "));
    }
    let dribbled = phone.request("OPTIONS", &options, "");
    for piece in dribbled.as_bytes().chunks(7) {
        phone.send(std::str::from_utf8(piece)?)?;
    }
    ensure!(phone.read()?.starts_with("SIP/2.0 200 "));
    phone.is_silent()?;

    let mut half = Wire::connect("mallory", served.tcp)?;
    let request = half.request("OPTIONS", &options, "");
    half.send(&request[..request.len() - 3])?;
    let mut mute = Wire::connect("mallory", served.tls)?;
    served.metric("sip_connections_accepted_total", &[("transport", "tls")], 1.0)?;
    let mut fourth = Wire::connect("mallory", served.tcp)?;
    fourth.wait_hung_up()?;
    half.wait_hung_up()?;
    mute.wait_hung_up()?;
    served.metric("sip_connections_closed_total", &[("reason", "stalled")], 1.0)?;
    served.metric("sip_connections_closed_total", &[("reason", "handshake")], 1.0)?;
    served.metric("sip_connections_refused_total", &[("reason", "address_full")], 1.0)?;
    phone.register()
}

#[test]
fn who_asks_and_never_reads_is_hung_up_on_and_costs_nobody_else() -> Result<()> {
    let served = Served::start(&Policy::default(), &[])?;
    let (mut deaf, mut alice) = (Wire::connect("mallory", served.tcp)?, Wire::connect("alice", served.tcp)?);
    // More than the kernel keeps for a connection that is not read, which is some megabytes.
    let many: String = (0..500).map(|_| deaf.request("OPTIONS", &format!("sip:{DOMAIN}"), "")).collect();
    let asked = (0..1000).take_while(|_| deaf.send(&many).is_ok()).count();
    ensure!(asked < 1000, "every question was taken in");
    served.metric("sip_connections_closed_total", &[("reason", "slow")], 1.0)?;
    served.metric("sip_edge_queue_drops_total", &[("queue", "connection")], 1.0)?;
    alice.register()
}

#[test]
fn a_phone_that_another_edge_is_connected_to_is_reached_by_that_edge_and_hears_when_it_goes() -> Result<()> {
    let (redis, scratch) = (Redis::start()?, Scratch::new("edges")?);
    let coordinator = Coordinator::start(&redis, &Policy::default(), &[])?;
    let secret = scratch.file("secret", "what the edges of a test know and nobody else")?;
    let names = [(ports::free()?, ports::free()?, ports::free()?), (ports::free()?, ports::free()?, ports::free()?)];
    let peers = names.map(|(sip, peer, _)| format!("edge-{}={peer}", sip.port()));
    let mut edges = Vec::new();
    for (sip, peer, tcp) in names {
        let (peer, tcp) = (peer.to_string(), format!("tcp:{tcp}"));
        let more = ["--secret-file", &secret, "--peer-listen", &peer, "--peer", &peers[0], "--peer", &peers[1], "--listen", &tcp];
        edges.push(Edge::at(sip, &[format!("http://{}", coordinator.grpc)], &more)?);
    }
    for edge in &edges {
        edge.service.wait_metric("sip_edge_peers", &[("state", "live")], 1.0)?;
    }
    let mut alice = Wire::connect("alice", names[0].2)?;
    alice.register()?;
    let mut bob = Wire::connect("bob", names[1].2)?;
    let message = bob.request("MESSAGE", &format!("sip:alice@{DOMAIN}"), "");
    bob.send(&message)?;
    let got = alice.read_until("MESSAGE ")?;
    ensure!(got.contains("Via: SIP/2.0/TCP"), "{got}");
    alice.answer(&got, "200 OK")?;
    bob.read_until("SIP/2.0 200 ")?;

    // The edge that she is connected to says so to the one that asks for her.
    drop(alice);
    edges[0].service.wait_metric("sip_connections_closed_total", &[("reason", "by_phone")], 1.0)?;
    let message = bob.request("MESSAGE", &format!("sip:alice@{DOMAIN}"), "");
    bob.send(&message)?;
    bob.read_until("SIP/2.0 480 ")?;

    edges[1].service.process.terminate()?;
    bob.wait_hung_up()?;
    let status = edges[1].service.process.wait(Duration::from_secs(50))?;
    ensure!(status.success(), "{status}");
    Ok(())
}
