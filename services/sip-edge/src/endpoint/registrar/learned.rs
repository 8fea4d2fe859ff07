//! What a registrar that we stand before has made of a REGISTER.

use std::time::Duration;

use redial_core::link::{BindingChange, ContactChange, Register};
use sip_core::Message;
use sip_core::message::{Contact, NameAddr};

use super::contact::{Shared, put};
use super::{Contacts, contacts, path, target, user_agent};
use crate::endpoint::{EndpointConfig, Now, Peer};

/// What is to be stored of a REGISTER that was answered with 2xx: as granted, not as asked. `granted` tells for how many seconds a contact is bound;
/// None: not at all. None: there is nothing to be stored, or it cannot be read.
#[must_use]
pub fn learned(
    config: &EndpointConfig,
    now: Now,
    from: Peer,
    request: Message<'_>,
    granted: impl Fn(&NameAddr<'_>) -> Option<u32>,
) -> Option<Register> {
    let aor = target(config, request).ok()?;
    let (call_id, cseq) = (request.call_id()?, request.cseq()?.number);
    let change = match contacts(request).ok()? {
        Contacts::None => return None,
        Contacts::Star => BindingChange::RemoveAll,
        Contacts::Each(each) => {
            let (edge, flow) = (config.edge_of(from), config.flow_of(from));
            let shared = Shared { call_id, cseq, path: path(request).ok()?, edge: &edge, flow, user_agent: user_agent(request) };
            let expires = request.expires().flatten();
            let change = |contact: &NameAddr<'_>| -> Option<ContactChange> {
                let asked = Contact::Addr(*contact).expires().flatten().or(expires);
                let seconds = if asked == Some(0) { None } else { granted(contact).filter(|seconds| *seconds > 0) };
                put(now.unix, contact, seconds.map(|seconds| Duration::from_secs(u64::from(seconds))), &shared).ok()
            };
            BindingChange::Each(each.iter().filter_map(change).collect())
        }
    };
    Some(Register { aor, call_id: call_id.to_owned(), cseq, change })
}
