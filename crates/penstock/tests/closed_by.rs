//! Who cut a WebSocket: the object and the field behind each close, in the access log and in `penstock why`.

mod support;

use std::process::Command;

use penstock_testkit::{Backend, DEADLINE, WebSocket, eventually};
use serde_json::{Value, json};
use support::{Gateway, http_gateway, rule, service};

const HOST: &str = "a.example";
const LOG: [&str; 2] = ["--access-log", "json"];

/// The line of the only WebSocket.
async fn line(gateway: &Gateway) -> Value {
    let line = eventually("the line of the WebSocket", DEADLINE, || async {
        gateway.process.stdout().into_iter().find(|line| line.contains("\"upgrade\":\"websocket\""))
    })
    .await;
    serde_json::from_str(&line).expect("a line of JSON")
}

/// Opens a WebSocket, and reads until it is closed.
async fn opened(gateway: &Gateway) -> WebSocket {
    let mut socket = WebSocket::open(gateway.addr(), HOST, "/ws").await.expect("the WebSocket works");
    socket.echo("hello").await.expect("the WebSocket works");
    socket
}

#[tokio::test]
async fn an_idle_close_names_the_field_that_set_the_time() {
    let app = Backend::start("one").await;
    let own = "{services: [{name: app, port: 80}], inlineSettings: {webSocket: {idleTimeout: 1s}}}";
    let of_request = "{services: [{name: app, port: 80}], settings: quick}";
    let cases = [
        (format!("backend: {own}"), "RoutingRule edge/all", "spec.backend.inlineSettings.webSocket.idleTimeout"),
        (
            format!("paths: [{{name: chat, paths: [\"/ws\"], backend: {own}}}]"),
            "RoutingRule edge/all",
            "spec.paths[chat].backend.inlineSettings.webSocket.idleTimeout",
        ),
        (
            format!("backend: {of_request}"),
            "ApplicationGateway edge/shop",
            "spec.backendSettings[quick].requestTimeout",
        ),
    ];
    for (spec, object, field) in cases {
        let settings = "backendSettings: [{name: quick, requestTimeout: 1s}]";
        let objects = [http_gateway(settings), rule("all", &spec), service("app", &[&app])];
        let gateway = Gateway::start_with(&LOG, &objects).await;
        let socket = opened(&gateway).await;
        let line = line(&gateway).await;
        drop(socket);
        assert_eq!(line["close_reason"], "idle");
        assert_eq!(line["closed_by"], json!({"object": object, "field": field}), "{spec}");
    }
}

#[tokio::test]
async fn the_greatest_age_is_a_field_and_a_client_is_none() {
    let app = Backend::start("one").await;
    let spec = "backend: {services: [{name: app, port: 80}], inlineSettings: {webSocket: {maxDuration: 1s}}}";
    let objects = [http_gateway(""), rule("all", spec), service("app", &[&app])];
    let gateway = Gateway::start_with(&LOG, &objects).await;
    let socket = opened(&gateway).await;
    let aged = line(&gateway).await;
    drop(socket);
    assert_eq!(aged["close_reason"], "duration");
    assert_eq!(aged["closed_by"]["field"], "spec.backend.inlineSettings.webSocket.maxDuration");

    let gateway = Gateway::start_with(
        &LOG,
        &[http_gateway(""), rule("all", "backend: {services: [{name: app, port: 80}]}"), service("app", &[&app])],
    )
    .await;
    drop(opened(&gateway).await);
    let line = line(&gateway).await;
    assert_eq!((&line["close_reason"], &line["closed_by"]), (&json!("client"), &Value::Null));
}

#[tokio::test]
async fn a_drain_names_what_left_and_what_limits_it() {
    let (app, other) = (Backend::start("one").await, Backend::start("two").await);
    let spec = "backend: {services: [{name: app, port: 80}], inlineSettings: {connectionDraining: {timeout: 1s}}}";
    let objects = |backend| [http_gateway(""), rule("all", spec), service("app", &[backend])];
    let gateway = Gateway::start_with(&LOG, &objects(&app)).await;
    let socket = opened(&gateway).await;
    gateway.replace(&objects(&other));
    let line = line(&gateway).await;
    drop(socket);
    assert_eq!(line["close_reason"], "drain");
    let by = json!({
        "object": "RoutingRule edge/all",
        "field": "spec.backend.inlineSettings.connectionDraining.timeout",
        "cause": format!("endpoint {} of Service edge/app left", app.addr()),
    });
    assert_eq!(line["closed_by"], by);

    // In words, from the running instance.
    let id = line["request_id"].as_str().unwrap();
    let mut why = Command::new(env!("CARGO_BIN_EXE_penstock"));
    let told = why.args(["why", id, "--admin", &format!("http://{}", gateway.admin())]).output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for part in
        ["RoutingRule edge/all, spec.backend.inlineSettings.connectionDraining.timeout", "of Service edge/app left"]
    {
        assert!(told.contains(part), "no {part} in {told}");
    }
}

#[tokio::test]
async fn a_process_and_a_listener_that_go_are_named_with_the_flag() {
    let app = Backend::start("one").await;
    let flags = ["--access-log", "json", "--drain-timeout", "1s"];
    let rest = [rule("all", "backend: {services: [{name: app, port: 80}]}"), service("app", &[&app])];
    let with = |listeners: &str| [&[support::gateway(&format!("listeners: [{listeners}]"))][..], &rest].concat();
    let one = "{name: http, port: $http, protocol: HTTP}";
    let other = "{name: other, port: $other, protocol: HTTP}";
    let gateway = Gateway::start_with(&flags, &with(&format!("{one}, {other}"))).await;
    let socket = opened(&gateway).await;
    gateway.replace(&with(other));
    let removed = line(&gateway).await;
    drop(socket);
    assert_eq!(removed["closed_by"]["field"], "--drain-timeout", "{removed}");
    assert_eq!(removed["closed_by"]["cause"], "listener http of ApplicationGateway edge/shop was removed");

    let mut gateway = Gateway::start_with(&flags, &with(one)).await;
    let socket = opened(&gateway).await;
    assert_eq!(gateway.process.stop(DEADLINE).await.code(), Some(0));
    drop(socket);
    let stopped = line(&gateway).await;
    assert_eq!(stopped["close_reason"], "drain");
    assert_eq!(
        (&stopped["closed_by"]["object"], &stopped["closed_by"]["cause"]),
        (&json!("Penstock"), &json!("the process was told to stop"))
    );
}
