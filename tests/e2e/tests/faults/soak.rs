//! Twenty minutes of load while rules change and backends come and go: nothing piles up.

use std::time::Duration;

use penstock_e2e::cluster::number;
use penstock_e2e::load::Departures;
use penstock_testkit::{DEADLINE, Signal};
use tokio::time::Instant;

use crate::backend::{addresses, three};
use crate::objects::rule;
use crate::site::{Site, more};

/// FAULTS_SOAK says for how many seconds; `make soak` sets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_piles_up() {
    let lasts = Duration::from_secs(number("FAULTS_SOAK", 0));
    if lasts.is_zero() {
        println!("not asked: FAULTS_SOAK=1200, or make soak");
        return;
    }
    let mut backends = three().await;
    let site = Site::before(&addresses(&backends), &[]).await;
    let before = site.warm().await;
    let load = site.load(&Departures::default()).await;
    let (started, mut turn, mut kills) = (Instant::now(), 0, 0);
    while started.elapsed() < lasts {
        let at = turn % backends.len();
        for change in 0..100 {
            let host = format!("r{change}-{turn}.example.com");
            site.objects.write(&format!("rule-{change}.yaml"), &rule(&format!("r{change}"), &host));
        }
        more(&load, 500).await;
        if turn % 2 == 0 {
            kills += 1;
            backends[at].process.signal(Signal::Kill);
            backends[at].process.wait_exit(DEADLINE).await;
            site.one_down().await;
            backends[at].again().await;
        } else {
            backends[at].process.signal(Signal::Stop);
            site.one_down().await;
            site.nothing_waits().await;
            backends[at].process.signal(Signal::Continue);
        }
        site.healthy(3).await;
        turn += 1;
    }
    let report = load.stop().await;
    let late = report.kinds.get("504").copied().unwrap_or(0);
    assert_eq!(report.errors, late, "only of backends that stood still: {report}");
    assert!(report.cut <= kills * 21, "only of backends that were killed: {report}");
    let fault = format!("{} s: {turn} times 100 rules change, and a backend dies or stands still", lasts.as_secs());
    site.finish(&fault, &report, before).await;
}
