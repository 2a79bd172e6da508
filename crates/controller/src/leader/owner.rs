//! The object that the chart made to own what the process writes beside it: the Lease goes when the release goes.

use kube::api::Api;
use penstock_api::k8s::{ConfigMap, Lease, OwnerReference, ResourceExt as _};

/// A reference to the ConfigMap of this name; none when it is not there.
pub(super) async fn reference(
    leases: &Api<Lease>,
    namespace: &str,
    name: &str,
) -> Result<Option<Vec<OwnerReference>>, kube::Error> {
    let api: Api<ConfigMap> = Api::namespaced(leases.clone().into_client(), namespace);
    let found = api.get_opt(name).await?;
    if found.is_none() {
        tracing::warn!(
            config_map = name,
            "not found: the Lease has no owner, and stays when the release is uninstalled"
        );
    }
    Ok(found.map(|owner| {
        vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            name: owner.name_any(),
            uid: owner.uid().unwrap_or_default(),
            ..OwnerReference::default()
        }]
    }))
}
