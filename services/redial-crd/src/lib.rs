//! The Kubernetes form of a policy: the custom resource `RedialPolicy` of `redial.dev/v1alpha1`.
//!
//! An object with a selector is what `[[rule]]` is in the policy file, one without is `[default]`. The types here make the schema; objects
//! are read by [`Claim`], which uses the same checks as the policy file and names every bad key, also of objects that the schema of
//! another version let pass.

mod claim;
mod manifest;
mod spec;
mod status;

#[cfg(test)]
mod tests;

pub use claim::{Claim, Scope};
pub use manifest::yaml;
pub use spec::{Duration, EndOn, Fanout, OnDecline, PeriodSource, RedialPolicy, RedialPolicySpec, Selector};
pub use status::{InForce, RedialPolicyStatus, WatchCounts};
