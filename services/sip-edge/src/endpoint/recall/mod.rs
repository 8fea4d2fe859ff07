//! Executes [`RecallOrder`]s: asks a caller's phone by REFER to call the callee again, and hears what became of it.
//!
//! Per order: contacts are asked one after the other until one answers, the first 2xx is the success, `timeout` bounds the whole. A
//! contact that stays silent gets its share of the time, so that a stale binding does not cost the recall. After an order nothing of it
//! is sent any more (P4): the transaction is stopped, not left to retransmit. What remains is a note of the fence, for a while, so that
//! an order that comes twice is executed once (P3), and the subscription that a REFER may have made, until its last NOTIFY.

mod notify;
mod refer;
mod tag;

pub use notify::NotifyAnswer;
pub use tag::owner_of_tag;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redial_core::link::{Credentials, RecallOrder, RecallReport, RecallResult, Target};
use redial_core::{Fence, Pair, TraceContext};
use rustc_hash::FxHashMap;
use sip_core::dialog::{Progress, Subscription};
use sip_core::{Message, digest};

use super::{EndpointConfig, Now, Peer};
use crate::endpoint::target::request_uri;
use crate::metrics::OrderDrop;
use refer::Refer;
use tag::Names;

/// Most recalls that one worker remembers, running and finished. A record is about 1 kB.
pub const MAX_RECALLS: usize = 16_384;
/// A finished order is remembered, and its subscription served, this long after the order's own time.
pub const LINGER: Duration = Duration::from_secs(60);
/// No order lasts longer, whatever it says.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
/// A silent contact is given at least this long while others wait: three retransmissions of a REFER over UDP (RFC 3261 section 17.1.2.2:
/// 0.5, 1.5, 3.5 s).
const MIN_SHARE: Duration = Duration::from_secs(4);

/// One REFER of one recall: names its client transaction to the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecallId {
    recall: u64,
    attempt: u32,
}

/// What recalls need of the endpoint.
pub trait RecallContext {
    /// Where this target is: its flow, or the next hop of its path. None: not by this edge.
    fn peer(&self, target: &Target) -> Option<Peer>;
    /// A Via value for a new request to `peer`, with a branch that no request had before.
    fn via(&mut self, peer: Peer) -> String;
    /// Starts a non-INVITE client transaction. Its final response goes to [`Recalls::on_response`], its timeout and a transport error to
    /// [`Recalls::on_failure`].
    fn send_request(&mut self, peer: Peer, bytes: Vec<u8>, owner: RecallId);
    /// Ends that transaction now: no retransmission, no answer delivered.
    fn stop(&mut self, owner: RecallId);
    /// `began`: when the order came. `trace`: the recall as the order named it.
    fn report(&mut self, report: RecallReport, began: Now, trace: Option<TraceContext>);
}

/// All recalls of one worker.
#[derive(Debug)]
pub struct Recalls {
    config: Arc<EndpointConfig>,
    names: Names,
    next: u64,
    recalls: FxHashMap<u64, Recall>,
    latest: FxHashMap<Pair, u64>,
    timers: BTreeSet<(Instant, u64)>,
    trying: usize,
}

#[derive(Debug)]
struct Recall {
    pair: Pair,
    fence: Fence,
    rung: u8,
    trace: Option<TraceContext>,
    began: Now,
    tag: String,
    call_id: String,
    state: State,
    /// The order's own end.
    deadline: Instant,
    /// When `on_timer` must look at it: what stands in `timers`.
    wake: Instant,
    /// CSeq of the last REFER; counts the attempts.
    attempt: u32,
    /// Of the last REFER, while its NOTIFYs are welcome.
    subscription: Option<Subscription>,
    credentials: Option<Credentials>,
    /// Whom the last REFER went to, and what it has asked of us.
    current: Option<Target>,
    challenges: digest::Client,
}

#[derive(Debug)]
enum State {
    /// A REFER is out; these contacts are still to be asked.
    Trying(VecDeque<Target>),
    /// Accepted, refused, unreachable or replaced. Kept for its fence and its subscription.
    Over,
}

impl Recalls {
    #[must_use]
    pub fn new(config: Arc<EndpointConfig>, worker: u8) -> Self {
        let names = Names::new(&config, worker);
        Self { config, names, next: 0, recalls: FxHashMap::default(), latest: FxHashMap::default(), timers: BTreeSet::new(), trying: 0 }
    }

    pub fn on_order(&mut self, now: Now, order: RecallOrder, cx: &mut impl RecallContext) {
        if let Some(&number) = self.latest.get(&order.pair) {
            let seen = self.recalls.get(&number).map_or(Fence::default(), |r| r.fence);
            if order.fence <= seen {
                let why = if order.fence == seen { OrderDrop::Repeated } else { OrderDrop::Outdated };
                return self.config.metrics.order_dropped(why);
            }
            self.replace(number, cx);
        }
        if self.recalls.len() >= MAX_RECALLS {
            return self.config.metrics.order_dropped(OrderDrop::TableFull);
        }
        let number = self.next;
        self.next += 1;
        let (tag, call_id) = self.names.mint(now.unix, number);
        let deadline = now.instant + order.timeout.min(MAX_TIMEOUT);
        self.latest.insert(order.pair.clone(), number);
        self.recalls.insert(
            number,
            Recall {
                pair: order.pair,
                fence: order.fence,
                rung: order.rung,
                trace: order.trace,
                began: now,
                tag,
                call_id,
                state: State::Trying(order.targets.into()),
                deadline,
                wake: deadline,
                attempt: 0,
                subscription: None,
                credentials: order.credentials,
                current: None,
                challenges: digest::Client::default(),
            },
        );
        self.timers.insert((deadline, number));
        self.trying += 1;
        self.try_next(now, number, cx);
    }

    /// The final response to a REFER (provisional ones are ignored).
    pub fn on_response(&mut self, now: Now, id: RecallId, response: Message<'_>, cx: &mut impl RecallContext) {
        if !self.is_current(id) {
            return;
        }
        let Some(recall) = self.recalls.get_mut(&id.recall) else { return };
        // The transaction is over either way; a REFER that is challenged has asked nobody for anything yet.
        if recall.credentials.is_some() && recall.challenges.challenged(response) && self.ask(now, id.recall, cx) {
            return;
        }
        let subscription = self.recalls.get_mut(&id.recall).and_then(|r| r.subscription.as_mut());
        match subscription.and_then(|s| s.on_response(now.instant, response)) {
            Some(Progress::Accepted) => self.finish(id.recall, Some(RecallResult::Accepted), cx),
            Some(Progress::Refused(408 | 430 | 480)) => self.try_next(now, id.recall, cx),
            Some(Progress::Refused(code)) => self.finish(id.recall, Some(RecallResult::Refused(code)), cx),
            _ => {}
        }
    }

    /// No answer (Timer F) or the datagram could not be sent.
    pub fn on_failure(&mut self, now: Now, id: RecallId, cx: &mut impl RecallContext) {
        if self.is_current(id) {
            self.try_next(now, id.recall, cx);
        }
    }

    pub fn on_timer(&mut self, now: Now, cx: &mut impl RecallContext) {
        while let Some(&(at, number)) = self.timers.first() {
            if at > now.instant {
                break;
            }
            self.timers.pop_first();
            let Some(recall) = self.recalls.get(&number) else { continue };
            if matches!(recall.state, State::Trying(_)) {
                cx.stop(RecallId { recall: number, attempt: recall.attempt });
                self.try_next(now, number, cx);
            } else if let Some(recall) = self.recalls.remove(&number)
                && self.latest.get(&recall.pair) == Some(&number)
            {
                self.latest.remove(&recall.pair);
            }
        }
    }

    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// No REFER waits for its answer.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.trying == 0
    }

    /// Recalls remembered, running and finished.
    #[must_use]
    pub fn len(&self) -> usize {
        self.recalls.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.recalls.is_empty()
    }

    fn is_current(&self, id: RecallId) -> bool {
        self.recalls.get(&id.recall).is_some_and(|r| matches!(r.state, State::Trying(_)) && r.attempt == id.attempt)
    }

    /// Asks the next contact, or reports that none is left or no time is left.
    fn try_next(&mut self, now: Now, number: u64, cx: &mut impl RecallContext) {
        loop {
            let Some(recall) = self.recalls.get_mut(&number) else { return };
            let State::Trying(targets) = &mut recall.state else { return };
            let left = recall.deadline.saturating_duration_since(now.instant);
            let Some(target) = targets.pop_front().filter(|_| !left.is_zero()) else { break };
            let share = left / u32::try_from(targets.len() + 1).unwrap_or(u32::MAX);
            let wake = if targets.is_empty() { recall.deadline } else { now.instant + share.max(MIN_SHARE).min(left) };
            recall.current = Some(target);
            recall.challenges = digest::Client::default();
            if self.ask(now, number, cx) {
                self.wake_at(number, wake);
                return;
            }
        }
        self.finish(number, Some(RecallResult::Unreachable), cx);
    }

    /// Sends the current contact a REFER, with answers to what it has asked of us so far. False: there is no way to it.
    fn ask(&mut self, now: Now, number: u64, cx: &mut impl RecallContext) -> bool {
        let Some(recall) = self.recalls.get_mut(&number) else { return false };
        let Some(target) = &recall.current else { return false };
        let (Some(peer), Some(uri)) = (cx.peer(target), request_uri(&target.uri)) else { return false };
        let Some(listener) = self.config.listeners.get(usize::from(peer.listener)) else { return false };
        let cseq = recall.attempt + 1;
        let authorization = match &recall.credentials {
            Some(Credentials { username, password }) => {
                let cnonce = self.names.cnonce(now.unix, number, cseq);
                recall.challenges.headers(digest::Login { user: username, password }, "REFER", uri, &cnonce)
            }
            None => Vec::new(),
        };
        let via = cx.via(peer);
        let refer = Refer {
            pair: &recall.pair,
            rung: recall.rung,
            uri,
            routes: &target.path,
            tag: &recall.tag,
            call_id: &recall.call_id,
            cseq,
            contact: listener.advertised,
            via: &via,
            authorization: &authorization,
        };
        let bytes = refer.compose();
        recall.attempt = cseq;
        let limit = recall.deadline.saturating_duration_since(now.instant) + LINGER;
        recall.subscription = Some(Subscription::new(now.instant, &recall.call_id, &recall.tag, cseq, limit));
        cx.send_request(peer, bytes, RecallId { recall: number, attempt: cseq });
        true
    }

    /// A newer order for the pair: the coordinator has given this one up.
    fn replace(&mut self, number: u64, cx: &mut impl RecallContext) {
        let Some(recall) = self.recalls.get(&number) else { return };
        if matches!(recall.state, State::Trying(_)) {
            cx.stop(RecallId { recall: number, attempt: recall.attempt });
            self.finish(number, None, cx);
        }
    }

    /// Leaves `Trying`, once.
    fn finish(&mut self, number: u64, result: Option<RecallResult>, cx: &mut impl RecallContext) {
        let Some(recall) = self.recalls.get_mut(&number) else { return };
        if !matches!(recall.state, State::Trying(_)) {
            return;
        }
        recall.state = State::Over;
        self.trying -= 1;
        if result != Some(RecallResult::Accepted) {
            recall.subscription = None;
        }
        let forget = recall.deadline + LINGER;
        self.wake_at(number, forget);
        if let Some(result) = result {
            self.report(number, result, cx);
        }
    }

    fn report(&self, number: u64, result: RecallResult, cx: &mut impl RecallContext) {
        if let Some(recall) = self.recalls.get(&number) {
            let report = RecallReport { pair: recall.pair.clone(), fence: recall.fence, rung: recall.rung, result };
            cx.report(report, recall.began, recall.trace);
        }
    }

    fn wake_at(&mut self, number: u64, at: Instant) {
        if let Some(recall) = self.recalls.get_mut(&number) {
            self.timers.remove(&(recall.wake, number));
            recall.wake = at;
            self.timers.insert((at, number));
        }
    }
}

#[cfg(test)]
mod tests;
