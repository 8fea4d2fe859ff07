//! Requests that we answer as a user agent server: for the server itself, and REGISTER (RFC 3261 sections 8.2, 10.3 and 11).

use redial_core::Aor;
use redial_core::link::{Event, Failure, Registered, Reply};
use sip_core::message::{Header, ResponseSpec};
use sip_core::routing::unsupported;
use sip_core::transaction::TransactionKey;
use sip_core::{Message, Method};

use super::auth::{self, Auth};
use super::core::Core;
use super::pending::Continuation;
use super::table::Id;
use super::{Now, Outbox, Peer, registrar, reply};

/// What the server itself understands. Everything else it passes on.
pub(super) const ALLOW: &str = "Allow: OPTIONS, REGISTER, NOTIFY\r\n";
const CAPABILITIES: &str = "Allow: OPTIONS, REGISTER, NOTIFY\r\nAccept: message/sipfrag\r\nSupported: path\r\n";
/// Option tags that a REGISTER may require.
const SUPPORTED: [&str; 1] = ["path"];

impl Core {
    pub(super) fn on_own_request(&mut self, now: Now, from: Peer, key: TransactionKey, request: Message<'_>, out: &mut Outbox) {
        // A request that is both for us and by way of us is judged by both headers (RFC 4475 section 3.3.5).
        let mut unknown = unsupported(request, Header::Require, &SUPPORTED);
        unknown.extend(unsupported(request, Header::ProxyRequire, &[]));
        if !unknown.is_empty() {
            let headers = format!("Unsupported: {}\r\n", unknown.join(", "));
            return self.respond_statelessly(from, request, ResponseSpec { headers: &headers, ..reply::plain(420) }, out);
        }
        let (code, headers) = match request.method() {
            Method::Register => return self.on_register(now, from, key, request, out),
            Method::Options => (200, CAPABILITIES),
            Method::Other(_) => (501, ALLOW),
            // A NOTIFY out of nothing (RFC 6665 section 4.1.3).
            Method::Notify => (481, ""),
            _ => (405, ALLOW),
        };
        self.respond_statelessly(from, request, ResponseSpec { headers, ..reply::plain(code) }, out);
    }

    fn on_register(&mut self, now: Now, from: Peer, key: TransactionKey, request: Message<'_>, out: &mut Outbox) {
        let proved = match auth::authenticate(&self.config, now, from, request, auth::Kind::Www) {
            Auth::Proved(aor) => Some(aor),
            Auth::Open => None,
            Auth::Challenge(headers) => {
                let spec = ResponseSpec { headers: &headers, ..reply::plain(auth::Kind::Www.code()) };
                return self.respond_statelessly(from, request, spec, out);
            }
            Auth::Forbidden => return self.respond_statelessly(from, request, reply::plain(403), out),
        };
        match registrar::change(&self.config, now, from, request, proved.as_ref()) {
            Ok(register) => {
                let server = self.open_server(now, key, from, request);
                let continuation = Continuation::Register { server, aor: register.aor.clone() };
                self.ask(now, Event::Register(register), continuation, out);
            }
            Err(refusal) => {
                let (reason, headers) = (refusal.to_string(), refusal.headers());
                let spec = ResponseSpec { reason: &reason, headers: &headers, ..reply::plain(refusal.code()) };
                self.respond_statelessly(from, request, spec, out);
            }
        }
    }

    /// The store has spoken; nothing was answered before (P1), and nothing waits for what the bindings may set off (P5).
    pub(super) fn on_registered(&mut self, now: Now, server: Id, aor: &Aor, reply: Reply, out: &mut Outbox) {
        match reply {
            Reply::Registered(Registered::Bindings(bindings)) => {
                self.config.known.learn_registered(&self.config, aor, &bindings);
                let mut headers = String::with_capacity(256);
                if let Some(request) = self.servers.get(server).and_then(|s| s.request.as_ref()) {
                    registrar::ok_headers(&mut headers, now.unix, &bindings, request.view());
                }
                self.respond(now, server, ResponseSpec { headers: &headers, ..reply::plain(200) }, out);
            }
            // RFC 3261 section 10.3 step 7 says no more than that the update fails.
            Reply::Registered(Registered::OutOfOrder) => {
                self.respond(now, server, ResponseSpec { reason: "CSeq Out Of Order", ..reply::plain(500) }, out);
            }
            Reply::Failed(Failure::StoreUnavailable | Failure::Overloaded | Failure::Timeout)
            | Reply::Routed(_)
            | Reply::Located(_)
            | Reply::Noted => {
                self.respond(now, server, reply::unavailable("Location Service Unavailable"), out);
            }
        }
    }
}
