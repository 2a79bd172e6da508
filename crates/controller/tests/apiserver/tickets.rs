//! What session tickets are sealed with: made and renewed by the leader, the same in every replica.

use penstock_controller::ClusterSettings;
use penstock_model::TicketSecrets;
use penstock_testkit::DEADLINE;
use tokio::time::timeout;

use crate::setup::{Place, Running};

async fn secrets(running: &Running, what: &str, accept: impl Fn(&TicketSecrets) -> bool) -> TicketSecrets {
    let mut tickets = running.outputs.tickets.clone();
    let seen = timeout(DEADLINE, tickets.wait_for(|now| now.as_ref().is_some_and(&accept))).await;
    seen.unwrap_or_else(|_| panic!("waiting for {what}: {:?}", running.outputs.tickets.borrow()))
        .unwrap()
        .clone()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_what_the_leader_renews() {
    let place = Place::shared("tickets").await;
    place.apply("{apiVersion: v1, kind: Secret, metadata: {name: session-tickets, namespace: $NS}}").await;
    let settings =
        |identity| ClusterSettings { tickets: Some("session-tickets".to_owned()), ..place.settings(identity) };
    let mut leader = place.start(settings("leader"));
    leader.state("leading", |state| state.leader).await;
    let follower = place.start(settings("follower"));
    let made = secrets(&leader, "a first secret", |now| !now.is_empty()).await;
    assert_eq!(secrets(&follower, "the same", |now| *now == made).await.iter().count(), 1);
    // Seven hours later.
    let first = made.iter().next().unwrap();
    let aged = format!(
        r#"[{{"op": "move", "from": "/data/{}", "path": "/data/{}"}}]"#,
        first.created,
        first.created - 7 * 3600
    );
    place.kubectl(&["patch", "secret", "session-tickets", "--type=json", "-p", &aged]).await;
    let both = |now: &TicketSecrets| now.iter().count() == 2 && now.iter().last().unwrap().secret == first.secret;
    let renewed = secrets(&leader, "one more", both).await;
    assert_ne!(renewed.iter().next().unwrap().secret, first.secret);
    secrets(&follower, "the renewed ones", |now| *now == renewed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_secret_each_replica_has_its_own() {
    let place = Place::shared("no-tickets").await;
    let settings = ClusterSettings { tickets: Some("nowhere".to_owned()), ..place.settings("alone") };
    let mut alone = place.start(settings);
    alone.state("leading", |state| state.leader).await;
    assert_eq!(*alone.outputs.tickets.borrow(), None);
    // Made later, it is filled all the same.
    place.apply("{apiVersion: v1, kind: Secret, metadata: {name: nowhere, namespace: $NS}}").await;
    secrets(&alone, "a secret", |now| !now.is_empty()).await;
}
