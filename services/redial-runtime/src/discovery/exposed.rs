//! Where a Service is reached from outside of the cluster.

use std::pin::pin;
use std::str::FromStr;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::watch_object;
use tokio::sync::watch;

use super::kubernetes::{Kubernetes, chain};
use super::{is_label, split};

/// A Kubernetes Service as an operator writes it where no port is needed: `[NAMESPACE/]NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName {
    pub namespace: Option<String>,
    pub name: String,
}

impl FromStr for ServiceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (namespace, name) = split(text);
        if !is_label(name) || !namespace.is_none_or(is_label) {
            return Err(format!("`{text}` is no service such as redial/edge"));
        }
        Ok(Self { namespace: namespace.map(str::to_owned), name: name.to_owned() })
    }
}

/// What a port of a Service carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Udp,
    Tcp,
}

/// What a Service says about where it is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposed {
    /// IP addresses and host names: of its load balancer, then its external IPs. Empty while there are none.
    pub hosts: Vec<String>,
    /// Protocol, what pods listen on, and what is reached from outside.
    pub ports: Vec<(Protocol, u16, u16)>,
}

impl Exposed {
    /// Reads `status.loadBalancer.ingress` and `spec.externalIPs` (core/v1 Service).
    #[must_use]
    pub fn of(service: &Service) -> Self {
        let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()).and_then(|b| b.ingress.as_ref());
        let ingress = balancer.into_iter().flatten().filter_map(|ingress| ingress.ip.clone().or_else(|| ingress.hostname.clone()));
        let spec = service.spec.as_ref();
        let external = spec.and_then(|spec| spec.external_ips.clone()).unwrap_or_default();
        let port = |number: i32| u16::try_from(number).ok();
        let ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
        let pairs = ports.filter_map(|p| {
            let outside = port(p.port)?;
            // TCP is what Kubernetes takes for granted.
            let protocol = if p.protocol.as_deref() == Some("UDP") { Protocol::Udp } else { Protocol::Tcp };
            match &p.target_port {
                None => Some((protocol, outside, outside)),
                Some(IntOrString::Int(inside)) => Some((protocol, port(*inside)?, outside)),
                // A name, which only the pod's own description resolves.
                Some(IntOrString::String(_)) => None,
            }
        });
        Self { hosts: ingress.chain(external).filter(|host| !host.is_empty()).collect(), ports: pairs.collect() }
    }

    /// The port that is reached from outside for one that pods listen on: the same one where the Service does not say.
    #[must_use]
    pub fn port(&self, protocol: Protocol, inside: u16) -> u16 {
        self.ports.iter().find(|(of, one, _)| (*of, *one) == (protocol, inside)).map_or(inside, |(.., outside)| *outside)
    }
}

impl Kubernetes {
    /// Where a Service is reached, as it changes; follows until nobody listens. A Service that is not there (yet) has no hosts. Must be
    /// called inside a tokio runtime.
    #[must_use]
    pub fn exposed(&self, service: &ServiceName) -> watch::Receiver<Exposed> {
        let namespace = service.namespace.as_deref().unwrap_or_else(|| self.namespace());
        let (api, name) = (Api::<Service>::namespaced(self.client().clone(), namespace), service.name.clone());
        let (sender, receiver) = watch::channel(Exposed::default());
        tokio::spawn(async move {
            let mut said = false;
            let mut states = pin!(watch_object(api, &name).default_backoff());
            loop {
                let state = tokio::select! {
                    state = states.next() => state,
                    () = sender.closed() => return,
                };
                match state {
                    Some(Ok(found)) => {
                        said = false;
                        let exposed = found.as_ref().map(Exposed::of).unwrap_or_default();
                        sender.send_if_modified(|known| std::mem::replace(known, exposed.clone()) != exposed);
                    }
                    Some(Err(error)) if !std::mem::replace(&mut said, true) => {
                        tracing::warn!(service = name, error = chain(&error), "the service cannot be followed, trying again");
                    }
                    Some(Err(_)) => {}
                    None => return,
                }
            }
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, ServicePort, ServiceSpec, ServiceStatus};

    use super::*;

    fn service(ingress: Vec<LoadBalancerIngress>, external: &[&str]) -> Service {
        let port =
            |protocol: &str, port, target_port| ServicePort { protocol: Some(protocol.into()), port, target_port, ..Default::default() };
        let spec = ServiceSpec {
            external_ips: Some(external.iter().map(|ip| (*ip).to_owned()).collect()),
            ports: Some(vec![
                port("TCP", 443, Some(IntOrString::Int(15060))),
                port("UDP", 5060, Some(IntOrString::Int(15060))),
                port("UDP", 5062, None),
                port("UDP", 5064, Some(IntOrString::String("sip".into()))),
            ]),
            ..Default::default()
        };
        let status = ServiceStatus { load_balancer: Some(LoadBalancerStatus { ingress: Some(ingress) }), ..Default::default() };
        Service { spec: Some(spec), status: Some(status), ..Default::default() }
    }

    #[test]
    fn the_load_balancer_counts_before_external_ips() {
        let ip = LoadBalancerIngress { ip: Some("192.0.2.7".into()), ..Default::default() };
        let name = LoadBalancerIngress { hostname: Some("lb.example.com".into()), ..Default::default() };
        assert_eq!(Exposed::of(&service(vec![name, ip], &["192.0.2.8"])).hosts, ["lb.example.com", "192.0.2.7", "192.0.2.8"]);
        assert_eq!(Exposed::of(&service(vec![], &["192.0.2.8"])).hosts, ["192.0.2.8"]);
        assert_eq!(Exposed::of(&service(vec![LoadBalancerIngress::default()], &[])).hosts, [] as [&str; 0]);
        assert_eq!(Exposed::of(&Service::default()), Exposed::default());
    }

    #[test]
    fn ports_are_those_that_the_service_translates() {
        let exposed = Exposed::of(&service(vec![], &[]));
        assert_eq!([15060, 5062, 5064].map(|port| exposed.port(Protocol::Udp, port)), [5060, 5062, 5064]);
        assert_eq!(exposed.port(Protocol::Tcp, 15060), 443, "the same port by another protocol is another one");
    }

    #[test]
    fn a_service_is_named_without_a_port() {
        let name = |namespace: Option<&str>| ServiceName { namespace: namespace.map(Into::into), name: "edge".into() };
        assert_eq!(("edge".parse(), "tel/edge".parse()), (Ok(name(None)), Ok(name(Some("tel")))));
        for bad in ["", "edge:5060", "/edge", "a/b/c", "Edge"] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }
}
