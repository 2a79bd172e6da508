//! The Service of each gateway: made, read by every replica, and deleted with its gateway.

use kube::api::{Api, ListParams};
use penstock_api::k8s::{IntOrString, Lease, Service};
use penstock_testkit::{DEADLINE, eventually};
use serde_json::json;

use crate::setup::{GATEWAY, Place};

fn services(place: &Place) -> Api<Service> {
    Api::namespaced(place.client.clone(), &place.namespace)
}

async fn the_one(place: &Place) -> Service {
    eventually("the Service", DEADLINE, || async {
        let all = services(place).list(&ListParams::default().labels("app.kubernetes.io/managed-by=penstock")).await;
        let mut all = all.map_err(|e| e.to_string())?.items;
        if all.len() == 1 { Ok(all.remove(0)) } else { Err(format!("{} Services", all.len())) }
    })
    .await
}

fn local(service: &Service) -> u16 {
    let ports = service.spec.clone().unwrap().ports.unwrap();
    match ports[0].target_port.clone().unwrap() {
        IntOrString::Int(port) => u16::try_from(port).unwrap(),
        IntOrString::String(port) => panic!("{port}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_has_a_service_as_long_as_it_is_there() {
    let place = Place::shared("own").await;
    place
        .apply(&format!(
            "{GATEWAY}\n---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: owner, namespace: $NS}}}}"
        ))
        .await;
    let mut settings = place.settings("a");
    settings.services = Place::own_services();
    settings.lease.owner = Some("owner".to_owned());
    let mut running = place.start(settings.clone());
    let service = the_one(&place).await;
    let lease = Api::<Lease>::namespaced(place.client.clone(), &place.namespace).get("penstock").await.unwrap();
    assert_eq!(lease.metadata.owner_references.unwrap()[0].name, "owner");
    let name = service.metadata.name.clone().unwrap();
    let bind = local(&service);
    assert!(name.starts_with("shop-") && (10000..=19999).contains(&bind), "{name} {bind}");
    assert_eq!(service.metadata.owner_references.as_ref().unwrap()[0].name, "owner");
    assert_eq!(service.spec.as_ref().unwrap().selector.as_ref().unwrap()["app"], "penstock");
    let config = running.config("the listener on its local port", |config| config.listeners.len() == 1).await;
    assert_eq!((config.listeners[0].port, config.listeners[0].bind_port), (80, bind));

    // Another replica has the same from the Service alone.
    settings.lease.identity = "b".to_owned();
    let mut replica = place.start(settings);
    let config = replica.config("the same listener", |config| config.listeners.len() == 1).await;
    assert_eq!(config.listeners[0].bind_port, bind);

    // Its address is the gateway's; annotations of others survive a change.
    place.condition(&place.gateways(), "shop", "/status/conditions", "Programmed", "False/Pending").await;
    let api = place.api("", "v1", "Service", "services");
    place.patch_status(&api, &name, json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}})).await;
    place.kubectl(&["annotate", "service", &name, "cloud=found"]).await;
    eventually("the address", DEADLINE, || async {
        let status = place.gateways().get("shop").await.map_err(|e| e.to_string())?.data["status"].clone();
        if status["addresses"][0]["value"] == "192.0.2.7" { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let two = "listeners: [{name: http, port: 80, protocol: HTTP}, {name: more, port: 8080, protocol: HTTP}]";
    place.apply(&GATEWAY.replace("listeners: [{name: http, port: 80, protocol: HTTP}]", two)).await;
    replica.config("both listeners", |config| config.listeners.len() == 2).await;
    let service = the_one(&place).await;
    assert_eq!(service.metadata.annotations.as_ref().unwrap()["cloud"], "found");
    assert_eq!(local(&service), bind, "a port keeps its local port");

    place.kubectl(&["delete", "applicationgateway", "shop"]).await;
    eventually("no Service", DEADLINE, || async {
        match services(&place).get_opt(&name).await {
            Ok(None) => Ok(()),
            other => Err(format!("{:?}", other.map(|found| found.is_some()))),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_with_one_local_port_are_told_apart() {
    let place = Place::shared("conflict").await;
    let other = GATEWAY.replace("name: shop", "name: other");
    place.apply(&format!("{GATEWAY}\n---\n{other}")).await;
    let port = |gateway: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {
            "name": format!("{gateway}-wrong"), "namespace": "$NS",
            "labels": {"app.kubernetes.io/managed-by": "penstock", "penstock.dev/class": "$NS"},
            "annotations": {"penstock.dev/gateway-namespace": "$NS", "penstock.dev/gateway-name": gateway},
        }, "spec": {"ports": [{"port": 80, "targetPort": 12345}]}})
        .to_string()
    };
    place.apply(&port("other")).await;
    place.apply(&port("shop")).await;
    let mut settings = place.settings("a");
    settings.services = Place::own_services();
    let mut running = place.start(settings);
    let config = running
        .config("two listeners on two ports", |config| {
            config.listeners.len() == 2 && config.listeners[0].bind_port != config.listeners[1].bind_port
        })
        .await;
    assert!(config.listeners.iter().all(|listener| listener.bind_port >= 10000));
}
