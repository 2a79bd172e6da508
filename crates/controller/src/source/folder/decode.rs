//! From a document to an object, as the API server would take it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use penstock_api::k8s::{Pod, Secret};
use penstock_api::reasons::{ConditionType, GatewayReason, RuleReason};
use penstock_api::schema::{Checker, CheckerError, unknown_fields};
use penstock_model::Problem;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::store::{Id, Kind, Object, key};

/// The schemas of our own kinds, compiled.
pub(super) struct Decoder {
    gateway: Checker,
    rule: Checker,
}

/// What became of a document.
pub(super) enum Decoded {
    /// An object, and what was left out of it.
    Object(Object, Vec<Problem>),
    /// An object of a kind that we read, with something that is refused.
    Refused(Id, Vec<Problem>),
    /// A kind that is not read, such as a Deployment.
    Other,
    /// No object at all, and why.
    Nothing(String),
}

impl Decoder {
    pub(super) fn new() -> Result<Self, CheckerError> {
        let [gateway, rule] = penstock_api::crds();
        Ok(Self { gateway: Checker::new(&gateway)?, rule: Checker::new(&rule)? })
    }

    /// Takes one document; lists are taken apart before.
    pub(super) fn decode(&self, mut value: Value) -> Decoded {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, name) = (text("apiVersion"), text("kind"));
        if !value.is_object() || name.is_empty() || api_version.is_empty() {
            return Decoded::Nothing("not a Kubernetes object: apiVersion and kind are missing; add them".to_owned());
        }
        let Some(kind) = kind(&api_version, &name) else { return Decoded::Other };
        let id = match identify(kind, &mut value) {
            Ok(id) => id,
            Err(message) => return Decoded::Nothing(format!("{name}: {message}")),
        };
        if !version_is_known(kind, &api_version) {
            let message =
                format!("apiVersion {api_version} is not one that is read; use {}", versions(kind).join(" or "));
            return Decoded::Refused(id.clone(), vec![problem(&id, message)]);
        }
        clean(&id, &mut value);
        match kind {
            Kind::Gateway => self.ours(&self.gateway, id, &value, Object::Gateway),
            Kind::Rule => self.ours(&self.rule, id, &value, Object::Rule),
            Kind::Service => theirs(id, value, Object::Service),
            Kind::EndpointSlice => theirs(id, value, Object::EndpointSlice),
            Kind::Secret => match value.get("type").and_then(Value::as_str) {
                // As in a cluster, where others are not even watched.
                Some("kubernetes.io/tls") => theirs(id, value, |secret| Object::Secret(text_to_data(secret))),
                _ => Decoded::Other,
            },
            Kind::ConfigMap => theirs(id, value, Object::ConfigMap),
            Kind::Pod => theirs(id, value, |pod: Arc<Pod>| Object::Pod { service: key(&*pod), pod }),
            Kind::Namespace => theirs(id, value, Object::Namespace),
            Kind::Grant => theirs(id, value, Object::Grant),
        }
    }

    fn ours<K: DeserializeOwned>(
        &self,
        checker: &Checker,
        id: Id,
        value: &Value,
        wrap: impl Fn(Arc<K>) -> Object,
    ) -> Decoded {
        let unknown = unknown_fields(value, checker.schema()).into_iter();
        let mut problems: Vec<_> =
            unknown.map(|field| problem(&id, format!("{field}: no such field; remove it, or mend its name"))).collect();
        let violations = checker.check(value);
        if !violations.is_empty() {
            problems.extend(violations.iter().map(|violation| problem(&id, violation.to_string())));
            return Decoded::Refused(id, problems);
        }
        match serde_json::from_value(checker.admit(value)) {
            Ok(object) => Decoded::Object(wrap(Arc::new(object)), problems),
            Err(error) => {
                problems.push(problem(&id, error.to_string()));
                Decoded::Refused(id, problems)
            }
        }
    }
}

fn theirs<K: DeserializeOwned>(id: Id, value: Value, wrap: impl Fn(Arc<K>) -> Object) -> Decoded {
    match serde_json::from_value(value) {
        Ok(object) => Decoded::Object(wrap(Arc::new(object)), Vec::new()),
        Err(error) => {
            let problem = problem(&id, error.to_string());
            Decoded::Refused(id, vec![problem])
        }
    }
}

/// A problem of an object that cannot be read.
pub(crate) fn problem(id: &Id, message: String) -> Problem {
    let reason = match id.kind {
        Kind::Gateway => GatewayReason::InvalidValue.as_str(),
        _ => RuleReason::InvalidValue.as_str(),
    };
    Problem { object: id.object_ref(), condition: ConditionType::Accepted.as_str(), reason, message }
}

fn versions(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Gateway | Kind::Rule => &[penstock_api::API_VERSION],
        Kind::EndpointSlice => &["discovery.k8s.io/v1"],
        Kind::Grant => &["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
        _ => &["v1"],
    }
}

fn version_is_known(kind: Kind, api_version: &str) -> bool {
    versions(kind).contains(&api_version)
}

fn kind(api_version: &str, name: &str) -> Option<Kind> {
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    Some(match (group, name) {
        (penstock_api::GROUP, "ApplicationGateway") => Kind::Gateway,
        (penstock_api::GROUP, "RoutingRule") => Kind::Rule,
        ("", "Service") => Kind::Service,
        ("discovery.k8s.io", "EndpointSlice") => Kind::EndpointSlice,
        ("", "Secret") => Kind::Secret,
        ("", "ConfigMap") => Kind::ConfigMap,
        ("", "Pod") => Kind::Pod,
        ("", "Namespace") => Kind::Namespace,
        ("gateway.networking.k8s.io", "ReferenceGrant") => Kind::Grant,
        _ => return None,
    })
}

/// Finds out which object it is, and fills in the default namespace.
fn identify(kind: Kind, value: &mut Value) -> Result<Id, String> {
    let metadata = value.get_mut("metadata").and_then(Value::as_object_mut).ok_or("metadata is missing; add a name")?;
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    if !is_name(&name) {
        return Err(format!("metadata.name: {name:?} is no name; use small letters, digits, - and ."));
    }
    if kind == Kind::Namespace {
        metadata.remove("namespace");
        return Ok(Id::new(kind, "", name));
    }
    let namespace = metadata.entry("namespace").or_insert_with(|| json!("default"));
    match namespace.as_str().filter(|namespace| is_name(namespace) && !namespace.contains('.')) {
        Some(namespace) => Ok(Id::new(kind, namespace, name)),
        None => Err(format!("metadata.namespace: {namespace} is no namespace; use small letters, digits and -")),
    }
}

/// RFC 1123 as Kubernetes takes it for names.
fn is_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(inner) && name.bytes().last().is_some_and(inner);
    ends && name.len() <= 253 && name.bytes().all(|b| inner(b) || b == b'-' || b == b'.')
}

/// Removes what only an API server may write, and puts a version in its place that changes with the content.
fn clean(id: &Id, value: &mut Value) {
    if let Some(object) = value.as_object_mut()
        && id.kind != Kind::Pod
    {
        object.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["managedFields", "resourceVersion", "uid", "generation", "selfLink"] {
            metadata.remove(field);
        }
    }
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), json!(hasher.finish().to_string()));
        metadata.insert("uid".to_owned(), json!(id.to_string()));
    }
}

/// `stringData` of a Secret, as the API server stores it.
fn text_to_data(mut secret: Arc<Secret>) -> Arc<Secret> {
    let inner = Arc::make_mut(&mut secret);
    for (key, text) in inner.string_data.take().into_iter().flatten() {
        inner.data.get_or_insert_default().entry(key).or_default().0 = text.into_bytes();
    }
    secret
}
