//! Objects of the API server as JSON, over one warm connection.

use std::path::Path;

use anyhow::Result;
use http::{Method, Request, StatusCode};
use kube::config::Kubeconfig;
use kube::{Client, Config};
use serde_json::{Value, json};

/// A namespaced kind of object: where it is in the API.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    root: &'static str,
    plural: &'static str,
}

/// ApplicationGateways.
pub const GATEWAYS: Kind = Kind { root: "/apis/penstock.dev/v1alpha1", plural: "applicationgateways" };
/// RoutingRules.
pub const RULES: Kind = Kind { root: "/apis/penstock.dev/v1alpha1", plural: "routingrules" };
/// Deployments.
pub const DEPLOYMENTS: Kind = Kind { root: "/apis/apps/v1", plural: "deployments" };
/// Leases.
pub const LEASES: Kind = Kind { root: "/apis/coordination.k8s.io/v1", plural: "leases" };
/// Pods.
pub const PODS: Kind = Kind { root: "/api/v1", plural: "pods" };
/// Services.
pub const SERVICES: Kind = Kind { root: "/api/v1", plural: "services" };
/// Secrets.
pub const SECRETS: Kind = Kind { root: "/api/v1", plural: "secrets" };

/// All objects.
#[derive(Clone)]
pub struct Objects {
    pub(super) client: Client,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Objects")
    }
}

impl Kind {
    pub(super) fn path(self, namespace: &str, rest: &str) -> String {
        format!("{}/namespaces/{namespace}/{}{rest}", self.root, self.plural)
    }
}

impl Objects {
    /// Connects by the usual kubeconfig.
    ///
    /// # Panics
    /// When there is none.
    pub async fn connect() -> Self {
        let client = Client::try_default().await.unwrap_or_else(|error| panic!("no cluster to test against: {error}"));
        Self { client }
    }

    /// Connects by this kubeconfig.
    ///
    /// # Panics
    /// When it is none.
    pub async fn by(kubeconfig: &Path) -> Self {
        let client = async {
            let config =
                Config::from_custom_kubeconfig(Kubeconfig::read_from(kubeconfig)?, &Default::default()).await?;
            anyhow::Ok(Client::try_from(config)?)
        };
        let client = client.await.unwrap_or_else(|error| panic!("{}: {error:#}", kubeconfig.display()));
        Self { client }
    }

    /// An object, if it is there.
    ///
    /// # Panics
    /// When the API server cannot say.
    pub async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Value> {
        self.try_get(kind, namespace, name).await.unwrap_or_else(|error| panic!("reading {name}: {error:#}"))
    }

    /// An object, if it is there.
    ///
    /// # Errors
    /// The API server cannot say.
    pub async fn try_get(&self, kind: Kind, namespace: &str, name: &str) -> Result<Option<Value>> {
        match self.send(Method::GET, &kind.path(namespace, &format!("/{name}")), None).await {
            Ok(found) => Ok(Some(found)),
            Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND.as_u16() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The objects with these labels (`k=v,k=v`, empty: all).
    ///
    /// # Panics
    /// When the API server cannot say.
    pub async fn list(&self, kind: Kind, namespace: &str, labels: &str) -> Vec<Value> {
        let path = kind.path(namespace, &format!("?labelSelector={labels}"));
        let found = self.send(Method::GET, &path, None).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        found["items"].as_array().cloned().unwrap_or_default()
    }

    /// Creates an object.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn create(&self, kind: Kind, namespace: &str, object: &Value) -> Result<Value> {
        Ok(self.send(Method::POST, &kind.path(namespace, ""), Some(object)).await?)
    }

    /// Merges a patch into an object.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn patch(&self, kind: Kind, namespace: &str, name: &str, patch: &Value) -> Result<Value> {
        Ok(self.send(Method::PATCH, &kind.path(namespace, &format!("/{name}")), Some(patch)).await?)
    }

    /// Deletes an object, in its own time.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Result<Value> {
        Ok(self.send(Method::DELETE, &kind.path(namespace, &format!("/{name}")), None).await?)
    }

    /// Deletes every object with these labels.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn delete_all(&self, kind: Kind, namespace: &str, labels: &str) -> Result<Value> {
        Ok(self.send(Method::DELETE, &kind.path(namespace, &format!("?labelSelector={labels}")), None).await?)
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> kube::Result<Value> {
        let content = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let bytes = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let request = Request::builder().method(method).uri(path).header("content-type", content).body(bytes);
        self.client.request(request.map_err(kube::Error::HttpError)?).await
    }
}

/// The condition of this type in a status (or in one of a rule's parents), or null.
#[must_use]
pub fn condition(status: &Value, type_: &str) -> Value {
    let mut all = status["conditions"].as_array().into_iter().flatten();
    all.find(|condition| condition["type"] == json!(type_)).cloned().unwrap_or_default()
}

/// Whether a condition has this value and speaks of the object as it is now.
#[must_use]
pub fn condition_is(object: &Value, status: &Value, type_: &str, value: &str) -> bool {
    let found = condition(status, type_);
    found["status"] == json!(value) && found["observedGeneration"] == object["metadata"]["generation"]
}
