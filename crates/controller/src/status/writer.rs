//! The writer: the leader's queue of statuses, at a pace that an API server likes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use penstock_api::{ApplicationGateway, ApplicationGatewayStatus, RoutingRule, RoutingRuleStatus};
use penstock_model::{Observed, Problem};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::compare::{accepted, normal, undated};
use super::complete::complete;
use super::conditions::{date_gateway, date_rule};
use super::event::Said;
use super::front::Fronts;
use super::pace::Pace;
use super::unread::Parent;
use super::warnings::warnings;
use crate::outputs::State;
use crate::source::cluster::{Live, LiveStatuses, delay};
use crate::store::{Id, Kind};

/// A request that takes longer has failed.
const REQUEST: Duration = Duration::from_secs(10);
/// Health flips faster than anybody reads.
const HEALTH: Duration = Duration::from_millis(200);
/// Statuses that somebody changed by hand are put right after this time at the latest.
pub(super) const RECHECK: Duration = Duration::from_secs(60);

/// The task, before it runs.
pub(crate) struct Writer {
    pub(crate) client: kube::Client,
    pub(crate) identity: String,
    pub(crate) live: LiveStatuses,
    pub(crate) state: watch::Receiver<Arc<State>>,
    pub(crate) observed: watch::Receiver<Arc<Observed>>,
    pub(crate) leads: watch::Receiver<bool>,
    pub(crate) front: Fronts,
}

/// A status that differs from the one that the API server has.
pub(super) struct Pending {
    id: Id,
    status: Value,
    /// Whether somebody learns from it that an object was taken.
    urgent: bool,
}

/// What the writer remembers.
pub(super) struct Memory {
    pub(super) pace: Pace<Id>,
    /// Statuses that are in the API server, or that it does not take, and in which version of the object.
    settled: HashMap<Id, (Value, String)>,
    /// Statuses of rules that were found to be there: a translation gives the same ones again.
    rules: HashMap<Id, (Arc<RoutingRuleStatus>, String)>,
    pub(super) said: Said,
    /// What rules that cannot be read say of whose they are.
    pub(super) parents: HashMap<Problem, Option<Parent>>,
    pub(super) failures: u32,
}

impl Writer {
    /// Runs until the store is gone.
    pub(crate) async fn run(mut self) {
        let mut memory = Memory {
            pace: Pace::new(Instant::now()),
            settled: HashMap::new(),
            rules: HashMap::new(),
            said: Said::default(),
            parents: HashMap::new(),
            failures: 0,
        };
        let mut differed = self.live.subscribe();
        let (mut last, mut checked) = (Instant::now(), Instant::now());
        loop {
            if checked + RECHECK <= Instant::now() {
                checked = Instant::now();
                memory.forget();
                self.forget_gone();
            }
            let leads = *self.leads.borrow_and_update();
            let mut again = Instant::now() + RECHECK;
            if leads {
                let (state, observed) =
                    (self.state.borrow_and_update().clone(), self.observed.borrow_and_update().clone());
                if state.synced {
                    again = again.min(self.pass(&mut memory, &state, &observed).await);
                }
            } else {
                memory.forget();
                let noticed = warnings(&self.observed.borrow_and_update());
                again = again.min(self.events(&mut memory, None, &noticed).await);
            }
            let health = last + HEALTH;
            last = Instant::now();
            tokio::select! {
                changed = self.state.changed() => if changed.is_err() { return },
                // The election is over once the Lease is given back; nobody leads here then.
                Ok(()) = self.leads.changed() => {}
                () = self.front.changed(), if leads => {}
                _ = differed.changed(), if leads => {}
                Ok(()) = async { sleep_until(health).await; self.observed.changed().await } => {}
                () = sleep_until(again) => {}
            }
        }
    }

    /// Forgets what the API server had of objects that no translation names. Should one come back, it is read again.
    fn forget_gone(&self) {
        let state = self.state.borrow().clone();
        self.live.retain(|id| match id.kind {
            Kind::Gateway => state.outcome.gateways.contains_key(&id.key),
            _ => state.outcome.rules.contains_key(&id.key),
        });
    }

    /// Writes everything that differs and may be written now, and says when to look again.
    async fn pass(&mut self, memory: &mut Memory, state: &State, observed: &Observed) -> Instant {
        let mut again = Instant::now() + RECHECK;
        let mut pending = self.pending(memory, state, observed).await;
        pending.sort_by_key(|pending| !pending.urgent);
        for Pending { id, status, .. } in pending {
            if !*self.leads.borrow() {
                return again;
            }
            if let Err(next) = memory.pace.take(&id, Instant::now()) {
                again = again.min(next);
                continue;
            }
            match self.write(&id, &status).await {
                Ok(version) => {
                    memory.failures = 0;
                    memory.settled.insert(id, (undated(status), version));
                }
                Err(kube::Error::Api(error)) if matches!(error.code, 400 | 403 | 404 | 422) => {
                    if error.code != 404 {
                        tracing::warn!(object = %id, "the status is refused: {}", error.message);
                    }
                    let version = self.live.get(&id).map(|live| live.resource_version).unwrap_or_default();
                    memory.settled.insert(id, (undated(status), version));
                }
                Err(error) => {
                    tracing::debug!(object = %id, %error, "writing the status again");
                    memory.failures += 1;
                    return Instant::now() + delay(memory.failures);
                }
            }
        }
        again.min(self.events(memory, Some(state), &warnings(observed)).await)
    }

    /// Every status that differs.
    async fn pending(&self, memory: &mut Memory, state: &State, observed: &Observed) -> Vec<Pending> {
        let outcome = &state.outcome;
        let mut pending = Vec::new();
        for (key, status) in &outcome.gateways {
            let id = Id { kind: Kind::Gateway, key: key.clone() };
            let whole = complete(key, status, &outcome.config, observed, &self.front.of(key));
            pending.extend(self.compare(memory, id, whole, date_gateway).await);
        }
        for (key, status) in &outcome.rules {
            let id = Id { kind: Kind::Rule, key: key.clone() };
            let known = memory
                .rules
                .get(&id)
                .is_some_and(|(known, version)| Arc::ptr_eq(known, status) && self.live.is_version(&id, version));
            if known {
                continue;
            }
            let different = self.compare(memory, id.clone(), status.as_ref().clone(), date_rule).await;
            if different.is_none()
                && let Some(live) = self.live.get(&id)
            {
                memory.rules.insert(id, (status.clone(), live.resource_version));
            }
            pending.extend(different);
        }
        pending.extend(self.unread(memory, state).await);
        pending
    }

    /// Compares with what the API server has.
    pub(super) async fn compare<S>(&self, memory: &Memory, id: Id, mut status: S, date: Date<S>) -> Option<Pending>
    where
        S: serde::Serialize + serde::de::DeserializeOwned,
    {
        let bare = serde_json::to_value(&status).ok()?;
        if let Some((settled, version)) = memory.settled.get(&id)
            && *settled == undated(bare)
            && self.live.is_version(&id, version)
        {
            return None;
        }
        let live = self.live_of(&id).await?;
        let old: Option<S> = live.status.clone().and_then(|status| serde_json::from_value(status).ok());
        date(&mut status, old.as_ref(), Timestamp::now());
        let status = serde_json::to_value(status).ok()?;
        let urgent = live.status.as_ref().is_none_or(|old| accepted(old) != accepted(&status));
        (live.status.as_ref() != Some(&status)).then_some(Pending { id, status, urgent })
    }

    /// What the API server has of an object; asked for where no watch has shown it.
    pub(super) async fn live_of(&self, id: &Id) -> Option<Live> {
        if let Some(live) = self.live.get(id) {
            return Some(live);
        }
        match timeout(REQUEST, self.api(id).get_opt(&id.key.name)).await {
            Ok(Ok(Some(object))) => self.saw(id, &object),
            _ => return None,
        }
        self.live.get(id)
    }

    pub(super) fn saw(&self, id: &Id, object: &DynamicObject) {
        let status = object.data.get("status").cloned();
        let status = status.map(|status| match id.kind {
            Kind::Gateway => normal::<ApplicationGatewayStatus>(status),
            _ => normal::<RoutingRuleStatus>(status),
        });
        self.live.saw(id.kind, &object.metadata, status);
    }

    async fn write(&self, id: &Id, status: &Value) -> Result<String, kube::Error> {
        let mut whole = json!({"conditions": null, "addresses": null, "listeners": null, "summary": null, "backends": null, "parents": null});
        if let (Some(whole), Some(status)) = (whole.as_object_mut(), status.as_object()) {
            let foreign = if id.kind == Kind::Gateway {
                &["parents"][..]
            } else {
                &["conditions", "addresses", "listeners", "backends"]
            };
            foreign.iter().for_each(|field| drop(whole.remove(*field)));
            whole.extend(status.clone());
        }
        let (api, params) = (
            self.api(id),
            PatchParams { field_manager: Some(penstock_api::FIELD_MANAGER.to_owned()), ..PatchParams::default() },
        );
        let patch = Patch::Merge(json!({"status": whole}));
        let object = in_time(api.patch_status(&id.key.name, &params, &patch)).await?;
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        self.saw(id, &object);
        Ok(version)
    }

    pub(super) fn api(&self, id: &Id) -> Api<DynamicObject> {
        let resource = match id.kind {
            Kind::Gateway => ApiResource::erase::<ApplicationGateway>(&()),
            _ => ApiResource::erase::<RoutingRule>(&()),
        };
        Api::namespaced_with(self.client.clone(), &id.key.namespace, &resource)
    }
}

impl Memory {
    /// Everything is compared again.
    fn forget(&mut self) {
        self.settled.clear();
        self.rules.clear();
        self.said.again();
        self.parents.clear();
    }
}

/// Sets transition times.
type Date<S> = fn(&mut S, Option<&S>, Timestamp);

pub(super) async fn in_time<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, kube::Error> {
    match timeout(REQUEST, request).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service(format!("no answer in {REQUEST:?}").into())),
    }
}
