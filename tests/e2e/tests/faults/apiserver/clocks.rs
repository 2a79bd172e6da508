//! Leases by clocks that are not ours.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use penstock_e2e::cluster::{LEASES, condition};
use penstock_e2e::load::Departures;
use penstock_testkit::{DEADLINE, until};
use serde_json::{Value, json};

use super::place::{POD, Place, three};
use crate::objects::rule;
use crate::site::{Site, more};

/// How long the other one's Lease lasts.
const LEASE: Duration = Duration::from_secs(15);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_lasts_by_our_clock_whatever_it_says() {
    tokio::join!(of_a_clock("ahead", HOUR), of_a_clock("behind", -HOUR));
}

/// Another replica by a clock that is off by so much has the Lease, and never says anything again.
async fn of_a_clock(name: &'static str, off: SignedDuration) {
    let place = Place::new(name).await;
    let backends = three().await;
    let site = place.site(&backends, None).await;
    let before = site.warm().await;
    site.process.wait_for_stderr("leads now", DEADLINE).await;
    let load = site.load(&Departures::default()).await;
    let taken = Instant::now();
    let lease = json!({"spec": {
        "holderIdentity": "other", "renewTime": at(off), "acquireTime": at(off), "leaseDurationSeconds": LEASE.as_secs(),
    }});
    site.objects.objects.patch(LEASES, name, &format!("penstock-{name}"), &lease).await.unwrap();
    site.process.wait_for_stderr("leads no longer", DEADLINE).await;
    // The traffic follows whoever leads; only the status waits.
    site.objects.apply(&rule("late", "late.example.com")).await;
    site.answers("late.example.com", 200).await;
    until(
        "the Lease",
        DEADLINE * 2,
        || seen(&site),
        |(status, holder)| {
            assert!(*holder == POD || status.is_null(), "written by who does not lead: {status}");
            holder == POD
        },
    )
    .await;
    let took = taken.elapsed();
    // It asks every two seconds, and saw it no earlier than it was written.
    assert!(LEASE <= took && took < LEASE + Duration::from_secs(8), "after {took:?}");
    let accepted = |seen: &(Value, String)| condition(&seen.0["parents"][0], "Accepted")["status"] == "True";
    until("a status", DEADLINE, || seen(&site), accepted).await;
    more(&load, 200).await;
    let report = load.stop().await;
    report.assert_clean();
    let fault = format!(
        "a Lease of {} s by a clock an hour {name} is taken over after {:.1} s",
        LEASE.as_secs(),
        took.as_secs_f64()
    );
    site.finish(&fault, &report, before).await;
}

/// The rule's status, and who had the Lease after that.
async fn seen(site: &Site<Place>) -> (Value, String) {
    let (objects, namespace) = (&site.objects.objects, site.objects.namespace);
    let status = site.objects.rule("late").await["status"].clone();
    let lease = objects.get(LEASES, namespace, &format!("penstock-{namespace}")).await.unwrap();
    (status, lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned())
}

/// What a clock that is off by so much says now, as Leases have it.
fn at(off: SignedDuration) -> String {
    (Timestamp::now() + off).strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
