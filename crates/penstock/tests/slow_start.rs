//! Slow start: an endpoint that is new, or has come back, grows into its share of the requests.

mod support;

use std::collections::BTreeMap;

use penstock_testkit::{Backend, DEADLINE, until};
use support::{Gateway, http_gateway, rule, service};

const HOST: &str = "a.example";
/// Requests that a share is counted from.
const MANY: usize = 60;

/// Settings `s` with a window that is long beside what a few requests take, and these fields. Its probe asks ten times a
/// second.
fn slowly(more: &str) -> [String; 2] {
    [
        http_gateway(&format!(
            "backendSettings: [{{name: s, probe: ready, slowStart: {{window: 6s}}, {more}}}]\n\
             probes: [{{name: ready, path: /healthz, interval: 100ms, timeout: 2s, unhealthyThreshold: 1}}]\n"
        )),
        rule("all", "backend: {services: [{name: app, port: 80}], settings: s}"),
    ]
}

fn objects(more: &str, backends: &[&Backend]) -> Vec<String> {
    slowly(more).into_iter().chain([service("app", backends)]).collect()
}

/// Percent of so many requests that go to each backend.
async fn shares(gateway: &Gateway) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..MANY {
        *seen.entry(gateway.who(HOST, "/x").await).or_default() += 1;
    }
    seen.values_mut().for_each(|count| *count = *count * 100 / MANY);
    seen
}

fn share(shares: &BTreeMap<String, usize>, name: &str) -> usize {
    shares.get(name).copied().unwrap_or(0)
}

/// Waits until so many endpoints take traffic.
async fn until_up(gateway: &Gateway, count: usize) {
    gateway.wait_metric("penstock_backend_up", &[], f64::from(u32::try_from(count).expect("a few"))).await;
}

/// Its share is small now, and half of all at the end of the window.
async fn grows(gateway: &Gateway, name: &str) {
    let first = shares(gateway).await;
    assert!(share(&first, name) <= 33, "a tenth of a half, and a little more with each second: {first:?}");
    let is_whole = |seen: &BTreeMap<String, usize>| (43..=57).contains(&share(seen, name));
    let whole = until("the whole share", DEADLINE, || shares(gateway), is_whole).await;
    assert_eq!(whole.len(), 2, "nobody failed");
}

#[tokio::test]
async fn a_new_endpoint_grows_into_its_share() {
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let gateway = Gateway::start(&objects("protocol: HTTP", &[&old])).await;
    // It has to be older than the other one by the window.
    assert_eq!(share(&shares(&gateway).await, "old"), 100, "one alone waits for nobody");
    let begun = tokio::time::Instant::now();
    until("the window of the first to be over", DEADLINE, || async { begun.elapsed().as_secs() }, |age| *age >= 6)
        .await;
    gateway.replace(&objects("protocol: HTTP", &[&old, &new]));
    until_up(&gateway, 2).await;
    grows(&gateway, "new").await;
}

#[tokio::test]
async fn one_that_comes_back_does_too_also_by_the_fewest_connections() {
    let (old, new) = (Backend::start("old").await, Backend::start("back").await);
    let gateway = Gateway::start(&objects("loadBalancing: LeastConnections", &[&old, &new])).await;
    until_up(&gateway, 2).await;
    let both = shares(&gateway).await;
    assert!((40..=60).contains(&share(&both, "back")), "all began together: {both:?}");
    let begun = tokio::time::Instant::now();
    new.set_health(false);
    until_up(&gateway, 1).await;
    until("the window of the first to be over", DEADLINE, || async { begun.elapsed().as_secs() }, |age| *age >= 6)
        .await;
    new.set_health(true);
    until_up(&gateway, 2).await;
    grows(&gateway, "back").await;
}
