//! `/diff`: what posted objects would change about this instance, before anything is applied.
//!
//! The objects of this moment are translated twice, as they are and with those of the text, and the outcomes compared. The
//! traffic goes by neither: it is only asked how many WebSockets are open.

mod backends;
mod routes;

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use penstock_controller::{CurrentObjects, Preview};
use penstock_dataplane::{DataPlane, View};
use penstock_model::Problem;
use penstock_translate::{Options, Outcome, Snapshot, Translator};
use serde_json::{Value, json};

/// How many rows of each kind are shown; the rest is counted.
const ROWS: usize = 1000;

/// Whom to ask.
#[derive(Clone)]
pub(super) struct Diff {
    pub(super) objects: CurrentObjects,
    pub(super) options: Options,
    pub(super) plane: std::sync::Arc<DataPlane>,
}

impl Diff {
    /// The JSON of the differences, or why there is none.
    pub(super) async fn of(self, yaml: String) -> Result<String, String> {
        let now = self.objects.snapshot().await.ok_or("the process is ending")?;
        let compared = tokio::task::spawn_blocking(move || self.compare(now, &yaml)).await;
        compared.map_err(|error| format!("no answer: {error}"))?
    }

    fn compare(&self, now: Snapshot, yaml: &str) -> Result<String, String> {
        let now = Snapshot { now: seconds(), ..now };
        let preview = Preview::of(now.clone(), yaml, self.options.standalone).map_err(|error| error.to_string())?;
        let translate = |snapshot: &Snapshot| Translator::default().translate(snapshot, &self.options);
        let (before, after) = (translate(&now), translate(&preview.snapshot));
        let open = self.plane.open_websockets();
        let View { clusters, .. } = self.plane.view().borrow().clone();
        let (routes, concerned) = routes::changes(&before.config, &after.config, &open);
        let (listeners, left_listeners) = routes::listeners(&before.config, &after.config, &open);
        let (backends, left_endpoints) = backends::changes(&before.config, &after.config, &clusters);
        let refused: Vec<Value> = preview.refused.iter().map(problem).collect();
        let (problems, solved) = problems(&before, &after);
        let answer = json!({
            "objects": preview.objects,
            "refused": refused,
            "listeners": listeners,
            "routes": routes.iter().take(ROWS).collect::<Vec<_>>(),
            "more_routes": routes.len().saturating_sub(ROWS),
            "backends": backends.iter().take(ROWS).collect::<Vec<_>>(),
            "more_backends": backends.len().saturating_sub(ROWS),
            "problems": problems,
            "solved": solved,
            "not_looked_up": not_looked_up(&after, &preview.snapshot),
            "websockets": {
                // Open ones of rules for whose requests something changes: they go on, new ones follow the change.
                "concerned": concerned,
                // Those that a drain closes: their endpoint or listener leaves.
                "closed": left_listeners + left_endpoints,
            },
        });
        Ok(answer.to_string())
    }
}

fn seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    i64::try_from(now).unwrap_or_default()
}

fn problem(problem: &Problem) -> Value {
    json!({"object": problem.object.to_string(), "reason": problem.reason, "message": problem.message})
}

/// Problems that come, and those that go.
fn problems(before: &Outcome, after: &Outcome) -> (Vec<Value>, Vec<Value>) {
    let set = |outcome: &Outcome| outcome.problems.iter().cloned().collect::<BTreeSet<Problem>>();
    let (before, after) = (set(before), set(after));
    let only = |these: &BTreeSet<Problem>, others| these.difference(others).take(ROWS).map(problem).collect();
    (only(&after, &before), only(&before, &after))
}

/// References of the new objects that nobody has looked up yet: what hangs on them is not known, and shown as missing.
fn not_looked_up(after: &Outcome, snapshot: &Snapshot) -> Vec<String> {
    let secrets =
        after.wants.secrets.iter().filter(|key| snapshot.secrets.get(key).is_none_or(|secret| secret.data.is_none()));
    let maps = after.wants.config_maps.iter().filter(|key| !snapshot.config_maps.contains_key(key));
    secrets.map(|key| format!("Secret {key}")).chain(maps.map(|key| format!("ConfigMap {key}"))).collect()
}
