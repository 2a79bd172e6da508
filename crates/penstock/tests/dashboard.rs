//! The dashboard's endpoints on the admin port of a running instance. What the page makes of them is tested in a browser, see
//! tests/dashboard.

mod support;

use penstock_testkit::{Backend, Connection, DEADLINE, Request, WebSocket, client, eventually};
use serde_json::Value;
use support::{Gateway, http_gateway, rule, rule_to, service};

const HOST: &str = "a.example";

async fn page(gateway: &Gateway, path: &str) -> client::Response {
    client::get(gateway.admin(), "admin", path).await.expect("an answer of the admin server")
}

/// Somebody who looks on.
struct Events(Connection);

impl Events {
    async fn of(gateway: &Gateway) -> Self {
        let mut connection = Connection::open(gateway.admin()).await.expect("events of the admin server");
        connection.send(&Request::get("admin", "/events")).await.expect("events of the admin server");
        assert_eq!(connection.head("GET").await.expect("events of the admin server").status, 200);
        Self(connection)
    }

    /// Reads documents until one is as `accept` wants it.
    async fn until(&mut self, what: &str, accept: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Value::Null;
        let read = async {
            while let Some(piece) = self.0.piece().await.expect("events of the admin server") {
                let text = String::from_utf8(piece).expect("events of the admin server");
                let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) else { continue };
                seen = serde_json::from_str(data).expect("events of the admin server");
                if accept(&seen) {
                    return true;
                }
            }
            false
        };
        let found = tokio::time::timeout(DEADLINE, read).await;
        assert!(found.is_ok_and(|found| found), "no {what} before the end; the last was {seen:#}");
        seen
    }
}

fn backend<'d>(document: &'d Value, of: &Backend) -> &'d Value {
    let address = of.addr().to_string();
    let all = document["backends"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|backend| backend["address"] == address).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn events_follow_the_manifests_and_the_backends() {
    let app = Backend::start("one").await;
    let probe = "probes: [{name: often, path: /, interval: 1s, timeout: 1s, unhealthyThreshold: 1}]";
    let probed = "backend: {services: [{name: app, port: 80}], inlineSettings: {probe: often}}";
    let objects = [http_gateway(probe), rule("all", probed), service("app", &[&app])];
    let gateway = Gateway::start(&objects).await;
    let mut events = Events::of(&gateway).await;
    let document = events.until("probe", |document| backend(document, &app)["last_probe"].is_u64()).await;
    assert_eq!(document["state"], "ready");
    assert_eq!(backend(&document, &app)["health"], "Up");
    let listener = &document["gateways"][0]["listeners"][0];
    assert_eq!((&document["gateways"][0]["name"], &listener["protocol"]), (&"edge/shop".into(), &"HTTP".into()));
    assert_eq!(listener["rules"][0]["name"], "edge/all");
    assert_eq!(listener["rules"][0]["routes"][0]["takes"], "any host, any path");
    assert_eq!(listener["rules"][0]["routes"][0]["to"], "edge/app:80");

    gateway.write("more.yaml", &rule_to("more", "missing"));
    let of_more = |document: &Value| document["problems"][0]["object"] == "RoutingRule edge/more";
    let document = events.until("the new problem", of_more).await;
    assert_eq!(
        (&document["problems"][0]["solved"], &document["problems"][0]["reason"]),
        (&Value::Null, &"ServiceNotFound".into())
    );
    gateway.remove("more.yaml");
    events.until("its end", |document| of_more(document) && document["problems"][0]["solved"].is_u64()).await;
}

#[tokio::test]
async fn open_websockets_are_counted_with_their_bytes() {
    let app = Backend::start("one").await;
    let gateway = Gateway::to(&app).await;
    let mut events = Events::of(&gateway).await;
    let mut socket = WebSocket::open(gateway.addr(), HOST, "/").await.unwrap();
    socket.echo("hello").await.unwrap();
    // A frame of five characters: 11 bytes with the client's mask, 7 without.
    let moved = |document: &Value| {
        let backend = backend(document, &app);
        ["websockets", "websockets_opened", "from_client", "from_backend"]
            .map(|field| backend[field].as_u64().unwrap_or(0))
    };
    events.until("an open WebSocket", |document| moved(document) == [1, 1, 11, 7]).await;
    let mut second = WebSocket::open(gateway.addr(), HOST, "/").await.unwrap();
    second.echo("again").await.unwrap();
    drop(socket);
    // What has ended counts on.
    events.until("one open of two", |document| moved(document)[..2] == [1, 2] && moved(document)[2] >= 22).await;
}

#[tokio::test]
async fn a_url_is_explained_by_what_is_in_the_traffic() {
    let app = Backend::start("one").await;
    let hosts = "hostNames: [a.example]\nbackend: {services: [{name: app, port: 80}]}";
    let gateway = Gateway::start(&[http_gateway(""), rule("all", hosts), service("app", &[&app])]).await;
    let port = gateway.port("http");
    let answer =
        page(&gateway, &format!("/explain?url=http%3A%2F%2Fa.example%3A{port}%2Fx&method=POST&header=X-Tenant%3A+a"))
            .await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; charset=utf-8")));
    let text = answer.text();
    for part in
        ["POST http://a.example", "> edge/all (a.example, any path): takes the request", &app.addr().to_string()]
    {
        assert!(text.contains(part), "no {part} in {text}");
    }
    gateway.replace(&[http_gateway("")]);
    eventually("an answer without the rule", DEADLINE, || async {
        let answer = page(&gateway, &format!("/explain?url=http://a.example:{port}/x")).await;
        answer.text().contains("404").then_some(())
    })
    .await;
    let wrong = page(&gateway, "/explain?url=/x").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("must be absolute"), "{}", wrong.text());
}

#[tokio::test]
async fn who_looks_on_is_told_of_the_drain_and_does_not_hold_it_up() {
    let app = Backend::start("one").await;
    let mut gateway = Gateway::to(&app).await;
    let html = page(&gateway, "/").await;
    assert!(html.text().contains("<title>Penstock</title>") && html.header("content-security-policy").is_some());
    let mut events = Events::of(&gateway).await;
    events.until("a document", |document| document["state"] == "ready").await;
    let silent = Events::of(&gateway).await;
    let ended = gateway.process.stop(DEADLINE).await;
    assert_eq!(ended.code(), Some(0));
    let mut told = String::new();
    while let Ok(Some(piece)) = events.0.piece().await {
        told.push_str(&String::from_utf8_lossy(&piece));
    }
    assert!(told.contains("event: leaving"), "{told}");
    drop(silent);
}
