//! `load memory`: bytes of Redis that a registration and a watch take.
//!
//! One of each is made by a phone through an edge, read back, and stored a hundred thousand times under other names by the coordinator's own
//! store (`load memory COUNT`: as often as that). What `used_memory` grew by, keys and indexes and all, is divided by their number.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use redial_coordinator::store::RedisStore;
use redial_core::link::{BindingChange, ContactChange, Register};
use redial_core::{Aor, Binding, Pair, TraceContext, Watch, WatchStore, WatchTrace};
use redial_tests::{Cluster, DOMAIN, Phone, Policy, Redis, until};

/// Unless another number is given.
pub const COUNT: usize = 100_000;
/// Operations in one pipeline, as of a busy edge.
const BATCH: usize = 500;
/// Redis counts what clients sent last, too, until it has time to free it.
const SETTLED: Duration = Duration::from_secs(10);

pub fn measure(count: usize) -> Result<()> {
    ensure!((1..=1_000_000).contains(&count), "from 1 to 1000000, not {count}");
    // Whose buffers are none of the records'.
    let redis = Redis::with(&["--appendonly", "no"])?;
    let cluster = Cluster::on(redis, 1, 1, &Policy::default().set("traceRatio", "0.0"))?;
    let (caller, callee) = (name("caller", 0), name("callee", 0));
    let mut phone = Phone::registered(&caller, cluster.edges[0].sip)?;
    phone.miss(&callee)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Arc::new(RedisStore::open(&cluster.redis.url())?);
        let now = redial_runtime::clock::unix();
        let pair = Pair { caller: aor(&caller), callee: aor(&callee) };
        let bindings = store.bindings(now, std::slice::from_ref(&pair.caller)).await?;
        let binding = bindings.first().and_then(|of_caller| of_caller.first()).context("no binding")?;
        let watch = store.load(&[pair]).await?.remove(0).context("no watch")?;

        let grown = |what: &str, from: f64| -> Result<()> {
            println!("{count} {what}: {:.0} bytes each", (used(&cluster)? - from) / count as f64);
            Ok(())
        };
        // Each from nothing: tables of Redis grow by doubling.
        let empty = emptied(&cluster)?;
        for batch in numbers(count) {
            let ops: Vec<_> = batch.iter().map(|n| registered(binding, *n)).collect();
            store.register(now, &ops).await?;
        }
        grown("registrations", empty)?;
        for (what, ratio) in [("watches", 0.0), ("watches that are traced", 1.0)] {
            let empty = emptied(&cluster)?;
            for batch in numbers(count) {
                let watches: Vec<_> = batch.iter().map(|n| missed(&watch, *n, ratio)).collect();
                store.arm(now, &watches).await?;
            }
            grown(what, empty)?;
        }
        Ok(())
    })
}

fn emptied(cluster: &Cluster) -> Result<f64> {
    redis::cmd("FLUSHALL").exec(&mut cluster.redis.client()?)?;
    used(cluster)
}

fn numbers(count: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..count).step_by(BATCH).map(move |from| (from..count.min(from + BATCH)).collect())
}

/// All of one length.
fn name(role: &str, n: usize) -> String {
    format!("{role}{n:06}")
}

fn aor(user: &str) -> Aor {
    Aor::new(format!("{user}@{DOMAIN}"))
}

fn registered(binding: &Binding, n: usize) -> Register {
    let (before, after) = (name("caller", 0), name("caller", n));
    let mut binding = binding.clone();
    binding.id.0 = binding.id.0.replace(&before, &after);
    binding.uri = binding.uri.replace(&before, &after);
    let (call_id, cseq) = (binding.call_id.clone(), binding.cseq);
    Register { aor: aor(&after), call_id, cseq, change: BindingChange::Each(vec![ContactChange::Put(binding)]) }
}

/// No two with a caller or a callee in common.
fn missed(watch: &Watch, n: usize, ratio: f64) -> Watch {
    let pair = Pair { caller: aor(&name("caller", n)), callee: aor(&name("callee", n)) };
    let trace = TraceContext::sample(ratio, &pair, watch.fence).map(|armed| WatchTrace { armed, recall: None });
    Watch { pair, trace, ..watch.clone() }
}

/// `used_memory`, once it no longer changes.
fn used(cluster: &Cluster) -> Result<f64> {
    let read = || -> Result<u64> {
        let info: String = redis::cmd("INFO").arg("memory").query(&mut cluster.redis.client()?)?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).context("no used_memory")?;
        Ok(used.trim().parse()?)
    };
    let mut last = read()?;
    let settled = until("memory to settle", SETTLED, || {
        let now = read()?;
        let same = now.abs_diff(last) < 1024;
        last = now;
        Ok(same.then_some(now))
    })?;
    ensure!(settled > 0);
    Ok(settled as f64)
}
