//! Counters of the hot path: plain atomics here, exported as observable OpenTelemetry instruments by the shell.

#[derive(Debug, Default)]
pub struct Metrics {}
