//! What is read from the odd messages, where getting it wrong would be worse than refusing them.

use sip_core::message::{Contact, MessageBuf};
use sip_core::uri::{Scheme, Uri};
use sip_core::{Header, Method};

fn odd(name: &str) -> MessageBuf {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/odd").join(format!("{name}.sip"));
    MessageBuf::parse(std::fs::read(path).expect(name)).expect(name)
}

fn request_user(message: &MessageBuf) -> String {
    String::from_utf8_lossy(Uri::parse(message.view().request_uri()).expect("Request-URI").user).into_owned()
}

#[test]
fn folds_and_white_space_do_not_hide_anything() {
    let message = odd("4475-3.1.1.1-white-space-and-folds");
    let view = message.view();
    let hosts: Vec<_> = view.vias().map(|via| via.map(|v| (v.transport, v.host, v.port))).collect();
    let relay = ("TCP", "relay.lakeside.example", Some(5070));
    assert_eq!(hosts, [Some(("UDP", "198.51.100.7", None)), Some(relay), Some(("UDP", "198.51.100.9", None))]);
    assert_eq!(view.top_via().and_then(|v| v.branch()), Some("old-style"));
    assert_eq!((view.to().and_then(|t| t.tag()), view.from().and_then(|f| f.tag())), (Some("remote-1"), Some("f7")));
    assert_eq!((view.max_forwards(), view.cseq().map(|c| c.number)), (Some(Some(9)), Some(42)));
    assert_eq!(view.contacts().next().flatten().and_then(|c| c.q()), Some(Some(250)));
    assert_eq!(view.routes().flatten().map(|r| r.uri.params.has("lr")).collect::<Vec<_>>(), [true]);
    assert!(view.body().starts_with(b"v=0\r\n"));
}

#[test]
fn escapes_in_tokens_mean_nothing() {
    let message = odd("4475-3.1.1.5-percent-is-no-escape-in-tokens");
    assert_eq!(message.view().method(), Method::Other("INV%49TE"));
    assert_eq!(message.view().contacts().count(), 1);
    assert_eq!(message.view().fields_named("cont%61ct").count(), 1);
}

#[test]
fn users_with_escapes_nulls_and_semicolons_stay_whole() {
    assert_eq!(request_user(&odd("4475-3.1.1.3-escapes-in-uris")), "tel%3A%2B1%40old");
    assert_eq!(request_user(&odd("4475-3.1.1.9-semicolon-in-user")), "kai;at=d%40home");
    let null = odd("4475-3.1.1.4-escaped-null");
    assert_eq!(null.view().to().and_then(|to| to.uri.aor()).as_deref(), Some("a%00b@harbor.example"));
    let keys: Vec<_> = null.view().contacts().flatten().filter_map(|c| c.addr().map(|a| a.uri.comparison_key())).collect();
    assert!(keys.len() == 2 && keys[0] != keys[1]);
}

#[test]
fn a_contact_parameter_is_not_a_uri_parameter() {
    let places = |name: &str| {
        let message = odd(name);
        let Some(Some(Contact::Addr(contact))) = message.view().contacts().next() else { panic!("{name}") };
        (contact.params.has("mystery"), contact.uri.params.has("mystery"))
    };
    assert_eq!(places("4475-3.3.12-unknown-contact-parameter"), (true, false));
    assert_eq!(places("4475-3.3.13-unknown-uri-parameter"), (false, true));
    let escaped = odd("4475-3.3.14-escaped-header-in-contact-uri");
    let headers = escaped.view().contacts().flatten().filter_map(|c| c.addr().map(|a| a.uri.headers.to_vec())).next();
    assert_eq!(headers.as_deref(), Some(&b"Route=%3Csip:edge.harbor.example%3E"[..]));
    assert_eq!(escaped.view().routes().count(), 0);
}

#[test]
fn the_body_ends_where_content_length_says() {
    let first = odd("4475-3.1.1.8-octets-after-the-body");
    assert!(first.view().body().is_empty() && !first.view().bytes().windows(6).any(|w| w == b"second"));
    let multipart = odd("4475-3.1.1.11-binary-multipart");
    assert!(multipart.view().body().contains(&0) && multipart.view().body().ends_with(b"--cut--\r\n"));
    assert!(odd("4475-3.4.1-rfc-2543-request").view().body().starts_with(b"v=0\r\n"));
}

#[test]
fn other_schemes_and_addresses_are_told_apart() {
    let scheme = |name: &str| Uri::parse(odd(name).view().request_uri()).map(|uri| uri.scheme);
    assert_eq!(scheme("4475-3.3.2-unknown-scheme"), Some(Scheme::Other));
    assert_eq!(scheme("5118-4.1-reference-in-request-uri"), Some(Scheme::Sip));
    let port = |name: &str| Uri::parse(odd(name).view().request_uri()).and_then(|uri| uri.port);
    assert_eq!(port("5118-4.3-port-like-last-group"), None);
    assert_eq!(port("5118-4.4-port-after-brackets"), Some(5062));
    for name in ["5118-4.5-received-with-brackets", "5118-4.5-received-without-brackets"] {
        assert_eq!(odd(name).view().top_via().and_then(|via| via.received()), "2001:db8:7::2".parse().ok(), "{name}");
    }
    let mapped = odd("5118-4.9-mapped-address");
    assert_eq!(mapped.view().top_via().and_then(|via| via.host_addr()), "::ffff:198.51.100.7".parse().ok());
}

#[test]
fn every_token_character_is_taken_as_it_is() {
    let message = odd("4475-3.1.1.2-every-token-character");
    let view = message.view();
    assert_eq!(view.method(), Method::Other("P~ng.-!%*_+`'9"));
    assert_eq!(view.cseq().map(|c| c.method), Some(view.method()));
    assert_eq!(request_user(&message), "(x)!*'~_.-&=+$,;?/");
    assert_eq!(view.from().and_then(|f| f.tag()), Some("!f"));
    assert_eq!(view.call_id(), Some("a~!%`'.()<>:\\/\"[]?{}@{}?][\"/:><)("));
    assert_eq!(view.fields_named("X-!%*_+`'~.").next(), Some(&b"\xd0\xb4\xd0\xb0\xfe"[..]));
    assert_eq!(view.first(Header::Expires), None);
}
