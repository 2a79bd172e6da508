//! `penstock diff`: what files would change about a running instance, which goes on as it was.

mod support;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use penstock_testkit::{Backend, WebSocket};
use serde_json::{Value, json};
use support::{Gateway, http_gateway, rule, service};

fn diff(gateway: &Gateway, yaml: &str, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    command.args(["diff", "-f", "-", "--admin", &format!("http://{}", gateway.admin())]).args(more);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    child.stdin.take().expect("stdin is piped").write_all(yaml.as_bytes()).expect("the binary runs");
    child.wait_with_output().expect("the binary runs")
}

fn json(gateway: &Gateway, yaml: &str) -> Value {
    let ended = diff(gateway, yaml, &["-o", "json"]);
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).expect("JSON")
}

fn of_host(host: &str, service: &str) -> String {
    format!("hostNames: [{host}]\nbackend: {{services: [{{name: {service}, port: 80}}]}}")
}

#[tokio::test]
async fn owners_backends_and_websockets_are_told_and_nothing_is_applied() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let objects =
        [http_gateway(""), rule("old", &of_host("a.example", "one")), service("one", &[&one]), service("two", &[&two])];
    let gateway = Gateway::start(&objects).await;
    let mut socket = WebSocket::open(gateway.addr(), "a.example", "/").await.unwrap();
    socket.echo("hello").await.unwrap();
    gateway.wait_metric("penstock_websocket_open", &[("rule", "edge/old")], 1.0).await;

    // The host goes to another backend under the same rule, and there is a new host.
    let new =
        format!("{}\n---\n{}", rule("old", &of_host("a.example", "two")), rule("new", &of_host("b.example", "one")));
    let answer = json(&gateway, &new);
    let row = |listed: &Value, takes: &str| {
        listed.as_array().unwrap().iter().find(|row| row["takes"] == takes).cloned().unwrap_or_default()
    };
    let changed = row(&answer["routes"], "a.example, any path");
    assert_eq!((&changed["change"], &changed["websockets"]), (&json!("changes"), &json!(1)), "{answer:#}");
    assert_eq!(changed["before"], json!({"rule": "edge/old", "to": "edge/one:80"}));
    assert_eq!(changed["after"], json!({"rule": "edge/old", "to": "edge/two:80"}));
    let appears = row(&answer["routes"], "b.example, any path");
    assert_eq!((&appears["change"], &appears["before"]), (&json!("appears"), &Value::Null));
    assert_eq!(answer["routes"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer["backends"].as_array().map(Vec::len), Some(1), "{answer:#}");
    assert_eq!(
        (&answer["backends"][0]["backend"], &answer["backends"][0]["change"]),
        (&json!("edge/two:80"), &json!("appears"))
    );
    assert_eq!(answer["websockets"], json!({"concerned": 1, "closed": 0}));

    // Nothing of it has happened.
    assert_eq!(gateway.who("a.example", "/").await, "one");
    assert_eq!(gateway.who("b.example", "/").await, "404");
    socket.echo("still").await.unwrap();
    assert_eq!(json(&gateway, &objects[1])["routes"], json!([]), "the same objects change nothing");
}

#[tokio::test]
async fn an_older_rule_keeps_its_host_and_endpoints_that_leave_are_counted() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let objects = [http_gateway(""), rule("old", &of_host("a.example", "one")), service("one", &[&one, &two])];
    let gateway = Gateway::start(&objects).await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(WebSocket::open(gateway.addr(), "a.example", "/").await.unwrap());
    }
    // The slice of the second endpoint is empty from then on.
    let [_, second] = [0, 1].map(|number| slice(number, if number == 0 { Some(&one) } else { None }));
    let answer = json(&gateway, &second);
    assert_eq!(answer["backends"][0]["left"], json!([two.addr().to_string()]), "{answer:#}");
    assert_eq!(answer["websockets"], json!({"concerned": 0, "closed": 2}));
    let told = String::from_utf8(diff(&gateway, &second, &[]).stdout).unwrap();
    assert!(
        told.contains(&format!("-{}", two.addr())) && told.contains("2 open WebSockets are at endpoints"),
        "{told}"
    );

    // In the table, by its name: a rule that sorts before it takes the host over.
    let takes_over = rule("first", &of_host("a.example", "one"));
    let answer = json(&gateway, &takes_over);
    let row = &answer["routes"][0];
    assert_eq!(
        (&row["change"], &row["before"]["rule"], &row["after"]["rule"]),
        (&json!("owner"), &json!("edge/old"), &json!("edge/first"))
    );
    assert_eq!((&row["websockets"], &answer["websockets"]["concerned"]), (&json!(4), &json!(4)));
}

fn slice(number: usize, backend: Option<&Backend>) -> String {
    let port = backend.map_or(80, |backend| backend.addr().port());
    let endpoints = if backend.is_some() { "[{addresses: [127.0.0.1]}]" } else { "[]" };
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: one-{number}, namespace: edge, labels: {{kubernetes.io/service-name: one}}}}\n\
         addressType: IPv4\nports: [{{port: {port}}}]\nendpoints: {endpoints}\n"
    )
}

#[tokio::test]
async fn what_is_refused_and_what_would_be_wrong_is_told() {
    let one = Backend::start("one").await;
    let gateway =
        Gateway::start(&[http_gateway(""), rule("old", &of_host("a.example", "one")), service("one", &[&one])]).await;
    let answer = json(&gateway, &rule("old", &of_host("a.example", "nowhere")));
    assert_eq!(
        (&answer["problems"][0]["reason"], &answer["problems"][0]["object"]),
        (&json!("ServiceNotFound"), &json!("RoutingRule edge/old"))
    );
    let ended = diff(&gateway, &rule("old", "hostNames: a.example"), &[]);
    assert_eq!(ended.status.code(), Some(1));
    let told = String::from_utf8(ended.stdout).unwrap();
    assert!(told.contains("refused, and left out here") && told.contains("hostNames"), "{told}");
    let listener = gateway.port("http").to_string();
    let gone = http_gateway("").replace("$http", &listener).replace("name: http", "name: other");
    let told = String::from_utf8(diff(&gateway, &gone, &[]).stdout).unwrap();
    assert!(told.contains("goes     edge/shop/http") && told.contains("appears  edge/shop/other"), "{told}");
}
