//! Many stories at once, told by scripted phones from outside the cluster, while something happens to the pods.
//!
//! A phone behaves as phones do: it repeats a REGISTER that was not answered well, and registers again every few seconds. Nothing else
//! helps a story along: a call that was granted its recall must be recalled, once, and connected.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use redial_tests::softphone::By;
use redial_tests::wait::now;
use redial_tests::{Phone, ports};
use sip_core::Header;

/// Told at the same time: half of what two cores carry beside the cluster itself.
const AT_ONCE: usize = 12;
/// A phone registers again after this time.
const REFRESH: Duration = Duration::from_secs(5);
/// A story that is not at its end by then is lost.
const LIMIT: Duration = Duration::from_secs(90);
/// How long a phone listens before it looks at anything else.
const GLANCE: Duration = Duration::from_millis(200);
/// How long a connected caller listens for a recall that must not come.
const LINGER: Duration = Duration::from_millis(500);

/// Where phones are and whom they talk to.
#[derive(Clone, Debug)]
pub struct Outside {
    pub server: SocketAddr,
    /// Addresses of this machine; each phone takes one of them.
    pub addresses: Vec<IpAddr>,
    /// Phones come by UDP without.
    pub connections: Option<Connections>,
}

/// Where phones connect to: those of even numbers, the callers, by TLS, the others by TCP.
#[derive(Clone, Debug)]
pub struct Connections {
    pub tls: SocketAddr,
    pub tcp: SocketAddr,
    /// Whom phones trust (PEM file).
    pub ca: String,
}

impl Outside {
    /// `PHONES` lists the addresses that phones may have; without it, all have the one that faces the server.
    pub fn facing(server: SocketAddr) -> Result<Self> {
        let addresses = match std::env::var("PHONES") {
            Ok(list) => list.split_whitespace().map(str::parse).collect::<Result<_, _>>().context("PHONES is no list of addresses")?,
            Err(_) => vec![ports::facing(server)?],
        };
        ensure!(!addresses.is_empty(), "PHONES is empty");
        Ok(Self { server, addresses, connections: None })
    }

    pub fn address(&self, n: usize) -> IpAddr {
        self.addresses[n % self.addresses.len()]
    }

    pub fn phone(&self, who: &str, n: usize) -> Result<Phone> {
        let (by, server) = match &self.connections {
            None => (By::Udp, self.server),
            Some(Connections { tls, ca, .. }) if n.is_multiple_of(2) => (By::Tls { ca }, *tls),
            Some(Connections { tcp, .. }) => (By::Tcp, *tcp),
        };
        Phone::by(by, who, self.address(n), server)
    }
}

/// What became of the stories.
#[derive(Debug, Default)]
pub struct Told {
    pub connected: usize,
    lost: Vec<String>,
    twice: Vec<String>,
    /// Requests that a phone had to make again, because they were not answered well.
    repeated: usize,
    slowest: Duration,
}

impl Told {
    /// # Errors
    /// When a story was lost, or a caller recalled twice.
    pub fn report(self) -> Result<String> {
        let Self { connected, lost, twice, repeated, slowest } = self;
        let told = connected + lost.len();
        let line = format!(
            "{told} stories: {connected} connected, {} lost, {} recalled twice; {repeated} requests made again; slowest {:.1} s",
            lost.len(),
            twice.len(),
            slowest.as_secs_f64()
        );
        ensure!(lost.is_empty() && twice.is_empty(), "{line}\n{}", [lost, twice].concat().join("\n"));
        Ok(line)
    }
}

/// Tells `count` stories or more, from before `disruption` until after it.
pub fn during(outside: &Outside, tag: &str, count: usize, disruption: impl FnOnce() -> Result<()>) -> Result<Told> {
    let (next, done, told) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(Told::default()));
    let outcome = std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    // Bounded, should the disruption never end.
                    if n >= count && (done.load(Ordering::Relaxed) || n >= 5 * count) {
                        return;
                    }
                    let story = Story { outside, n, tag, began: now(), repeated: 0 };
                    story.tell_into(&told);
                }
            });
        }
        let outcome = disruption();
        done.store(true, Ordering::Relaxed);
        outcome
    });
    outcome?;
    Ok(told.into_inner().unwrap_or_default())
}

/// One caller and one callee.
struct Story<'a> {
    outside: &'a Outside,
    n: usize,
    tag: &'a str,
    began: Instant,
    repeated: usize,
}

impl Story<'_> {
    fn tell_into(mut self, told: &Mutex<Told>) {
        let outcome = self.tell();
        let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        told.slowest = told.slowest.max(self.began.elapsed());
        told.repeated += self.repeated;
        let name = format!("{}-{}", self.tag, self.n);
        match outcome {
            Ok(recalls) => {
                told.connected += 1;
                if recalls > 1 {
                    told.twice.push(format!("{name}: recalled {recalls} times"));
                }
            }
            Err(error) => told.lost.push(format!("{name}, after {:.1} s: {error:#}", self.began.elapsed().as_secs_f64())),
        }
    }

    /// Returns how many recalls the caller saw beyond those whose call failed.
    fn tell(&mut self) -> Result<usize> {
        let [caller, callee] = ["caller", "callee"].map(|role| format!("{role}-{}-{}", self.tag, self.n));
        let mut phone = self.outside.phone(&caller, 2 * self.n)?;
        self.registered(&mut phone)?;
        self.missed(&mut phone, &callee)?;
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let answering = scope.spawn(|| {
                let mut phone = self.outside.phone(&callee, 2 * self.n + 1)?;
                let answered = answer_calls(&mut phone, &over);
                let _ = phone.try_register(0);
                answered
            });
            let recalls = take_recalls(&mut phone, &callee);
            over.store(true, Ordering::Relaxed);
            let answered = answering.join().unwrap_or_else(|_| bail!("the callee's phone failed"));
            let _ = phone.try_register(0);
            let recalls = recalls?;
            let answered = answered?;
            ensure!(answered == 1, "the callee answered {answered} calls");
            Ok(recalls)
        })
    }

    fn registered(&mut self, phone: &mut Phone) -> Result<()> {
        self.patiently(|| phone.register(600))
    }

    /// A call that is not granted its recall is no story yet: the caller dials again.
    fn missed(&mut self, phone: &mut Phone, callee: &str) -> Result<()> {
        self.patiently(|| phone.miss(callee))
    }

    fn patiently(&mut self, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
        loop {
            match attempt() {
                Ok(()) => return Ok(()),
                Err(error) if self.began.elapsed() > LIMIT => return Err(error),
                Err(_) => self.repeated += 1,
            }
        }
    }
}

/// The caller: takes recalls until one of them connects, then listens for more.
fn take_recalls(phone: &mut Phone, callee: &str) -> Result<usize> {
    let (deadline, mut recalls, mut refreshed) = (now() + LIMIT, 0, now());
    while now() < deadline {
        if refreshed.elapsed() > REFRESH {
            let _ = phone.try_register(600);
            refreshed = now();
        }
        let Some(refer) = phone.within(GLANCE, "REFER")? else { continue };
        recalls += 1;
        phone.answer(&refer, 202, "")?;
        let call = phone.invite(callee, "")?;
        if call.status() != 200 {
            // Gone again, or not reached: this recall came to nothing, and the next one is in order.
            recalls -= 1;
            continue;
        }
        phone.hang_up(&call)?;
        return Ok(recalls + usize::from(phone.within(LINGER, "REFER")?.is_some()));
    }
    bail!("no recall within {LIMIT:?}")
}

/// The callee: comes back and answers until the story is over. Returns how many calls.
fn answer_calls(phone: &mut Phone, over: &AtomicBool) -> Result<usize> {
    let (mut answered, mut refreshed) = (0, None::<Instant>);
    while !over.load(Ordering::Relaxed) {
        if refreshed.is_none_or(|at| at.elapsed() > REFRESH) {
            refreshed = phone.register(600).is_ok().then(now);
        }
        let Some(invite) = phone.within(GLANCE, "INVITE")? else { continue };
        phone.pick_up(&invite).with_context(|| format!("call {}", invite.header(Header::CallId)))?;
        let bye = phone.expect("BYE")?;
        phone.answer(&bye, 200, "")?;
        answered += 1;
    }
    Ok(answered)
}
