//! Without an API server the traffic goes on, also that of a container that starts meanwhile; when it is back, changes arrive.

use std::net::SocketAddr;
use std::time::Duration;

use penstock_e2e::cluster::{Cluster, GATEWAYS, PATIENCE, PROMPT, RULES, SERVICES, number, restarts, script};
use penstock_e2e::load::{Departures, Load, Plan};
use penstock_testkit::{client, eventually, until};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;

const SCRIPT: &str = "tests/cluster/cluster";

/// E2E_OUTAGE says for how many seconds. Only with the local cluster, whose API server can be stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_survives_the_api_server() {
    if !can_be_stopped() {
        return;
    }
    let cluster = Cluster::connect().await;
    let addr = cluster.gateway("lonely").await;
    let before = restarts(&cluster.own_pods().await);
    let message_every = Duration::from_millis(500);
    let plan =
        Plan { addr, host: "lonely.example.com".to_owned(), requests_per_second: 100, websockets: 40, message_every };
    // Nobody leaves, so no WebSocket may be closed at all.
    let load = Load::start(&plan, &Departures::default()).await;

    script(SCRIPT, &["stop", "apiserver"]).await;
    let outage = Duration::from_secs(number("E2E_OUTAGE", 60));
    // How long it is away is what is tested; the load looks at every answer meanwhile.
    tokio::time::sleep(outage).await;
    assert!(
        cluster.objects.try_get(RULES, &cluster.namespace, "lonely").await.is_err(),
        "the API server was not stopped"
    );
    let during = load.report();
    during.assert_clean();
    come_back(&cluster).await;
    let back = Instant::now();

    let patch = json!({"spec": {"hostNames": ["lonely.example.com", "back.example.com"]}});
    eventually("a change to be accepted", PATIENCE, || {
        cluster.objects.patch(RULES, &cluster.namespace, "lonely", &patch)
    })
    .await;
    eventually("the change in the traffic", PATIENCE, || async {
        let answer = client::get(addr, "back.example.com", "/").await.map_err(|error| format!("{error:#}"))?;
        if answer.status == 200 { Ok(()) } else { Err(answer.status.to_string()) }
    })
    .await;
    let arrived = back.elapsed();
    let report = load.stop().await;
    println!("\n{report}");
    println!("{:<42}{:>10.1} s", "API server away", outage.as_secs_f64());
    println!("{:<42}{:>10.1} s\n", "from its return to a change in the traffic", arrived.as_secs_f64());
    report.assert_clean();
    assert!(during.answered >= 90 * outage.as_secs(), "the load was not made:\n{during}");
    assert_eq!(restarts(&cluster.own_pods().await), before, "Pods were restarted");
    recovered(&cluster).await;
}

/// Whether the cluster is one whose API server a test may stop; says so when it is not.
fn can_be_stopped() -> bool {
    let local = std::env::var("CLUSTER").as_deref() == Ok("local");
    if !local {
        println!("not asked: the API server of this cluster cannot be stopped; CLUSTER=local has one that can");
    }
    local
}

/// Every container of Penstock is killed meanwhile, and the kubelet starts it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_without_the_api_server_serves_what_was_read_last() {
    if !can_be_stopped() {
        return;
    }
    let cluster = Cluster::connect().await;
    let (addr, wanted) = (cluster.gateway("forgotten").await, cluster.own_pods_wanted().await);
    let patch = json!({"spec": {"hostNames": ["forgotten.example.com", "kept.example.com"]}});
    cluster.objects.patch(RULES, &cluster.namespace, "forgotten", &patch).await.expect("the API server is there");
    let answers = |host: &'static str| async move {
        let answer = client::get(addr, host, "/").await.map_err(|error| format!("{error:#}"))?;
        if answer.status == 200 { Ok(()) } else { Err(answer.status.to_string()) }
    };
    eventually("the change in the traffic", PROMPT, || answers("kept.example.com")).await;
    let keep_it = |pids: &Vec<u32>| pids.len() == wanted && pids.iter().all(|pid| keeps(*pid, "kept.example.com"));
    let pids = until("every Pod to keep it", PROMPT, || async { processes() }, keep_it).await;

    script(SCRIPT, &["stop", "apiserver"]).await;
    for pid in pids {
        let killed = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()), "killing {pid}");
    }
    let since = Instant::now();
    eventually("traffic after the restart", PATIENCE, || answers("kept.example.com")).await;
    println!("{:<42}{:>10.1} s", "from a kill to answers, no API server", since.elapsed().as_secs_f64());
    assert!(cluster.objects.try_get(RULES, &cluster.namespace, "forgotten").await.is_err(), "it was not stopped");
    come_back(&cluster).await;
    recovered(&cluster).await;
}

/// The processes that run in containers of ours.
fn processes() -> Vec<u32> {
    let ours = |pid: &u32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.starts_with(b"/penstock\0run\0")
    };
    let all = std::fs::read_dir("/proc").expect("processes").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours).collect()
}

/// Whether what a process keeps for its next start has this in it.
fn keeps(pid: u32, text: &str) -> bool {
    let file = format!("/proc/{pid}/root/var/run/penstock/last-good.jsonl");
    std::fs::read_to_string(file).is_ok_and(|kept| kept.contains(text))
}

/// Starts the API server again, until Pods reach it.
async fn come_back(cluster: &Cluster) {
    script(SCRIPT, &["start", "apiserver"]).await;
    // kube-proxy may take a minute to look again, and until then no Pod reaches the API server by its Service.
    script(SCRIPT, &["stop", "kube-proxy"]).await;
    script(SCRIPT, &["start", "kube-proxy"]).await;
    let service = eventually("the API server to answer", PATIENCE, || async {
        let found = cluster.objects.try_get(SERVICES, "default", "kubernetes").await;
        found.map_err(|error| format!("{error:#}"))?.ok_or_else(|| "no Service".to_owned())
    });
    let address = service.await["spec"]["clusterIP"].as_str().expect("a Service has an address").to_owned();
    eventually("the API server to be reachable for Pods", PATIENCE, || TcpStream::connect((address.as_str(), 443)))
        .await;
}

/// Waits for the other parts of the cluster, which take longer to come back, and which the next test needs: kube-proxy for a
/// new Service, and the controller of EndpointSlices for a new port of one that it has seen before.
async fn recovered(cluster: &Cluster) {
    let recovered = cluster.gateway("recovered").await;
    let both = json!({"spec": {"listeners": [
        {"name": "http", "port": 80, "protocol": "HTTP"}, {"name": "more", "port": 8080, "protocol": "HTTP"},
    ]}});
    cluster.objects.patch(GATEWAYS, &cluster.namespace, "recovered", &both).await.expect("the API server is back");
    let more = SocketAddr::new(recovered.ip(), 8080);
    eventually("a port that was added", PATIENCE, || client::get(more, "recovered.example.com", "/")).await;
    let listener = json!({"spec": {"listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}});
    cluster.objects.patch(GATEWAYS, &cluster.namespace, "recovered", &listener).await.expect("the API server is back");
}
