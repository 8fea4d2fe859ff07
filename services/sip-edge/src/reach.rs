//! What phones are told to reach a listener by.

use std::net::{IpAddr, SocketAddr};

use redial_runtime::discovery::{Exposed, Kubernetes, ServiceName};
use tokio::sync::watch;

use crate::app::ListenerConfig;
use crate::settings::Advertised;

/// Waits until the Service has an address for every listener, and gives it to them. A later change is said in the log: what dialogs
/// and registrations of this edge name stays reachable until it is started again, or they are lost with the address.
pub(crate) async fn advertise_service(kubernetes: &Kubernetes, service: &ServiceName, listeners: &mut [ListenerConfig]) {
    let mut exposed = kubernetes.exposed(service);
    tracing::info!(service = service.name, "waiting for the address that the service is reached by");
    let binds: Vec<SocketAddr> = listeners.iter().map(|listener| listener.bind).collect();
    let advertised = loop {
        let state = exposed.borrow_and_update().clone();
        if let Some(found) = addresses(&state, &binds).await {
            break found;
        }
        if !state.hosts.is_empty() {
            tracing::warn!(
                service = service.name,
                hosts = state.hosts.join(" "),
                "the service has no address of every listener's IP version"
            );
        }
        if exposed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    for (listener, addr) in listeners.iter_mut().zip(&advertised) {
        listener.advertised = Some(Advertised::Full(*addr));
    }
    tokio::spawn(watch_changes(exposed, service.name.clone(), binds, advertised));
}

async fn watch_changes(mut exposed: watch::Receiver<Exposed>, service: String, binds: Vec<SocketAddr>, advertised: Vec<SocketAddr>) {
    while exposed.changed().await.is_ok() {
        let state = exposed.borrow_and_update().clone();
        if addresses(&state, &binds).await.as_ref() != Some(&advertised) {
            let hosts = state.hosts.join(" ");
            tracing::warn!(
                service,
                hosts,
                ?advertised,
                "the address of the service has changed; restart this edge to advertise the new one"
            );
        }
    }
}

/// One for each listener, or none: the first of its IP version.
async fn addresses(exposed: &Exposed, binds: &[SocketAddr]) -> Option<Vec<SocketAddr>> {
    let ips: Vec<IpAddr> = exposed.addresses().await;
    let one = |bind: &SocketAddr| {
        let ip = ips.iter().find(|ip| ip.is_ipv4() == bind.is_ipv4())?;
        Some(SocketAddr::new(*ip, exposed.port(bind.port())))
    };
    binds.iter().map(one).collect()
}

/// Why phones may not reach what a listener says; `told` when an operator chose it. Unspecified addresses are refused before.
pub(crate) fn doubt(bound: SocketAddr, advertised: SocketAddr, told: bool, pod_network: bool) -> Option<&'static str> {
    match advertised.ip() {
        ip if ip.is_loopback() && !bound.ip().is_loopback() => Some("it is a loopback address"),
        IpAddr::V4(ip) if ip.is_link_local() => Some("it is a link-local address"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("it is a link-local address"),
        ip if pod_network && !told && !ip.is_loopback() => Some("it is the pod's own, which only other pods reach"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_phones_cannot_reach_is_doubted() {
        let cases = [
            ("192.0.2.1:5060", "192.0.2.1:5060", false, false, None),
            ("127.0.0.1:5060", "127.0.0.1:5060", false, true, None),
            ("0.0.0.0:5060", "127.0.0.1:5060", true, false, Some("loopback")),
            ("[::]:5060", "[fe80::1]:5060", true, false, Some("link-local")),
            ("169.254.1.1:5060", "169.254.1.1:5060", false, false, Some("link-local")),
            ("10.244.0.7:5060", "10.244.0.7:5060", false, true, Some("pod's own")),
            ("10.244.0.7:5060", "10.244.0.7:5060", true, true, None),
        ];
        for (bound, advertised, told, pod_network, expected) in cases {
            let found = doubt(addr(bound), addr(advertised), told, pod_network);
            match expected {
                None => assert_eq!(found, None, "{advertised}"),
                Some(word) => assert!(found.is_some_and(|why| why.contains(word)), "{advertised}: {found:?}"),
            }
        }
    }

    #[tokio::test]
    async fn every_listener_gets_an_address_of_its_ip_version() {
        let exposed = Exposed { hosts: ["2001:db8::7", "192.0.2.7", "192.0.2.8"].map(Into::into).to_vec(), ..Exposed::default() };
        let found = addresses(&exposed, &[addr("0.0.0.0:5060"), addr("[::]:5062")]).await;
        assert_eq!(found, Some(vec![addr("192.0.2.7:5060"), addr("[2001:db8::7]:5062")]));
        let only_v4 = Exposed { hosts: vec!["192.0.2.7".into()], ..Exposed::default() };
        assert_eq!(addresses(&only_v4, &[addr("0.0.0.0:5060"), addr("[::]:5062")]).await, None);
        assert_eq!(addresses(&Exposed::default(), &[addr("0.0.0.0:5060")]).await, None);
    }
}
