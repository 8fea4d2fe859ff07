//! sip-edge: the stateless SIP front of auto-redial. It keeps only what a transaction needs.
//!
//! [`endpoint`] is the whole SIP behaviour without I/O: datagrams, coordinator replies, orders and timers in; datagrams and coordinator
//! requests out. A worker is one loop per core that owns one endpoint and one SO_REUSEPORT socket per listener. [`link`] carries requests
//! to the coordinators and brings replies and orders back. [`peers`] are the other edges behind the same address, [`upstream`] the servers that a front stands before. [`app`] puts them together.

pub mod app;
pub mod cluster;
pub mod counters;
pub mod endpoint;
mod export;
pub mod link;
pub mod metrics;
mod pace;
pub mod peers;
mod reach;
mod secret;
pub mod settings;
pub mod transport;
pub mod upstream;
pub mod users;
pub mod users_file;
mod worker;

pub use app::{Config, Edge};
pub use link::{Coordinator, LocalLink};
