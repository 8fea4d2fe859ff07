//! The Redis store against the conformance suite, each test with a redis-server of its own.

use std::time::Duration;

use crate::conformance::{self, NOW, Subject, armed, conformance, fetch, loaded, pair, put, registered, watch};
use crate::redis_server::RedisServer;
use redial_coordinator::store::RedisStore;
use redial_core::store::StoreError;
use redial_core::{Pair, UnixMillis, WatchStore};

/// How long anything here may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(10);

struct Redis {
    server: RedisServer,
    store: RedisStore,
}

impl Redis {
    fn start() -> Self {
        let server = RedisServer::start();
        let store = RedisStore::open(&server.url()).expect("url");
        Self { server, store }
    }

    fn command(&self, args: &[&str]) -> redis::Value {
        let mut command = redis::Cmd::new();
        for arg in args {
            command.arg(arg);
        }
        let client = redis::Client::open(self.server.url()).expect("url");
        command.query(&mut client.get_connection().expect("connection")).expect("command")
    }

    fn keys(&self, pattern: &str) -> Vec<String> {
        redis::from_redis_value(self.command(&["KEYS", pattern])).expect("keys")
    }
}

impl Subject for Redis {
    type Store = RedisStore;
    fn store(&self) -> &RedisStore {
        &self.store
    }
    async fn traces(&self, _: UnixMillis) -> usize {
        self.keys("*").iter().filter(|key| !key.starts_with("redial:bind:") && *key != "redial:learned").count()
    }
    async fn run_out(&self, pair: &Pair) {
        let gone = async {
            while loaded(&self.store, pair).await.is_some() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("Redis drops the record by itself");
    }
}

conformance!(Redis::start());

/// Repeats `attempt` until it succeeds.
async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let succeed = async {
        loop {
            match attempt().await {
                Ok(value) => return value,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, succeed).await.unwrap_or_else(|_| panic!("{what} within {PATIENCE:?}"))
}

#[tokio::test]
async fn every_key_but_the_due_index_has_a_ttl() {
    let redis = Redis::start();
    let first = watch(pair("bob", "alice"), NOW);
    armed(&redis.store, &first).await;
    registered(&redis.store, put("alice", "a", 1)).await;
    let mut park = conformance::step(&first, conformance::claimed(), redial_core::store::Turn::Take { until: conformance::at(30_000) });
    park.next.parked = true;
    conformance::applied(&redis.store, &park).await;
    let keys = redis.keys("*");
    assert_eq!(keys.len(), 7, "{keys:?}");
    for key in keys {
        let ttl: i64 = redis::from_redis_value(redis.command(&["PTTL", &key])).expect("ttl");
        assert_eq!(ttl > 0, !key.starts_with("redial:due:"), "{key} {ttl}");
    }
}

#[tokio::test]
async fn p6_a_dead_redis_fails_fast_and_a_new_one_is_used_without_a_restart() {
    let mut redis = Redis::start();
    assert_eq!(redis.store.ping().await, Ok(()));
    redis.server.kill();
    for _ in 0..5 {
        let failed = tokio::time::timeout(Duration::from_secs(3), redis.store.register(NOW, &[fetch("bob")])).await.expect("fails fast");
        assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    }
    redis.server.restart();
    eventually("a ping", async || redis.store.ping().await).await;
    // The new server knows no script.
    let first = watch(pair("bob", "alice"), NOW);
    armed(&redis.store, &first).await;
    conformance::applied(&redis.store, &conformance::step(&first, conformance::claimed(), redial_core::store::Turn::Leave)).await;
    assert_eq!(redis.store.end(NOW, &first.pair, None, redial_core::store::Turn::Leave).await, Ok(true));
}

#[tokio::test]
async fn p6_a_redis_that_hangs_is_given_up_in_time() {
    let redis = Redis::start();
    assert_eq!(redis.store.ping().await, Ok(()));
    redis.server.pause();
    let failed = tokio::time::timeout(Duration::from_secs(3), redis.store.register(NOW, &[fetch("bob")])).await.expect("fails in time");
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
    redis.server.resume();
    eventually("a ping", async || redis.store.ping().await).await;
}

#[tokio::test]
async fn a_store_may_be_opened_before_its_redis_is_there() {
    let mut server = RedisServer::start();
    server.kill();
    let store = RedisStore::open(&server.url()).expect("url");
    assert!(store.ping().await.is_err());
    server.restart();
    eventually("a ping", async || store.ping().await).await;
}

#[tokio::test]
async fn a_password_is_used_and_never_shown() {
    let server = RedisServer::with_password("sesame");
    let store = RedisStore::open(&server.url()).expect("url");
    eventually("a ping", async || store.ping().await).await;
    assert!(!format!("{store:?}").contains("sesame"));
    let wrong = RedisStore::open(&server.url().replace("sesame", "wrong")).expect("url");
    let error = wrong.ping().await.expect_err("wrong password");
    assert!(!error.to_string().contains("wrong"), "{error}");
    let bad = RedisStore::open("http://user:sesame@example.com").expect_err("no Redis URL");
    assert!(!bad.to_string().contains("sesame"), "{bad}");
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_unavailable() {
    let redis = Redis::start();
    let store = RedisStore::open(&redis.server.url().replace("redis://", "rediss://")).expect("url");
    let failed = tokio::time::timeout(PATIENCE, store.ping()).await.expect("in time");
    assert!(matches!(failed, Err(StoreError::Unavailable(_))), "{failed:?}");
}

#[tokio::test]
async fn an_unreadable_record_is_absent_and_spares_its_neighbours() {
    let redis = Redis::start();
    let watches = [watch(pair("bob", "alice"), NOW), watch(pair("bob", "carol"), NOW)];
    redis.store.arm(NOW, &watches).await.expect("arm");
    registered(&redis.store, put("bob", "good", 1)).await;
    let record = redis.keys("redial:watch:*alice*").remove(0);
    redis.command(&["SET", &record, "garbage"]);
    redis.command(&["HSET", &redis.keys("redial:bind:*")[0], "bad", "garbage"]);
    let found = redis.store.load(&[watches[0].pair.clone(), watches[1].pair.clone()]).await;
    assert_eq!(found, Ok(vec![None, Some(watches[1].clone())]));
    assert_eq!(registered(&redis.store, fetch("bob")).await.bindings.len(), 1);
}

#[tokio::test]
async fn a_watch_whose_arming_was_cut_off_is_whole_again_after_its_next_step() {
    let redis = Redis::start();
    let first = watch(pair("bob", "alice"), NOW);
    armed(&redis.store, &first).await;
    for key in redis.keys("*") {
        if !key.starts_with("redial:watch:") {
            redis.command(&["DEL", &key]);
        }
    }
    assert!(!registered(&redis.store, fetch("bob")).await.waited_for);
    let renewed = conformance::step(&first, first.state, redial_core::store::Turn::Release);
    conformance::applied(&redis.store, &renewed).await;
    assert!(registered(&redis.store, put("bob", "a", 1)).await.waited_for, "granted, so the callee must find it");
    assert_eq!(redis.store.queue(&first.pair.callee, 9).await, Ok(vec![first.pair.caller.clone()]));
    assert_eq!(redis.store.end(NOW, &first.pair, Some(renewed.next.fence), redial_core::store::Turn::Release).await, Ok(true));
    assert_eq!(redis.traces(NOW).await, 0);
}

#[tokio::test]
async fn p1_a_redis_that_is_full_or_may_not_be_written_arms_and_registers_nothing() {
    let redis = Redis::start();
    let forbid: [(&[&str], &[&str]); 2] = [
        (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
        (&["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
    ];
    for (forbid, allow) in forbid {
        redis.command(forbid);
        let armed = redis.store.arm(NOW, &[watch(pair("bob", "alice"), NOW)]).await;
        assert!(matches!(armed, Err(StoreError::Unavailable(_))), "{forbid:?} {armed:?}");
        let bound = redis.store.register(NOW, &[put("bob", "a", 1)]).await;
        assert!(matches!(bound, Err(StoreError::Unavailable(_))), "{forbid:?} {bound:?}");
        redis.command(allow);
        eventually("a binding", async || redis.store.register(NOW, &[put("bob", "a", 1)]).await).await;
        redis.command(&["FLUSHALL"]);
    }
}

#[tokio::test]
async fn the_clock_of_redis_is_told() {
    let redis = Redis::start();
    let told = redis.store.clock().await.expect("a clock").expect("a time");
    let here = redial_runtime::clock::unix();
    assert!(told.since(here).max(here.since(told)) < PATIENCE, "{told:?} {here:?}");
}

#[tokio::test]
async fn p6_a_primary_that_was_demoted_is_left() {
    let redis = Redis::start();
    assert_eq!(redis.store.ping().await, Ok(()));
    let client = || {
        let list: String = redis::from_redis_value(redis.command(&["CLIENT", "LIST"])).expect("list");
        let of_store = |line: &&str| line.contains(" cmd=ping") || !line.contains("cmd=client");
        list.lines().find(of_store).and_then(|line| line.split(' ').next().map(str::to_owned)).unwrap_or_default()
    };
    let before = client();
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    assert!(redis.store.register(NOW, &[put("bob", "a", 1)]).await.is_err());
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    eventually("a binding", async || redis.store.register(NOW, &[put("bob", "a", 1)]).await).await;
    assert_ne!(client(), before, "a new connection, to whom the name means now");
}
