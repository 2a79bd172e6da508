//! A gateway as parsed from its object alone: remembered for as long as the object does not change.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use penstock_api::ApplicationGateway;
use penstock_api::gateway::{
    AllowedRules, ApplicationGatewaySpec, BackendAddress, BackendSettings, ClientAddress, CustomErrorPage,
    ProxyProtocol, ServiceRef,
};
use penstock_api::reasons::RuleReason;
use penstock_model as model;
use penstock_model::{GatewayId, Name};

use crate::address::ADDRESS_NOT_ALLOWED;
use crate::finding::Finding;
use crate::listener::{self, Listener};
use crate::settings::{self, Probes, Settings};
use crate::snapshot::{Key, Options};
use crate::{dns_name, probe, rewrite};

/// A gateway as parsed.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) key: Key,
    pub(crate) id: GatewayId,
    /// In seconds since 1970; unknown as 0.
    pub(crate) created: i64,
    pub(crate) generation: Option<i64>,
    /// As listed.
    pub(crate) listeners: Vec<Listener>,
    pub(crate) allowed: AllowedRules,
    pub(crate) client_address: model::ClientAddress,
    pub(crate) pools: BTreeMap<String, Pool>,
    pub(crate) settings: BTreeMap<String, Arc<Settings>>,
    /// What a backend has that names no settings.
    pub(crate) default_settings: Arc<Settings>,
    pub(crate) probes: Probes,
    /// What cookies of session affinity are made with: the object's UID, which no client of its listeners sees and all
    /// replicas know. Objects of a folder have none; their name has to do.
    pub(crate) session_key: Name,
    /// Pages of every listener that has none of its own.
    pub(crate) error_pages: Vec<CustomErrorPage>,
    /// Rewrite rule sets by name.
    pub(crate) rewrite_rule_sets: rewrite::Sets,
    /// What is wrong with the object itself.
    pub(crate) findings: Vec<Finding>,
}

/// A pool of a gateway.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) name: Name,
    pub(crate) services: Vec<ServiceRef>,
    pub(crate) addresses: Vec<PoolAddress>,
}

/// An address outside the cluster.
#[derive(Debug)]
pub(crate) enum PoolAddress {
    /// An IP address, and how it is written.
    Ip(IpAddr, Name, Option<u16>),
    /// A DNS name, complete when it ends with a dot.
    Name(Name, Option<u16>),
    /// May not be a backend; said in the gateway's findings.
    Refused,
}

impl Gateway {
    /// Parses an object.
    pub(crate) fn parse(key: &Key, object: &ApplicationGateway, options: &Options) -> Self {
        let ApplicationGatewaySpec {
            class_name: _,
            service: _, // The Service in front is the controller's business.
            client_address,
            listeners,
            allowed_rules,
            backend_pools,
            backend_settings,
            probes,
            rewrite_rule_sets,
            custom_error_pages,
        } = &object.spec;
        let mut findings = Vec::new();
        let client_address = client_address_of(client_address.as_ref(), &options.client_address, &mut findings);
        let session_key: Name = object.metadata.uid.as_deref().map_or_else(|| key.to_string().into(), Into::into);
        let name = key.to_string();
        let probes: Probes =
            probes.iter().map(|probe| (probe.name.clone(), probe::named(probe, &name, &mut findings))).collect();
        let itself = || settings::gateway_ref(key.namespace.clone(), key.name.clone());
        let mut parsed = BTreeMap::new();
        for named in backend_settings {
            let field = format!("backendSettings[{}]", named.name);
            let names = (format!("{key}/{}", named.name).into(), named.name.as_str().into(), Arc::clone(&session_key));
            let settings = settings::parse(&named.settings, names, (itself(), &field), &probes, &mut findings);
            parsed.insert(named.name.clone(), Arc::new(settings));
        }
        let names = (format!("{key}/").into(), "".into(), Arc::clone(&session_key));
        let defaults = settings::parse(&BackendSettings::default(), names, (itself(), ""), &probes, &mut Vec::new());
        let pools = backend_pools
            .iter()
            .map(|pool| {
                let address = |address| pool_address(&pool.name, address, options, &mut findings);
                let addresses = pool.addresses.iter().map(address).collect();
                let parsed = Pool { name: pool.name.as_str().into(), services: pool.services.clone(), addresses };
                (pool.name.clone(), parsed)
            })
            .collect();
        Self {
            key: key.clone(),
            id: GatewayId::new(key.namespace.clone(), key.name.clone()),
            created: object.metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            generation: object.metadata.generation,
            listeners: listeners.iter().map(listener::parse).collect(),
            allowed: allowed_rules.clone(),
            client_address,
            pools,
            settings: parsed,
            default_settings: Arc::new(defaults),
            probes,
            session_key,
            error_pages: custom_error_pages.clone(),
            rewrite_rule_sets: rewrite::parse(rewrite_rule_sets, &mut findings),
            findings,
        }
    }
}

fn pool_address(pool: &str, address: &BackendAddress, options: &Options, findings: &mut Vec<Finding>) -> PoolAddress {
    let field = format!("backendPools[{pool}].addresses");
    let BackendAddress { host, port } = address;
    let Ok(ip) = host.parse::<IpAddr>() else {
        return dns_name::parse(host).map_or_else(
            |what| {
                let message = format!("{field}: {host:?} {what}: its share is answered with 502; correct it");
                findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
                PoolAddress::Refused
            },
            |name| PoolAddress::Name(name, *port),
        );
    };
    match options.permits(ip) {
        Ok(()) => {
            // As a Host has it (RFC 3986 3.2.2).
            let name = if ip.is_ipv6() { format!("[{host}]").into() } else { host.as_str().into() };
            PoolAddress::Ip(ip, name, *port)
        }
        Err(what) => {
            let message = format!(
                "{field}: {host} is {what}, which may not be a backend: its share is answered with 502; name another"
            );
            findings.push(Finding::partial(ADDRESS_NOT_ALLOWED, message));
            PoolAddress::Refused
        }
    }
}

fn client_address_of(
    given: Option<&ClientAddress>,
    default: &model::ClientAddress,
    findings: &mut Vec<Finding>,
) -> model::ClientAddress {
    let Some(ClientAddress { trusted_proxies, proxy_protocol }) = given else { return default.clone() };
    let mut block = |text: &String| {
        let parsed = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(Into::into));
        if parsed.is_none() {
            let message = format!(
                "clientAddress.trustedProxies: {text:?} is no address block such as 10.0.0.0/8; it is not trusted"
            );
            findings.push(Finding::partial(RuleReason::InvalidValue.as_str(), message));
        }
        parsed
    };
    model::ClientAddress {
        trusted_proxies: match trusted_proxies {
            Some(blocks) => blocks.iter().filter_map(&mut block).collect(),
            None => default.trusted_proxies.clone(),
        },
        proxy_protocol: match proxy_protocol {
            Some(ProxyProtocol::Off) => model::ProxyProtocol::Off,
            Some(ProxyProtocol::Optional) => model::ProxyProtocol::Optional,
            Some(ProxyProtocol::Required) => model::ProxyProtocol::Required,
            None => default.proxy_protocol,
        },
    }
}
