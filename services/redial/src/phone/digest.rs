//! The phone's answer to a challenge.

use anyhow::{Context, Result};
use sip_core::Header;
use sip_core::digest::{Answer, Ha1, OfferedChallenge};

use super::request::Request;
use super::{Received, User};

/// The header line with which `request` is to be sent once more. None: the answer is no challenge, or the user has no password.
pub(super) fn credentials(user: &User, request: &Request, answer: &Received) -> Result<Option<String>> {
    let (asked, answers) = match answer.status() {
        401 => (Header::WwwAuthenticate, "Authorization"),
        407 => (Header::ProxyAuthenticate, "Proxy-Authorization"),
        _ => return Ok(None),
    };
    let Some(password) = &user.password else { return Ok(None) };
    let view = answer.message.view();
    // The first that we can answer is the one that the server likes best (RFC 8760 section 2.4).
    let challenge = view.fields(asked).find_map(OfferedChallenge::parse).context("a challenge that this phone cannot answer")?;
    let ha1 = Ha1::new(challenge.algorithm, &user.name, &challenge.realm, password);
    let answer = Answer { user: &user.name, ha1: &ha1, method: request.method, uri: &request.uri, cnonce: &request.call, nc: 1 };
    Ok(Some(format!("{answers}: {}\r\n", answer.header(&challenge))))
}
