//! The admin server as its users see it: over HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use penstock_runtime::{
    AdminError, AdminServer, Answer, Diff, Order, Overview, Readiness, Sources, build_info, limits,
    register_process_metrics,
};
use penstock_testkit::client::{get, send};
use penstock_testkit::{Connection, DEADLINE, Metrics, Request};
use prometheus::Registry;
use serde_json::json;

fn sources() -> Sources {
    let registry = Registry::new();
    build_info::register(&registry).expect("a new registry takes it");
    register_process_metrics(&registry).expect("a new registry takes it");
    let asked = AtomicU64::new(0);
    let status = Arc::new(move || json!({"generation": asked.fetch_add(1, Ordering::Relaxed)}));
    let request = Arc::new(|id: &str| (id == "known").then(|| "{\"request_id\":\"known\"}".to_owned()));
    let probe = Arc::new(|order: Order| -> Answer {
        Box::pin(async move {
            let local = if order.local { "here" } else { "elsewhere" };
            (StatusCode::OK, format!("{} from {local}", String::from_utf8_lossy(&order.body)))
        })
    });
    let explain = Arc::new(|query: &str| match query {
        "url=known" => Ok("taken\n".to_owned()),
        _ => Err(format!("{query:?} is no question")),
    });
    let overview: Arc<Overview> = Arc::new(|| Box::pin(async { json!({}) }));
    let diff: Arc<Diff> = Arc::new(|text| Box::pin(async move { Ok(json!({"bytes": text.len()}).to_string()) }));
    let readiness = Readiness::starting("the first configuration");
    Sources { registry, readiness, status, request, probe, explain, diff, overview, collect: || {} }
}

fn start(sources: Sources) -> AdminServer {
    AdminServer::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), sources).expect("a free port")
}

#[tokio::test]
async fn readiness_names_its_reason() {
    let sources = sources();
    let readiness = sources.readiness.clone();
    let server = start(sources);
    let addr = server.local_addr();
    let ready = || async { get(addr, "admin", "/readyz").await.map(|a| (a.status, a.text())).unwrap() };
    assert_eq!(ready().await, (503, "starting: the first configuration\n".to_owned()));
    readiness.ready();
    assert_eq!(ready().await, (200, "ready\n".to_owned()));
    readiness.leaving();
    assert_eq!(ready().await.0, 200);
    readiness.draining();
    assert_eq!(ready().await, (503, "draining\n".to_owned()));
    assert_eq!(get(addr, "admin", "/healthz").await.unwrap().status, 200);
}

#[tokio::test]
async fn shows_metrics_of_build_and_process() {
    let server = start(sources());
    let metrics = Metrics::fetch(server.local_addr()).await.unwrap();
    let build = [("version", build_info::VERSION), ("revision", build_info::REVISION)];
    assert_eq!(metrics.value("penstock_build_info", &build), Some(1.0));
    assert!(metrics.value("process_resident_memory_bytes", &[]).unwrap() > 1e6);
    assert!(metrics.value("process_open_fds", &[]).unwrap() >= 3.0);
    assert!(metrics.value("process_threads", &[]).unwrap() >= 2.0);
    assert_eq!(metrics.value("process_max_fds", &[]), Some(limits::open_files() as f64));
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let started = metrics.value("process_start_time_seconds", &[]).unwrap();
    assert!((now - started).abs() < 600.0, "started {started}, now {now}");
}

#[tokio::test]
async fn cpu_time_grows() {
    let server = start(sources());
    let spent = || async {
        Metrics::fetch(server.local_addr()).await.unwrap().value("process_cpu_seconds_total", &[]).unwrap()
    };
    let before = spent().await;
    penstock_testkit::until("some CPU time", DEADLINE, spent, |now| *now > before).await;
}

#[tokio::test]
async fn shows_the_status_anew_each_time() {
    let server = start(sources());
    for generation in 0..2 {
        let answer = get(server.local_addr(), "admin", "/status").await.unwrap();
        assert_eq!(
            (answer.header("content-type"), answer.json()),
            (Some("application/json"), json!({"generation": generation}))
        );
    }
}

#[tokio::test]
async fn is_read_only_and_knows_its_pages() {
    let server = start(sources());
    let addr = server.local_addr();
    let index = get(addr, "admin", "/").await.unwrap();
    for page in ["metrics", "status", "readyz", "healthz"] {
        assert!(index.text().contains(&format!("href=\"{page}\"")), "{page}");
    }
    assert_eq!(get(addr, "admin", "/secrets").await.unwrap().status, 404);
    assert_eq!(get(addr, "admin", "/healthz?verbose").await.unwrap().status, 200);
    let answer = send(addr, &Request::post("admin", "/healthz", "x")).await.unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    let head = send(addr, &Request::new("HEAD", "admin", "/healthz")).await.unwrap();
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("3"), 0));
}

#[tokio::test]
async fn refuses_a_head_that_is_too_large() {
    let server = start(sources());
    let request = Request::get("admin", "/healthz").with("X-Long", &"x".repeat(40_000));
    assert_eq!(send(server.local_addr(), &request).await.unwrap().status, 431);
}

#[tokio::test]
async fn serves_more_clients_than_it_has_places() {
    let server = start(sources());
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = Connection::open(server.local_addr()).await.unwrap();
        client.exchange(&Request::get("admin", "/healthz")).await.unwrap();
        clients.push(client);
    }
    let mut waiting = Connection::open(server.local_addr()).await.unwrap();
    waiting.send(&Request::get("admin", "/healthz")).await.unwrap();
    drop(clients.pop());
    assert_eq!(waiting.response("GET").await.unwrap().status, 200);
}

#[tokio::test]
async fn says_which_address_it_cannot_have() {
    let server = start(sources());
    let addr = server.local_addr();
    let error = AdminServer::bind(addr, sources()).unwrap_err();
    assert!(matches!(error, AdminError::Bind { .. }));
    assert!(error.to_string().contains(&addr.to_string()), "{error}");
    drop(server);
    drop(AdminServer::bind(addr, sources()).expect("the address is free again"));
}

#[tokio::test]
async fn a_recent_request_is_shown_by_its_id() {
    let server = start(sources());
    let known = get(server.local_addr(), "admin", "/requests/known").await.unwrap();
    assert_eq!((known.status, known.text().as_str()), (200, "{\"request_id\":\"known\"}\n"));
    assert_eq!(known.header("content-type"), Some("application/json"));
    let other = get(server.local_addr(), "admin", "/requests/other").await.unwrap();
    assert_eq!(other.status, 404);
    assert!(other.text().contains("\"other\""), "{}", other.text());
}

#[tokio::test]
async fn an_order_comes_by_post_as_json_and_from_no_browser() {
    let server = start(sources());
    let addr = server.local_addr();
    let order = Request::post("admin", "/probe", "{}");
    let json = order.clone().with("Content-Type", "application/json; charset=utf-8");
    let answer = send(addr, &json).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "{} from here"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(send(addr, &order).await.unwrap().status, 415);
    assert_eq!(send(addr, &json.clone().with("Origin", "null")).await.unwrap().status, 403);
    assert_eq!(send(addr, &json.clone().body(vec![b'x'; 16 * 1024 + 1])).await.unwrap().status, 413);
    let head = send(addr, &Request::new("HEAD", "admin", "/probe")).await.unwrap();
    assert_eq!((head.status, head.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn the_dashboard_is_confined_to_its_own_files() {
    let server = start(sources());
    let page = get(server.local_addr(), "admin", "/").await.unwrap();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    // Relative, so that a proxy may put something before the path; and nothing within the page that the policy would refuse.
    let text = page.text();
    for absolute in ["href=\"/", "src=\"/", "=\"http:", " style=", "<style", " onclick="] {
        assert!(!text.contains(absolute), "{absolute}");
    }
    for (path, kind) in
        [("/dashboard.css", "text/css; charset=utf-8"), ("/dashboard.js", "text/javascript; charset=utf-8")]
    {
        assert!(text.contains(&format!("\"{}\"", &path[1..])), "{path}");
        let file = get(server.local_addr(), "admin", path).await.unwrap();
        assert_eq!((file.status, file.header("content-type")), (200, Some(kind)));
    }
}

#[tokio::test]
async fn explains_what_it_is_asked() {
    let server = start(sources());
    let known = get(server.local_addr(), "admin", "/explain?url=known").await.unwrap();
    assert_eq!((known.status, known.text().as_str()), (200, "taken\n"));
    let wrong = get(server.local_addr(), "admin", "/explain?x").await.unwrap();
    assert_eq!((wrong.status, wrong.text().as_str()), (400, "\"x\" is no question\n"));
}

#[tokio::test]
async fn a_diff_takes_yaml_and_nothing_larger_than_it_should_be() {
    let server = start(sources());
    let addr = server.local_addr();
    let post = |kind: &str, body: &str| Request::post("admin", "/diff", body).with("Content-Type", kind);
    let answer = send(addr, &post("application/yaml", "kind: X")).await.unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json(), json!({"bytes": 7}));
    // What a page of another origin could send without asking.
    assert_eq!(send(addr, &post("text/plain", "kind: X")).await.unwrap().status, 415);
    let large = "x".repeat(8 * 1024 * 1024 + 1);
    assert_eq!(send(addr, &post("application/yaml", &large)).await.unwrap().status, 413);
    let other = get(addr, "admin", "/diff").await.unwrap();
    assert_eq!((other.status, other.header("allow")), (405, Some("POST")));
}
