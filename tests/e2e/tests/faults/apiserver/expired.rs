//! Watches that nobody can go on with: the API server has forgotten what they showed.

use std::time::Instant;

use penstock_e2e::cluster::RULES;
use penstock_e2e::load::Departures;
use penstock_testkit::DEADLINE;

use super::link::Link;
use super::place::{Place, three};
use crate::objects::rule;
use crate::site::more;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_expire_cost_nothing() {
    let place = Place::new("expired").await;
    let backends = three().await;
    let link = Link::to(place.server()).await;
    let site = place.site(&backends, Some(link.kubeconfig())).await;
    for name in ["gone", "changed"] {
        site.objects.apply(&rule(name, &format!("{name}.example.com"))).await;
        site.answers(&format!("{name}.example.com"), 200).await;
    }
    let before = site.warm().await;
    let load = site.load(&Departures::default()).await;
    link.cut();
    site.process.wait_for_stderr("kind=\"RoutingRule\"", DEADLINE).await;
    // What becomes of rules meanwhile, and that etcd and the API server forget how.
    site.objects.objects.delete(RULES, "expired", "gone").await.unwrap();
    site.objects
        .apply(&format!("{}---\n{}", rule("changed", "other.example.com"), rule("new", "new.example.com")))
        .await;
    site.objects.server().compact().await.unwrap();
    site.objects.stop_server().await;
    site.objects.start_server().await;
    for (host, status) in [("gone", 200), ("changed", 200), ("other", 404), ("new", 404)] {
        site.answers(&format!("{host}.example.com"), status).await;
    }
    link.mend();
    let mended = Instant::now();
    for (host, status) in [("gone", 404), ("changed", 404), ("other", 200), ("new", 200)] {
        site.answers(&format!("{host}.example.com"), status).await;
    }
    let took = mended.elapsed();
    site.process.wait_for_stderr("too old resource version", DEADLINE).await;
    more(&load, 200).await;
    let report = load.stop().await;
    report.assert_clean();
    let fault = format!("watches expire; what changed meanwhile is in the traffic after {:.1} s", took.as_secs_f64());
    site.finish(&fault, &report, before).await;
}
