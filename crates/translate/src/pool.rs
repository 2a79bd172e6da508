//! The backend of a rule or of one of its paths: which pool or Services, under which settings.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};

use http::StatusCode;
use penstock_api::gateway::ServiceRef;
use penstock_api::reasons::RuleReason;
use penstock_api::rule::RuleBackend;
use penstock_model::{
    BackendTarget, Cluster, ClusterId, Endpoint, EndpointSet, EndpointSource, Forward, Name, ObjectRef, PathOverride,
    Probe, RewriteSet, SettingsOrigin, Unavailable, WeightedBackend,
};

use crate::address::ADDRESS_NOT_ALLOWED;
use crate::finding::Finding;
use crate::gateway::{Gateway, Pool, PoolAddress};
use crate::grant::Referrer;
use crate::probe_host;
use crate::service::{self, Dependencies};
use crate::settings::{self, ProbeChoice, Settings};
use crate::snapshot::{Key, Options, Snapshot};
use crate::upstream::Known;

/// Lowers the backends of one rule, and gathers what they need and what is to be said.
pub(crate) struct Backends<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) options: &'a Options,
    pub(crate) gateway: &'a Gateway,
    pub(crate) rule: &'a Key,
    /// What was read before.
    pub(crate) known: &'a RefCell<Known>,
    /// Why nothing of the rule may be forwarded.
    pub(crate) blocked: Option<&'static str>,
    pub(crate) rewrites: Option<Arc<RewriteSet>>,
    pub(crate) dependencies: Dependencies,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) findings: Vec<Finding>,
}

/// The candidates of a backend under construction.
struct Candidates<'s> {
    pool: Name,
    settings: &'s Settings,
    /// Why none of them may be spoken to.
    blocked: Option<&'static str>,
    backends: Vec<WeightedBackend>,
}

impl Backends<'_> {
    /// A backend at `place` of the rule: `backend`, or `paths[0].backend`. What cannot be resolved keeps its place and
    /// its weight and answers 502.
    pub(crate) fn lower(&mut self, place: &str, backend: &RuleBackend) -> Forward {
        let (settings, blocked) = self.settings(place, backend);
        let inline: Name = self.rule.to_string().into();
        let mut candidates = Candidates { pool: inline, settings: &settings, blocked, backends: Vec::new() };
        let (gateway, already) = (self.gateway, self.clusters.len());
        match &backend.pool {
            None => {
                let from = Referrer { kind: "RoutingRule", namespace: &self.rule.namespace };
                self.services(from, &format!("{place}.services"), &backend.services, &mut candidates);
            }
            Some(name) => match gateway.pools.get(name) {
                Some(pool) => {
                    candidates.pool = pool.name.clone();
                    let from = Referrer { kind: "ApplicationGateway", namespace: &gateway.key.namespace };
                    self.services(from, &format!("{place}.pool {name:?}"), &pool.services, &mut candidates);
                    self.addresses(pool, &mut candidates);
                    if candidates.backends.is_empty() {
                        let message = format!(
                            "{place}.pool {name:?} has neither services nor addresses: requests are answered with 502"
                        );
                        self.findings.push(Finding::note(RuleReason::NoEndpoints.as_str(), message));
                    }
                }
                None => {
                    let message = format!(
                        "{place}.pool {name:?} is not one of the backendPools of ApplicationGateway {}: add it there, or correct the name",
                        gateway.key
                    );
                    self.findings.push(Finding::unresolved(RuleReason::PoolNotFound.as_str(), message));
                    candidates.pool = name.as_str().into();
                    candidates.unavailable(1, RuleReason::PoolNotFound.as_str());
                }
            },
        }
        let Candidates { pool, mut backends, .. } = candidates;
        let mut probes = self.clusters.iter().skip(already).filter_map(|cluster| cluster.probe.as_ref());
        if let Some(Probe { name, .. }) = probes.find(|probe| probe_host::lacks_name(probe)) {
            let message = format!(
                "{place}: probe {name} speaks HTTPS, and neither it nor the settings name a host that the certificate could be for: \
                 set host of the probe, or hostName or tls.sniName of the settings; it looks for {} until then",
                probe_host::LOCALHOST
            );
            self.findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
        }
        backends.shrink_to_fit();
        Forward {
            pool,
            settings: settings.label.clone(),
            backends,
            request_timeout: settings.request_timeout,
            connect_timeout: settings.connect_timeout,
            per_try_timeout: None,
            stream_idle_timeout: settings.stream_idle_timeout,
            websocket: settings.websocket,
            origin: match (&backend.settings, &backend.inline_settings) {
                (None, None) => self.unset(place),
                _ => Arc::clone(&settings.origin),
            },
            retry: settings.retry,
            host: settings.host.clone(),
            path: match &settings.path {
                Some(with) => PathOverride::ReplacePrefix { literal: 0, with: Arc::clone(with) },
                None => PathOverride::Keep,
            },
            affinity: settings.affinity.clone(),
            balancing: settings.balancing,
            max_body: settings.max_body,
            rewrites: self.rewrites.clone(),
        }
    }

    fn rule_ref(&self) -> ObjectRef {
        ObjectRef { kind: "RoutingRule", namespace: self.rule.namespace.clone(), name: self.rule.name.clone() }
    }

    /// Where the settings of a backend would stand that has none.
    fn unset(&self, place: &str) -> Arc<SettingsOrigin> {
        // Nearly always the same: thousands of rules share it.
        static OF_THE_RULE: LazyLock<Name> = LazyLock::new(|| "spec.backend.inlineSettings".into());
        let field = match place {
            "backend" => Arc::clone(&OF_THE_RULE),
            _ => format!("spec.{place}.inlineSettings").into(),
        };
        Arc::new(SettingsOrigin { object: self.rule_ref(), field, idle: "requestTimeout" })
    }

    /// The settings of a backend, and why it may not be spoken to, if so.
    fn settings(&mut self, place: &str, backend: &RuleBackend) -> (Arc<Settings>, Option<&'static str>) {
        let gateway = self.gateway;
        let settings = match (&backend.settings, &backend.inline_settings) {
            (Some(name), _) => match gateway.settings.get(name) {
                Some(settings) => Arc::clone(settings),
                None => {
                    let message = format!(
                        "{place}.settings {name:?} is not one of the backendSettings of ApplicationGateway {}: add it there, or correct the name",
                        gateway.key
                    );
                    self.findings.push(Finding::unresolved(RuleReason::SettingsNotFound.as_str(), message));
                    return (Arc::clone(&gateway.default_settings), Some(RuleReason::SettingsNotFound.as_str()));
                }
            },
            (None, Some(inline)) => {
                // A colon is in no name: this cannot be the settings of a gateway.
                let names = (format!("{}:{place}", self.rule).into(), "".into(), Arc::clone(&gateway.session_key));
                let field = format!("{place}.inlineSettings");
                let at = (self.rule_ref(), &*field);
                Arc::new(settings::parse(inline, names, at, &gateway.probes, &mut self.findings))
            }
            (None, None) => Arc::clone(&gateway.default_settings),
        };
        let (settings, no_tls) = self.resolve_tls(place, backend, settings);
        let mut blocked = self.blocked.or(no_tls);
        if let ProbeChoice::Missing(name) = &settings.probe {
            let message = format!(
                "{place}: the settings' probe {name:?} is not one of the probes of ApplicationGateway {}: add it there, or correct the name",
                gateway.key
            );
            self.findings.push(Finding::unresolved(RuleReason::ProbeNotFound.as_str(), message));
            blocked = blocked.or(Some(RuleReason::ProbeNotFound.as_str()));
        }
        (settings, blocked)
    }

    fn services(&mut self, from: Referrer<'_>, field: &str, services: &[ServiceRef], candidates: &mut Candidates<'_>) {
        let world = (self.snapshot, self.options);
        for reference in services {
            match service::resolve(world, from, field, reference, &mut self.dependencies) {
                Err(finding) => {
                    candidates.unavailable(reference.weight, finding.reason);
                    self.findings.push(finding);
                }
                Ok(port) => {
                    if let Some(reason) = candidates.blocked {
                        candidates.unavailable(reference.weight, reason);
                        continue;
                    }
                    let (pool, settings) = (&candidates.pool, candidates.settings);
                    let (needs, found) = (&mut self.dependencies, &mut self.findings);
                    let world = (self.snapshot, self.options, self.known);
                    let cluster = service::cluster(world, field, &port, pool, settings, needs, found);
                    candidates.cluster(reference.weight, &cluster.id);
                    self.clusters.push(cluster);
                }
            }
        }
    }

    /// One cluster of all IP addresses, with as much weight as it has members, and one of each name with the weight of one
    /// address: how many addresses a name has is not for this configuration to know, nor a reason for more requests.
    fn addresses(&mut self, pool: &Pool, candidates: &mut Candidates<'_>) {
        let settings = candidates.settings;
        let port = |own: Option<u16>| own.or(settings.port).unwrap_or(settings.default_port);
        let (mut fixed, mut names, mut refused, mut forbidden) = (Vec::new(), Vec::new(), 0_usize, 0_usize);
        for address in &pool.addresses {
            match address {
                PoolAddress::Ip(ip, host, own) => {
                    let address = SocketAddr::new(*ip, port(*own));
                    match self.options.permits_at(address) {
                        Ok(()) => fixed.push(Endpoint { address, host: Some(host.clone()), weight: 1 }),
                        Err(what) => {
                            let message = format!(
                                "pool {:?} of ApplicationGateway {} has {address}, {what}: remove it; its share is answered with 502",
                                pool.name, self.gateway.key
                            );
                            self.findings.push(Finding::partial(ADDRESS_NOT_ALLOWED, message));
                            forbidden += 1;
                        }
                    }
                }
                PoolAddress::Name(name, own) => names.push((name.clone(), port(*own))),
                PoolAddress::Refused => refused += 1,
            }
        }
        let backend = format!("{}/{}", self.gateway.key, pool.name);
        let mut add = |backend: String, weight: usize, source: EndpointSource, set: EndpointSet| {
            let weight = u32::try_from(weight).unwrap_or(u32::MAX);
            if let Some(reason) = candidates.blocked {
                return candidates.unavailable(weight, reason);
            }
            let id = ClusterId { backend: backend.into(), settings: settings.id.clone() };
            candidates.cluster(weight, &id);
            self.clusters.push(service::build(
                id,
                &candidates.pool,
                settings,
                source,
                Arc::new(set),
                service::chosen_probe(settings, settings.protocol),
            ));
        };
        let fixed = EndpointSet::new(fixed);
        if !fixed.as_slice().is_empty() {
            add(backend.clone(), fixed.as_slice().len(), EndpointSource::Addresses, fixed);
        }
        for (name, port) in names {
            let source = EndpointSource::Name { name: name.clone(), port };
            add(format!("{backend}:{name}:{port}"), 1, source, EndpointSet::default());
        }
        if refused > 0 {
            let message = format!(
                "pool {:?} of ApplicationGateway {} has addresses that may not be backends (see its status): their share is answered with 502",
                pool.name, self.gateway.key
            );
            self.findings.push(Finding::partial(ADDRESS_NOT_ALLOWED, message));
        }
        if refused + forbidden > 0 {
            candidates.unavailable(u32::try_from(refused + forbidden).unwrap_or(u32::MAX), ADDRESS_NOT_ALLOWED);
        }
    }
}

impl Candidates<'_> {
    fn cluster(&mut self, weight: u32, id: &ClusterId) {
        let target = BackendTarget::Cluster(id.clone());
        self.backends.push(WeightedBackend { weight, target, filters: Vec::new() });
    }

    fn unavailable(&mut self, weight: u32, reason: &str) {
        let target = BackendTarget::Unavailable(Unavailable { status: StatusCode::BAD_GATEWAY, reason: reason.into() });
        self.backends.push(WeightedBackend { weight, target, filters: Vec::new() });
    }
}

/// Whether the Services of a gateway's own pools are there; what a gateway's `ResolvedRefs` says.
pub(crate) fn check(gateway: &Gateway, snapshot: &Snapshot, options: &Options) -> (Vec<Finding>, Dependencies) {
    let from = Referrer { kind: "ApplicationGateway", namespace: &gateway.key.namespace };
    let (mut findings, mut dependencies) = (Vec::new(), Dependencies::default());
    for (name, pool) in &gateway.pools {
        let field = format!("backendPools[{name}].services");
        for reference in &pool.services {
            findings.extend(service::resolve((snapshot, options), from, &field, reference, &mut dependencies).err());
        }
    }
    (findings, dependencies)
}
