//! From EndpointSlices to members.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::Member;

/// Which endpoints of a service count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Who may be given new work: ready, and not on its way out. A pod that is told to stop is not ready from that moment on.
    Ready,
    /// Everybody who is listed, ready or not: also pods that have just started or finish what they have begun.
    Listed,
}

/// The members that all slices of one service name together, sorted by name. A pod that several slices list (one for each IP version of
/// a dual-stack service, two while the control plane moves it) is one member, at its IPv4 address if it has one.
///
/// Pods are reached directly, so `port` is theirs, not one that kube-proxy translates.
#[must_use]
pub fn members_of<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>, port: u16, which: Which) -> Vec<Member> {
    let mut found: BTreeMap<String, SocketAddr> = BTreeMap::new();
    for endpoint in slices.into_iter().flat_map(|slice| &slice.endpoints).filter(|endpoint| counts(endpoint, which)) {
        // FQDN slices have no IP addresses; consumers use the first address alone (discovery.k8s.io/v1, Endpoint.addresses).
        let Some(ip) = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok()) else { continue };
        let addr = SocketAddr::new(ip, port);
        // V4 sorts before V6.
        found.entry(name(endpoint, ip)).and_modify(|known| *known = addr.min(*known)).or_insert(addr);
    }
    found.into_iter().map(|(name, addr)| Member { name, addr }).collect()
}

/// Conditions that are absent are as the API says: ready counts as true, terminating as false.
fn counts(endpoint: &Endpoint, which: Which) -> bool {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    // A service that publishes not-ready addresses says ready of everybody.
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    which == Which::Listed || (ready && !terminating)
}

/// The pod's name; slices that somebody wrote by hand may name no pod.
fn name(endpoint: &Endpoint, ip: IpAddr) -> String {
    let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod")).and_then(|target| target.name.clone());
    pod.or_else(|| endpoint.hostname.clone()).unwrap_or_else(|| ip.to_string())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;
    use k8s_openapi::api::discovery::v1::EndpointConditions;

    use super::*;

    fn endpoint(pod: &str, address: &str) -> Endpoint {
        let target_ref = Some(ObjectReference { kind: Some("Pod".into()), name: Some(pod.into()), ..Default::default() });
        Endpoint { addresses: vec![address.into()], target_ref, ..Default::default() }
    }

    fn with(mut endpoint: Endpoint, ready: Option<bool>, terminating: Option<bool>) -> Endpoint {
        endpoint.conditions = Some(EndpointConditions { ready, serving: Some(true), terminating });
        endpoint
    }

    fn slice(endpoints: Vec<Endpoint>) -> EndpointSlice {
        EndpointSlice { endpoints, ..Default::default() }
    }

    fn shown(slices: &[EndpointSlice], which: Which) -> Vec<String> {
        members_of(slices, 7070, which).into_iter().map(|m| format!("{}={}", m.name, m.addr)).collect()
    }

    #[test]
    fn slices_are_merged_and_sorted_by_pod() {
        let slices = [slice(vec![endpoint("c-2", "10.0.0.2")]), slice(vec![endpoint("c-1", "10.0.0.3"), endpoint("c-3", "10.0.0.1")])];
        assert_eq!(shown(&slices, Which::Ready), ["c-1=10.0.0.3:7070", "c-2=10.0.0.2:7070", "c-3=10.0.0.1:7070"]);
        assert!(shown(&[], Which::Ready).is_empty());
    }

    #[test]
    fn a_pod_of_a_dual_stack_service_is_one_member() {
        let (v4, v6) = (slice(vec![endpoint("c-1", "10.0.0.1")]), slice(vec![endpoint("c-1", "fd00::1"), endpoint("c-2", "fd00::2")]));
        for slices in [[v4.clone(), v6.clone()], [v6, v4]] {
            assert_eq!(shown(&slices, Which::Ready), ["c-1=10.0.0.1:7070", "c-2=[fd00::2]:7070"]);
        }
    }

    #[test]
    fn who_is_not_ready_or_on_its_way_out_gets_no_new_work() {
        let slices = [slice(vec![
            with(endpoint("absent", "10.0.0.1"), None, None),
            with(endpoint("ready", "10.0.0.2"), Some(true), Some(false)),
            with(endpoint("starting", "10.0.0.3"), Some(false), Some(false)),
            with(endpoint("stopping", "10.0.0.4"), Some(false), Some(true)),
            with(endpoint("published", "10.0.0.5"), Some(true), Some(true)),
        ])];
        assert_eq!(shown(&slices, Which::Ready), ["absent=10.0.0.1:7070", "ready=10.0.0.2:7070"]);
        assert_eq!(shown(&slices, Which::Listed).len(), 5);
    }

    #[test]
    fn a_pod_that_moves_between_slices_stays() {
        let slices = [slice(vec![with(endpoint("c-1", "10.0.0.1"), Some(false), None)]), slice(vec![endpoint("c-1", "10.0.0.1")])];
        assert_eq!(shown(&slices, Which::Ready), ["c-1=10.0.0.1:7070"]);
    }

    #[test]
    fn endpoints_without_a_pod_are_named_otherwise_and_names_are_no_addresses() {
        let mut host = endpoint("", "10.0.0.1");
        (host.target_ref, host.hostname) = (None, Some("c-1".into()));
        let mut bare = endpoint("", "10.0.0.2");
        bare.target_ref = None;
        let mut empty = endpoint("c-3", "");
        empty.addresses.clear();
        let slices = [slice(vec![host, bare, endpoint("dns", "c.example.com"), empty])];
        assert_eq!(shown(&slices, Which::Ready), ["10.0.0.2=10.0.0.2:7070", "c-1=10.0.0.1:7070"]);
    }
}
