//! Probes on demand: what the probes of clusters find at this moment, or would find if they asked otherwise. Only endpoints that
//! clusters have are asked, and nothing follows from the answers: health is the business of the probes that run for ever.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_model::{
    Cluster, EndpointSource, HealthMatch, Name, Probe, ProbeHost, Protocol, Question, StatusRange, UpstreamTls,
};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use super::{Key, Way, check};
use crate::cluster::LiveCluster;

/// So many are asked at a time.
const AT_ONCE: usize = 32;
/// No answer may take longer, whatever the probe says.
const LONGEST: Duration = Duration::from_secs(30);
/// All of them have so long: whoever waits for the answers does not wait for ever.
const ALL: Duration = Duration::from_secs(45);

/// Whom to ask, and what otherwise than their probes do.
#[derive(Clone, Debug, Default)]
pub struct ProbeNow {
    /// Only clusters of this pool: as `/status` names it, or `namespace/gateway/pool`, or `namespace/name:port` of a Service.
    pub pool: Option<Name>,
    /// Only clusters of these settings, as `/status` names them.
    pub settings: Option<Name>,
    /// In place of what the probes speak.
    pub protocol: Option<Spoken>,
    /// In place of their host, also in the certificate.
    pub host: Option<Name>,
    /// In place of their path.
    pub path: Option<Name>,
    /// In place of their timeout; 30 s at most.
    pub timeout: Option<Duration>,
    /// In place of the status codes that they take; none: theirs.
    pub statuses: Vec<StatusRange>,
    /// In place of the text that they look for.
    pub body: Option<Name>,
}

/// What a probe speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.1.
    Http,
    /// HTTP over TLS, with the TLS of the settings where they have any.
    Https,
    /// HTTP/2 without TLS.
    H2c,
}

/// What became of one endpoint of one cluster.
#[derive(Clone, Debug)]
pub struct Probed {
    /// Label `pool` of the cluster.
    pub pool: Name,
    /// Label `settings` of the cluster.
    pub settings: Name,
    /// The endpoint; without one the DNS name that should have some, or nothing.
    pub address: String,
    /// Name of the probe.
    pub probe: Option<Name>,
    /// What the probes that run for ever say of it: `Up`, `Down` or `Unknown`.
    pub health: &'static str,
    /// What was found.
    pub found: Found,
}

/// What was found.
#[derive(Clone, Debug)]
pub enum Found {
    /// A good answer, or why there is none.
    Asked {
        /// Until the whole answer.
        took: Duration,
        /// Status of the answer, if there was one.
        status: Option<u16>,
        /// Why the endpoint would be taken for down: a class, then a sentence.
        reason: Option<String>,
    },
    /// Nobody was asked, and why.
    NotAsked(&'static str),
}

/// One endpoint that will be asked; clusters that ask the same share it.
struct Target {
    key: Key,
    rows: Vec<usize>,
}

/// Asks, unless whoever wants to know goes away.
pub(super) async fn answer(now: ProbeNow, clusters: Vec<Arc<LiveCluster>>, mut to: oneshot::Sender<Vec<Probed>>) {
    let (mut rows, targets) = targets(&now, &clusters);
    tokio::select! {
        () = to.closed() => return,
        () = ask(targets, &mut rows) => {}
    }
    rows.sort_by(|a, b| (&a.pool, &a.settings, &a.address).cmp(&(&b.pool, &b.settings, &b.address)));
    // Nobody may be left to hear it.
    let _ = to.send(rows);
}

fn targets(now: &ProbeNow, clusters: &[Arc<LiveCluster>]) -> (Vec<Probed>, Vec<Target>) {
    let (mut rows, mut targets): (Vec<Probed>, HashMap<Key, Target>) = Default::default();
    for cluster in clusters {
        let config = cluster.config();
        if !now.is_about(&config) {
            continue;
        }
        let probe = config.probe.as_ref().map(|probe| now.instead_of(probe, config.tls.as_ref()));
        let way = probe.map(|probe| Arc::new(Way::new(probe)));
        let row = |address: String, health, found| Probed {
            pool: Arc::clone(&config.pool),
            settings: Arc::clone(&config.settings),
            address,
            probe: way.as_ref().map(|way| Arc::clone(&way.probe.name)),
            health,
            found,
        };
        let endpoints = cluster.endpoints();
        if endpoints.is_empty() {
            let address = match &config.source {
                EndpointSource::Name { name, port } => format!("{}:{port}", name.trim_end_matches('.')),
                _ => String::new(),
            };
            rows.push(row(address, "Down", Found::NotAsked("NoEndpoints: requests are answered with 502")));
        }
        for live in &endpoints {
            let why =
                if way.is_none() { "NoProbe: it is taken for healthy" } else { "NotAsked: all had 45s; name a pool" };
            rows.push(row(live.address.to_string(), live.health().as_str(), Found::NotAsked(why)));
            let Some(way) = &way else { continue };
            let port = way.probe.port.unwrap_or(live.endpoint.address.port());
            let address = SocketAddr::new(live.endpoint.address.ip(), port);
            let key = Key { way: Arc::clone(way), address, host: way.probe.host.of(&live.endpoint) };
            let target = targets.entry(key.clone()).or_insert_with(|| Target { key, rows: Vec::new() });
            target.rows.push(rows.len() - 1);
        }
    }
    (rows, targets.into_values().collect())
}

async fn ask(targets: Vec<Target>, rows: &mut [Probed]) {
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    for Target { key, rows } in targets {
        let gate = Arc::clone(&gate);
        under_way.spawn_local(async move {
            let _place = gate.acquire_owned().await;
            let Key { way, address, host } = key;
            let started = Instant::now();
            let (status, reason) = match check::within(&way.probe, &host, way.connector.as_ref(), address).await {
                Ok(status) => (status, None),
                Err(why) => (why.status(), Some(why.to_string())),
            };
            (rows, Found::Asked { took: started.elapsed(), status, reason })
        });
    }
    let end = tokio::time::Instant::now() + ALL;
    // Those that are not over by then end with the set.
    while let Ok(Some(done)) = timeout_at(end, under_way.join_next()).await {
        let Ok((of, found)) = done else { continue };
        for row in of {
            if let Some(row) = rows.get_mut(row) {
                row.found = found.clone();
            }
        }
    }
}

impl ProbeNow {
    /// Whether a cluster is meant.
    pub fn is_about(&self, cluster: &Cluster) -> bool {
        let pools = [&cluster.pool, &cluster.id.backend];
        self.pool.as_ref().is_none_or(|pool| pools.contains(&pool))
            && self.settings.as_ref().is_none_or(|settings| *settings == cluster.settings)
    }

    /// Whether anything is asked otherwise than the configuration says.
    pub fn asks_otherwise(&self) -> bool {
        let Self { pool: _, settings: _, protocol, host, path, timeout, statuses, body } = self;
        protocol.is_some()
            || host.is_some()
            || path.is_some()
            || timeout.is_some()
            || !statuses.is_empty()
            || body.is_some()
    }

    /// A probe with what is asked otherwise. `settings`: TLS of the cluster.
    fn instead_of(&self, probe: &Probe, settings: Option<&UpstreamTls>) -> Probe {
        let mut probe = probe.clone();
        probe.timeout = self.timeout.unwrap_or(probe.timeout).min(LONGEST);
        match self.protocol {
            None => {}
            Some(Spoken::Https) => {
                let tls = probe.tls.take().or_else(|| settings.cloned());
                probe.tls = Some(tls.unwrap_or(UpstreamTls::UNVERIFIED));
            }
            Some(Spoken::Http) => (probe.tls, probe.protocol) = (None, Protocol::Http1),
            Some(Spoken::H2c) => (probe.tls, probe.protocol) = (None, Protocol::Http2),
        }
        if let Some(host) = &self.host {
            probe.host = ProbeHost::Named(Arc::clone(host));
            if let Some(tls) = &mut probe.tls {
                tls.server_name = None;
            }
        }
        if self.path.is_some() || !self.statuses.is_empty() || self.body.is_some() {
            let any = |first, last| HealthMatch { statuses: vec![StatusRange { first, last }], body: None };
            let (path, mut accept) = match probe.question {
                Question::Get { path, accept } => (path, accept),
                Question::Lives => ("/".into(), any(100, 499)),
                Question::Grpc { .. } => ("/".into(), any(200, 399)),
            };
            if !self.statuses.is_empty() {
                accept.statuses.clone_from(&self.statuses);
            }
            accept.body = self.body.clone().or(accept.body);
            probe.question = Question::Get { path: self.path.clone().unwrap_or(path), accept };
        }
        probe
    }
}
