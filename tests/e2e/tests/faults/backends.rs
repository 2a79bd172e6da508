//! Backends that die and that stand still.

use penstock_e2e::load::Departures;
use penstock_testkit::{DEADLINE, Signal, until};

use crate::backend::{addresses, three};
use crate::site::{Site, goes_well};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_killed_costs_only_its_websockets() {
    let mut backends = three().await;
    let site = Site::before(&addresses(&backends), &[]).await;
    let before = site.warm().await;
    let load = site.load(&Departures::default()).await;
    backends[0].process.signal(Signal::Kill);
    backends[0].process.wait_exit(DEADLINE).await;
    // Every WebSocket is open again, on the others.
    until("7 WebSockets elsewhere", DEADLINE, || async { load.report() }, |report| report.opened >= 28).await;
    site.one_down().await;
    backends[0].again().await;
    site.healthy(3).await;
    let report = load.stop().await;
    // A third of the WebSockets were on it: their end is the backend's. Requests went to another one.
    assert_eq!((report.errors, report.cut, report.opened), (0, 7, 28), "{report}");
    site.finish("a backend is killed, and starts again", &report, before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_stands_still_costs_what_it_had_taken() {
    let backends = three().await;
    let site = Site::before(&addresses(&backends), &[]).await;
    let before = site.warm().await;
    let load = site.load(&Departures::default()).await;
    backends[0].process.signal(Signal::Stop);
    site.one_down().await;
    // What it had taken ends with requestTimeout.
    site.nothing_waits().await;
    goes_well(&load).await;
    backends[0].process.signal(Signal::Continue);
    site.healthy(3).await;
    let report = load.stop().await;
    assert!(report.errors > 0 && report.errors == report.kinds["504"], "only what it had taken: {report}");
    assert_eq!(report.cut, 0, "WebSockets wait for it: {report}");
    site.finish("a backend stands still until after its probes see it", &report, before).await;
}
