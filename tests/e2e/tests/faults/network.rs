//! A network that delays and loses packets, and one that leads nowhere.

use penstock_e2e::load::Departures;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::backend::{Backend, addresses};
use crate::site::{Site, goes_well, more};

/// The program between both sides; its namespace goes with it.
struct Wire {
    program: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Wire {
    /// None without the rights to make a network.
    fn start() -> Option<Self> {
        if std::env::var("FAULTS_NETWORK").as_deref() != Ok("yes") {
            println!("not asked: networks of one's own need root and /dev/net/tun");
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/wire.py");
        let mut program = Command::new("python3")
            .arg(script)
            .arg(NAMESPACE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let (commands, answers) = (program.stdin.take(), BufReader::new(program.stdout.take().expect("piped")));
        let mut wire = Self { program, commands, answers };
        wire.wait_for("ready");
        Some(wire)
    }

    /// From now on it is like this.
    fn is(&mut self, how: &str) {
        writeln!(self.commands.as_mut().expect("open"), "{how}").expect("the wire reads");
        self.wait_for(how);
    }

    fn wait_for(&mut self, line: &str) {
        let mut read = String::new();
        self.answers.read_line(&mut read).expect("the wire answers");
        assert_eq!(read.trim_end(), line, "the wire ended");
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // At the end of its input it takes down what it made.
        drop(self.commands.take());
        let _ = self.program.wait();
    }
}

const NAMESPACE: &str = "penstock-faults";

async fn three() -> Vec<Backend> {
    let mut all = Vec::new();
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        let port = 8081 + u16::try_from(at).expect("small");
        let addr = SocketAddr::from(([10, 231, 0, 2 + u8::try_from(at).expect("small")], port));
        all.push(Backend::start(name, addr, Some(NAMESPACE)).await);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_network_costs_time_and_nothing_else() {
    let Some(mut wire) = Wire::start() else { return };
    let backends = three().await;
    let site = Site::before(&addresses(&backends), &[]).await;
    let before = site.warm().await;
    let load = site.load(&Departures::default()).await;
    wire.is("delay 30 10 0.02");
    more(&load, 1500).await;
    wire.is("clear");
    let report = load.stop().await;
    report.assert_clean();
    site.finish("30 ms more each way, give or take 10, and 2 % of packets lost", &report, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_out_of_reach_costs_what_it_had_taken() {
    let Some(mut wire) = Wire::start() else { return };
    let backends = three().await;
    let site = Site::before(&addresses(&backends), &[]).await;
    let before = site.warm().await;
    let load = site.load(&Departures::default()).await;
    wire.is("cut 10.231.0.2");
    site.one_down().await;
    site.nothing_waits().await;
    goes_well(&load).await;
    wire.is("clear");
    site.healthy(3).await;
    let report = load.stop().await;
    let late = report.kinds.get("504").copied().unwrap_or(0);
    assert_eq!((report.errors, report.cut), (late, 0), "only what it had taken, and no WebSocket: {report}");
    site.finish("a backend is out of reach until after its probes see it", &report, before).await;
}
