//! The store in Redis, for several replicas at once.
//!
//! Hot operations are plain commands, one pipeline for a whole batch ([`hot`]); rare ones are scripts that compare the record's fence
//! ([`rare`]). Every key has a TTL but the due index, which [`redial_core::WatchStore::end`] empties. What the keys hold: `keys.rs`.
//!
//! Redis may be away (P6): a call fails within [`RESPONSE_TIMEOUT`], the next one tries to connect again, nothing needs a restart.

mod hot;
#[cfg(test)]
mod interleavings;
mod lessons;
mod probes;
mod rare;
mod reply;
mod scripts;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redial_core::link::Register;
use redial_core::store::{
    ArmOutcome, Due, LastContacts, Lesson, Lookup, LookupOp, RegisterOutcome, Step, StepOutcome, StoreError, Turn, keep_lessons,
};
use redial_core::{Aor, Binding, Fence, Pair, Shard, UnixMillis, Watch, WatchStore};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionInfo, IntoConnectionInfo, Pipeline, RedisError, RedisResult, TlsCertificates, Value};

use scripts::Scripts;

/// Longest wait for an answer of Redis: well below the edges' deadlines, well above a slow `BGSAVE` fork.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection whose data is not acknowledged for this long is dropped, so that a peer that vanished without a word is noticed.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(3);

/// A store in one Redis, named by a `redis://` or `rediss://` (TLS) URL with user, password and database number where needed.
pub struct RedisStore {
    client: Client,
    connection: ConnectionManager,
    scripts: Scripts,
    /// The last score given out in a queue.
    arrivals: AtomicU64,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").finish_non_exhaustive()
    }
}

impl RedisStore {
    /// A store at `url`. Connects with the first operation, so Redis may come later. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the URL is none.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        Self::with(Client::open(addressed(url)?))
    }

    /// The same for a `rediss://` URL, with certificates other than the public ones.
    ///
    /// # Errors
    /// As [`RedisStore::open`], and when a certificate is none.
    pub fn open_tls(url: &str, certificates: TlsCertificates) -> Result<Self, StoreError> {
        Self::with(Client::build_with_tls(addressed(url)?, certificates))
    }

    fn with(client: RedisResult<Client>) -> Result<Self, StoreError> {
        // The client takes the process's provider and panics without one; another one that is installed already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = client.map_err(unavailable)?;
        // Without retries a call while Redis is away fails at once instead of waiting for a back-off; the next call connects again.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(RESPONSE_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(unavailable)?;
        Ok(Self { client, connection, scripts: Scripts::new(), arrivals: AtomicU64::new(0) })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The same connection, for somebody who asks how Redis is.
    pub(super) fn asker(&self) -> Asker {
        Asker(self.connection.clone())
    }

    /// Runs the commands in order, in one round trip. Other clients' commands may run between them.
    async fn run(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = self.connection.clone();
        match pipeline.query_async(&mut connection).await {
            Ok(replies) => Ok(replies),
            Err(error) => {
                if is_read_only(&error) {
                    // A primary that was demoted keeps its connections, so the name would never be looked up again: hang up.
                    let _ = redis::cmd("QUIT").query_async::<Value>(&mut connection).await;
                }
                Err(unavailable(error))
            }
        }
    }

    /// Place in a queue for a watch that was armed at `armed_at`: its time in microseconds, always later than the one before, so that
    /// watches of the same millisecond keep their order. Exact in a double until the year 2255.
    fn arrival(&self, armed_at: UnixMillis) -> u64 {
        let time = armed_at.0.saturating_mul(1000);
        let next = |last: u64| time.max(last + 1);
        let last = self.arrivals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last))).unwrap_or_default();
        next(last)
    }
}

pub(super) struct Asker(ConnectionManager);

impl Asker {
    pub(super) async fn info(&self) -> Result<String, StoreError> {
        redis::cmd("INFO").query_async(&mut self.0.clone()).await.map_err(unavailable)
    }
}

impl WatchStore for RedisStore {
    async fn register(&self, now: UnixMillis, ops: &[Register]) -> Result<Vec<RegisterOutcome>, StoreError> {
        self.register_all(now, ops).await
    }

    async fn lookup(&self, now: UnixMillis, ops: &[LookupOp]) -> Result<Vec<Lookup>, StoreError> {
        self.lookup_all(now, ops).await
    }

    async fn bindings(&self, now: UnixMillis, aors: &[Aor]) -> Result<Vec<Vec<Binding>>, StoreError> {
        self.bindings_of(now, aors).await
    }

    async fn arm(&self, now: UnixMillis, watches: &[Watch]) -> Result<Vec<ArmOutcome>, StoreError> {
        self.arm_all(now, watches).await
    }

    async fn load(&self, pairs: &[Pair]) -> Result<Vec<Option<Watch>>, StoreError> {
        self.load_all(pairs).await
    }

    async fn step(&self, now: UnixMillis, step: &Step) -> Result<StepOutcome, StoreError> {
        self.step_one(now, step).await
    }

    async fn end(&self, now: UnixMillis, pair: &Pair, expect: Option<Fence>, turn: Turn) -> Result<bool, StoreError> {
        self.end_one(now, pair, expect, turn).await
    }

    async fn postpone(&self, pair: &Pair, expect: Fence, due: UnixMillis) -> Result<bool, StoreError> {
        self.postpone_one(pair, expect, due).await
    }

    async fn hasten(&self, pairs: &[Pair], at: UnixMillis) -> Result<(), StoreError> {
        self.hasten_all(pairs, at).await
    }

    async fn release_turn(&self, pair: &Pair) -> Result<(), StoreError> {
        self.release_turn_of(pair).await
    }

    async fn queue(&self, callee: &Aor, limit: usize) -> Result<Vec<Aor>, StoreError> {
        self.queue_of(callee, limit).await
    }

    async fn parked(&self, caller: &Aor) -> Result<Vec<Pair>, StoreError> {
        self.parked_of(caller).await
    }

    async fn due(&self, shards: &[Shard], now: UnixMillis, limit: usize) -> Result<Due, StoreError> {
        self.due_of(shards, now, limit).await
    }

    async fn list(&self, shard: Shard, limit: usize) -> Result<Vec<Watch>, StoreError> {
        self.list_of(shard, limit).await
    }

    async fn remember(&self, now: UnixMillis, contacts: &[LastContacts]) -> Result<(), StoreError> {
        self.remember_all(now, contacts).await
    }

    async fn remembered(&self, _: UnixMillis, aor: &Aor) -> Result<Vec<Binding>, StoreError> {
        self.remembered_of(aor).await
    }

    async fn claim_probe(&self, now: UnixMillis, aor: &Aor, until: UnixMillis) -> Result<bool, StoreError> {
        self.claim_probe_of(now, aor, until).await
    }

    async fn learned(&self, now: UnixMillis, agent: &str) -> Result<Option<u8>, StoreError> {
        self.learned_of(now, agent).await
    }

    async fn learn(&self, now: UnixMillis, lesson: &Lesson) -> Result<(), StoreError> {
        self.learn_one(now, lesson).await
    }

    async fn lessons(&self, now: UnixMillis) -> Result<Vec<Lesson>, StoreError> {
        Ok(keep_lessons(now, self.all_lessons().await?))
    }

    async fn clock(&self) -> Result<Option<UnixMillis>, StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        let parts = reply::Replies::new(self.run(&pipeline).await?).strings()?;
        let number = |part: &Vec<u8>| std::str::from_utf8(part).ok()?.parse::<u64>().ok();
        match parts.iter().map(number).collect::<Option<Vec<u64>>>().as_deref() {
            Some([seconds, micros]) => Ok(Some(UnixMillis(seconds.saturating_mul(1000).saturating_add(micros / 1000)))),
            _ => Err(StoreError::Unavailable("unexpected reply to TIME".into())),
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("PING").ignore();
        self.run(&pipeline).await.map(drop)
    }
}

fn addressed(url: &str) -> Result<ConnectionInfo, StoreError> {
    let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(TCP_USER_TIMEOUT);
    let info = url.into_connection_info().map_err(unavailable)?;
    Ok(info.set_tcp_settings(tcp))
}

/// Time to live in milliseconds from `now`; Redis takes no less than 1.
fn ttl(now: UnixMillis, until: UnixMillis) -> u64 {
    until.0.saturating_sub(now.0).max(1)
}

fn is_read_only(error: &RedisError) -> bool {
    error.clone().into_server_errors().is_some_and(|errors| errors.iter().any(|(_, error)| error.code() == "READONLY"))
}

fn unavailable(error: RedisError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
