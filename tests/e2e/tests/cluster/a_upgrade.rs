//! `helm upgrade` from the charts before these, which run.sh has installed: nothing is cut before the old Pods' drain has
//! come to its window. First of all tests.

use std::time::Duration;

use penstock_e2e::cluster::{Cluster, PATIENCE, PODS, helm, ready, restarts};
use penstock_e2e::load::{Load, Plan};
use penstock_testkit::until;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_from_the_charts_before_cuts_nothing() {
    let cluster = Cluster::connect().await;
    let addr = cluster.gateway("upgraded").await;
    let watch = cluster.watch_departures().await;
    let before = restarts(&cluster.own_pods().await);
    let plan = Plan {
        addr,
        host: "upgraded.example.com".to_owned(),
        requests_per_second: 200,
        websockets: 60,
        message_every: Duration::from_millis(500),
    };
    let load = Load::start(&plan, watch.departures()).await;

    let (before_crds, before_chart) =
        (cluster.chart("penstock-crds", "default").await, cluster.chart(&cluster.release, &cluster.system).await);
    // As docs/operations.md says it: the definitions first, values as they were given, new defaults.
    let crds = ["upgrade", "penstock-crds", "charts/penstock-crds", "--namespace", "default"];
    let chart = ["upgrade", &cluster.release, "charts/penstock", "--namespace", &cluster.system];
    let flags = ["--reset-then-reuse-values", "--wait", "--timeout", "3m"];
    helm(&[crds.as_slice(), &flags].concat()).await;
    helm(&[chart.as_slice(), &flags].concat()).await;
    assert_ne!(before_crds, cluster.chart("penstock-crds", "default").await);
    assert_ne!(before_chart, cluster.chart(&cluster.release, &cluster.system).await);
    let wanted = cluster.own_pods_wanted().await;
    let gone = |pods: &Vec<Value>| pods.len() == wanted && pods.iter().all(ready);
    let after =
        until("the old Pods to be gone", PATIENCE, || cluster.objects.list(PODS, &cluster.system, ""), gone).await;

    let report = load.stop().await;
    println!("\n{report}\n");
    report.assert_clean();
    let after = restarts(&after);
    assert!(before.iter().all(|(old, _)| after.iter().all(|(new, _)| new != old)), "{before:?} became {after:?}");
    assert!(after.iter().all(|(_, restarts)| *restarts == 0), "restarted: {after:?}");
    // Every WebSocket was on a Pod that left.
    assert!(report.closed_in_window >= 60, "{report}");
}
