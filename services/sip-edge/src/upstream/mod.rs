//! The SIP servers that this edge stands before: who they are, and which of them answer.
//!
//! [`spec`] is how they are named, [`resolve`] finds the addresses behind names. Workers read a list that is swapped whole, and tell each other by two
//! flags per server what they have seen of it.

mod resolve;
mod spec;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use redial_core::{Aor, rendezvous};
use smallvec::SmallVec;

pub use resolve::{ResolveError, Resolver};
pub use spec::{UpstreamName, UpstreamSpec};

/// What the registrar is given to reach our phones by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// A Path header (RFC 3327): the registrar must store it.
    #[default]
    Path,
    /// Our address in place of the phone's in Contact: any registrar will do.
    Contact,
}

/// How a front treats its servers.
#[derive(Debug)]
pub struct Front {
    pub upstreams: Arc<Upstreams>,
    pub way: Way,
    /// Between two OPTIONS to the same server.
    pub check: Duration,
    /// A server that has said nothing for so long is passed over where there is another.
    pub timeout: Duration,
}

/// One address of a server.
#[derive(Debug)]
pub struct Upstream {
    /// The address as text: what rendezvous hashing and metrics know it by.
    pub name: String,
    pub addr: SocketAddr,
    up: AtomicBool,
    /// It has asked for credentials on an INVITE, so that credentials which it lets pass mean something.
    challenges: AtomicBool,
    timeouts: AtomicU64,
    unavailable: AtomicU64,
}

/// What a server did that made us try another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It did not answer.
    Timeout,
    /// It answered 503.
    Unavailable,
}

impl Upstream {
    fn new(addr: SocketAddr) -> Self {
        Self {
            name: addr.to_string(),
            addr,
            up: AtomicBool::new(true),
            challenges: AtomicBool::default(),
            timeouts: AtomicU64::default(),
            unavailable: AtomicU64::default(),
        }
    }

    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// It has answered an OPTIONS.
    pub fn answered(&self) {
        if !self.up.swap(true, Relaxed) {
            tracing::info!(upstream = self.name, "answers again");
        }
    }

    /// The last in line until it answers an OPTIONS again.
    pub fn failed(&self, fault: Fault) {
        match fault {
            Fault::Timeout => self.timeouts.fetch_add(1, Relaxed),
            Fault::Unavailable => self.unavailable.fetch_add(1, Relaxed),
        };
        if self.up.swap(false, Relaxed) {
            tracing::warn!(upstream = self.name, ?fault, "passed over until it answers OPTIONS");
        }
    }

    #[must_use]
    pub fn faults(&self, fault: Fault) -> u64 {
        match fault {
            Fault::Timeout => self.timeouts.load(Relaxed),
            Fault::Unavailable => self.unavailable.load(Relaxed),
        }
    }

    #[must_use]
    pub fn challenges(&self) -> bool {
        self.challenges.load(Relaxed)
    }

    pub fn has_challenged(&self) {
        if !self.challenges() {
            self.challenges.store(true, Relaxed);
        }
    }
}

/// What SRV says of a server (RFC 2782).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rank {
    /// A higher one is used only when no lower one answers.
    priority: u16,
    /// Its share of the users among servers of one priority. Above zero.
    weight: f64,
}

impl Rank {
    /// Of whatever SRV says nothing of: all are equal.
    const PLAIN: Self = Self { priority: 0, weight: 1.0 };
}

/// Servers to try, best first.
pub type Order = SmallVec<[Arc<Upstream>; 2]>;

/// All servers, by the domain that they serve.
#[derive(Debug)]
pub struct Upstreams {
    domains: Vec<Domain>,
}

#[derive(Debug)]
struct Domain {
    name: String,
    specs: Vec<UpstreamName>,
    /// By address.
    servers: ArcSwap<Vec<(Rank, Arc<Upstream>)>>,
}

impl Upstreams {
    /// Servers that are named by address are there at once; the others when [`Self::follow`] has found them.
    #[must_use]
    pub fn new(specs: &[UpstreamSpec]) -> Self {
        let mut domains: Vec<Domain> = Vec::new();
        for spec in specs {
            let at = domains.iter().position(|d| d.name == spec.domain).unwrap_or_else(|| {
                domains.push(Domain { name: spec.domain.clone(), specs: Vec::new(), servers: ArcSwap::default() });
                domains.len() - 1
            });
            domains[at].specs.push(spec.server.clone());
        }
        let all = Self { domains };
        for domain in &all.domains {
            all.put(domain, domain.specs.iter().filter_map(UpstreamName::addr).map(|addr| (addr, Rank::PLAIN)).collect());
        }
        all
    }

    /// In the order in which they were named.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().map(|domain| domain.name.as_str())
    }

    /// The servers of the AoR's domain: those that answer before those that do not, lower priorities first, and among equals the one that the AoR
    /// picks by rendezvous hash, so that REGISTER and INVITE of a user meet, each has users by its weight, and a server that goes moves its share only.
    #[must_use]
    pub fn order(&self, aor: &Aor) -> Order {
        let Some(domain) = self.domains.iter().find(|d| d.name.eq_ignore_ascii_case(aor.domain())) else { return Order::new() };
        let servers = domain.servers.load();
        let line = |(rank, server): &(Rank, Arc<Upstream>)| {
            (!server.is_up(), rank.priority, rendezvous::score(aor, &server.name, rank.weight), Arc::clone(server))
        };
        let mut order: SmallVec<[_; 4]> = servers.iter().map(line).collect();
        order.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| b.2.total_cmp(&a.2)));
        order.into_iter().map(|(.., server)| server).collect()
    }

    #[must_use]
    pub fn at(&self, addr: SocketAddr) -> Option<Arc<Upstream>> {
        self.domains.iter().find_map(|domain| {
            let servers = domain.servers.load();
            servers.iter().find(|(_, server)| server.addr == addr).map(|(_, server)| Arc::clone(server))
        })
    }

    /// Each once, however many domains it serves.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Upstream>> {
        let mut all: Vec<Arc<Upstream>> = Vec::new();
        for domain in &self.domains {
            for (_, server) in domain.servers.load().iter() {
                if all.iter().all(|known| known.addr != server.addr) {
                    all.push(Arc::clone(server));
                }
            }
        }
        all
    }

    /// Every domain has a server.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.domains.iter().all(|domain| !domain.servers.load().is_empty())
    }

    /// From now on these are the domain's servers. What is known of one stays, also when another domain has it, too.
    fn put(&self, domain: &Domain, found: Vec<(SocketAddr, Rank)>) {
        let mut servers: Vec<(Rank, Arc<Upstream>)> = Vec::new();
        for (addr, rank) in found {
            if servers.iter().all(|(_, server)| server.addr != addr) {
                servers.push((rank, self.at(addr).unwrap_or_else(|| Arc::new(Upstream::new(addr)))));
            }
        }
        servers.sort_by_key(|(_, server)| server.addr);
        let before = domain.servers.load();
        let same = servers.iter().zip(before.iter()).all(|(new, old)| new.0 == old.0 && Arc::ptr_eq(&new.1, &old.1));
        if servers.len() != before.len() || !same {
            let names: Vec<&str> = servers.iter().map(|(_, server)| server.name.as_str()).collect();
            tracing::info!(domain = domain.name, upstreams = ?names, "upstream servers");
            domain.servers.store(Arc::new(servers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstreams(specs: &[&str]) -> Upstreams {
        Upstreams::new(&specs.iter().map(|spec| spec.parse().unwrap()).collect::<Vec<_>>())
    }

    fn names(order: &Order) -> Vec<&str> {
        order.iter().map(|s| s.name.as_str()).collect()
    }

    #[test]
    fn a_user_has_one_server_and_the_users_have_all() {
        let all = upstreams(&["example.com=192.0.2.1", "example.com=192.0.2.2:5070", "example.org=192.0.2.3"]);
        let first = |n: u32| all.order(&Aor::new(format!("u{n}@Example.com")))[0].name.clone();
        let share = (0..1000).filter(|n| first(*n) == "192.0.2.1:5060").count();
        assert!((400..600).contains(&share), "{share}");
        assert_eq!(names(&all.order(&Aor::new("u@example.org"))), ["192.0.2.3:5060"]);
        assert!(all.order(&Aor::new("u@example.net")).is_empty());
        assert_eq!(all.domains().collect::<Vec<_>>(), ["example.com", "example.org"]);
        assert!(all.is_complete() && !upstreams(&["example.com=sip.example.net"]).is_complete());
    }

    #[test]
    fn one_that_does_not_answer_comes_last_until_it_does() {
        let all = upstreams(&["example.com=192.0.2.1", "example.com=192.0.2.2"]);
        let aor = Aor::new("alice@example.com");
        let before = all.order(&aor);
        before[0].failed(Fault::Timeout);
        assert_eq!(names(&all.order(&aor)), [before[1].name.as_str(), before[0].name.as_str()]);
        assert_eq!((before[0].faults(Fault::Timeout), before[0].faults(Fault::Unavailable)), (1, 0));
        before[0].answered();
        assert_eq!(names(&all.order(&aor)), names(&before));
    }

    #[test]
    fn a_server_of_two_domains_is_one_server() {
        let all = upstreams(&["example.com=192.0.2.1", "example.org=192.0.2.1"]);
        assert_eq!(all.all().len(), 1);
        all.all()[0].failed(Fault::Timeout);
        assert!(!all.order(&Aor::new("u@example.org"))[0].is_up());
    }

    #[test]
    fn what_is_found_again_keeps_what_is_known_of_it() {
        let all = upstreams(&["example.com=192.0.2.1"]);
        let first = all.all().remove(0);
        first.has_challenged();
        all.put(
            &all.domains[0],
            vec![
                ("192.0.2.9:5060".parse().unwrap(), Rank { priority: 20, weight: 900.0 }),
                (first.addr, Rank::PLAIN),
                (first.addr, Rank::PLAIN),
            ],
        );
        assert_eq!(all.all().len(), 2);
        assert!(all.at(first.addr).unwrap().challenges());
        let order = all.order(&Aor::new("bob@example.com"));
        assert_eq!(names(&order), ["192.0.2.1:5060", "192.0.2.9:5060"], "by priority, whatever they weigh");
        all.put(&all.domains[0], Vec::new());
        assert!(all.at(first.addr).is_none());
    }
}
