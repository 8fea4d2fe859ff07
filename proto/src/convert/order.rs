//! What a coordinator tells an edge to do.

use std::time::Duration;

use redial_core::link::{Credentials, Order, ProbeOrder, RecallOrder, StopOrder};
use redial_core::{Aor, BindingId, Fence, TraceContext};

use super::{ConvertError, each, into_each, millis, missing, narrow, traceparent};
use crate::v1;

impl From<Order> for v1::Order {
    fn from(order: Order) -> Self {
        let order = match order {
            Order::Recall(r) => v1::order::Order::Recall(r.into()),
            Order::Probe(p) => {
                v1::order::Order::Probe(v1::ProbeOrder { aor: p.aor.as_str().into(), binding: p.binding.0, target: Some(p.target.into()) })
            }
            Order::Stop(s) => v1::order::Order::Stop(v1::StopOrder { pair: Some(s.pair.into()), fence: s.fence.0 }),
        };
        Self { order: Some(order) }
    }
}

impl TryFrom<v1::Order> for Order {
    type Error = ConvertError;
    fn try_from(order: v1::Order) -> Result<Self, ConvertError> {
        match missing(order.order, "order")? {
            v1::order::Order::Recall(r) => Ok(Self::Recall(r.try_into()?)),
            v1::order::Order::Probe(p) => Ok(Self::Probe(ProbeOrder {
                aor: Aor::new(p.aor),
                binding: BindingId(p.binding),
                target: missing(p.target, "probe_order.target")?.try_into()?,
            })),
            v1::order::Order::Stop(s) => {
                Ok(Self::Stop(StopOrder { pair: missing(s.pair, "stop_order.pair")?.into(), fence: Fence(s.fence) }))
            }
        }
    }
}

impl From<RecallOrder> for v1::RecallOrder {
    fn from(r: RecallOrder) -> Self {
        Self {
            pair: Some(r.pair.into()),
            fence: r.fence.0,
            rung: r.rung.into(),
            targets: into_each(r.targets),
            timeout_ms: millis(r.timeout),
            credentials: r.credentials.map(|c| v1::Credentials { username: c.username, password: c.password }),
            traceparent: traceparent(r.trace),
        }
    }
}

impl TryFrom<v1::RecallOrder> for RecallOrder {
    type Error = ConvertError;
    fn try_from(r: v1::RecallOrder) -> Result<Self, ConvertError> {
        Ok(Self {
            pair: missing(r.pair, "recall_order.pair")?.into(),
            fence: Fence(r.fence),
            rung: narrow(r.rung, "recall_order.rung")?,
            targets: each(r.targets)?,
            timeout: Duration::from_millis(r.timeout_ms),
            credentials: r.credentials.map(|c| Credentials { username: c.username, password: c.password }),
            trace: TraceContext::parse(&r.traceparent),
        })
    }
}
