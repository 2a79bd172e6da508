//! What process tests share: the built binary serving a folder of manifests, and short ways to write those manifests.
//!
//! Objects live in namespace `edge`; the gateway is `edge/shop`. A word such as `$http` in a manifest stands for a free
//! port, the same one wherever it occurs; `$http` is the listener that most tests use.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod manifests;
mod raw;
pub(crate) mod tls;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use penstock_testkit::{
    Backend, Connection, DEADLINE, Manifests, Metrics, Process, ProcessBuilder, Request, Response, client, free_port,
    until,
};
use serde_json::Value;

pub(crate) use manifests::{HTTP, gateway, http_gateway, rule, rule_to, service, service_at};
pub(crate) use raw::{RawBackend, read_until};

/// The built binary.
const PENSTOCK: &str = env!("CARGO_BIN_EXE_penstock");

/// A running `penstock run --manifests`; killed when the value is dropped.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    manifests: Manifests,
    ports: Mutex<BTreeMap<String, u16>>,
    admin: SocketAddr,
}

impl Gateway {
    /// Starts one that serves these objects, and waits until it is ready.
    pub(crate) async fn start(objects: &[String]) -> Self {
        Self::start_with(&[], objects).await
    }

    /// A listener on `$http` whose rule sends everything to this backend.
    pub(crate) async fn to(backend: &Backend) -> Self {
        Self::start(&[http_gateway(""), rule_to("all", "app"), service("app", &[backend])]).await
    }

    /// As [`start`](Self::start), with more arguments, in which `$name` is a port, too.
    pub(crate) async fn start_with(args: &[&str], objects: &[String]) -> Self {
        let mut gateway = Self::starting(args, objects);
        gateway.process.wait_ready(gateway.admin, DEADLINE).await;
        gateway
    }

    /// As [`start_with`](Self::start_with), without waiting.
    pub(crate) fn starting(args: &[&str], objects: &[String]) -> Self {
        Self::starting_where(&[], args, objects)
    }

    /// As [`start`](Self::start), by a command that takes a command, such as `prlimit --nofile=100`.
    pub(crate) async fn start_under(command: &[&str], objects: &[String]) -> Self {
        let process = Process::of(command[0]).args(&command[1..]).arg(PENSTOCK);
        let mut gateway = Self::launch(process, &[], objects);
        gateway.process.wait_ready(gateway.admin, DEADLINE).await;
        gateway
    }

    /// As [`starting`](Self::starting), with variables of the environment.
    pub(crate) fn starting_where(variables: &[(&str, &str)], args: &[&str], objects: &[String]) -> Self {
        let process = Process::of(PENSTOCK);
        let process = variables.iter().fold(process, |process, (name, value)| process.env(name, value));
        Self::launch(process, args, objects)
    }

    fn launch(process: ProcessBuilder, args: &[&str], objects: &[String]) -> Self {
        let (manifests, ports) = (Manifests::new(), Mutex::default());
        manifests.write("objects.yaml", &with_ports(&ports, &objects.join("\n---\n")));
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let process = process
            .args(["run", "--bind-address", "127.0.0.1"])
            // As variables, so that the arguments of a test go before them.
            .env("PENSTOCK_WORKERS", "1")
            .env("PENSTOCK_DRAIN_TIMEOUT", "10s")
            .args(["--admin-address", &admin.to_string(), "--manifests"])
            .arg(manifests.path())
            .args(args.iter().map(|arg| with_ports(&ports, arg)))
            .start();
        Self { process, manifests, ports, admin }
    }

    /// Replaces all objects that it was started with. The caller waits for what must come of it.
    pub(crate) fn replace(&self, objects: &[String]) {
        self.write("objects.yaml", &objects.join("\n---\n"));
    }

    /// Writes one more file of objects, or replaces it.
    pub(crate) fn write(&self, file: &str, yaml: &str) -> PathBuf {
        self.manifests.write(file, &with_ports(&self.ports, yaml))
    }

    /// Removes such a file.
    pub(crate) fn remove(&self, file: &str) {
        self.manifests.remove(file);
    }

    /// The port that `$name` stands for.
    pub(crate) fn port(&self, name: &str) -> u16 {
        *self.ports.lock().expect("no panic while held").entry(name.to_owned()).or_insert_with(free_port)
    }

    /// Where the listener on `$http` is.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr_of("http")
    }

    /// Where the listener on this port is.
    pub(crate) fn addr_of(&self, port: &str) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(port)))
    }

    /// Where metrics and status are.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A connection to the listener on `$http`.
    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.addr()).await.expect("a connection to the gateway")
    }

    /// One request on a connection of its own to the listener on `$http`.
    pub(crate) async fn send(&self, request: &Request) -> Response {
        client::send(self.addr(), request).await.expect("an answer of the gateway")
    }

    /// A GET on a connection of its own.
    pub(crate) async fn get(&self, host: &str, path: &str) -> Response {
        self.send(&Request::get(host, path)).await
    }

    /// Which backend answers a GET, or the status without one, such as `404`.
    pub(crate) async fn who(&self, host: &str, path: &str) -> String {
        let answer = self.get(host, path).await;
        answer.header("x-backend").map_or_else(|| answer.status.to_string(), str::to_owned)
    }

    /// Sends bytes on a connection of their own and reads one answer.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> Response {
        let mut connection = self.connect().await;
        connection.send_raw(bytes.as_ref()).await.expect("the gateway reads");
        connection.response("GET").await.expect("an answer of the gateway")
    }

    /// Waits until a GET is answered with this status.
    pub(crate) async fn wait_status(&self, host: &str, path: &str, status: u16) {
        let what = format!("{status} of {host}{path}");
        until(
            &what,
            DEADLINE,
            || async { client::get(self.addr(), host, path).await.map(|a| a.status).ok() },
            |seen| *seen == Some(status),
        )
        .await;
    }

    /// Its metrics now.
    pub(crate) async fn metrics(&self) -> Metrics {
        Metrics::fetch(self.admin).await.expect("metrics")
    }

    /// Waits until the sum over the samples of this name and these labels is `value`.
    pub(crate) async fn wait_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let what = format!("{name}{labels:?} = {value}");
        let sum = || async { self.metrics().await.sum(name, labels) };
        until(&what, DEADLINE, sum, |seen| (seen - value).abs() < 1e-9).await;
    }

    /// `/status` now.
    pub(crate) async fn status(&self) -> Value {
        client::get(self.admin, "admin", "/status").await.expect("an answer of the admin server").json()
    }

    /// Waits until `/status` is as `accept` wants it, and returns it.
    pub(crate) async fn wait_for_status(&self, what: &str, accept: impl FnMut(&Value) -> bool) -> Value {
        until(what, DEADLINE, || self.status(), accept).await
    }

    /// Waits until a problem with this reason, whose message has this part, is in `/status`.
    pub(crate) async fn wait_for_problem(&self, reason: &str, part: &str) {
        let told = |status: &Value| {
            let problems = status["problems"].as_array().cloned().unwrap_or_default();
            let fits = |problem: &Value| problem["message"].as_str().is_some_and(|message| message.contains(part));
            problems.iter().any(|problem| problem["reason"] == reason && fits(problem))
        };
        self.wait_for_status(&format!("the problem {reason} of {part}"), told).await;
    }

    /// Waits for an answer of the gateway that is as `accept` wants it, and returns it.
    pub(crate) async fn wait_answer(
        &self,
        what: &str,
        request: &Request,
        mut accept: impl FnMut(&Response) -> bool,
    ) -> Response {
        let look = || async { client::send(self.addr(), request).await.ok() };
        until(what, DEADLINE, look, |seen| seen.as_ref().is_some_and(&mut accept)).await.expect("just seen")
    }
}

/// How long a test that wants to see that nothing happens looks on.
pub(crate) const WHILE: Duration = Duration::from_millis(300);

/// Puts ports in the place of `$name`.
fn with_ports(ports: &Mutex<BTreeMap<String, u16>>, yaml: &str) -> String {
    let mut ports = ports.lock().expect("no panic while held");
    let mut parts = yaml.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit()).unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        if name.is_empty() {
            // The end of a pattern, not a port.
            text.push('$');
        } else {
            text.push_str(&ports.entry(name.to_owned()).or_insert_with(free_port).to_string());
        }
        text.push_str(rest);
    }
    text
}
