//! ReferenceGrants: an optional API in one of two versions.

use std::sync::Arc;
use std::time::Duration;

use kube::api::Api;
use kube::core::{DeserializeGuard, DynamicObject};
use kube::runtime::watcher;
use penstock_api::k8s::ReferenceGrant;
use tokio::time::sleep;

use super::follow::{Absence, Missing, delay, follow, slim};
use super::{Sender, id_of};
use crate::store::{Change, Kind, Object, Scope};

/// Between two looks for an API that is not there.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Watches the grants of a list for ever, in the first version that the API server has.
pub(super) async fn watch(client: kube::Client, scope: Scope, changes: Sender) {
    let mut said = false;
    let mut failures = 0;
    let mut absence = Absence::default();
    while !changes.is_closed() {
        match version(&client).await {
            Ok(Some(version)) => {
                said = false;
                let resource = ReferenceGrant::api_resource(version);
                let api: Api<DynamicObject> = match &scope.namespace {
                    Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                    None => Api::all_with(client.clone(), &resource),
                };
                let config = watcher::Config::default();
                follow(api, config, scope.clone(), Missing::End, convert, vec![changes.clone()], &mut absence).await;
            }
            Ok(None) if !said => {
                said = true;
                tracing::info!("ReferenceGrants are not installed: no reference leads into another namespace");
            }
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "looking for ReferenceGrants");
                sleep(delay(failures)).await;
                failures += 1;
                continue;
            }
        }
        if !absence.believe() {
            sleep(delay(failures)).await;
            failures += 1;
            continue;
        }
        failures = 0;
        drop(changes.send(vec![Change::Absent(scope.clone())]));
        sleep(LOOK_AGAIN).await;
    }
}

/// The version that is served, if the API is there at all.
async fn version(client: &kube::Client) -> Result<Option<&'static str>, kube::Error> {
    for version in ReferenceGrant::VERSIONS {
        match client.list_api_group_resources(&format!("{}/{version}", ReferenceGrant::GROUP)).await {
            Ok(found) if found.resources.iter().any(|resource| resource.kind == ReferenceGrant::KIND) => {
                return Ok(Some(version));
            }
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn convert(object: DynamicObject) -> super::Followed {
    let metadata = object.metadata.clone();
    let value = serde_json::to_value(object).unwrap_or_default();
    let grant: Result<ReferenceGrant, _> = serde_json::from_value(value);
    let guard = DeserializeGuard(grant.map_err(|error| kube::core::error_boundary::InvalidObject {
        error: error.to_string(),
        metadata: metadata.clone(),
    }));
    debug_assert!(!id_of(Kind::Grant, &metadata).key.name.is_empty(), "objects of the API server have names");
    super::read(Kind::Grant, guard, &|grant| Object::Grant(Arc::new(slim(grant))))
}
