//! REGISTER on its way to a registrar upstream, and what its 2xx teaches.

use std::fmt::Write as _;

use redial_core::link::{Event, Failure, Register, Registered, Reply};
use sip_core::Message;
use sip_core::message::{Contact, Edit, Header, NameAddr};
use sip_core::routing::PathToken;

use crate::endpoint::core::Core;
use crate::endpoint::pending::Continuation;
use crate::endpoint::proxy::without_our_via;
use crate::endpoint::table::Id;
use crate::endpoint::{EndpointConfig, Now, Outbox, Peer, registrar};
use crate::upstream::Way;

/// How the registrar is told to reach the phone by us.
#[derive(Debug)]
pub(crate) enum WayBack {
    Path(String),
    /// The values of Contact, with our address in place of the phone's.
    Contacts(String),
}

impl WayBack {
    /// `to` is the registrar: it sends to the listener that it is sent from. None: the REGISTER binds nothing.
    pub(super) fn new(config: &EndpointConfig, from: Peer, to: Peer, request: Message<'_>) -> Option<Self> {
        let front = config.front.as_ref()?;
        let us = config.listeners.get(usize::from(to.listener))?.advertised;
        let flow = config.end_of(from);
        if front.way == Way::Path {
            let token = PathToken { flow, contact: None }.encode(&config.secret);
            return request.has(Header::Contact).then(|| Self::Path(format!("<sip:{token}@{us};lr>")));
        }
        let mut values = String::with_capacity(256);
        for value in request.values(Header::Contact) {
            if !values.is_empty() {
                values.push_str(", ");
            }
            match Contact::parse(value) {
                Some(Contact::Addr(address)) => {
                    let contact = Some(String::from_utf8_lossy(address.uri.raw).into_owned());
                    let token = PathToken { flow, contact }.encode(&config.secret);
                    replace_uri(&mut values, &address, &format!("sip:{token}@{us}"));
                }
                _ => values.push_str(&String::from_utf8_lossy(value)),
            }
        }
        (!values.is_empty()).then_some(Self::Contacts(values))
    }

    pub(crate) fn write(&self, request: Message<'_>, edit: &mut Edit<'_>) {
        match self {
            Self::Path(path) => {
                edit.push_front(Header::Path, path);
                // RFC 3327 section 5.3 has the registrar refuse a Path that the phone does not know of. The phone loses nothing: only who sends
                // to it by the registrar needs to know.
                if !registrar::supports_path(request) {
                    edit.append("Supported", "path");
                }
            }
            Self::Contacts(values) => {
                edit.remove(Header::Contact).append("Contact", values);
            }
        }
    }
}

/// The value as it came, but for its URI.
fn replace_uri(out: &mut String, address: &NameAddr<'_>, uri: &str) {
    let display = String::from_utf8_lossy(address.display);
    // Writing to a String cannot fail.
    let _ = write!(out, "{display}{}<{uri}>{}", if display.is_empty() { "" } else { " " }, String::from_utf8_lossy(address.params.0));
}

/// The phone's own Contact URI for one in a registrar's answer. None: it is not ours, but as the phone gave it.
fn original(config: &EndpointConfig, address: &NameAddr<'_>) -> Option<String> {
    PathToken::decode(&config.secret, std::str::from_utf8(address.uri.user).ok()?)?.contact
}

impl Core {
    /// A registrar's 2xx: what it has granted is stored, and then the phone hears of it (P1).
    pub(super) fn registered_upstream(&mut self, now: Now, server: Id, code: u16, response: Message<'_>, out: &mut Outbox) {
        let Some(entry) = self.servers.get(server) else { return };
        let (Some(request), Some(bytes)) = (entry.request.as_ref(), to_phone(&self.config, response)) else { return };
        let granted = |contact: &NameAddr<'_>| granted(&self.config, response, contact);
        match registrar::learned(&self.config, now, entry.from, request.view(), granted) {
            Some(register) => {
                let continuation = Continuation::Learned { server, register: Box::new(register.clone()), code, bytes };
                self.ask(now, Event::Register(register), continuation, out);
            }
            None => drop(self.respond_with(now, server, code, bytes, out)),
        }
    }

    /// The registrar's word holds, whatever our store says (P6). Nobody waits for a coordinator that is slow, but it is told: somebody may wait for
    /// this phone.
    #[expect(clippy::too_many_arguments, reason = "what the continuation holds")]
    pub(crate) fn on_learned(
        &mut self,
        now: Now,
        server: Id,
        register: Register,
        code: u16,
        bytes: Vec<u8>,
        reply: Reply,
        out: &mut Outbox,
    ) {
        match reply {
            Reply::Registered(Registered::Bindings(bindings)) => {
                self.config.known.learn_registered(&self.config, &register.aor, &bindings);
            }
            Reply::Failed(Failure::Timeout) => self.tell_late(now, Event::Register(register), out),
            _ => {}
        }
        self.respond_with(now, server, code, bytes, out);
    }
}

/// Seconds that the registrar has granted this contact; None: it does not list it.
fn granted(config: &EndpointConfig, response: Message<'_>, contact: &NameAddr<'_>) -> Option<u32> {
    let (mut listed, mut longest) = (false, 0);
    for value in response.values(Header::Contact) {
        let Some(found @ Contact::Addr(address)) = Contact::parse(value) else { continue };
        let seconds = found.expires().flatten().or(response.expires().flatten()).unwrap_or(registrar::HOUR);
        let original = original(config, &address);
        let uri = original.as_ref().and_then(|uri| sip_core::uri::Uri::parse(uri.as_bytes())).unwrap_or(address.uri);
        if uri.comparison_key() == contact.uri.comparison_key() {
            return Some(seconds);
        }
        (listed, longest) = (true, longest.max(seconds));
    }
    // Some registrars list the address that the phone was seen at in place of its Contact.
    listed.then_some(longest)
}

/// As it came; where our Contacts stand in for the phone's, its own again, or it would not find them.
fn to_phone(config: &EndpointConfig, response: Message<'_>) -> Option<Vec<u8>> {
    let bytes = without_our_via(response)?;
    if config.front.as_ref().is_none_or(|front| front.way == Way::Path) {
        return Some(bytes);
    }
    let mut values = String::with_capacity(256);
    for value in response.values(Header::Contact) {
        if !values.is_empty() {
            values.push_str(", ");
        }
        let address = NameAddr::parse(value);
        match address.and_then(|address| Some((address, original(config, &address)?))) {
            Some((address, uri)) => replace_uri(&mut values, &address, &uri),
            None => values.push_str(&String::from_utf8_lossy(value)),
        }
    }
    if values.is_empty() {
        return Some(bytes);
    }
    let mut edit = Edit::new(response);
    edit.remove_first_value(Header::Via).remove(Header::Contact).append("Contact", &values);
    let mut bytes = Vec::with_capacity(response.bytes().len() + 64);
    edit.write(&mut bytes);
    Some(bytes)
}
