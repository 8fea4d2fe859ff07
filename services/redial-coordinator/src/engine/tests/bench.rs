//! What a story needs: phones that register and call, edges that take orders, a clock, and replicas that come and go.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redial_core::gateway::NotAttached;
use redial_core::link::*;
use redial_core::{Aor, Binding, BindingId, EdgeGateway, EdgeId, EndReason, Flow, Pair, Policy, PolicySet, UnixMillis, Watch, WatchStore};
use tokio::sync::watch;

use super::flaky::Flaky;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::timers::Timers;

/// Edges that take every order while they are attached.
#[derive(Clone, Debug, Default)]
pub struct Edges {
    pub orders: Arc<Mutex<Vec<(EdgeId, RecallOrder)>>>,
    pub probes: Arc<Mutex<Vec<ProbeOrder>>>,
    pub stops: Arc<Mutex<Vec<StopOrder>>>,
    pub detached: Arc<Mutex<BTreeSet<EdgeId>>>,
    /// Their queues are full.
    pub full: Arc<AtomicBool>,
}

impl EdgeGateway for Edges {
    fn order(&self, edge: &EdgeId, order: Order) -> Result<(), NotAttached> {
        if !self.is_attached(edge) || self.full.load(Relaxed) {
            return Err(NotAttached);
        }
        let order = match order {
            Order::Recall(order) => order,
            Order::Probe(probe) => {
                self.probes.lock().unwrap().push(probe);
                return Ok(());
            }
            Order::Stop(stop) => {
                self.stops.lock().unwrap().push(stop);
                return Ok(());
            }
        };
        self.orders.lock().unwrap().push((edge.clone(), order));
        Ok(())
    }

    fn is_attached(&self, edge: &EdgeId) -> bool {
        !self.detached.lock().unwrap().contains(edge)
    }
}

pub struct Bench {
    pub store: Arc<Flaky>,
    pub edges: Edges,
    pub engine: Engine<Flaky, Edges>,
    pub timers: Arc<Timers>,
    pub metrics: Arc<Metrics>,
    pub now: UnixMillis,
    policies: watch::Sender<Arc<PolicySet>>,
    ids: u64,
}

pub fn aor(user: &str) -> Aor {
    Aor::new(format!("{user}@example.com"))
}

pub fn pair(caller: &str, callee: &str) -> Pair {
    Pair { callee: aor(callee), caller: aor(caller) }
}

pub fn flow(user: &str) -> Flow {
    Flow::new(format!("udp/0/{user}"))
}

pub fn contact(user: &str, name: &str, q: u16, expires_at: UnixMillis) -> Binding {
    Binding {
        id: BindingId(format!("sip:{user}@{name}")),
        uri: format!("sip:{user}@{name}"),
        params: String::new(),
        q,
        expires_at,
        call_id: format!("{user}-{name}"),
        cseq: 1,
        path: Vec::new(),
        edge: EdgeId::new("e1"),
        flow: flow(user),
        user_agent: "test".into(),
        probed: false,
    }
}

impl Bench {
    pub fn new(change: impl FnOnce(&mut Policy)) -> Self {
        let mut set = PolicySet::default();
        // Most tests are about two rungs.
        set.default.ladder = vec![1, 2];
        change(&mut set.default);
        Self::with(set)
    }

    pub fn with(set: PolicySet) -> Self {
        let (policies, _) = watch::channel(Arc::new(set));
        let store = Arc::<Flaky>::default();
        let edges = Edges::default();
        let (engine, timers, metrics) = replica(&store, &edges, &policies);
        Self { store, edges, engine, timers, metrics, now: UnixMillis(1_000_000_000_000), policies, ids: 0 }
    }

    /// The replica dies with everything it had in mind; another one takes over the store. Its counters start at 0.
    pub fn crash(&mut self) {
        (self.engine, self.timers, self.metrics) = replica(&self.store, &self.edges, &self.policies);
    }

    /// The operator changes the policies.
    pub fn reload(&self, change: impl FnOnce(&mut Policy)) {
        self.policies.send_modify(|set| {
            let mut changed = PolicySet::clone(set);
            change(&mut changed.default);
            *set = Arc::new(changed);
        });
    }

    pub async fn send(&mut self, events: Vec<Event>) -> Vec<Reply> {
        let first = self.ids;
        let request = |event| {
            self.ids += 1;
            Request { id: self.ids, timeout: Duration::from_secs(3), event, trace: None }
        };
        let batch: Vec<Request> = events.into_iter().map(request).collect();
        let asked = batch.len();
        let mut replies = Vec::new();
        self.engine.handle_then(self.now, batch, |all| replies = all).await;
        replies.sort_by_key(|(id, _)| *id);
        let ids: Vec<u64> = replies.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, (first + 1..=first + asked as u64).collect::<Vec<_>>(), "one reply for each request");
        replies.into_iter().map(|(_, reply)| reply).collect()
    }

    pub async fn one(&mut self, event: Event) -> Reply {
        self.send(vec![event]).await.remove(0)
    }

    pub fn registration(&self, user: &str) -> Event {
        let mut binding = contact(user, "phone", 1000, self.now.after(Duration::from_secs(90_000)));
        binding.cseq = u32::try_from(self.now.0 % 1_000_000_000 / 1000).unwrap();
        Event::Register(Register {
            aor: aor(user),
            call_id: binding.call_id.clone(),
            cseq: binding.cseq,
            change: BindingChange::Each(vec![ContactChange::Put(binding)]),
        })
    }

    /// Registers and does what is due at once.
    pub async fn register(&mut self, user: &str) {
        let event = self.registration(user);
        let reply = self.one(event).await;
        assert!(matches!(&reply, Reply::Registered(Registered::Bindings(found)) if !found.is_empty()), "{reply:?}");
        self.advance(0).await;
    }

    pub async fn unregister(&mut self, user: &str) {
        let cseq = u32::try_from(self.now.0 % 1_000_000_000 / 1000).unwrap() + 1;
        let register = Register { aor: aor(user), call_id: format!("{user}-away"), cseq, change: BindingChange::RemoveAll };
        let reply = self.one(Event::Register(register)).await;
        assert_eq!(reply, Reply::Registered(Registered::Bindings(vec![])));
        self.advance(0).await;
    }

    pub fn invitation(caller: &str, callee: &str) -> Route {
        Route {
            callee: aor(callee),
            caller: Some(aor(caller)),
            authenticated: true,
            flow: flow(caller),
            edge: EdgeId::new("e1"),
            period: RequestedPeriod::Absent,
            stage: RouteStage::Lookup,
        }
    }

    pub async fn route(&mut self, route: Route) -> Routed {
        let reply = self.one(Event::Route(route)).await;
        self.advance(0).await;
        match reply {
            Reply::Routed(routed) => routed,
            other => panic!("{other:?}"),
        }
    }

    pub async fn invite(&mut self, caller: &str, callee: &str) -> Routed {
        self.route(Self::invitation(caller, callee)).await
    }

    /// An INVITE that must arm a watch or keep one.
    pub async fn miss(&mut self, caller: &str, callee: &str) {
        let routed = self.invite(caller, callee).await;
        assert!(matches!(routed, Routed::Offline(Offline::Granted { .. })), "{routed:?}");
    }

    /// An INVITE that must be forwarded; the watches to report on.
    pub async fn dial(&mut self, caller: &str, callee: &str) -> Vec<WatchRef> {
        match self.invite(caller, callee).await {
            Routed::Online { targets, report } => {
                assert!(!targets.is_empty());
                report
            }
            other => panic!("{other:?}"),
        }
    }

    pub async fn call(&mut self, report: &[WatchRef], result: CallResult) {
        for watch in report {
            let event = Event::CallReport(CallReport { pair: watch.pair.clone(), fence: watch.fence, result });
            assert_eq!(self.one(event).await, Reply::Noted);
        }
        self.advance(0).await;
    }

    pub async fn report(&mut self, order: &RecallOrder, result: RecallResult) {
        let report = RecallReport { pair: order.pair.clone(), fence: order.fence, rung: order.rung, result };
        assert_eq!(self.one(Event::RecallReport(report)).await, Reply::Noted);
        self.advance(0).await;
    }

    /// A recalled caller whose phone accepts and whose new call is answered.
    pub async fn connect(&mut self, order: &RecallOrder) -> Vec<WatchRef> {
        self.report(order, RecallResult::Accepted).await;
        let caller = order.pair.caller.user().to_owned();
        let callee = order.pair.callee.user().to_owned();
        let report = self.dial(&caller, &callee).await;
        self.call(&report, CallResult::Established).await;
        report
    }

    /// Turns the clock, doing everything that this replica has in mind for the time passed.
    pub async fn advance(&mut self, seconds: u64) {
        let end = self.now.after(Duration::from_secs(seconds));
        for _ in 0..10_000 {
            match self.timers.next() {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => {
                    self.now = end;
                    return;
                }
            }
            while let Some(wake) = self.timers.pop(self.now) {
                self.engine.wake(self.now, wake).await;
            }
        }
        panic!("the engine keeps itself busy without end");
    }

    /// One sweep, and what it sets off.
    pub async fn sweep(&mut self) {
        self.engine.sweep(self.now).await.unwrap();
        self.advance(0).await;
    }

    /// One audit of every shard, and what it sets off.
    pub async fn audit(&mut self) {
        self.engine.audit(self.now, (0..redial_core::ids::SHARDS).map(redial_core::Shard)).await.unwrap();
        self.advance(1).await;
    }

    /// The orders since the last time, with their edge.
    pub fn orders(&self) -> Vec<(EdgeId, RecallOrder)> {
        std::mem::take(&mut *self.edges.orders.lock().unwrap())
    }

    /// The one order since the last time.
    pub fn order(&self) -> RecallOrder {
        let mut orders = self.orders();
        assert_eq!(orders.len(), 1, "{orders:?}");
        orders.remove(0).1
    }

    pub fn recalled(&self) -> Vec<String> {
        self.orders().into_iter().map(|(_, order)| order.pair.caller.user().to_owned()).collect()
    }

    pub async fn watch(&self, caller: &str, callee: &str) -> Option<Watch> {
        self.store.inner.load(&[pair(caller, callee)]).await.unwrap().remove(0)
    }

    pub fn ended(&self, reason: EndReason) -> u64 {
        self.metrics.ended_count(reason)
    }

    /// How many watches ended, for any reason.
    pub fn all_ended(&self) -> u64 {
        EndReason::ALL.iter().map(|reason| self.ended(*reason)).sum()
    }

    /// P2: nothing of any watch is left in the store.
    pub fn nothing_left(&self) -> bool {
        self.store.inner.traces(self.now) == 0
    }

    pub fn detach(&self, edge: &str) {
        self.edges.detached.lock().unwrap().insert(EdgeId::new(edge));
    }

    pub fn attach(&self, edge: &str) {
        self.edges.detached.lock().unwrap().remove(&EdgeId::new(edge));
    }
}

fn replica(
    store: &Arc<Flaky>,
    edges: &Edges,
    policies: &watch::Sender<Arc<PolicySet>>,
) -> (Engine<Flaky, Edges>, Arc<Timers>, Arc<Metrics>) {
    let timers = Arc::new(Timers::new(1000));
    let metrics = Arc::new(Metrics::new(&opentelemetry::global::meter("test")));
    let engine = Engine::new(store.clone(), edges.clone(), policies.subscribe(), timers.clone(), metrics.clone());
    (engine, timers, metrics)
}
