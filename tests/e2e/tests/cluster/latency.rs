//! From a write to the API server to changed traffic, in every Pod of Penstock.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use penstock_e2e::cluster::{Cluster, PATIENCE, PROMPT, RULES, number, ready};
use penstock_e2e::load::percentile;
use penstock_testkit::{Connection, Request, client, eventually};
use serde_json::{Value, json};
use tokio::time::Instant;

const HOST: &str = "change.example.com";

/// E2E_CHANGES and E2E_RULES say how many changes are measured and how many rules the second row has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_in_the_traffic_at_once_with_few_rules_and_with_many() {
    let cluster = Cluster::connect().await;
    let addr = cluster.gateway("measured").await;
    let (changes, many) = (number("E2E_CHANGES", 200), number("E2E_RULES", 2000));
    let rule = rule("change", HOST, "/change/none");
    cluster.objects.create(RULES, &cluster.namespace, &rule).await.unwrap();
    let mut connections = one_for_each_pod(&cluster, addr).await;

    let mut rows = Vec::new();
    // The rule of the gateway and the one that changes are among them.
    let mut have = 2;
    for rules in [10, many] {
        fill(&cluster, have..rules).await;
        have = rules;
        let last = format!("filler-{}.example.com", rules - 1);
        eventually(&format!("an answer for {last}"), PATIENCE, || async {
            let answer = client::get(addr, &last, "/").await.map_err(|error| format!("{error:#}"))?;
            if answer.status == 200 { Ok(()) } else { Err(answer.status.to_string()) }
        })
        .await;
        rows.push((rules, measure(&cluster, &mut connections, changes).await));
    }
    println!("\nAPI write to changed traffic, {changes} changes, {} Pods", connections.len());
    println!("{:>8}{:>24}{:>24}{:>24}", "rules", "first Pod p50 / p99", "all Pods p50 / p99", "API's answer p50 / p99");
    for (rules, times) in &rows {
        let column = |of: fn(&Times) -> Duration| {
            let all: Vec<_> = times.iter().map(of).collect();
            let ms = |share| percentile(&all, share).as_secs_f64() * 1000.0;
            format!("{:.1} / {:.1} ms", ms(0.5), ms(0.99))
        };
        println!("{rules:>8}{:>24}{:>24}{:>24}", column(|t| t.first), column(|t| t.all), column(|t| t.accepted));
    }
    println!();
    cluster.objects.delete_all(RULES, &cluster.namespace, "e2e=filler").await.unwrap();
    cluster.objects.delete(RULES, &cluster.namespace, "change").await.unwrap();
    for (rules, times) in &rows {
        let all: Vec<_> = times.iter().map(|time| time.all).collect();
        let p99 = percentile(&all, 0.99);
        assert!(p99 < Duration::from_secs(1), "with {rules} rules the p99 is {p99:?}");
    }
}

/// Of one change, from when the request to the API server was sent.
#[derive(Debug)]
struct Times {
    accepted: Duration,
    first: Duration,
    all: Duration,
}

/// Moves the rule to another path again and again, and asks for that path in a tight loop.
async fn measure(cluster: &Cluster, connections: &mut BTreeMap<String, Connection>, changes: u64) -> Vec<Times> {
    let mut all = Vec::new();
    let run = fastrand();
    for change in 0..changes {
        let path = format!("/change/{run}-{change}");
        let (request, patch) = (Request::get(HOST, &path), rule("change", HOST, &path));
        let patch = json!({"spec": {"paths": patch["spec"]["paths"]}});
        let start = Instant::now();
        let write = async {
            cluster.objects.patch(RULES, &cluster.namespace, "change", &patch).await.unwrap();
            start.elapsed()
        };
        let follow = async {
            let mut seen = Vec::new();
            let mut waiting: Vec<_> = connections.iter_mut().collect();
            while !waiting.is_empty() {
                let mut still = Vec::new();
                for (pod, connection) in waiting {
                    let answer = connection.exchange(&request).await.unwrap_or_else(|e| panic!("through {pod}: {e:#}"));
                    match answer.status {
                        200 => seen.push(start.elapsed()),
                        404 => still.push((pod, connection)),
                        other => panic!("{other} through {pod}: {}", answer.text()),
                    }
                }
                waiting = still;
                assert!(start.elapsed() < PROMPT, "change {change} is not in the traffic of every Pod");
            }
            seen
        };
        let (accepted, seen) = tokio::join!(write, follow);
        all.push(Times { accepted, first: seen[0], all: seen[seen.len() - 1] });
    }
    all
}

/// A warm connection through each Pod of Penstock; the backend says which one asked it.
async fn one_for_each_pod(cluster: &Cluster, addr: std::net::SocketAddr) -> BTreeMap<String, Connection> {
    let pods = cluster.own_pods().await.iter().filter(|pod| ready(pod)).count();
    let mut found = BTreeMap::new();
    let end = Instant::now() + PATIENCE;
    while found.len() < pods {
        assert!(Instant::now() < end, "connections only through {:?} of {pods} Pods", found.keys());
        let mut connection = Connection::open(addr).await.unwrap();
        let answer = connection.exchange(&Request::get("measured.example.com", "/")).await.unwrap();
        let peer = answer.header("x-peer").expect("the backend says who asked").to_owned();
        found.insert(peer, connection);
    }
    found
}

/// Creates rules with these numbers, some at a time.
async fn fill(cluster: &Cluster, numbers: std::ops::Range<u64>) {
    let create = |number: u64| async move {
        let name = format!("filler-{number}");
        let rule = rule(&name, &format!("{name}.example.com"), "/*");
        cluster.objects.create(RULES, &cluster.namespace, &rule).await.unwrap();
    };
    stream::iter(numbers).for_each_concurrent(8, create).await;
}

fn rule(name: &str, host: &str, path: &str) -> Value {
    let backend = json!({"services": [{"name": "echo", "port": 80}]});
    json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "RoutingRule",
        "metadata": {"name": name, "labels": {"e2e": if name == "change" { "change" } else { "filler" }}},
        "spec": {
            "gatewayRef": {"name": "measured"}, "hostNames": [host], "paths": [{"paths": [path], "backend": backend}],
        },
    })
}

/// Another one in each round, so that no path is used twice.
fn fastrand() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_millis())
}
