//! The writer: the leader's queue of statuses, at a pace that an API server likes.

use std::collections::{HashMap, VecDeque};
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
    /// `None`: that of a rule in the outcome, of which thousands may wait. It is made when its turn comes.
    status: Option<Value>,
    /// Whether somebody learns from it that an object was taken.
    urgent: bool,
}

/// What was found out about the status of a rule: a translation gives the same ones again.
struct Judged {
    status: Arc<RoutingRuleStatus>,
    /// The version of the object.
    version: String,
    /// Whether it differs, and then whether that is urgent.
    differs: Option<bool>,
}

/// What the writer remembers.
pub(super) struct Memory {
    pub(super) pace: Pace<Id>,
    /// Statuses that are in the API server, or that it does not take, as text and without times, and in which version of the object.
    settled: HashMap<Id, (String, String)>,
    rules: HashMap<Id, Judged>,
    /// What was not written yet, because of the pace.
    waiting: VecDeque<Pending>,
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
            waiting: VecDeque::new(),
            said: Said::default(),
            parents: HashMap::new(),
            failures: 0,
        };
        let mut differed = self.live.subscribe();
        let (mut last, mut checked) = (Instant::now(), Instant::now());
        // Where only time has gone by, what waits is still what differs.
        let mut changed = true;
        loop {
            if checked + RECHECK <= Instant::now() {
                checked = Instant::now();
                memory.forget();
                self.forget_gone();
                changed = true;
            }
            let leads = *self.leads.borrow_and_update();
            let mut again = Instant::now() + RECHECK;
            if leads {
                let (state, observed) =
                    (self.state.borrow_and_update().clone(), self.observed.borrow_and_update().clone());
                if state.synced {
                    if changed || memory.waiting.is_empty() {
                        memory.waiting = self.pending(&mut memory, &state, &observed).await;
                    }
                    again = again.min(self.pass(&mut memory, &state, &observed).await);
                }
            } else {
                memory.forget();
                let noticed = warnings(&self.observed.borrow_and_update());
                again = again.min(self.events(&mut memory, None, &noticed).await);
            }
            let health = last + HEALTH;
            last = Instant::now();
            changed = tokio::select! {
                more = self.state.changed() => match more {
                    Ok(()) => true,
                    Err(_) => return,
                },
                // The election is over once the Lease is given back; nobody leads here then.
                Ok(()) = self.leads.changed() => true,
                () = self.front.changed(), if leads => true,
                _ = differed.changed(), if leads => true,
                Ok(()) = async { sleep_until(health).await; self.observed.changed().await } => true,
                () = sleep_until(again) => false,
            };
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

    /// Writes what waits and may be written now, and says when to go on.
    async fn pass(&mut self, memory: &mut Memory, state: &State, observed: &Observed) -> Instant {
        let mut again = Instant::now() + RECHECK;
        for _ in 0..memory.waiting.len() {
            if !*self.leads.borrow() {
                return again;
            }
            let Some(next) = memory.waiting.pop_front() else { break };
            if let Err(later) = memory.pace.take(&next.id, Instant::now()) {
                again = again.min(later);
                if memory.pace.is_spent(Instant::now()) {
                    memory.waiting.push_front(next);
                    break;
                }
                memory.waiting.push_back(next);
                continue;
            }
            let Some((id, status)) = self.made(memory, next, state).await else { continue };
            match self.write(&id, &status).await {
                Ok(version) => {
                    memory.failures = 0;
                    memory.settled.insert(id, (undated(status).to_string(), version));
                }
                Err(kube::Error::Api(error)) if matches!(error.code, 400 | 403 | 404 | 422) => {
                    if error.code != 404 {
                        tracing::warn!(object = %id, "the status is refused: {}", error.message);
                    }
                    let version = self.live.get(&id).map(|live| live.resource_version).unwrap_or_default();
                    memory.settled.insert(id, (undated(status).to_string(), version));
                }
                Err(error) => {
                    tracing::debug!(object = %id, %error, "writing the status again");
                    memory.failures += 1;
                    // Everything that differs is found anew.
                    memory.waiting.clear();
                    return Instant::now() + delay(memory.failures);
                }
            }
        }
        again.min(self.events(memory, Some(state), &warnings(observed)).await)
    }

    /// The status whose turn it is; `None` when there is nothing to write any more.
    async fn made(&self, memory: &mut Memory, pending: Pending, state: &State) -> Option<(Id, Value)> {
        let Pending { id, status, .. } = pending;
        if let Some(status) = status {
            return Some((id, status));
        }
        // Whatever comes of it, it is judged again: its version will be another one.
        memory.rules.remove(&id);
        let status = state.outcome.rules.get(&id.key)?.as_ref().clone();
        let Pending { id, status, .. } = self.compare(memory, id, status, date_rule).await?;
        Some((id, status?))
    }

    /// Every status that differs, the urgent ones first.
    async fn pending(&self, memory: &mut Memory, state: &State, observed: &Observed) -> VecDeque<Pending> {
        let outcome = &state.outcome;
        let mut pending = Vec::new();
        for (key, status) in &outcome.gateways {
            let id = Id { kind: Kind::Gateway, key: key.clone() };
            let whole = complete(key, status, &outcome.config, observed, &self.front.of(key));
            pending.extend(self.compare(memory, id, whole, date_gateway).await);
        }
        for (key, status) in &outcome.rules {
            let id = Id { kind: Kind::Rule, key: key.clone() };
            let known = memory.rules.get(&id);
            let known =
                known.filter(|known| Arc::ptr_eq(&known.status, status) && self.live.is_version(&id, &known.version));
            let differs = match known {
                Some(known) => known.differs,
                None => self.judge(memory, &id, status).await,
            };
            pending.extend(differs.map(|urgent| Pending { id, status: None, urgent }));
        }
        pending.extend(self.unread(memory, state).await);
        pending.sort_by_key(|pending| !pending.urgent);
        pending.into()
    }

    /// Whether the status of a rule differs, and then whether that is urgent.
    async fn judge(&self, memory: &mut Memory, id: &Id, status: &Arc<RoutingRuleStatus>) -> Option<bool> {
        let different = self.compare(memory, id.clone(), status.as_ref().clone(), date_rule).await;
        let differs = different.map(|pending| pending.urgent);
        if let Some(Live { resource_version: version, .. }) = self.live.get(id) {
            memory.rules.insert(id.clone(), Judged { status: Arc::clone(status), version, differs });
        }
        differs
    }

    /// Compares with what the API server has.
    pub(super) async fn compare<S>(&self, memory: &Memory, id: Id, mut status: S, date: Date<S>) -> Option<Pending>
    where
        S: serde::Serialize + serde::de::DeserializeOwned,
    {
        if let Some((settled, version)) = memory.settled.get(&id)
            && self.live.is_version(&id, version)
        {
            let bare = undated(serde_json::to_value(&status).ok()?).to_string();
            if *settled == bare {
                return None;
            }
        }
        let live = self.live_of(&id).await?;
        let old: Option<S> = live.status.as_deref().and_then(|status| serde_json::from_str(status).ok());
        date(&mut status, old.as_ref(), Timestamp::now());
        if live.status.as_deref() == Some(&serde_json::to_string(&status).ok()?) {
            return None;
        }
        let status = serde_json::to_value(status).ok()?;
        let old = live.status.as_deref().and_then(|old| serde_json::from_str(old).ok());
        let urgent = old.is_none_or(|old: Value| accepted(&old) != accepted(&status));
        Some(Pending { id, status: Some(status), urgent })
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
        let status = object.data.get("status").map(|status| match id.kind {
            Kind::Gateway => normal::<ApplicationGatewayStatus>(status),
            _ => normal::<RoutingRuleStatus>(status),
        });
        self.live.saw(id.kind, &object.metadata, status.map(Into::into));
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
        self.waiting.clear();
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
