//! What leaves and what comes back: listeners that return in time keep their WebSockets, and `/status` shows endpoints that
//! left as long as they have something.

mod support;
#[path = "support/ws.rs"]
mod ws;

use std::time::{Duration, Instant};

use penstock_testkit::{Backend, DEADLINE, Process, WebSocket};
use serde_json::Value;
use support::{Gateway, gateway, rule_to, service};
use ws::{closed, gateway_with, none_closed, open, open_many, rule_under_settings, stays_open};

const OTHER: &str = "- {name: other, port: $other, protocol: HTTP}\n";

fn listeners(listeners: &str) -> String {
    gateway(&format!("listeners:\n{listeners}"))
}

/// Entries of `/status` that drain.
fn draining(status: &Value) -> Vec<Value> {
    let all = status["backends"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|backend| backend["health"] == "Draining").collect()
}

#[tokio::test]
async fn a_listener_that_comes_back_in_time_keeps_its_websockets() {
    let backend = Backend::start("one").await;
    let both = format!("- {{name: http, port: $http, protocol: HTTP}}\n{OTHER}");
    let rest = [rule_to("all", "app"), service("app", &[&backend])];
    let with = |spec: &str| [&[listeners(spec)], &rest[..]].concat();
    let gateway = Gateway::start_with(&["--drain-timeout", "2s", "--drain-spread", "1s"], &with(&both)).await;
    let mut sockets = open_many(&gateway, 3).await;
    let since = Instant::now();
    gateway.replace(&with(OTHER));
    gateway
        .wait_for_status("the listener to be gone", |status| status["listeners"].as_array().unwrap().len() == 1)
        .await;
    gateway.replace(&with(&both));
    gateway.wait_status("a.example", "/x", 200).await;
    assert!(since.elapsed() < Duration::from_secs(1), "back before the spread begins: {:?}", since.elapsed());
    // What would have been closed by now is not.
    stays_open(&mut sockets[0], Duration::from_secs(3).saturating_sub(since.elapsed())).await;
    for socket in &mut sockets {
        assert_eq!(socket.echo("still here").await.unwrap(), "still here");
    }
    none_closed(&gateway, 3).await;
    // It is the same listener: when it leaves again, all of its WebSockets go with it, old ones and new ones.
    sockets.push(open(&gateway).await);
    gateway.replace(&with(OTHER));
    for socket in &mut sockets {
        assert_eq!(socket.ended(DEADLINE).await.unwrap(), 1001);
    }
    closed(&gateway, "drain", 4).await;
}

#[tokio::test]
async fn status_shows_endpoints_that_drain_while_they_have_something() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let settings = "connectionDraining: {timeout: 30s, spread: 0s}";
    let gateway = Gateway::start(&[gateway_with(settings), rule_under_settings()]).await;
    gateway.write("app.yaml", &service("app", &[&one]));
    gateway.wait_status("a.example", "/", 200).await;
    let mut sockets = open_many(&gateway, 2).await;
    gateway.write("app.yaml", &service("app", &[&two]));
    let status = gateway.wait_for_status("an endpoint that drains", |status| !draining(status).is_empty()).await;
    let seen = draining(&status).remove(0);
    assert_eq!(seen["address"], one.addr().to_string());
    assert_eq!((&seen["pool"], &seen["settings"]), (&Value::from("edge/all"), &Value::from("sockets")));
    assert_eq!((seen["websockets"].as_u64(), seen["active"].as_u64()), (Some(2), Some(0)));
    let reason = seen["reason"].as_str().unwrap();
    assert!(reason.starts_with("Departed: what it has ends within ") && reason.ends_with('s'), "{reason}");

    let mut printed = Process::of(env!("CARGO_BIN_EXE_penstock"))
        .args(["status", "--admin", &format!("http://{}", gateway.admin())])
        .start();
    assert!(printed.wait_exit(DEADLINE).await.success());
    let line = printed.stdout().into_iter().find(|line| line.contains("Draining")).expect("a line about it");
    assert!(line.contains(&one.addr().to_string()) && line.contains("Departed"), "{line}");

    // The removal of its rule changes nothing about it.
    gateway.replace(&[gateway_with(settings)]);
    gateway.wait_status("a.example", "/", 404).await;
    assert_eq!(draining(&gateway.status().await).len(), 1);
    sockets[0].close(1000, "bye").await.unwrap();
    gateway.wait_for_status("one left", |status| draining(status).iter().all(|seen| seen["websockets"] == 1)).await;
    sockets[1].close(1000, "bye").await.unwrap();
    gateway.wait_for_status("nothing left", |status| draining(status).is_empty()).await;
}

#[tokio::test]
async fn an_endpoint_that_comes_back_drains_no_more() {
    let one = Backend::start("one").await;
    let gateway = Gateway::start(&[gateway_with("connectionDraining: {timeout: 30s}"), rule_under_settings()]).await;
    gateway.write("app.yaml", &service("app", &[&one]));
    gateway.wait_status("a.example", "/", 200).await;
    let mut socket: WebSocket = open(&gateway).await;
    gateway.write("app.yaml", &service("app", &[]));
    gateway.wait_for_status("an endpoint that drains", |status| draining(status).len() == 1).await;
    gateway.write("app.yaml", &service("app", &[&one]));
    let back = |status: &Value| status["backends"][0]["websockets"] == 1 && draining(status).is_empty();
    gateway.wait_for_status("it to be back", back).await;
    assert_eq!(socket.echo("still here").await.unwrap(), "still here");
}
