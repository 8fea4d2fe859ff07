//! The coordinator: owns bindings, watches and recalls, and decides. Edges attach over gRPC or in the same process.

pub mod app;
pub mod controller;
pub mod coordinator;
pub mod credentials;
pub mod engine;
pub mod grpc;
pub mod hub;
mod lane;
pub mod metrics;
pub mod policies;
pub mod settings;
mod share;
pub mod store;
pub mod timers;

pub use coordinator::{Coordinator, HINTS, Hints, LocalLink, Setup};
