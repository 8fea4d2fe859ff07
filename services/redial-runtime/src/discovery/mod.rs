//! Who else there is: the replicas of a service, by name and address, as they come and go.

mod exposed;
mod kubernetes;
mod slices;

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::watch;

pub use exposed::{Exposed, Protocol, ServiceName};
pub use kubernetes::{Kubernetes, NoKubernetes, chain};
pub use slices::{Which, members_of};

/// One replica. In Kubernetes the name is the pod's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    pub name: String,
    pub addr: SocketAddr,
}

/// The replicas at present, sorted by name. Changes wake whoever waits; the sender's end is kept by whoever finds them.
pub type Members = watch::Receiver<Arc<[Member]>>;

/// Members of a service that is being followed.
#[derive(Clone, Debug)]
pub struct Found {
    /// Empty until they are known for the first time; the last known ones while the API server is away.
    pub members: Members,
    /// False until `members` are known, and while they may be out of date.
    pub known: watch::Receiver<bool>,
}

/// A Kubernetes Service as an operator writes it: `[NAMESPACE/]NAME:PORT`, with the port that its pods listen on. Without a namespace it
/// is the pod's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRef {
    pub namespace: Option<String>,
    pub name: String,
    pub port: u16,
}

impl FromStr for ServiceRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no service such as redial/coordinator:7070");
        let (path, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let (namespace, name) = split(path);
        if !is_label(name) || !namespace.is_none_or(is_label) {
            return Err(bad());
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        Ok(Self { namespace: namespace.map(str::to_owned), name: name.to_owned(), port })
    }
}

fn split(path: &str) -> (Option<&str>, &str) {
    path.split_once('/').map_or((None, path), |(namespace, name)| (Some(namespace), name))
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether this process has an address of its own in the pods' network, which nobody outside of the cluster reaches: the kubelet writes
/// `/etc/hosts` of a pod, and says so otherwise where the pod uses the network of its node.
#[must_use]
pub fn in_pod_network() -> bool {
    std::fs::read_to_string("/etc/hosts").is_ok_and(|hosts| hosts.starts_with("# Kubernetes-managed hosts file.\n"))
}

/// Replicas that never change.
#[must_use]
pub fn fixed(mut members: Vec<Member>) -> Members {
    members.sort();
    watch::channel(members.into()).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_read_with_and_without_its_namespace() {
        let service =
            |namespace: Option<&str>, name: &str| ServiceRef { namespace: namespace.map(Into::into), name: name.into(), port: 7070 };
        assert_eq!("coordinator:7070".parse(), Ok(service(None, "coordinator")));
        assert_eq!("redial/coordinator:7070".parse(), Ok(service(Some("redial"), "coordinator")));
        for bad in ["", "coordinator", "coordinator:", "coordinator:0", "/coordinator:1", "a/b/c:1", "Big:1", "x:70700"] {
            assert!(bad.parse::<ServiceRef>().is_err(), "{bad}");
        }
    }
}
