//! Expired-key notifications of Redis as hints to look now.
//!
//! They are fire-and-forget, come when Redis drops the key rather than when its time is up, and reach every replica. So nothing depends
//! on them: the due index and the sweep are the truth, a hint only makes the end of a watch come sooner. One that does not fit the
//! channel is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use redial_core::Pair;
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisResult};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{RedisStore, keys};
use crate::Hints;

/// Longest wait for Redis to connect or to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the subscription's connection is tried, so that a peer that vanished without a word is noticed.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Wait before subscribing again: one try per second costs nothing and a failover takes longer.
const RETRY: Duration = Duration::from_secs(1);

/// What [`hints`] gives.
#[derive(Debug)]
pub struct Expiries {
    pub hints: Hints,
    /// Hints that did not fit the channel.
    pub dropped: Arc<AtomicU64>,
}

/// Listens to the expired watches of `store` until `stop`, through every loss of the connection. At most `capacity` hints wait.
/// Must be called inside a tokio runtime.
#[must_use]
pub fn hints(store: &RedisStore, capacity: usize, stop: CancellationToken) -> Expiries {
    let (expired, receiver) = mpsc::channel(capacity);
    let (on, is_on) = watch::channel(false);
    let dropped = Arc::new(AtomicU64::new(0));
    let listener = Listener { client: store.client().clone(), expired, on, dropped: dropped.clone() };
    tokio::spawn(async move {
        // Dropping the future closes the connection.
        let _ = stop.run_until_cancelled(listener.run()).await;
    });
    Expiries { hints: Hints { expired: receiver, on: is_on, dropped: dropped.clone() }, dropped }
}

struct Listener {
    client: Client,
    expired: mpsc::Sender<Pair>,
    on: watch::Sender<bool>,
    dropped: Arc<AtomicU64>,
}

/// Why a subscription ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{0}")]
    Redis(#[from] redis::RedisError),
    #[error("no answer in time")]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error("connection closed")]
    Closed,
}

impl Listener {
    async fn run(self) {
        loop {
            let lost = match self.listen().await {
                Ok(()) => return,
                Err(lost) => lost,
            };
            if self.on.send_replace(false) {
                tracing::warn!(error = %lost, "expired-key notifications lost, the sweep goes on without them");
            } else {
                tracing::debug!(error = %lost, "no subscription to expired-key notifications");
            }
            sleep(RETRY).await;
        }
    }

    /// Subscribes and passes hints on until the connection is lost. Returns when nobody wants hints any more.
    async fn listen(&self) -> Result<(), Lost> {
        let channel = format!("__keyevent@{}__:expired", self.client.get_connection_info().redis_settings().db());
        let mut pubsub = timeout(PATIENCE, self.client.get_async_pubsub()).await??;
        timeout(PATIENCE, pubsub.subscribe(channel)).await??;
        // After every connect: a Redis that has taken over may be set otherwise.
        let on = self.switch_on().await?;
        self.on.send_replace(on);
        let (mut sink, mut messages) = pubsub.split();
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => self.pass_on(message.ok_or(Lost::Closed)?.get_payload_bytes()),
                _ = ping.tick() => timeout(PATIENCE, sink.ping::<redis::Value>()).await?.map(drop)?,
                () = self.expired.closed() => return Ok(()),
            }
        }
    }

    fn pass_on(&self, key: &[u8]) {
        let Some(pair) = keys::parse_watch(key) else { return };
        // They come after all: an operator switched them on where we may not.
        self.on.send_if_modified(|on| !std::mem::replace(on, true));
        if self.expired.try_send(pair).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A Redis that makes room by dropping keys drops watches that were granted.
    async fn warn_of_eviction(&self, connection: &mut MultiplexedConnection) {
        let mut get = redis::cmd("CONFIG");
        get.arg("GET").arg("maxmemory-policy");
        // Not allowed to ask, or no answer: the next command tells.
        let Ok(Ok(found)) = timeout(PATIENCE, get.query_async::<Vec<String>>(connection)).await else { return };
        if let Some(policy) = found.get(1).filter(|policy| *policy != "noeviction") {
            tracing::warn!(policy, "redis may evict watches when it is full; set maxmemory-policy to noeviction");
        }
    }

    /// Makes Redis send the events, keeping what it sends already. False where that is not allowed.
    async fn switch_on(&self) -> Result<bool, Lost> {
        let mut connection = timeout(PATIENCE, self.client.get_multiplexed_async_connection()).await??;
        self.warn_of_eviction(&mut connection).await;
        let get = redis::cmd("CONFIG").arg("GET").arg(SETTING).to_owned();
        let found: RedisResult<Vec<String>> = timeout(PATIENCE, get.query_async(&mut connection)).await?;
        let flags = match found {
            Ok(found) => found.into_iter().nth(1).unwrap_or_default(),
            Err(error) if error.is_io_error() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "cannot read {SETTING}; unless it includes Ex, expired watches are found by the sweep only");
                return Ok(false);
            }
        };
        let Some(wanted) = with_expired(&flags) else { return Ok(true) };
        let set = redis::cmd("CONFIG").arg("SET").arg(SETTING).arg(&wanted).to_owned();
        let done: RedisResult<redis::Value> = timeout(PATIENCE, set.query_async(&mut connection)).await?;
        match done {
            Ok(_) => {
                tracing::info!(before = flags, after = wanted, "expired-key notifications switched on");
                Ok(true)
            }
            Err(error) if error.is_io_error() => Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, flags, "cannot set {SETTING}; expired watches are found by the sweep only");
                Ok(false)
            }
        }
    }
}

const SETTING: &str = "notify-keyspace-events";

/// `flags` with keyevent (`E`) and expired (`x`, part of `A`) added; `None` when they are there.
fn with_expired(flags: &str) -> Option<String> {
    let mut wanted = flags.to_owned();
    if !flags.contains('E') {
        wanted.push('E');
    }
    if !flags.contains(['x', 'A']) {
        wanted.push('x');
    }
    (wanted != flags).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::with_expired;

    #[test]
    fn other_flags_are_kept() {
        assert_eq!(with_expired(""), Some("Ex".to_owned()));
        assert_eq!(with_expired("K$"), Some("K$Ex".to_owned()));
        assert_eq!(with_expired("KA"), Some("KAE".to_owned()));
        assert_eq!(with_expired("xE"), None);
        assert_eq!(with_expired("AKE"), None);
    }
}
