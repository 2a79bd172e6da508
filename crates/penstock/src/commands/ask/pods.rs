//! The Pods of a cluster, asked through the API server's proxy: whoever may do that needs no way to the admin port.

use std::fmt;

use anyhow::{Context as _, bail};
use kube::api::{Api, ListParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use penstock_api::k8s::{Pod, ResourceExt as _};

use super::Page;
use crate::cli::InstanceArgs;

/// Name of the admin port in the chart's Pods.
const PORT: &str = "admin";

/// A Pod that runs.
pub(in crate::commands) struct RunningPod {
    client: Client,
    namespace: String,
    name: String,
    /// Number of its admin port.
    port: i32,
}

impl fmt::Display for RunningPod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl RunningPod {
    fn new(client: &Client, pod: &Pod) -> Option<Self> {
        let running = pod.status.as_ref()?.phase.as_deref() == Some("Running");
        let ports =
            pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|container| container.ports.iter().flatten());
        let port = ports.into_iter().find(|port| port.name.as_deref() == Some(PORT))?.container_port;
        let namespace = pod.namespace()?;
        running.then(|| Self { client: client.clone(), namespace, name: pod.name_any(), port })
    }

    /// What it answers to a path, or to YAML that is posted there.
    pub(super) async fn ask(&self, path: &str, yaml: Option<String>) -> anyhow::Result<Page> {
        let Self { namespace, name, port, .. } = self;
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy{path}");
        let verb = if yaml.is_some() { "create" } else { "get" };
        let request = match yaml {
            Some(yaml) => {
                http::Request::post(path).header(http::header::CONTENT_TYPE, super::YAML).body(yaml.into_bytes())?
            }
            None => http::Request::get(path).body(Vec::new())?,
        };
        match self.client.request_text(request).await {
            Ok(text) => Ok(Ok(text)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Err(status.message)),
            Err(error) => Err(error).context(format!(
                "Pod {self} is not reached through the API server; `{verb}` of pods/proxy must be allowed"
            )),
        }
    }
}

/// Pods of the labels and the namespace that run and have an admin port, by name.
pub(super) async fn pods(args: &InstanceArgs) -> anyhow::Result<Vec<RunningPod>> {
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let file = match &args.kubeconfig {
        Some(file) => Kubeconfig::read_from(file).with_context(|| format!("--kubeconfig {}", file.display()))?,
        None => Kubeconfig::read().context("no kubeconfig; give --kubeconfig FILE")?,
    };
    let config = Config::from_custom_kubeconfig(file, &options).await.context("the kubeconfig cannot be used")?;
    let client = Client::try_from(config).context("cannot speak to the API server")?;
    let api: Api<Pod> = match &args.namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let found = api.list(&ListParams::default().labels(&args.selector)).await.context("cannot list Pods")?;
    let mut pods: Vec<_> = found.items.iter().filter_map(|pod| RunningPod::new(&client, pod)).collect();
    if pods.is_empty() {
        let place = args.namespace.as_ref().map_or("any namespace".to_owned(), |name| format!("namespace {name}"));
        bail!(
            "no running Pod with the labels {} and a port named {PORT} in {place}; give --selector and --namespace",
            args.selector
        );
    }
    pods.sort_by_key(ToString::to_string);
    Ok(pods)
}
