//! CPU time of processes, from the kernel's own accounts.

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result};
use redial_tests::wait::now;

#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub name: &'static str,
    pub pid: u32,
}

impl Process {
    /// Nanoseconds on a CPU of all threads that are alive (Documentation/scheduler/sched-stats.rst).
    fn nanoseconds(&self) -> Result<u64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).with_context(|| format!("{} is gone", self.name))?;
        let mut sum = 0;
        for task in tasks {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            sum += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).context("schedstat has another form")?;
        }
        Ok(sum)
    }
}

/// Measures between `start` and `stop`.
#[derive(Debug)]
pub struct Clock {
    begun: Instant,
    processes: Vec<(Process, u64)>,
}

impl Clock {
    pub fn start(processes: &[Process]) -> Result<Self> {
        let processes = processes.iter().map(|p| Ok((*p, p.nanoseconds()?))).collect::<Result<_>>()?;
        Ok(Self { begun: now(), processes })
    }

    /// Prints microseconds of CPU for each of `messages`, by process and in all.
    pub fn stop(self, title: &str, messages: u64) -> Result<()> {
        let seconds = (now() - self.begun).as_secs_f64();
        println!("\n{title}: {messages} in {seconds:.1} s; microseconds of CPU for each");
        let mut total = 0.0;
        for (process, before) in &self.processes {
            let each = (process.nanoseconds()? - before) as f64 / 1000.0 / messages as f64;
            total += each;
            println!("{:>20} {each:>8.1}", process.name);
        }
        if self.processes.len() > 1 {
            println!("{:>20} {total:>8.1}", "together");
        }
        Ok(())
    }
}
