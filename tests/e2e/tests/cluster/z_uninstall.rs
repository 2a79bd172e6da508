//! `helm uninstall` leaves nothing. Last of all tests.

use penstock_e2e::cluster::{Cluster, PATIENCE, helm, kubectl};
use penstock_testkit::until;

#[tokio::test]
async fn uninstalling_leaves_nothing() {
    let cluster = Cluster::connect().await;
    // Something to leave behind: a Service in front of a gateway.
    cluster.gateway("last").await;
    let kinds = kubectl(&["api-resources", "--namespaced", "--verbs=list", "-o", "name"]).await;
    let kinds: Vec<_> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let kinds = kinds.join(",");
    let left = || async {
        let all = kubectl(&["get", &kinds, "-n", &cluster.system, "-o", "name", "--ignore-not-found"]).await;
        // What every namespace has.
        let own = |line: &&str| !["configmap/kube-root-ca.crt", "serviceaccount/default"].contains(line);
        let mut left: Vec<_> = all.lines().filter(own).map(str::to_owned).collect();
        let label = format!("app.kubernetes.io/instance={}", cluster.release);
        let args = ["get", "clusterroles,clusterrolebindings", "-l", &label, "-o", "name"];
        left.extend(kubectl(&args).await.lines().map(str::to_owned));
        left
    };
    assert!(
        left().await.iter().any(|object| object.starts_with("service/last-")),
        "no Service of the gateway: {:?}",
        left().await
    );
    helm(&["uninstall", &cluster.release, "--namespace", &cluster.system, "--wait"]).await;
    until("everything to be gone", PATIENCE, left, Vec::is_empty).await;
}
