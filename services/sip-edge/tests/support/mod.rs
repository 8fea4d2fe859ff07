//! A coordinator played by the test: a real gRPC server on loopback that does what its part says, and can be killed.

#![allow(dead_code, reason = "each test file uses its part")]

use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use redial_core::link::{Downlink, Order, Reply, Request};
use redial_core::{Aor, EdgeId, Fence, Pair, Policy, PolicySet};
use redial_proto::v1::edge_frame::Frame;
use redial_proto::v1::link_server::{Link, LinkServer};
use redial_proto::v1::{CoordinatorFrame, EdgeFrame};
use redial_proto::{convert, v1};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request as Call, Response, Status, Streaming};

/// Every wait in these tests ends by then.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a fake coordinator does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Notes each frame with one frame of replies.
    Answers,
    /// Takes requests and never replies.
    Silent,
}

/// A running fake coordinator. Dropping it cuts every connection, as SIGKILL would.
#[derive(Debug)]
pub struct Fake {
    pub addr: SocketAddr,
    /// Frames in the order of arrival.
    pub frames: UnboundedReceiver<Vec<Request>>,
    /// To the edges that attach: one frame each.
    pub downlinks: Sender<Downlink>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Fake {
    pub fn start(part: Part) -> Self {
        Self::on("127.0.0.1:0".parse().unwrap(), part)
    }

    /// On a given port: the same replica after a restart.
    pub fn on(addr: SocketAddr, part: Part) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = {
            let _inside = runtime.enter();
            let listener = StdListener::bind(addr).unwrap();
            listener.set_nonblocking(true).unwrap();
            tokio::net::TcpListener::from_std(listener).unwrap()
        };
        let addr = listener.local_addr().unwrap();
        let (seen, frames) = unbounded_channel();
        let (downlinks, orders) = channel(16);
        let service = Service { part, seen, orders: std::sync::Arc::new(tokio::sync::Mutex::new(orders)) };
        runtime.spawn(
            tonic::transport::Server::builder().add_service(LinkServer::new(service)).serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self { addr, frames, downlinks, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub async fn frame(&mut self) -> Vec<Request> {
        tokio::time::timeout(PATIENCE, self.frames.recv()).await.expect("a frame in time").expect("coordinator runs")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct Service {
    part: Part,
    seen: UnboundedSender<Vec<Request>>,
    orders: std::sync::Arc<tokio::sync::Mutex<Receiver<Downlink>>>,
}

#[tonic::async_trait]
impl Link for Service {
    type AttachStream = ReceiverStream<Result<CoordinatorFrame, Status>>;

    async fn attach(&self, call: Call<Streaming<EdgeFrame>>) -> Result<Response<Self::AttachStream>, Status> {
        let mut frames = call.into_inner();
        let hello = frames.message().await?.and_then(|frame| frame.frame);
        if !matches!(hello, Some(Frame::Hello(v1::Hello { ref edge, .. })) if edge == "edge-1") {
            return Err(Status::invalid_argument("no hello"));
        }
        let (out, stream) = channel(64);
        let first = Downlink { policies: Some(policies().into()), ..Downlink::default() };
        out.send(Ok(first.into())).await.unwrap();
        let (part, seen, orders) = (self.part, self.seen.clone(), self.orders.clone());
        tokio::spawn(async move {
            let mut orders = orders.lock().await;
            loop {
                let downlink = tokio::select! {
                    frame = frames.message() => {
                        let Ok(Some(EdgeFrame { frame: Some(Frame::Batch(batch)) })) = frame else { return };
                        let requests = convert::requests(batch, |error| panic!("{error}"));
                        let replies = requests.iter().map(|request| (request.id, Reply::Noted)).collect();
                        let _ = seen.send(requests);
                        if part == Part::Silent { continue }
                        Downlink { replies, ..Downlink::default() }
                    }
                    Some(downlink) = orders.recv() => downlink,
                };
                if out.send(Ok(downlink.into())).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Recognisable policies.
pub fn policies() -> PolicySet {
    PolicySet { max_watches: 4711, default: Policy::default(), rules: Vec::new() }
}

pub fn edge() -> EdgeId {
    EdgeId::new("edge-1")
}

pub fn aor(user: u64) -> Aor {
    Aor::new(format!("u{user}@example.com"))
}

pub fn recall(user: u64) -> Order {
    let pair = Pair { callee: aor(user), caller: aor(user + 1) };
    Order::Recall(redial_core::link::RecallOrder {
        pair,
        fence: Fence(1),
        rung: 1,
        targets: Vec::new(),
        timeout: Duration::from_secs(1),
        credentials: None,
        trace: None,
    })
}
