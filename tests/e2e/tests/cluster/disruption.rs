//! While everything that may happen in a cluster happens: no request fails, and no WebSocket is closed before the window
//! at the end of its Pod's drain.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use penstock_e2e::cluster::{Cluster, DEPLOYMENTS, LEASES, PATIENCE, PODS, PROMPT, RULES, number, ready};
use penstock_e2e::load::{Load, Plan};
use penstock_testkit::{eventually, until};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// E2E_SECONDS says for how long; E2E_REQUESTS and E2E_WEBSOCKETS how much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_rules_pods_and_the_leader_change() {
    let cluster = Cluster::connect().await;
    let addr = cluster.gateway("busy").await;
    let watch = cluster.watch_departures().await;
    let plan = Plan {
        addr,
        host: "busy.example.com".to_owned(),
        requests_per_second: u32::try_from(number("E2E_REQUESTS", 500)).unwrap(),
        websockets: u32::try_from(number("E2E_WEBSOCKETS", 200)).unwrap(),
        message_every: Duration::from_millis(500),
    };
    let duration = Duration::from_secs(number("E2E_SECONDS", 60));
    // What a run that failed has left.
    cluster.objects.delete_all(RULES, &cluster.namespace, "e2e=noise").await.unwrap();
    let load = Load::start(&plan, watch.departures()).await;
    let end = Instant::now() + duration;

    let rules = async {
        let mut ticks = interval(Duration::from_millis(100));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut changes = 0_u64;
        while Instant::now() < end {
            ticks.tick().await;
            create_rule(&cluster, changes).await;
            if let Some(before) = changes.checked_sub(1) {
                delete_rule(&cluster, before).await;
            }
            changes += 1;
        }
        delete_rule(&cluster, changes - 1).await;
        changes
    };
    let pods = async {
        roll_out(&cluster).await;
        let leader = delete_leader(&cluster).await;
        roll_out(&cluster).await;
        leader
    };
    let (changes, (left, led), ()) = tokio::join!(rules, pods, sleep_until(end));
    // The load goes on until every Pod that is leaving has gone.
    for (namespace, wanted) in [(&cluster.namespace, 3), (&cluster.system, cluster.own_pods_wanted().await)] {
        let gone = |pods: &Vec<Value>| pods.len() == wanted && pods.iter().all(ready);
        until("leaving Pods to be gone", PATIENCE, || cluster.objects.list(PODS, namespace, ""), gone).await;
    }
    let report = load.stop().await;
    println!("\n{report}");
    println!("{:<42}{changes:>10}", "unrelated rules created and deleted");
    println!("{:<42}{:>10}", "rollouts of the backend", 2);
    println!("{:<42}{:>10}   ({left}, then {led})\n", "leaders deleted", 1);
    report.assert_clean();
    let served = u64::from(plan.requests_per_second) * duration.as_secs() * 95 / 100;
    assert!(report.answered >= served, "the load was not made: fewer than {served} requests\n{report}");
    assert!(report.closed_in_window > 0, "no WebSocket was on a Pod that left: nothing is proved\n{report}");
}

async fn create_rule(cluster: &Cluster, number: u64) {
    let rule = json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "RoutingRule", "metadata": {"name": format!("noise-{number}"), "labels": {"e2e": "noise"}},
        "spec": {
            "gatewayRef": {"name": "busy"}, "hostNames": [format!("noise-{number}.example.com")],
            "backend": {"services": [{"name": "echo", "port": 80}]},
        },
    });
    cluster.objects.create(RULES, &cluster.namespace, &rule).await.unwrap();
}

async fn delete_rule(cluster: &Cluster, number: u64) {
    cluster.objects.delete(RULES, &cluster.namespace, &format!("noise-{number}")).await.unwrap();
}

/// What `kubectl rollout restart` does, and waits for its end.
async fn roll_out(cluster: &Cluster) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().to_string();
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"e2e/restarted": now}}}}});
    cluster.objects.patch(DEPLOYMENTS, &cluster.namespace, "echo", &patch).await.unwrap();
    cluster.rolled_out(&cluster.namespace, "echo").await;
}

/// Deletes the Pod that holds the Lease, and waits until another holds it.
async fn delete_leader(cluster: &Cluster) -> (String, String) {
    let holder = || async {
        let leases = cluster.objects.list(LEASES, &cluster.system, "").await;
        let pods = cluster.own_pods().await;
        let holders: Vec<_> = leases.iter().filter_map(|lease| lease["spec"]["holderIdentity"].as_str()).collect();
        let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        // An identity begins with the Pod's name.
        pods.iter().map(name).find(|pod| holders.iter().any(|holder| holder.starts_with(pod.as_str()))).ok_or(leases)
    };
    let leader = eventually("a leader", PROMPT, holder).await;
    cluster.objects.delete(PODS, &cluster.system, &leader).await.unwrap();
    let next = eventually("another leader", PROMPT, || async {
        let now = holder().await.map_err(|leases| format!("{leases:?}"))?;
        if now == leader { Err(now) } else { Ok(now) }
    })
    .await;
    (leader, next)
}
