//! sip-edge: the stateless SIP front of auto-redial. It keeps only what a transaction needs.
//!
//! [`endpoint`] is the whole SIP behaviour without I/O: datagrams, coordinator replies, orders and timers in; datagrams and coordinator
//! requests out. [`worker`] is one loop per core that owns one endpoint and one SO_REUSEPORT socket per listener.

pub mod endpoint;
pub mod metrics;
pub mod users;
