//! A coordinator reached by gRPC: one bidirectional stream, attached again for ever.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use redial_core::EdgeId;
use redial_proto::convert;
use redial_proto::v1::link_client::LinkClient;
use redial_proto::v1::{CoordinatorFrame, EdgeFrame};
use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use super::replicas::{Outlet, ReplicaId};
use super::task::Heard;
use super::{BadUrl, REATTACH_MAX, REATTACH_MIN};

/// Frames that wait for the stream; more than are ever unanswered.
const FRAMES: usize = 16;
/// A replica that does not take the connection, or does not send its first frame, within this time is not attached.
const ATTACH: Duration = Duration::from_secs(3);
/// A peer that vanished without a word is noticed after at most the sum of these.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3));
/// Coordinators are trusted; a frame of many replies with many bindings each may be large.
const LARGEST_FRAME: usize = 64 << 20;

/// A channel that connects when it is first used.
pub(super) fn channel(url: &str) -> Result<Endpoint, BadUrl> {
    let bad = || BadUrl(url.to_owned());
    let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|_| bad())?;
    if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().authority().is_none() {
        return Err(bad());
    }
    Ok(endpoint
        .connect_timeout(ATTACH)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .keep_alive_while_idle(true))
}

/// A replica to be attached to.
#[derive(Debug)]
pub(super) struct Replica {
    pub id: ReplicaId,
    /// The same for all edges, for rendezvous hashing.
    pub name: String,
    pub url: String,
    /// Cancelled when it is no longer listed.
    pub leaving: CancellationToken,
}

/// Attached for as long as the replica is listed, and then until it has answered what it was asked or ends the stream itself.
pub(super) async fn keep_attached(replica: Replica, edge: EdgeId, events: Sender<Heard>) {
    let (id, drained) = (replica.id, CancellationToken::new());
    if events.send(Heard::Joined { id, name: replica.name.clone(), drained: drained.clone() }).await.is_err() {
        return;
    }
    let tell = async {
        replica.leaving.cancelled().await;
        let _ = events.send(Heard::Left(id)).await;
        std::future::pending().await
    };
    tokio::select! {
        () = attach_again(&replica, &edge, &events) => {}
        () = drained.cancelled() => {}
        () = tell => {}
    }
    if replica.leaving.is_cancelled() {
        tracing::info!(coordinator = replica.name, "detached, the coordinator is no longer listed");
    }
    // Err: the link task has ended.
    let _ = events.send(Heard::Gone(id)).await;
}

/// Attaches, passes on what is heard, and attaches again with backoff when the stream is lost. Ends with the link task, or detached from a
/// replica that is leaving.
async fn attach_again(replica: &Replica, edge: &EdgeId, events: &Sender<Heard>) {
    let (id, name, url) = (replica.id, &replica.name, &replica.url);
    let Ok(endpoint) = channel(url) else { return };
    let mut wait = REATTACH_MIN;
    while !events.is_closed() {
        let Some(attached) = replica.leaving.run_until_cancelled(attach(&endpoint, edge)).await else { return };
        match attached {
            Ok((frames, downlinks, first)) => {
                tracing::info!(coordinator = name, url, "attached");
                wait = REATTACH_MIN;
                if events.send(Heard::Attached(id, Outlet::Grpc(frames))).await.is_err() {
                    return;
                }
                let ended = listen(first, downlinks, events).await;
                tracing::warn!(coordinator = name, reason = reason(&ended), "stream lost");
                if ended.code() == Code::Aborted && !replica.leaving.is_cancelled() {
                    tracing::warn!(edge = edge.as_str(), "another edge attached under our name; edge ids must be unique");
                }
                if events.send(Heard::Lost(id)).await.is_err() {
                    return;
                }
            }
            Err(status) => tracing::debug!(coordinator = name, url, reason = reason(&status), "not attached"),
        }
        if replica.leaving.run_until_cancelled(tokio::time::sleep(jittered(wait))).await.is_none() {
            return;
        }
        wait = (wait * 2).min(REATTACH_MAX);
    }
}

type Stream = (Sender<EdgeFrame>, Streaming<CoordinatorFrame>, CoordinatorFrame);

/// Attached is who has sent the first frame.
async fn attach(endpoint: &Endpoint, edge: &EdgeId) -> Result<Stream, Status> {
    let attached = async {
        let channel: Channel = endpoint.connect().await.map_err(|error| Status::unavailable(chain(&error)))?;
        let mut client = LinkClient::new(channel).max_decoding_message_size(LARGEST_FRAME);
        let (frames, outgoing) = tokio::sync::mpsc::channel(FRAMES);
        // Cannot fail: the channel is new and empty.
        let _ = frames.try_send(convert::hello(edge, env!("CARGO_PKG_VERSION")));
        let mut downlinks = client.attach(ReceiverStream::new(outgoing)).await?.into_inner();
        let first = downlinks.message().await?.ok_or_else(|| Status::unavailable("closed before the first frame"))?;
        Ok((frames, downlinks, first))
    };
    tokio::time::timeout(ATTACH, attached).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no first frame")))
}

/// Passes frames on until the stream ends.
async fn listen(first: CoordinatorFrame, mut downlinks: Streaming<CoordinatorFrame>, events: &Sender<Heard>) -> Status {
    let mut frame = first;
    loop {
        let mut errors = 0;
        let downlink = convert::downlink(frame, |error| {
            errors += 1;
            tracing::debug!(%error, "part of a coordinator's frame left out");
        });
        if errors > 0 && events.send(Heard::Garbled(errors)).await.is_err() || events.send(Heard::Downlink(downlink)).await.is_err() {
            return Status::cancelled("edge is stopping");
        }
        frame = match downlinks.message().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return Status::unavailable("closed by the coordinator"),
            Err(status) => return status,
        };
    }
}

/// Half to all of `wait`, so that edges do not come back in step.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(0u8) % 512;
    wait.mul_f64(0.5 + random as f64 / 1024.0)
}

fn reason(status: &Status) -> String {
    format!("{}: {}", status.code(), status.message())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
