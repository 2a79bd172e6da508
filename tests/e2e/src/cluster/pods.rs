//! Pods: which are leaving, which have been restarted.

use std::time::Duration;

use futures_util::StreamExt as _;
use kube::api::WatchEvent;
use serde_json::Value;
use tokio::task::JoinSet;

use super::{Objects, PODS};
use crate::load::Departures;

/// A watch of Pods that notes departures as they happen; ends when dropped.
#[derive(Debug)]
pub struct PodWatch {
    departures: Departures,
    _tasks: JoinSet<()>,
}

impl PodWatch {
    /// Watches these namespaces; `Duration` says for how long after the begin of its departure a Pod keeps WebSockets.
    ///
    /// # Panics
    /// When the API server does not answer.
    pub async fn start(objects: &Objects, namespaces: &[(&str, Duration)]) -> Self {
        let (departures, mut tasks) = (Departures::default(), JoinSet::new());
        for &(namespace, quiet) in namespaces {
            // The first answer is awaited, so that no departure after this call is missed.
            let first =
                events(objects, namespace).await.unwrap_or_else(|e| panic!("watching Pods of {namespace}: {e}"));
            let (objects, namespace, departures) = (objects.clone(), namespace.to_owned(), departures.clone());
            tasks.spawn(async move {
                let mut stream = first;
                loop {
                    while let Some(Ok(event)) = stream.next().await {
                        note(&event, quiet, &departures);
                    }
                    match events(&objects, &namespace).await {
                        Ok(again) => stream = again,
                        // The API server is away: every load that is running says for itself what became of its WebSockets.
                        Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                    }
                }
            });
        }
        Self { departures, _tasks: tasks }
    }

    /// What is known by now, and will be.
    #[must_use]
    pub fn departures(&self) -> &Departures {
        &self.departures
    }
}

type Events = futures_util::stream::BoxStream<'static, kube::Result<WatchEvent<Value>>>;

/// Starts with the Pods that are there.
async fn events(objects: &Objects, namespace: &str) -> kube::Result<Events> {
    let request =
        http::Request::get(PODS.path(namespace, "?watch=1")).body(Vec::new()).map_err(kube::Error::HttpError)?;
    let events = objects.client.request_events::<Value>(request).await?;
    Ok(events.boxed())
}

fn note(event: &WatchEvent<Value>, quiet: Duration, departures: &Departures) {
    let (WatchEvent::Added(pod) | WatchEvent::Modified(pod) | WatchEvent::Deleted(pod)) = event else { return };
    let deleted = matches!(event, WatchEvent::Deleted(_));
    if deleted || !pod["metadata"]["deletionTimestamp"].is_null() {
        let known = [&pod["metadata"]["name"], &pod["status"]["podIP"]];
        known.into_iter().filter_map(Value::as_str).for_each(|id| departures.leaving(id, quiet));
    }
}

/// Whether a Pod is ready and stays.
#[must_use]
pub fn ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Name and number of restarts of each Pod, by name.
#[must_use]
pub fn restarts(pods: &[Value]) -> Vec<(String, u64)> {
    let count = |pod: &Value| {
        let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
        containers.filter_map(|container| container["restartCount"].as_u64()).sum()
    };
    let name = |pod: &Value| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = pods.iter().map(|pod| (name(pod), count(pod))).collect();
    all.sort();
    all
}
