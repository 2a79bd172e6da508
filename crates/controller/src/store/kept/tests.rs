//! A store that starts from what another one kept.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use penstock_api::k8s::ConfigMap;
use penstock_testkit::{DEADLINE, until};
use serde_json::json;
use tokio::time::timeout;

use super::super::{Handles, Plan, Store};
use super::*;
use crate::fake::{Fake, backends};

const LISTS: [Kind; 3] = [Kind::Rule, Kind::EndpointSlice, Kind::Grant];

fn lists() -> Vec<Scope> {
    LISTS.map(|kind| Scope { kind, namespace: None }).to_vec()
}

fn kept(folder: &Path, class: &str) -> Kept {
    Kept::new(folder.to_owned(), class, &[])
}

fn start(kept: Kept) -> Handles {
    let plan = Plan { lists: lists(), references: true, local_ports: true, kept: Some(kept) };
    let (store, handles) = Store::new(plan, Fake);
    tokio::spawn(store.run());
    handles
}

/// One rule, an endpoint, a page that is there and one that is not, no grants, and a local port.
fn everything() -> Vec<Change> {
    let rule = json!({
        "metadata": {"name": "r", "namespace": "shop", "annotations": {"config-map": "there"}},
        "spec": {"gatewayRef": {"name": "edge"}, "backend": {"services": [{"name": "one", "port": 80}]}},
    });
    let slice = json!({
        "metadata": {"name": "one-x", "namespace": "shop", "labels": {"kubernetes.io/service-name": "one"}},
        "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}],
    });
    let page: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "there", "namespace": "shop"}, "data": {"a": "b"}}))
            .unwrap();
    let id = |name: &str| Id::new(Kind::ConfigMap, "shop", name);
    let list = |kind, objects| Change::Replace { scope: Scope { kind, namespace: None }, objects, broken: Vec::new() };
    vec![
        list(Kind::Rule, vec![Object::Rule(serde_json::from_value(rule).unwrap())]),
        list(Kind::EndpointSlice, vec![Object::EndpointSlice(serde_json::from_value(slice).unwrap())]),
        Change::Absent(Scope { kind: Kind::Grant, namespace: None }),
        Change::Answer(id("there"), Some(Object::ConfigMap(Arc::new(page)))),
        Change::Answer(id("missing"), None),
        Change::LocalPorts([((GatewayId::new("shop", "edge"), 80), 20_001)].into()),
    ]
}

/// A store that was told everything, until it has written it.
async fn keep(folder: &Path) {
    let handles = start(kept(folder, "mine"));
    handles.changes.send(everything()).unwrap();
    until("the file", DEADLINE, || async { folder.join(FILE).exists() }, |there| *there).await;
}

#[tokio::test]
async fn a_store_begins_where_another_one_ended() {
    let folder = tempfile::tempdir().unwrap();
    keep(folder.path()).await;
    let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds keys");
    let kept = kept(folder.path(), "mine");
    let mut handles = start(kept.clone());
    handles.changes.send(kept.read(&lists()).unwrap().unwrap()).unwrap();
    let config = handles.outputs.config.wait_for(Option::is_some);
    let config = timeout(DEADLINE, config).await.expect("a configuration").unwrap().clone().unwrap();
    assert_eq!(backends(&config), ["shop/one:80"]);
    assert_eq!(config.clusters.values().next().unwrap().endpoints.as_slice().len(), 1);
}

#[tokio::test]
async fn what_is_kept_is_all_that_was_said() {
    let folder = tempfile::tempdir().unwrap();
    keep(folder.path()).await;
    let mut objects = Objects::default();
    for change in kept(folder.path(), "mine").read(&lists()).unwrap().unwrap() {
        objects.apply(change, &mut Default::default());
    }
    let mut expected = Objects::default();
    for change in everything() {
        expected.apply(change, &mut Default::default());
    }
    assert!(lists().iter().all(|scope| objects.has_list(scope)));
    assert_eq!(objects.answered, expected.answered);
    assert_eq!(objects.snapshot.local_ports, expected.snapshot.local_ports);
    assert!(objects.snapshot.grants.is_none() && expected.snapshot.grants.is_none());
    assert_eq!(all(&objects.snapshot), all(&expected.snapshot));
}

#[tokio::test]
async fn a_file_that_is_not_ours_or_not_whole_is_none() {
    let folder = tempfile::tempdir().unwrap();
    assert!(kept(folder.path(), "mine").read(&lists()).unwrap().is_none(), "there is none");
    keep(folder.path()).await;
    let refused = |kept: Kept| kept.read(&lists()).unwrap_err().to_string();
    assert!(refused(kept(folder.path(), "other")).contains("belongs to class \"mine\""));
    assert!(refused(Kept::new(folder.path().to_owned(), "mine", &["shop".into()])).contains("belongs to"));
    let file = folder.path().join(FILE);
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = text.lines().collect();
    fs::write(&file, lines[..lines.len() - 1].join("\n")).unwrap();
    assert_eq!(refused(kept(folder.path(), "mine")), "it has 2 objects instead of 3");
    for cut in 0..text.len() {
        fs::write(&file, &text[..cut]).unwrap();
        let read = kept(folder.path(), "mine").read(&lists());
        // The last line end says nothing.
        assert!(read.is_err() || cut + 1 == text.len(), "cut at {cut}");
    }
}
