//! What an operator asks Pods of Penstock through the API server: `kubectl penstock`, and the dashboard.

use penstock_e2e::cluster::{Cluster, kubectl, kubectl_plugin, rule, variable};
use penstock_testkit::{WebSocket, client};
use serde_json::Value;

#[tokio::test]
async fn kubectl_penstock_shows_every_pod() {
    let cluster = Cluster::connect().await;
    cluster.gateway("asked").await;
    let program = variable("E2E_PENSTOCK");
    let (name, wanted) = (format!("{}/asked", cluster.namespace), cluster.own_pods_wanted().await);
    let text = kubectl_plugin(program.as_ref(), &["status", "--namespace", &cluster.system]).await;
    let pods: Vec<&str> = text.lines().filter(|line| line.starts_with("Pod ")).collect();
    assert_eq!(pods.len(), wanted, "{text}");
    assert_eq!(pods.iter().filter(|pod| pod.contains(", leader, ")).count(), 1, "{text}");
    let row = [name.as_str(), "http", "80"];
    let rows = text.lines().filter(|line| line.split_whitespace().take(3).eq(row)).count();
    assert_eq!(rows, wanted, "each has the listener\n{text}");
}

#[tokio::test]
async fn kubectl_penstock_compares_files_with_every_pod_and_has_all_probe() {
    let cluster = Cluster::connect().await;
    let addr = cluster.gateway("told").await;
    let mut socket = WebSocket::open(addr, "told.example.com", "/").await.unwrap();
    socket.text().await.unwrap();
    let (program, own) = (variable("E2E_PENSTOCK"), format!("{}/told", cluster.namespace));

    let file = std::env::temp_dir().join(format!("penstock-diff-{}.yaml", std::process::id()));
    let named = format!("metadata: {{namespace: {}, name: told}}", cluster.namespace);
    let moved = rule("told", "told", "moved.example.com").replace("metadata: {name: told}", &named);
    std::fs::write(&file, moved).expect("a file");
    let args = ["diff", "-o", "json", "--namespace", &cluster.system, "-f", &file.to_string_lossy()];
    let answer = kubectl_plugin(program.as_ref(), &args).await;
    let _ = std::fs::remove_file(&file);
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let changes: Vec<_> = answer["routes"].as_array().expect("routes").iter().collect();
    assert_eq!(changes.len(), 2, "one host goes, one comes: {answer:#}");
    let lost = changes.iter().find(|row| row["takes"].as_str().is_some_and(|takes| takes.contains("told.example.com")));
    assert_eq!(lost.expect("the host that goes")["websockets"], 1, "of whichever Pod has it: {answer:#}");
    // Nothing was applied.
    assert_eq!(client::get(addr, "told.example.com", "/").await.unwrap().status, 200);
    assert!(socket.echo("alive").await.unwrap().ends_with(" alive"));

    let args = ["probe", "-o", "json", "--namespace", &cluster.system, "--pool", &own];
    let answer: Value = serde_json::from_str(&kubectl_plugin(program.as_ref(), &args).await).expect("JSON");
    let pods = answer.as_object().expect("an answer of each Pod");
    assert_eq!(pods.len(), cluster.own_pods_wanted().await, "{answer:#}");
    for (pod, found) in pods {
        let up = found["backends"].as_array().map(|all| all.iter().filter(|row| row["result"] == "Up").count());
        assert_eq!(up, Some(3), "{pod}: {found:#}");
    }
}

#[tokio::test]
async fn the_dashboard_is_behind_the_proxy_of_the_api_server() {
    let cluster = Cluster::connect().await;
    let pods = cluster.own_pods().await;
    let pod = pods.iter().find_map(|pod| pod["metadata"]["name"].as_str()).expect("a Pod");
    let proxy = format!("/api/v1/namespaces/{}/pods/{pod}:9090/proxy", cluster.system);
    let page = kubectl(&["get", "--raw", &format!("{proxy}/")]).await;
    assert!(page.contains("<title>") && page.contains("Penstock"), "{page}");
    // What it asks is below the proxy as well: no path of its begins at the root.
    for root in ["src=\"/", "href=\"/", "fetch(\"/", "EventSource(\"/"] {
        assert!(!page.contains(root), "{root} in {page}");
    }
    let url = "http%3A%2F%2Fnobody.example.com%2F";
    let told = kubectl(&["get", "--raw", &format!("{proxy}/explain?method=GET&url={url}")]).await;
    assert!(told.contains("nobody.example.com"), "{told}");
}
