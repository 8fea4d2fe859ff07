//! Odd and malformed messages: our own, one or more for each section of RFC 4475 and RFC 5118, and with `TORTURE_DIR` the originals.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;

use sip_core::message::{Edit, MessageBuf, ResponseSpec, validate_request, validate_response};

/// What this layer makes of a datagram, as the tables spell it.
fn verdict(bytes: &[u8]) -> String {
    let Ok(message) = MessageBuf::parse(bytes.to_vec()) else { return "unparsed".into() };
    let view = message.view();
    if view.is_request() {
        match validate_request(view) {
            Ok(()) => "valid".into(),
            Err(reject) => {
                answerable(&message, reject.code);
                reject.code.to_string()
            }
        }
    } else {
        validate_response(view).map_or_else(|label| format!("drop {label}"), |()| "valid".into())
    }
}

/// The error for what was rejected can be written, and is a response itself.
fn answerable(request: &MessageBuf, code: u16) {
    let mut out = Vec::new();
    let spec = ResponseSpec { code, to_tag: "us", source: Some(([192, 0, 2, 1], 5060).into()), ..ResponseSpec::default() };
    spec.write(request.view(), &mut out);
    assert_eq!(MessageBuf::parse(out).expect("our own response").view().status(), Some(code));
}

fn odd() -> Vec<(String, String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/odd");
    let table = std::fs::read_to_string(folder.join("expect.csv")).expect("expect.csv");
    let rows = table.lines().skip(1).filter_map(|line| line.split_once(','));
    rows.map(|(file, expect)| (file.into(), expect.into(), std::fs::read(folder.join(file)).expect(file))).collect()
}

#[test]
fn each_odd_message_gets_its_verdict() {
    let check = |(file, expect, bytes): (String, String, Vec<u8>)| {
        let got = verdict(&bytes);
        (got != expect).then(|| format!("{file}: {got} instead of {expect}"))
    };
    let wrong: Vec<_> = odd().into_iter().filter_map(check).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_odd_message_survives_forwarding_untouched() {
    for (file, _, bytes) in odd() {
        let Ok(message) = MessageBuf::parse(bytes) else { continue };
        let mut out = Vec::new();
        Edit::new(message.view()).write(&mut out);
        assert_eq!(out, message.view().bytes(), "{file}");
    }
}

#[test]
fn the_odd_messages_cover_every_section_and_none_is_forgotten() {
    let named: BTreeSet<String> = odd().into_iter().map(|(file, ..)| file).collect();
    let sections = (1..=13)
        .map(|n| format!("4475-3.1.1.{n}-"))
        .chain((1..=19).map(|n| format!("4475-3.1.2.{n}-")))
        .chain(["4475-3.2.1-".into(), "4475-3.4.1-".into()])
        .chain((1..=15).map(|n| format!("4475-3.3.{n}-")))
        .chain((1..=10).map(|n| format!("5118-4.{n}-")));
    for section in sections {
        assert!(named.iter().any(|file| file.starts_with(&section)), "{section}");
    }
    let folder = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/odd")).expect("tests/odd");
    let files = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| name.ends_with(".sip"));
    assert_eq!(files.collect::<BTreeSet<_>>(), named);
}

/// The fields of one CSV line; quoted ones may hold commas and doubled quotes.
fn csv(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let (mut quoted, mut chars) = (false, line.chars().peekable());
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => fields[last].push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    fields
}

/// Whether a verdict fits a row. What only a proxy or registrar decides (416, 420, 483...) is valid here.
fn fits(class: &str, expected: &str, soft: &str, got: &str) -> bool {
    let allows = |code: &str| format!("{expected}|{soft}").split('|').any(|one| one == code || one == "any");
    match class {
        "valid" | "response-valid" => got == "valid",
        "invalid" => ["400", "501", "505"].contains(&got) && allows(got),
        "invalid-tolerable" => got == "valid" || allows(if got == "unparsed" { "drop" } else { got }),
        "response-invalid-drop" => got.starts_with("drop") || got == "unparsed",
        // Which element it is decides: as a message it is well formed.
        "response-drop" => got == "valid" || got.starts_with("drop"),
        _ => false,
    }
}

#[test]
fn each_original_torture_message_gets_its_verdict() {
    let Some(folder) = std::env::var_os("TORTURE_DIR") else {
        // Past the capture of the test harness, so that nobody takes this for a check.
        let _ = writeln!(std::io::stderr(), "TORTURE_DIR not set: original messages not checked");
        return;
    };
    let folder = Path::new(&folder);
    let table = std::fs::read_to_string(folder.join("expect.csv")).expect("expect.csv");
    let mut rows = 0;
    let mut wrong = Vec::new();
    for row in table.lines().skip(1).map(csv) {
        let [name, _, section, _, class, expected, soft, _] = &row[..] else { panic!("8 columns: {row:?}") };
        let bytes = std::fs::read(folder.join(format!("{name}.dat"))).expect(name);
        let got = verdict(&bytes);
        rows += 1;
        if !fits(class, expected, soft, &got) {
            wrong.push(format!("{name} ({section}, {class}): {got} instead of {expected}"));
        }
    }
    let _ = writeln!(std::io::stderr(), "{rows} original messages checked");
    assert!(wrong.is_empty() && rows > 0, "{wrong:#?}");
}
