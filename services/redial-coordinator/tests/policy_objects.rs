//! RedialPolicies as an API server tells them, and what two replicas answer it. The server is a script that does what a real one does to a
//! list, a watch, a status that is applied and a Lease that is replaced.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use futures_util::stream;
use redial_coordinator::controller::PolicyObjects;
use redial_coordinator::store::MemoryStore;
use redial_core::PolicySet;
use redial_runtime::discovery::Kubernetes;
use redial_runtime::telemetry::Metrics;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Cluster {
    objects: BTreeMap<String, Value>,
    /// What a watch tells; its length is the resource version.
    told: Vec<Value>,
    lease: Option<Value>,
    /// Statuses that were applied, by object.
    statuses: Vec<(String, Value)>,
    events: Vec<Value>,
}

#[derive(Clone)]
struct Api {
    cluster: Arc<Mutex<Cluster>>,
    changed: watch::Sender<usize>,
}

type Answer = (StatusCode, Json<Value>);

impl Api {
    fn put(&self, name: &str, generation: i64, spec: &Value) {
        let mut cluster = self.cluster.lock().unwrap();
        let known = cluster.objects.get(name).cloned();
        let object = json!({
            "apiVersion": "redial.dev/v1alpha1", "kind": "RedialPolicy", "spec": spec,
            "metadata": { "name": name, "namespace": "tel", "uid": format!("uid-{name}"), "generation": generation },
            "status": known.as_ref().map(|known| known["status"].clone()),
        });
        self.tell(&mut cluster, name, object, if known.is_some() { "MODIFIED" } else { "ADDED" });
    }

    fn tell(&self, cluster: &mut Cluster, name: &str, mut object: Value, kind: &str) {
        object["metadata"]["resourceVersion"] = json!((cluster.told.len() + 1).to_string());
        cluster.objects.insert(name.to_owned(), object.clone());
        cluster.told.push(json!({ "type": kind, "object": object }));
        self.changed.send_replace(cluster.told.len());
    }

    async fn policies(State(api): State<Self>, RawQuery(query): RawQuery) -> Body {
        let query = query.unwrap_or_default();
        let known = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")).and_then(|n| n.parse::<usize>().ok());
        if !query.contains("watch=true") {
            let cluster = api.cluster.lock().unwrap();
            let items: Vec<&Value> = cluster.objects.values().collect();
            let metadata = json!({ "resourceVersion": cluster.told.len().to_string() });
            let list = json!({ "apiVersion": "redial.dev/v1alpha1", "kind": "RedialPolicyList", "metadata": metadata, "items": items });
            return Body::from(list.to_string());
        }
        let events = stream::unfold((api.clone(), known.unwrap_or(0)), |(api, next)| async move {
            api.changed.subscribe().wait_for(|n| *n > next).await.ok()?;
            let event = api.cluster.lock().unwrap().told[next].to_string() + "\n";
            Some((Ok::<_, std::io::Error>(event), (api, next + 1)))
        });
        Body::from_stream(events)
    }

    async fn status(State(api): State<Self>, Path(name): Path<String>, RawQuery(query): RawQuery, body: String) -> Answer {
        let query = query.unwrap_or_default();
        assert!(query.contains("fieldManager=redial-coordinator") && query.contains("force=true"), "{query}");
        let mut applied: Value = serde_json::from_str(&body).unwrap();
        let mut cluster = api.cluster.lock().unwrap();
        let Some(mut object) = cluster.objects.get(&name).cloned() else { return refused(StatusCode::NOT_FOUND, "NotFound") };
        object["status"] = applied["status"].take();
        cluster.statuses.push((name.clone(), object["status"].clone()));
        api.tell(&mut cluster, &name, object.clone(), "MODIFIED");
        (StatusCode::OK, Json(object))
    }

    async fn lease(State(api): State<Self>) -> Answer {
        match api.cluster.lock().unwrap().lease.clone() {
            Some(lease) => (StatusCode::OK, Json(lease)),
            None => refused(StatusCode::NOT_FOUND, "NotFound"),
        }
    }

    async fn create_lease(State(api): State<Self>, Json(mut lease): Json<Value>) -> Answer {
        let mut cluster = api.cluster.lock().unwrap();
        if cluster.lease.is_some() {
            return refused(StatusCode::CONFLICT, "AlreadyExists");
        }
        lease["metadata"]["resourceVersion"] = json!("1");
        cluster.lease = Some(lease.clone());
        (StatusCode::CREATED, Json(lease))
    }

    async fn replace_lease(State(api): State<Self>, Json(mut lease): Json<Value>) -> Answer {
        let mut cluster = api.cluster.lock().unwrap();
        let version = cluster.lease.as_ref().unwrap()["metadata"]["resourceVersion"].clone();
        if lease["metadata"]["resourceVersion"] != version {
            return refused(StatusCode::CONFLICT, "Conflict");
        }
        let next = version.as_str().unwrap().parse::<u32>().unwrap() + 1;
        lease["metadata"]["resourceVersion"] = json!(next.to_string());
        cluster.lease = Some(lease.clone());
        (StatusCode::OK, Json(lease))
    }

    async fn event(State(api): State<Self>, Json(event): Json<Value>) -> Answer {
        api.cluster.lock().unwrap().events.push(event.clone());
        (StatusCode::CREATED, Json(event))
    }
}

fn refused(code: StatusCode, reason: &str) -> Answer {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "message": reason, "reason": reason, "code": code.as_u16(),
    });
    (code, Json(status))
}

/// Dropping it cuts every connection.
struct Server {
    api: Api,
    addr: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    fn start(addr: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let api = Api { cluster: Arc::default(), changed: watch::Sender::new(0) };
        let leases = "/apis/coordination.k8s.io/v1/namespaces/tel/leases";
        let router = Router::new()
            .route("/apis/redial.dev/v1alpha1/namespaces/tel/redialpolicies", get(Api::policies))
            .route("/apis/redial.dev/v1alpha1/namespaces/tel/redialpolicies/{name}/status", patch(Api::status))
            .route("/apis/events.k8s.io/v1/namespaces/tel/events", post(Api::event))
            .route(leases, post(Api::create_lease))
            .route(&format!("{leases}/redial-policy-status"), get(Api::lease).put(Api::replace_lease))
            .with_state(api.clone());
        runtime.spawn(async move { axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router).await });
        Self { api, addr, runtime: Some(runtime) }
    }

    /// Waits until the cluster is as `is` wants it.
    async fn until(&self, what: &str, is: impl Fn(&Cluster) -> bool) {
        let mut changed = self.api.changed.subscribe();
        let seen = async {
            while !is(&self.api.cluster.lock().unwrap()) {
                // Events and leases are not told of.
                _ = tokio::time::timeout(Duration::from_millis(50), changed.changed()).await;
            }
        };
        let cluster = &self.api.cluster;
        tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("{what}: {:?}", cluster.lock().unwrap().statuses));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Replica {
    policies: watch::Receiver<Arc<PolicySet>>,
    metrics: Metrics,
    stop: CancellationToken,
    following: JoinHandle<()>,
}

impl Replica {
    fn start(name: &str, addr: SocketAddr) -> Self {
        let client = kube::Client::try_from(kube::Config::new(format!("http://{addr}").parse().unwrap())).unwrap();
        let (metrics, stop) = (Metrics::new().unwrap(), CancellationToken::new());
        let (objects, policies) = PolicyObjects::new(Kubernetes::from(client), "tel".into(), name.into(), metrics.meter("test"));
        let following = tokio::spawn(objects.follow(Arc::new(MemoryStore::new()), stop.clone().cancelled_owned()));
        Self { policies, metrics, stop, following }
    }

    async fn has(&mut self, what: &str, is: impl Fn(&PolicySet) -> bool) {
        let seen = tokio::time::timeout(PATIENCE, self.policies.wait_for(|set| is(set))).await.is_ok();
        assert!(seen, "{what}: {:?}", self.policies.borrow());
    }

    async fn is_stale(&self, value: u32) {
        // Not the line that says what it is.
        let line = format!("\nredial_policies_stale {value}\n");
        let seen = async {
            while !self.metrics.render().unwrap().contains(&line) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("{line} in {}", self.metrics.render().unwrap()));
    }
}

fn settles(set: &PolicySet, seconds: u64) -> bool {
    set.default.settle == Duration::from_secs(seconds)
}

#[tokio::test]
async fn replicas_follow_the_objects_and_one_of_them_answers() {
    let server = Server::start("127.0.0.1:0");
    let selected = |attempts: u32| json!({ "selector": { "user": "sales-*" }, "maxAttempts": attempts });
    server.api.put("default", 1, &json!({ "settle": "3s" }));
    server.api.put("sales", 1, &selected(1));
    server.api.put("twin", 1, &selected(7));
    server.api.put("wrong", 1, &json!({ "selector": { "user": "x" }, "nonsense": 1, "settle": "soon" }));
    let mut replicas = ["a", "b"].map(|name| Replica::start(name, server.addr));
    for replica in &mut replicas {
        replica.has("the first list", |set| settles(set, 3) && set.rules.len() == 1 && set.rules[0].policy.max_attempts == 1).await;
    }

    // One answer and one event for each object, all from one replica.
    server.until("every object has its status", |cluster| cluster.statuses.len() == 4 && cluster.events.len() == 4).await;
    {
        let cluster = server.api.cluster.lock().unwrap();
        let accepted = |name: &str| {
            let (_, status) = cluster.statuses.iter().find(|(of, _)| of == name).unwrap();
            (
                status["conditions"][0]["reason"].clone(),
                status["conditions"][1]["status"].clone(),
                status["inForce"]["spec"]["settle"].clone(),
            )
        };
        assert_eq!(accepted("default"), (json!("Accepted"), json!("True"), json!("3s")));
        assert_eq!(accepted("sales"), (json!("Accepted"), json!("True"), json!("3s")));
        assert_eq!(accepted("twin"), (json!("Conflict"), json!("False"), Value::Null));
        assert_eq!(accepted("wrong"), (json!("InvalidSpec"), json!("False"), Value::Null));
        let wrong = cluster.events.iter().find(|event| event["regarding"]["name"] == "wrong").unwrap();
        assert!(["nonsense", "settle"].iter().all(|key| wrong["note"].as_str().unwrap().contains(key)), "{wrong}");
        let first = &cluster.events[0]["reportingInstance"];
        assert!(cluster.events.iter().all(|event| event["reportingInstance"] == *first), "{:?}", cluster.events);
    }

    // What is wrong now leaves what it was; what is right counts.
    server.api.put("default", 2, &json!({ "settle": "soon" }));
    server.api.put("sales", 2, &selected(2));
    for replica in &mut replicas {
        replica.has("a change", |set| set.rules.len() == 1 && set.rules[0].policy.max_attempts == 2).await;
        assert!(settles(&replica.policies.borrow(), 3));
    }

    // Without the API server the policies stay; another one, with other objects, is followed by itself.
    let addr = server.addr;
    drop(server);
    for replica in &replicas {
        replica.is_stale(1).await;
        assert!(settles(&replica.policies.borrow(), 3));
    }
    let server = Server::start(&addr.to_string());
    server.api.put("default", 1, &json!({ "settle": "4s" }));
    for replica in &mut replicas {
        replica.has("the list after the outage", |set| settles(set, 4) && set.rules.is_empty()).await;
        replica.is_stale(0).await;
    }

    // Whoever stops gives the lead back.
    server.until("somebody leads again", |cluster| cluster.lease.is_some()).await;
    for replica in replicas {
        replica.stop.cancel();
        tokio::time::timeout(PATIENCE, replica.following).await.unwrap().unwrap();
    }
    let holder = |cluster: &Cluster| cluster.lease.as_ref().map(|lease| lease["spec"]["holderIdentity"].clone());
    server.until("nobody holds the lease", |cluster| holder(cluster) == Some(json!(""))).await;
}
