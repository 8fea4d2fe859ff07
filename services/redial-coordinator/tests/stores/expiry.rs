//! Expired-key notifications of a real Redis as hints.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::conformance::{NOW, armed, at, pair, watch};
use crate::redis_server::RedisServer;
use redial_coordinator::store::RedisStore;
use redial_coordinator::store::expiry::{self, Expiries};
use redial_core::{Pair, Watch, WatchStore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(10);

fn command(server: &RedisServer, args: &[&str]) -> redis::Value {
    let client = redis::Client::open(server.url()).expect("url");
    let mut command = redis::Cmd::new();
    for arg in args {
        command.arg(arg);
    }
    command.query(&mut client.get_connection().expect("connection")).expect("command")
}

fn flags(server: &RedisServer) -> String {
    let found: Vec<String> = redis::from_redis_value(command(server, &["CONFIG", "GET", "notify-keyspace-events"])).expect("flags");
    found[1].clone()
}

async fn until_on(expiries: &mut Expiries, wanted: bool) {
    timeout(PATIENCE, expiries.hints.on.wait_for(|on| *on == wanted)).await.expect("in time").expect("listening");
}

async fn arm_short(store: &RedisStore, caller: &str) -> Pair {
    let short = Watch { deadline: at(5), ..watch(pair("bob", caller), NOW) };
    armed(store, &short).await;
    short.pair
}

async fn next(expiries: &mut Expiries) -> Pair {
    timeout(PATIENCE, expiries.hints.expired.recv()).await.expect("a hint in time").expect("listening")
}

#[tokio::test]
async fn an_expired_watch_gives_a_hint_and_other_flags_stay() {
    let server = RedisServer::start();
    command(&server, &["CONFIG", "SET", "notify-keyspace-events", "K$"]);
    let store = RedisStore::open(&server.url()).expect("url");
    let mut expiries = expiry::hints(&store, 16, CancellationToken::new());
    until_on(&mut expiries, true).await;
    assert!("K$Ex".chars().all(|flag| flags(&server).contains(flag)), "{}", flags(&server));
    // Only watches: a key of somebody else's that expires is none.
    command(&server, &["SET", "redial:other", "1", "PX", "1"]);
    let over = arm_short(&store, "alice").await;
    assert_eq!(next(&mut expiries).await, over);
}

#[tokio::test]
async fn the_database_in_the_url_is_the_one_that_is_used_and_listened_to() {
    let server = RedisServer::start();
    let store = RedisStore::open(&format!("{}3", server.url())).expect("url");
    let mut expiries = expiry::hints(&store, 16, CancellationToken::new());
    until_on(&mut expiries, true).await;
    let over = arm_short(&store, "alice").await;
    assert_eq!(next(&mut expiries).await, over);
    assert_eq!(command(&server, &["DBSIZE"]), redis::Value::Int(0), "nothing is in the default database");
    let socket = RedisStore::open("redis+unix:///nowhere/redis.sock?db=2").expect("a socket's URL is one");
    assert!(socket.ping().await.is_err());
}

#[tokio::test]
async fn hints_come_back_after_redis_was_away() {
    let mut server = RedisServer::start();
    let store = RedisStore::open(&server.url()).expect("url");
    let mut expiries = expiry::hints(&store, 16, CancellationToken::new());
    until_on(&mut expiries, true).await;
    server.kill();
    until_on(&mut expiries, false).await;
    server.restart();
    until_on(&mut expiries, true).await;
    let ready = async { while store.ping().await.is_err() {} };
    timeout(PATIENCE, ready).await.expect("in time");
    let over = arm_short(&store, "alice").await;
    assert_eq!(next(&mut expiries).await, over);
}

#[tokio::test]
async fn hints_that_do_not_fit_are_dropped_and_counted() {
    let server = RedisServer::start();
    let store = RedisStore::open(&server.url()).expect("url");
    let mut expiries = expiry::hints(&store, 1, CancellationToken::new());
    until_on(&mut expiries, true).await;
    for n in 0..5 {
        arm_short(&store, &format!("caller{n}")).await;
    }
    let counted = async {
        while expiries.dropped.load(Ordering::Relaxed) < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, counted).await.expect("counted in time");
    next(&mut expiries).await;
}

#[tokio::test]
async fn a_redis_that_allows_no_settings_is_used_without_hints() {
    let server = RedisServer::start();
    command(&server, &["ACL", "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", "-config"]);
    let url = server.url().replace("redis://", "redis://limited:secret@");
    let store = RedisStore::open(&url).expect("url");
    let mut expiries = expiry::hints(&store, 16, CancellationToken::new());
    // The operator switches them on: the first one that arrives says so.
    command(&server, &["CONFIG", "SET", "notify-keyspace-events", "Ex"]);
    let told = async {
        loop {
            arm_short(&store, "alice").await;
            if let Ok(Some(pair)) = timeout(Duration::from_millis(200), expiries.hints.expired.recv()).await {
                return pair;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, told).await.expect("a hint in time"), pair("bob", "alice"));
    until_on(&mut expiries, true).await;
}

#[tokio::test]
async fn listening_ends_with_stop() {
    let server = RedisServer::start();
    let store = RedisStore::open(&server.url()).expect("url");
    let stop = CancellationToken::new();
    let mut expiries = expiry::hints(&store, 16, stop.clone());
    until_on(&mut expiries, true).await;
    stop.cancel();
    assert_eq!(timeout(PATIENCE, expiries.hints.expired.recv()).await.expect("in time"), None);
}
