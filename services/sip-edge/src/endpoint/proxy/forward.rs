//! The request as it goes on (RFC 3261 section 16.6 steps 1 to 8).

use redial_core::link::WatchRef;
use sip_core::message::{Edit, Header};
use sip_core::routing::{FlowToken, WatchedCall, tag_hash};
use sip_core::{Message, Method};
use smallvec::SmallVec;

use crate::endpoint::front::WayBack;
use crate::endpoint::relay::TopRoutes;
use crate::endpoint::target::addr_of;
use crate::endpoint::{EndpointConfig, Peer};

/// One branch's differences from the received request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop<'a> {
    /// Our Via, topmost.
    pub via: &'a str,
    pub max_forwards: u8,
    /// The target's contact; None inside a dialog, where the Request-URI stays.
    pub uri: Option<&'a str>,
    /// Path of the target: becomes Route.
    pub path: &'a [String],
    /// Topmost first.
    pub record_route: &'a [String],
    /// The sender proved who he is to us; nobody else needs to see that.
    pub strip_credentials: bool,
    /// How a registrar upstream is told to reach the phone.
    pub register: Option<&'a WayBack>,
}

/// Writes the request with the hop's changes; everything else is copied as it came.
pub(crate) fn forward(config: &EndpointConfig, request: Message<'_>, from: Peer, hop: Hop<'_>) -> Vec<u8> {
    let mut edit = Edit::new(request);
    if let Some(uri) = hop.uri {
        edit.request_uri(uri);
    }
    for _ in 0..TopRoutes::read(config, request).own {
        edit.remove_first_value(Header::Route);
    }
    for route in hop.path.iter().rev() {
        edit.push_front(Header::Route, route);
    }
    for value in hop.record_route.iter().rev() {
        edit.push_front(Header::RecordRoute, value);
    }
    edit.received_from(from.addr);
    edit.push_front(Header::Via, hop.via);
    let mut digits = [0_u8; 3];
    edit.replace_first_value(Header::MaxForwards, decimal(hop.max_forwards, &mut digits));
    if hop.strip_credentials {
        edit.remove(Header::ProxyAuthorization);
    }
    if let Some(way_back) = hop.register {
        way_back.write(request, &mut edit);
    }
    strip_period(config, request, &mut edit);
    let mut bytes = Vec::with_capacity(request.bytes().len() + 256);
    edit.write(&mut bytes);
    bytes
}

/// The monitoring period is between the caller and us. Some phones obey an INVITE's Expires on receipt, so it goes unless the policy keeps it.
fn strip_period(config: &EndpointConfig, request: Message<'_>, edit: &mut Edit<'_>) {
    if request.method() != Method::Invite || request.to().is_some_and(|to| to.tag().is_some()) {
        return;
    }
    let Some(callee) = sip_core::uri::Uri::parse(request.request_uri()).and_then(|uri| crate::endpoint::identity::aor(config, &uri)) else {
        return;
    };
    let policies = config.policies.load();
    let policy = policies.for_callee(&callee);
    edit.remove_named(&policy.period_header);
    if !policy.forward_expires {
        edit.remove(Header::Expires);
    }
}

fn decimal(n: u8, digits: &mut [u8; 3]) -> &str {
    *digits = [b'0' + n / 100, b'0' + n / 10 % 10, b'0' + n % 10];
    let start = if n >= 100 {
        0
    } else if n >= 10 {
        1
    } else {
        2
    };
    std::str::from_utf8(&digits[start..]).unwrap_or("0")
}

/// The two sides of a request that may begin a dialog.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sides<'a> {
    pub caller: Peer,
    pub callee: Peer,
    pub callee_uri: &'a str,
    pub watch: Option<&'a WatchRef>,
}

impl Sides<'_> {
    /// Our Record-Route, where later requests must come by us: the call belongs to a watch, so its BYE must be seen; a side sends from another
    /// address than its Contact says (NAT) or by a connection; the sides use different listeners; or one of them is a server that we stand before.
    /// Anything else goes directly, without us.
    /// With two listeners each side gets its own (RFC 5658's double Record-Route), the callee's on top.
    pub(crate) fn record_route(&self, config: &EndpointConfig, request: Message<'_>) -> Option<SmallVec<[String; 2]>> {
        if !matches!(request.method(), Method::Invite | Method::Subscribe | Method::Refer) || request.to()?.tag().is_some() {
            return None;
        }
        let two_listeners = self.caller.listener != self.callee.listener;
        // A phone's connection ends here, and nobody else can open one to it.
        let ends_here = config.front.is_some() || config.transport(self.callee).is_stream();
        if self.watch.is_none() && !ends_here && !two_listeners && self.caller_is_direct(request) && self.callee_is_direct() {
            return None;
        }
        let watch = self.watch.map(|w| WatchedCall {
            caller: w.pair.caller.as_str().to_owned(),
            callee: w.pair.callee.as_str().to_owned(),
            fence: w.fence.0,
        });
        let (caller, callee) = (config.end_of(self.caller), config.end_of(self.callee));
        let caller_tag = tag_hash(request.from_tag().unwrap_or_default());
        let token = FlowToken { caller, callee, caller_tag, watch }.encode(&config.secret);
        let sides = if two_listeners { &[self.callee, self.caller][..] } else { &[self.callee] };
        sides.iter().map(|side| Some(format!("<sip:{token}@{};lr>", config.listener(*side)?))).collect()
    }

    fn caller_is_direct(&self, request: Message<'_>) -> bool {
        let Some(Some(sip_core::message::Contact::Addr(contact))) = request.contacts().next() else { return true };
        // Between us and a caller behind proxies, its Contact is their business.
        request.vias().count() > 1 || addr_of(&contact.uri) == Some(self.caller.addr)
    }

    fn callee_is_direct(&self) -> bool {
        sip_core::uri::Uri::parse(self.callee_uri.as_bytes()).and_then(|uri| addr_of(&uri)) == Some(self.callee.addr)
    }
}
