//! The shell that every binary shares: settings, certificates, telemetry, admin HTTP, shutdown, and the one place that reads clocks.

pub mod admin;
pub mod clock;
pub mod discovery;
pub mod pem;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
