//! What is played in the cluster.

pub mod connections;
pub mod install;
pub mod killed;
pub mod policy;
pub mod rights;
pub mod rollout;
pub mod status;
pub mod story;
