//! Every domain value survives the way over the wire, and no message can make a conversion panic.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use redial_core::link::*;
use redial_core::policy::{EndOn, Fanout, OnDecline, PeriodSource, Policy, PolicySet, Rule};
use redial_core::watch::{State, Watch};
use redial_core::{Aor, Binding, BindingId, EdgeId, Fence, Flow, Pair, UnixMillis, WatchTrace};

use super::*;
use crate::v1;

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn aor() -> impl Strategy<Value = Aor> {
    text().prop_map(Aor::new)
}

fn pair() -> impl Strategy<Value = Pair> {
    (aor(), aor()).prop_map(|(callee, caller)| Pair { callee, caller })
}

fn millis() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_millis)
}

fn status() -> impl Strategy<Value = u16> {
    100u16..700
}

fn binding() -> impl Strategy<Value = Binding> {
    let strings = (text(), text(), text(), text(), text(), text(), text());
    (strings, vec(text(), 0..3), any::<u16>(), any::<u64>(), any::<u32>(), any::<bool>()).prop_map(
        |((id, uri, params, call_id, edge, flow, user_agent), path, q, expires_at, cseq, probed)| Binding {
            id: BindingId(id),
            uri,
            params,
            q,
            expires_at: UnixMillis(expires_at),
            call_id,
            cseq,
            path,
            edge: EdgeId::new(edge),
            flow: Flow::new(flow),
            user_agent,
            probed,
        },
    )
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        Just(State::Armed),
        (any::<u8>(), any::<u64>()).prop_map(|(rung, t)| State::Claimed { rung, lease_until: UnixMillis(t) }),
        (any::<u8>(), any::<u64>()).prop_map(|(rung, t)| State::Recalling { rung, until: UnixMillis(t) }),
        (any::<u8>(), any::<u64>()).prop_map(|(rung, t)| State::Calling { rung, until: UnixMillis(t) }),
    ]
}

fn watch() -> impl Strategy<Value = Watch> {
    let times = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    (pair(), state(), times, any::<u32>(), any::<bool>(), (text(), any::<u64>(), watch_trace())).prop_map(
        |(pair, state, (fence, armed_at, deadline, not_before), attempts, parked, (flow, caller_seen, trace))| Watch {
            pair,
            fence: Fence(fence),
            state,
            armed_at: UnixMillis(armed_at),
            deadline: UnixMillis(deadline),
            not_before: UnixMillis(not_before),
            attempts,
            parked,
            caller_flow: Flow::new(flow),
            caller_seen,
            past: Fence(caller_seen / 2),
            trace,
        },
    )
}

fn trace() -> impl Strategy<Value = Option<TraceContext>> {
    option::of((1u128.., 1u64..)).prop_map(|ids| ids.and_then(|(trace, span)| TraceContext::new(trace, span)))
}

fn watch_trace() -> impl Strategy<Value = Option<WatchTrace>> {
    let with = |(armed, recalled): (Option<TraceContext>, bool)| {
        armed.map(|armed| WatchTrace { armed, recall: recalled.then(|| armed.child("recall", 1)) })
    };
    (trace(), any::<bool>()).prop_map(with)
}

fn register() -> impl Strategy<Value = Register> {
    let contact = prop_oneof![binding().prop_map(ContactChange::Put), text().prop_map(|id| ContactChange::Remove(BindingId(id))),];
    let change = prop_oneof![Just(BindingChange::Fetch), Just(BindingChange::RemoveAll), vec(contact, 0..3).prop_map(BindingChange::Each),];
    (aor(), text(), any::<u32>(), change).prop_map(|(aor, call_id, cseq, change)| Register { aor, call_id, cseq, change })
}

fn route() -> impl Strategy<Value = Route> {
    let period =
        prop_oneof![Just(RequestedPeriod::Absent), Just(RequestedPeriod::OptOut), any::<u32>().prop_map(RequestedPeriod::Seconds),];
    let stage = prop::sample::select(&[RouteStage::Lookup, RouteStage::Ringing, RouteStage::Offline][..]);
    (aor(), option::of(aor()), any::<bool>(), text(), text(), period, stage).prop_map(
        |(callee, caller, authenticated, flow, edge, period, stage)| Route {
            callee,
            caller,
            authenticated,
            flow: Flow::new(flow),
            edge: EdgeId::new(edge),
            period,
            stage,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let recall = prop_oneof![
        Just(RecallResult::Accepted),
        status().prop_map(RecallResult::Refused),
        Just(RecallResult::Unreachable),
        Just(RecallResult::Silent),
        status().prop_map(RecallResult::Notified),
        Just(RecallResult::Unanswered),
        status().prop_map(RecallResult::Declined),
    ];
    let call = prop_oneof![
        Just(CallResult::Established),
        status().prop_map(CallResult::Failed),
        Just(CallResult::Cancelled),
        Just(CallResult::Ended),
        status().prop_map(CallResult::Challenged),
    ];
    prop_oneof![
        register().prop_map(Event::Register),
        route().prop_map(Event::Route),
        aor().prop_map(|aor| Event::Locate(Locate { aor })),
        (aor(), text()).prop_map(|(aor, id)| Event::ProbeReport(ProbeReport { aor, binding: BindingId(id) })),
        (pair(), any::<u64>(), any::<u8>(), recall).prop_map(|(pair, fence, rung, result)| Event::RecallReport(RecallReport {
            pair,
            fence: Fence(fence),
            rung,
            result
        })),
        (pair(), any::<u64>(), call).prop_map(|(pair, fence, result)| Event::CallReport(CallReport { pair, fence: Fence(fence), result })),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    (any::<u64>(), millis(), event(), trace()).prop_map(|(id, timeout, event, trace)| Request { id, timeout, event, trace })
}

fn target() -> impl Strategy<Value = Target> {
    (text(), any::<u16>(), vec(text(), 0..3), text(), text()).prop_map(|(uri, q, path, edge, flow)| Target {
        uri,
        q,
        path,
        edge: EdgeId::new(edge),
        flow: Flow::new(flow),
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    let refs = (pair(), any::<u64>(), trace()).prop_map(|(pair, fence, trace)| WatchRef { pair, fence: Fence(fence), trace });
    let routed = prop_oneof![
        (vec(target(), 0..3), vec(refs, 0..3)).prop_map(|(targets, report)| Routed::Online { targets, report }),
        (millis(), trace()).prop_map(|(period, trace)| Routed::Offline(Offline::Granted { period, trace })),
        prop::sample::select(&NotWatched::ALL[..]).prop_map(|why| Routed::Offline(Offline::NotWatched(why))),
    ];
    let failure = prop::sample::select(&[Failure::StoreUnavailable, Failure::Overloaded, Failure::Timeout][..]);
    prop_oneof![
        vec(binding(), 0..3).prop_map(|bindings| Reply::Registered(Registered::Bindings(bindings))),
        Just(Reply::Registered(Registered::OutOfOrder)),
        routed.prop_map(Reply::Routed),
        vec(target(), 0..3).prop_map(Reply::Located),
        Just(Reply::Noted),
        failure.prop_map(Reply::Failed),
    ]
}

fn order() -> impl Strategy<Value = Order> {
    let credentials = (text(), text()).prop_map(|(username, password)| Credentials { username, password });
    let recall = (pair(), any::<u64>(), any::<u8>(), vec(target(), 0..3), millis(), option::of(credentials), trace()).prop_map(
        |(pair, fence, rung, targets, timeout, credentials, trace)| {
            Order::Recall(RecallOrder { pair, fence: Fence(fence), rung, targets, timeout, credentials, trace })
        },
    );
    let stop = (pair(), any::<u64>()).prop_map(|(pair, fence)| Order::Stop(StopOrder { pair, fence: Fence(fence) }));
    let probe = (aor(), text(), target()).prop_map(|(aor, id, target)| Order::Probe(ProbeOrder { aor, binding: BindingId(id), target }));
    prop_oneof![recall, stop, probe]
}

fn policy() -> impl Strategy<Value = Policy> {
    let sources = vec(prop::sample::select(&[PeriodSource::Header, PeriodSource::Expires][..]), 0..3);
    let choices = (
        prop::sample::select(&[Fanout::Fifo, Fanout::All][..]),
        prop::sample::select(&[EndOn::ReferSent, EndOn::Established][..]),
        any::<bool>(),
        any::<bool>(),
    );
    let numbers = (any::<u32>(), any::<u32>(), any::<u32>(), vec(any::<u8>(), 0..4), option::of(text()));
    (text(), sources, choices, numbers, prop::array::uniform8(millis())).prop_map(
        |(period_header, period_from, (fanout, end_on, enabled, forward_expires), (a, b, c, ladder, credentials), d)| Policy {
            enabled,
            period_header,
            period_from,
            period_default: d[0],
            period_min: d[1],
            period_max: d[2],
            offline_codes: ladder.iter().map(|&n| 400 + u16::from(n)).collect(),
            forward_expires,
            settle: d[3],
            fanout,
            recall_timeout: d[4],
            end_on,
            ladder,
            max_attempts: a,
            retry_initial: d[5],
            retry_max: d[6],
            turn_max: d[7],
            max_per_caller: b,
            max_per_callee: c,
            alert_info: credentials.clone(),
            probe: enabled.then_some(d[0]),
            display_text: credentials.clone().unwrap_or_default(),
            answer_after: enabled.then_some(a),
            on_decline: if enabled { OnDecline::Retry } else { OnDecline::Cancel },
            message: credentials.iter().map(|text| (text.clone(), text.clone())).collect(),
            language: credentials.clone().unwrap_or_default(),
            credentials,
            trace_ratio: f64::from(a) / f64::from(u32::MAX),
        },
    )
}

fn policies() -> impl Strategy<Value = PolicySet> {
    let rule = (text(), text(), policy()).prop_map(|(domain, user, policy)| Rule { domain, user, policy });
    (policy(), vec(rule, 0..3), any::<u64>()).prop_map(|(default, rules, max_watches)| PolicySet { default, rules, max_watches })
}

/// Through bytes, as on the wire.
fn carried<M: Message + Default>(message: M) -> M {
    M::decode(&*message.encode_to_vec()).expect("what was encoded is decoded")
}

fn unexpected(error: ConvertError) {
    panic!("{error}");
}

proptest! {
    #[test]
    fn requests_survive_the_wire(sent in vec(request(), 0..4)) {
        let frame = carried(batch(sent.clone()));
        let Some(v1::edge_frame::Frame::Batch(got)) = frame.frame else { return Err(TestCaseError::fail("no batch")) };
        prop_assert_eq!(requests(got, unexpected), sent);
    }

    #[test]
    fn downlinks_survive_the_wire(
        replies in vec((any::<u64>(), reply()), 0..4),
        orders in vec(order(), 0..3),
        policies in option::of(policies()),
    ) {
        let sent = Downlink { replies, orders, policies: policies.map(Arc::new) };
        prop_assert_eq!(downlink(carried(sent.clone().into()), unexpected), sent);
    }

    #[test]
    fn stored_bindings_are_read_back(binding in binding()) {
        prop_assert_eq!(decode_binding(&encode_binding(&binding)), Ok(binding));
    }

    #[test]
    fn bindings_are_stored_as_the_message_says(binding in binding()) {
        let record = v1::BindingRecord::decode(&*encode_binding(&binding));
        prop_assert_eq!(record, Ok(v1::BindingRecord::from(binding.clone())));
        let keyed = v1::BindingRecord { id: String::new(), ..v1::BindingRecord::from(binding.clone()) };
        prop_assert_eq!(encode_keyed_binding(&binding), keyed.encode_to_vec());
    }

    #[test]
    fn stored_watches_are_read_back(watch in watch()) {
        prop_assert_eq!(decode_watch(watch.pair.clone(), &encode_watch(&watch)), Ok(watch));
    }

    #[test]
    fn shown_watches_survive_the_wire(watch in watch()) {
        prop_assert_eq!(Watch::try_from(carried(v1::Watch::from(watch.clone()))), Ok(watch));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..64)) {
        let _ = decode_binding(&bytes);
        let _ = decode_watch(Pair { callee: Aor::new("b"), caller: Aor::new("a") }, &bytes);
        if let Ok(batch) = v1::Batch::decode(&*bytes) {
            requests(batch, |_| ());
        }
        if let Ok(frame) = v1::CoordinatorFrame::decode(&*bytes) {
            downlink(frame, |_| ());
        }
    }
}

#[test]
fn an_item_that_is_not_understood_leaves_its_neighbours_alone() {
    let known = v1::Request {
        id: 2,
        timeout_ms: 5,
        event: Some(v1::request::Event::Locate(v1::Locate { aor: "a@x".into() })),
        ..v1::Request::default()
    };
    let of_a_newer_version = v1::Request { id: 1, timeout_ms: 5, event: None, traceparent: "no traceparent".into() };
    let mut errors = Vec::new();
    let read = requests(v1::Batch { requests: vec![of_a_newer_version, known] }, |error| errors.push(error));
    assert_eq!(read.iter().map(|r| r.id).collect::<Vec<_>>(), [2]);
    assert_eq!(errors, [ConvertError::Missing("request.event")]);
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let target = v1::Target { q: 70_000, ..v1::Target::default() };
    assert_eq!(Target::try_from(target), Err(ConvertError::Range { field: "target.q", value: 70_000 }));
    let report = v1::RecallReport {
        pair: Some(v1::Pair::default()),
        result: Some(v1::recall_report::Result::Refused(99)),
        ..v1::RecallReport::default()
    };
    assert!(matches!(RecallReport::try_from(report), Err(ConvertError::Range { value: 99, .. })));
}

#[test]
fn a_record_of_a_newer_version_is_read_without_what_is_unknown() {
    let watch = v1::WatchRecord { fence: 7, ..v1::WatchRecord::default() };
    let mut bytes = watch.encode_to_vec();
    // Field 1000, a string.
    prost::encoding::string::encode(1000, &"news".to_owned(), &mut bytes);
    let pair = Pair { callee: Aor::new("b"), caller: Aor::new("a") };
    assert_eq!(decode_watch(pair, &bytes).map(|w| w.fence), Ok(Fence(7)));
}
