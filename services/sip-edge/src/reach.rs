//! What phones are told to reach a listener by.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use std::{io, mem};

use redial_runtime::discovery::{Exposed, Kubernetes, Member, Protocol, ServiceName};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::ListenerConfig;
use crate::settings::Advertised;

/// A name that nobody knows is looked up again after this long: Kubernetes has the name of a new balancer minutes before DNS has.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What a listener binds.
type Bind = (Protocol, SocketAddr);

fn bind(listener: &ListenerConfig) -> Bind {
    (if listener.transport.is_stream() { Protocol::Tcp } else { Protocol::Udp }, listener.bind)
}

/// Waits until the Service has an address for every listener, and gives it to them. When it loses that address for another one, `moved` is
/// cancelled.
pub(crate) async fn advertise_service(
    kubernetes: &Kubernetes,
    service: &ServiceName,
    listeners: &mut [ListenerConfig],
    moved: CancellationToken,
) {
    let mut exposed = kubernetes.exposed(service);
    tracing::info!(service = service.name, "waiting for the address that the service is reached by");
    let binds: Vec<Bind> = listeners.iter().map(bind).collect();
    let missing = |state: &Exposed, why: &str| {
        if !state.hosts.is_empty() {
            tracing::warn!(service = service.name, why, "the service has no address for every listener yet; looking it up again and again");
        }
    };
    let advertised = settled(&mut exposed, &binds, &look_up, missing).await;
    let first = advertised.iter().map(|of_listener| of_listener[0]).collect::<Vec<_>>();
    for (listener, addr) in listeners.iter_mut().zip(&first) {
        listener.advertised = Some(Advertised::Full(*addr));
    }
    tokio::spawn(watch_changes(exposed, service.name.clone(), binds, first, moved));
}

async fn watch_changes(
    mut exposed: watch::Receiver<Exposed>,
    service: String,
    binds: Vec<Bind>,
    advertised: Vec<SocketAddr>,
    moved: CancellationToken,
) {
    while exposed.changed().await.is_ok() {
        // Whatever gave it may give it again.
        let missing = |_: &Exposed, why: &str| {
            tracing::warn!(service, ?advertised, why, "the service has no address at present; keeping the last one")
        };
        let now = settled(&mut exposed, &binds, &look_up, missing).await;
        if !advertised.iter().zip(&now).all(|(addr, all)| all.contains(addr)) {
            tracing::warn!(service, ?advertised, ?now, "the address of the service has changed: ending, to start again with the new one");
            moved.cancel();
            return;
        }
    }
}

/// How long an edge whose address is gone waits before it drains: of edges in the order of their names every other one goes at once, the rest
/// when these are back, which `round` covers. So somebody serves all the while, and two rounds are enough for any number.
pub(crate) fn turn(members: &[Member], own: &str, round: Duration) -> Duration {
    let place = members.iter().position(|member| member.name == own).unwrap_or(0);
    if place.is_multiple_of(2) { Duration::ZERO } else { round }
}

/// Waits until the Service has addresses for every listener. `missing` hears why it has none, once for each thing that the Service says.
async fn settled<F: Future<Output = io::Result<Vec<IpAddr>>>>(
    exposed: &mut watch::Receiver<Exposed>,
    binds: &[Bind],
    look_up: &impl Fn(String) -> F,
    missing: impl Fn(&Exposed, &str),
) -> Vec<Vec<SocketAddr>> {
    let mut said = false;
    loop {
        let state = exposed.borrow_and_update().clone();
        match addresses(&state, binds, look_up).await {
            Ok(found) => return found,
            Err(why) if !mem::replace(&mut said, true) => missing(&state, &why),
            Err(_) => {}
        }
        match tokio::time::timeout(LOOK_AGAIN, exposed.changed()).await {
            Ok(Ok(())) => said = false,
            // Nobody follows the Service any more.
            Ok(Err(_)) => tokio::time::sleep(LOOK_AGAIN).await,
            Err(_) => {}
        }
    }
}

async fn look_up(host: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((host, 0)).await?.map(|addr| addr.ip()).collect())
}

/// Those of each listener, which are of its IP version, or why a listener has none.
async fn addresses<F: Future<Output = io::Result<Vec<IpAddr>>>>(
    exposed: &Exposed,
    binds: &[Bind],
    look_up: &impl Fn(String) -> F,
) -> Result<Vec<Vec<SocketAddr>>, String> {
    let (mut ips, mut unknown) = (Vec::new(), Vec::new());
    for host in &exposed.hosts {
        match host.parse() {
            Ok(ip) => ips.push(ip),
            Err(_) => match look_up(host.clone()).await {
                Ok(found) => ips.extend(found),
                Err(error) => unknown.push(format!("{host}: {error}")),
            },
        }
    }
    let of_listener = |(protocol, bind): &Bind| {
        let fitting = ips.iter().filter(|ip| ip.is_ipv4() == bind.is_ipv4());
        let all: Vec<_> = fitting.map(|ip| SocketAddr::new(*ip, exposed.port(*protocol, bind.port()))).collect();
        (!all.is_empty()).then_some(all)
    };
    let why = if unknown.is_empty() { format!("of {ips:?} none is of a listener's IP version") } else { unknown.join(", ") };
    binds.iter().map(of_listener).collect::<Option<_>>().ok_or(why)
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
    use std::cell::{Cell, RefCell};

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
        let udp = |text: &str| (Protocol::Udp, addr(text));
        let found = addresses(&exposed, &[udp("0.0.0.0:5060"), udp("[::]:5062")], &look_up).await;
        assert_eq!(found, Ok(vec![vec![addr("192.0.2.7:5060"), addr("192.0.2.8:5060")], vec![addr("[2001:db8::7]:5062")]]));
        let only_v4 = Exposed { hosts: vec!["192.0.2.7".into()], ..Exposed::default() };
        let why = addresses(&only_v4, &[udp("0.0.0.0:5060"), udp("[::]:5062")], &look_up).await;
        assert_eq!(why, Err("of [192.0.2.7] none is of a listener's IP version".to_owned()));
        assert!(addresses(&Exposed::default(), &[udp("0.0.0.0:5060")], &look_up).await.is_err());
    }

    #[tokio::test]
    async fn names_are_looked_up_and_one_that_nobody_knows_is_left_out() {
        let exposed = Exposed { hosts: ["localhost", "no such host"].map(Into::into).to_vec(), ..Exposed::default() };
        let found = addresses(&exposed, &[(Protocol::Udp, addr("0.0.0.0:5060"))], &look_up).await;
        assert_eq!(found, Ok(vec![vec![addr("127.0.0.1:5060")]]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_dns_has_later_is_looked_up_until_then_and_said_once() {
        let asked = Cell::new(0);
        let look_up = |host: String| {
            asked.set(asked.get() + 1);
            let known = host == "lb.example.com" && asked.get() > 3;
            std::future::ready(if known { Ok(vec![IpAddr::from([192, 0, 2, 7])]) } else { Err(io::ErrorKind::NotFound.into()) })
        };
        let said = RefCell::new(Vec::new());
        let missing = |state: &Exposed, why: &str| said.borrow_mut().push((state.hosts.clone(), why.contains("lb.example.com: ")));
        let (says, mut exposed) = watch::channel(Exposed::default());
        let binds = [(Protocol::Udp, addr("0.0.0.0:5060"))];
        let named = Exposed { hosts: vec!["lb.example.com".into()], ..Exposed::default() };
        let tell = async {
            tokio::time::sleep(LOOK_AGAIN * 2).await;
            says.send_replace(named.clone());
            tokio::time::sleep(LOOK_AGAIN * 9).await;
        };
        let found = tokio::select! { found = settled(&mut exposed, &binds, &look_up, missing) => found, () = tell => panic!("no end") };
        assert_eq!((found, asked.get()), (vec![vec![addr("192.0.2.7:5060")]], 4));
        assert_eq!(*said.borrow(), [(vec![], false), (named.hosts, true)]);
    }

    #[test]
    fn half_of_the_edges_stay_while_the_others_start_again() {
        let members = ["a", "b", "c"].map(|name| Member { name: name.to_owned(), addr: addr("192.0.2.1:5070") });
        let round = Duration::from_secs(40);
        assert_eq!(
            ["a", "b", "c", "unknown"].map(|name| turn(&members, name, round)),
            [Duration::ZERO, round, Duration::ZERO, Duration::ZERO]
        );
    }
}
