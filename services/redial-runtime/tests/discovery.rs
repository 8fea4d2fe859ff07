//! Members of a service as an API server tells them, goes away with them, and comes back. The server is a script: what it says is what a
//! real one says to a list and a watch, and it can be taken away at any moment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery};
use axum::routing::get;
use futures_util::stream;
use redial_runtime::discovery::{Found, Kubernetes, ServiceRef, Which};
use redial_runtime::telemetry::Metrics;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(20);

/// An API server with one list and one watch that the test talks through. Dropping it cuts every connection.
struct Server {
    addr: SocketAddr,
    says: mpsc::UnboundedSender<String>,
    runtime: Option<tokio::runtime::Runtime>,
}

fn slice(pods: &[(&str, &str)]) -> String {
    let endpoint = |(pod, ip): &(&str, &str)| {
        format!(r#"{{"addresses":["{ip}"],"conditions":{{"ready":true}},"targetRef":{{"kind":"Pod","name":"{pod}"}}}}"#)
    };
    let endpoints: Vec<_> = pods.iter().map(endpoint).collect();
    format!(
        r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4","metadata":{{"name":"s-1","resourceVersion":"7"}},"endpoints":[{}],"ports":[]}}"#,
        endpoints.join(",")
    )
}

impl Server {
    fn start(addr: &str, pods: &[(&str, &str)]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let list = format!(
            r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSliceList","metadata":{{"resourceVersion":"7"}},"items":[{}]}}"#,
            slice(pods)
        );
        let (says, told) = mpsc::unbounded_channel::<String>();
        let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
        let answer = move |Path(namespace): Path<String>, RawQuery(query): RawQuery| async move {
            let query = query.unwrap_or_default();
            assert!(namespace == "tel" && query.contains("service-name%3Dcoordinator"), "{namespace} {query}");
            if !query.contains("watch=true") {
                return Body::from(list);
            }
            let events = stream::unfold(told, |told| async move {
                let event = told.lock().await.recv().await?;
                Some((Ok::<_, std::io::Error>(event), told))
            });
            Body::from_stream(events)
        };
        let router = Router::new().route("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", get(answer));
        runtime.spawn(async move { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await });
        Self { addr, says, runtime: Some(runtime) }
    }

    fn modified(&self, pods: &[(&str, &str)]) {
        self.says.send(format!("{{\"type\":\"MODIFIED\",\"object\":{}}}\n", slice(pods))).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn members(found: &mut Found, expected: &[&str]) {
    let names =
        |members: &[redial_runtime::discovery::Member]| members.iter().map(|m| format!("{}={}", m.name, m.addr)).collect::<Vec<_>>();
    let seen = tokio::time::timeout(PATIENCE, found.members.wait_for(|members| names(members) == expected)).await.is_ok();
    assert!(seen, "{expected:?}, not {:?}", found.members.borrow());
}

async fn known(found: &mut Found, expected: bool) {
    tokio::time::timeout(PATIENCE, found.known.wait_for(|known| *known == expected)).await.expect("in time").unwrap();
}

#[tokio::test]
async fn members_are_followed_kept_through_an_outage_and_followed_again() {
    let server = Server::start("127.0.0.1:0", &[("c-2", "10.0.0.2"), ("c-1", "10.0.0.1")]);
    let (addr, metrics) = (server.addr, Metrics::new().unwrap());
    let client = kube::Client::try_from(kube::Config::new(format!("http://{addr}").parse().unwrap())).unwrap();
    let service: ServiceRef = "tel/coordinator:7070".parse().unwrap();
    let stale = |value: u32| {
        let line = format!("redial_discovery_stale{{service=\"tel/coordinator\"}} {value}");
        assert!(metrics.render().unwrap().contains(&line), "{line} in {}", metrics.render().unwrap());
    };
    let mut found = Kubernetes::from(client).members(&service, Which::Ready, &metrics.meter("test"));
    assert!(found.members.borrow().is_empty() && !*found.known.borrow());
    known(&mut found, true).await;
    members(&mut found, &["c-1=10.0.0.1:7070", "c-2=10.0.0.2:7070"]).await;
    stale(0);

    server.modified(&[("c-2", "10.0.0.2"), ("c-3", "10.0.0.3")]);
    members(&mut found, &["c-2=10.0.0.2:7070", "c-3=10.0.0.3:7070"]).await;

    drop(server);
    known(&mut found, false).await;
    stale(1);
    assert_eq!(found.members.borrow().len(), 2, "the last known ones stay");

    let _again = Server::start(&addr.to_string(), &[("c-3", "10.0.0.3")]);
    known(&mut found, true).await;
    members(&mut found, &["c-3=10.0.0.3:7070"]).await;
    stale(0);
}
