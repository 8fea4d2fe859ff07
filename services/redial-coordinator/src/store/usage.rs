//! What Redis says of the two things that it runs out of: memory and the one core that it has. Asked now and then, for whoever looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry::metrics::{AsyncInstrument, Meter};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use super::RedisStore;

/// Often enough for whoever scrapes.
const EVERY: Duration = Duration::from_secs(15);

/// Microseconds in a second.
const MICROS: f64 = 1_000_000.0;

/// As it was said last; 0 is nothing yet.
#[derive(Debug, Default)]
struct Usage {
    memory_used: AtomicU64,
    memory_max: AtomicU64,
    cpu_micros: AtomicU64,
}

/// Asks and exports until the handle is dropped. A Redis that does not say (it is away, or its ACL forbids INFO) leaves what was said last. Must be
/// called inside a tokio runtime.
pub fn follow(store: &RedisStore, meter: &Meter) -> AbortOnDropHandle<()> {
    let usage = Arc::<Usage>::default();
    export(meter, &usage);
    let store = store.asker();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match store.info().await {
                Ok(info) => usage.take(&info),
                Err(error) => tracing::debug!(%error, "Redis does not say what it uses"),
            }
        }
    }))
}

impl Usage {
    fn take(&self, info: &str) {
        let value = |key: &str| info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).map(str::trim);
        let bytes = |key: &str| value(key).and_then(|text| text.parse::<u64>().ok());
        let micros = |key: &str| value(key).and_then(|text| text.parse::<f64>().ok()).map(|seconds| (seconds * MICROS) as u64);
        // Of the thread that serves; what rewrites the append-only file is another process.
        let cpu = || Some(micros("used_cpu_user_main_thread")? + micros("used_cpu_sys_main_thread")?);
        let set = |to: &AtomicU64, value: Option<u64>| value.into_iter().for_each(|value| to.store(value, Relaxed));
        set(&self.memory_used, bytes("used_memory"));
        // Without a limit of its own it has what the machine has.
        set(&self.memory_max, bytes("maxmemory").filter(|max| *max > 0).or_else(|| bytes("total_system_memory")));
        set(&self.cpu_micros, cpu().or_else(|| Some(micros("used_cpu_user")? + micros("used_cpu_sys")?)));
    }
}

fn export(meter: &Meter, usage: &Arc<Usage>) {
    let gauge = |name: &'static str, description: &'static str, read: fn(&Usage) -> &AtomicU64| {
        let usage = usage.clone();
        let observe = move |observer: &dyn AsyncInstrument<u64>| match read(&usage).load(Relaxed) {
            0 => {}
            bytes => observer.observe(bytes, &[]),
        };
        meter.u64_observable_gauge(name).with_unit("By").with_description(description).with_callback(observe).build();
    };
    gauge("redial.store.memory_used", "Memory that Redis uses", |usage| &usage.memory_used);
    gauge("redial.store.memory_max", "Memory that Redis may use: its maxmemory, else what the machine has", |usage| &usage.memory_max);
    let read = usage.clone();
    let cpu =
        meter.f64_observable_counter("redial.store.cpu").with_unit("s").with_description("CPU time of the thread of Redis that serves");
    cpu.with_callback(move |observer| match read.cpu_micros.load(Relaxed) {
        0 => {}
        micros => observer.observe(micros as f64 / MICROS, &[]),
    })
    .build();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(info: &str) -> [u64; 3] {
        let usage = Usage::default();
        usage.take(info);
        [usage.memory_used, usage.memory_max, usage.cpu_micros].map(AtomicU64::into_inner)
    }

    #[test]
    fn limits_are_those_of_redis_else_of_the_machine() {
        let memory = "# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\ntotal_system_memory:8000\r\n";
        assert_eq!(said(&format!("{memory}maxmemory:4096\r\n")), [1_048_576, 4096, 0]);
        assert_eq!(said(&format!("{memory}maxmemory:0\r\n")), [1_048_576, 8000, 0]);
        assert_eq!(said("something else\r\n"), [0, 0, 0]);
    }

    #[test]
    fn the_thread_that_serves_counts_where_it_is_told_apart() {
        let process = "used_cpu_sys:2.5\r\nused_cpu_user:1.5\r\n";
        assert_eq!(said(process)[2], 4_000_000);
        assert_eq!(said(&format!("{process}used_cpu_sys_main_thread:1.25\r\nused_cpu_user_main_thread:0.5\r\n"))[2], 1_750_000);
    }
}
