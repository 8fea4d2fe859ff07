//! Coordinators that come and go while requests are under way. Everything is heard, nothing is awaited.

use std::collections::BTreeMap;

use proptest::prelude::*;
use redial_core::link::Locate;
use redial_core::{Aor, EdgeId, rendezvous};
use redial_proto::v1::EdgeFrame;
use redial_proto::v1::edge_frame::Frame;
use redial_runtime::admin::Readiness;
use tokio::sync::mpsc::channel;

use super::super::port::WorkerInbox;
use super::super::{LinkPort, port, router};
use super::*;

const TIMEOUT: Duration = Duration::from_secs(3);

/// One coordinator as the test plays it.
struct Played {
    name: String,
    frames: Receiver<EdgeFrame>,
    drained: CancellationToken,
    /// Taken from the stream and not answered.
    asked: Vec<u64>,
}

impl Played {
    fn take(&mut self) -> &[u64] {
        while let Ok(frame) = self.frames.try_recv() {
            let Some(Frame::Batch(batch)) = frame.frame else { continue };
            self.asked.extend(convert::requests(batch, |error| panic!("{error}")).into_iter().map(|request| request.id));
        }
        &self.asked
    }
}

struct Stage {
    task: LinkTask,
    now: Instant,
    port: LinkPort,
    inbox: WorkerInbox,
    played: BTreeMap<u64, Played>,
    next: u64,
}

impl Stage {
    fn new() -> Self {
        let counters = Arc::new(Counters::default());
        let (port, submitted) = port::port(1000, Arc::clone(&counters));
        let (router, mut inboxes) = router::router(1, 1000, Arc::clone(&counters));
        let round_trip = opentelemetry::global::meter("test").f64_histogram("round_trip").build();
        let config = LinkConfig {
            edge: EdgeId::new("edge-1"),
            coordinators: Vec::new(),
            workers: 1,
            rules: BatchRules::default(),
            max_open: 1000,
            policies: Arc::default(),
            counters,
            attached: Readiness::default().latch("coordinator attached"),
            round_trip,
        };
        let task = LinkTask::new(submitted, router, &config);
        Self { task, now: clock::instant(), port, inbox: inboxes.remove(0), played: BTreeMap::new(), next: 0 }
    }

    fn join(&mut self, id: u64, name: &str) {
        let (outlet, frames) = channel(16);
        let drained = CancellationToken::new();
        self.played.insert(id, Played { name: name.into(), frames, drained: drained.clone(), asked: Vec::new() });
        self.hear(Heard::Joined { id: ReplicaId(id), name: name.into(), drained });
        self.hear(Heard::Attached(ReplicaId(id), Outlet::Grpc(outlet)));
    }

    fn hear(&mut self, heard: Heard) {
        self.task.hear(self.now, heard);
        self.turn();
    }

    /// Long enough for every linger to be over.
    fn turn(&mut self) {
        self.now += Duration::from_millis(10);
        self.task.turn(self.now);
    }

    fn ask(&mut self, user: u64) -> u64 {
        let id = self.next;
        self.next += 1;
        let mut requests = vec![Request { id, timeout: TIMEOUT, event: Event::Locate(Locate { aor: aor(user) }), trace: None }];
        self.port.submit(&mut requests);
        while let Ok(requests) = self.task.submitted.try_recv() {
            self.task.submit_all(self.now, requests);
        }
        self.turn();
        id
    }

    fn asked(&mut self, id: u64) -> Vec<u64> {
        self.played.get_mut(&id).map(|played| played.take().to_vec()).unwrap_or_default()
    }

    fn answer(&mut self, id: u64) {
        let replies = self.asked(id).into_iter().map(|id| (id, Reply::Noted)).collect();
        if let Some(played) = self.played.get_mut(&id) {
            played.asked.clear();
        }
        self.hear(Heard::Downlink(Downlink { replies, ..Downlink::default() }));
    }

    fn replies(&mut self) -> Vec<(u64, Reply)> {
        let mut all = Vec::new();
        while let Ok(replies) = self.inbox.replies.try_recv() {
            self.port.taken(replies.len());
            all.extend(replies);
        }
        all
    }

    fn drained(&self, id: u64) -> bool {
        self.played[&id].drained.is_cancelled()
    }
}

fn aor(user: u64) -> Aor {
    Aor::new(format!("u{user}@example.com"))
}

/// A user whose requests go to `name` among `names`.
fn user_of(name: &str, names: &[&str]) -> u64 {
    (0..).find(|user| rendezvous::pick(&aor(*user), names, |_| true).map(|i| names[i]) == Some(name)).unwrap()
}

#[test]
fn one_that_leaves_gets_nothing_new_and_is_let_go_when_it_has_answered() {
    let (mut stage, user) = (Stage::new(), user_of("a", &["a", "b"]));
    stage.join(0, "a");
    stage.join(1, "b");
    let first = stage.ask(user);
    stage.hear(Heard::Left(ReplicaId(0)));
    let second = stage.ask(user);
    assert_eq!((stage.asked(0), stage.asked(1)), (vec![first], vec![second]));
    assert!(!stage.drained(0), "it has not answered");
    stage.answer(0);
    assert!(stage.drained(0) && !stage.drained(1));
    stage.hear(Heard::Gone(ReplicaId(0)));
    stage.answer(1);
    assert_eq!(stage.replies().len(), 2);
    assert_eq!(stage.task.counters.streams_lost.value(), 0, "nothing was lost");
}

#[test]
fn the_last_one_serves_on_until_another_is_attached() {
    let mut stage = Stage::new();
    stage.join(0, "a");
    stage.hear(Heard::Left(ReplicaId(0)));
    let asked: Vec<u64> = (0..20).map(|user| stage.ask(user)).collect();
    assert!(stage.task.attached.is_set() && !stage.drained(0));
    let sent = stage.asked(0);
    assert!(!sent.is_empty() && sent.len() < asked.len(), "some wait for frames to be answered: {sent:?}");
    stage.join(1, "b");
    let mut all = [sent, stage.asked(1)].concat();
    all.sort_unstable();
    assert!(!stage.drained(0));
    stage.answer(1);
    stage.answer(1);
    stage.answer(1);
    stage.answer(0);
    assert!(stage.drained(0));
    assert_eq!(stage.replies().len(), asked.len());
}

#[test]
fn what_one_that_leaves_does_not_answer_goes_to_the_next() {
    let (mut stage, user) = (Stage::new(), user_of("a", &["a", "b"]));
    stage.join(0, "a");
    stage.join(1, "b");
    let asked = stage.ask(user);
    assert_eq!(stage.asked(0), [asked]);
    stage.hear(Heard::Left(ReplicaId(0)));
    stage.hear(Heard::Lost(ReplicaId(0)));
    stage.hear(Heard::Gone(ReplicaId(0)));
    assert_eq!(stage.asked(1), [asked]);
    stage.answer(1);
    assert_eq!(stage.replies(), [(asked, Reply::Noted)]);
}

#[test]
fn a_new_one_takes_its_share_and_no_more() {
    let mut stage = Stage::new();
    stage.join(0, "a");
    stage.join(1, "b");
    stage.join(2, "c");
    for user in 0..60 {
        let before = rendezvous::pick(&aor(user), &["a", "b"], |_| true).unwrap() as u64;
        let now = rendezvous::pick(&aor(user), &["a", "b", "c"], |_| true).unwrap() as u64;
        assert!(now == before || now == 2);
        let asked = stage.ask(user);
        assert_eq!(stage.asked(now), [asked]);
        stage.answer(now);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Ask(u64),
    Join(u64),
    Leave(usize),
    Lose(usize),
    Answer(usize),
}

proptest! {
    /// Whoever comes and goes: every request gets one reply and no more, and nobody is let go who still has to answer.
    #[test]
    fn every_request_gets_one_reply(acts in proptest::collection::vec(prop_oneof![
        4 => (0u64..50).prop_map(Act::Ask),
        1 => (0u64..4).prop_map(Act::Join),
        1 => (0usize..8).prop_map(Act::Leave),
        1 => (0usize..8).prop_map(Act::Lose),
        3 => (0usize..8).prop_map(Act::Answer),
    ], 1..120)) {
        let mut stage = Stage::new();
        let mut joined = 0;
        for act in acts {
            let ids: Vec<u64> = stage.played.keys().copied().collect();
            let which = |n: usize| ids.get(n % ids.len().max(1)).copied();
            match act {
                Act::Ask(user) => drop(stage.ask(user)),
                Act::Join(name) if stage.played.values().all(|played| played.name != name.to_string()) => {
                    stage.join(joined, &name.to_string());
                    joined += 1;
                }
                Act::Join(_) => {}
                Act::Leave(n) => if let Some(id) = which(n) {
                    stage.hear(Heard::Left(ReplicaId(id)));
                }
                Act::Lose(n) => if let Some(id) = which(n) {
                    stage.hear(Heard::Lost(ReplicaId(id)));
                    stage.hear(Heard::Gone(ReplicaId(id)));
                    stage.played.remove(&id);
                }
                Act::Answer(n) => if let Some(id) = which(n) {
                    stage.answer(id);
                }
            }
            for id in stage.played.keys().copied().collect::<Vec<_>>() {
                let asked = stage.asked(id);
                prop_assert!(!stage.drained(id) || asked.is_empty(), "let go with {asked:?} unanswered");
                if stage.drained(id) {
                    stage.hear(Heard::Gone(ReplicaId(id)));
                    stage.played.remove(&id);
                }
            }
        }
        stage.now += TIMEOUT;
        stage.turn();
        let mut replied: Vec<u64> = stage.replies().into_iter().map(|(id, _)| id).collect();
        replied.sort_unstable();
        prop_assert_eq!(replied, (0..stage.next).collect::<Vec<_>>());
        prop_assert_eq!(stage.task.counters.requests_open.value(), 0);
    }
}
