//! The phone's answer to a challenge.

use anyhow::{Context as _, Result};
use sip_core::MessageBuf;
use sip_core::digest::{Answer, Ha1, OfferedChallenge};
use sip_core::message::Header;

use super::{Phone, Received};

/// What a request's branch has more when it is sent once more with credentials.
pub(super) const AGAIN: &str = "-again";

/// The same request once more, with the next CSeq, another branch and credentials. None: the answer is no challenge, or the phone has no
/// password.
pub(super) fn repeated(phone: &mut Phone, request: &str, answer: &Received) -> Result<Option<String>> {
    let (asked, answers) = match answer.status() {
        401 => (Header::WwwAuthenticate, "Authorization"),
        407 => (Header::ProxyAuthenticate, "Proxy-Authorization"),
        _ => return Ok(None),
    };
    let Some(password) = phone.password.clone() else { return Ok(None) };
    let message = answer.message();
    // The first that we can answer is the one that the server likes best (RFC 8760 section 2.4).
    let challenge = message.fields(asked).find_map(OfferedChallenge::parse).context("no challenge that a phone can answer")?;
    let sent = MessageBuf::parse(request.as_bytes().to_vec())?;
    let (method, uri) = (sent.view().method().as_str().to_owned(), String::from_utf8_lossy(sent.view().request_uri()).into_owned());
    let ha1 = Ha1::new(challenge.algorithm, &phone.who, &challenge.realm, &password);
    let cnonce = phone.make("cnonce");
    let header = Answer { user: &phone.who, ha1: &ha1, method: &method, uri: &uri, cnonce: &cnonce, nc: 1 }.header(&challenge);
    let again =
        request.replacen(";rport", &format!("{AGAIN};rport"), 1).replacen("CSeq: 1 ", &format!("{answers}: {header}\r\nCSeq: 2 "), 1);
    Ok(Some(again))
}
