//! What the end-to-end tests are made of: real processes, a real Redis, sipp, and a scripted phone.
//!
//! Nothing here sleeps to be right. Whoever waits says for what and until when ([`until`]); a test that cannot run fails.

pub mod authority;
pub mod cluster;
pub mod collector;
pub mod dns;
pub mod front;
pub mod grafana;
pub mod kamailio;
pub mod metrics;
pub mod phone;
pub mod policy;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod redis_server;
pub mod relay;
pub mod services;
pub mod shared;
pub mod sipp;
pub mod softphone;
pub mod splitter;
pub mod stories;
pub mod wait;
pub mod wire;

pub use cluster::Cluster;
pub use kamailio::Kamailio;
pub use metrics::Metrics;
pub use phone::Phone;
pub use policy::Policy;
pub use process::{Process, Scratch};
pub use redis_server::Redis;
pub use services::{Coordinator, Edge, Standalone, redial};
pub use sipp::Sipp;
pub use splitter::Splitter;
pub use wait::until;

/// The domain that every test is registrar for.
pub const DOMAIN: &str = "example.com";
