//! Watches the API server.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Api, Client};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Gauge, Meter};
use tokio::sync::watch;

use super::slices::{Which, members_of};
use super::{Found, Member, ServiceRef};

/// The API server that a connection is made to within this time, or else it is away.
const CONNECT: Duration = Duration::from_secs(5);
/// Seconds that one watch lasts before it is asked for again: a server that vanished without a word is noticed this much later.
const WATCH: u32 = 60;
/// An answer that takes longer does not come: longer than a watch may be silent.
const READ: Duration = Duration::from_secs(WATCH as u64 + 15);

/// The API server of the cluster this process runs in, or of the one that `KUBECONFIG` names. Cloning shares the connection.
#[derive(Clone)]
pub struct Kubernetes {
    client: Client,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").field("namespace", &self.client.default_namespace()).finish_non_exhaustive()
    }
}

/// Nothing says how to reach an API server, or what says so is wrong.
#[derive(Debug, thiserror::Error)]
#[error("no Kubernetes: {0}")]
pub struct NoKubernetes(String);

impl From<Client> for Kubernetes {
    fn from(client: Client) -> Self {
        Self { client }
    }
}

impl Kubernetes {
    /// Reads `KUBECONFIG` (or `~/.kube/config`), else the pod's service account. Connects when something is asked, so a server that is
    /// away is no error.
    ///
    /// # Errors
    /// When there is neither, or it cannot be understood.
    pub async fn infer() -> Result<Self, NoKubernetes> {
        let mut config = kube::Config::infer().await.map_err(|error| NoKubernetes(chain(&error)))?;
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(READ);
        config.reset_reader_on_write = true;
        let client = Client::try_from(config).map_err(|error| NoKubernetes(chain(&error)))?;
        Ok(Self { client })
    }

    /// The client, for whoever watches something else.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The pod's own namespace, or that of the kubeconfig's context.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.client.default_namespace()
    }

    /// Who is behind a service, from now on and until nobody listens. Must be called inside a tokio runtime.
    #[must_use]
    pub fn members(&self, service: &ServiceRef, which: Which, meter: &Meter) -> Found {
        let (members, receiver) = watch::channel(Arc::from(Vec::new()));
        let (known, is_known) = watch::channel(false);
        let namespace = service.namespace.clone().unwrap_or_else(|| self.namespace().to_owned());
        let follower = Follower {
            slices: Api::namespaced(self.client.clone(), &namespace),
            service: format!("{namespace}/{}", service.name),
            config: watcher::Config::default().labels(&format!("kubernetes.io/service-name={}", service.name)).timeout(WATCH),
            port: service.port,
            which,
            members,
            known,
            instruments: Instruments::new(meter, &namespace, &service.name),
        };
        tokio::spawn(follower.run());
        Found { members: receiver, known: is_known }
    }
}

struct Instruments {
    stale: Gauge<u64>,
    count: Gauge<u64>,
    service: [KeyValue; 1],
}

impl Instruments {
    fn new(meter: &Meter, namespace: &str, name: &str) -> Self {
        let gauge = |name: &'static str, description: &'static str| meter.u64_gauge(name).with_description(description).build();
        Self {
            stale: gauge("redial.discovery.stale", "1 while the members of a service are not followed: the API server does not answer"),
            count: gauge("redial.discovery.members", "Members of a service, as far as they are known"),
            service: [KeyValue::new("service", format!("{namespace}/{name}"))],
        }
    }
}

/// One service that is followed.
struct Follower {
    slices: Api<EndpointSlice>,
    service: String,
    config: watcher::Config,
    port: u16,
    which: Which,
    members: watch::Sender<Arc<[Member]>>,
    known: watch::Sender<bool>,
    instruments: Instruments,
}

impl Follower {
    async fn run(self) {
        self.instruments.stale.record(1, &self.instruments.service);
        let followed = async {
            let mut backoff = DefaultBackoff::default();
            let mut said = false;
            loop {
                let error = self.follow(&mut backoff, &mut said).await;
                self.lost(&error, &mut said);
                // Never ends by itself.
                tokio::time::sleep(backoff.next().unwrap_or(CONNECT)).await;
            }
        };
        tokio::select! {
            () = followed => {}
            () = self.members.closed() => {}
        }
    }

    /// Lists and watches until something fails. Afterwards everything is listed anew, which is how the end of an outage is noticed: a
    /// watch that is merely taken up again says nothing until something changes.
    async fn follow(&self, backoff: &mut DefaultBackoff, said: &mut bool) -> watcher::Error {
        let mut events = pin!(watcher(self.slices.clone(), self.config.clone()));
        let mut slices: BTreeMap<String, EndpointSlice> = BTreeMap::new();
        loop {
            match events.next().await {
                Some(Ok(Event::Init)) => slices.clear(),
                Some(Ok(Event::InitApply(slice))) => drop(slices.insert(name(&slice), slice)),
                Some(Ok(Event::InitDone)) => {
                    backoff.reset();
                    self.publish(&slices);
                    self.found(said);
                }
                Some(Ok(Event::Apply(slice))) => {
                    slices.insert(name(&slice), slice);
                    self.publish(&slices);
                }
                Some(Ok(Event::Delete(slice))) => {
                    slices.remove(&name(&slice));
                    self.publish(&slices);
                }
                Some(Err(error)) => return error,
                // A watcher does not end.
                None => return watcher::Error::NoResourceVersion,
            }
        }
    }

    fn publish(&self, slices: &BTreeMap<String, EndpointSlice>) {
        let members: Arc<[Member]> = members_of(slices.values(), self.port, self.which).into();
        self.instruments.count.record(members.len() as u64, &self.instruments.service);
        self.members.send_if_modified(|known| {
            let changed = *known != members;
            if changed {
                let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
                tracing::info!(service = self.service, members = names.join(" "), "members of the service");
                *known = members;
            }
            changed
        });
    }

    fn found(&self, said: &mut bool) {
        self.instruments.stale.record(0, &self.instruments.service);
        self.known.send_if_modified(|known| !std::mem::replace(known, true));
        if std::mem::take(said) {
            tracing::info!(service = self.service, "the members of the service are followed again");
        }
    }

    /// Says so once, until they are followed again.
    fn lost(&self, error: &watcher::Error, said: &mut bool) {
        self.instruments.stale.record(1, &self.instruments.service);
        self.known.send_if_modified(|known| std::mem::replace(known, false));
        if !std::mem::replace(said, true) {
            let members = self.members.borrow().len();
            tracing::warn!(
                service = self.service,
                members,
                error = chain(error),
                "the members of the service cannot be followed; those known stay, trying again"
            );
        }
    }
}

fn name(slice: &EndpointSlice) -> String {
    slice.metadata.name.clone().unwrap_or_default()
}

/// An error with all its causes in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let cause = inner.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = inner.source();
    }
    text
}
