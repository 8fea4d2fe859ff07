use super::*;
use crate::Aor;
use proptest::prelude::*;

fn keys(text: &str) -> Vec<String> {
    PolicySet::parse(text).expect_err(text).into_iter().map(|e| e.key).collect()
}

#[test]
fn an_empty_file_is_the_documented_defaults() {
    let set = PolicySet::parse("").expect("empty");
    assert_eq!(set, PolicySet::default());
    assert_eq!((set.max_watches, set.default.max_attempts, set.default.period_header.as_str()), (1_000_000, 5, "Redial-Period"));
}

#[test]
fn every_key_is_read() {
    let set = PolicySet::parse(
        r#"
        maxWatches = 7
        [default]
        enabled = false
        periodHeader = "X-Wait"
        periodFrom = ["expires"]
        periodDefault = "2h"
        periodMin = 90
        periodMax = "1d"
        offlineCodes = [480, 404]
        forwardExpires = true
        settle = "500ms"
        fanout = "all"
        recallTimeout = "10s"
        endOn = "referSent"
        ladder = [2, 1, 4, 3]
        maxAttempts = 3
        retryInitial = "1m"
        retryMax = "1h30m"
        turnMax = "5m"
        maxPerCaller = 2
        maxPerCallee = 4
        credentials = "redial"
        traceRatio = 1
        probe = "5m"
        displayText = "{callee} calls back"
        alertInfo = "<urn:alert:service:call-waiting>"
        answerAfter = 0
        onDecline = "retry"
        message = { de = "{callee} ist wieder da", en = "back" }
        language = "de"
        "#,
    )
    .expect("valid");
    let ms = Duration::from_millis;
    let expected = Policy {
        enabled: false,
        period_header: "X-Wait".to_owned(),
        period_from: vec![PeriodSource::Expires],
        period_default: ms(7_200_000),
        period_min: ms(90_000),
        period_max: ms(86_400_000),
        offline_codes: vec![480, 404],
        forward_expires: true,
        settle: ms(500),
        fanout: Fanout::All,
        recall_timeout: ms(10_000),
        end_on: EndOn::ReferSent,
        ladder: vec![2, 1, 4, 3],
        max_attempts: 3,
        retry_initial: ms(60_000),
        retry_max: ms(5_400_000),
        turn_max: ms(300_000),
        max_per_caller: 2,
        max_per_callee: 4,
        credentials: Some("redial".to_owned()),
        trace_ratio: 1.0,
        probe: Some(ms(300_000)),
        display_text: "{callee} calls back".to_owned(),
        alert_info: Some("<urn:alert:service:call-waiting>".to_owned()),
        answer_after: Some(0),
        on_decline: OnDecline::Retry,
        message: [("de", "{callee} ist wieder da"), ("en", "back")].map(|(tag, text)| (tag.to_owned(), text.to_owned())).into(),
        language: "de".to_owned(),
    };
    assert_eq!(set, PolicySet { default: expected, rules: vec![], max_watches: 7 });
}

#[test]
fn rules_override_the_default_wherever_it_stands() {
    let set =
        PolicySet::parse("[[rule]]\ndomain='Example.COM'\nuser='s*'\nmaxAttempts=1\n[default]\nmaxAttempts=9\nsettle=3").expect("valid");
    let ruled = set.for_callee(&Aor::new("sue@example.com"));
    assert_eq!((ruled.max_attempts, ruled.settle), (1, Duration::from_secs(3)));
    assert_eq!(set.for_callee(&Aor::new("bob@example.com")).max_attempts, 9);
}

#[test]
fn all_problems_are_reported_one_per_key() {
    let mut found = keys(
        "typo = 1\nmaxWatches = 0\n[default]\nladder = []\nfanout = 'some'\nsettle = 'soon'\nnope = 1\nmaxAttempts = -1\n[[rule]]\nuser = 5\nperiodMin = '2h'\nperiodMax = '1h'\n[[rule]]\nladder = [5]\nenabled = 'yes'",
    );
    found.sort();
    let expected = [
        "default.fanout",
        "default.ladder",
        "default.maxAttempts",
        "default.nope",
        "default.settle",
        "maxWatches",
        "rule[0].periodDefault",
        "rule[0].periodMin",
        "rule[0].user",
        "rule[1].enabled",
        "rule[1].ladder",
        "typo",
    ];
    // A bad default makes every rule on top of it bad too; those are reported where they stand.
    found.retain(|key| key != "rule[0].ladder");
    assert_eq!(found, expected);
}

#[test]
fn keys_of_one_policy_are_named_plainly() {
    let table = |text: &str| text.parse::<Table>().expect(text);
    let named = |errors: Vec<PolicyError>| errors.into_iter().map(|e| e.key).collect::<Vec<_>>();
    let base = Policy { period_max: Duration::from_secs(7200), ..Policy::default() };
    assert_eq!(
        named(Rule::from_keys(table("domain=''\nperiodMin='3h'\nmaxWatches=1"), &base).expect_err("bad")),
        ["domain", "maxWatches", "periodMin", "periodDefault"]
    );
    assert_eq!(
        named(PolicySet::from_keys(table("maxWatches=0\nsettle='x'\ndomain='*'")).expect_err("bad")),
        ["maxWatches", "domain", "settle"]
    );
}

#[test]
fn contradictions_are_refused() {
    for (text, key) in [
        ("periodMin='2h'\nperiodDefault='2h'\nperiodMax='1h'", "default.periodMin"),
        ("periodMin=0", "default.periodMin"),
        ("periodDefault='30s'", "default.periodDefault"),
        ("periodDefault='2d'", "default.periodDefault"),
        ("retryInitial='1h'", "default.retryInitial"),
        ("recallTimeout=0", "default.recallTimeout"),
        ("turnMax='0s'", "default.turnMax"),
        ("settle='1d'", "default.settle"),
        ("ladder=[1,1]", "default.ladder"),
        ("periodFrom=['header','header']", "default.periodFrom"),
        ("periodHeader='a b'", "default.periodHeader"),
        ("maxPerCaller=0", "default.maxPerCaller"),
        ("maxPerCallee=4294967296", "default.maxPerCallee"),
        ("traceRatio=1.1", "default.traceRatio"),
        ("traceRatio=nan", "default.traceRatio"),
        ("traceRatio=\"all\"", "default.traceRatio"),
        ("settle=1.5", "default.settle"),
        ("settle=-1", "default.settle"),
        ("ladder=[0]", "default.ladder"),
        ("offlineCodes=[399]", "default.offlineCodes"),
        ("offlineCodes=[700]", "default.offlineCodes"),
        ("offlineCodes=[480,407]", "default.offlineCodes"),
        ("offlineCodes=[401]", "default.offlineCodes"),
        ("offlineCodes=[480,480]", "default.offlineCodes"),
        ("offlineCodes=480", "default.offlineCodes"),
        ("probe='5s'", "default.probe"),
        ("answerAfter=-1", "default.answerAfter"),
        ("answerAfter='500ms'", "default.answerAfter"),
        ("alertInfo=\"a\\r\\nb\"", "default.alertInfo"),
        ("language='de'", "default.language"),
        ("language='d e'", "default.language"),
        ("message={}", "default.language"),
        ("message={en=''}", "default.message"),
        ("onDecline='ask'", "default.onDecline"),
    ] {
        assert!(keys(&format!("[default]\n{text}")).contains(&key.to_owned()), "{text}");
    }
}

#[test]
fn what_is_no_toml_or_no_table_is_refused() {
    assert_eq!(keys("not toml"), [""]);
    assert_eq!(keys("default = 1"), ["default"]);
    assert_eq!(keys("rule = 1"), ["rule"]);
    assert_eq!(keys("rule = [1]"), ["rule[0]"]);
    assert_eq!(keys("[rule]"), ["rule"]);
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let ms = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
    (
        (
            any::<bool>(),
            "[A-Za-z][A-Za-z0-9-]{0,10}",
            0usize..5,
            ms(1000..60_000),
            ms(60_000..90_000),
            ms(90_000..9_000_000),
            any::<bool>(),
        ),
        (ms(0..9000), any::<bool>(), ms(1..60_000), any::<bool>(), 0usize..4, 1u32..99, ms(0..1000)),
        (ms(1000..99_000), ms(1..99_000), 1u32.., 1u32.., proptest::option::of("[ -~äß]{1,9}")),
        ("[a-z]{2}(-[A-Z]{2})?", "\\PC{1,9}"),
    )
        .prop_map(|(a, b, c, d)| Policy {
            enabled: a.0,
            period_header: a.1,
            period_from: [&[][..], &[PeriodSource::Header], &[PeriodSource::Expires], &[PeriodSource::Expires, PeriodSource::Header]]
                [a.2 % 4]
                .to_vec(),
            period_min: a.3,
            period_default: a.4,
            period_max: a.5,
            offline_codes: [&[][..], &[480], &[404, 408, 600, 699], &[400]][b.4].to_vec(),
            forward_expires: a.6,
            settle: b.0,
            fanout: if b.1 { Fanout::All } else { Fanout::Fifo },
            recall_timeout: b.2,
            end_on: if b.3 { EndOn::ReferSent } else { EndOn::Established },
            ladder: [&[1][..], &[2], &[1, 2, 3], &[4, 2, 1]][b.4].to_vec(),
            max_attempts: b.5,
            retry_initial: b.6,
            retry_max: c.0,
            turn_max: c.1,
            max_per_caller: c.2,
            max_per_callee: c.3,
            credentials: c.4.clone(),
            probe: b.3.then_some(a.3 * 10),
            display_text: c.4.clone().unwrap_or_default(),
            alert_info: c.4,
            answer_after: b.3.then_some(b.5),
            on_decline: if b.1 { OnDecline::Retry } else { OnDecline::Cancel },
            message: BTreeMap::from([(d.0.clone(), d.1)]),
            language: d.0,
            trace_ratio: f64::from(c.3) / f64::from(u32::MAX),
        })
}

proptest! {
    #[test]
    fn printed_sets_are_read_back_unchanged(
        default in any_policy(),
        rules in proptest::collection::vec(("[a-z.*]{1,9}", "\\PC{1,9}", any_policy()), 0..4),
        max_watches in 1..=i64::MAX as u64,
    ) {
        let rules = rules.into_iter().map(|(domain, user, policy)| Rule { domain, user, policy }).collect();
        let set = PolicySet { default, rules, max_watches };
        prop_assert_eq!(PolicySet::parse(&set.to_toml()), Ok(set));
    }

    #[test]
    fn the_keys_of_one_policy_are_read_back_unchanged(
        policy in any_policy(),
        base in any_policy(),
        domain in "[a-z.*]{1,9}",
        user in "\\PC{1,9}",
        max_watches in 1..=i64::MAX as u64,
    ) {
        let rule = Rule { domain, user, policy: policy.clone() };
        prop_assert_eq!(Rule::from_keys(rule.keys(), &base), Ok(rule));
        let set = PolicySet { default: policy, rules: vec![], max_watches };
        prop_assert_eq!(PolicySet::from_keys(set.keys()), Ok(set));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        let _ = PolicySet::parse(&text);
    }
}
