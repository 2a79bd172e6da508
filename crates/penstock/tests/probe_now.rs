//! `penstock probe`: backends asked at once, by the command, by the admin port, and as kubectl's plugin.

mod support;

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::time::Duration;

use penstock_testkit::{Backend, DEADLINE, Request, Response, client, free_port, until};
use serde_json::{Value, json};
use support::{Gateway, http_gateway, read_until, rule, service, service_at};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

/// A day between two probes: what a test sees is what it asked for, but for the first ones.
const SPEC: &str = "backendSettings:
- {name: ready, probe: ready}
- {name: text, probe: text}
probes:
- {name: ready, path: /ready, interval: 24h}
- {name: text, path: /text, interval: 24h, match: {body: nowhere in it}}
";

fn to(name: &str, service: &str, settings: &str) -> String {
    rule(
        name,
        &format!(
            "hostNames: [{name}.example]\nbackend: {{services: [{{name: {service}, port: 80}}], settings: {settings}}}"
        ),
    )
}

/// The built program, which may take its time.
async fn penstock(program: &str, args: &[&str]) -> Output {
    let (program, args) = (program.to_owned(), args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>());
    let run = move || Command::new(program).args(args).env_remove("PENSTOCK_ADMIN").output().expect("it starts");
    tokio::task::spawn_blocking(run).await.expect("it ends")
}

async fn probe(gateway: &Gateway, args: &[&str]) -> Output {
    let admin = format!("http://{}", gateway.admin());
    penstock(env!("CARGO_BIN_EXE_penstock"), &[&["probe", "--admin", &admin], args].concat()).await
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn order(json: &Value) -> Request {
    Request::post("admin", "/probe", json.to_string()).with("Content-Type", "application/json")
}

async fn post(gateway: &Gateway, request: &Request) -> Response {
    client::send(gateway.admin(), request).await.expect("an answer of the admin server")
}

#[tokio::test]
async fn every_backend_is_asked_and_shown() {
    let backend = Backend::start("one").await;
    let gone = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let objects = [
        http_gateway(SPEC),
        to("good", "app", "ready"),
        to("wrong", "app", "text"),
        to("gone", "gone", "ready"),
        to("none", "none", "ready"),
        service("app", &[&backend]),
        service_at("gone", &[gone]),
        service_at("none", &[]),
    ];
    let gateway = Gateway::start(&objects).await;
    let asked = probe(&gateway, &[]).await;
    let table = text(&asked.stdout);
    assert_eq!((asked.status.code(), text(&asked.stderr).as_str()), (Some(1), ""), "{table}");
    assert!(table.starts_with("POOL "), "{table}");
    let one = backend.addr().to_string();
    for (pool, address, result, status, reason) in [
        ("edge/good", one.as_str(), "Up", "200", "-"),
        ("edge/wrong", &one, "Down", "200", "BodyMismatch:"),
        ("edge/gone", &gone.to_string(), "Down", "-", "ConnectFailed:"),
        ("edge/none", "-", "NotAsked", "-", "NoEndpoints:"),
    ] {
        let line = table.lines().find(|line| line.starts_with(&format!("{pool} "))).unwrap_or_default();
        let cells: Vec<&str> = line.split_whitespace().collect();
        assert_eq!([cells[2], cells[4], cells[5], cells[8]], [address, result, status, reason], "{table}");
    }
    let good = probe(&gateway, &["--pool", "edge/good", "-o", "json"]).await;
    assert_eq!(good.status.code(), Some(0), "{}", text(&good.stderr));
    let found: Value = serde_json::from_slice(&good.stdout).expect("JSON");
    let row = &found["backends"][0];
    let expected = json!({"pool": "edge/good", "settings": "ready", "address": one, "probe": "edge/shop/ready",
        "health": row["health"], "result": "Up", "status": 200, "duration_ms": row["duration_ms"], "reason": ""});
    assert_eq!((row, found["backends"].as_array().map(Vec::len)), (&expected, Some(1)));
    assert!(row["duration_ms"].as_f64().is_some_and(|took| took > 0.0), "{row}");

    let other = probe(&gateway, &["--pool", "nowhere"]).await;
    assert_eq!((other.status.code(), text(&other.stdout).as_str()), (Some(1), ""));
    let said = text(&other.stderr);
    assert!(said.contains("404") && said.contains("edge/good") && said.contains("text"), "{said}");
}

#[tokio::test]
async fn it_can_ask_otherwise_and_changes_nothing() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&[http_gateway(SPEC), to("good", "app", "ready"), service("app", &[&backend])]).await;
    let up = |status: &Value| status["backends"][0]["health"] == "Up";
    gateway.wait_for_status("up", up).await;
    let probes = gateway.metrics().await.sum("penstock_probes_total", &[]);
    for (args, code, part) in [
        (&["--path", "/now?do=status=503", "--host", "now.example"][..], 1, "StatusMismatch: the answer was 503"),
        (&["--path", "/now?do=status=503", "--status-codes", "200,500-503"], 0, " 503 "),
        (&["--path", "/now?do=body=well", "--body", "is ok"], 1, "BodyMismatch: "),
        (&["--path", "/now?do=never", "--timeout", "200ms"], 1, "Timeout: no complete answer in 200ms"),
        (&["--path", "/now", "--protocol", "HTTPS"], 1, "TlsFailed: "),
    ] {
        let asked = probe(&gateway, args).await;
        let table = text(&asked.stdout);
        assert_eq!(asked.status.code(), Some(code), "{args:?}: {table}{}", text(&asked.stderr));
        // HEALTH is what it was.
        assert!(table.contains(part) && table.contains(" Up "), "{args:?}: {table}");
    }
    let requests = backend.requests();
    let first = requests.iter().find(|request| request.path() == "/now").expect("a probe");
    assert_eq!((first.method.as_str(), first.header("host")), ("GET", Some("now.example")));
    assert!(first.header("user-agent").is_some_and(|agent| agent.starts_with("penstock-probe/")));
    assert!(up(&gateway.status().await));
    assert_eq!(gateway.who("good.example", "/x").await, "one");
    assert_eq!(gateway.metrics().await.sum("penstock_probes_total", &[]), probes);

    let wrong = probe(&gateway, &["--path", "nowhere"]).await;
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("path \"nowhere\" is no path"), "{}", text(&wrong.stderr));
}

#[tokio::test]
async fn the_admin_port_takes_orders_from_programs_alone() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&[http_gateway(SPEC), to("good", "app", "ready"), service("app", &[&backend])]).await;
    let get = client::get(gateway.admin(), "admin", "/probe").await.unwrap();
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    let plain = Request::post("admin", "/probe", "{}");
    for (request, status) in [
        (plain.clone(), 415),
        (plain.clone().with("Content-Type", "text/plain"), 415),
        (order(&json!({})).with("Origin", "https://evil.example"), 403),
        (order(&json!({})).with("Sec-Fetch-Site", "cross-site"), 403),
        (order(&json!({"address": "192.0.2.1:80"})), 400),
        (order(&json!({"path": "no path"})), 400),
        (order(&json!({"body": "x".repeat(20_000)})), 413),
        (order(&json!({"pool": "other"})), 404),
    ] {
        let answer = post(&gateway, &request).await;
        assert_eq!(answer.status, status, "{request:?}: {}", answer.text());
    }
    assert_eq!(backend.count("/now"), 0);
}

#[tokio::test]
async fn one_order_at_a_time_which_ends_with_whoever_gave_it() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&[http_gateway(SPEC), to("good", "app", "ready"), service("app", &[&backend])]).await;
    let slow = order(&json!({"path": "/slow?do=never"}));
    let admin = gateway.admin();
    let first = tokio::spawn(async move { client::send(admin, &slow).await });
    until("the first at the backend", DEADLINE, async || backend.count("/slow"), |count| *count == 1).await;
    let second = post(&gateway, &order(&json!({}))).await;
    assert_eq!(second.status, 429, "{}", second.text());
    first.abort();
    let again = async || post(&gateway, &order(&json!({}))).await.status;
    // The first would take 30 s.
    until("a place for another", Duration::from_secs(10), again, |status| *status == 200).await;
}

/// An API server that has one Pod, whose admin port is `admin`; what was asked of it comes by the channel.
async fn api_server(admin: SocketAddr) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let (address, (tell, told)) = (listener.local_addr().expect("it is bound"), tokio::sync::mpsc::unbounded_channel());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let line = head.lines().next().unwrap_or_default().to_owned();
            let (status, body) = if line.starts_with("GET /api/v1/") {
                let ports = json!([{"name": "admin", "containerPort": 9090}]);
                let pod = json!({"metadata": {"name": "one", "namespace": "system"}, "status": {"phase": "Running"},
                    "spec": {"containers": [{"name": "penstock", "ports": ports}]}});
                (200, json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod]}).to_string())
            } else {
                let order = order(&json!({}));
                let answer = client::send(admin, &order).await.expect("an answer of the admin server");
                (answer.status, answer.text())
            };
            let _ = tell.send(line);
            let answer = format!(
                "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, told)
}

#[tokio::test]
async fn as_the_plugin_of_kubectl_it_goes_through_the_api_server() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&[http_gateway(SPEC), to("good", "app", "ready"), service("app", &[&backend])]).await;
    let (server, mut told) = api_server(gateway.admin()).await;
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-penstock");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_penstock"), &plugin).unwrap();
    let config = folder.path().join("config");
    let clusters = format!("clusters: [{{name: c, cluster: {{server: \"http://{server}\"}}}}]");
    let contexts =
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\ncurrent-context: c";
    std::fs::write(&config, format!("apiVersion: v1\nkind: Config\n{clusters}\n{contexts}\n")).unwrap();
    let args = ["probe", "--kubeconfig", config.to_str().unwrap()];
    let asked = penstock(plugin.to_str().unwrap(), &args).await;
    let table = text(&asked.stdout);
    assert_eq!(asked.status.code(), Some(0), "{table}{}", text(&asked.stderr));
    assert!(table.starts_with("Pod system/one\nPOOL ") && table.contains("edge/good "), "{table}");
    let mut seen = Vec::new();
    while let Ok(line) = told.try_recv() {
        seen.push(line);
    }
    assert_eq!(
        seen.last().map(String::as_str),
        Some("POST /api/v1/namespaces/system/pods/one:9090/proxy/probe HTTP/1.1")
    );
}
