//! Edges and operators over real sockets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use redial_coordinator::app::{App, Config, GRACE, PolicySource};
use redial_coordinator::store::MemoryStore;
use redial_coordinator::{Coordinator, Setup};
use redial_core::link::*;
use redial_core::{Aor, Binding, BindingId, EdgeId, Flow, Pair, UnixMillis};
use redial_proto::convert;
use redial_proto::v1;
use redial_proto::v1::link_client::LinkClient;
use redial_proto::v1::operator_client::OperatorClient;
use redial_runtime::admin::Readiness;
use redial_runtime::telemetry::Metrics;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

struct Served {
    url: String,
    coordinator: Coordinator<MemoryStore>,
    readiness: Readiness,
    stop: CancellationToken,
    running: JoinHandle<std::io::Result<()>>,
}

fn serve() -> Served {
    serve_by(PolicySource::BuiltIn, Duration::ZERO)
}

fn serve_by(policy: PolicySource, drain_delay: Duration) -> Served {
    let config = Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        policy,
        credentials: None,
        settle: Some(Duration::ZERO),
        setup: Setup::default(),
        drain_delay,
        grace: GRACE,
    };
    let readiness = Readiness::default();
    let app: App<MemoryStore> = config.build(Arc::new(MemoryStore::new()), None, &Metrics::new().unwrap(), &readiness).unwrap();
    let (url, coordinator, stop) = (format!("http://{}", app.local_addr()), app.coordinator().clone(), CancellationToken::new());
    let running = tokio::spawn(app.run(stop.clone()));
    Served { url, coordinator, readiness, stop, running }
}

struct Edge {
    frames: mpsc::Sender<v1::EdgeFrame>,
    answers: Streaming<v1::CoordinatorFrame>,
    ids: u64,
}

impl Edge {
    async fn attach(url: &str, name: &str) -> Self {
        let (frames, sent) = mpsc::channel(16);
        frames.send(convert::hello(&EdgeId::new(name), "test")).await.unwrap();
        let mut client = LinkClient::connect(url.to_owned()).await.unwrap();
        let answers = client.attach(ReceiverStream::new(sent)).await.unwrap().into_inner();
        let mut edge = Self { frames, answers, ids: 0 };
        let first = edge.next().await.unwrap();
        assert!(first.policies.is_some(), "the policies come first");
        edge
    }

    async fn next(&mut self) -> Result<Downlink, Status> {
        let frame = tokio::time::timeout(PATIENCE, self.answers.message()).await.expect("a frame in time")?;
        Ok(convert::downlink(frame.ok_or_else(|| Status::cancelled("stream ended"))?, |error| panic!("{error}")))
    }

    async fn ask(&mut self, event: Event) -> Reply {
        self.ids += 1;
        let request = Request { id: self.ids, timeout: PATIENCE, event, trace: None };
        self.frames.send(convert::batch(vec![request])).await.unwrap();
        let mut downlink = self.next().await.unwrap();
        assert_eq!(downlink.replies.len(), 1, "{downlink:?}");
        let (id, reply) = downlink.replies.remove(0);
        assert_eq!(id, self.ids);
        reply
    }

    async fn register(&mut self, user: &str, edge: &str) -> Reply {
        let binding = Binding {
            id: BindingId(format!("sip:{user}@phone")),
            uri: format!("sip:{user}@phone"),
            params: String::new(),
            q: 1000,
            expires_at: UnixMillis(u64::MAX / 4),
            call_id: user.into(),
            cseq: 1,
            path: vec![],
            edge: EdgeId::new(edge),
            flow: Flow::new(user),
            user_agent: String::new(),
            probed: false,
        };
        let change = BindingChange::Each(vec![ContactChange::Put(binding)]);
        self.ask(Event::Register(Register { aor: aor(user), call_id: user.into(), cseq: 1, change })).await
    }

    async fn invite(&mut self, caller: &str, callee: &str) -> Routed {
        let route = Route {
            callee: aor(callee),
            caller: Some(aor(caller)),
            authenticated: true,
            flow: Flow::new(caller),
            edge: EdgeId::new("e1"),
            period: RequestedPeriod::Absent,
            stage: RouteStage::Lookup,
        };
        match self.ask(Event::Route(route)).await {
            Reply::Routed(routed) => routed,
            other => panic!("{other:?}"),
        }
    }
}

fn aor(user: &str) -> Aor {
    Aor::new(format!("{user}@example.com"))
}

fn pair(caller: &str, callee: &str) -> Pair {
    Pair { callee: aor(callee), caller: aor(caller) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_story_between_two_edges() {
    let served = serve();
    let mut e1 = Edge::attach(&served.url, "e1").await;
    let mut e2 = Edge::attach(&served.url, "e2").await;
    e1.register("alice", "e1").await;
    assert!(matches!(e1.invite("alice", "bob").await, Routed::Offline(Offline::Granted { .. })));

    let mut operator = OperatorClient::connect(served.url.clone()).await.unwrap();
    let listed = operator.list_watches(v1::ListWatchesRequest::default()).await.unwrap().into_inner();
    assert_eq!((listed.watches.len(), listed.truncated), (1, false));

    e2.register("bob", "e2").await;
    let orders = e1.next().await.unwrap().orders;
    let [Order::Recall(order)] = &orders[..] else { panic!("{orders:?}") };
    assert_eq!((order.pair.clone(), order.rung), (pair("alice", "bob"), 1));
    let accepted = RecallReport { pair: order.pair.clone(), fence: order.fence, rung: 1, result: RecallResult::Accepted };
    assert_eq!(e1.ask(Event::RecallReport(accepted)).await, Reply::Noted);
    let Routed::Online { targets, report } = e1.invite("alice", "bob").await else { panic!("bob is there") };
    assert_eq!((targets[0].edge.as_str(), report.len()), ("e2", 1));
    let answered = CallReport { pair: report[0].pair.clone(), fence: report[0].fence, result: CallResult::Established };
    assert_eq!(e1.ask(Event::CallReport(answered)).await, Reply::Noted);
    let missing = operator.show_watch(v1::ShowWatchRequest { pair: Some(pair("alice", "bob").into()) }).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);

    let status = operator.status(v1::StatusRequest {}).await.unwrap().into_inner();
    let names: Vec<_> = status.edges.iter().map(|e| e.edge.as_str()).collect();
    assert_eq!((names, status.store.as_str(), status.store_healthy), (vec!["e1", "e2"], "memory", true));
    served.stop.cancel();
}

#[tokio::test]
async fn an_operator_finds_shows_and_cancels() {
    let served = serve();
    let mut edge = Edge::attach(&served.url, "e1").await;
    edge.register("alice", "e1").await;
    edge.register("carol", "e1").await;
    for (caller, callee) in [("alice", "bob"), ("carol", "bob"), ("alice", "dave")] {
        edge.invite(caller, callee).await;
    }
    let mut operator = OperatorClient::connect(served.url.clone()).await.unwrap();
    let all = v1::ListWatchesRequest::default();
    for (asked, found, truncated) in [
        (all.clone(), 3, false),
        (v1::ListWatchesRequest { limit: 2, ..all.clone() }, 2, true),
        (v1::ListWatchesRequest { caller: aor("alice").to_string(), ..all.clone() }, 2, false),
        (v1::ListWatchesRequest { callee: aor("bob").to_string(), ..all.clone() }, 2, false),
        (v1::ListWatchesRequest { domain: "Example.COM".into(), ..all.clone() }, 3, false),
        (v1::ListWatchesRequest { domain: "elsewhere.org".into(), ..all.clone() }, 0, false),
    ] {
        let listed = operator.list_watches(asked.clone()).await.unwrap().into_inner();
        assert_eq!((listed.watches.len(), listed.truncated), (found, truncated), "{asked:?}");
    }
    let named = Some(v1::Pair::from(pair("alice", "bob")));
    assert!(operator.show_watch(v1::ShowWatchRequest { pair: named.clone() }).await.unwrap().into_inner().record.is_some());
    for cancelled in [true, false] {
        let answer = operator.cancel_watch(v1::CancelWatchRequest { pair: named.clone() }).await.unwrap().into_inner();
        assert_eq!(answer.cancelled, cancelled);
    }
    let bound = operator.list_bindings(v1::ListBindingsRequest { aor: aor("alice").to_string() }).await.unwrap().into_inner();
    assert_eq!(bound.bindings.len(), 1);
    assert_eq!(operator.show_watch(v1::ShowWatchRequest { pair: None }).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_newer_stream_of_an_edge_replaces_the_older() {
    let served = serve();
    let mut older = Edge::attach(&served.url, "e1").await;
    let mut newer = Edge::attach(&served.url, "e1").await;
    assert_eq!(older.next().await.unwrap_err().code(), Code::Aborted);
    assert!(matches!(newer.register("alice", "e1").await, Reply::Registered(Registered::Bindings(_))));
    drop(older);
    assert!(matches!(newer.register("carol", "e1").await, Reply::Registered(Registered::Bindings(_))));
    assert_eq!(served.coordinator.hub().len(), 1);
}

#[tokio::test]
async fn an_edge_that_does_not_say_who_it_is_is_refused() {
    let served = serve();
    let mut client = LinkClient::connect(served.url.clone()).await.unwrap();
    for first in [convert::batch(vec![]), convert::hello(&EdgeId::new(""), "test")] {
        let refused = client.attach(tokio_stream::iter([first])).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn an_edge_that_hangs_up_is_detached() {
    let served = serve();
    let edge = Edge::attach(&served.url, "e1").await;
    assert_eq!(served.coordinator.hub().len(), 1);
    drop(edge);
    let gone = async {
        while !served.coordinator.hub().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("detached in time");
}

#[tokio::test]
async fn a_coordinator_that_stops_says_so_and_ends() {
    let served = serve();
    let mut edge = Edge::attach(&served.url, "e1").await;
    assert!(served.readiness.missing().is_empty() || served.readiness.missing() == ["store"]);
    served.stop.cancel();
    assert_eq!(edge.next().await.unwrap_err().code(), Code::Unavailable);
    drop(edge);
    let ended = tokio::time::timeout(PATIENCE, served.running).await.expect("ends in time").unwrap();
    assert!(ended.is_ok());
    assert!(served.readiness.missing().contains(&"serving"));
}

/// Edges may ask all through the delay, so they are told what changes in it.
#[tokio::test]
async fn policies_are_followed_until_the_drain() {
    let file = std::env::temp_dir().join(format!("redial-link-{}.toml", std::process::id()));
    std::fs::write(&file, "maxWatches = 5\n").unwrap();
    let served = serve_by(PolicySource::File(file.clone()), PATIENCE);
    let mut edge = Edge::attach(&served.url, "e1").await;
    served.stop.cancel();
    tokio::time::timeout(PATIENCE, async {
        while !served.readiness.missing().contains(&"serving") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("no longer ready");
    std::fs::write(&file, "maxWatches = 77\n").unwrap();
    assert_eq!(edge.next().await.unwrap().policies.unwrap().max_watches, 77);
    served.running.abort();
    std::fs::remove_file(&file).unwrap();
}
