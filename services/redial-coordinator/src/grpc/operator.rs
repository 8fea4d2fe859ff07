//! `redial.v1.Operator`: what the operator's command asks.

use futures_util::{StreamExt, TryStreamExt, stream};
use redial_core::ids::SHARDS;
use redial_core::{Aor, Pair, Shard, Watch, WatchStore};
use redial_proto::v1;
use redial_proto::v1::operator_server::Operator;
use redial_runtime::clock;
use tonic::{Request, Response, Status};

use super::store_failed;
use crate::coordinator::Coordinator;

/// Shards that a list reads side by side.
const SIDE_BY_SIDE: usize = 16;

/// When the request names no limit, and the most it may name.
const LIMITS: (usize, usize) = (100, 10_000);

/// The service behind `redial watch`, `redial binding` and `redial doctor`.
#[derive(Debug)]
pub struct OperatorService<S> {
    coordinator: Coordinator<S>,
}

impl<S: WatchStore> OperatorService<S> {
    #[must_use]
    pub fn new(coordinator: Coordinator<S>) -> Self {
        Self { coordinator }
    }

    async fn matching(&self, filter: &Filter, limit: usize) -> Result<Vec<Watch>, Status> {
        let store = self.coordinator.engine().store();
        let shards = match &filter.callee {
            Some(callee) => callee.shard().0..callee.shard().0 + 1,
            None => 0..SHARDS,
        };
        let of_shard = |shard| {
            let store = store.clone();
            async move { store.list(Shard(shard), LIMITS.1).await }
        };
        let mut watches: Vec<Watch> = stream::iter(shards)
            .map(of_shard)
            .buffer_unordered(SIDE_BY_SIDE)
            .try_fold(Vec::new(), |mut all, some| async move {
                all.extend(some.into_iter().filter(|w| filter.matches(w)));
                Ok(all)
            })
            .await
            .map_err(store_failed)?;
        watches.sort_by(|a, b| (a.armed_at, &a.pair).cmp(&(b.armed_at, &b.pair)));
        // One more than asked for tells the caller that there are more.
        watches.truncate(limit + 1);
        Ok(watches)
    }
}

struct Filter {
    caller: Option<Aor>,
    callee: Option<Aor>,
    domain: Option<String>,
}

impl Filter {
    fn matches(&self, watch: &Watch) -> bool {
        self.caller.as_ref().is_none_or(|caller| *caller == watch.pair.caller)
            && self.callee.as_ref().is_none_or(|callee| *callee == watch.pair.callee)
            && self.domain.as_ref().is_none_or(|domain| domain == watch.pair.callee.domain())
    }
}

#[tonic::async_trait]
impl<S: WatchStore> Operator for OperatorService<S> {
    async fn list_watches(&self, request: Request<v1::ListWatchesRequest>) -> Result<Response<v1::ListWatchesResponse>, Status> {
        let asked = request.into_inner();
        let limit = match asked.limit as usize {
            0 => LIMITS.0,
            limit => limit.min(LIMITS.1),
        };
        let given = |text: String| (!text.is_empty()).then_some(text);
        let filter = Filter {
            caller: given(asked.caller).map(Aor::new),
            callee: given(asked.callee).map(Aor::new),
            domain: given(asked.domain).map(|d| d.to_ascii_lowercase()),
        };
        let mut watches = self.matching(&filter, limit).await?;
        let truncated = watches.len() > limit;
        watches.truncate(limit);
        Ok(Response::new(v1::ListWatchesResponse { watches: watches.into_iter().map(Into::into).collect(), truncated }))
    }

    async fn show_watch(&self, request: Request<v1::ShowWatchRequest>) -> Result<Response<v1::Watch>, Status> {
        let pair = named(request.into_inner().pair)?;
        let found = self.coordinator.engine().store().load(std::slice::from_ref(&pair)).await.map_err(store_failed)?;
        match found.into_iter().next().flatten() {
            Some(watch) => Ok(Response::new(watch.into())),
            None => Err(Status::not_found("the pair has no watch")),
        }
    }

    async fn cancel_watch(&self, request: Request<v1::CancelWatchRequest>) -> Result<Response<v1::CancelWatchResponse>, Status> {
        let pair = named(request.into_inner().pair)?;
        let cancelled = self.coordinator.engine().cancel(clock::unix(), &pair).await.map_err(store_failed)?;
        Ok(Response::new(v1::CancelWatchResponse { cancelled }))
    }

    async fn list_bindings(&self, request: Request<v1::ListBindingsRequest>) -> Result<Response<v1::ListBindingsResponse>, Status> {
        let aor = Aor::new(request.into_inner().aor);
        let store = self.coordinator.engine().store();
        let found = store.bindings(clock::unix(), std::slice::from_ref(&aor)).await.map_err(store_failed)?;
        let bindings = found.into_iter().flatten().map(Into::into).collect();
        Ok(Response::new(v1::ListBindingsResponse { bindings }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        let c = &self.coordinator;
        let pinged = c.ping().await;
        let edges = c.hub().attached().into_iter();
        let learned = c.engine().store().lessons(clock::unix()).await.unwrap_or_default().into_iter();
        Ok(Response::new(v1::StatusResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            replica: c.setup().replica.clone(),
            store: c.setup().store_kind.into(),
            store_healthy: pinged.is_ok(),
            store_error: pinged.err().map(|error| error.to_string()).unwrap_or_default(),
            edges: edges.map(|(edge, version)| v1::AttachedEdge { edge: edge.as_str().into(), version: version.to_string() }).collect(),
            watches: c.engine().watches(),
            notifications: c.notifications(),
            uptime_ms: u64::try_from(c.uptime().as_millis()).unwrap_or(u64::MAX),
            policies: Some((&*c.engine().policies()).into()),
            learned: learned.map(|l| v1::Lesson { user_agent: l.agent, rung: l.rung.into(), until: l.until.0 }).collect(),
            sweep_interval_ms: u64::try_from(c.setup().sweep_interval.as_millis()).unwrap_or(u64::MAX),
        }))
    }
}

fn named(pair: Option<v1::Pair>) -> Result<Pair, Status> {
    let pair: Pair = pair.ok_or_else(|| Status::invalid_argument("no pair"))?.into();
    if pair.callee.as_str().is_empty() || pair.caller.as_str().is_empty() {
        return Err(Status::invalid_argument("a pair names a callee and a caller"));
    }
    Ok(pair)
}
