//! An API server that is away for a while.

use std::time::Instant;

use penstock_e2e::cluster::condition;
use penstock_e2e::load::Departures;
use penstock_testkit::{DEADLINE, until};

use super::place::{Place, three};
use crate::objects::rule;
use crate::site::more;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_is_away_costs_nothing() {
    let place = Place::new("away").await;
    let backends = three().await;
    let site = place.site(&backends, None).await;
    let before = site.warm().await;
    let load = site.load(&Departures::default()).await;
    site.objects.stop_server().await;
    let stopped = Instant::now();
    // Longer than a leader may lead that hears nothing.
    more(&load, 1600).await;
    site.process.wait_for_stderr("leads no longer", DEADLINE).await;
    site.objects.start_server().await;
    let away = stopped.elapsed();
    site.objects.apply(&rule("late", "late.example.com")).await;
    let applied = Instant::now();
    site.answers("late.example.com", 200).await;
    let took = applied.elapsed();
    // It leads again, and says so in statuses.
    let status = || async { site.objects.rule("late").await["status"]["parents"][0].clone() };
    until("a status", DEADLINE, status, |parent| condition(parent, "Accepted")["status"] == "True").await;
    more(&load, 200).await;
    let report = load.stop().await;
    report.assert_clean();
    let fault = format!(
        "the API server is away for {:.0} s; what is applied then is in the traffic after {:.1} s",
        away.as_secs_f64(),
        took.as_secs_f64()
    );
    site.finish(&fault, &report, before).await;
}
