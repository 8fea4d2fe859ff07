//! `redial.v1.Link`: a bridge from a gRPC stream onto [`Coordinator::attach`].

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use redial_core::link::Order;
use redial_core::{EdgeId, WatchStore};
use redial_proto::convert;
use redial_proto::v1::edge_frame::Frame;
use redial_proto::v1::link_server::Link;
use redial_proto::v1::{CoordinatorFrame, EdgeFrame, Hello};
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use crate::coordinator::{Coordinator, LocalLink};
use crate::hub::Closed;
use crate::metrics::Dropped;

/// How long an edge may take to say who it is.
const HELLO: Duration = Duration::from_secs(10);

/// The service that edges attach to.
#[derive(Debug)]
pub struct LinkService<S> {
    coordinator: Coordinator<S>,
}

impl<S: WatchStore> LinkService<S> {
    #[must_use]
    pub fn new(coordinator: Coordinator<S>) -> Self {
        Self { coordinator }
    }
}

#[tonic::async_trait]
impl<S: WatchStore> Link for LinkService<S> {
    type AttachStream = Downlinks<S>;

    async fn attach(&self, request: Request<Streaming<EdgeFrame>>) -> Result<Response<Downlinks<S>>, Status> {
        let mut frames = request.into_inner();
        let Hello { edge, version } = hello(&mut frames).await?;
        let link = self.coordinator.attach(EdgeId::new(edge), &version);
        let reader = tokio::spawn(read(frames, link.requests.clone(), self.coordinator.clone()));
        Ok(Response::new(Downlinks::new(link, reader, self.coordinator.clone())))
    }
}

async fn hello(frames: &mut Streaming<EdgeFrame>) -> Result<Hello, Status> {
    let first = tokio::time::timeout(HELLO, frames.message()).await.map_err(|_| Status::deadline_exceeded("no Hello"))??;
    match first.and_then(|frame| frame.frame) {
        Some(Frame::Hello(hello)) if !hello.edge.is_empty() => Ok(hello),
        _ => Err(Status::invalid_argument("the first frame must be a Hello that names the edge")),
    }
}

/// Hands batches on until the edge ends its stream or the link is over.
async fn read<S: WatchStore>(
    mut frames: Streaming<EdgeFrame>,
    requests: tokio::sync::mpsc::Sender<Vec<redial_core::link::Request>>,
    coordinator: Coordinator<S>,
) {
    loop {
        let frame = tokio::select! {
            frame = frames.message() => frame,
            () = requests.closed() => return,
        };
        let batch = match frame {
            Ok(Some(EdgeFrame { frame: Some(Frame::Batch(batch)) })) => batch,
            // A second Hello changes nothing; an unknown kind of frame is a newer edge's.
            Ok(Some(_)) => {
                coordinator.metrics().dropped(Dropped::Unreadable, 1);
                continue;
            }
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "an edge's stream broke");
                return;
            }
        };
        let understood = convert::requests(batch, |error| {
            tracing::debug!(%error, "unreadable request");
            coordinator.metrics().dropped(Dropped::Unreadable, 1);
        });
        if !understood.is_empty() && requests.send(understood).await.is_err() {
            return;
        }
    }
}

/// Frames for one edge. Dropping it, because the edge hung up, ends the link; orders that have not left are given back.
#[derive(Debug)]
pub struct Downlinks<S: WatchStore> {
    link: LocalLink,
    reader: JoinHandle<()>,
    coordinator: Coordinator<S>,
    over: bool,
}

impl<S: WatchStore> Downlinks<S> {
    pub(crate) fn new(link: LocalLink, reader: JoinHandle<()>, coordinator: Coordinator<S>) -> Self {
        Self { link, reader, coordinator, over: false }
    }
}

impl<S: WatchStore> Stream for Downlinks<S> {
    type Item = Result<CoordinatorFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        match self.link.downlinks.poll_recv(cx) {
            Poll::Ready(Some(frame)) => Poll::Ready(Some(Ok(frame.into()))),
            Poll::Ready(None) => {
                self.over = true;
                let why = match self.link.closed() {
                    Some(Closed::Replaced) => Status::aborted("replaced by a newer stream of the same edge"),
                    Some(Closed::Stopping) => Status::unavailable("stopping"),
                    None => return Poll::Ready(None),
                };
                Poll::Ready(Some(Err(why)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: WatchStore> Drop for Downlinks<S> {
    fn drop(&mut self) {
        self.reader.abort();
        self.link.downlinks.close();
        let unsent = std::iter::from_fn(|| self.link.downlinks.try_recv().ok());
        let orders: Vec<Order> = unsent.flat_map(|frame| frame.orders).collect();
        if !orders.is_empty() {
            self.coordinator.give_back(orders);
        }
    }
}
