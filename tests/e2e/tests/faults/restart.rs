//! A process that takes over from another one.

use std::time::Duration;

use penstock_e2e::load::Departures;
use penstock_testkit::{DEADLINE, Signal, free_port, until};

use crate::backend::{addresses, three};
use crate::site::{Site, here, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_costs_nothing() {
    let backends = three().await;
    let drain = ["--drain-timeout", "4s", "--drain-spread", "2s"];
    let mut site = Site::before(&addresses(&backends), &drain).await;
    let before = site.warm().await;
    let departures = Departures::default();
    let load = site.load(&departures).await;
    // On the same ports; the kernel gives new connections to either.
    let admin = here(free_port());
    let mut next = start(&site.objects, admin, &drain);
    next.wait_ready(admin, DEADLINE).await;
    // Backends see both as one address.
    departures.leaving("127.0.0.1", Duration::from_secs(2));
    site.process.signal(Signal::Term);
    let status = site.process.wait_exit(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "drained");
    until("every WebSocket on the next", DEADLINE, || async { load.report() }, |r| r.opened == 21 + r.closed_in_window)
        .await;
    let report = load.stop().await;
    report.assert_clean();
    assert!(report.closed_in_window > 0, "{report}");
    (site.process, site.admin) = (next, admin);
    site.finish("the process is replaced by another one", &report, before).await;
}
