//! The pure domain of auto-redial: who waits for whom, until when, and what happens next.
//!
//! Nothing here does I/O, reads a clock or knows tokio, gRPC or Redis. Time is always an argument ([`UnixMillis`]).
//! The traits [`WatchStore`] and [`EdgeGateway`] belong to this crate; the shells implement them.

pub mod backoff;
pub mod binding;
pub mod gateway;
pub mod ids;
pub mod link;
pub mod machine;
pub mod period;
pub mod policy;
pub mod rendezvous;
pub mod signals;
pub mod store;
pub mod time;
pub mod trace;
pub mod watch;

pub use binding::{Binding, BindingId};
pub use gateway::EdgeGateway;
pub use ids::{Aor, EdgeId, Fence, Flow, Pair, Shard};
pub use policy::{Policy, PolicySet};
pub use store::WatchStore;
pub use time::UnixMillis;
pub use trace::{TraceContext, WatchTrace};
pub use watch::{EndReason, Watch};
