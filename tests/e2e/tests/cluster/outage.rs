//! Without an API server the traffic goes on; when it is back, changes arrive, and no Pod was restarted.

use std::net::SocketAddr;
use std::time::Duration;

use penstock_e2e::cluster::{Cluster, GATEWAYS, PATIENCE, RULES, SERVICES, number, restarts, script};
use penstock_e2e::load::{Departures, Load, Plan};
use penstock_testkit::{client, eventually};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;

const SCRIPT: &str = "tests/cluster/cluster";

/// E2E_OUTAGE says for how many seconds. Only with the local cluster, whose API server can be stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_survives_the_api_server() {
    if std::env::var("CLUSTER").as_deref() != Ok("local") {
        println!("not asked: the API server of this cluster cannot be stopped; CLUSTER=local has one that can");
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
    // The other parts of the cluster take longer to come back, and the next test needs them all: kube-proxy for a new
    // Service, and the controller of EndpointSlices for a new port of one that it has seen before.
    let recovered = cluster.gateway("recovered").await;
    let both = json!({"spec": {"listeners": [
        {"name": "http", "port": 80, "protocol": "HTTP"}, {"name": "more", "port": 8080, "protocol": "HTTP"},
    ]}});
    cluster.objects.patch(GATEWAYS, &cluster.namespace, "recovered", &both).await.expect("the API server is back");
    let more = SocketAddr::new(recovered.ip(), 8080);
    eventually("a port that was added", PATIENCE, || client::get(more, "recovered.example.com", "/")).await;
}
