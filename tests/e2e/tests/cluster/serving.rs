//! A gateway and a rule, applied by a user: traffic, what `kubectl get` says, TLS, and what a broken rule does to others.

use std::net::SocketAddr;

use penstock_e2e::cluster::{
    Cluster, GATEWAYS, PATIENCE, PROMPT, RULES, SERVICES, condition, condition_is, kubectl, rule,
};
use penstock_testkit::{Ca, Request, TlsClient, WebSocket, client, eventually, until};
use serde_json::{Value, json};

#[tokio::test]
async fn http_and_websockets_go_through_the_load_balancer() {
    let cluster = Cluster::connect().await;
    let addr = cluster.gateway("plain").await;
    let answer = client::get(addr, "plain.example.com", "/a/b?c=d").await.unwrap();
    assert_eq!((answer.status, answer.header("x-path")), (200, Some("/a/b?c=d")));
    assert!(answer.header("x-pod").is_some_and(|pod| pod.starts_with("echo-")), "{answer:?}");
    assert_eq!(client::get(addr, "other.example.com", "/").await.unwrap().status, 404);

    let mut socket = WebSocket::open(addr, "plain.example.com", "/chat").await.unwrap();
    let hello = socket.text().await.unwrap();
    let pod = hello.split(' ').nth(1).expect("hello POD PEER").to_owned();
    for number in 0..100 {
        assert_eq!(socket.echo(&format!("message {number}")).await.unwrap(), format!("{pod} message {number}"));
    }
    socket.close(1000, "done").await.unwrap();
}

#[tokio::test]
async fn kubectl_get_prints_the_columns_and_conditions_are_current() {
    let cluster = Cluster::connect().await;
    let addr = cluster.gateway("shown").await;
    let row = |kind: &'static str| {
        let (namespace, name) = (cluster.namespace.clone(), "shown");
        async move {
            let table = kubectl(&["get", kind, name, "-n", &namespace]).await;
            let mut lines = table.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
            (lines.next().unwrap_or_default(), lines.next().unwrap_or_default())
        }
    };
    let complete = |(_, row): &(Vec<String>, Vec<String>)| row.get(5).is_some_and(|healthy| healthy == "3/3");
    let (head, gateway) = until("3 of 3 healthy", PATIENCE, || row("ag"), complete).await;
    assert_eq!(head, ["NAME", "CLASS", "ADDRESS", "LISTENERS", "RULES", "HEALTHY", "PROGRAMMED", "AGE"]);
    assert_eq!(gateway[..7], ["shown", "penstock", &addr.ip().to_string(), "1", "1", "3/3", "True"]);
    let (head, _) = row("rr").await;
    assert_eq!(head, ["NAME", "GATEWAY", "HOSTS", "PRIORITY", "ACCEPTED", "AGE"]);
    let rule = kubectl(&["get", "rr", "shown", "-n", &cluster.namespace, "--no-headers"]).await;
    let gateway = format!("{}/shown", cluster.namespace);
    // No priority: an empty column.
    let words: Vec<_> = rule.split_whitespace().collect();
    assert_eq!(words[..4], ["shown", &gateway, "shown.example.com", "True"]);

    // A changed spec: every condition speaks of the new generation.
    let patch = json!({"spec": {"allowedRules": {"namespaces": {"from": "All"}}}});
    let changed = cluster.objects.patch(GATEWAYS, &cluster.namespace, "shown", &patch).await.unwrap();
    assert_eq!(changed["metadata"]["generation"], 2);
    let current = |found: &Option<Value>| {
        found.as_ref().is_some_and(|gateway| {
            ["Accepted", "ResolvedRefs", "Programmed"]
                .iter()
                .all(|t| condition_is(gateway, &gateway["status"], t, "True"))
        })
    };
    until("current conditions", PROMPT, || cluster.objects.get(GATEWAYS, &cluster.namespace, "shown"), current).await;
    parent(&cluster, "shown", "Accepted", "True").await;
    parent(&cluster, "shown", "ResolvedRefs", "True").await;
}

#[tokio::test]
async fn a_broken_rule_says_why_and_hurts_nobody() {
    let cluster = Cluster::connect().await;
    let addr = cluster.gateway("sturdy").await;
    let mut socket = WebSocket::open(addr, "sturdy.example.com", "/").await.unwrap();
    socket.text().await.unwrap();

    let no_service = rule("no-service", "sturdy", "broken.example.com").replace("name: echo", "name: absent");
    cluster.apply(&no_service).await;
    let no_listener = rule("no-listener", "sturdy", "sturdy.example.com")
        .replace("  hostNames", "  listeners: [absent]\n  hostNames");
    cluster.apply(&no_listener).await;
    let why = parent(&cluster, "no-service", "ResolvedRefs", "False").await;
    assert_eq!(why["reason"], "ServiceNotFound");
    assert!(why["message"].as_str().is_some_and(|message| message.contains("absent")), "{why}");
    let why = parent(&cluster, "no-listener", "Accepted", "False").await;
    assert_eq!(why["reason"], "ListenerNotFound");
    assert!(why["message"].as_str().is_some_and(|message| message.contains("absent")), "{why}");

    assert_eq!(client::get(addr, "broken.example.com", "/").await.unwrap().status, 502);
    assert_eq!(client::get(addr, "sturdy.example.com", "/").await.unwrap().status, 200);
    assert!(socket.echo("alive").await.unwrap().ends_with(" alive"));
    parent(&cluster, "sturdy", "Accepted", "True").await;

    // Mended, it works at once.
    cluster.apply(&rule("no-service", "sturdy", "broken.example.com")).await;
    answers(addr, "broken.example.com", 200).await;
    parent(&cluster, "no-service", "ResolvedRefs", "True").await;
}

#[tokio::test]
async fn a_tls_listener_takes_its_certificate_from_a_secret() {
    let cluster = Cluster::connect().await;
    let addr = cluster.gateway("secure").await;
    let patch = json!({"spec": {"listeners": [
        {"name": "http", "port": 80, "protocol": "HTTP"},
        {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "secure-tls"}]}},
    ]}});
    cluster.objects.patch(GATEWAYS, &cluster.namespace, "secure", &patch).await.unwrap();
    let listener = |name: &'static str, type_: &'static str| {
        let cluster = &cluster;
        async move {
            let gateway = cluster.objects.get(GATEWAYS, &cluster.namespace, "secure").await?;
            let all = gateway["status"]["listeners"].as_array()?.clone();
            let found = all.into_iter().find(|listener| listener["name"] == name)?;
            Some(condition(&found, type_)).filter(|c| c["observedGeneration"] == gateway["metadata"]["generation"])
        }
    };
    let status = |found: &Option<Value>, status: &str| found.as_ref().is_some_and(|c| c["status"] == status);
    let missing =
        until("the missing Secret to be said", PROMPT, || listener("https", "ResolvedRefs"), |c| status(c, "False"));
    assert_eq!(missing.await.unwrap()["reason"], "InvalidCertificateRef");
    answers(addr, "secure.example.com", 200).await;

    let ca = Ca::new("e2e");
    cluster.apply(&ca.server(&["secure.example.com"]).secret_yaml(&cluster.namespace, "secure-tls")).await;
    until("the Secret to be taken", PROMPT, || listener("https", "ResolvedRefs"), |c| status(c, "True")).await;
    let (tls, https) = (TlsClient::new(&ca), SocketAddr::new(addr.ip(), 443));
    // For a new port EndpointSlices are written and read by other parts of the cluster, too.
    eventually("an answer over TLS", PATIENCE, || async {
        let answer = client::send_tls(https, &tls, &Request::get("secure.example.com", "/")).await;
        answer.map_err(|error| format!("{error:#}")).map(|answer| assert_eq!(answer.status, 200))
    })
    .await;
    let mut socket = WebSocket::open_tls(https, &tls, "secure.example.com", "/").await.unwrap();
    assert!(socket.text().await.unwrap().starts_with("hello "));

    // Another certificate: for new connections, and the WebSocket stays.
    let other = Ca::new("e2e-next");
    cluster.apply(&other.server(&["secure.example.com"]).secret_yaml(&cluster.namespace, "secure-tls")).await;
    let tls = TlsClient::new(&other);
    let request = Request::get("secure.example.com", "/");
    eventually("the new certificate", PROMPT, || client::send_tls(https, &tls, &request)).await;
    assert!(socket.echo("alive").await.unwrap().ends_with(" alive"));
}

#[tokio::test]
async fn the_service_goes_with_its_gateway() {
    let cluster = Cluster::connect().await;
    let addr = cluster.gateway("fleeting").await;
    let own = || async {
        let all = cluster.objects.list(SERVICES, &cluster.system, "").await;
        let name = |service: &Value| service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        all.iter().map(name).filter(|name| name.starts_with("fleeting-")).collect::<Vec<_>>()
    };
    assert_eq!(own().await.len(), 1);
    cluster.objects.delete(GATEWAYS, &cluster.namespace, "fleeting").await.unwrap();
    until("its Service to be gone", PROMPT, own, Vec::is_empty).await;
    eventually("nobody to answer there", PROMPT, || async {
        client::get(addr, "fleeting.example.com", "/").await.err().ok_or("an answer")
    })
    .await;
    let gone = |condition: &Value| condition["reason"] == "GatewayNotFound";
    let why = || async {
        let rule = cluster.objects.get(RULES, &cluster.namespace, "fleeting").await.unwrap_or_default();
        condition(&rule["status"]["parents"][0], "Accepted")
    };
    until("its rule to say so", PROMPT, why, gone).await;
}

/// The condition of a rule at its gateway, once it has this status for the rule as it is now.
async fn parent(cluster: &Cluster, name: &str, type_: &str, status: &str) -> Value {
    eventually(&format!("{type_}={status} of rule {name}"), PROMPT, || async {
        let rule = cluster.objects.get(RULES, &cluster.namespace, name).await.ok_or(Value::Null)?;
        let parent = &rule["status"]["parents"][0];
        if condition_is(&rule, parent, type_, status) {
            Ok(condition(parent, type_))
        } else {
            Err(rule["status"].clone())
        }
    })
    .await
}

async fn answers(addr: SocketAddr, host: &str, status: u16) {
    eventually(&format!("{status} for {host}"), PROMPT, || async {
        let answer = client::get(addr, host, "/").await.map_err(|error| format!("{error:#}"))?;
        if answer.status == status { Ok(()) } else { Err(answer.status.to_string()) }
    })
    .await;
}
