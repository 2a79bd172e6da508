//! Documents of a case as a snapshot.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use penstock_api::k8s::{ConfigMap, EndpointSlice, Namespace, ObjectMeta, Pod, ReferenceGrant, Secret, Service};
use penstock_api::{ApplicationGateway, RoutingRule};
use penstock_model::GatewayId;
use penstock_translate::{Key, Options, Snapshot};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_yaml::Value;

/// A case: what is translated, under which options, and which requests are asked of the result.
#[derive(Default)]
pub(crate) struct Case {
    pub(crate) objects: Vec<Object>,
    pub(crate) world: World,
}

/// The document `kind: World`: what is no object.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct World {
    kind: String,
    map_ports: BTreeMap<u16, u16>,
    standalone: bool,
    allow_external_name: bool,
    forbidden_addresses: Vec<IpAddr>,
    trusted_proxies: Vec<String>,
    /// `namespace/gateway/port: local port`; without it gateways have no Services of their own.
    local_ports: Option<BTreeMap<String, u16>>,
    /// Whether ReferenceGrants cannot be read.
    no_grants: bool,
    now: i64,
    /// `port host path`.
    pub(crate) requests: Vec<String>,
}

/// An object of any kind that is read.
#[derive(Clone)]
pub(crate) enum Object {
    Gateway(Arc<ApplicationGateway>),
    Rule(Arc<RoutingRule>),
    Service(Arc<Service>),
    Slice(Arc<EndpointSlice>),
    Secret(Arc<Secret>),
    ConfigMap(Arc<ConfigMap>),
    Pod(Arc<Pod>),
    Namespace(Arc<Namespace>),
    Grant(Arc<ReferenceGrant>),
}

fn parse<T: DeserializeOwned>(value: Value) -> Arc<T> {
    let text = format!("{value:?}");
    Arc::new(serde_yaml::from_value(value).unwrap_or_else(|error| panic!("{error}: {text}")))
}

impl Case {
    /// Parses the documents of a file.
    pub(crate) fn parse(text: &str) -> Self {
        let mut case = Self::default();
        for document in serde_yaml::Deserializer::from_str(text) {
            let value = Value::deserialize(document).expect("YAML");
            let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
            case.objects.push(match kind.as_str() {
                "World" => {
                    case.world = serde_yaml::from_value(value).expect("a World");
                    continue;
                }
                "ApplicationGateway" => Object::Gateway(parse(value)),
                "RoutingRule" => Object::Rule(parse(value)),
                "Service" => Object::Service(parse(value)),
                "EndpointSlice" => Object::Slice(parse(value)),
                "ConfigMap" => Object::ConfigMap(parse(value)),
                "Secret" => Object::Secret(parse(value)),
                "Pod" => Object::Pod(parse(value)),
                "Namespace" => Object::Namespace(parse(value)),
                "ReferenceGrant" => Object::Grant(parse(value)),
                other => panic!("unknown kind {other:?}"),
            });
        }
        case
    }

    pub(crate) fn options(&self) -> Options {
        let world = &self.world;
        Options {
            class: penstock_api::DEFAULT_CLASS.to_owned(),
            map_ports: world.map_ports.clone(),
            client_address: penstock_model::ClientAddress {
                trusted_proxies: world.trusted_proxies.iter().map(|text| text.parse().expect("a block")).collect(),
                ..Default::default()
            },
            allow_external_name: world.allow_external_name,
            standalone: world.standalone,
            forbidden_addresses: world.forbidden_addresses.clone(),
            api_server: Vec::new(),
        }
    }

    /// A snapshot of those objects that are chosen.
    pub(crate) fn snapshot(&self, chosen: impl Fn(usize) -> bool) -> Snapshot {
        let world = &self.world;
        let mut snapshot = Snapshot {
            now: world.now,
            grants: (!world.no_grants).then(Default::default),
            local_ports: world.local_ports.as_ref().map(|ports| {
                ports
                    .iter()
                    .map(|(name, local)| {
                        let parts: Vec<&str> = name.split('/').collect();
                        let [namespace, gateway, port] = parts[..] else { panic!("{name} is not ns/gateway/port") };
                        ((GatewayId::new(namespace, gateway), port.parse().expect("a port")), *local)
                    })
                    .collect()
            }),
            ..Snapshot::default()
        };
        let mut pods = Vec::new();
        for object in
            self.objects.iter().enumerate().filter(|(index, _)| chosen(*index)).map(|(_, object)| object.clone())
        {
            match object {
                Object::Gateway(o) => drop(snapshot.gateways.insert(key(&o.metadata), o)),
                Object::Rule(o) => drop(snapshot.rules.insert(key(&o.metadata), o)),
                Object::Service(o) => drop(snapshot.services.insert(key(&o.metadata), o)),
                Object::ConfigMap(o) => drop(snapshot.config_maps.insert(key(&o.metadata), o)),
                Object::Secret(o) => drop(snapshot.secrets.insert(key(&o.metadata), o)),
                Object::Namespace(o) => drop(snapshot.namespaces.insert(key(&o.metadata).name, o)),
                Object::Grant(o) => {
                    if let Some(grants) = &mut snapshot.grants {
                        grants.insert(key(&o.metadata), o);
                    }
                }
                Object::Slice(o) => {
                    let labels = o.metadata.labels.as_ref().expect("labels of an EndpointSlice");
                    let of = Key::new(key(&o.metadata).namespace, labels["kubernetes.io/service-name"].as_str());
                    snapshot.endpoint_slices.entry(of).or_default().push(o);
                }
                Object::Pod(o) => pods.push(o),
            }
        }
        for (key, service) in &snapshot.services {
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            let takes = |pod: &&Arc<Pod>| {
                let labels = pod.metadata.labels.clone().unwrap_or_default();
                selector.is_some_and(|selector| selector.iter().all(|(name, value)| labels.get(name) == Some(value)))
            };
            if let Some(pod) = pods.iter().find(takes) {
                snapshot.pods.insert(key.clone(), Arc::clone(pod));
            }
        }
        snapshot
    }
}

fn key(meta: &ObjectMeta) -> Key {
    Key::new(meta.namespace.as_deref().unwrap_or("default"), meta.name.as_deref().expect("a name"))
}
