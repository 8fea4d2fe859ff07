//! The servers behind a front: found by DNS, in the order of their priority, by their weights, and passed over when they are silent.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redial_tests::dns::Dns;
use redial_tests::wait::PATIENCE;
use redial_tests::{Policy, Standalone, ports, until};

/// A SIP server that answers OPTIONS when it is told to, and shows what else it is sent.
struct Server(UdpSocket);

impl Server {
    fn start() -> Result<Self> {
        let socket = UdpSocket::bind(ports::free()?)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        Ok(Self(socket))
    }

    fn port(&self) -> Result<u16> {
        Ok(self.0.local_addr()?.port())
    }

    /// What has come and is no OPTIONS; those are answered if `alive`.
    fn heard(&self, alive: bool) -> Result<Option<String>> {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = self.0.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if !text.starts_with("OPTIONS") {
                return Ok(Some(text));
            }
            if alive {
                let copied =
                    text.lines().filter(|line| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)));
                let copied: String = copied.map(|line| format!("{line}\r\n")).collect();
                self.0.send_to(format!("SIP/2.0 200 OK\r\n{copied}Content-Length: 0\r\n\r\n").as_bytes(), from)?;
            }
        }
        Ok(None)
    }
}

/// A server that is there answers it at once.
fn register(user: &str, n: usize) -> String {
    let aor = format!("sip:{user}@example.com");
    format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKm{n};rport\r\nMax-Forwards: 70\r\nFrom: <{aor}>;tag=a\r\n\
         To: <{aor}>\r\nCall-ID: m{n}\r\nCSeq: 1 REGISTER\r\nContact: <sip:{user}@127.0.0.1:9>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The SRV record of one server, and its name.
fn record(name: &str, port: u16, priority: u16, weight: u16) -> Vec<String> {
    vec![
        format!("--srv-host=_sip._udp.sip.example.net,{name}.example.net,{port},{priority},{weight}"),
        format!("--host-record={name}.example.net,127.0.0.1"),
    ]
}

#[test]
fn servers_are_found_by_srv_tried_by_priority_and_followed_when_they_move() -> Result<()> {
    let (first, second, moved) = (Server::start()?, Server::start()?, Server::start()?);
    let mut dns = Dns::start(&[record("a", first.port()?, 10, 1), record("b", second.port()?, 20, 1)].concat())?;
    let dns_addr = dns.addr.to_string();
    let more =
        ["--mode=front", "--upstream=example.com=sip.example.net", "--upstream-check=1s", "--upstream-timeout=1s", "--dns", &dns_addr];
    let front = Standalone::start(&Policy::default(), &more)?;
    let phone = UdpSocket::bind(ports::free()?)?;

    phone.send_to(register("bob", 1).as_bytes(), front.sip)?;
    let got = until("the first server to be asked", Duration::from_secs(5), || first.heard(true))?;
    ensure!(got.contains("To: <sip:bob@example.com>\r\n"), "{got}");
    // It says nothing, so the second one is asked, and the next request goes there at once.
    let again = until("the second server to be asked", Duration::from_secs(10), || second.heard(true))?;
    ensure!(again.contains("Call-ID: m1\r\n"), "{again}");
    let down = [("upstream", first.0.local_addr()?.to_string())];
    let state = |expected: f64| {
        let labels = [("upstream", down[0].1.as_str())];
        until("what is known of the first server", Duration::from_secs(10), || {
            first.heard(expected > 0.0)?;
            second.heard(true)?;
            Ok((front.service.metrics()?.sum("sip_upstream_up", &labels) == expected).then_some(()))
        })
    };
    state(0.0)?;
    phone.send_to(register("bob", 2).as_bytes(), front.sip)?;
    until("the second server to be asked at once", Duration::from_secs(5), || {
        Ok(second.heard(true)?.filter(|text| text.contains("Call-ID: m2\r\n")))
    })?;
    // It answers OPTIONS again, and is preferred again.
    state(1.0)?;
    phone.send_to(register("bob", 3).as_bytes(), front.sip)?;
    until("the first server to be asked again", Duration::from_secs(5), || {
        Ok(first.heard(true)?.filter(|text| text.contains("Call-ID: m3\r\n")))
    })?;

    dns.change(&record("c", moved.port()?, 10, 1))?;
    let mut n = 10;
    until("requests to follow the servers", Duration::from_secs(30), || {
        n += 1;
        phone.send_to(register("bob", n).as_bytes(), front.sip)?;
        moved.heard(true)
    })
    .context("the new address is not used")?;
    Ok(())
}

#[test]
fn servers_of_one_priority_have_users_by_their_weights() -> Result<()> {
    const USERS: usize = 300;
    let servers = [(Server::start()?, 10), (Server::start()?, 90), (Server::start()?, 0)];
    let mut records = Vec::new();
    for (name, (server, weight)) in ["a", "b", "c"].into_iter().zip(&servers) {
        records.extend(record(name, server.port()?, 10, *weight));
    }
    let dns = Dns::start(&records)?;
    let dns_addr = dns.addr.to_string();
    // Nothing is answered here, and nobody is to be passed over for it.
    let more = ["--mode=front", "--upstream=example.com=sip.example.net", "--upstream-timeout=30s", "--dns", &dns_addr];
    let front = Standalone::start(&Policy::default(), &more)?;
    let phone = UdpSocket::bind(ports::free()?)?;
    let call_id = |request: &str| request.lines().find(|line| line.starts_with("Call-ID:")).map(str::to_owned);
    let mut asked = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    // Few at a time, and again where one is lost: sockets hold only so many.
    for few in (0..USERS).map(|n| register(&format!("user{n}"), n)).collect::<Vec<_>>().chunks(20) {
        until("every user's server to be asked", PATIENCE, || {
            for ((server, _), asked) in servers.iter().zip(&mut asked) {
                while let Some(request) = server.heard(true)? {
                    asked.insert(call_id(&request));
                }
            }
            let mut missing = few.iter().filter(|request| asked.iter().all(|asked| !asked.contains(&call_id(request)))).peekable();
            let done = missing.peek().is_none();
            missing.try_for_each(|request| phone.send_to(request.as_bytes(), front.sip).map(drop))?;
            Ok(done.then_some(()))
        })?;
    }
    let shares = asked.each_ref().map(BTreeSet::len);
    ensure!(shares.iter().sum::<usize>() == USERS, "a user has two servers: {shares:?}");
    ensure!((3..=60).contains(&shares[0]) && shares[2] < 5, "about 30, 270 and nobody: {shares:?}");
    Ok(())
}
