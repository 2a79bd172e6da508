//! One watch, followed for ever: lists and changes to batches, failures to a pause.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use kube::api::Api;
use kube::core::{DeserializeGuard, Resource};
use kube::runtime::watcher::{self, Event};
use penstock_api::k8s::ObjectMeta;
use penstock_api::reasons::{ConditionType, GatewayReason, RuleReason};
use penstock_model::Problem;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep};

use super::{Sender, id_of};
use crate::store::{Change, Id, Kind, Object, Scope};

/// An object, or why it cannot be read.
pub(crate) type Followed = Result<Object, Box<(Id, Problem)>>;

/// What a missing or forbidden API means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nothing works without: wait for it.
    Wait,
    /// There is nothing; look again every minute.
    Empty,
    /// The caller knows what to do.
    End,
}

/// The first pause after a failure, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Between two looks for an API that is optional.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// An API server that has just started says 403 and 404 before it knows its roles and definitions. What was there counts as
/// gone only after so long.
const GONE_AFTER: Duration = Duration::from_secs(15);

/// Since when an API that was there answers as if it were missing.
#[derive(Debug, Default)]
pub(crate) struct Absence {
    was_there: bool,
    since: Option<Instant>,
}

impl Absence {
    /// It was read.
    pub(crate) fn there(&mut self) {
        *self = Self { was_there: true, since: None };
    }

    /// It is missing again: whether to believe it.
    pub(crate) fn believe(&mut self) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        !self.was_there || since.elapsed() >= GONE_AFTER
    }
}

/// Watches with kube's watcher. `absence` is that of the API, whichever watch of it this is.
pub(crate) async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    scope: Scope,
    missing: Missing,
    convert: impl Fn(K) -> Followed,
    to: Vec<Sender>,
    absence: &mut Absence,
) where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    follow_stream(watcher::watcher(api, config), scope, missing, convert, to, absence).await;
}

/// Follows a stream of watch events until nobody listens any more.
pub(crate) async fn follow_stream<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    scope: Scope,
    missing: Missing,
    convert: impl Fn(K) -> Followed,
    to: Vec<Sender>,
    absence: &mut Absence,
) {
    let mut stream = std::pin::pin!(stream);
    let mut list = (Vec::new(), Vec::new());
    let mut failures = 0;
    let mut said = None;
    while let Some(event) = stream.next().await {
        let batch = match event {
            Err(error) => {
                let absent = is_missing(&error);
                let text = error.to_string();
                if said.as_ref() != Some(&text) {
                    tracing::warn!(
                        kind = scope.kind.as_str(),
                        namespace = scope.namespace.as_deref(),
                        "{}",
                        advice(&scope, absent, &text)
                    );
                    said = Some(text);
                }
                if absent && missing == Missing::End {
                    return;
                }
                if absent && missing == Missing::Empty && absence.believe() {
                    send(&to, &[Change::Absent(scope.clone())]);
                    sleep(LOOK_AGAIN).await;
                } else {
                    sleep(delay(failures)).await;
                    failures += 1;
                }
                continue;
            }
            Ok(Event::Init) => {
                list = (Vec::new(), Vec::new());
                continue;
            }
            Ok(Event::InitApply(object)) => {
                match convert(object) {
                    Ok(object) => list.0.push(object),
                    Err(broken) => list.1.push(*broken),
                }
                continue;
            }
            Ok(Event::InitDone) => {
                let (objects, broken) = std::mem::take(&mut list);
                vec![Change::Replace { scope: scope.clone(), objects, broken }]
            }
            Ok(Event::Apply(object)) => match convert(object) {
                Ok(object) => vec![Change::Put(object)],
                Err(broken) => vec![Change::Broken(broken.0, broken.1)],
            },
            Ok(Event::Delete(object)) => vec![Change::Remove(match convert(object) {
                Ok(object) => object.id(),
                Err(broken) => broken.0,
            })],
        };
        if said.take().is_some() {
            tracing::info!(kind = scope.kind.as_str(), namespace = scope.namespace.as_deref(), "watching again");
        }
        failures = 0;
        absence.there();
        if !send(&to, &batch) {
            return;
        }
    }
}

/// The pause after so many failures: doubled each time, and a little different in every process.
pub(crate) fn delay(failures: u32) -> Duration {
    let whole = PAUSE.0.saturating_mul(1 << failures.min(10)).min(PAUSE.1);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    whole.mul_f64(0.75 + 0.25 * f64::from(nanos % 1000) / 1000.0)
}

/// Reads an object that may be broken.
pub(crate) fn read<K>(kind: Kind, guard: DeserializeGuard<K>, convert: &impl Fn(K) -> Object) -> Followed {
    guard.0.map(convert).map_err(|invalid| {
        let id = id_of(kind, &invalid.metadata);
        let reason = match kind {
            Kind::Gateway => GatewayReason::InvalidValue.as_str(),
            _ => RuleReason::InvalidValue.as_str(),
        };
        let message = format!(
            "{}; correct the object, and see that the installed CustomResourceDefinitions are those of this version",
            invalid.error
        );
        Box::new((
            id.clone(),
            Problem { object: id.object_ref(), condition: ConditionType::Accepted.as_str(), reason, message },
        ))
    })
}

/// An object without what nobody asks for: it is most of its memory.
pub(crate) fn slim<K: Resource>(mut object: K) -> K {
    let metadata: &mut ObjectMeta = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    object
}

fn send(to: &[Sender], batch: &[Change]) -> bool {
    to.iter().all(|sender| sender.send(batch.to_vec()).is_ok())
}

/// Whether the API is not there, or not for us.
fn is_missing(error: &watcher::Error) -> bool {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.code,
        _ => 0,
    };
    matches!(code, 403 | 404)
}

fn advice(scope: &Scope, absent: bool, error: &str) -> String {
    match (absent, scope.kind) {
        (true, Kind::Gateway | Kind::Rule) => {
            format!(
                "cannot watch: {error}; install the chart penstock-crds, and see that the ServiceAccount may list and watch"
            )
        }
        (true, _) => format!("cannot watch: {error}; see that the ServiceAccount may list and watch"),
        (false, _) => format!("the watch failed and goes on: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        assert!(delay(0) <= PAUSE.0);
        assert!(delay(3) > delay(0));
        assert!(delay(1000) <= PAUSE.1);
    }

    fn event(event: Event<penstock_api::k8s::ConfigMap>) -> watcher::Result<Event<penstock_api::k8s::ConfigMap>> {
        Ok(event)
    }

    fn forbidden() -> watcher::Result<Event<penstock_api::k8s::ConfigMap>> {
        let status = kube::core::Status::failure("not yet", "Forbidden").with_code(403).boxed();
        Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))
    }

    /// What a watch tells the store about a list: absent, or there.
    async fn told(events: Vec<watcher::Result<Event<penstock_api::k8s::ConfigMap>>>) -> Vec<&'static str> {
        let (sender, mut batches) = tokio::sync::mpsc::unbounded_channel();
        let scope = Scope { kind: Kind::ConfigMap, namespace: None };
        let convert = |o| Ok(Object::ConfigMap(std::sync::Arc::new(o)));
        let stream = futures_util::stream::iter(events);
        follow_stream(stream, scope, Missing::Empty, convert, vec![sender], &mut Absence::default()).await;
        let mut told = Vec::new();
        while let Some(batch) = batches.recv().await {
            told.extend(
                batch.iter().map(|change| if matches!(change, Change::Absent(_)) { "absent" } else { "there" }),
            );
        }
        told
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_there_is_gone_only_when_it_stays_away() {
        let list = || [event(Event::Init), event(Event::InitDone)];
        let away = |times: usize| (0..times).map(|_| forbidden()).collect::<Vec<_>>();
        assert_eq!(told(away(1)).await, ["absent"], "at the start nothing waits for it");
        let restart = list().into_iter().chain(away(3)).chain(list()).collect();
        assert_eq!(told(restart).await, ["there", "there"]);
        let gone = list().into_iter().chain(away(20)).collect();
        assert_eq!(told(gone).await[..2], ["there", "absent"]);
    }

    #[test]
    fn a_slim_object_keeps_its_own_annotations() {
        let object: penstock_api::k8s::ConfigMap = serde_json::from_value(serde_json::json!({"metadata": {
            "name": "a", "managedFields": [{"manager": "m"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "1"},
        }}))
        .unwrap();
        let object = slim(object);
        assert_eq!(object.metadata.managed_fields, None);
        assert_eq!(object.metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["mine"]);
    }
}
