//! Executes [`RecallOrder`]s: asks a caller's phone to call the callee again, and hears what became of it.
//!
//! Rungs 1 and 2 of the ladder are a REFER, rung 3 a call in which the phone is transferred ([`call`]), rung 4 a MESSAGE to the user.
//! Per order: contacts are asked one after the other until one answers, the first 2xx is the success, `timeout` bounds the whole. A
//! contact that stays silent gets its share of the time, so that a stale binding does not cost the recall. After an order nothing of it
//! is sent any more (P4): the transaction is stopped, not left to retransmit. What remains is a note of the fence, for a while, so that
//! an order that comes twice is executed once (P3), and the subscription that a REFER may have made, until its last NOTIFY.

mod attempt;
mod call;
mod notify;
mod tag;

pub use call::CallAnswer;
pub use notify::NotifyAnswer;
pub use tag::owner_of_tag;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use redial_core::link::{Credentials, RecallOrder, RecallReport, RecallResult, StopOrder, TRANSFER, Target};
use redial_core::{Fence, Pair, TraceContext};
use rustc_hash::FxHashMap;
use sip_core::dialog::{Progress, Subscription};
use sip_core::{Message, Method, digest};

use super::{EndpointConfig, Now, Peer};
use crate::metrics::OrderDrop;
use call::Call;
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

/// One request of one recall: names its client transaction to the endpoint.
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
    /// The same for the ACK of that INVITE's 2xx, which is no transaction and shares its branch with nothing.
    fn ack_via(&mut self, peer: Peer, call_id: &str, cseq: u32) -> String;
    /// Starts a client transaction. Its responses go to [`Recalls::on_response`], its timeout to
    /// [`Recalls::on_failure`].
    fn send_request(&mut self, peer: Peer, method: Method<'static>, bytes: Vec<u8>, owner: RecallId);
    /// The ACK for a 2xx: no transaction.
    fn send_ack(&mut self, peer: Peer, bytes: &[u8]);
    /// Ends that transaction now: no retransmission; of an INVITE that rings a CANCEL, and only a 2xx is still delivered.
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
    /// Calls of rung 3 that are up.
    open_calls: usize,
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
    /// Rung 3: no phone rings any longer, so that one that is answered at the last moment still has time to be transferred.
    ring_until: Instant,
    /// CSeq of the request that is waited for.
    attempt: u32,
    /// Some contact was asked and has not answered.
    silent: bool,
    /// Highest CSeq so far.
    cseq: u32,
    /// Of the last REFER, while its NOTIFYs are welcome.
    subscription: Option<Subscription>,
    credentials: Option<Credentials>,
    /// Whom the last REFER went to, and what it has asked of us.
    current: Option<Target>,
    challenges: digest::Client,
    call: Call,
}

#[derive(Debug)]
enum State {
    /// A request is out; these contacts are still to be asked.
    Trying(VecDeque<Target>),
    /// Accepted, refused, unreachable or replaced. Kept for its fence and its subscription.
    Over,
}

impl Recalls {
    #[must_use]
    pub fn new(config: Arc<EndpointConfig>, worker: u8) -> Self {
        let names = Names::new(&config, worker);
        Self {
            config,
            names,
            next: 0,
            recalls: FxHashMap::default(),
            latest: FxHashMap::default(),
            timers: BTreeSet::new(),
            trying: 0,
            open_calls: 0,
        }
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
        let timeout = order.timeout.min(MAX_TIMEOUT);
        let deadline = now.instant + timeout;
        let ring_until = now.instant + timeout.saturating_sub(TRANSFER).max(timeout / 2);
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
                ring_until,
                attempt: 0,
                silent: false,
                cseq: 0,
                subscription: None,
                credentials: order.credentials,
                current: None,
                challenges: digest::Client::default(),
                call: Call::default(),
            },
        );
        self.timers.insert((deadline, number));
        self.trying += 1;
        self.try_next(now, number, cx);
    }

    /// The recall with this fence is not wanted any more: its watch ended, or the caller calls by itself. A phone that rings stops ringing; one
    /// that was answered is left to its transfer.
    pub fn on_stop(&mut self, stop: &StopOrder, cx: &mut impl RecallContext) {
        let Some(&number) = self.latest.get(&stop.pair) else { return };
        let Some(recall) = self.recalls.get(&number).filter(|r| r.fence == stop.fence && !r.call.is_up()) else { return };
        if matches!(recall.state, State::Trying(_)) {
            cx.stop(RecallId { recall: number, attempt: recall.attempt });
            self.finish(number, None, cx);
        }
    }

    /// A response to a request of ours.
    pub fn on_response(&mut self, now: Now, id: RecallId, response: Message<'_>, cx: &mut impl RecallContext) {
        let Some(code) = response.status() else { return };
        let invite = response.method() == Method::Invite;
        if invite && (200..300).contains(&code) {
            return self.answered(now, id, response, cx);
        }
        if !self.is_current(id) {
            return;
        }
        if code < 200 {
            if invite && code > 100 {
                self.ringing(id.recall);
            }
            return;
        }
        let Some(recall) = self.recalls.get_mut(&id.recall) else { return };
        let (rung, up) = (recall.rung, recall.call.is_up());
        // A request that is challenged has asked nobody for anything yet.
        if recall.credentials.is_some() && recall.challenges.challenged(response) {
            let sent = if up { self.transfer(now, id.recall, cx) } else { self.ask(now, id.recall, cx) };
            if sent {
                return;
            }
        }
        match rung {
            3 if up => self.transferred(now, id.recall, response, cx),
            3 => self.not_answered(now, id.recall, code, cx),
            _ => self.told(now, id.recall, response, cx),
        }
    }

    /// The final response to a REFER outside of a call, or to a MESSAGE.
    fn told(&mut self, now: Now, number: u64, response: Message<'_>, cx: &mut impl RecallContext) {
        let Some(recall) = self.recalls.get_mut(&number) else { return };
        let progress = match (&mut recall.subscription, response.status()) {
            (Some(subscription), _) => subscription.on_response(now.instant, response),
            (None, Some(200..300)) => Some(Progress::Accepted),
            (None, code) => code.map(Progress::Refused),
        };
        match progress {
            Some(Progress::Accepted) => self.finish(number, Some(RecallResult::Accepted), cx),
            Some(Progress::Refused(408)) => self.unanswered(now, number, cx),
            Some(Progress::Refused(430 | 480)) => self.try_next(now, number, cx),
            Some(Progress::Refused(code)) => self.finish(number, Some(RecallResult::Refused(code)), cx),
            _ => {}
        }
    }

    /// No answer (Timer B or F).
    pub fn on_failure(&mut self, now: Now, id: RecallId, cx: &mut impl RecallContext) {
        if self.is_current(id) {
            self.unanswered(now, id.recall, cx);
        }
    }

    /// Nobody has answered in time, us or, by a 408, somebody on the way: the next contact, or, of a phone that took the call, no transfer.
    fn unanswered(&mut self, now: Now, number: u64, cx: &mut impl RecallContext) {
        let Some(recall) = self.recalls.get_mut(&number) else { return };
        if recall.call.is_up() {
            self.hang_up(number, cx);
            self.finish(number, Some(RecallResult::Refused(408)), cx);
        } else {
            recall.silent = true;
            self.try_next(now, number, cx);
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
                self.unanswered(now, number, cx);
                continue;
            }
            self.hang_up(number, cx);
            if let Some(recall) = self.recalls.remove(&number)
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

    /// No request waits for its answer, and no call is up.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.trying == 0 && self.open_calls == 0
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

    /// A newer order for the pair: the coordinator has given this one up.
    fn replace(&mut self, number: u64, cx: &mut impl RecallContext) {
        let Some(recall) = self.recalls.get(&number) else { return };
        if matches!(recall.state, State::Trying(_)) {
            cx.stop(RecallId { recall: number, attempt: recall.attempt });
            self.finish(number, None, cx);
        }
        self.hang_up(number, cx);
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

impl Recall {
    /// Until when contacts are tried, one after the other.
    fn contacts_until(&self) -> Instant {
        if self.rung == 3 { self.ring_until } else { self.deadline }
    }
}

#[cfg(test)]
mod tests;
