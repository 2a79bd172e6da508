//! Certificates of HTTPS listeners: their age, and what is said of it.

mod support;

use std::time::{Duration, SystemTime};

use penstock_testkit::{Backend, Ca, DEADLINE};
use support::Gateway;
use support::tls::{listener, objects};

#[tokio::test]
async fn the_end_of_a_certificate_is_shown_and_warned_of() {
    let ca = Ca::new("test");
    let app = Backend::start("app").await;
    let now = SystemTime::now();
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    // Of a life of 30 seconds the last six are left in three.
    let short = ca.server_between(&["a.example"], now - Duration::from_secs(21), now + Duration::from_secs(9));
    let secrets = [short.secret_yaml("edge", "short"), ca.server(&["b.example"]).secret_yaml("edge", "long")];
    let gateway = Gateway::start(&objects(&[listener("app", "", "short long")], &[&app], &secrets)).await;
    let labels = [("gateway", "edge/shop"), ("listener", "app"), ("secret", "edge/short")];
    #[allow(clippy::cast_precision_loss, reason = "seconds of this century")]
    gateway.wait_metric("penstock_certificate_expiry_timestamp_seconds", &labels, (seconds + 9) as f64).await;
    gateway.wait_for_problem("CertificateExpiresSoon", "edge/short ends at").await;
    gateway.process.wait_for_stderr("edge/short ends at", DEADLINE).await;
    gateway.wait_for_problem("CertificateExpired", "edge/short has expired at").await;
    let lines = gateway.process.stderr();
    let told = lines.iter().filter(|line| line.contains("ends at") && line.contains("CertificateExpiresSoon"));
    assert_eq!(told.count(), 1, "{lines:#?}");
    // A renewed one takes the warning and the old end along.
    let renewed = ca.server(&["a.example"]).secret_yaml("edge", "short");
    gateway.replace(&objects(&[listener("app", "", "short long")], &[&app], &[renewed, secrets[1].clone()]));
    let solved = |status: &serde_json::Value| status["problems"].as_array().is_some_and(Vec::is_empty);
    gateway.wait_for_status("no problem any more", solved).await;
    // Without the listener's reference there is no series.
    gateway.replace(&objects(&[listener("app", "", "long")], &[&app], &secrets[1..]));
    let look = || async { gateway.metrics().await };
    let gone = |metrics: &penstock_testkit::Metrics| {
        metrics.value("penstock_certificate_expiry_timestamp_seconds", &labels).is_none()
    };
    penstock_testkit::until("the series to go", DEADLINE, look, gone).await;
}
