//! A coordinator reached by gRPC: one bidirectional stream, attached again for ever.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use redial_core::EdgeId;
use redial_proto::convert;
use redial_proto::v1::link_client::LinkClient;
use redial_proto::v1::{CoordinatorFrame, EdgeFrame};
use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use super::task::{Heard, Outlet};
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

/// Attaches, passes on what is heard, and attaches again with backoff when the stream is lost. Ends with the link task.
pub(super) async fn keep_attached(replica: usize, url: String, edge: EdgeId, events: Sender<Heard>) {
    let Ok(endpoint) = channel(&url) else { return };
    let mut wait = REATTACH_MIN;
    while !events.is_closed() {
        match attach(&endpoint, &edge).await {
            Ok((frames, downlinks, first)) => {
                tracing::info!(coordinator = url, "attached");
                wait = REATTACH_MIN;
                if events.send(Heard::Attached(replica, Outlet::Grpc(frames))).await.is_err() {
                    return;
                }
                let ended = listen(first, downlinks, &events).await;
                tracing::warn!(coordinator = url, reason = reason(&ended), "stream lost");
                if ended.code() == Code::Aborted {
                    tracing::warn!(edge = edge.as_str(), "another edge attached under our name; edge ids must be unique");
                }
                if events.send(Heard::Lost(replica)).await.is_err() {
                    return;
                }
            }
            Err(status) => tracing::debug!(coordinator = url, reason = reason(&status), "not attached"),
        }
        tokio::time::sleep(jittered(wait)).await;
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
