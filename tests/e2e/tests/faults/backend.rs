//! Backends, each a process on an address of its own.

use std::net::SocketAddr;

use penstock_testkit::{DEADLINE, Process, client, eventually, free_port};

use crate::site::HOST;

/// A backend that runs, or did.
pub(crate) struct Backend {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    name: String,
    /// The network namespace that it runs in.
    namespace: Option<String>,
}

impl Backend {
    pub(crate) async fn start(name: &str, addr: SocketAddr, namespace: Option<&str>) -> Self {
        let process = Self::process(name, addr, namespace);
        eventually(&format!("backend {name}"), DEADLINE, || client::get(addr, HOST, "/healthz")).await;
        Self { process, addr, name: name.to_owned(), namespace: namespace.map(str::to_owned) }
    }

    fn process(name: &str, addr: SocketAddr, namespace: Option<&str>) -> Process {
        let program = env!("CARGO_BIN_EXE_e2e-backend");
        let process = match namespace {
            Some(namespace) => Process::of("ip").args(["netns", "exec", namespace, program]),
            None => Process::of(program),
        };
        process.env("POD_NAME", name).env("PORT", &addr.port().to_string()).start()
    }

    /// Starts it again where it was.
    pub(crate) async fn again(&mut self) {
        *self = Self::start(&self.name, self.addr, self.namespace.as_deref()).await;
    }
}

/// Three of them on this machine.
pub(crate) async fn three() -> Vec<Backend> {
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        all.push(Backend::start(name, SocketAddr::from(([127, 0, 0, 1], free_port())), None).await);
    }
    all
}

/// Where they are.
pub(crate) fn addresses(backends: &[Backend]) -> Vec<SocketAddr> {
    backends.iter().map(|backend| backend.addr).collect()
}

/// Answers all requests for `/held` that they have.
pub(crate) async fn release(backends: &[Backend]) {
    for backend in backends {
        let answer = client::get(backend.addr, HOST, "/release").await.expect("the backend answers");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
