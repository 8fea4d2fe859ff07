//! Settings and an origin of time for tests of single parts.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;

use super::{EndpointConfig, testing};
use crate::users::Users;

/// [`testing::config`] with this users file.
pub(crate) fn config(users: Option<&str>) -> EndpointConfig {
    let users = users.map(|text| Arc::new(ArcSwap::from_pointee(Users::parse(text).unwrap())));
    EndpointConfig { users, ..testing::config() }
}

/// The same instant for the whole test run: tests count from here.
#[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise, and nothing waits for it")]
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
