//! Whole frames of the stream.

use std::sync::Arc;

use redial_core::EdgeId;
use redial_core::link::{Downlink, Request};

use super::{ConvertError, into_each};
use crate::v1;

/// The first frame of an edge.
#[must_use]
pub fn hello(edge: &EdgeId, version: &str) -> v1::EdgeFrame {
    let hello = v1::Hello { edge: edge.as_str().into(), version: version.into() };
    v1::EdgeFrame { frame: Some(v1::edge_frame::Frame::Hello(hello)) }
}

/// Every further frame of an edge.
#[must_use]
pub fn batch(requests: Vec<Request>) -> v1::EdgeFrame {
    v1::EdgeFrame { frame: Some(v1::edge_frame::Frame::Batch(v1::Batch { requests: into_each(requests) })) }
}

/// The requests of a batch, in order. What is not understood is handed to `on_error` and left out.
pub fn requests(batch: v1::Batch, on_error: impl FnMut(ConvertError)) -> Vec<Request> {
    understood(batch.requests, on_error)
}

impl From<Downlink> for v1::CoordinatorFrame {
    fn from(d: Downlink) -> Self {
        Self { replies: into_each(d.replies), orders: into_each(d.orders), policies: d.policies.map(|set| (&*set).into()) }
    }
}

/// A coordinator's frame. What is not understood is handed to `on_error` and left out.
pub fn downlink(frame: v1::CoordinatorFrame, mut on_error: impl FnMut(ConvertError)) -> Downlink {
    Downlink {
        replies: understood(frame.replies, &mut on_error),
        orders: understood(frame.orders, &mut on_error),
        policies: frame.policies.and_then(|set| set.try_into().map_err(&mut on_error).ok()).map(Arc::new),
    }
}

fn understood<A, B: TryFrom<A, Error = ConvertError>>(items: Vec<A>, mut on_error: impl FnMut(ConvertError)) -> Vec<B> {
    items.into_iter().filter_map(|item| B::try_from(item).map_err(&mut on_error).ok()).collect()
}
