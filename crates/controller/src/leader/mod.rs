//! Leader election by a Lease, as client-go does it: only the leader writes.
//!
//! Whether another's Lease has run out is judged by when this process saw it change, never by the other's clock.

mod owner;
mod record;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, PostParams};
use penstock_api::k8s::{Lease, MicroTime};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use record::{Observed, Record, Verdict};

use crate::outputs::State;

/// How long others wait for a leader that says nothing.
const LEASE: Duration = Duration::from_secs(15);
/// How long a leader that cannot renew goes on.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Between two tries.
const RETRY: Duration = Duration::from_secs(2);
/// How long giving it back may take at the end.
const RELEASE: Duration = Duration::from_secs(2);

/// Whose Lease, and who asks.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease; processes that compete have the same.
    pub name: String,
    /// This process; no other has the same.
    pub identity: String,
    /// ConfigMap of the same namespace that owns the Lease, so that it goes with the release.
    pub owner: Option<String>,
}

/// The election, before it runs.
pub(crate) struct Election {
    pub(crate) api: Api<Lease>,
    pub(crate) settings: LeaseSettings,
    pub(crate) leads: watch::Sender<bool>,
    pub(crate) state: Arc<watch::Sender<Arc<State>>>,
}

impl Election {
    /// Takes part until `stop` says so, and gives the Lease back then.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
        tokio::select! {
            () = stopped => {}
            () = self.compete() => {}
        }
        let led = *self.leads.borrow();
        self.set(false);
        if led {
            match timeout(RELEASE, self.release()).await {
                Ok(Ok(())) => tracing::info!("the Lease is given back"),
                Ok(Err(error)) => tracing::warn!(%error, "the Lease could not be given back"),
                Err(_) => tracing::warn!("the Lease could not be given back in {RELEASE:?}"),
            }
        }
    }

    async fn compete(&self) {
        let mut seen = None;
        let mut renewed = Instant::now();
        loop {
            let leads = *self.leads.borrow();
            // A leader whose request hangs must not lead longer than one whose request fails.
            let end = if leads { renewed + RENEW_DEADLINE } else { Instant::now() + RENEW_DEADLINE };
            let asked = Instant::now();
            match timeout_at(end, self.try_once(&mut seen)).await {
                Ok(Ok(true)) => {
                    renewed = asked;
                    self.set(true);
                }
                Ok(Ok(false)) => self.set(false),
                Ok(Err(error)) => tracing::debug!(%error, "asking for the Lease"),
                Err(_) => tracing::debug!("asking for the Lease took too long"),
            }
            if leads && renewed + RENEW_DEADLINE <= Instant::now() {
                self.set(false);
            }
            sleep(RETRY.mul_f64(0.9)).await;
        }
    }

    /// Whether this process has the Lease now.
    async fn try_once(&self, seen: &mut Option<Observed>) -> Result<bool, kube::Error> {
        let name = &self.settings.name;
        let Some(lease) = self.api.get_opt(name).await? else {
            let mut lease = self.lease(Lease::default(), &Record::default());
            if let Some(owner) = &self.settings.owner {
                lease.metadata.owner_references = owner::reference(&self.api, &self.settings.namespace, owner).await?;
            }
            return accepted(self.api.create(&PostParams::default(), &lease).await);
        };
        let record = Record::of(&lease);
        let observed = Observed::update(seen, &record, Instant::now());
        match observed.verdict(&self.settings.identity, Instant::now()) {
            Verdict::Others => Ok(false),
            Verdict::Free | Verdict::Ours => {
                let lease = self.lease(lease, &record);
                let took = accepted(self.api.replace(name, &PostParams::default(), &lease).await)?;
                if took {
                    Observed::update(seen, &Record::of(&lease), Instant::now());
                }
                Ok(took)
            }
        }
    }

    /// The Lease as it is when this process has it.
    fn lease(&self, mut lease: Lease, old: &Record) -> Lease {
        let now = MicroTime(Timestamp::now());
        lease.metadata.name = Some(self.settings.name.clone());
        lease.metadata.namespace = Some(self.settings.namespace.clone());
        lease.metadata.managed_fields = None;
        let spec = lease.spec.get_or_insert_default();
        if old.holder != self.settings.identity {
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(old.transitions.map_or(0, |transitions| transitions.saturating_add(1)));
        }
        spec.holder_identity = Some(self.settings.identity.clone());
        spec.lease_duration_seconds = Some(LEASE.as_secs() as i32);
        spec.renew_time = Some(now);
        lease
    }

    async fn release(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.settings.name).await? else { return Ok(()) };
        if Record::of(&lease).holder != self.settings.identity {
            return Ok(());
        }
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        lease.metadata.managed_fields = None;
        accepted(self.api.replace(&self.settings.name, &PostParams::default(), &lease).await).map(drop)
    }

    fn set(&self, leads: bool) {
        let changed = self.leads.send_if_modified(|now| std::mem::replace(now, leads) != leads);
        if changed {
            tracing::info!(
                identity = self.settings.identity,
                "{}",
                if leads { "leads now" } else { "leads no longer" }
            );
            self.state.send_modify(|state| *state = Arc::new(State { leader: leads, ..(**state).clone() }));
        }
    }
}

/// Someone else was faster: no error.
fn accepted(answer: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match answer {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
