//! The standalone source by its public door: files in, configurations and problems out.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{FileProblem, load_folder};
use crate::fake::{Fake, backends};
use crate::{Controller, Outputs, State, start_folder};

const DEADLINE: Duration = Duration::from_secs(20);

fn rule(name: &str, service: &str) -> String {
    format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: {name}}}\nspec: {{gatewayRef: {{name: shop}}, \
         backend: {{services: [{{name: {service}, port: 80}}]}}}}\n"
    )
}

fn slice(service: &str, address: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {service}-1, labels: \
         {{kubernetes.io/service-name: {service}}}}}\naddressType: IPv4\nports: [{{port: 8080}}]\nendpoints: [{{addresses: [{address}]}}]\n"
    )
}

fn write(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

struct Running {
    _controller: Controller,
    outputs: Outputs,
}

impl Running {
    fn start(folder: &Path) -> Self {
        let (controller, outputs) = start_folder(folder.to_owned(), Fake);
        Self { _controller: controller, outputs }
    }

    async fn config(&mut self, expected: &[&str]) {
        let mut config = self.outputs.config.clone();
        let seen = config.wait_for(|c| c.as_ref().is_some_and(|c| backends(c) == expected));
        if timeout(DEADLINE, seen).await.is_err() {
            panic!("expected {expected:?}, have {:?}", self.outputs.config.borrow().as_deref().map(backends));
        }
    }

    async fn state(&mut self, what: &str, accept: impl FnMut(&State) -> bool) -> Arc<State> {
        let mut accept = accept;
        let mut state = self.outputs.state.clone();
        let seen = timeout(DEADLINE, state.wait_for(|state| accept(state))).await;
        match seen {
            Ok(state) => state.unwrap().clone(),
            Err(_) => panic!("waiting for {what}: {:#?}", self.outputs.state.borrow()),
        }
    }
}

#[tokio::test]
async fn an_empty_folder_is_an_empty_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path());
    running.config(&[]).await;
    let state = running.state("the first state", |state| state.synced).await;
    assert_eq!(state.problems().count(), 0);
    assert_eq!(state.generation, 1);
}

#[tokio::test]
async fn files_that_come_change_and_go_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path());
    running.config(&[]).await;
    write(&dir.path().join("a.yaml"), &rule("a", "one"));
    running.config(&["default/one:80"]).await;
    // An editor renames over the file; a shell writes into it.
    write(&dir.path().join("a.yaml"), &rule("a", "two"));
    running.config(&["default/two:80"]).await;
    fs::write(dir.path().join("a.yaml"), rule("a", "three")).unwrap();
    running.config(&["default/three:80"]).await;
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/b.yml"), rule("b", "four")).unwrap();
    running.config(&["default/four:80", "default/three:80"]).await;
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    running.config(&["default/four:80"]).await;
}

#[tokio::test]
async fn a_mounted_config_map_swaps_its_link() {
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path();
    for (version, service) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(mount.join(version)).unwrap();
        fs::write(mount.join(version).join("rule.yaml"), rule("a", service)).unwrap();
    }
    symlink("..1", mount.join("..data")).unwrap();
    symlink("..data/rule.yaml", mount.join("rule.yaml")).unwrap();
    let mut running = Running::start(mount);
    running.config(&["default/one:80"]).await;
    symlink("..2", mount.join("..data_tmp")).unwrap();
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
    running.config(&["default/two:80"]).await;
}

#[tokio::test]
async fn a_broken_file_leaves_its_last_good_objects_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.yaml");
    write(&path, &rule("a", "one"));
    let mut running = Running::start(dir.path());
    running.config(&["default/one:80"]).await;
    write(&path, &format!("{}---\nkind: [\n", rule("a", "two")));
    let state = running.state("the problem", |state| state.unread.len() == 1).await;
    assert_eq!(state.unread[0].object.to_string(), format!("File {}", path.display()));
    assert!(state.unread[0].message.starts_with(&format!("{}:", path.display())), "{}", state.unread[0].message);
    write(&dir.path().join("b.yaml"), &rule("b", "three"));
    running.config(&["default/one:80", "default/three:80"]).await;
    write(&path, &rule("a", "two"));
    running.config(&["default/three:80", "default/two:80"]).await;
    running.state("no problem", |state| state.unread.is_empty()).await;
}

#[tokio::test]
async fn an_object_that_the_schema_refuses_keeps_its_last_good_version() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.yaml");
    write(&path, &format!("{}---\n{}", rule("a", "one"), rule("b", "two")));
    let mut running = Running::start(dir.path());
    running.config(&["default/one:80", "default/two:80"]).await;
    let refused = rule("a", "other").replace("spec: {", "spec: {priority: 0, ");
    write(&path, &format!("{refused}---\n{}", rule("b", "three")));
    running.config(&["default/one:80", "default/three:80"]).await;
    let state = running.state("the problem", |state| !state.unread.is_empty()).await;
    assert_eq!(state.unread[0].object.to_string(), "RoutingRule default/a");
    assert!(state.unread[0].message.contains("a.yaml:1: spec.priority: 0"), "{}", state.unread[0].message);
}

#[tokio::test]
async fn the_first_file_keeps_an_object_that_two_have() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("b.yaml"), &rule("a", "second"));
    write(&dir.path().join("a.yaml"), &rule("a", "first"));
    let mut running = Running::start(dir.path());
    running.config(&["default/first:80"]).await;
    let state = running.state("the problem", |state| state.unread.len() == 1).await;
    let message = &state.unread[0].message;
    assert!(message.contains("b.yaml:1: ") && message.contains("a.yaml:1; remove"), "{message}");
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    running.config(&["default/second:80"]).await;
}

#[tokio::test]
async fn endpoints_take_the_fast_way() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("a.yaml"), &rule("a", "one"));
    write(&dir.path().join("slice.yaml"), &slice("one", "10.0.0.1"));
    let mut running = Running::start(dir.path());
    running.config(&["default/one:80"]).await;
    running.outputs.config.mark_unchanged();
    write(&dir.path().join("slice.yaml"), &slice("one", "10.0.0.2"));
    let update = timeout(DEADLINE, running.outputs.endpoints.recv()).await.unwrap().unwrap();
    assert_eq!(update.endpoints.as_slice()[0].address.to_string(), "10.0.0.2:8080");
    assert!(!running.outputs.config.has_changed().unwrap(), "no new configuration for endpoints alone");
}

#[tokio::test]
async fn a_folder_that_goes_away_keeps_what_it_said() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("manifests");
    fs::create_dir(&folder).unwrap();
    write(&folder.join("a.yaml"), &rule("a", "one"));
    let mut running = Running::start(&folder);
    running.config(&["default/one:80"]).await;
    fs::rename(&folder, dir.path().join("away")).unwrap();
    // Nothing tells of the folder's own name; the slow look finds out.
    running.state("the problem", |state| state.unread.len() == 1).await;
    fs::create_dir(&folder).unwrap();
    write(&folder.join("a.yaml"), &rule("a", "two"));
    running.config(&["default/two:80"]).await;
}

fn load(text: &str) -> (Vec<String>, Vec<FileProblem>) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("x.yaml"), text).unwrap();
    let loaded = load_folder(&[dir.path().to_owned()]).unwrap();
    (loaded.objects.iter().map(|o| o.id().to_string()).collect(), loaded.problems)
}

#[test]
fn lists_defaults_and_other_kinds() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: edge}}\n- {apiVersion: apps/v1, \
                kind: Deployment, metadata: {name: x}}\n---\napiVersion: penstock.dev/v1alpha1\nkind: ApplicationGateway\nmetadata: {name: shop, \
                namespace: edge}\nspec: {listeners: [{name: http, port: 80, protocol: HTTP}]}\n";
    let (objects, problems) = load(text);
    assert_eq!(objects, ["ApplicationGateway edge/shop", "Namespace /edge"]);
    assert_eq!(problems, []);
}

#[test]
fn secrets_and_pods_are_as_a_cluster_would_have_them() {
    let dir = tempfile::tempdir().unwrap();
    let text = "apiVersion: v1\nkind: Secret\nmetadata: {name: tls}\ntype: kubernetes.io/tls\nstringData: {tls.crt: abc}\n---\napiVersion: v1\nkind: \
                Secret\nmetadata: {name: other}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: \
                [{port: 80}]}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {app: web}}\n---\napiVersion: v1\nkind: Pod\nmetadata: \
                {name: b, labels: {app: web}}\nstatus: {conditions: [{type: Ready, status: \"True\"}]}\n---\napiVersion: v1\nkind: Pod\nmetadata: \
                {name: c, labels: {app: other}}\n";
    fs::write(dir.path().join("x.yaml"), text).unwrap();
    let loaded = load_folder(&[dir.path().to_owned()]).unwrap();
    assert_eq!(loaded.problems, []);
    let snapshot = loaded.snapshot();
    let secrets: Vec<_> =
        snapshot.secrets.iter().map(|(k, s)| (k.to_string(), s.data.clone().unwrap()["tls.crt"].0.clone())).collect();
    assert_eq!(secrets, [("default/tls".to_owned(), b"abc".to_vec())]);
    let pods: Vec<_> = snapshot.pods.iter().map(|(k, p)| (k.to_string(), p.metadata.name.clone().unwrap())).collect();
    assert_eq!(pods, [("default/web".to_owned(), "b".to_owned())]);
}

#[test]
fn problems_name_the_line_the_object_and_the_field() {
    let text = "kind: Nothing\n---\n\napiVersion: penstock.dev/v1alpha1\nkind: RoutingRule\nmetadata: {name: a}\nspec: {gatewayRef: {name: shop}, \
                priorty: 1}\n---\napiVersion: penstock.dev/v2\nkind: RoutingRule\nmetadata: {name: b}\n---\napiVersion: v1\nkind: Service\nmetadata: \
                {name: c}\nspec: {ports: 7}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: Bad}\n";
    let (objects, problems) = load(text);
    assert_eq!(objects, ["RoutingRule default/a"], "an unknown field is left out, the rest is taken");
    let lines: Vec<_> = problems.iter().map(|p| (p.place.line, p.problem.object.kind)).collect();
    assert_eq!(lines, [(1, "File"), (4, "RoutingRule"), (9, "RoutingRule"), (13, "Service"), (18, "File")]);
    let messages: Vec<_> = problems.iter().map(|p| p.problem.message.as_str()).collect();
    assert!(messages[1].starts_with("spec.priorty: "), "{}", messages[1]);
    assert!(
        messages[2].contains("penstock.dev/v2") && messages[2].contains("use penstock.dev/v1alpha1"),
        "{}",
        messages[2]
    );
    assert!(messages[4].contains("metadata.name") && messages[4].contains("\"Bad\""), "{}", messages[4]);
}

#[test]
fn json_has_lines_too() {
    let dir = tempfile::tempdir().unwrap();
    let text = "{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"a\"}}\n\n{\"kind\": 1,\n}\n";
    fs::write(dir.path().join("x.json"), text).unwrap();
    let loaded = load_folder(&[dir.path().join("x.json")]).unwrap();
    assert_eq!(loaded.problems[0].place.line, 4);
    assert!(load_folder(&[dir.path().join("nothing")]).is_err());
}
