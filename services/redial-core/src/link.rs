//! What edges and coordinators say to each other. The gRPC stream and the in-process channel of `redial standalone` carry exactly these.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Aor, Binding, BindingId, EdgeId, Fence, Flow, Pair, PolicySet, TraceContext};

/// One event from an edge. `id` is unique per edge process and stream; the reply names it.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub id: u64,
    /// The edge forgets the request after this long; a coordinator drops what is already older.
    pub timeout: Duration,
    pub event: Event,
    /// The span that the event is part of, if it is traced.
    pub trace: Option<TraceContext>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Register(Register),
    Route(Route),
    Locate(Locate),
    RecallReport(RecallReport),
    CallReport(CallReport),
    ProbeReport(ProbeReport),
}

impl Event {
    /// Whether the edge may send it again after a lost stream without knowing whether it arrived.
    /// Every event is today: REGISTER by Call-ID and CSeq, arming by pair, reports by fence. A new event must decide.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        match self {
            Self::Register(_) | Self::Route(_) | Self::Locate(_) | Self::RecallReport(_) | Self::CallReport(_) | Self::ProbeReport(_) => {
                true
            }
        }
    }

    /// Whether it tells what has happened instead of asking: it stays true when it comes late.
    #[must_use]
    pub fn is_report(&self) -> bool {
        matches!(self, Self::RecallReport(_) | Self::CallReport(_) | Self::ProbeReport(_))
    }

    /// The AoR whose replica handles it (rendezvous hash, for locality only).
    #[must_use]
    pub fn key(&self) -> &Aor {
        match self {
            Self::Register(e) => &e.aor,
            Self::Route(e) => &e.callee,
            Self::Locate(e) => &e.aor,
            Self::RecallReport(e) => &e.pair.callee,
            Self::CallReport(e) => &e.pair.callee,
            Self::ProbeReport(e) => &e.aor,
        }
    }
}

/// A REGISTER that passed authentication, authorisation and the edge's expires rules (RFC 3261 section 10.3).
#[derive(Clone, Debug, PartialEq)]
pub struct Register {
    pub aor: Aor,
    pub call_id: String,
    pub cseq: u32,
    pub change: BindingChange,
}

#[derive(Clone, Debug, PartialEq)]
pub enum BindingChange {
    /// No Contact: only list.
    Fetch,
    /// `Contact: *` with `Expires: 0`.
    RemoveAll,
    /// In the order of the Contact headers.
    Each(Vec<ContactChange>),
}

#[derive(Clone, Debug, PartialEq)]
pub enum ContactChange {
    Put(Binding),
    Remove(BindingId),
}

/// An INVITE for an AoR of ours: where does it go, and if nowhere, is the caller remembered?
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub callee: Aor,
    /// None when From is no AoR that could ever register here.
    pub caller: Option<Aor>,
    /// The caller proved to be `caller` by digest, here or to the server upstream. When false, only a registration from the same flow counts as proof.
    pub authenticated: bool,
    pub flow: Flow,
    pub edge: EdgeId,
    pub period: RequestedPeriod,
    pub stage: RouteStage,
}

/// How far the INVITE has come. Servers upstream, where there are any, route it themselves: then the coordinator only hears what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteStage {
    /// It goes nowhere before the reply.
    #[default]
    Lookup,
    /// A server upstream has it. Watches of the pair are being called and nothing is armed; the reply is always `Routed::Online` without
    /// targets, whether or not the callee has a binding.
    Ringing,
    /// A server upstream has answered that the callee is offline. `Routed::Offline` where no binding says otherwise. `Routed::Online` where
    /// one does: the call has failed for another reason, which is to be reported. Its targets, for a caller who would be remembered, are phones that
    /// answered a probe: the server does not know of them. The refs of an earlier `Ringing` are void either way.
    Offline,
}

/// The monitoring period that the INVITE asked for, after the policy's `periodFrom` and `min` rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedPeriod {
    /// Nothing usable: the policy's default applies.
    Absent,
    Seconds(u32),
    /// `0`: do not watch, and cancel what is watched for this pair.
    OptOut,
}

/// Where is this AoR? For requests other than INVITE.
#[derive(Clone, Debug, PartialEq)]
pub struct Locate {
    pub aor: Aor,
}

/// What became of a [`RecallOrder`].
#[derive(Clone, Debug, PartialEq)]
pub struct RecallReport {
    pub pair: Pair,
    pub fence: Fence,
    pub rung: u8,
    pub result: RecallResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecallResult {
    /// 2xx to the REFER or the MESSAGE. It proves nothing yet.
    Accepted,
    /// Any other final answer but those of `Unreachable`.
    Refused(u16),
    /// No flow, or 430, 480: the caller is gone.
    Unreachable,
    /// Some contact was asked and said nothing (408: somebody on the way says so), and no other took the recall: the phone is off, or what it was
    /// asked by is dropped.
    Silent,
    /// A NOTIFY reported this final status of the new call (RFC 3515 section 2.4.5).
    Notified(u16),
    /// Rung 3: the phone rang and nobody answered.
    Unanswered,
    /// Rung 3: somebody is on the phone or does not want to be called: 486, 600, 603, 607, or a BYE before the transfer.
    Declined(u16),
}

/// What became of a call between a watched pair.
#[derive(Clone, Debug, PartialEq)]
pub struct CallReport {
    pub pair: Pair,
    pub fence: Fence,
    pub result: CallResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallResult {
    Established,
    /// The best final answer of the callee's phones.
    Failed(u16),
    /// The caller cancelled before an answer.
    Cancelled,
    /// A server upstream asks the caller for a password (401, 407): the phone calls again at once, or never.
    Challenged(u16),
    /// BYE of an established call that was made by a recall: the next caller may have a turn.
    Ended,
}

/// The phone behind this contact has answered a [`ProbeOrder`] with 2xx. Silence and refusals are not reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    pub aor: Aor,
    pub binding: BindingId,
}

/// The coordinator's answer to one [`Request`].
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Registered(Registered),
    Routed(Routed),
    Located(Vec<Target>),
    /// A report was taken in.
    Noted,
    Failed(Failure),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Registered {
    /// Every live binding of the AoR after the change (RFC 3261 section 10.3 step 8).
    Bindings(Vec<Binding>),
    /// Same Call-ID with a CSeq that is not higher: nothing was changed, answer 500.
    OutOfOrder,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Routed {
    /// `report` lists the watches between the two, in either direction: report the call's outcome for each.
    Online {
        targets: Vec<Target>,
        report: Vec<WatchRef>,
    },
    Offline(Offline),
}

/// Answer 480; a grant says that the caller is being remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offline {
    /// `trace`: the span that the INVITE is to be exported as.
    Granted {
        period: Duration,
        trace: Option<TraceContext>,
    },
    NotWatched(NotWatched),
}

/// Why an INVITE to somebody offline armed no watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotWatched {
    OptedOut,
    CallerNotRegistered,
    CallerNotAuthenticated,
    CallerLimit,
    CalleeLimit,
    TotalLimit,
    PolicyOff,
}

impl NotWatched {
    pub const ALL: [Self; 7] = [
        Self::OptedOut,
        Self::CallerNotRegistered,
        Self::CallerNotAuthenticated,
        Self::CallerLimit,
        Self::CalleeLimit,
        Self::TotalLimit,
        Self::PolicyOff,
    ];

    /// The word used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OptedOut => "opted_out",
            Self::CallerNotRegistered => "caller_not_registered",
            Self::CallerNotAuthenticated => "caller_not_authenticated",
            Self::CallerLimit => "caller_limit",
            Self::CalleeLimit => "callee_limit",
            Self::TotalLimit => "total_limit",
            Self::PolicyOff => "policy_off",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRef {
    pub pair: Pair,
    pub fence: Fence,
    /// What the call is part of, if the watch is traced.
    pub trace: Option<TraceContext>,
}

/// One place to send a request to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Contact URI: becomes the Request-URI.
    pub uri: String,
    pub q: u16,
    /// Becomes the Route set (RFC 3327).
    pub path: Vec<String>,
    pub edge: EdgeId,
    pub flow: Flow,
}

impl From<&Binding> for Target {
    fn from(b: &Binding) -> Self {
        Self { uri: b.uri.clone(), q: b.q, path: b.path.clone(), edge: b.edge.clone(), flow: b.flow.clone() }
    }
}

/// Why there is no proper answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    #[error("the store is unavailable")]
    StoreUnavailable,
    #[error("the coordinator is overloaded")]
    Overloaded,
    #[error("no coordinator answered in time")]
    Timeout,
}

/// What a coordinator tells an edge to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    Recall(RecallOrder),
    Stop(StopOrder),
    Probe(ProbeOrder),
}

impl Order {
    /// Orders with the same key meet the same worker of an edge: callee and caller of a recall, or who is probed.
    #[must_use]
    pub fn key(&self) -> (&Aor, Option<&Aor>) {
        match self {
            Self::Recall(order) => (&order.pair.callee, Some(&order.pair.caller)),
            Self::Stop(order) => (&order.pair.callee, Some(&order.pair.caller)),
            Self::Probe(order) => (&order.aor, None),
        }
    }
}

/// Ask the phone behind this contact, whose registration has run out, by OPTIONS whether it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeOrder {
    pub aor: Aor,
    pub binding: BindingId,
    pub target: Target,
}

/// The recall with this fence is not wanted any more: what rings stops ringing, nothing of it is sent again and nothing is reported. An order
/// that gets lost costs no more than a phone that rings until the recall's own time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopOrder {
    pub pair: Pair,
    pub fence: Fence,
}

/// Rung 3: how much of an order's time is left for the transfer when the phone stops ringing.
pub const TRANSFER: Duration = Duration::from_secs(5);

/// Ask `pair.caller`'s phone to call `pair.callee` again.
#[derive(Clone, Debug, PartialEq)]
pub struct RecallOrder {
    pub pair: Pair,
    pub fence: Fence,
    /// Rung of the ladder: 1 REFER without subscription, 2 REFER with its subscription, 3 a call that is transferred, 4 MESSAGE.
    pub rung: u8,
    /// The caller's contacts that came by this edge, best first. The next is tried only when one is unreachable.
    pub targets: Vec<Target>,
    /// Give up and report `Silent` after this long without a final answer.
    pub timeout: Duration,
    /// Who we are for a phone that asks (401, 407).
    pub credentials: Option<Credentials>,
    /// The recall, if the watch is traced.
    pub trace: Option<TraceContext>,
}

/// A name and its password. Does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// One frame from a coordinator to an edge.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Downlink {
    pub replies: Vec<(u64, Reply)>,
    pub orders: Vec<Order>,
    /// Sent first on every stream and after each change.
    pub policies: Option<Arc<PolicySet>>,
}
