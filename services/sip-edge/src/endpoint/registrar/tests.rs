use std::time::Duration;

use proptest::prelude::*;
use redial_core::link::{BindingChange, ContactChange, Register};
use redial_core::{Aor, Binding, UnixMillis};
use sip_core::routing::EdgeTag;
use sip_core::{Index, Message};

use super::*;
use crate::endpoint::fixture;

const EPOCH: UnixMillis = UnixMillis(1_700_000_000_000);

/// A REGISTER of alice's with these header lines besides the mandatory ones.
fn register(lines: &str) -> String {
    format!(
        "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK1\r\nFrom: <sip:alice@example.com>;tag=1\r\n\
         To: <sip:alice@example.com>\r\nCall-ID: call-1\r\nCSeq: 7 REGISTER\r\nMax-Forwards: 70\r\n{lines}Content-Length: 0\r\n\r\n"
    )
}

fn phone() -> Peer {
    Peer { edge: EdgeTag::HERE, listener: 0, addr: "192.0.2.7:5060".parse().unwrap() }
}

fn change_of(message: &[u8]) -> Result<Register, Refusal> {
    change_by(message, None)
}

fn change_by(message: &[u8], proved: Option<&str>) -> Result<Register, Refusal> {
    let config = fixture::config(if proved.is_some() { Some("") } else { None });
    let mut index = Index::default();
    let message = Message::parse(message, &mut index).expect("a SIP message");
    let now = Now { instant: fixture::start(), unix: EPOCH };
    change(&config, now, phone(), message, proved.map(Aor::new).as_ref())
}

fn puts(lines: &str) -> Vec<Binding> {
    let BindingChange::Each(changes) = change_of(register(lines).as_bytes()).expect("accepted").change else { panic!("no contacts") };
    let put = |c| if let ContactChange::Put(b) = c { b } else { panic!("removed") };
    changes.into_iter().map(put).collect()
}

fn refused(lines: &str) -> Refusal {
    change_of(register(lines).as_bytes()).expect_err("refused")
}

fn answer(bindings: &[Binding], now: UnixMillis, lines: &str) -> String {
    let request = register(lines);
    let mut index = Index::default();
    let mut out = String::new();
    ok_headers(&mut out, now, bindings, Message::parse(request.as_bytes(), &mut index).expect("a SIP message"));
    out
}

#[test]
fn the_whole_binding_is_kept() {
    let binding = &puts("Contact: \"A\" <sip:a@192.0.2.7:5060;transport=udp>;expires=60;q=0.5;x=1\r\nUser-Agent: Phone 1.0\r\n")[0];
    assert_eq!(binding.uri, "sip:a@192.0.2.7:5060;transport=udp");
    assert_eq!(binding.params, ";x=1");
    assert_eq!(binding.q, 500);
    assert_eq!(binding.expires_at, EPOCH.after(Duration::from_secs(60)));
    assert_eq!((binding.call_id.as_str(), binding.cseq), ("call-1", 7));
    assert_eq!(binding.flow.as_str(), "udp/0/192.0.2.7:5060");
    assert_eq!(binding.user_agent, "Phone 1.0");
}

#[test]
fn expires_of_the_contact_goes_before_the_header_and_that_before_the_default() {
    let left = |lines: &str| puts(lines).iter().map(|b| b.expires_at.since(EPOCH).as_secs()).collect::<Vec<_>>();
    assert_eq!(left("Contact: <sip:a@h>;expires=90, <sip:b@h>\r\nExpires: 120\r\n"), [90, 120]);
    assert_eq!(left("Contact: <sip:a@h>\r\n"), [3600]);
    assert_eq!(left("Contact: <sip:a@h>\r\nExpires: 4294967295\r\n"), [7200], "cut to the maximum");
    assert_eq!(left("Contact: <sip:a@h>;expires=soon\r\nExpires: 120\r\n"), [3600], "RFC 3261 section 20.10");
    assert_eq!(left("Contact: <sip:a@h>;expires=280297596632815\r\n"), [3600]);
}

#[test]
fn too_brief_is_423_with_the_minimum() {
    for lines in
        ["Contact: <sip:a@h>;expires=59\r\n", "Contact: <sip:a@h>\r\nExpires: 1\r\n", "Contact: <sip:a@h>, <sip:b@h>;expires=3\r\n"]
    {
        let refusal = refused(lines);
        assert_eq!((refusal.code(), refusal.headers().as_str()), (423, "Min-Expires: 60\r\n"), "{lines}");
    }
    assert_eq!(puts("Contact: <sip:a@h>;expires=60\r\n").len(), 1);
}

#[test]
fn zero_removes() {
    let change = change_of(register("Contact: <sip:a@h>;expires=0, <sip:b@h>\r\n").as_bytes()).unwrap().change;
    let BindingChange::Each(changes) = change else { panic!("not each") };
    assert!(matches!((&changes[0], &changes[1]), (ContactChange::Remove(_), ContactChange::Put(_))));
    let ContactChange::Remove(removed) = &changes[0] else { panic!("not removed") };
    assert_eq!(*removed, puts("Contact: <sip:a@H>\r\n")[0].id, "an equivalent URI names the same binding");
}

#[test]
fn no_contact_is_a_fetch() {
    assert_eq!(change_of(register("").as_bytes()).unwrap().change, BindingChange::Fetch);
    assert_eq!(change_of(register("Expires: 0\r\n").as_bytes()).unwrap().change, BindingChange::Fetch);
}

#[test]
fn the_star_removes_all_and_stands_alone() {
    assert_eq!(change_of(register("Contact: *\r\nExpires: 0\r\n").as_bytes()).unwrap().change, BindingChange::RemoveAll);
    for lines in [
        "Contact: *\r\n",
        "Contact: *\r\nExpires: 60\r\n",
        "Contact: *, <sip:a@h>\r\nExpires: 0\r\n",
        "Contact: <sip:a@h>\r\nContact: *\r\nExpires: 0\r\n",
        "Contact: *\r\nContact: *\r\nExpires: 0\r\n",
    ] {
        assert_eq!(refused(lines).code(), 400, "{lines}");
    }
}

#[test]
fn bad_contacts_are_400_and_store_nothing() {
    for lines in [
        "Contact: <mailto:alice@example.com>\r\n",
        "Contact: <tel:+123>\r\n",
        "Contact: <sip:a@h>, <name:John_Smith>\r\n",
        "Contact: <sip:a@h>;q=2\r\n",
        "Contact: <sip:a@h\r\n",
        "Contact: \r\n",
        "Contact: <sip:a@h>;+sip.instance=\"<urn:uuid:1>\";reg-id=0\r\n",
    ] {
        assert_eq!(refused(lines).code(), 400, "{lines}");
    }
}

#[test]
fn size_is_bounded() {
    let many = (0..=MAX_CONTACTS).map(|n| format!("Contact: <sip:{n}@h>\r\n")).collect::<String>();
    assert_eq!(refused(&many).code(), 403);
    assert_eq!(puts(&many.replace("Contact: <sip:16@h>\r\n", "")).len(), MAX_CONTACTS);
    assert_eq!(refused(&format!("Contact: <sip:a@h>;x={}\r\n", "y".repeat(MAX_BINDING_BYTES))).code(), 403);
    let path = "Path: <sip:p@h;lr>\r\n".repeat(MAX_PATH + 1);
    assert_eq!(refused(&format!("{path}Supported: path\r\nContact: <sip:a@h>\r\n")).code(), 403);
}

#[test]
fn an_instance_with_its_flow_number_replaces_another_address() {
    let id = |uri: &str, params: &str| puts(&format!("Contact: <{uri}>{params}\r\n"))[0].id.clone();
    let outbound = ";reg-id=1;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-00000000000A>\"";
    assert_eq!(id("sip:a@192.0.2.1", outbound), id("sip:a@192.0.2.2:9", &outbound.to_ascii_lowercase()));
    assert_ne!(id("sip:a@192.0.2.1", outbound), id("sip:a@192.0.2.1", &outbound.replace("reg-id=1", "reg-id=2")));
    assert_eq!(id("sip:a@192.0.2.1", ";reg-id=1"), id("sip:a@192.0.2.1", ""), "no instance: the number is ignored");
    assert_ne!(id("sip:a@192.0.2.1", ""), id("sip:a@192.0.2.2", ""));
}

#[test]
fn path_needs_a_phone_that_knows_it() {
    let path = "Path: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\nContact: <sip:a@h>\r\n";
    let refusal = refused(path);
    assert_eq!((refusal.code(), refusal.headers().as_str()), (420, "Unsupported: path\r\n"));
    assert_eq!(puts(&format!("{path}Supported: gruu, path\r\n"))[0].path, ["<sip:p1.example.com;lr>", "<sip:p2.example.com;lr>"]);
    assert_eq!(refused("Path: garbage\r\nSupported: path\r\nContact: <sip:a@h>\r\n").code(), 400);
}

#[test]
fn only_the_own_aor_of_our_domains() {
    let own = register("Contact: <sip:a@h>\r\n");
    assert_eq!(change_by(own.as_bytes(), Some("alice@example.com")).unwrap().aor, Aor::new("alice@example.com"));
    assert_eq!(change_by(own.as_bytes(), Some("bob@example.com")).unwrap_err(), Refusal::NotOwn);
    let to = |to: &str| change_of(own.replace("To: <sip:alice@example.com>", to).as_bytes());
    assert_eq!(to("To: sips:%61lice@EXAMPLE.com:5061;x=y").unwrap().aor, Aor::new("alice@example.com"));
    assert_eq!(to("To: <sip:alice@192.0.2.1:5060>").unwrap().aor, Aor::new("alice@example.com"), "our address stands for our first domain");
    assert_eq!(to("To: <sip:alice@example.net>").unwrap_err().code(), 404);
    assert_eq!(to("To: <sip:example.com>").unwrap_err().code(), 404);
    assert_eq!(to("To: isbn:2983792873").unwrap_err().code(), 400);
}

#[test]
fn without_proof_a_kept_users_file_lets_nobody_in() {
    let config = fixture::config(Some(""));
    let request = register("");
    let mut index = Index::default();
    let message = Message::parse(request.as_bytes(), &mut index).unwrap();
    let now = Now { instant: fixture::start(), unix: EPOCH };
    assert_eq!(change(&config, now, phone(), message, None), Err(Refusal::NotOwn));
}

#[test]
fn a_repeat_asks_for_the_same_change() {
    let request = register("Contact: <sip:a@h>;expires=600\r\n");
    assert_eq!(change_of(request.as_bytes()).unwrap(), change_of(request.as_bytes()).unwrap());
}

/// RFC 4475 sections 3.3.12, 3.3.13, 3.3.14 and 3.1.1.4.
#[test]
fn what_was_registered_comes_back_exactly() {
    for (contact, back) in [
        ("sip:+19725552222@gw1.example.net;unknownparam", "<sip:+19725552222@gw1.example.net>;unknownparam"),
        ("<sip:+19725552222@gw1.example.net;unknownparam>", "<sip:+19725552222@gw1.example.net;unknownparam>"),
        ("<sip:user@example.com?Route=%3Csip:sip.example.com%3E>", "<sip:user@example.com?Route=%3Csip:sip.example.com%3E>"),
        ("sip:%00@host5.example.com", "<sip:%00@host5.example.com>"),
        ("sip:%00%00@host5.example.com", "<sip:%00%00@host5.example.com>"),
        ("<sip:a@h>;+sip.instance=\"<urn:uuid:1;2>\"\r\n ;x", "<sip:a@h>;+sip.instance=\"<urn:uuid:1;2>\";x"),
    ] {
        let bindings = puts(&format!("Contact: {contact}\r\n"));
        assert_eq!(answer(&bindings, EPOCH, "").lines().next(), Some(format!("Contact: {back};expires=3600").as_str()));
    }
    let nul = puts("Contact: <sip:%00@h>, <sip:%00%00@h>\r\n");
    assert_ne!(nul[0].id, nul[1].id);
}

#[test]
fn the_answer_lists_what_is_left() {
    let bindings = puts("Contact: <sip:a@h>;expires=60;q=0.25, <sip:b@h>;expires=61;q=1.0, <sip:c@h>;expires=70\r\n");
    let text = answer(&bindings, UnixMillis(EPOCH.0 + 60_000), "");
    assert_eq!(text, "Contact: <sip:b@h>;expires=1\r\nContact: <sip:c@h>;expires=10\r\nDate: Tue, 14 Nov 2023 22:14:20 GMT\r\n");
    let text = answer(&bindings, UnixMillis(EPOCH.0 + 1), "Supported: path\r\nPath: <sip:p@h;lr>\r\n");
    assert!(text.starts_with("Contact: <sip:a@h>;expires=60;q=0.25\r\n"), "{text}");
    assert!(text.contains("\r\nPath: <sip:p@h;lr>\r\n"));
}

proptest! {
    #[test]
    fn no_register_makes_it_panic(contact in "[ -~\t]{0,60}", expires in "[0-9a-z]{0,12}", noise in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut message = register(&format!("Contact: {contact}\r\nExpires: {expires}\r\nPath: {contact}\r\nSupported: path\r\n")).into_bytes();
        let _ = change_of(&message);
        let at = message.len() - 21 - noise.len().min(30);
        let noise: Vec<u8> = noise.into_iter().filter(|b| *b != b'\n' && *b != b'\r').collect();
        message.splice(at..at, noise);
        let mut index = Index::default();
        if Message::parse(&message, &mut index).is_ok() {
            let _ = change_of(&message);
        }
    }

    #[test]
    fn a_granted_interval_is_within_bounds_and_counts_down(asked in prop::option::of(prop::option::of(any::<u32>())), waited in 0_u64..10_000_000) {
        let config = fixture::config(None);
        match contact::lifetime(&config, asked) {
            Ok(None) => prop_assert_eq!(asked, Some(Some(0))),
            Ok(Some(granted)) => {
                prop_assert!(granted <= config.register_max);
                prop_assert!(granted >= config.register_min);
                let mut binding = puts("Contact: <sip:a@h>\r\n").remove(0);
                binding.expires_at = EPOCH.after(granted);
                let text = answer(&[binding], UnixMillis(EPOCH.0 + waited), "");
                let left = (granted.as_millis() as u64).saturating_sub(waited).div_ceil(1000);
                prop_assert_eq!(text.contains("Contact:"), left > 0);
                prop_assert!(left == 0 || text.contains(&format!(";expires={left}\r\n")), "{}", text);
            }
            Err(refusal) => {
                prop_assert_eq!(refusal.code(), 423);
                let asked = asked.flatten().unwrap_or_default();
                prop_assert!(asked > 0 && asked < 60);
            }
        }
    }
}
