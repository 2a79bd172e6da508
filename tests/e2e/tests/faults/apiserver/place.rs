//! A namespace of a real API server, and a gateway that reads it. All rows share the server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Once;

use penstock_e2e::cluster::{Objects, RULES};
use penstock_testkit::{ApiServer, free_port};
use serde_json::Value;

use crate::backend::{Backend, addresses};
use crate::objects::{gateway, rule};
use crate::site::{HOST, Site, here, program};

/// The name of a gateway as a Pod.
pub(super) const POD: &str = "penstock-0";

pub(super) struct Place {
    server: &'static ApiServer,
    pub(super) objects: Objects,
    /// Also the class of its gateway.
    pub(super) namespace: &'static str,
}

impl Place {
    pub(super) async fn new(namespace: &'static str) -> Self {
        static DEFINED: Once = Once::new();
        let server = blocking(|| {
            let server = ApiServer::shared();
            // A row that failed may have left it stopped.
            if server.kubectl(&["get", "--raw", "/readyz"], "").is_err() {
                server.start().unwrap();
            }
            DEFINED.call_once(|| {
                server.apply(&penstock_api::crds_yaml()).unwrap();
                server.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"], "").unwrap();
            });
            server
        });
        let server = server.await;
        let place = Self { server, objects: Objects::by(&server.kubeconfig()).await, namespace };
        blocking(move || server.kubectl(&["create", "namespace", namespace], "").unwrap()).await;
        place
    }

    /// A gateway in it, before these backends; `kubeconfig` where it is not the server's own.
    pub(super) async fn site(self, backends: &[Backend], kubeconfig: Option<&Path>) -> Site<Self> {
        let (port, admin) = (free_port(), here(free_port()));
        self.apply(&format!("{}---\n{}", gateway(self.namespace, port, &addresses(backends)), rule("all", HOST))).await;
        let process = program(&[], admin)
            .arg("--kubeconfig")
            .arg(kubeconfig.map_or_else(|| self.server.kubeconfig(), Path::to_owned))
            .args(["--class", self.namespace, "--watch-namespace", self.namespace, "--gateway-service", "shared"])
            .args(["--access-log", "off", "--log-format", "text"])
            .env("POD_NAME", POD)
            .env("POD_NAMESPACE", self.namespace)
            .start();
        Site::ready(process, self, (here(port), admin), backends.len()).await
    }

    /// Applies manifests.
    pub(super) async fn apply(&self, yaml: &str) {
        let (server, namespace, yaml) = (self.server, self.namespace, yaml.to_owned());
        blocking(move || server.kubectl(&["apply", "--server-side", "-n", namespace, "-f", "-"], &yaml).unwrap()).await;
    }

    /// A rule as the API server has it.
    pub(super) async fn rule(&self, name: &str) -> Value {
        self.objects.get(RULES, self.namespace, name).await.unwrap_or_else(|| panic!("no rule {name}"))
    }

    pub(super) fn server(&self) -> &'static ApiServer {
        self.server
    }

    /// Nobody reaches the API server until it is started again.
    pub(super) async fn stop_server(&self) {
        let server = self.server;
        blocking(move || server.stop().unwrap()).await;
    }

    pub(super) async fn start_server(&self) {
        let server = self.server;
        blocking(move || server.start().unwrap()).await;
    }
}

/// Three backends on an address of this machine that others reach, too: no object of a cluster leads to a loopback address.
pub(super) async fn three() -> Vec<Backend> {
    // Nothing is sent: the kernel says from where it would.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.connect(("192.0.2.1", 9)).expect("a network besides loopback");
    let address: IpAddr = socket.local_addr().unwrap().ip();
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        all.push(Backend::start(name, SocketAddr::new(address, free_port()), None).await);
    }
    all
}

/// The server is a script to us, and waited for.
async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}
