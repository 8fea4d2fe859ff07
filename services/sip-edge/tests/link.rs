//! The link to coordinators against real gRPC servers that answer, are silent, die and come back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use redial_core::link::{CallReport, CallResult, Downlink, Event, Failure, Locate, Reply, Request};
use redial_core::{Fence, Pair, PolicySet, rendezvous};
use redial_runtime::admin::{Latch, Readiness};
use redial_runtime::discovery::Member;
use redial_runtime::{clock, telemetry};
use sip_edge::counters::Counters;
use sip_edge::link::{BatchRules, Coordinator, Link, LinkConfig, LinkPort, LocalLink, WorkerInbox};
use support::{Fake, PATIENCE, Part, aor, edge, policies, recall};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running link with its workers' ends.
struct Running {
    ends: Vec<(LinkPort, WorkerInbox)>,
    counters: Arc<Counters>,
    policies: Arc<ArcSwap<PolicySet>>,
    attached: Latch,
    _stop: DropGuard,
}

fn start(coordinators: Vec<Coordinator>, workers: usize, max_open: usize) -> Running {
    let counters = Arc::new(Counters::default());
    let shared = Arc::new(ArcSwap::from_pointee(PolicySet::default()));
    let attached = Readiness::default().latch("coordinator attached");
    let meter = telemetry::Metrics::new().unwrap().meter("test");
    let (link, ends) = Link::new(LinkConfig {
        edge: edge(),
        coordinators,
        workers,
        rules: BatchRules::default(),
        max_open,
        policies: Arc::clone(&shared),
        counters: Arc::clone(&counters),
        attached: attached.clone(),
        round_trip: meter.f64_histogram("round_trip").build(),
    })
    .unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(link.run(stop.clone()));
    Running { ends, counters, policies: shared, attached, _stop: stop.drop_guard() }
}

fn urls(fakes: &[&Fake]) -> Vec<Coordinator> {
    fakes.iter().map(|fake| Coordinator::Url(fake.url())).collect()
}

fn locate(id: u64, user: u64, timeout: Duration) -> Request {
    Request { id, timeout, event: Event::Locate(Locate { aor: aor(user) }), trace: None }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("{what}"));
}

impl Running {
    async fn attached(self, replicas: u64) -> Self {
        until("attached", || self.counters.coordinators_attached.value() == replicas).await;
        self
    }

    fn submit(&self, mut requests: Vec<Request>) -> Vec<Request> {
        self.ends[0].0.submit(&mut requests);
        requests
    }

    async fn replies(&mut self, worker: usize, want: usize) -> Vec<(u64, Reply)> {
        let mut all = Vec::new();
        while all.len() < want {
            let (port, inbox) = &mut self.ends[worker];
            let replies = tokio::time::timeout(PATIENCE, inbox.replies.recv()).await.expect("replies in time").expect("link runs");
            port.taken(replies.len());
            all.extend(replies);
        }
        all
    }
}

#[tokio::test]
async fn replies_orders_and_policies_come_to_the_right_worker() {
    let fake = Fake::start(Part::Answers);
    let mut link = start(urls(&[&fake]), 3, 100).attached(1).await;
    assert!(link.attached.is_set());
    until("policies", || **link.policies.load() == policies()).await;

    let (first, third) = (7, 2 << 56 | 7);
    assert!(link.submit(vec![locate(first, 1, PATIENCE), locate(third, 1, PATIENCE)]).is_empty());
    assert_eq!(link.replies(0, 1).await, [(first, Reply::Noted)]);
    assert_eq!(link.replies(2, 1).await, [(third, Reply::Noted)]);

    fake.downlinks.send(Downlink { orders: vec![recall(1), recall(1), recall(2)], ..Downlink::default() }).await.unwrap();
    let mut came = vec![0; 3];
    until("orders", || {
        for (worker, (_, inbox)) in link.ends.iter_mut().enumerate() {
            while inbox.orders.try_recv().is_ok() {
                came[worker] += 1;
            }
        }
        came.iter().sum::<i32>() == 3
    })
    .await;
    assert!(came.iter().any(|n| *n >= 2), "orders of one pair meet at one worker: {came:?}");
    assert_eq!(link.counters.requests_open.value(), 0);
}

#[tokio::test]
async fn nobody_attached_fails_at_once() {
    let gone = Fake::start(Part::Answers);
    let coordinators = urls(&[&gone]);
    drop(gone);
    let mut link = start(coordinators, 1, 100);
    assert!(link.submit(vec![locate(1, 1, PATIENCE)]).is_empty());
    assert_eq!(link.replies(0, 1).await, [(1, Reply::Failed(Failure::StoreUnavailable))]);
    assert!(!link.attached.is_set());
}

#[tokio::test]
async fn silence_times_out_and_not_early() {
    let fake = Fake::start(Part::Silent);
    let mut link = start(urls(&[&fake]), 1, 100).attached(1).await;
    let (before, timeout) = (clock::instant(), Duration::from_millis(120));
    link.submit(vec![locate(1, 1, timeout), locate(2, 2, timeout * 2)]);
    assert_eq!(link.replies(0, 1).await, [(1, Reply::Failed(Failure::Timeout))]);
    assert!(clock::instant() - before >= timeout);
    assert_eq!(link.replies(0, 1).await, [(2, Reply::Failed(Failure::Timeout))]);
    assert!(clock::instant() - before >= timeout * 2);
    assert_eq!((link.counters.requests_timed_out.value(), link.counters.requests_open.value()), (2, 0));
}

#[tokio::test]
async fn too_many_open_requests_are_refused_whole_and_counted() {
    let fake = Fake::start(Part::Silent);
    let mut link = start(urls(&[&fake]), 1, 2).attached(1).await;
    let short = Duration::from_millis(50);
    assert!(link.submit(vec![locate(1, 1, short), locate(2, 2, short)]).is_empty());
    assert_eq!(link.submit(vec![locate(3, 3, short)]).len(), 1);
    assert_eq!(link.counters.requests_overloaded.value(), 1);
    link.replies(0, 2).await;
    assert!(link.submit(vec![locate(4, 4, short)]).is_empty(), "room again once the replies are taken in");
}

#[tokio::test]
async fn a_coordinator_that_dies_and_comes_back_gets_what_it_did_not_answer() {
    let mut fake = Fake::start(Part::Silent);
    let (addr, coordinators) = (fake.addr, urls(&[&fake]));
    let mut link = start(coordinators, 1, 100).attached(1).await;
    link.submit((1..=3).map(|id| locate(id, 1, PATIENCE)).collect());
    assert_eq!(fake.frame().await.len(), 3);
    drop(fake);
    until("lost", || !link.attached.is_set()).await;

    let mut fake = Fake::on(addr, Part::Answers);
    let again = fake.frame().await;
    assert_eq!(again.iter().map(|request| request.id).collect::<Vec<_>>(), [1, 2, 3], "in the old order");
    assert!(again[0].timeout < PATIENCE, "with the time that is left");
    assert_eq!(link.replies(0, 3).await.len(), 3);
    assert_eq!((link.counters.requests_resent.value(), link.counters.streams_lost.value()), (3, 1));
}

#[tokio::test]
async fn a_report_waits_for_a_coordinator_and_a_question_does_not() {
    let fake = Fake::start(Part::Silent);
    let (addr, coordinators) = (fake.addr, urls(&[&fake]));
    let mut link = start(coordinators, 1, 100).attached(1).await;
    drop(fake);
    until("lost", || !link.attached.is_set()).await;
    let report = CallReport { pair: Pair { callee: aor(1), caller: aor(2) }, fence: Fence(1), result: CallResult::Established };
    link.submit(vec![locate(1, 1, PATIENCE), Request { id: 2, timeout: PATIENCE, event: Event::CallReport(report), trace: None }]);
    assert_eq!(link.replies(0, 1).await, [(1, Reply::Failed(Failure::StoreUnavailable))]);

    let mut fake = Fake::on(addr, Part::Answers);
    assert_eq!(fake.frame().await.iter().map(|request| request.id).collect::<Vec<_>>(), [2]);
    assert_eq!(link.replies(0, 1).await, [(2, Reply::Noted)]);
}

#[tokio::test]
async fn the_next_replica_in_order_takes_over_at_once() {
    let fakes = [Fake::start(Part::Silent), Fake::start(Part::Silent)];
    let names = fakes.each_ref().map(Fake::url);
    let mut link = start(urls(&[&fakes[0], &fakes[1]]), 1, 100).attached(2).await;
    let preferred = |user| rendezvous::pick(&aor(user), &names, |_| true).unwrap();
    let users: Vec<u64> = (0..20).collect();
    link.submit(users.iter().map(|user| locate(*user, *user, PATIENCE)).collect());
    let [mut first, mut second] = fakes;
    let (mine, others) = (first.frame().await, second.frame().await);
    assert!(mine.iter().all(|request| preferred(request.id) == 0) && others.iter().all(|request| preferred(request.id) == 1));
    assert_eq!(mine.len() + others.len(), users.len());

    drop(first);
    let taken_over = second.frame().await;
    assert_eq!(taken_over.iter().map(|r| r.id).collect::<Vec<_>>(), mine.iter().map(|r| r.id).collect::<Vec<_>>());
    assert!(link.attached.is_set(), "one replica is enough");
    assert!(link.submit(vec![locate(100, mine[0].id, PATIENCE)]).is_empty());
    assert_eq!(second.frame().await[0].id, 100, "new events go there too");

    drop(second);
    until("both lost", || !link.attached.is_set()).await;
    link.submit(vec![locate(101, 1, PATIENCE)]);
    assert_eq!(link.replies(0, 1).await, [(101, Reply::Failed(Failure::StoreUnavailable))]);
}

/// A coordinator that is listed is attached to; one that is no longer listed answers what it was asked, and its stream ends.
#[tokio::test]
async fn coordinators_come_and_go_with_the_list() {
    let member = |name: &str, fake: &Fake| Member { name: name.into(), addr: fake.addr };
    let (mut first, mut second) = (Fake::start(Part::Silent), Fake::start(Part::Answers));
    let (list, members) = tokio::sync::watch::channel(Arc::from(vec![member("c-1", &first)]));
    let mut link = start(vec![Coordinator::Members(members)], 1, 100).attached(1).await;
    link.submit(vec![locate(1, 1, PATIENCE)]);
    assert_eq!(first.frame().await.len(), 1);

    list.send_replace(Arc::from(vec![member("c-2", &second)]));
    // New requests go to the new one as soon as it is attached, and never to nobody.
    let mut id = 1;
    until("the new one is asked", || {
        id += 1;
        assert!(link.submit(vec![locate(id, id, PATIENCE)]).is_empty());
        second.frames.try_recv().is_ok()
    })
    .await;
    assert!(link.attached.is_set());
    assert_eq!(link.counters.coordinators_attached.value(), 2, "the one that leaves has still to answer");
    assert_eq!(link.counters.streams_lost.value(), 0);

    let asked_first = 1 + std::iter::from_fn(|| first.frames.try_recv().ok()).map(|frame| frame.len()).sum::<usize>();
    let replies = (1..=id).map(|id| (id, Reply::Noted)).collect();
    first.downlinks.send(Downlink { replies, ..Downlink::default() }).await.unwrap();
    until("detached", || link.counters.coordinators_attached.value() == 1).await;
    assert_eq!(link.replies(0, id as usize).await.len(), id as usize);
    assert!(asked_first >= 1 && link.counters.requests_open.value() == 0);

    list.send_replace(Arc::from(Vec::new()));
    assert!(link.submit(vec![locate(1000, 1, PATIENCE)]).is_empty());
    assert_eq!(link.replies(0, 1).await, [(1000, Reply::Noted)], "the last one serves on");
    drop(second);
    until("nobody", || !link.attached.is_set()).await;
}

#[tokio::test]
async fn under_load_frames_are_shared_and_few_are_under_way() {
    let mut fake = Fake::start(Part::Silent);
    let link = start(urls(&[&fake]), 1, 5000).attached(1).await;
    let rules = BatchRules::default();
    let mut id = 0;
    let mut submit = || {
        id += 1;
        assert!(link.submit(vec![locate(id, id, Duration::from_secs(60))]).is_empty());
    };
    until("frames", || {
        submit();
        link.counters.frames_sent.value() == rules.unanswered as u64
    })
    .await;
    (0..rules.full).for_each(|_| submit());
    let mut sizes = Vec::new();
    for _ in 0..rules.unanswered {
        sizes.push(fake.frame().await.len());
    }
    assert!(fake.frames.try_recv().is_err(), "no more than {} frames without answer", rules.unanswered);
    assert!(sizes.iter().sum::<usize>() > rules.unanswered, "{sizes:?}");
}

#[tokio::test]
async fn a_coordinator_in_the_same_process_works_the_same() {
    let (requests, mut asked) = tokio::sync::mpsc::channel::<Vec<Request>>(8);
    let (answer, downlinks) = tokio::sync::mpsc::channel(8);
    let mut link = start(vec![Coordinator::Local(LocalLink { requests, downlinks })], 1, 100).attached(1).await;
    link.submit(vec![locate(1, 1, PATIENCE), locate(2, 2, PATIENCE)]);
    let batch = tokio::time::timeout(PATIENCE, asked.recv()).await.unwrap().unwrap();
    assert_eq!(batch.len(), 2);
    answer.send(Downlink { replies: vec![(1, Reply::Noted)], ..Downlink::default() }).await.unwrap();
    assert_eq!(link.replies(0, 1).await, [(1, Reply::Noted)]);
    drop((answer, asked));
    assert_eq!(link.replies(0, 1).await, [(2, Reply::Failed(Failure::StoreUnavailable))], "what it had is lost with it");
}
