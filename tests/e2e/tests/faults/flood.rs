//! More changes than anybody makes: 10,000 in a minute.

use std::time::Duration;

use penstock_e2e::load::Departures;
use tokio::time::{MissedTickBehavior, interval};

use crate::backend::{addresses, three};
use crate::objects::rule;
use crate::site::Site;

const CHANGES: u32 = 10_000;
const FILES: u32 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_changes_in_a_minute_cost_nothing() {
    let backends = three().await;
    let site = Site::before(&addresses(&backends), &[]).await;
    for file in 0..FILES {
        site.objects.write(&format!("rule-{file}.yaml"), &rule(&format!("r{file}"), &format!("r{file}-0.example.com")));
    }
    let before = site.warm().await;
    let load = site.load(&Departures::default()).await;
    let mut ticks = interval(Duration::from_secs(60) / CHANGES);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for change in 0..CHANGES {
        ticks.tick().await;
        let file = change % FILES;
        let host = format!("r{file}-{change}.example.com");
        site.objects.write(&format!("rule-{file}.yaml"), &rule(&format!("r{file}"), &host));
    }
    // The last one is in the traffic.
    let last = format!("r{}-{}.example.com", FILES - 1, CHANGES - 1);
    site.answers(&last, 200).await;
    let report = load.stop().await;
    report.assert_clean();
    site.finish("10,000 rules change in a minute", &report, before).await;
}
