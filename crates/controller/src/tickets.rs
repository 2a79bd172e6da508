//! The secrets of session tickets, in a Secret that all replicas read and the leader renews. The chart makes it, empty: then
//! nobody needs the right to create Secrets, and the right to change one is for this one only.
//!
//! Each entry's name is the second since 1970 in which it was made, its value 32 random bytes.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use penstock_api::k8s::Secret;
use penstock_model::{TicketSecret, TicketSecrets};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// A write that takes longer has failed.
const REQUEST: Duration = Duration::from_secs(10);
/// Before a failed write is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The longest wait for a time of day: clocks are put right.
const CLOCK: Duration = Duration::from_secs(3600);

/// The task, before it runs.
pub(crate) struct Tickets {
    pub(crate) api: Api<Secret>,
    /// Name of the Secret.
    pub(crate) name: String,
    pub(crate) leads: watch::Receiver<bool>,
    pub(crate) secrets: watch::Sender<Option<TicketSecrets>>,
}

impl Tickets {
    /// Runs until nobody wants to know any more.
    pub(crate) async fn run(mut self) {
        let config = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        let mut events = pin!(watcher(self.api.clone(), config).default_backoff());
        // What the API server has; `None`: nothing, or not known yet.
        let mut there: Option<Secret> = None;
        let mut retry = false;
        loop {
            let leads = *self.leads.borrow_and_update();
            let wait = match &there {
                Some(_) if leads && retry => RETRY,
                Some(secret) if leads => {
                    let rest = read(secret).rest(Timestamp::now().as_second());
                    Duration::from_secs(u64::try_from(rest).unwrap_or_default()).min(CLOCK)
                }
                _ => CLOCK,
            };
            tokio::select! {
                () = self.secrets.closed() => return,
                changed = self.leads.changed() => if changed.is_err() { return },
                event = events.next() => match event {
                    Some(Ok(watcher::Event::Apply(secret) | watcher::Event::InitApply(secret))) => {
                        self.publish(&read(&secret));
                        there = Some(secret);
                    }
                    Some(Ok(watcher::Event::Delete(_))) => there = None,
                    Some(Ok(watcher::Event::Init)) => there = None,
                    Some(Ok(watcher::Event::InitDone)) => if there.is_none() {
                        tracing::warn!(secret = self.name, "not found: TLS sessions are only resumed on the replica that they began on; apply the chart again");
                    },
                    Some(Err(error)) => tracing::debug!(secret = self.name, %error, "watching the secrets of session tickets"),
                    None => return,
                },
                () = sleep(wait) => if let Some(secret) = there.take_if(|_| leads) {
                    let renewed = self.renew(&secret).await;
                    retry = renewed.is_none();
                    // The watch may already know better, and says so next.
                    there = Some(renewed.unwrap_or(secret));
                },
            }
        }
    }

    fn publish(&self, secrets: &TicketSecrets) {
        self.secrets.send_if_modified(|now| {
            let differs = now.as_ref() != Some(secrets);
            if differs {
                *now = Some(secrets.clone());
            }
            differs
        });
    }

    /// Writes what is due, unless somebody else was faster.
    async fn renew(&self, secret: &Secret) -> Option<Secret> {
        let mut fresh = [0; 32];
        if aws_lc_rs::rand::fill(&mut fresh).is_err() {
            tracing::error!("no randomness: the secrets of session tickets are not renewed");
            return None;
        }
        let Some(renewed) = read(secret).rotated(Timestamp::now().as_second(), fresh) else {
            return Some(secret.clone());
        };
        let mut changed = secret.clone();
        changed.metadata.managed_fields = None;
        changed.data = Some(data(&renewed));
        // The version that was read stands in it: the API server refuses what is based on an older one.
        match timeout(REQUEST, self.api.replace(&self.name, &PostParams::default(), &changed)).await {
            Ok(Ok(written)) => {
                tracing::info!(secret = self.name, "session tickets have a new secret");
                self.publish(&read(&written));
                Some(written)
            }
            Ok(Err(error)) => {
                tracing::warn!(secret = self.name, %error, "the secrets of session tickets are not renewed; trying again");
                None
            }
            Err(_) => None,
        }
    }
}

/// What a Secret holds; other entries are none of ours.
fn read(secret: &Secret) -> TicketSecrets {
    let entries = secret.data.iter().flatten();
    TicketSecrets::new(entries.filter_map(|(name, value)| {
        Some(TicketSecret { created: name.parse().ok()?, secret: value.0.as_slice().try_into().ok()? })
    }))
}

fn data(secrets: &TicketSecrets) -> BTreeMap<String, penstock_api::k8s::ByteString> {
    let entry = |one: &TicketSecret| (one.created.to_string(), penstock_api::k8s::ByteString(one.secret.to_vec()));
    secrets.iter().map(entry).collect()
}
