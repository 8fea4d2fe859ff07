//! What every process says about itself: version, CPU, memory, files. Read from `/proc` when somebody asks.

use std::fs;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// Ticks per second of the times in `/proc` (`USER_HZ`, 100 on every architecture of Linux that we build for).
const TICKS: f64 = 100.0;

pub(super) fn register(meter: &Meter, version: &'static str) {
    let build = meter.u64_observable_gauge("redial_build_info").with_description("1, with the version that runs");
    build.with_callback(move |observer| observer.observe(1, &[KeyValue::new("version", version)])).build();
    let cpu = meter.f64_observable_counter("process_cpu").with_unit("s").with_description("CPU time, user and system");
    cpu.with_callback(|observer| observe(cpu_seconds(), |value| observer.observe(value, &[]))).build();
    let memory = meter.u64_observable_gauge("process_resident_memory").with_unit("By").with_description("resident memory");
    memory.with_callback(|observer| observe(resident_bytes(), |value| observer.observe(value, &[]))).build();
    let files = meter.u64_observable_gauge("process_open_fds").with_description("open file descriptors");
    files.with_callback(|observer| observe(open_files(), |value| observer.observe(value, &[]))).build();
}

fn observe<T>(value: Option<T>, observe: impl FnOnce(T)) {
    if let Some(value) = value {
        observe(value);
    }
}

/// Fields 14 and 15 of proc_pid_stat(5), counted behind the name, which may hold anything.
fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS)
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes: u64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

fn open_files() -> Option<u64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_knows_itself() {
        let metrics = crate::telemetry::Metrics::new().unwrap();
        super::register(&metrics.meter("process"), "1.2.3");
        let text = metrics.render().unwrap();
        for start in
            ["redial_build_info{version=\"1.2.3\"} 1", "process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds "]
        {
            assert!(text.lines().any(|line| line.starts_with(start)), "{start} in\n{text}");
        }
    }
}
