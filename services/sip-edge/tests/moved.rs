//! The address of the Service, as an API server tells it, goes to phones; when it is another one the process ends well, to be started again.
//! The server is a script: what it says is what a real one says to a list and a watch.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::RawQuery;
use axum::routing::get;
use futures_util::stream;
use tokio::sync::mpsc;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn service(addresses: &[&str]) -> String {
    let key = |address: &str| if address.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "hostname" };
    let ingress: Vec<_> = addresses.iter().map(|address| format!(r#"{{"{}":"{address}"}}"#, key(address))).collect();
    format!(
        r#"{{"apiVersion":"v1","kind":"Service","metadata":{{"name":"edge","namespace":"tel","resourceVersion":"7"}},"spec":{{"ports":[]}},"status":{{"loadBalancer":{{"ingress":[{}]}}}}}}"#,
        ingress.join(",")
    )
}

/// Serves one Service that the test changes. Returns a KUBECONFIG.
async fn api_server(addresses: &[&str]) -> (String, mpsc::UnboundedSender<String>) {
    let list =
        format!(r#"{{"apiVersion":"v1","kind":"ServiceList","metadata":{{"resourceVersion":"7"}},"items":[{}]}}"#, service(addresses));
    let (says, told) = mpsc::unbounded_channel::<String>();
    let told = std::sync::Arc::new(tokio::sync::Mutex::new(told));
    let answer = move |RawQuery(query): RawQuery| async move {
        let query = query.unwrap_or_default();
        assert!(query.contains("metadata.name%3Dedge"), "{query}");
        if !query.contains("watch=true") {
            return Body::from(list);
        }
        Body::from_stream(stream::unfold(told, |told| async move {
            let event = told.lock().await.recv().await?;
            Some((Ok::<_, std::io::Error>(event), told))
        }))
    };
    let router = Router::new().route("/api/v1/namespaces/tel/services", get(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        r#"{{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{{"name":"c","cluster":{{"server":"http://{}"}}}}],
            "contexts":[{{"name":"c","context":{{"cluster":"c","user":"u","namespace":"tel"}}}}],"users":[{{"name":"u","user":{{}}}}]}}"#,
        listener.local_addr().unwrap()
    );
    tokio::spawn(async move { axum::serve(listener, router).await });
    (config, says)
}

/// Killed when dropped.
struct Edge {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Edge {
    fn start(test: &str, kubeconfig: &str) -> Self {
        let file = std::env::temp_dir().join(format!("sip-edge-{test}-{}", std::process::id()));
        std::fs::write(&file, kubeconfig).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sip-edge"));
        command.args(["--listen=udp:127.0.0.1:0", "--domain=example.com", "--admin=127.0.0.1:0", "--advertise-service=edge"]);
        let mut child = command.env("KUBECONFIG", &file).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::unbounded_channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] = [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        }
        Self { child, lines }
    }

    async fn says(&mut self, words: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match tokio::time::timeout(PATIENCE, self.lines.recv()).await {
                Ok(Some(line)) if line.contains(words) => return line,
                Ok(Some(line)) => seen.push(line),
                ended => panic!("{words:?} not said ({ended:?}): {seen:#?}"),
            }
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_whose_address_is_gone_drains_and_ends_well() {
    let (kubeconfig, says) = api_server(&["192.0.2.7"]).await;
    let modified = |addresses: &[&str]| says.send(format!("{{\"type\":\"MODIFIED\",\"object\":{}}}\n", service(addresses))).unwrap();
    let mut edge = Edge::start("moved", &kubeconfig);
    assert!(edge.says(" listening ").await.contains("192.0.2.7"));

    // None for a while, and then another one beside it: phones still reach what they were told.
    modified(&[]);
    edge.says("no address at present").await;
    modified(&["192.0.2.8", "192.0.2.7"]);
    modified(&[]);
    edge.says("no address at present").await;
    modified(&["192.0.2.8"]);
    let line = edge.says("the address of the service has changed").await;
    assert!(line.contains("192.0.2.8"), "{line}");
    edge.says("drained").await;
    let status = edge.child.wait().unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_goes_on_looking_for_a_name_that_is_not_known_yet() {
    let (kubeconfig, says) = api_server(&["no such host"]).await;
    let mut edge = Edge::start("named", &kubeconfig);
    let line = edge.says("looking it up again").await;
    assert!(line.contains("no such host: "), "{line}");
    // As if it became known.
    says.send(format!("{{\"type\":\"MODIFIED\",\"object\":{}}}\n", service(&["localhost"]))).unwrap();
    assert!(edge.says(" listening ").await.contains("127.0.0.1"));
}
