//! Outlier ejection: an endpoint whose requests fail is out for a while, whatever its probes say, and never too many are.

mod support;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use penstock_testkit::{Backend, DEADLINE, Request, free_port, until};
use serde_json::Value;
use support::{Gateway, http_gateway, rule, service, service_at};

const HOST: &str = "a.example";
const EJECTIONS: &str = "penstock_backend_ejections_total";

/// Settings `s` with these fields, whose probe asks ten times a second for what is always healthy unless told otherwise.
fn gateway_with(settings: &str) -> String {
    http_gateway(&format!(
        "backendSettings: [{{name: s, probe: ready, {settings}}}]\n\
         probes: [{{name: ready, path: /healthz, interval: 100ms, timeout: 2s, unhealthyThreshold: 1}}]\n"
    ))
}

fn to_app() -> String {
    rule("all", "backend: {services: [{name: app, port: 80}], settings: s}")
}

async fn over(settings: &str, backends: &[&Backend]) -> Gateway {
    let gateway = Gateway::start(&[gateway_with(settings), to_app(), service("app", backends)]).await;
    let all = backends.len();
    gateway
        .wait_for_status("every endpoint to be probed", |status| {
            healths(status).values().filter(|h| *h == "Up").count() == all
        })
        .await;
    gateway
}

/// Health by address.
fn healths(status: &Value) -> BTreeMap<String, String> {
    let backends = status["backends"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    backends.iter().map(|backend| (text(&backend["address"]), text(&backend["health"]))).collect()
}

/// Sends requests until an endpoint was ejected; the answers' statuses.
async fn until_ejected(gateway: &Gateway, ejections: f64) {
    let seen = || async {
        gateway.get(HOST, "/x").await;
        gateway.metrics().await.sum(EJECTIONS, &[])
    };
    until("an ejection", DEADLINE, seen, |seen| *seen >= ejections).await;
}

/// How many of so many requests each answers.
async fn who(gateway: &Gateway, requests: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..requests {
        *seen.entry(gateway.who(HOST, "/x").await).or_default() += 1;
    }
    seen
}

fn only(name: &str, count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(name.to_owned(), count)])
}

#[tokio::test]
async fn five_failures_in_a_row_take_an_endpoint_out_whatever_its_probe_says() {
    let (good, bad) = (Backend::start("good").await, Backend::start("bad").await);
    bad.behave("status=500");
    let gateway = over("requestTimeout: 20s", &[&good, &bad]).await;
    until_ejected(&gateway, 1.0).await;
    assert_eq!(bad.count("/x"), 5, "the default");
    assert_eq!(who(&gateway, 10).await, only("good", 10));
    let status = gateway
        .wait_for_status("the endpoint to be down", |status| healths(status)[&bad.addr().to_string()] == "Down")
        .await;
    let backends = status["backends"].as_array().cloned().unwrap();
    let out = backends.iter().find(|backend| backend["address"] == bad.addr().to_string()).unwrap();
    assert_eq!(out["reason"], "Ejected: 5 requests in a row failed; out for 30s");
    let address = bad.addr().to_string();
    gateway.wait_metric("penstock_backend_up", &[("endpoint", &address)], 0.0).await;
    gateway.wait_metric(EJECTIONS, &[("pool", "edge/all"), ("settings", "s")], 1.0).await;
}

#[tokio::test]
async fn a_request_that_goes_well_begins_the_row_anew() {
    let (good, bad) = (Backend::start("good").await, Backend::start("bad").await);
    let gateway = over("retry: {attempts: 0}", &[&good, &bad]).await;
    for _ in 0..4 {
        // Four failures each, then both answer.
        for behaviour in ["status=503", "status=503", "status=503", "status=503", "status=404"] {
            for _ in 0..2 {
                gateway.send(&Request::get(HOST, "/x").behaviour(behaviour)).await;
            }
        }
    }
    assert_eq!((good.count("/x"), bad.count("/x")), (20, 20));
    assert!(gateway.metrics().await.sum(EJECTIONS, &[]) < 0.5);
}

#[tokio::test]
async fn it_comes_back_and_is_out_longer_the_next_time() {
    let (good, bad) = (Backend::start("good").await, Backend::start("bad").await);
    bad.behave("status=500");
    let outliers = "outlierDetection: {consecutive5xxErrors: 2, baseEjectionTime: 500ms}";
    let gateway = over(outliers, &[&good, &bad]).await;
    let reason = |time: &'static str| {
        let address = bad.addr().to_string();
        move |status: &Value| {
            let all = status["backends"].as_array().cloned().unwrap_or_default();
            all.iter().any(|one| one["address"] == address && one["reason"].as_str().is_some_and(|r| r.ends_with(time)))
        }
    };
    for (ejections, time) in [(1.0, "out for 500ms"), (2.0, "out for 1s"), (3.0, "out for 1.5s")] {
        until_ejected(&gateway, ejections).await;
        gateway.wait_for_status(time, reason(time)).await;
    }
    bad.behave("");
    let back = || async { gateway.who(HOST, "/x").await };
    until("it to be back", DEADLINE, back, |name| name == "bad").await;
    assert_eq!(who(&gateway, 8).await, BTreeMap::from([("bad".to_owned(), 4), ("good".to_owned(), 4)]));
    gateway.wait_metric("penstock_backend_up", &[], 2.0).await;
}

#[tokio::test]
async fn no_more_than_half_is_out() {
    let all = [Backend::start("a").await, Backend::start("b").await, Backend::start("c").await];
    all.iter().for_each(|backend| backend.behave("status=500"));
    let gateway = over("outlierDetection: {consecutive5xxErrors: 2}", &[&all[0], &all[1], &all[2]]).await;
    until_ejected(&gateway, 1.0).await;
    let seen = who(&gateway, 40).await;
    assert_eq!(seen.values().sum::<usize>(), 40);
    assert_eq!(seen.len(), 2, "one of three is out, two are left: {seen:?}");
    assert!((gateway.metrics().await.sum(EJECTIONS, &[]) - 1.0).abs() < 1e-9);
}

#[tokio::test]
async fn an_endpoint_without_another_is_never_out() {
    let only_one = Backend::start("one").await;
    only_one.behave("status=500");
    let gateway = over("outlierDetection: {consecutive5xxErrors: 1}", &[&only_one]).await;
    assert_eq!(who(&gateway, 10).await, only("one", 10));
    assert!(gateway.metrics().await.sum(EJECTIONS, &[]) < 0.5);
}

#[tokio::test]
async fn those_that_fail_their_probes_count_as_out() {
    let (bad, ill) = (Backend::start("bad").await, Backend::start("ill").await);
    bad.behave("status=500");
    let gateway = over("outlierDetection: {consecutive5xxErrors: 1}", &[&bad, &ill]).await;
    ill.set_health(false);
    let address = ill.addr().to_string();
    gateway.wait_for_status("one to be down", |status| healths(status)[&address] == "Down").await;
    assert_eq!(who(&gateway, 10).await, only("bad", 10));
    assert!(gateway.metrics().await.sum(EJECTIONS, &[]) < 0.5);
}

#[tokio::test]
async fn a_probe_that_brings_it_back_from_down_ends_the_ejection() {
    let (good, bad) = (Backend::start("good").await, Backend::start("bad").await);
    bad.behave("status=500");
    let gateway = over("outlierDetection: {consecutive5xxErrors: 2, baseEjectionTime: 1h}", &[&good, &bad]).await;
    until_ejected(&gateway, 1.0).await;
    bad.behave("");
    bad.set_health(false);
    let reason = |status: &Value| {
        let all = status["backends"].as_array().cloned().unwrap_or_default();
        all.iter().any(|one| one["reason"].as_str().is_some_and(|reason| reason.starts_with("StatusMismatch")))
    };
    gateway.wait_for_status("its probe to fail", reason).await;
    bad.set_health(true);
    until("it to be back", DEADLINE, || async { gateway.who(HOST, "/x").await }, |name| name == "bad").await;
}

#[tokio::test]
async fn refused_connections_count_and_zero_turns_it_off() {
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    for (outliers, ejected) in [("consecutive5xxErrors: 3", 1.0), ("consecutive5xxErrors: 0", 0.0)] {
        let good = Backend::start("good").await;
        let gateway = Gateway::start(&[
            http_gateway(""),
            rule("all", &format!("backend: {{services: [{{name: app, port: 80}}], inlineSettings: {{outlierDetection: {{{outliers}}}}}}}")),
            service_at("app", &[good.addr(), nobody]),
        ])
        .await;
        assert_eq!(who(&gateway, 20).await, only("good", 20), "a refused connection is made to another");
        gateway.wait_metric(EJECTIONS, &[], ejected).await;
        let refused =
            || async { gateway.metrics().await.sum("penstock_backend_errors_total", &[("reason", "connect")]) };
        let as_often = |refused: &f64| if ejected > 0.0 { (2.5..3.5).contains(refused) } else { *refused > 8.5 };
        until(&format!("{outliers}: the refused connections"), DEADLINE, refused, as_often).await;
    }
}
