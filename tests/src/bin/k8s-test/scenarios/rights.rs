//! Every service account may do what its process does, and nothing else.

use anyhow::{Result, ensure};

use crate::release::CLUSTERED;

/// What a component's service account may do: verb and resource.
const NEEDED: [(&str, &[(&str, &str)]); 2] = [
    ("edge", &[("list", "endpointslices.discovery.k8s.io"), ("watch", "endpointslices.discovery.k8s.io")]),
    (
        "coordinator",
        &[
            ("list", "endpointslices.discovery.k8s.io"),
            ("watch", "endpointslices.discovery.k8s.io"),
            ("list", "redialpolicies.redial.dev"),
            ("watch", "redialpolicies.redial.dev"),
            ("patch", "redialpolicies.redial.dev/status"),
            ("create", "events.events.k8s.io"),
            ("patch", "events.events.k8s.io"),
            ("create", "leases.coordination.k8s.io"),
        ],
    ),
];

/// What none of them may do, in the release's namespace.
const REFUSED: [(&str, &str); 20] = [
    // What is watched is never asked for by name.
    ("get", "endpointslices.discovery.k8s.io"),
    ("get", "redialpolicies.redial.dev"),
    ("list", "services"),
    ("list", "leases.coordination.k8s.io"),
    ("delete", "leases.coordination.k8s.io"),
    ("list", "events.events.k8s.io"),
    ("get", "secrets"),
    ("list", "secrets"),
    ("list", "configmaps"),
    ("list", "pods"),
    ("delete", "pods"),
    ("create", "pods/exec"),
    ("patch", "services"),
    ("update", "endpointslices.discovery.k8s.io"),
    ("patch", "deployments.apps"),
    ("create", "redialpolicies.redial.dev"),
    ("update", "redialpolicies.redial.dev"),
    ("delete", "redialpolicies.redial.dev"),
    ("create", "rolebindings.rbac.authorization.k8s.io"),
    ("impersonate", "serviceaccounts"),
];

/// In no other namespace, and nothing of the whole cluster.
const REFUSED_ELSEWHERE: [(&str, &str); 4] =
    [("list", "endpointslices.discovery.k8s.io"), ("list", "redialpolicies.redial.dev"), ("list", "nodes"), ("list", "namespaces")];

pub fn rights() -> Result<String> {
    let namespace = CLUSTERED.namespace;
    let mut asked = 0;
    for component in ["edge", "coordinator", "redis"] {
        let account = CLUSTERED.object(component);
        let subject = format!("system:serviceaccount:{}:{account}", namespace.0);
        // kubectl says no by its exit code.
        let may = |verb: &str, resource: &str, more: &[&str]| {
            // What follows a slash kubectl takes for an object's name.
            let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
            let part = format!("--subresource={part}");
            let args = [&["auth", "can-i", verb, resource, &part, "--quiet", "--as", &subject], more].concat();
            namespace.kubectl(&args).is_ok()
        };
        let needed = NEEDED.iter().find(|(of, _)| *of == component).map(|(_, needed)| *needed).unwrap_or_default();
        for (verb, resource) in needed {
            ensure!(may(verb, resource, &[]), "{component} may not {verb} {resource}");
        }
        let refused = REFUSED.iter().filter(|right| !needed.contains(right));
        for (verb, resource) in refused {
            ensure!(!may(verb, resource, &[]), "{component} may {verb} {resource}");
        }
        for (verb, resource) in REFUSED_ELSEWHERE {
            ensure!(!may(verb, resource, &["--all-namespaces"]), "{component} may {verb} {resource} everywhere");
        }
        asked += needed.len() + REFUSED.len() + REFUSED_ELSEWHERE.len();

        // Not only by the authoriser's word: with the account's own token.
        let token = format!("--token={}", namespace.kubectl(&["create", "token", &account, "--duration=10m"])?.trim());
        for request in [&["get", "secrets"][..], &["get", "pods"], &["delete", "service", &CLUSTERED.object("edge")]] {
            namespace.ensure_forbidden(&[request, &[&token]].concat())?;
        }
        if let Some((verb, resource)) = needed.first() {
            ensure!(*verb == "list", "the first right is tried");
            namespace.kubectl(&["get", resource, &token])?;
        }
    }
    Ok(format!("{asked} rights asked for, 3 accounts tried with their own tokens"))
}
