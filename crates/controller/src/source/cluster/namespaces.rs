//! The namespaces that are watched, for their labels. A Role of a namespace lets it be read, but nobody watch it: a watch
//! is of all namespaces. So they are asked for again and again; labels change rarely.

use std::sync::Arc;
use std::time::Duration;

use kube::api::Api;
use penstock_api::k8s::Namespace;
use tokio::time::sleep;

use super::{Namespaces, Sender, delay, slim};
use crate::store::{Change, Kind, Object, Scope};

/// How often.
const LOOK: Duration = Duration::from_secs(5);

/// Reads them until nobody listens any more. One that is gone, or that may not be read, has no labels but its name.
pub(super) async fn read(client: kube::Client, Namespaces(names): Namespaces, changes: Sender) {
    let api: Api<Namespace> = Api::all(client);
    let mut failures = 0;
    let mut refused = false;
    while !changes.is_closed() {
        match all(&api, &names, &mut refused).await {
            Ok(objects) => {
                failures = 0;
                let scope = Scope { kind: Kind::Namespace, namespace: None };
                drop(changes.send(vec![Change::Replace { scope, objects, broken: Vec::new() }]));
                sleep(LOOK).await;
            }
            Err(error) => {
                tracing::debug!(%error, "reading namespaces");
                sleep(delay(failures)).await;
                failures += 1;
            }
        }
    }
}

async fn all(api: &Api<Namespace>, names: &[Arc<str>], refused: &mut bool) -> Result<Vec<Object>, kube::Error> {
    let mut objects = Vec::with_capacity(names.len());
    for name in names {
        match api.get_metadata_opt(name).await {
            Ok(found) => objects.extend(found.map(|found| {
                Object::Namespace(Arc::new(slim(Namespace { metadata: found.metadata, ..Namespace::default() })))
            })),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                if !std::mem::replace(refused, true) {
                    tracing::warn!(
                        namespace = %name,
                        "its labels may not be read, so no selector of allowedRules takes it: let the Role in it get namespaces"
                    );
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(objects)
}
