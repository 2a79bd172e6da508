//! A controller in a namespace of its own, and what tests say and see.

use std::collections::BTreeMap;
use std::sync::{Arc, Once};

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use penstock_controller::{
    ClusterSettings, Controller, GatewayServices, LeaseSettings, Outputs, OwnResources, OwnServices, State,
    start_cluster,
};
use penstock_model::{Config, Observed};
use penstock_testkit::{ApiServer, DEADLINE, eventually};
use penstock_translate::Options;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

pub(crate) const GATEWAY: &str = "{apiVersion: penstock.dev/v1alpha1, kind: ApplicationGateway, metadata: {name: shop, namespace: $NS}, spec: {className: $NS, \
     listeners: [{name: http, port: 80, protocol: HTTP}]}}";

pub(crate) fn rule(name: &str, service: &str) -> String {
    format!(
        "{{apiVersion: penstock.dev/v1alpha1, kind: RoutingRule, metadata: {{name: {name}, namespace: $NS}}, spec: {{gatewayRef: {{name: shop}}, \
         backend: {{services: [{{name: {service}, port: 80}}]}}, paths: [{{paths: [/{name}/*], backend: {{services: [{{name: {service}, port: 80}}]}}}}]}}}}"
    )
}

/// A Service without selector and the slice that a test gives it.
pub(crate) fn service(name: &str, address: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: $NS}}, spec: {{ports: [{{port: 80}}]}}}}\n---\n{}",
        slice(name, address)
    )
}

pub(crate) fn slice(service: &str, address: &str) -> String {
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: {service}-1, namespace: $NS, labels: {{kubernetes.io/service-name: \
         {service}}}}}, addressType: IPv4, ports: [{{name: \"\", port: 8080, protocol: TCP}}], endpoints: [{{addresses: [{address}], conditions: {{ready: true}}}}]}}"
    )
}

/// An API server with the definitions, and a namespace that is also the class of its gateways.
pub(crate) struct Place {
    pub(crate) server: &'static ApiServer,
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

impl Place {
    pub(crate) async fn shared(namespace: &str) -> Self {
        static DEFINED: Once = Once::new();
        let server = tokio::task::spawn_blocking(|| {
            let server = ApiServer::shared();
            DEFINED.call_once(|| define(server));
            server
        });
        Self::on(server.await.unwrap(), namespace).await
    }

    pub(crate) async fn on(server: &'static ApiServer, namespace: &str) -> Self {
        let client = client(server).await;
        let place = Self { server, client, namespace: namespace.to_owned() };
        place.apply("{apiVersion: v1, kind: Namespace, metadata: {name: $NS}}").await;
        place
    }

    /// Applies manifests in which `$NS` is the namespace.
    pub(crate) async fn apply(&self, yaml: &str) {
        let (server, yaml) = (self.server, yaml.replace("$NS", &self.namespace));
        tokio::task::spawn_blocking(move || server.apply(&yaml).unwrap()).await.unwrap();
    }

    pub(crate) async fn kubectl(&self, args: &[&str]) -> String {
        let (server, mut all) = (self.server, vec!["-n".to_owned(), self.namespace.clone()]);
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let run = move || server.kubectl(&all.iter().map(String::as_str).collect::<Vec<_>>(), "").unwrap();
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    pub(crate) fn settings(&self, identity: &str) -> ClusterSettings {
        ClusterSettings {
            class: self.namespace.clone(),
            watch_namespaces: vec![self.namespace.clone()],
            lease: LeaseSettings {
                namespace: self.namespace.clone(),
                name: "penstock".to_owned(),
                identity: identity.to_owned(),
                owner: None,
            },
            services: GatewayServices::Shared(None),
            tickets: None,
            snapshot_dir: None,
        }
    }

    pub(crate) fn own_services() -> GatewayServices {
        let selector = BTreeMap::from([("app".to_owned(), "penstock".to_owned())]);
        GatewayServices::Own(OwnServices { selector, owner: Some("owner".to_owned()), ..OwnServices::default() })
    }

    pub(crate) fn start(&self, settings: ClusterSettings) -> Running {
        self.start_by(&self.client, settings)
    }

    /// With a client that may have its ways.
    pub(crate) fn start_by(&self, client: &Client, settings: ClusterSettings) -> Running {
        let options = Options { class: settings.class.clone(), ..Options::default() };
        let (observed, seen) = watch::channel(Arc::new(Observed::default()));
        let (controller, outputs) = start_cluster(client, settings, OwnResources::new(options), seen);
        Running { controller, outputs, observed }
    }

    pub(crate) fn api(&self, group: &str, version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    pub(crate) fn gateways(&self) -> Api<DynamicObject> {
        self.api("penstock.dev", "v1alpha1", "ApplicationGateway", "applicationgateways")
    }

    pub(crate) fn rules(&self) -> Api<DynamicObject> {
        self.api("penstock.dev", "v1alpha1", "RoutingRule", "routingrules")
    }

    pub(crate) async fn patch_status(&self, api: &Api<DynamicObject>, name: &str, status: Value) {
        let patch = Patch::Merge(serde_json::json!({ "status": status }));
        api.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    /// A condition of an object as `status/reason`, once it is there.
    pub(crate) async fn condition(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        path: &str,
        type_: &str,
        expected: &str,
    ) {
        eventually(&format!("{name}: {type_} {expected}"), DEADLINE, || async {
            let object = api.get(name).await.map_err(|error| error.to_string())?;
            let conditions = object.data.pointer(path).cloned().unwrap_or_default();
            let found = conditions.as_array().into_iter().flatten().find(|c| c["type"] == type_).cloned();
            let found = found.map(|c| {
                format!("{}/{}", c["status"].as_str().unwrap_or_default(), c["reason"].as_str().unwrap_or_default())
            });
            if found.as_deref() == Some(expected) { Ok(()) } else { Err(format!("{:?}", object.data.get("status"))) }
        })
        .await;
    }
}

/// A controller under test.
pub(crate) struct Running {
    pub(crate) controller: Controller,
    pub(crate) outputs: Outputs,
    pub(crate) observed: watch::Sender<Arc<Observed>>,
}

impl Running {
    pub(crate) async fn config(&mut self, what: &str, mut accept: impl FnMut(&Config) -> bool) -> Arc<Config> {
        let mut config = self.outputs.config.clone();
        let seen = timeout(DEADLINE, config.wait_for(|config| config.as_ref().is_some_and(|c| accept(c)))).await;
        match seen {
            Ok(config) => config.unwrap().clone().unwrap(),
            Err(_) => {
                panic!("waiting for {what}: {:#?} {:#?}", self.outputs.config.borrow(), self.outputs.state.borrow())
            }
        }
    }

    /// Waits for exactly these Services as backends.
    pub(crate) async fn backends(&mut self, expected: &[&str]) -> Arc<Config> {
        self.config(&format!("{expected:?}"), |config| backends(config) == expected).await
    }

    pub(crate) async fn state(&mut self, what: &str, mut accept: impl FnMut(&State) -> bool) -> Arc<State> {
        let mut state = self.outputs.state.clone();
        let seen = timeout(DEADLINE, state.wait_for(|state| accept(state))).await;
        match seen {
            Ok(state) => state.unwrap().clone(),
            Err(_) => panic!("waiting for {what}: {:#?}", self.outputs.state.borrow()),
        }
    }
}

/// Names of the Services that clusters come from.
pub(crate) fn backends(config: &Config) -> Vec<String> {
    let name = |id: &penstock_model::ClusterId| {
        id.backend.rsplit('/').next().unwrap_or_default().split(':').next().unwrap_or_default().to_owned()
    };
    let mut names: Vec<String> = config.clusters.keys().map(name).collect();
    names.dedup();
    names
}

/// Installs the definitions, and waits until they are served.
pub(crate) fn define(server: &ApiServer) {
    server.apply(&penstock_api::crds_yaml()).unwrap();
    server.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"], "").unwrap();
}

async fn client(server: &ApiServer) -> Client {
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}
