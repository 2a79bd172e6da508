//! Where the objects come from: a folder, or a cluster.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;
use kube::{Client, Config};
use penstock_api::gateway::GatewayService as ServiceDefaults;
use penstock_controller::{
    ClusterSettings, Controller, GatewayServices, LeaseSettings, Outputs, OwnResources, OwnServices, parse_labels,
    start_cluster, start_folder,
};
use penstock_model::Observed;
use penstock_translate::{Key, Options};
use tokio::sync::watch;

use crate::args::{GatewayService, RunArgs};

/// A running controller.
pub(super) struct Source {
    controller: Controller,
    outputs: Option<Outputs>,
    /// What the translation was told: the data plane goes by the same rules where it learns addresses by itself.
    pub(super) translation: Options,
}

/// Starts the controller that the flags ask for. `observed` is what the data plane will say of itself.
pub(super) async fn start(args: &RunArgs, observed: watch::Receiver<Arc<Observed>>) -> anyhow::Result<Source> {
    let (translation, (controller, outputs)) = match &args.manifests {
        Some(folder) => {
            let translation = args.translation(Vec::new());
            (translation.clone(), start_folder(folder.clone(), OwnResources::new(translation)))
        }
        None => {
            let config = config(args).await?;
            let pod = Pod::from_environment(&config);
            let settings = settings(args, &pod)?;
            let translation = args.translation(forbidden(&config, &pod).await);
            let client = Client::try_from(config).context("cannot speak to the API server")?;
            (translation.clone(), start_cluster(&client, settings, OwnResources::new(translation), observed))
        }
    };
    Ok(Source { controller, outputs: Some(outputs), translation })
}

impl Source {
    /// What comes out; only once.
    pub(super) fn take_outputs(&mut self) -> anyhow::Result<Outputs> {
        self.outputs.take().context("the outputs of the controller are taken")
    }

    /// Lets another replica write. Endpoints and routes are followed on.
    pub(super) async fn step_down(&mut self) {
        self.controller.release().await;
    }
}

/// How to reach the API server: what the flag says, the service account of the Pod, or the usual file.
async fn config(args: &RunArgs) -> anyhow::Result<Config> {
    let inferred = match &args.kubeconfig {
        Some(file) => {
            let file = kube::config::Kubeconfig::read_from(file)
                .with_context(|| format!("--kubeconfig {}", file.display()))?;
            Config::from_custom_kubeconfig(file, &Default::default()).await.map_err(anyhow::Error::from)
        }
        None => Config::infer().await.map_err(anyhow::Error::from),
    };
    inferred.context("no API server is configured; give --kubeconfig FILE, or --manifests DIR to serve without one")
}

/// What the chart tells a Pod about itself; a process outside of a cluster makes it up.
struct Pod {
    name: String,
    namespace: String,
    /// Of each family that the cluster has.
    addresses: Vec<IpAddr>,
}

impl Pod {
    fn from_environment(config: &Config) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            name: variable("POD_NAME").unwrap_or_else(|| format!("penstock-{}", std::process::id())),
            namespace: variable("POD_NAMESPACE").unwrap_or_else(|| config.default_namespace.clone()),
            addresses: listed(&variable("POD_IPS").unwrap_or_default()),
        }
    }
}

/// The downward API's list of addresses.
fn listed(addresses: &str) -> Vec<IpAddr> {
    addresses.split(',').filter_map(|address| address.trim().parse().ok()).collect()
}

/// Addresses that are never backends: this Pod's, and the API server's as we reach it.
async fn forbidden(config: &Config, pod: &Pod) -> Vec<IpAddr> {
    let host = config.cluster_url.host().map(|host| host.trim_matches(['[', ']'])).unwrap_or_default();
    let api = match host.parse() {
        Ok(address) => vec![address],
        // A kubeconfig may have a name. Whoever cannot resolve it does not reach the API server either.
        Err(_) => {
            tokio::net::lookup_host((host, 0)).await.map(|found| found.map(|a| a.ip()).collect()).unwrap_or_default()
        }
    };
    pod.addresses.iter().copied().chain(api).collect()
}

fn settings(args: &RunArgs, pod: &Pod) -> anyhow::Result<ClusterSettings> {
    let lease = LeaseSettings {
        namespace: pod.namespace.clone(),
        name: format!("penstock-{}", args.class),
        identity: pod.name.clone(),
        owner: std::env::var("PENSTOCK_OWNER").ok(),
    };
    let shared = || args.publish_service.as_ref().map(|name| Key::new(name.namespace.as_str(), name.name.as_str()));
    let services = match args.services() {
        GatewayService::Shared => GatewayServices::Shared(shared()),
        GatewayService::Own => GatewayServices::Own(own()?),
    };
    let tickets = std::env::var("PENSTOCK_TICKET_SECRET").ok().filter(|name| !name.is_empty());
    let (class, watch_namespaces) = (args.class.clone(), args.watch_namespaces.clone());
    let snapshot_dir = args.snapshot_dir.clone();
    Ok(ClusterSettings { class, watch_namespaces, lease, services, tickets, snapshot_dir })
}

/// What the gateways' Services have in common, from the environment that the chart makes.
fn own() -> anyhow::Result<OwnServices> {
    let selector = std::env::var("PENSTOCK_POD_SELECTOR").unwrap_or_default();
    let selector = parse_labels(&selector).filter(|labels| !labels.is_empty()).with_context(|| {
        format!(
            "--gateway-service own needs the labels of the Pods of this release in PENSTOCK_POD_SELECTOR, such as \
             app.kubernetes.io/name=penstock, but it is {selector:?}; install with the chart, or use --gateway-service shared"
        )
    })?;
    let defaults = match std::env::var("PENSTOCK_SERVICE_DEFAULTS") {
        Ok(json) if !json.is_empty() => serde_json::from_str(&json)
            .with_context(|| format!("PENSTOCK_SERVICE_DEFAULTS is no JSON of spec.service: {json}"))?,
        _ => ServiceDefaults::default(),
    };
    Ok(OwnServices { selector, owner: std::env::var("PENSTOCK_OWNER").ok(), defaults })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_address_of_this_pod_or_of_the_api_server_is_a_backend() {
        let pod = Pod { name: String::new(), namespace: String::new(), addresses: listed("10.0.0.1, fd00::1") };
        let forbidden = |url: &str| {
            let config = Config::new(url.parse().unwrap());
            let pod = &pod;
            async move { forbidden(&config, pod).await.iter().map(ToString::to_string).collect::<Vec<_>>() }
        };
        assert_eq!(forbidden("https://10.96.0.1:443").await, ["10.0.0.1", "fd00::1", "10.96.0.1"]);
        assert_eq!(forbidden("https://[fd00::2]:443").await, ["10.0.0.1", "fd00::1", "fd00::2"]);
        let named = forbidden("https://localhost:6443").await;
        assert!(named.iter().any(|address| address == "127.0.0.1" || address == "::1"), "{named:?}");
    }
}
