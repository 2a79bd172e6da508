//! As many changes as the API server takes.

use std::time::{Duration, Instant};

use penstock_e2e::cluster::RULES;
use penstock_e2e::load::Departures;
use serde_json::json;
use tokio::task::JoinSet;

use super::place::{Place, three};
use crate::objects::rule;

/// So many in all, and no more than come in this time.
const CHANGES: u32 = 10_000;
const LASTS: Duration = Duration::from_secs(60);
/// Each writer changes these in turn.
const WRITERS: u32 = 10;
const RULES_EACH: u32 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_changes_as_the_api_server_takes_cost_nothing() {
    let place = Place::new("flood").await;
    let backends = three().await;
    let rules: Vec<_> = (0..WRITERS * RULES_EACH).map(|n| rule(&format!("r{n}"), &host(n, 0))).collect();
    place.apply(&rules.join("---\n")).await;
    let site = place.site(&backends, None).await;
    let before = site.warm().await;
    let load = site.load(&Departures::default()).await;
    let (started, mut writers) = (Instant::now(), JoinSet::new());
    for writer in 0..WRITERS {
        let objects = site.objects.objects.clone();
        writers.spawn(async move {
            let mut made = 0;
            while made < CHANGES / WRITERS && started.elapsed() < LASTS {
                made += 1;
                let rule = writer * RULES_EACH + made % RULES_EACH;
                let patch = json!({"spec": {"hostNames": [host(rule, made)]}});
                objects.patch(RULES, "flood", &format!("r{rule}"), &patch).await.unwrap();
            }
            (made, host(writer * RULES_EACH + made % RULES_EACH, made))
        });
    }
    let last = writers.join_all().await;
    let (lasted, written) = (started.elapsed(), Instant::now());
    // The last one of each is in the traffic.
    for (_, host) in &last {
        site.answers(host, 200).await;
    }
    let took = written.elapsed();
    let report = load.stop().await;
    report.assert_clean();
    let made: u32 = last.iter().map(|(made, _)| made).sum();
    let fault = format!(
        "{made} rules change in {:.0} s through the API server, the last is in the traffic after {:.1} s",
        lasted.as_secs_f64(),
        took.as_secs_f64()
    );
    site.finish(&fault, &report, before).await;
}

fn host(rule: u32, change: u32) -> String {
    format!("r{rule}-{change}.example.com")
}
