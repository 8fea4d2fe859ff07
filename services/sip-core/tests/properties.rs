//! What holds for every message, generated or garbled.

mod exercise;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use sip_core::message::{Edit, MessageBuf};

/// Header lines as phones, proxies and test suites spell them: name, white space before the colon, value with folds.
fn line() -> impl Strategy<Value = (String, String)> {
    let name = select(vec![
        "Via",
        "v",
        "VIA",
        "From",
        "t",
        "To",
        "Call-ID",
        "i",
        "CSeq",
        "Contact",
        "m",
        "Route",
        "Record-Route",
        "Max-Forwards",
        "Expires",
        "Supported",
        "k",
        "X-Unknown",
        "x.~!",
        "Refer-To",
        "Path",
    ]);
    let piece = prop_oneof![
        Just("SIP/2.0/UDP h;branch=z9hG4bK1".to_owned()),
        Just("SIP / 2.0 / TCP [2001:db8::1]:5071 ;rport; received=::1".to_owned()),
        Just("\"a, \\\" <b>\" <sip:u,v;w@h;lr?x=y>;tag=t".to_owned()),
        Just("<sip:h;lr>".to_owned()),
        Just("*".to_owned()),
        Just("12 INVITE".to_owned()),
        "[a-z0-9;=\"<> ]{0,12}",
        "[\u{a1}-\u{ff}]{0,4}",
    ];
    let value = (vec(piece, 1..4), select(vec![",", " , ", ",\r\n ", "\r\n\t", "\n "])).prop_map(|(pieces, join)| pieces.join(join));
    (name, select(vec!["", " ", "\t "]), select(vec!["", " ", "\r\n  "]), value, select(vec!["", " "]), select(vec!["\r\n", "\n"]))
        .prop_map(|(name, before, after, value, end, crlf)| {
            (format!("{name}{before}:{after}{value}{end}{crlf}"), value.trim_matches([' ', '\t', '\r', '\n']).to_owned())
        })
}

type Lines = Vec<(String, String)>;

fn message() -> impl Strategy<Value = (Vec<u8>, Lines)> {
    let start = select(vec!["INVITE sip:a@b SIP/2.0", "REGISTER sip:[::1] sip/2.0", "SIP/2.0 200 OK", "X  y  SIP/9 ", "SIP/2.0 "]);
    (start, vec(line(), 0..12), vec(any::<u8>(), 0..40)).prop_map(|(start, lines, body)| {
        let mut bytes = format!("{start}\r\n").into_bytes();
        lines.iter().for_each(|(line, _)| bytes.extend_from_slice(line.as_bytes()));
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        (bytes, lines)
    })
}

fn odd() -> impl Strategy<Value = Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/odd");
    let files = std::fs::read_dir(folder).expect("tests/odd").map(|entry| entry.expect("entry").path());
    select(files.filter(|f| f.extension().is_some_and(|e| e == "sip")).map(|f| std::fs::read(f).expect("file")).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn every_field_of_a_generated_message_is_found_and_nothing_is_lost((bytes, lines) in message()) {
        let message = MessageBuf::parse(bytes.clone()).expect("well framed");
        let mut out = Vec::new();
        Edit::new(message.view()).write(&mut out);
        prop_assert_eq!(&out, &bytes);
        let values: Vec<_> = message.view().all_fields().map(|(_, value)| value.to_vec()).collect();
        let sent: Vec<_> = lines.into_iter().map(|(_, value)| value.into_bytes()).collect();
        prop_assert_eq!(values, sent);
    }

    #[test]
    fn promises_hold_for_generated_messages((bytes, _) in message()) {
        exercise::exercise(&bytes);
    }

    #[test]
    fn promises_hold_for_any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        exercise::exercise(&bytes);
    }

    #[test]
    fn promises_hold_for_garbled_messages(mut bytes in odd(), changes in vec((any::<Index>(), select(b"\r\n \t:;,<>\"\\@[]=/?%*\0\xff0".to_vec()), any::<bool>()), 1..8)) {
        for (at, byte, insert) in changes {
            let at = at.index(bytes.len());
            if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        exercise::exercise(&bytes);
    }

    #[test]
    fn promises_hold_for_cut_messages(bytes in odd(), at in any::<Index>()) {
        exercise::exercise(&bytes[..at.index(bytes.len())]);
    }
}
