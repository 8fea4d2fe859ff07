//! Every order in which Redis can run the commands of an arming and of a registration that race.
//!
//! The hot paths have no script: they are right because each side writes first and looks second. So whatever the order, at least one
//! side must see the other. The commands are the ones that [`super::hot`] sends, merged in every way that keeps each side's own order.

use redial_core::link::{BindingChange, ContactChange, Register};
use redial_core::watch::State;
use redial_core::{Aor, Binding, BindingId, EdgeId, Fence, Flow, Pair, UnixMillis, Watch};
use redis::{Cmd, Pipeline, Value};

use super::{RedisStore, hot};

#[path = "../../../tests/stores/redis_server.rs"]
#[allow(dead_code, reason = "shared with the integration tests, which use all of it")]
mod redis_server;

const NOW: UnixMillis = UnixMillis(1_900_000_000_000);

/// The commands of one side, and which of them tells whether the other side was seen.
struct Side {
    commands: Vec<Cmd>,
    look: usize,
}

fn side(pipeline: &Pipeline, look: &str) -> Side {
    let commands: Vec<Cmd> = pipeline.cmd_iter().cloned().collect();
    let names = |cmd: &Cmd| match cmd.args_iter().next() {
        Some(redis::Arg::Simple(name)) => String::from_utf8_lossy(name).into_owned(),
        _ => String::new(),
    };
    let look = commands.iter().rposition(|cmd| names(cmd) == look).unwrap();
    Side { commands, look }
}

fn arm(store: &RedisStore, callee: &Aor) -> Side {
    let pair = Pair { callee: callee.clone(), caller: Aor::new("alice@example.com") };
    let deadline = UnixMillis(NOW.0 + 3_600_000);
    let (fence, state, caller_flow) = (Fence(NOW.0), State::Armed, Flow::default());
    let watch = Watch {
        pair,
        fence,
        state,
        armed_at: NOW,
        deadline,
        not_before: NOW,
        attempts: 0,
        parked: false,
        caller_flow,
        caller_seen: 0,
        past: Fence(0),
        trace: None,
    };
    let mut pipeline = redis::pipe();
    store.push_arm(&mut pipeline, NOW, &watch);
    side(&pipeline, "HGETALL")
}

fn register(aor: &Aor) -> Side {
    let binding = Binding {
        id: BindingId("a".to_owned()),
        uri: "sip:a@192.0.2.1".to_owned(),
        params: String::new(),
        q: 1000,
        expires_at: UnixMillis(NOW.0 + 3_600_000),
        call_id: "c".to_owned(),
        cseq: 1,
        path: Vec::new(),
        edge: EdgeId::new("e"),
        flow: Flow::default(),
        user_agent: String::new(),
        probed: false,
    };
    let change = BindingChange::Each(vec![ContactChange::Put(binding)]);
    let op = Register { aor: aor.clone(), call_id: "c".to_owned(), cseq: 1, change };
    let mut pipeline = redis::pipe();
    hot::push_register(&mut pipeline, NOW, &op);
    side(&pipeline, "EXISTS")
}

/// Every way to merge `a` and `b` commands: true takes the next of the first side.
fn merges(a: usize, b: usize) -> Vec<Vec<bool>> {
    let mut all = Vec::new();
    let mut open = vec![(Vec::new(), a, b)];
    while let Some((order, a, b)) = open.pop() {
        if a == 0 && b == 0 {
            all.push(order);
            continue;
        }
        for (take, left) in [(true, a), (false, b)] {
            if left > 0 {
                let mut order = order.clone();
                order.push(take);
                open.push((order, a - usize::from(take), b - usize::from(!take)));
            }
        }
    }
    all
}

/// How many of all orders leave both sides blind to each other.
async fn blind_orders(store: &RedisStore, sides: impl Fn(&Aor) -> (Side, Side)) -> (usize, usize) {
    let sizes = {
        let (arm, register) = sides(&Aor::new("size@example.com"));
        (arm.commands.len(), register.commands.len())
    };
    let orders = merges(sizes.0, sizes.1);
    let mut blind = 0;
    for (n, order) in orders.iter().enumerate() {
        let (arm, register) = sides(&Aor::new(format!("bob{n}@example.com")));
        let (mut armed, mut registered) = (0, 0);
        let (mut arm_looked, mut register_looked) = (0, 0);
        let mut pipeline = redis::pipe();
        for (at, &arms) in order.iter().enumerate() {
            let (side, next, looked) =
                if arms { (&arm, &mut armed, &mut arm_looked) } else { (&register, &mut registered, &mut register_looked) };
            if *next == side.look {
                *looked = at;
            }
            pipeline.add_command(side.commands[*next].clone());
            *next += 1;
        }
        let replies = store.run(&pipeline).await.unwrap();
        let saw_binding = matches!(&replies[arm_looked], Value::Array(fields) if !fields.is_empty());
        let saw_waiter = matches!(&replies[register_looked], Value::Int(waiting) if waiting & 1 == 1);
        blind += usize::from(!saw_binding && !saw_waiter);
    }
    (blind, orders.len())
}

#[tokio::test]
async fn in_every_order_of_commands_one_side_sees_the_other() {
    let server = redis_server::RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let (blind, all) = blind_orders(&store, |callee| (arm(&store, callee), register(callee))).await;
    assert!(all > 1000, "{all}");
    assert_eq!(blind, 0);
}

/// The same test must find the orders that lose a watch when one side looks before it writes.
#[tokio::test]
async fn looking_first_would_be_found_out() {
    let server = redis_server::RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let hasty = |callee: &Aor| {
        let mut arm = arm(&store, callee);
        let look = arm.commands.remove(arm.look);
        arm.commands.insert(0, look);
        (Side { look: 0, ..arm }, register(callee))
    };
    let (blind, _) = blind_orders(&store, hasty).await;
    assert!(blind > 0);
}

#[tokio::test]
async fn what_is_noted_for_a_watch_that_has_just_ended_is_taken_back() {
    let server = redis_server::RedisServer::start();
    let store = RedisStore::open(&server.url()).unwrap();
    let pair = Pair { callee: Aor::new("bob@example.com"), caller: Aor::new("alice@example.com") };
    let ended = Watch {
        pair,
        fence: Fence(NOW.0),
        state: State::Armed,
        armed_at: NOW,
        deadline: UnixMillis(NOW.0 + 3_600_000),
        not_before: NOW,
        attempts: 0,
        parked: true,
        caller_flow: Flow::default(),
        caller_seen: 0,
        past: Fence(0),
        trace: None,
    };
    store.stepped(NOW, &ended).await.unwrap();
    store.stepped(NOW, &Watch { parked: false, ..ended }).await.unwrap();
    let mut pipeline = redis::pipe();
    pipeline.cmd("DBSIZE");
    assert_eq!(store.run(&pipeline).await.unwrap(), [Value::Int(0)]);
}
