//! Custom error pages: in place of the gateway's own answers, never of a backend's.

mod support;

use penstock_testkit::{Backend, Request, Response};
use support::{Gateway, gateway, service};

const HOST: &str = "a.example";

fn pages(text: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: pages, namespace: edge}}\n\
         data: {{down.html: '<h1>{text}</h1>', lost.json: '{{\"error\": \"lost\"}}', own.txt: own}}"
    )
}

fn objects(backend: &Backend) -> Vec<String> {
    let page = |code: u16, key: &str| format!("{{statusCode: {code}, configMapRef: {{name: pages, key: {key}}}}}");
    vec![
        gateway(&format!(
            "customErrorPages: [{}, {}]\nlisteners:\n- {{name: http, port: $http, protocol: HTTP}}\n\
             - {{name: own, port: $own, protocol: HTTP, customErrorPages: [{}, {}]}}",
            page(502, "down.html"),
            page(404, "lost.json"),
            page(502, "own.txt"),
            page(400, "gone.html"),
        )),
        support::rule("app", "hostNames: [a.example]\nbackend: {services: [{name: app, port: 80}]}"),
        support::rule("none", "hostNames: [none.example]\nbackend: {services: [{name: none, port: 80}]}"),
        service("app", &[backend]),
        service("none", &[]),
    ]
}

fn seen(answer: &Response) -> (u16, &str, String) {
    (answer.status, answer.header("content-type").unwrap_or_default(), answer.text())
}

#[tokio::test]
async fn pages_of_the_gateway_and_of_a_listener() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&[objects(&backend), vec![pages("down")]].concat()).await;
    let html = "text/html; charset=utf-8";
    assert_eq!(seen(&gateway.get("none.example", "/").await), (502, html, "<h1>down</h1>".to_owned()));
    let lost = (404, "application/json", "{\"error\": \"lost\"}".to_owned());
    assert_eq!(seen(&gateway.get("other.example", "/").await), lost);
    let own = |host: &'static str| penstock_testkit::client::get(gateway.addr_of("own"), host, "/");
    let text = "text/plain; charset=utf-8";
    assert_eq!(seen(&own("none.example").await.unwrap()), (502, text, "own".to_owned()), "its own page goes first");
    assert_eq!(seen(&own("other.example").await.unwrap()), lost, "the gateway's where it has none");
    // A code without a page, and a page that is not there.
    let refused = Request::get(HOST, "/").with("Host", "b.example");
    assert!(gateway.send(&refused).await.text().starts_with("400 Bad Request"));
}

#[tokio::test]
async fn answers_of_a_backend_pass_unchanged() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&[objects(&backend), vec![pages("down")]].concat()).await;
    for status in [404, 502] {
        let request = Request::get(HOST, "/").behaviour(&format!("status={status},body=theirs"));
        let answer = gateway.send(&request).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, "theirs"));
    }
}

#[tokio::test]
async fn a_page_changes_with_its_config_map_and_a_missing_one_is_said() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::start(&objects(&backend)).await;
    assert!(gateway.get("none.example", "/").await.text().starts_with("502 Bad Gateway"), "the built-in answer");
    let problem = |text: &'static str| move |status: &serde_json::Value| status["problems"].to_string().contains(text);
    gateway.wait_for_status("what is missing", problem("ConfigMap edge/pages does not exist")).await;
    let none = Request::get("none.example", "/");
    for text in ["first", "second"] {
        gateway.write("pages.yaml", &pages(text));
        gateway.wait_answer(text, &none, |answer| answer.text() == format!("<h1>{text}</h1>")).await;
    }
    gateway.wait_for_status("the key that is missing", problem("has no key \\\"gone.html\\\"")).await;
    gateway.remove("pages.yaml");
    gateway.wait_answer("the built-in answer", &none, |answer| answer.text().starts_with("502")).await;
}
