//! From configured listeners to listeners at work: TLS is built when it changed, numbers stay with names.

use std::sync::Arc;
use std::time::Instant;

use ahash::RandomState;
use hashbrown::HashMap;
use penstock_model::{Config, ListenerId, TicketSecrets};

use crate::metrics::Metrics;
use crate::route_state::{ListenerState, Live, PortFacts, next_number};
use crate::tls::server_tls;

/// Listeners that are gone and whose tunnels still drain: number and end. One that comes back in time is the same again.
#[derive(Debug, Default)]
pub(super) struct Leaving(HashMap<ListenerId, (u64, Instant)>);

impl Leaving {
    /// Those that a configuration does not have any more; their numbers.
    pub(super) fn leave(&mut self, before: &Live, now: &Listeners, end: Instant) -> Vec<u64> {
        self.0.retain(|_, (_, end)| *end > Instant::now());
        let gone: Vec<_> = before.listeners.iter().filter(|(id, _)| !now.contains_key(*id)).collect();
        self.0.extend(gone.iter().map(|(id, listener)| ((*id).clone(), (listener.number, end))));
        gone.into_iter().map(|(_, listener)| listener.number).collect()
    }

    /// Those that a configuration has again; their numbers.
    pub(super) fn come_back(&mut self, now: &Listeners) -> Vec<u64> {
        self.0.extract_if(|id, _| now.contains_key(id)).map(|(_, (number, _))| number).collect()
    }

    fn number(&self, id: &ListenerId) -> Option<u64> {
        self.0.get(id).filter(|(_, end)| *end > Instant::now()).map(|(number, _)| *number)
    }
}

/// Listeners at work, by identity.
pub(super) type Listeners = HashMap<ListenerId, Arc<ListenerState>, RandomState>;

/// Builds the listeners of a configuration from those before.
pub(super) fn build(config: &Config, before: &Live, leaving: &Leaving, secrets: &TicketSecrets) -> Listeners {
    let mut listeners = HashMap::default();
    for listener in &config.listeners {
        let old = before.listeners.get(&listener.id);
        if let Some(old) = old.filter(|old| old.listener == *listener) {
            listeners.insert(listener.id.clone(), Arc::clone(old));
            continue;
        }
        let same_tls = old.filter(|old| old.listener.tls == listener.tls);
        let tls = match (&listener.tls, same_tls) {
            (_, Some(old)) => old.tls.clone(),
            (None, None) => None,
            (Some(tls), None) if tls.certificates.is_empty() => None,
            (Some(tls), None) => match server_tls(&listener.id, tls, secrets) {
                Ok(tls) => Some(tls),
                Err(error) => {
                    // The front end tried every key and every policy: what it let through can be served.
                    tracing::error!(listener = %listener.id, %error, "TLS of the listener stays as it was");
                    old.and_then(|old| old.tls.clone())
                }
            },
        };
        let state = ListenerState {
            number: old.map(|old| old.number).or_else(|| leaving.number(&listener.id)).unwrap_or_else(next_number),
            gateway: listener.id.gateway.to_string().into(),
            tls,
            listener: Arc::clone(listener),
        };
        listeners.insert(listener.id.clone(), Arc::new(state));
    }
    listeners
}

/// What is known of each local port. Listeners that share one are told apart by host only: its connections count under
/// the first of them.
pub(super) fn ports(config: &Config, listeners: &Listeners, metrics: &Metrics) -> HashMap<u16, PortFacts, RandomState> {
    let mut ports: HashMap<u16, PortFacts, RandomState> = HashMap::default();
    for listener in &config.listeners {
        let mut first = false;
        let facts = ports.entry(listener.bind_port).or_insert_with(|| {
            first = true;
            let gateway = listener.id.gateway.to_string();
            let labels = [&*gateway, &*listener.id.name];
            let only_tls = listeners.get(&listener.id).and_then(|state| Some((state.number, state.tls.clone()?)));
            PortFacts {
                tls: listener.tls.is_some(),
                only_tls,
                listener: listener.id.name.clone(),
                shared: false,
                client_address: listener.client_address.clone(),
                open: metrics.connections_open.with_label_values(&labels),
                accepted: metrics.connections.with_label_values(&labels),
            }
        });
        if !first {
            facts.only_tls = None;
            facts.shared = true;
        }
    }
    ports
}
