//! `penstock why`: one request or WebSocket told, from a running instance and from its access log.

mod support;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use penstock_testkit::{Backend, DEADLINE, WebSocket, eventually};
use serde_json::Value;
use support::{Gateway, http_gateway, rule, service};

const HOST: &str = "a.example";

fn why(id: &str, args: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    command.args(["why", id]).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // Without --log it reads nothing.
    let _ = child.stdin.take().expect("stdin is piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_closed_websocket_names_what_closed_it_and_what_to_change() {
    let backend = Backend::start("one").await;
    let settings = "backend: {services: [{name: app, port: 80}], inlineSettings: {webSocket: {idleTimeout: 1s}}}";
    let objects = [http_gateway(""), rule("all", settings), service("app", &[&backend])];
    let gateway = Gateway::start_with(&["--access-log", "json"], &objects).await;
    let mut socket = WebSocket::open(gateway.addr(), HOST, "/ws?token=abc").await.unwrap();
    socket.echo("hello").await.unwrap();
    let line = eventually("the line of the WebSocket", DEADLINE, || async {
        gateway.process.stdout().into_iter().find(|line| line.contains("\"/ws\""))
    })
    .await;
    let id = serde_json::from_str::<Value>(&line).unwrap()["request_id"].as_str().unwrap().to_owned();

    let admin = format!("http://{}", gateway.admin());
    let asked = why(&id, &["--admin", &admin], "");
    let story = text(&asked.stdout);
    assert_eq!(asked.status.code(), Some(0), "{}", text(&asked.stderr));
    for part in [&id, "GET http://a.example/ws?token=REDACTED", "RoutingRule edge/all", "idle", "webSocket.idleTimeout"]
    {
        assert!(story.contains(part), "no {part} in {story}");
    }
    assert!(story.contains(&backend.addr().to_string()), "{story}");

    // The log says the same, with other lines and names of Pods around it.
    let log = format!("starting\n[pod/one] {line}\n{{\"request_id\":\"other\"}}\n");
    assert_eq!(text(&why(&id, &["--log", "-"], &log).stdout), story);
    let unknown = why("0123", &["--log", "-"], &log);
    assert_eq!((unknown.status.code(), text(&unknown.stdout).as_str()), (Some(1), ""));
    let unknown = why("0123", &["--admin", &admin], "");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("0123"), "{}", text(&unknown.stderr));
}
