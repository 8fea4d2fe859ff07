//! The whole edge over real sockets: the library with a coordinator played in-process, and the binary with its admin and signals.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redial_core::Binding;
use redial_core::link::{BindingChange, ContactChange, Downlink, Event, Registered, Reply, Request};
use redial_runtime::admin::Readiness;
use redial_runtime::settings::{Sources, read_from};
use redial_runtime::telemetry;
use sip_edge::settings::EdgeSettings;
use sip_edge::{Coordinator, Edge, LocalLink};
use support::{Fake, PATIENCE, Part};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

fn build(args: &[&str], coordinator: Coordinator) -> (Edge, Readiness, telemetry::Metrics) {
    let sources = Sources { args: args.iter().map(Into::into).collect(), ..Sources::default() };
    let settings: EdgeSettings = read_from(clap::Command::new("sip-edge"), &sources).unwrap();
    let (metrics, readiness) = (telemetry::Metrics::new().unwrap(), Readiness::default());
    let edge = settings.sip.config(vec![coordinator]).unwrap().build(&metrics, &readiness).unwrap();
    (edge, readiness, metrics)
}

/// A coordinator that stores nothing: a REGISTER leaves what it brought.
fn registrar() -> Coordinator {
    let (requests, mut asked) = tokio::sync::mpsc::channel::<Vec<Request>>(64);
    let (answer, downlinks) = tokio::sync::mpsc::channel(64);
    tokio::spawn(async move {
        while let Some(batch) = asked.recv().await {
            let replies = batch.into_iter().map(|request| (request.id, reply_to(request.event))).collect();
            if answer.send(Downlink { replies, ..Downlink::default() }).await.is_err() {
                return;
            }
        }
    });
    Coordinator::Local(LocalLink { requests, downlinks })
}

fn reply_to(event: Event) -> Reply {
    let Event::Register(register) = event else { return Reply::Located(Vec::new()) };
    let bindings: Vec<Binding> = match register.change {
        BindingChange::Each(changes) => {
            let put = |change| if let ContactChange::Put(binding) = change { Some(binding) } else { None };
            changes.into_iter().filter_map(put).collect()
        }
        BindingChange::Fetch | BindingChange::RemoveAll => Vec::new(),
    };
    Reply::Registered(Registered::Bindings(bindings))
}

fn register(user: usize, phone: SocketAddr) -> String {
    format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP {phone};branch=z9hG4bK{user}x{}\r\nMax-Forwards: 70\r\n\
         From: <sip:u{user}@example.com>;tag=1\r\nTo: <sip:u{user}@example.com>\r\nCall-ID: c{user}@{phone}\r\nCSeq: 1 REGISTER\r\n\
         Contact: <sip:u{user}@{phone}>\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n",
        phone.port()
    )
}

async fn receive(phone: &UdpSocket) -> String {
    let mut buffer = vec![0; 65_535];
    let length = tokio::time::timeout(PATIENCE, phone.recv(&mut buffer)).await.expect("an answer in time").unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

async fn registers_over(listen: &str, phone: &str) {
    let (edge, readiness, metrics) = build(&["--domain=example.com", "--workers=3", listen], registrar());
    let server = edge.listeners()[0].bound;
    let shutdown = CancellationToken::new();
    let run = tokio::spawn(edge.run(shutdown.clone()));
    let mut phones = Vec::new();
    for user in 0..40 {
        let socket = UdpSocket::bind(phone).await.unwrap();
        socket.connect(server).await.unwrap();
        socket.send(register(user, socket.local_addr().unwrap()).as_bytes()).await.unwrap();
        phones.push(socket);
    }
    for (user, phone) in phones.iter().enumerate() {
        let answer = receive(phone).await;
        assert!(answer.starts_with("SIP/2.0 200 ") && answer.contains(&format!("Call-ID: c{user}@")), "{answer}");
    }
    assert!(readiness.missing().is_empty());
    let text = metrics.render().unwrap();
    assert!(text.contains("sip_requests_received_total{method=\"REGISTER\"} 40"), "{text}");
    assert!(text.contains("sip_responses_sent_total{method=\"REGISTER\",origin=\"edge\",status=\"200\"} 40"), "{text}");

    shutdown.cancel();
    let not_ready = async {
        while readiness.missing().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, not_ready).await.expect("not ready while draining");
    // Transactions over UDP stay open for Timer J, 32 s (RFC 3261 section 17.2.2); dropping the edge must not wait for that.
    run.abort();
}

#[tokio::test]
async fn phones_register_at_every_worker_over_ipv4() {
    registers_over("--listen=udp:127.0.0.1:0", "127.0.0.1:0").await;
}

#[tokio::test]
async fn phones_register_at_every_worker_over_ipv6() {
    registers_over("--listen=udp:[::1]:0", "[::1]:0").await;
}

#[tokio::test]
async fn an_idle_edge_ends_as_soon_as_it_is_told() {
    let (edge, _, _) = build(&["--domain=example.com", "--listen=udp:127.0.0.1:0", "--workers=2"], registrar());
    let shutdown = CancellationToken::new();
    let run = tokio::spawn(edge.run(shutdown.clone()));
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, run).await.expect("long before the grace period").unwrap().unwrap();
}

/// A running `sip-edge`, killed when dropped.
struct Process {
    child: Child,
    udp: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    fn start(coordinator: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sip-edge"))
            .env_clear()
            .args([
                "--domain=example.com",
                "--listen=udp:127.0.0.1:0",
                "--admin=127.0.0.1:0",
                "--grace=1s",
                "--edge-id=edge-1",
                "--coordinator",
            ])
            .arg(coordinator)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut address = |key: &str| -> SocketAddr {
            let line = lines.find_map(|line| line.ok().filter(|line| line.contains(key))).expect("the line in the log");
            line.split(key).nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap()
        };
        let (udp, admin) = (address(" bound="), address(" admin="));
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, udp, admin }
    }

    fn fetch(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    async fn until(&self, path: &str, what: &str) -> String {
        let mut answer = String::new();
        let found = async {
            loop {
                answer = self.fetch(path);
                if answer.contains(what) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, found).await.is_ok();
        assert!(in_time, "{what} in {answer}");
        answer
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_binary_is_live_without_a_coordinator_ready_with_one_and_ends_with_0() {
    let fake = Fake::start(Part::Answers);
    let (addr, url) = (fake.addr, fake.url());
    drop(fake);
    let mut process = Process::start(&url);
    process.until("/live", "200 OK").await;
    process.until("/ready", "not ready: coordinator attached").await;

    let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    phone.connect(process.udp).await.unwrap();
    phone.send(register(1, phone.local_addr().unwrap()).as_bytes()).await.unwrap();
    let answer = receive(&phone).await;
    assert!(answer.starts_with("SIP/2.0 5"), "not stored, so not 200: {answer}");

    let fake = Fake::on(addr, Part::Answers);
    process.until("/ready", "200 OK").await;
    process.until("/metrics", "redial_link_coordinators_attached 1").await;
    drop(fake);
    process.until("/ready", "not ready: coordinator attached").await;
    process.until("/live", "200 OK").await;

    let terminated = Command::new("kill").arg("-TERM").arg(process.child.id().to_string()).status().unwrap();
    assert!(terminated.success());
    let ended = tokio::task::spawn_blocking(move || process.child.wait().unwrap().code());
    assert_eq!(tokio::time::timeout(PATIENCE, ended).await.expect("within the grace period").unwrap(), Some(0));
}
