//! Wiring: the tasks of a controller, started together and stopped together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::api::Api;
use penstock_api::k8s::Service;
use penstock_model::Observed;
use penstock_translate::Key;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::frontend::Frontend;
use crate::leader::{Election, LeaseSettings};
use crate::outputs::{Outputs, State};
use crate::service::{GatewayServices, Keeper, Table};
use crate::source::cluster::{self, LiveStatuses, Namespaces};
use crate::source::folder;
use crate::status::{Fronts, Writer};
use crate::store::{Handles, Kept, Plan, Scope, Store};
use crate::tickets::Tickets;

/// How long the API server may take for the first lists, before what was kept of the last run is served.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long giving back the Lease may take.
const STOP: Duration = Duration::from_secs(3);

/// The tasks of a controller. They end when this is dropped.
#[derive(Debug)]
pub struct Controller {
    /// Aborted when dropped.
    _tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    election: Option<JoinHandle<()>>,
}

/// What a controller of a cluster is told.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// The class of gateways that are ours.
    pub class: String,
    /// Namespaces to watch; none: all.
    pub watch_namespaces: Vec<String>,
    /// The Lease of the leader. Its namespace is also that of the gateways' Services.
    pub lease: LeaseSettings,
    /// Whether gateways have Services of their own.
    pub services: GatewayServices,
    /// The Secret of the Lease's namespace with what session tickets are sealed with; none: each process has its own.
    pub tickets: Option<String>,
    /// Folder for what was read last, for a start without the API server; none: such a start waits for it.
    pub snapshot_dir: Option<PathBuf>,
}

impl Controller {
    /// Stops writing and gives back the Lease; watching and publishing go on until this is dropped, because a process
    /// that drains still follows its endpoints.
    pub async fn release(&mut self) {
        self.stop.send_replace(true);
        if let Some(election) = self.election.take()
            && timeout(STOP, election).await.is_err()
        {
            tracing::warn!("the Lease was not given back in {STOP:?}");
        }
    }

    fn new(tasks: JoinSet<()>, stop: watch::Sender<bool>, election: Option<JoinHandle<()>>) -> Self {
        Self { _tasks: tasks, stop, election }
    }
}

/// Serves a folder of manifests. Call it on a tokio runtime.
pub fn start_folder(folder: PathBuf, frontend: impl Frontend) -> (Controller, Outputs) {
    let lists = folder::KINDS.map(|kind| Scope { kind, namespace: None }).to_vec();
    let plan = Plan { lists, references: false, local_ports: false, kept: None };
    let (store, Handles { changes, outputs, .. }) = Store::new(plan, frontend);
    let mut tasks = JoinSet::new();
    tasks.spawn(store.run());
    tasks.spawn(async move {
        if let Err(error) = folder::watch(folder, changes).await {
            tracing::error!(%error, "the folder is not read");
        }
    });
    (Controller::new(tasks, watch::channel(false).0, None), outputs)
}

/// Serves what an API server says, and writes statuses while it leads. Call it on a tokio runtime.
///
/// `observed` is the data plane's report.
pub fn start_cluster(
    client: &kube::Client,
    settings: ClusterSettings,
    frontend: impl Frontend,
    observed: watch::Receiver<Arc<Observed>>,
) -> (Controller, Outputs) {
    let namespaces = Namespaces(settings.watch_namespaces.iter().map(|name| Arc::from(name.as_str())).collect());
    let local_ports = matches!(settings.services, GatewayServices::Own(_));
    let lists = namespaces.lists();
    let kept = settings.snapshot_dir.clone().map(|folder| Kept::new(folder, &settings.class, &namespaces.0));
    let plan = Plan { lists: lists.clone(), references: true, local_ports, kept: kept.clone() };
    let (store, handles) = Store::new(plan, frontend);
    let Handles { changes, wants, gateways, state, mut outputs } = handles;
    let mut tasks = JoinSet::new();
    tasks.spawn(store.run());
    if let Some(kept) = kept {
        tasks.spawn(restore(kept, lists, changes.clone(), outputs.state.clone()));
    }
    let live = LiveStatuses::default();
    cluster::start(&mut tasks, client, &namespaces, &changes, wants, &live);

    let (leads, leading) = watch::channel(false);
    let ClusterSettings { class, lease, services, tickets, .. } = settings;
    let front = match services {
        GatewayServices::Own(own) => {
            let table = Table::new();
            let (refusals, refused) = watch::channel(Default::default());
            let api = Api::namespaced(client.clone(), &lease.namespace);
            tasks.spawn(crate::service::watch(api, class.clone(), table.clone(), changes));
            let keeper = Keeper {
                client: client.clone(),
                class,
                namespace: lease.namespace.clone(),
                namespaces,
                own,
                table: table.clone(),
                gateways,
                leads: leading.clone(),
                refusals,
            };
            tasks.spawn(keeper.run());
            Fronts::Own { changed: table.subscribe(), table, refusals: refused }
        }
        GatewayServices::Shared(named) => {
            let (found, service) = watch::channel(named.as_ref().map(|_| None));
            if let Some(key) = named {
                tasks.spawn(watch_published(client.clone(), key, found));
            }
            Fronts::Shared(service)
        }
    };
    if let Some(name) = tickets {
        let (secrets, known) = watch::channel(None);
        outputs.tickets = known;
        let api = Api::namespaced(client.clone(), &lease.namespace);
        tasks.spawn(Tickets { api, name, leads: leading.clone(), secrets }.run());
    }
    let writer = Writer {
        client: client.clone(),
        identity: lease.identity.clone(),
        live,
        state: outputs.state.clone(),
        observed,
        leads: leading,
        front,
    };
    tasks.spawn(writer.run());
    let api = Api::namespaced(client.clone(), &lease.namespace);
    let (stop, stopped) = watch::channel(false);
    let election = tokio::spawn(Election { api, settings: lease, leads, state }.run(stopped));
    (Controller::new(tasks, stop, Some(election)), outputs)
}

/// Tells the store what was kept of the last run, when nothing else comes. What the API server says later replaces it.
async fn restore(kept: Kept, lists: Vec<Scope>, changes: cluster::Sender, mut state: watch::Receiver<Arc<State>>) {
    if timeout(PATIENCE, state.wait_for(|state| state.synced)).await.is_ok() {
        return;
    }
    match kept.read(&lists) {
        Ok(None) => {}
        Ok(Some(last)) => {
            tracing::warn!("the API server does not answer: serving what was read last, from {kept}");
            // Nobody listens any more: the process ends.
            let _ = changes.send(last);
        }
        Err(error) => tracing::warn!(%error, "{kept} is of no use, and the API server does not answer"),
    }
}

/// Keeps the addresses of the Service that stands in front of everything.
async fn watch_published(client: kube::Client, key: Key, found: watch::Sender<Option<Option<Arc<Service>>>>) {
    const LOOK: Duration = Duration::from_secs(10);
    let api: Api<Service> = Api::namespaced(client, &key.namespace);
    while !found.is_closed() {
        match api.get_opt(&key.name).await {
            Ok(service) => {
                let service = service.map(|service| Arc::new(cluster::slim(service)));
                found.send_if_modified(|old| {
                    let differs = old.as_ref() != Some(&service);
                    *old = Some(service);
                    differs
                });
            }
            Err(error) => tracing::debug!(service = %key, %error, "reading the published Service"),
        }
        sleep(LOOK).await;
    }
}
