//! What an OpenTelemetry collector gets of real processes.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric};
use opentelemetry_proto::tonic::trace::v1::Span;
use redial_tests::authority::Authority;
use redial_tests::collector::{Collector, Received, attribute};
use redial_tests::stories::{self, End};
use redial_tests::wait::PATIENCE;
use redial_tests::{Coordinator, Edge, Policy, Redis, Sipp, ports, until};

/// One coordinator and two edges that export to `collector`.
struct Exporting {
    _redis: Redis,
    coordinator: Coordinator,
    edges: [Edge; 2],
}

impl Exporting {
    fn start(collector: &Collector, policy: &Policy) -> Result<Self> {
        let (redis, url) = (Redis::start()?, collector.url());
        let more = ["--otlp-endpoint", &url];
        let coordinator = in_pod("coordinator-a")?;
        let coordinator = [("OTEL_RESOURCE_ATTRIBUTES", coordinator.as_str())];
        let coordinator = Coordinator::start_in(&coordinator, &redis, policy, &[&more[..], &["--replica-name", "coordinator-a"]].concat())?;
        // Answers are kept for 32 s over UDP, longer than this test wants to wait for the end.
        let of_edges = [&more[..], &["--grace", "1s"]].concat();
        let edge = |pod| Edge::start_in(&[("OTEL_RESOURCE_ATTRIBUTES", &in_pod(pod)?)], &[&coordinator], &of_edges);
        let edges = [edge("edge-a")?, edge("edge-b")?];
        Ok(Self { _redis: redis, coordinator, edges })
    }

    /// alice, at one edge, misses bob; bob comes back at the other one.
    fn play(&self) -> Result<()> {
        let (here, there) = (self.edges[0].sip, self.edges[1].sip);
        stories::by_sipp(End::new("alice", ports::free()?, here), End::new("bob", ports::free()?, there))?;
        self.coordinator.service.wait_ended("connected", 1)
    }

    /// Ends every process, which flushes what it still holds.
    fn end(mut self) -> Result<()> {
        for service in self.edges.iter_mut().map(|edge| &mut edge.service).chain([&mut self.coordinator.service]) {
            service.process.terminate()?;
            ensure!(service.process.wait(PATIENCE)?.success());
        }
        Ok(())
    }
}

/// What the chart says to a process of that pod, and the kubelet fills in.
fn in_pod(pod: &str) -> Result<String> {
    let template = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/redial/templates/_pod.tpl"))?;
    let lines = template.lines().skip_while(|line| !line.contains("name: OTEL_RESOURCE_ATTRIBUTES")).skip(1);
    let said = lines.map(str::trim).find_map(|line| line.strip_prefix("value: ")).context("the chart says nothing of its pods")?;
    let filled = [("POD_NAMESPACE", "tel"), ("POD_NAME", pod), ("POD_UID", "uid-7"), ("NODE_NAME", "node-1")];
    Ok(filled.iter().fold(said.to_owned(), |said, (name, value)| said.replace(&format!("$({name})"), value)))
}

fn all_traced() -> Policy {
    Policy::default().set("traceRatio", "1.0")
}

#[test]
fn one_trace_tells_the_story_of_a_watch() -> Result<()> {
    let collector = Collector::start()?;
    let set = Exporting::start(&collector, &all_traced())?;
    let edge_names: Vec<_> = set.edges.iter().map(|edge| format!("edge-{}", edge.sip.port())).collect();
    set.play()?;
    set.end()?;
    let received = collector.received();

    let spans = received.spans();
    let traces: BTreeSet<_> = spans.iter().map(|(_, span)| span.trace_id.clone()).collect();
    ensure!(traces.len() == 1, "{} traces: {spans:#?}", traces.len());
    let ids: BTreeSet<_> = spans.iter().map(|(_, span)| span.span_id.clone()).collect();
    ensure!(ids.len() == spans.len(), "two spans of one name");

    let (edge, coordinator) = ("sip-edge", "redial-coordinator");
    let root = one(&spans, edge, "INVITE", &[])?;
    let arm = one(&spans, coordinator, "arm", &root.span_id)?;
    let register = one(&spans, coordinator, "REGISTER", &root.span_id)?;
    let recall = one(&spans, coordinator, "recall", &register.span_id)?;
    let refer = one(&spans, edge, "REFER", &recall.span_id)?;
    // The phone may call before the coordinator has heard that it took the REFER.
    let invite = one(&spans, edge, "INVITE", &refer.span_id).or_else(|_| one(&spans, edge, "INVITE", &recall.span_id))?;
    let end = one(&spans, coordinator, "end", &invite.span_id)?;
    ensure!(spans.len() == 7, "and nothing else: {spans:#?}");

    // What may be hours later says what it follows from.
    for later in [register, recall, end] {
        ensure!(later.links.len() == 1 && later.links[0].span_id == root.span_id, "{later:?}");
    }
    let order: Vec<_> = [root, register, recall, invite].iter().map(|span| span.start_time_unix_nano).collect();
    ensure!(order.is_sorted(), "{order:?}");
    ensure!(arm.end_time_unix_nano > arm.start_time_unix_nano, "it took time to store the watch");
    ensure!(
        attribute(&root.attributes, "sip.response.status_code") == "480" && attribute(&root.attributes, "redial.edge") == edge_names[0]
    );
    ensure!(attribute(&invite.attributes, "sip.response.status_code") == "200");
    ensure!(attribute(&refer.attributes, "redial.result") == "accepted" && attribute(&recall.attributes, "redial.rung") == "1");
    ensure!(attribute(&end.attributes, "redial.reason") == "connected");

    for (_, span) in &spans {
        let text = format!("{span:?}");
        ensure!(!text.contains("alice") && !text.contains("bob") && !text.contains("127.0.0.1"), "{text}");
    }
    the_processes_say_who_they_are(&received, &edge_names)?;
    no_metric_names_a_subscriber(&received)
}

/// The only span of that service and name below `parent`.
fn one<'a>(spans: &'a [(String, Span)], service: &str, name: &str, parent: &[u8]) -> Result<&'a Span> {
    let mut found = spans.iter().filter(|(of, span)| of == service && span.name == name && span.parent_span_id == parent);
    let span = found.next().with_context(|| format!("no {name} of {service} below {parent:x?} in {spans:#?}"))?;
    ensure!(found.next().is_none(), "several {name}");
    Ok(&span.1)
}

fn the_processes_say_who_they_are(received: &Received, edges: &[String]) -> Result<()> {
    ensure!(!received.traces.is_empty() && !received.metrics.is_empty() && !received.logs.is_empty(), "a signal is missing");
    let (mut instances, mut pods): (BTreeMap<String, BTreeSet<String>>, BTreeMap<String, BTreeSet<String>>) = Default::default();
    for resource in received.resources() {
        let of = |key| attribute(&resource.attributes, key);
        ensure!(of("service.namespace") == "redial" && of("service.version") == env!("CARGO_PKG_VERSION"), "{resource:?}");
        let place = [of("k8s.namespace.name"), of("k8s.pod.uid"), of("k8s.node.name")];
        ensure!(place == ["tel", "uid-7", "node-1"], "{resource:?}");
        pods.entry(of("service.name")).or_default().insert(of("k8s.pod.name"));
        instances.entry(of("service.name")).or_default().insert(of("service.instance.id"));
    }
    let expected = BTreeMap::from([
        ("sip-edge".to_owned(), edges.iter().cloned().collect()),
        ("redial-coordinator".to_owned(), BTreeSet::from(["coordinator-a".to_owned()])),
    ]);
    ensure!(instances == expected, "{instances:?}");
    let expected = [("redial-coordinator", &["coordinator-a"][..]), ("sip-edge", &["edge-a", "edge-b"])];
    let expected = expected.map(|(service, pods)| (service.to_owned(), pods.iter().map(|pod| (*pod).to_owned()).collect()));
    ensure!(pods == BTreeMap::from(expected), "{pods:?}");
    // The instruments of /metrics, under their OpenTelemetry names.
    for (service, name) in [
        ("sip-edge", "sip_requests_received"),
        ("sip-edge", "redial_link_latency"),
        ("redial-coordinator", "redial.watches.armed"),
        ("redial-coordinator", "redial.store.operation.duration"),
        ("redial-coordinator", "redial_telemetry_exports"),
    ] {
        ensure!(received.metric_names(service).iter().any(|n| n == name), "{service} does not send {name}");
    }
    ensure!(received.lines().iter().any(|line| line == "watch ended"), "{:?}", received.lines());
    Ok(())
}

fn no_metric_names_a_subscriber(received: &Received) -> Result<()> {
    let metrics = received.metrics.iter().flat_map(|r| &r.resource_metrics).flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    for metric in metrics {
        for (key, value) in labels(metric) {
            let named = ["alice", "bob", "@", "127.0.0.1"].iter().any(|word| value.contains(word));
            ensure!(!named, "{}: {key}={value}", metric.name);
        }
    }
    Ok(())
}

fn labels(metric: &Metric) -> Vec<(String, String)> {
    let attributes: Vec<_> = match &metric.data {
        Some(metric::Data::Gauge(data)) => data.data_points.iter().flat_map(|p| &p.attributes).collect(),
        Some(metric::Data::Sum(data)) => data.data_points.iter().flat_map(|p| &p.attributes).collect(),
        Some(metric::Data::Histogram(data)) => data.data_points.iter().flat_map(|p| &p.attributes).collect(),
        _ => Vec::new(),
    };
    attributes.into_iter().map(|a| (a.key.clone(), attribute(std::slice::from_ref(a), &a.key))).collect()
}

/// The collector goes away and comes back at the same address: calls are not touched, the log says it once, and export goes on.
#[test]
fn export_resumes_when_the_collector_is_back() -> Result<()> {
    // So that the processes export often; the tests' own process exports nothing.
    let collector = Collector::start()?;
    let (redis, url, addr) = (Redis::start()?, collector.url(), collector.addr);
    let often = [("OTEL_METRIC_EXPORT_INTERVAL", "200"), ("OTEL_BSP_SCHEDULE_DELAY", "200"), ("OTEL_BLRP_SCHEDULE_DELAY", "200")];
    let coordinator = Coordinator::start_in(&often, &redis, &all_traced(), &["--otlp-endpoint", &url])?;
    let service = &coordinator.service;
    let exported = |of: &Collector| until("an export of metrics", PATIENCE, || Ok((!of.received().metrics.is_empty()).then_some(())));
    exported(&collector)?;
    ensure!(service.metrics()?.sum("redial_telemetry_collector_up", &[]) == 1.0);

    collector.stop();
    service.wait_metric("redial_telemetry_dropped_total", &[("signal", "metrics"), ("reason", "export_failed")], 2.0)?;
    ensure!(service.metrics()?.sum("redial_telemetry_collector_up", &[]) == 0.0);
    let said = |words: &str| service.process.log().matches(words).count();
    ensure!(said("the telemetry collector is away") == 1, "{}", service.process.log());
    // It serves all the while.
    let edge = Edge::start(&[&coordinator], &[])?;
    Sipp::new("register", "alice", ports::free()?, edge.sip).run()?;

    let again = Collector::at(addr)?;
    exported(&again)?;
    until("the line that it is back", PATIENCE, || Ok((said("the telemetry collector is back") == 1).then_some(())))?;
    until("logs", PATIENCE, || Ok((!again.received().logs.is_empty()).then_some(())))?;
    Ok(())
}

/// By a private authority, with a certificate on either side, as OpenTelemetry's own variables name the files.
#[test]
fn a_collector_by_tls_gets_the_same() -> Result<()> {
    let authority = Authority::new()?;
    let collector = Collector::with_tls(&authority)?;
    let (redis, url, ca, ours) = (Redis::start()?, collector.url(), authority.ca(), authority.issue("coordinator")?);
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*url),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &ours.cert),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &ours.key),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "200"),
    ];
    let _coordinator = Coordinator::start_in(&variables, &redis, &all_traced(), &[])?;
    until("metrics and logs", PATIENCE, || {
        let received = collector.received();
        Ok((!received.metrics.is_empty() && !received.logs.is_empty()).then_some(()))
    })?;

    // The public authorities did not sign its certificate.
    let untrusting = Coordinator::start_in(&[variables[0], variables[4]], &redis, &all_traced(), &[])?;
    untrusting.service.wait_log("the telemetry collector is away")?;
    ensure!(untrusting.service.metrics()?.sum("redial_telemetry_collector_up", &[]) == 0.0);
    Ok(())
}

#[test]
fn without_a_collector_nothing_of_it_is_there() -> Result<()> {
    let redis = Redis::start()?;
    let coordinator = Coordinator::start(&redis, &all_traced(), &[])?;
    ensure!(!coordinator.service.metrics()?.has("redial_telemetry_exports_total"));
    let id = coordinator.service.process.id();
    for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
        let name = std::fs::read_to_string(task?.path().join("comm"))?;
        ensure!(!name.starts_with("telemetry") && !name.starts_with("OpenTelemetry"), "thread {name}");
    }
    Ok(())
}
