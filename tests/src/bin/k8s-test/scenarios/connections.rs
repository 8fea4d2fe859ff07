//! Phones by TLS and TCP through a node's ports. Each connection ends at some edge, and is the only way to its phone.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redial_tests::authority::Authority;
use redial_tests::softphone::{By, SoftPhone};
use redial_tests::{Metrics, until};

use crate::load::{self, Connections, Outside};
use crate::release::{CLUSTERED, TLS_PORT};

const STORIES: usize = 24;
/// From a Secret to the edges' files, and a little more: a kubelet looks every minute or so, and when a pod is changed.
const PROJECTED: Duration = Duration::from_secs(120);

pub fn connections() -> Result<String> {
    let release = &CLUSTERED;
    let edges = release.pods("edge")?;
    let authority = renew(&edges)?;
    let tcp = release.address()?;
    let tls = SocketAddr::new(tcp.ip(), TLS_PORT);
    // Nobody but the new authority is trusted, and so no connection is made by the old certificate.
    let outside = Outside { connections: Some(Connections { tls, tcp, ca: authority.ca() }), ..Outside::facing(tcp)? };

    let passed = |metrics: &Metrics| metrics.sum("sip_edge_peer_passed_total", &[]);
    let accepted = |metrics: &Metrics| metrics.sum("sip_connections_accepted_total", &[]);
    let before = metrics(&edges)?;
    let report = load::during(&outside, "connections", STORIES, || Ok(()))?.report()?;
    let after = metrics(&edges)?;
    let more = |count: &dyn Fn(&Metrics) -> f64| before.iter().zip(&after).map(|(b, a)| (count(a) - count(b)) as u64).collect::<Vec<_>>();
    let (accepted, passed) = (more(&accepted), more(&passed));
    // Phones of one address are all at one edge.
    let spread = outside.addresses.len() > 1;
    ensure!(
        !spread || accepted.iter().chain(&passed).all(|count| *count > 0),
        "connections of each edge {accepted:?}, passed on {passed:?}"
    );

    baresip_answers(&outside, tcp)?;
    release.ensure_no_watch_is_left()?;
    ensure!(release.pods("edge")? == edges, "an edge was replaced");
    Ok(format!(
        "the edges took the renewed certificate as they ran; {report}; connections of each {accepted:?}, passed to the other {passed:?}"
    ))
}

/// Replaces the certificate's Secret and waits until every edge offers the new one.
fn renew(edges: &[String]) -> Result<Authority> {
    let expiry = |metrics: &Metrics| metrics.sum("sip_tls_certificate_expiry_seconds", &[]);
    let before: Vec<_> = metrics(edges)?.iter().map(expiry).collect();
    let authority = CLUSTERED.certify("renewed")?;
    for edge in edges {
        // A change of the pod itself has the kubelet look at once.
        CLUSTERED.namespace.kubectl(&["annotate", "pod", edge, &format!("test/renewed={}", std::process::id()), "--overwrite"])?;
    }
    until("the renewed certificate", PROJECTED, || {
        let now: Vec<_> = metrics(edges)?.iter().map(expiry).collect();
        Ok(now.iter().zip(&before).all(|(now, before)| now != before).then_some(()))
    })?;
    Ok(authority)
}

/// The callee is somebody else's phone, by TCP.
fn baresip_answers(outside: &Outside, tcp: SocketAddr) -> Result<()> {
    let [caller, callee] = ["alice", "bob"].map(|who| format!("{who}{}", std::process::id()));
    let mut alice = outside.phone(&caller, 0)?;
    alice.register(600)?;
    alice.miss(&callee)?;
    let bob = SoftPhone::baresip_by(&callee, tcp, By::Tcp)?;
    let refer = alice.expect("REFER").with_context(|| bob.log())?;
    alice.take_recall(&refer).with_context(|| bob.log())?;
    alice.register(0)
}

fn metrics(edges: &[String]) -> Result<Vec<Metrics>> {
    edges.iter().map(|edge| CLUSTERED.metrics("edge", edge)).collect()
}
