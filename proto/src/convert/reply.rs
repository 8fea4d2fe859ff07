//! What a coordinator answers.

use std::time::Duration;

use redial_core::link::{Failure, NotWatched, Offline, Registered, Reply, Routed, Target, WatchRef};
use redial_core::{EdgeId, Fence, Flow, TraceContext};

use super::{ConvertError, each, into_each, millis, missing, narrow, traceparent};
use crate::v1;

impl From<(u64, Reply)> for v1::Reply {
    fn from((id, reply): (u64, Reply)) -> Self {
        use v1::reply::{Noted, Result};
        let result = match reply {
            Reply::Registered(r) => Result::Registered(r.into()),
            Reply::Routed(r) => Result::Routed(r.into()),
            Reply::Located(targets) => Result::Located(v1::Located { targets: into_each(targets) }),
            Reply::Noted => Result::Noted(Noted {}),
            Reply::Failed(failure) => Result::Failed(v1::Failure::from(failure).into()),
        };
        Self { id, result: Some(result) }
    }
}

impl TryFrom<v1::Reply> for (u64, Reply) {
    type Error = ConvertError;
    fn try_from(r: v1::Reply) -> Result<Self, ConvertError> {
        use v1::reply::Result as Wire;
        let reply = match missing(r.result, "reply.result")? {
            Wire::Registered(x) => Reply::Registered(x.try_into()?),
            Wire::Routed(x) => Reply::Routed(x.try_into()?),
            Wire::Located(x) => Reply::Located(each(x.targets)?),
            Wire::Noted(_) => Reply::Noted,
            Wire::Failed(x) => Reply::Failed(v1::Failure::try_from(x).unwrap_or_default().try_into()?),
        };
        Ok((r.id, reply))
    }
}

impl From<Registered> for v1::Registered {
    fn from(r: Registered) -> Self {
        match r {
            Registered::Bindings(bindings) => Self { out_of_order: false, bindings: into_each(bindings) },
            Registered::OutOfOrder => Self { out_of_order: true, bindings: Vec::new() },
        }
    }
}

impl TryFrom<v1::Registered> for Registered {
    type Error = ConvertError;
    fn try_from(r: v1::Registered) -> Result<Self, ConvertError> {
        if r.out_of_order { Ok(Self::OutOfOrder) } else { Ok(Self::Bindings(each(r.bindings)?)) }
    }
}

impl From<Routed> for v1::Routed {
    fn from(r: Routed) -> Self {
        use v1::routed::{Granted, Online, Result};
        let result = match r {
            Routed::Online { targets, report } => Result::Online(Online { targets: into_each(targets), report: into_each(report) }),
            Routed::Offline(Offline::Granted { period, trace }) => {
                Result::Granted(Granted { period_ms: millis(period), traceparent: traceparent(trace) })
            }
            Routed::Offline(Offline::NotWatched(why)) => Result::NotWatched(v1::NotWatched::from(why).into()),
        };
        Self { result: Some(result) }
    }
}

impl TryFrom<v1::Routed> for Routed {
    type Error = ConvertError;
    fn try_from(r: v1::Routed) -> Result<Self, ConvertError> {
        use v1::routed::Result as Wire;
        Ok(match missing(r.result, "routed.result")? {
            Wire::Online(x) => Self::Online { targets: each(x.targets)?, report: each(x.report)? },
            Wire::Granted(x) => {
                let trace = TraceContext::parse(&x.traceparent);
                Self::Offline(Offline::Granted { period: Duration::from_millis(x.period_ms), trace })
            }
            Wire::NotWatched(x) => Self::Offline(Offline::NotWatched(v1::NotWatched::try_from(x).unwrap_or_default().try_into()?)),
        })
    }
}

impl From<NotWatched> for v1::NotWatched {
    fn from(why: NotWatched) -> Self {
        match why {
            NotWatched::OptedOut => Self::OptedOut,
            NotWatched::CallerNotRegistered => Self::CallerNotRegistered,
            NotWatched::CallerNotAuthenticated => Self::CallerNotAuthenticated,
            NotWatched::CallerLimit => Self::CallerLimit,
            NotWatched::CalleeLimit => Self::CalleeLimit,
            NotWatched::TotalLimit => Self::TotalLimit,
            NotWatched::PolicyOff => Self::PolicyOff,
        }
    }
}

impl TryFrom<v1::NotWatched> for NotWatched {
    type Error = ConvertError;
    fn try_from(why: v1::NotWatched) -> Result<Self, ConvertError> {
        use v1::NotWatched as Wire;
        Ok(match why {
            Wire::Unspecified => return Err(ConvertError::Missing("not_watched")),
            Wire::OptedOut => Self::OptedOut,
            Wire::CallerNotRegistered => Self::CallerNotRegistered,
            Wire::CallerNotAuthenticated => Self::CallerNotAuthenticated,
            Wire::CallerLimit => Self::CallerLimit,
            Wire::CalleeLimit => Self::CalleeLimit,
            Wire::TotalLimit => Self::TotalLimit,
            Wire::PolicyOff => Self::PolicyOff,
        })
    }
}

impl From<Target> for v1::Target {
    fn from(t: Target) -> Self {
        Self { uri: t.uri, q: t.q.into(), path: t.path, edge: t.edge.as_str().into(), flow: t.flow.as_str().into() }
    }
}

impl TryFrom<v1::Target> for Target {
    type Error = ConvertError;
    fn try_from(t: v1::Target) -> Result<Self, ConvertError> {
        Ok(Self { uri: t.uri, q: narrow(t.q, "target.q")?, path: t.path, edge: EdgeId::new(t.edge), flow: Flow::new(t.flow) })
    }
}

impl From<WatchRef> for v1::WatchRef {
    fn from(w: WatchRef) -> Self {
        Self { pair: Some(w.pair.into()), fence: w.fence.0, traceparent: traceparent(w.trace) }
    }
}

impl TryFrom<v1::WatchRef> for WatchRef {
    type Error = ConvertError;
    fn try_from(w: v1::WatchRef) -> Result<Self, ConvertError> {
        let trace = TraceContext::parse(&w.traceparent);
        Ok(Self { pair: missing(w.pair, "watch_ref.pair")?.into(), fence: Fence(w.fence), trace })
    }
}

impl From<Failure> for v1::Failure {
    fn from(f: Failure) -> Self {
        match f {
            Failure::StoreUnavailable => Self::StoreUnavailable,
            Failure::Overloaded => Self::Overloaded,
            Failure::Timeout => Self::Timeout,
        }
    }
}

impl TryFrom<v1::Failure> for Failure {
    type Error = ConvertError;
    fn try_from(f: v1::Failure) -> Result<Self, ConvertError> {
        Ok(match f {
            v1::Failure::Unspecified => return Err(ConvertError::Missing("failure")),
            v1::Failure::StoreUnavailable => Self::StoreUnavailable,
            v1::Failure::Overloaded => Self::Overloaded,
            v1::Failure::Timeout => Self::Timeout,
        })
    }
}
