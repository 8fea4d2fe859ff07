//! The one owner of everything under way between workers and coordinators: select what happened, apply it, send what is due.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use redial_core::PolicySet;
use redial_core::link::{Downlink, Event, Failure, Reply, Request};
use redial_proto::convert;
use redial_runtime::admin::Latch;
use redial_runtime::clock;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::LinkConfig;
use super::batch::BatchRules;
use super::pending::Pending;
use super::replicas::{Outlet, ReplicaId, Replicas};
use super::router::Router;
use crate::counters::Counters;

/// What a stream has to say.
#[derive(Debug)]
pub(super) enum Heard {
    /// There is one more replica. `drained` tells its stream to end.
    Joined {
        id: ReplicaId,
        name: String,
        drained: CancellationToken,
    },
    Attached(ReplicaId, Outlet),
    Downlink(Downlink),
    /// So many parts of a frame could not be understood.
    Garbled(u64),
    Lost(ReplicaId),
    /// The replica is no longer listed.
    Left(ReplicaId),
    /// Nothing more will be heard of it.
    Gone(ReplicaId),
}

#[derive(Debug)]
pub(super) struct LinkTask {
    replicas: Replicas,
    submitted: Receiver<Vec<Request>>,
    router: Router,
    pending: Pending,
    /// Requests whose stream was lost while no other replica was attached, and reports that found none, in order of submission.
    orphans: VecDeque<Request>,
    next_frame: u64,
    rules: BatchRules,
    policies: Arc<ArcSwap<PolicySet>>,
    counters: Arc<Counters>,
    attached: Latch,
    round_trip: Histogram<f64>,
}

impl LinkTask {
    pub(super) fn new(submitted: Receiver<Vec<Request>>, router: Router, config: &LinkConfig) -> Self {
        Self {
            replicas: Replicas::default(),
            submitted,
            router,
            pending: Pending::new(clock::instant()),
            orphans: VecDeque::new(),
            next_frame: 0,
            rules: config.rules,
            policies: Arc::clone(&config.policies),
            counters: Arc::clone(&config.counters),
            attached: config.attached.clone(),
            round_trip: config.round_trip.clone(),
        }
    }

    /// Runs until every worker has dropped its port.
    pub(super) async fn run(mut self, mut heard: Receiver<Heard>) {
        let sleep = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(sleep);
        loop {
            let now = clock::instant();
            while let Ok(requests) = self.submitted.try_recv() {
                self.submit_all(now, requests);
            }
            let (wake, closed) = self.turn(now);
            if let Some(wake) = wake {
                sleep.as_mut().reset(wake.into());
            }
            tokio::select! {
                Some(event) = heard.recv() => {
                    let now = clock::instant();
                    self.hear(now, event);
                    while let Ok(event) = heard.try_recv() {
                        self.hear(now, event);
                    }
                }
                // While no frame can leave, workers' requests are left where they are: each would wake this thread for nothing.
                requests = self.submitted.recv(), if !closed => {
                    let Some(requests) = requests else { return };
                    self.submit_all(clock::instant(), requests);
                }
                () = &mut sleep, if wake.is_some() => {}
            }
        }
    }

    /// Gives up what is late, sends what is due, hands replies to the workers; returns when to come again, and whether no frame can leave before.
    fn turn(&mut self, now: Instant) -> (Option<Instant>, bool) {
        self.expire(now);
        for request in self.replicas.retire() {
            self.give_again(request);
        }
        self.depart(now);
        self.router.flush();
        let departure = self.replicas.attached().filter_map(|replica| replica.outgoing.next_departure(now, &self.rules)).min();
        // None sorts first: a replica that can take a frame at once keeps the way open.
        let taking = self.replicas.attached().filter(|replica| !replica.leaving);
        let opens = taking.map(|replica| replica.outgoing.closed_until(&self.rules)).min().flatten().filter(|at| *at > now);
        ([departure, opens, self.pending.next_deadline()].into_iter().flatten().min(), opens.is_some())
    }

    fn submit_all(&mut self, now: Instant, requests: Vec<Request>) {
        for request in requests {
            match self.replicas.pick(request.event.key()) {
                Some(replica) => {
                    self.pending.insert(now, request.id, (word(&request.event), request.timeout), Some(replica.id));
                    replica.outgoing.push(request);
                }
                // No phone waits for it, and it is true later, too.
                None if request.event.is_report() => {
                    self.pending.insert(now, request.id, (word(&request.event), request.timeout), None);
                    self.orphans.push_back(request);
                }
                None => {
                    self.counters.requests_unattached.add(1);
                    self.router.reply(request.id, Reply::Failed(Failure::StoreUnavailable));
                }
            }
        }
    }

    fn hear(&mut self, now: Instant, event: Heard) {
        match event {
            Heard::Joined { id, name, drained } => self.replicas.join(id, name, drained),
            Heard::Attached(id, outlet) => {
                if let Some(replica) = self.replicas.find(id) {
                    replica.outlet = Some(outlet);
                }
                self.count_attached();
                for request in std::mem::take(&mut self.orphans) {
                    self.give_again(request);
                }
            }
            Heard::Downlink(downlink) => self.downlink(now, downlink),
            Heard::Garbled(parts) => self.counters.downlink_errors.add(parts),
            Heard::Lost(id) => {
                self.counters.streams_lost.add(1);
                self.lose(id);
            }
            Heard::Left(id) => {
                if let Some(replica) = self.replicas.find(id) {
                    replica.leaving = true;
                }
            }
            Heard::Gone(id) => {
                self.lose(id);
                self.replicas.remove(id);
            }
        }
    }

    fn downlink(&mut self, now: Instant, downlink: Downlink) {
        if let Some(policies) = downlink.policies {
            self.policies.store(policies);
        }
        for (id, reply) in downlink.replies {
            let Some(entry) = self.pending.remove(id) else {
                self.counters.replies_late.add(1);
                continue;
            };
            let took = now.saturating_duration_since(entry.submitted).as_secs_f64();
            self.round_trip.record(took, &[KeyValue::new("asked", entry.asked)]);
            self.settle(entry.replica, entry.frame);
            self.router.reply(id, reply);
        }
        for order in downlink.orders {
            self.router.order(order);
        }
    }

    fn settle(&mut self, replica: Option<ReplicaId>, frame: Option<u64>) {
        if let (Some(replica), Some(frame)) = (replica, frame)
            && let Some(replica) = self.replicas.find(replica)
        {
            replica.outgoing.settle(frame);
        }
    }

    fn expire(&mut self, now: Instant) {
        let expired = self.pending.expire(now);
        if expired.is_empty() {
            return;
        }
        for (id, entry) in expired {
            self.counters.requests_timed_out.add(1);
            self.settle(entry.replica, entry.frame);
            self.router.reply(id, Reply::Failed(Failure::Timeout));
        }
        let pending = &self.pending;
        self.orphans.retain(|request| pending.contains(request.id));
    }

    /// What the lost replica had goes to the next one, in the old order, or waits for one until its deadline.
    fn lose(&mut self, id: ReplicaId) {
        let Some(replica) = self.replicas.find(id) else { return };
        replica.outlet = None;
        let waiting = replica.outgoing.reset();
        self.count_attached();
        let mut waiting: FxHashMap<u64, Request> = waiting.into_iter().map(|request| (request.id, request)).collect();
        for id in self.pending.ids_of(id) {
            let Some(entry) = self.pending.find(id) else { continue };
            let again = match entry.frame.take() {
                Some(_) => entry.copy.take(),
                None => waiting.remove(&id),
            };
            match again {
                Some(request) => self.give_again(request),
                None => {
                    self.pending.remove(id);
                    self.router.reply(id, Reply::Failed(Failure::StoreUnavailable));
                }
            }
        }
    }

    fn give_again(&mut self, request: Request) {
        let Some(entry) = self.pending.find(request.id) else { return };
        let replica = self.replicas.pick(request.event.key());
        entry.replica = replica.as_ref().map(|replica| replica.id);
        match replica {
            Some(replica) => {
                self.counters.requests_resent.add(1);
                replica.outgoing.push(request);
            }
            None => self.orphans.push_back(request),
        }
    }

    fn depart(&mut self, now: Instant) {
        for replica in self.replicas.iter_mut() {
            let Some(outlet) = &replica.outlet else { continue };
            while replica.outgoing.next_departure(now, &self.rules).is_some_and(|at| at <= now) {
                let pending = &self.pending;
                let requests = replica.outgoing.take(|request| pending.contains(request.id));
                if requests.is_empty() {
                    continue;
                }
                let (number, count) = (self.next_frame, requests.len());
                match outlet.send(now, number, requests, &mut self.pending) {
                    Ok(()) => {
                        self.next_frame += 1;
                        replica.outgoing.left(now, number, count);
                        self.counters.frames_sent.add(1);
                        self.counters.requests_sent.add(count as u64);
                    }
                    Err(requests) => {
                        replica.outgoing.put_back(requests);
                        replica.outgoing.wait(now);
                        break;
                    }
                }
            }
        }
    }

    fn count_attached(&self) {
        let attached = self.replicas.attached().count();
        self.counters.coordinators_attached.set(attached as u64);
        self.attached.set(attached > 0);
    }
}

impl Outlet {
    /// Sends one frame and notes in `pending` what it holds; gives the requests back when there is no room.
    fn send(&self, now: Instant, number: u64, mut requests: Vec<Request>, pending: &mut Pending) -> Result<(), Vec<Request>> {
        match self {
            Self::Grpc(frames) => {
                let Ok(permit) = frames.try_reserve() else { return Err(requests) };
                for request in &mut requests {
                    let Some(entry) = pending.find(request.id) else { continue };
                    entry.frame = Some(number);
                    entry.copy = request.event.is_idempotent().then(|| request.clone());
                    // A coordinator counts from when the frame arrives.
                    request.timeout = entry.deadline.saturating_duration_since(now);
                }
                permit.send(convert::batch(requests));
            }
            Self::Local(channel) => {
                let Ok(permit) = channel.try_reserve() else { return Err(requests) };
                for request in &requests {
                    if let Some(entry) = pending.find(request.id) {
                        entry.frame = Some(number);
                    }
                }
                permit.send(requests);
            }
        }
        Ok(())
    }
}

fn word(event: &Event) -> &'static str {
    match event {
        Event::Register(_) => "register",
        Event::Route(_) => "route",
        Event::Locate(_) => "locate",
        Event::RecallReport(_) | Event::CallReport(_) | Event::ProbeReport(_) => "report",
    }
}

#[cfg(test)]
mod tests;
