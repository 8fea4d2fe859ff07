//! An endpoint's settings and an origin of time for tests.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use redial_core::{EdgeId, PolicySet};

use super::config::{Listener, Transport};
use super::{EndpointConfig, Known};
use crate::users::Users;

/// Registrar of example.com at 192.0.2.1:5060, one minute to two hours, with this users file.
pub(crate) fn config(users: Option<&str>) -> EndpointConfig {
    let address = "192.0.2.1:5060".parse().unwrap();
    EndpointConfig {
        edge: EdgeId::new("edge-a"),
        domains: vec!["example.com".to_owned()],
        listeners: vec![Listener { transport: Transport::Udp, bound: address, advertised: address }],
        secret: [7; 32],
        users: users.map(|text| Arc::new(ArcSwap::from_pointee(Users::parse(text).unwrap()))),
        policies: Arc::new(ArcSwap::from_pointee(PolicySet::default())),
        metrics: Arc::default(),
        register_min: Duration::from_secs(60),
        register_max: Duration::from_secs(7200),
        register_default: Duration::from_secs(3600),
        max_transactions: 1000,
        known: Arc::new(Known::new(1000)),
        front: None,
        peers: None,
        coordinator_timeout: Duration::from_secs(2),
        timer_c: Duration::from_secs(180),
    }
}

/// The same instant for the whole test run: tests count from here.
#[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise, and nothing waits for it")]
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
