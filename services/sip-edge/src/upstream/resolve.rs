//! The addresses behind the servers' names, looked up again and again.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use redial_runtime::admin::Latch;

use super::{Rank, UpstreamName, Upstreams};
use crate::endpoint::DEFAULT_PORT;

/// Between two looks: an answer is served from the resolver's cache for as long as its TTL says, so this costs nothing before that.
const LOOK: Duration = Duration::from_secs(5);

/// What a weight of 0 counts as: hardly anything beside other weights, and all the same among its like (RFC 2782).
const WEIGHT_0: f64 = 0.01;

/// Why names cannot be looked up at all.
#[derive(Debug, thiserror::Error)]
#[error("no DNS resolver: {0}")]
pub struct ResolveError(NetError);

/// Looks names up by the system's DNS servers, or by one.
pub struct Resolver(TokioResolver);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// `dns`: this server in place of those in /etc/resolv.conf.
    ///
    /// # Errors
    /// The system's settings cannot be read.
    pub fn new(dns: Option<SocketAddr>) -> Result<Self, ResolveError> {
        let builder = match dns {
            None => TokioResolver::builder_tokio().map_err(ResolveError)?,
            Some(addr) => {
                let mut server = NameServerConfig::udp_and_tcp(addr.ip());
                server.connections.iter_mut().for_each(|connection| connection.port = addr.port());
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        builder.build().map(Self).map_err(ResolveError)
    }

    /// Without a port SRV comes first, and when there is none, A and AAAA with the default port (RFC 3263 section 4.2).
    async fn addresses(&self, name: &str, port: Option<u16>) -> Result<Vec<(SocketAddr, Rank)>, NetError> {
        if port.is_none() {
            match self.0.srv_lookup(format!("_sip._udp.{name}")).await {
                Ok(found) => return Ok(self.targets(&found).await),
                Err(error) if error.is_no_records_found() => {}
                Err(error) => return Err(error),
            }
        }
        let ips = self.0.lookup_ip(name).await?;
        Ok(ips.iter().map(|ip| (SocketAddr::new(ip, port.unwrap_or(DEFAULT_PORT)), Rank::PLAIN)).collect())
    }

    /// A target that cannot be found is left out: the others will do. One of several addresses has them share its weight.
    async fn targets(&self, srv: &hickory_resolver::lookup::Lookup) -> Vec<(SocketAddr, Rank)> {
        let mut found = Vec::new();
        for record in srv.answers() {
            let RData::SRV(srv) = &record.data else { continue };
            let ips: Vec<IpAddr> = self.0.lookup_ip(srv.target.clone()).await.map(|ips| ips.iter().collect()).unwrap_or_default();
            let weight = if srv.weight == 0 { WEIGHT_0 } else { f64::from(srv.weight) };
            let rank = Rank { priority: srv.priority, weight: weight / ips.len() as f64 };
            found.extend(ips.into_iter().map(|ip| (SocketAddr::new(ip, srv.port), rank)));
        }
        found
    }
}

/// One of the servers' names, and what was found last.
struct Look<'a> {
    spec: &'a UpstreamName,
    found: Vec<(SocketAddr, Rank)>,
    /// Said once, not with each look.
    failing: bool,
}

impl<'a> Look<'a> {
    fn new(spec: &'a UpstreamName) -> Self {
        Self { spec, found: spec.addr().map(|addr| (addr, Rank::PLAIN)).into_iter().collect(), failing: false }
    }

    async fn again(&mut self, resolver: &Resolver) {
        let UpstreamName::Host { name, port } = self.spec else { return };
        let error = match resolver.addresses(name, *port).await {
            Ok(found) if !found.is_empty() => {
                (self.found, self.failing) = (found, false);
                return;
            }
            Ok(_) => "it has no address".to_owned(),
            Err(error) => error.to_string(),
        };
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(upstream = name, error, "not found; the addresses that it had are kept");
        }
    }
}

impl Upstreams {
    /// There are names to be looked up.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.domains.iter().flat_map(|domain| &domain.specs).any(|spec| spec.addr().is_none())
    }

    /// Keeps the servers' addresses up to date. A name that is not answered for keeps the addresses that it had: DNS may be away.
    /// `found` is set when every domain has a server.
    pub async fn follow(self: Arc<Self>, resolver: Resolver, found: Latch) {
        let mut looks: Vec<Vec<Look<'_>>> = self.domains.iter().map(|domain| domain.specs.iter().map(Look::new).collect()).collect();
        loop {
            for (domain, looks) in self.domains.iter().zip(&mut looks) {
                for look in looks.iter_mut() {
                    look.again(&resolver).await;
                }
                self.put(domain, looks.iter().flat_map(|look| look.found.iter().copied()).collect());
            }
            found.set(self.is_complete());
            tokio::time::sleep(LOOK).await;
        }
    }
}
