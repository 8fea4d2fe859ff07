//! The Kubernetes form of a policy.
