//! `make bench`: edge, coordinator and Redis as processes of their own under sipp's load, with a raw UDP echo in the same run as the floor.
//!
//! Three loads of the same edge: REGISTER alone, offline INVITE alone, and both together for twenty seconds. The run fails when sipp
//! misses a single answer or when `/metrics` does not add up with what sipp counted. `load short` is the same for a few seconds. `load memory`
//! measures what Redis needs.

mod cpu;
mod echo;
mod memory;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use redial_tests::process::Scratch;
use redial_tests::sipp::Statistics;
use redial_tests::{Cluster, Policy, Redis, Sipp, ports};

use cpu::{Clock, Process};

/// How much, and for how long.
#[derive(Clone, Copy)]
struct Size {
    /// Per second.
    registers: u32,
    invites: u32,
    /// Seconds of the combined load, and of each load alone.
    together: u32,
    alone: u32,
}

/// As the acceptance of the product states it.
const FULL: Size = Size { registers: 2000, invites: 500, together: 20, alone: 10 };
/// For an unoptimised build on a busy machine: only the counts matter.
const SHORT: Size = Size { registers: 200, invites: 50, together: 3, alone: 1 };
/// Phones that register again and again, and callers who miss somebody else each time.
const PHONES: u32 = 20_000;
const CALLERS: u32 = 500;

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some("echo") => echo::serve(),
        Some("short") => bench(SHORT),
        Some("memory") => std::env::args().nth(2).map_or(Ok(memory::COUNT), |n| Ok(n.parse()?)).and_then(memory::measure),
        Some(other) => Err(anyhow::anyhow!("{other}: expected nothing, `short` or `memory`")),
        None => bench(FULL),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What sipp is told for one load.
struct Load {
    size: Size,
    edge: SocketAddr,
    phones: SocketAddr,
    callers: SocketAddr,
    /// Injection files.
    users: String,
    calls: String,
}

impl Load {
    fn registers(&self, seconds: u32) -> Sipp {
        load("load_register", self.phones, self.edge, &self.users, self.size.registers, self.size.registers * seconds)
    }

    fn invites(&self, seconds: u32) -> Sipp {
        load("load_invite", self.callers, self.edge, &self.calls, self.size.invites, self.size.invites * seconds)
    }
}

fn load(scenario: &'static str, local: SocketAddr, edge: SocketAddr, file: &str, rate: u32, calls: u32) -> Sipp {
    let rate = rate.to_string();
    Sipp::new(scenario, "", local, edge).calls(calls).limit(Duration::from_secs(120)).args([
        "-inf",
        file,
        "-r",
        &rate,
        "-l",
        "50000",
        "-buff_size",
        "4194304",
        "-skip_rlimit",
    ])
}

/// Lines `caller;callee`, every callee once. `tag` tells the files apart.
fn pairs(tag: &str, count: u32) -> String {
    (0..count).fold("SEQUENTIAL\n".to_owned(), |mut text, n| {
        let _ = writeln!(text, "caller{};away-{tag}-{n}", n % CALLERS);
        text
    })
}

fn bench(size: Size) -> Result<()> {
    let Size { registers: register_rate, invites: invite_rate, .. } = size;
    let policy = Policy::default().set("maxPerCaller", 100_000).set("periodMin", "\"60s\"");
    // As Redis is mostly run: fsync once a second.
    let cluster = Cluster::on(Redis::with(&["--appendfsync", "everysec"])?, 1, 1, &policy)?;
    let (edge, coordinator) = (&cluster.edges[0], &cluster.coordinators[0]);
    let watched = [
        Process { name: "sip-edge", pid: edge.service.process.id() },
        Process { name: "redial-coordinator", pid: coordinator.service.process.id() },
        Process { name: "redis-server", pid: cluster.redis.pid() },
    ];
    let files = Scratch::new("load")?;
    let users = (0..PHONES).fold("SEQUENTIAL\n".to_owned(), |text, n| text + &format!("phone{n}\n"));
    let users = files.file("users.csv", &users)?;
    let callers = (0..CALLERS).fold("SEQUENTIAL\n".to_owned(), |text, n| text + &format!("caller{n}\n"));
    let callers = files.file("callers.csv", &callers)?;
    let alone = files.file("alone.csv", &pairs("alone", size.invites * size.alone))?;
    let together = files.file("together.csv", &pairs("together", size.invites * size.together))?;
    let mut plan = Load { size, edge: edge.sip, phones: ports::free()?, callers: ports::free()?, users, calls: alone };

    println!("{CALLERS} callers register");
    let mut registered = load("load_register", plan.callers, plan.edge, &callers, CALLERS, CALLERS).run()?;

    let clock = Clock::start(&watched)?;
    let counted = plan.registers(size.alone).run()?;
    clock.stop("REGISTER -> 200", counted.successful)?;
    registered = sum(registered, counted);

    let clock = Clock::start(&watched)?;
    let mut missed = plan.invites(size.alone).run()?;
    clock.stop("offline INVITE -> 480, remembered", missed.successful)?;

    plan.calls = together;
    let clock = Clock::start(&watched)?;
    let (registers, invites) = (plan.registers(size.together).start()?, plan.invites(size.together).start()?);
    let (registers, invites) = (registers.wait()?, invites.wait()?);
    clock.stop(
        &format!("{register_rate} REGISTER/s and {invite_rate} offline INVITE/s for {} s", size.together),
        registers.successful + invites.successful,
    )?;
    let lost = u64::from((register_rate + invite_rate) * size.together) - registers.successful - invites.successful;
    ensure!(lost == 0, "{lost} calls were lost");
    registered = sum(registered, registers);
    missed = sum(missed, invites);

    echo::measure(register_rate + invite_rate, Duration::from_secs(u64::from(size.alone.min(5))))?;
    agree(&cluster, registered, missed)
}

fn sum(a: Statistics, b: Statistics) -> Statistics {
    Statistics {
        successful: a.successful + b.successful,
        failed: a.failed + b.failed,
        retransmissions: a.retransmissions + b.retransmissions,
    }
}

/// `/metrics` must say what sipp says.
fn agree(cluster: &Cluster, registered: Statistics, missed: Statistics) -> Result<()> {
    let edge = cluster.edges[0].service.metrics()?;
    let armed = cluster.coordinators[0].service.armed()?;
    let received = |method| edge.sum("sip_requests_received_total", &[("method", method)]);
    let sent = |method, status| edge.sum("sip_responses_sent_total", &[("method", method), ("status", status)]);
    let again = edge.sum("sip_retransmissions_received_total", &[]);
    println!("\n{:38} {:>10} {:>10}", "counted by", "sipp", "/metrics");
    let mut wrong = 0;
    for (what, sipp, metrics) in [
        ("REGISTER answered 200", registered.successful, sent("REGISTER", "200")),
        ("INVITE answered 480", missed.successful, sent("INVITE", "480")),
        (
            "requests received for the first time",
            registered.successful + missed.successful,
            received("REGISTER") + received("INVITE") - again,
        ),
        ("watches granted", missed.successful, edge.sum("redial_watches_granted_total", &[])),
        ("watches armed", missed.successful, armed),
    ] {
        println!("{what:38} {sipp:>10} {metrics:>10}");
        wrong += u32::from(sipp as f64 != metrics);
    }
    let retransmitted = registered.retransmissions + missed.retransmissions;
    println!("{:38} {retransmitted:>10} {again:>10}", "requests sent again");
    ensure!(wrong == 0, "/metrics does not add up with sipp");
    Ok(())
}
