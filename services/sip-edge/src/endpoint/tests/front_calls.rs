//! In front of proxies: calls in both directions, who is remembered, and servers that do not answer.

use std::time::Duration;

use redial_core::link::{CallReport, CallResult, Event, NotWatched, Offline, RouteStage};
use sip_core::routing::{EdgeTag, FlowEnd, PathToken};

use super::front::{SERVER, SERVER_2, front, front_with};
use super::*;
use crate::upstream::Way;

const CREDENTIALS: &str =
    "Proxy-Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", uri=\"sip:bob@example.com\", response=\"0\"\r\n";

fn stages(driver: &mut Driver) -> Vec<(RouteStage, bool)> {
    let stage = |event| match event {
        Event::Route(route) => (route.stage, route.authenticated),
        other => panic!("{other:?}"),
    };
    driver.events().into_iter().map(stage).collect()
}

fn results(driver: &mut Driver) -> Vec<CallResult> {
    let result = |event| match event {
        Event::CallReport(CallReport { result, .. }) => result,
        other => panic!("{other:?}"),
    };
    driver.events().into_iter().map(result).collect()
}

fn stage(driver: &Driver) -> (RouteStage, bool) {
    match &driver.requests[0].event {
        Event::Route(route) => (route.stage, route.authenticated),
        other => panic!("{other:?}"),
    }
}

fn bye_of_alice(route: &str) -> String {
    let bye = request("BYE", "sip:bob@192.0.2.20", "b", &format!("Route: {route}\r\n"));
    bye.replace("bob@example.com>", "bob@example.com>;tag=phone").replace("To: <sip:bob@192.0.2.20>", "To: <sip:bob@192.0.2.20>;tag=phone")
}

/// Which servers are there, in the order in which they were named.
fn up(driver: &Driver) -> Vec<bool> {
    driver.config.front.as_ref().unwrap().upstreams.all().iter().map(|server| server.is_up()).collect()
}

fn path_to(addr: &str) -> String {
    let flow = FlowEnd { edge: EdgeTag::HERE, listener: 0, addr: addr.parse().unwrap() };
    format!("<sip:{}@192.0.2.1:5060;lr>", PathToken { flow, contact: None }.encode(&[7; 32]))
}

/// The server has asked alice for her password, and she calls again with it.
fn challenged(driver: &mut Driver) -> Vec<Sent> {
    let sent = driver.receive(ALICE, &invite("1", ""));
    assert_eq!((sent.len(), sent[0].to.to_string()), (1, SERVER.to_owned()));
    let sent = driver.receive(SERVER, &sent[0].response(407, "Proxy-Authenticate: Digest realm=\"example.com\", nonce=\"n\"\r\n"));
    assert_eq!(codes(&sent.into_iter().filter(|s| s.status() > 0).collect::<Vec<_>>()), [407]);
    assert!(driver.requests.is_empty(), "a challenge is nobody's business but the phone's");
    let sent = driver.receive(ALICE, &invite("2", CREDENTIALS));
    assert!(driver.requests.is_empty(), "nor is what the server has not judged");
    sent
}

/// Alice is registered by the flow that she calls from, and calls.
fn known_calls(driver: &mut Driver, reply: Reply) -> Vec<Sent> {
    let binding = target(ALICE, 1000);
    let until = driver.now().unix.after(Duration::from_secs(60));
    driver.config.known.learn(&driver.config, &Aor::new("alice@example.com"), vec![(until, binding)]);
    assert!(driver.receive(ALICE, &invite("k", CREDENTIALS)).is_empty());
    assert_eq!(stage(driver), (RouteStage::Ringing, false), "her flow is the proof");
    driver.reply(reply)
}

#[test]
fn a_caller_with_right_credentials_is_remembered_when_the_server_says_offline() {
    let mut driver = front();
    let sent = challenged(&mut driver);
    assert!(sent[0].header("Proxy-Authorization").is_some() && sent[0].header("Record-Route").is_some());
    let acks = driver.receive(SERVER, &sent[0].response(404, "Reason: x\r\nExpires: 5\r\n"));
    assert_eq!(acks.iter().map(Sent::method).collect::<Vec<_>>(), ["ACK"], "the answer waits for the coordinator (P1)");
    assert_eq!(stage(&driver), (RouteStage::Offline, true));
    let answers = driver.reply(offline(Offline::Granted { period: Duration::from_secs(600), trace: None }));
    assert_eq!(codes(&answers), [404]);
    let header = |name| answers[0].header(name);
    assert_eq!((header("Expires"), header("Redial-Period"), header("Reason")), (Some("600"), Some("600"), Some("x")));
    assert_eq!(header("Call-Info"), Some("<sip:bob@example.com>;purpose=call-completion;m=NL"));
}

#[test]
fn p7_credentials_that_nobody_asked_for_prove_nothing() {
    let mut driver = front();
    let sent = driver.receive(ALICE, &invite("1", CREDENTIALS));
    driver.receive(SERVER, &sent[0].response(480, ""));
    assert_eq!(stage(&driver), (RouteStage::Offline, false));
    // Neither do those of somebody else.
    let mut driver = front();
    challenged(&mut driver);
    let sent = driver.receive(ALICE, &invite("3", &CREDENTIALS.replace("alice", "mallory")));
    driver.receive(SERVER, &sent[0].response(480, ""));
    assert_eq!(stages(&mut driver), [(RouteStage::Offline, false)]);
}

#[test]
fn p7_credentials_that_a_failing_server_has_not_looked_at_prove_nothing() {
    let mut driver = front();
    let sent = challenged(&mut driver);
    driver.receive(SERVER, &sent[0].response(503, ""));
    assert_eq!(stages(&mut driver), [(RouteStage::Offline, false)]);
    let mut driver = front();
    challenged(&mut driver);
    driver.pass(Duration::from_secs(33));
    assert_eq!(stages(&mut driver), [(RouteStage::Offline, false)], "408");
}

#[test]
fn an_answer_that_does_not_mean_offline_passes_at_once() {
    let mut driver = front();
    let sent = driver.receive(ALICE, &invite("1", ""));
    let answers = driver.receive(SERVER, &sent[0].response(486, ""));
    assert_eq!(answers.last().unwrap().status(), 486);
    // The coordinator did not know of the call: which watches does that concern?
    assert_eq!(stage(&driver), (RouteStage::Ringing, false));
    driver.reply(online_watched(&[]));
    assert_eq!(results(&mut driver), [CallResult::Failed(486)]);
}

#[test]
fn a_registered_callees_480_is_passed_on_without_a_grant() {
    let mut driver = front();
    let sent = driver.receive(ALICE, &invite("1", ""));
    driver.receive(SERVER, &sent[0].response(480, ""));
    let answers = driver.reply(online_watched(&[]));
    assert_eq!((codes(&answers), answers[0].header("Call-Info")), (vec![480], None));
    assert_eq!(results(&mut driver), [CallResult::Failed(480)]);
    // Nor when the coordinator refuses.
    let sent = driver.receive(ALICE, &invite("2", ""));
    driver.receive(SERVER, &sent[0].response(480, ""));
    let answers = driver.reply(offline(Offline::NotWatched(NotWatched::CallerNotAuthenticated)));
    assert_eq!((codes(&answers), answers[0].header("Call-Info")), (vec![480], None));
}

#[test]
fn an_answered_call_ends_its_watches() {
    // A stranger's, known to the coordinator since it rings.
    let mut driver = front();
    let sent = challenged(&mut driver);
    driver.receive(SERVER, &sent[0].response(180, ""));
    assert_eq!(stage(&driver), (RouteStage::Ringing, true));
    driver.receive(SERVER, &sent[0].response(183, ""));
    assert_eq!(driver.requests.len(), 1, "once");
    driver.reply(online_watched(&[]));
    assert_eq!(codes(&driver.receive(SERVER, &sent[0].response(200, ""))), [200]);
    assert_eq!(results(&mut driver), [CallResult::Established]);
    // One that is answered before the coordinator is.
    let mut driver = front();
    let sent = challenged(&mut driver);
    driver.receive(SERVER, &sent[0].response(180, ""));
    driver.receive(SERVER, &sent[0].response(200, ""));
    driver.reply(online_watched(&[]));
    driver.reply(online_watched(&[]));
    assert_eq!(results(&mut driver), [CallResult::Established]);
    // No watch, no word.
    let mut driver = front();
    let sent = known_calls(&mut driver, online(&[]));
    driver.receive(SERVER, &sent[0].response(180, ""));
    driver.receive(SERVER, &sent[0].response(200, ""));
    assert!(driver.events().is_empty());

    let mut driver = front();
    let sent = known_calls(&mut driver, online_watched(&[]));
    let route = sent[0].header("Record-Route").unwrap().to_owned();
    driver.receive(SERVER, &sent[0].response(200, ""));
    assert_eq!(results(&mut driver), [CallResult::Established]);
    // Its BYE frees the callee's turn.
    assert_eq!(driver.receive(ALICE, &bye_of_alice(&route))[0].to.to_string(), SERVER);
    assert_eq!(results(&mut driver), [CallResult::Ended]);
}

#[test]
fn a_caller_who_gives_up_takes_back_what_was_granted_meanwhile() {
    let mut driver = front();
    let sent = driver.receive(ALICE, &invite("1", ""));
    driver.receive(SERVER, &sent[0].response(480, ""));
    let answers = driver.receive(ALICE, &request("CANCEL", "sip:bob@example.com", "1", ""));
    assert_eq!(codes(&answers), [200, 487]);
    assert!(driver.reply(offline(Offline::Granted { period: Duration::from_secs(60), trace: None })).is_empty());
    match driver.events().as_slice() {
        [Event::Route(route)] => assert_eq!((route.stage, route.period), (RouteStage::Offline, redial_core::link::RequestedPeriod::OptOut)),
        other => panic!("{other:?}"),
    }
    // Before the server has answered, the CANCEL goes there.
    let sent = driver.receive(ALICE, &invite("2", ""));
    driver.receive(SERVER, &sent[0].response(180, ""));
    let sent = driver.receive(ALICE, &request("CANCEL", "sip:bob@example.com", "2", ""));
    assert!(sent.iter().any(|s| s.method() == "CANCEL" && s.status() == 0 && s.to.to_string() == SERVER), "{sent:?}");
}

#[test]
fn a_call_given_up_before_the_coordinator_has_answered_is_reported_all_the_same() {
    let mut driver = front();
    let sent = challenged(&mut driver);
    driver.receive(SERVER, &sent[0].response(180, ""));
    let cancelled = driver.receive(ALICE, &request("CANCEL", "sip:bob@example.com", "2", ""));
    assert!(cancelled.iter().any(|s| s.method() == "CANCEL" && s.to.to_string() == SERVER), "{cancelled:?}");
    driver.receive(SERVER, &sent[0].response(487, ""));
    // What it says of the ringing comes late; it is asked again which watches that concerned.
    driver.reply(online_watched(&[]));
    assert_eq!(stage(&driver), (RouteStage::Ringing, true));
    driver.reply(online_watched(&[]));
    assert_eq!(results(&mut driver), [CallResult::Cancelled]);
    // Nobody has heard of one that did not ring.
    let sent = driver.receive(ALICE, &invite("3", CREDENTIALS));
    driver.receive(SERVER, &sent[0].response(100, ""));
    driver.receive(ALICE, &request("CANCEL", "sip:bob@example.com", "3", ""));
    assert_eq!(codes(&driver.receive(SERVER, &sent[0].response(487, ""))).last(), Some(&487));
    assert!(driver.requests.is_empty());
}

/// A phone tries again, by another edge or by this one when it is back; what a server sends to the phone has no other way.
#[test]
fn a_drain_refuses_phones_and_not_what_servers_send_to_them() {
    let mut driver = front();
    driver.endpoint.drain();
    assert_eq!(codes(&driver.receive(ALICE, &invite("1", ""))), [503]);
    let extra = format!("Route: {}\r\n", path_to(BOB));
    let sent = driver.receive(SERVER, &request("INVITE", &format!("sip:bob@{BOB}"), "2", &extra));
    assert_eq!(sent.iter().filter(|s| s.status() == 0).map(|s| s.to.to_string()).collect::<Vec<_>>(), [BOB]);
}

#[test]
fn a_call_from_the_server_reaches_the_phone_by_its_path_and_stays_with_us() {
    let mut driver = front();
    let extra = format!("Route: {}\r\nRecord-Route: <sip:192.0.2.50;lr>\r\nContact: <sip:alice@{ALICE}>\r\n", path_to(BOB));
    let from_server = |text: String| text.replace(&format!("UDP {ALICE}"), &format!("UDP {SERVER}"));
    let sent = driver.receive(SERVER, &from_server(request("INVITE", "sip:bob@10.0.0.8", "1", &extra)));
    assert_eq!((sent[0].to.to_string(), sent[0].header("Route")), (BOB.to_owned(), None));
    assert!(sent[0].text.starts_with("INVITE sip:bob@10.0.0.8 SIP/2.0\r\n"));
    assert!(driver.requests.is_empty(), "nobody is asked");
    let routes: Vec<&str> = sent[0].headers("Record-Route").collect();
    assert_eq!((routes.len(), routes[1]), (2, "<sip:192.0.2.50;lr>"));

    // Bob's BYE takes the way back to the server, which stands next in Route.
    let dialog = |method: &str, from: &str, branch: &str, route: &str| {
        let (own, other) = if from == BOB { ("phone", "a1") } else { ("a1", "phone") };
        format!(
            "{method} sip:x@192.0.2.99 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\nFrom: <sip:x@example.com>;tag={own}\r\n\
             To: <sip:y@example.com>;tag={other}\r\nRoute: {route}\r\nCall-ID: call-1\r\nCSeq: 9 {method}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let bye = driver.receive(BOB, &dialog("BYE", BOB, "2", &routes.join(", ")));
    assert_eq!((bye[0].to.to_string(), bye[0].header("Route")), (SERVER.to_owned(), Some("<sip:192.0.2.50;lr>")));
    // The server's own goes to bob.
    let info = driver.receive(SERVER, &dialog("INFO", SERVER, "3", routes[0]));
    assert_eq!((info[0].to.to_string(), info[0].header("Route")), (BOB.to_owned(), None));
}

#[test]
fn a_server_that_stays_out_of_the_call_is_left_out() {
    let mut driver = front();
    // Both legs come by us; the server in between has not recorded itself.
    let up = known_calls(&mut driver, online_watched(&[]));
    let near = up[0].header("Record-Route").unwrap().to_owned();
    let down = request("INVITE", "sip:bob@192.0.2.20", "2", &format!("Route: {}\r\nRecord-Route: {near}\r\n", path_to(BOB)));
    let down = driver.receive(SERVER, &down.replace(&format!("UDP {ALICE}"), &format!("UDP {SERVER}")));
    let far = down[0].header("Record-Route").unwrap().to_owned();
    let bye = |from: &str, own: &str, other: &str, routes: &str, branch: &str| {
        format!(
            "BYE sip:x@192.0.2.99 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\nFrom: <sip:x@example.com>;tag={own}\r\n\
             To: <sip:y@example.com>;tag={other}\r\nRoute: {routes}\r\nCall-ID: call-1\r\nCSeq: 9 BYE\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let sent = driver.receive(ALICE, &bye(ALICE, "a1", "phone", &format!("{near}, {far}"), "3"));
    assert_eq!((sent[0].to.to_string(), sent[0].header("Route")), (BOB.to_owned(), None));
    assert_eq!(results(&mut driver), [CallResult::Ended], "whichever of the two names the watch");
    let sent = driver.receive(BOB, &bye(BOB, "phone", "a1", &format!("{far}, {near}"), "4"));
    assert_eq!(sent[0].to.to_string(), ALICE);
    assert_eq!(results(&mut driver), [CallResult::Ended]);
}

#[test]
fn a_watched_call_that_is_asked_for_a_password_is_no_call_yet() {
    let mut driver = front();
    let sent = known_calls(&mut driver, online_watched(&[]));
    let sent = driver.receive(SERVER, &sent[0].response(407, "Proxy-Authenticate: Digest realm=\"example.com\", nonce=\"n\"\r\n"));
    assert_eq!(sent.last().map(Sent::status), Some(407));
    assert_eq!(results(&mut driver), [CallResult::Challenged(407)]);
}

/// The server that alice's calls to bob go to first, and the other.
fn two() -> (Driver, String, String) {
    let mut driver = front_with(Way::Path, &[SERVER, SERVER_2]);
    let first = driver.receive(ALICE, &request("MESSAGE", "sip:bob@example.com", "probe", ""))[0].to.to_string();
    let second = if first == SERVER { SERVER_2 } else { SERVER };
    (driver, first, second.to_owned())
}

#[test]
fn a_silent_server_is_passed_over_and_its_late_answer_does_no_harm() {
    let (mut driver, first, second) = two();
    let late = driver.receive(ALICE, &invite("1", ""));
    assert_eq!(late[0].to.to_string(), first);
    let sent = driver.pass(Duration::from_millis(3100));
    let retry: Vec<&Sent> = sent.iter().filter(|s| s.to.to_string() == second && s.method() == "INVITE").collect();
    assert_eq!(retry.len(), 1, "{sent:?}");
    assert_ne!(retry[0].header("Via"), late[0].header("Via"));
    // It rings there; the first one wakes up and is told to stop.
    assert_eq!(codes(&driver.receive(&second, &retry[0].response(180, ""))), [180]);
    let sent = driver.receive(&first, &late[0].response(180, ""));
    assert!(sent.iter().any(|s| s.method() == "CANCEL" && s.to.to_string() == first), "{sent:?}");
    assert!(sent.iter().all(|s| s.to.to_string() != ALICE), "what is about to be cancelled does not ring");
    driver.requests.clear();
    // Nothing that it says from now on, nor its silence to the end, is the other's word.
    for code in [487, 407, 503] {
        let sent = driver.receive(&first, &late[0].response(code, ""));
        assert!(sent.iter().all(|s| s.status() == 0), "{code}: {sent:?}");
    }
    driver.pass(Duration::from_secs(33));
    assert!(up(&driver).iter().filter(|up| **up).count() == 1, "the other one is there");
    assert!(driver.receive(ALICE, &invite("1", "")).iter().all(|s| s.status() < 300), "it still rings");
    assert_eq!(codes(&driver.receive(&second, &retry[0].response(200, ""))), [200]);
    // Until it answers OPTIONS, it is not asked first any more.
    assert_eq!(driver.receive(ALICE, &invite("2", ""))[0].to.to_string(), second);
}

#[test]
fn a_503_sends_the_request_to_the_next_server_and_comes_back_when_there_is_none() {
    let (mut driver, first, second) = two();
    let sent = driver.receive(ALICE, &invite("1", ""));
    let sent = driver.receive(&first, &sent[0].response(503, ""));
    let retry = sent.iter().find(|s| s.method() == "INVITE" && s.status() == 0).unwrap();
    assert_eq!(retry.to.to_string(), second);
    assert!(sent.iter().all(|s| s.status() == 0), "the caller hears nothing of it");
    driver.receive(&second, &retry.response(503, "Retry-After: 9\r\n"));
    assert_eq!(stage(&driver), (RouteStage::Offline, false));
    let answers = driver.reply(offline(Offline::NotWatched(NotWatched::CallerNotAuthenticated)));
    assert_eq!((codes(&answers), answers[0].header("Retry-After")), (vec![503], Some("9")));
    assert_eq!(driver.counted("sip_routed_total", "upstream"), 2);
}

#[test]
fn who_is_registered_with_the_other_server_is_found_there() {
    let (mut driver, first, second) = two();
    let sent = driver.receive(ALICE, &invite("1", ""));
    driver.receive(&first, &sent[0].response(404, ""));
    let sent = driver.reply(online(&[]));
    assert_eq!((sent.len(), sent[0].to.to_string()), (1, second.clone()));
    // There he is.
    assert_eq!(codes(&driver.receive(&second, &sent[0].response(180, ""))), [180]);
    assert_eq!(codes(&driver.receive(&second, &sent[0].response(200, ""))), [200]);
}

/// Do not disturb, said by a phone: the other server knows nobody of that name.
#[test]
fn a_registered_callees_own_answer_is_not_hidden_by_another_servers() {
    let (mut driver, first, second) = two();
    let sent = driver.receive(ALICE, &invite("1", ""));
    driver.receive(&first, &sent[0].response(480, "Reason: dnd\r\n"));
    let sent = driver.reply(online(&[]));
    assert_eq!(sent[0].to.to_string(), second);
    driver.receive(&second, &sent[0].response(404, ""));
    let answers = driver.reply(online(&[]));
    assert_eq!((codes(&answers), answers[0].header("Reason")), (vec![480], Some("dnd")));
    // One that rings is where he is; nobody else is asked.
    let sent = driver.receive(ALICE, &invite("2", ""));
    driver.receive(&first, &sent[0].response(180, ""));
    driver.reply(online(&[]));
    driver.receive(&first, &sent[0].response(480, ""));
    assert_eq!(codes(&driver.reply(online(&[]))), [480]);
    // Nor is one that does not answer anyway.
    driver.config.front.as_ref().unwrap().upstreams.at(second.parse().unwrap()).unwrap().failed(crate::upstream::Fault::Timeout);
    let sent = driver.receive(ALICE, &invite("3", ""));
    driver.receive(&first, &sent[0].response(480, ""));
    assert_eq!(codes(&driver.reply(online(&[]))), [480]);
}

/// Server 1 knows nobody of that name and has not asked who calls; at server 2 he is registered.
#[test]
fn a_caller_without_credentials_is_asked_for_them_by_the_server_that_has_the_callee() {
    let (mut driver, first, second) = two();
    let challenge = "Proxy-Authenticate: Digest realm=\"example.com\", nonce=\"n\"\r\n";
    let sent = driver.receive(ALICE, &invite("1", ""));
    driver.receive(&first, &sent[0].response(404, ""));
    let sent = driver.reply(online_watched(&[]));
    let answers = driver.receive(&second, &sent[0].response(407, challenge));
    assert_eq!(answers.last().map(Sent::status), Some(407));
    assert_eq!(results(&mut driver), [CallResult::Challenged(407)]);
    let sent = driver.receive(ALICE, &invite("2", CREDENTIALS));
    driver.receive(&first, &sent[0].response(404, ""));
    assert_eq!(stage(&driver), (RouteStage::Offline, false));
    let sent = driver.reply(online(&[]));
    assert_eq!(codes(&driver.receive(&second, &sent[0].response(200, ""))), [200]);
}

/// What a server says that was asked beside the first is no proof of who calls, nor does it lose what is to be told of the call.
#[test]
fn p7_the_word_of_a_server_that_was_asked_beside_proves_nothing() {
    for code in [407, 404, 503] {
        let (mut driver, first, second) = two();
        let sent = driver.receive(ALICE, &invite("1", CREDENTIALS));
        driver.receive(&first, &sent[0].response(404, ""));
        assert_eq!(stage(&driver), (RouteStage::Offline, false));
        let sent = driver.reply(online_watched(&[]));
        driver.receive(&second, &sent[0].response(code, "Proxy-Authenticate: Digest realm=\"example.com\", nonce=\"n\"\r\n"));
        assert_eq!(stage(&driver), (RouteStage::Offline, false), "{code}: the first server has not asked");
        assert_eq!(codes(&driver.reply(online_watched(&[]))), [404]);
        assert_eq!(results(&mut driver), [CallResult::Failed(404)]);
    }
    // One that has asked is believed, whatever the other says.
    for code in [407, 404, 503] {
        let (mut driver, first, second) = two();
        driver.config.front.as_ref().unwrap().upstreams.at(first.parse().unwrap()).unwrap().has_challenged();
        let sent = driver.receive(ALICE, &invite("1", CREDENTIALS));
        driver.receive(&first, &sent[0].response(404, ""));
        let sent = driver.reply(online_watched(&[]));
        driver.receive(&second, &sent[0].response(code, ""));
        assert_eq!(stage(&driver), (RouteStage::Offline, true), "{code}");
    }
}

#[test]
fn an_invite_to_another_domain_has_another_try_as_well() {
    let (mut driver, first, second) = two();
    let sent = driver.receive(ALICE, &request("INVITE", "sip:carol@elsewhere.example", "1", ""));
    let (asked, other) = if sent[0].to.to_string() == first { (first, second) } else { (second, first) };
    assert_eq!(sent[0].to.to_string(), asked);
    assert!(driver.pass(Duration::from_millis(3100)).iter().any(|s| s.to.to_string() == other && s.method() == "INVITE"));
}

#[test]
fn a_phone_that_is_silent_to_a_message_is_no_silent_server() {
    let (mut driver, first, second) = two();
    let sent = driver.receive(ALICE, &request("MESSAGE", "sip:bob@example.com", "1", ""));
    assert_eq!(sent[0].to.to_string(), first);
    let sent = driver.pass(Duration::from_secs(33));
    assert!(sent.iter().all(|s| s.to.to_string() != second), "another one was asked");
    assert_eq!(up(&driver), [true, true]);
}

/// It may be the call that a recall has made: the coordinator has not been asked, and its BYE must free the turn.
#[test]
fn the_bye_of_a_caller_whom_this_edge_does_not_know_is_told() {
    let mut driver = front();
    let hang_up = |driver: &mut Driver, invite: &Sent| {
        driver.receive(SERVER, &invite.response(200, ""));
        driver.reply(online(&[]));
        assert!(driver.events().is_empty());
        driver.receive(ALICE, &bye_of_alice(invite.header("Record-Route").unwrap()));
    };
    // Nobody has looked at who she is (P7).
    let sent = driver.receive(ALICE, &invite("0", CREDENTIALS));
    hang_up(&mut driver, &sent[0]);
    assert!(driver.events().is_empty());
    let mut driver = front();
    let sent = challenged(&mut driver);
    hang_up(&mut driver, &sent[0]);
    match driver.events().as_slice() {
        [Event::CallReport(report)] => assert_eq!((&report.pair, report.fence.0, report.result), (&pair(), 0, CallResult::Ended)),
        other => panic!("{other:?}"),
    }
}

/// His registration ran out, but he has answered a probe.
#[test]
fn who_is_known_to_no_server_is_called_directly() {
    let (mut driver, first, second) = two();
    let sent = driver.receive(ALICE, &invite("1", CREDENTIALS));
    driver.receive(&first, &sent[0].response(404, ""));
    let sent = driver.reply(online_watched(&[target(BOB, 1000)]));
    assert_eq!(sent[0].to.to_string(), second, "another server may have him");
    // It has not made the challenge that these credentials answer.
    driver.receive(&second, &sent[0].response(407, "Proxy-Authenticate: Digest realm=\"example.com\", nonce=\"n2\"\r\n"));
    let sent = driver.reply(online_watched(&[target(BOB, 1000)]));
    assert_eq!((sent.len(), sent[0].to.to_string()), (1, BOB.to_owned()));
    assert!(sent[0].text.starts_with(&format!("INVITE sip:bob@{BOB} SIP/2.0\r\n")));
    assert!(sent[0].header("Proxy-Authorization").is_none(), "the server's business");
    assert!(sent[0].header("Record-Route").is_some(), "its BYE must be seen");
    assert_eq!(codes(&driver.receive(BOB, &sent[0].response(180, ""))), [180]);
    assert_eq!(codes(&driver.receive(BOB, &sent[0].response(200, ""))), [200]);
    assert_eq!(results(&mut driver), [CallResult::Established]);
}

#[test]
fn what_a_phone_says_that_is_called_directly_goes_to_the_caller() {
    let mut driver = front();
    let sent = driver.receive(ALICE, &invite("1", ""));
    driver.receive(SERVER, &sent[0].response(480, ""));
    let sent = driver.reply(online_watched(&[target(BOB, 1000)]));
    assert_eq!(sent[0].to.to_string(), BOB);
    let answers = driver.receive(BOB, &sent[0].response(486, ""));
    assert_eq!(answers.last().unwrap().status(), 486);
    assert_eq!(results(&mut driver), [CallResult::Failed(486)]);
}

#[test]
fn servers_are_asked_whether_they_are_there() {
    let mut driver = front_with(Way::Path, &[SERVER, SERVER_2]);
    driver.endpoint.core.worker = 0;
    driver.endpoint.start(driver.now());
    let checks = driver.pass(Duration::ZERO);
    assert_eq!(
        checks.iter().map(|s| (s.method(), s.to.to_string())).collect::<Vec<_>>(),
        [("OPTIONS".to_owned(), SERVER.to_owned()), ("OPTIONS".to_owned(), SERVER_2.to_owned())]
    );
    driver.receive(SERVER, &checks[0].response(404, ""));
    driver.pass(Duration::from_millis(3100));
    assert_eq!(up(&driver), [true, false]);
    let checks = driver.pass(Duration::from_secs(2));
    let again = checks.iter().find(|s| s.to.to_string() == SERVER_2).unwrap();
    driver.receive(SERVER_2, &again.response(200, ""));
    assert_eq!(up(&driver), [true, true]);
    driver.pass(Duration::from_secs(4));
    assert_eq!(up(&driver), [false, true], "the first has not answered the second time");
}
