//! Which Pod stands for a Service: what a cluster's endpoint controller knows, from labels alone.

use std::sync::Arc;

use penstock_api::k8s::{Pod, ResourceExt, Service};

use crate::store::{Object, key};

/// For each Service with a selector, one of its Pods, a ready one if there is one.
pub(super) fn of_services(objects: &[Object], pods: &[Object]) -> Vec<Object> {
    let pods: Vec<&Arc<Pod>> =
        pods.iter().filter_map(|o| if let Object::Pod { pod, .. } = o { Some(pod) } else { None }).collect();
    let service = |object: &Object| {
        let Object::Service(service) = object else { return None };
        let pod = pods.iter().filter(|pod| selects(service, pod)).max_by_key(|pod| is_ready(pod))?;
        Some(Object::Pod { service: key(&**service), pod: Arc::clone(pod) })
    };
    objects.iter().filter_map(service).collect()
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    service.namespace() == pod.namespace()
        && selector.is_some_and(|selector| {
            !selector.is_empty() && selector.iter().all(|(label, value)| pod.labels().get(label) == Some(value))
        })
}

/// Whether a Pod says that it is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
