//! A folder of manifests as the source: what its files say is in the traffic, and what is wrong with them in the log.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use penstock_testkit::{Backend, Connection, DEADLINE, Manifests, Process, client, free_port, until};
use serde_json::{Value, json};
use support::{Gateway, WHILE, http_gateway, rule, rule_to, service};

/// Waits until a GET of `/` is answered by this backend, or with this status.
async fn follows(gateway: &Gateway, who: &str) {
    until("the traffic to follow", DEADLINE, || gateway.who("a.example", "/"), |seen| seen == who).await;
}

/// Looks on for a while and finds that the answer stays the same.
async fn keeps(gateway: &Gateway, who: &str) {
    let end = tokio::time::Instant::now() + WHILE;
    while tokio::time::Instant::now() < end {
        assert_eq!(gateway.who("a.example", "/").await, who);
    }
}

fn problems(status: &Value) -> Vec<String> {
    let all = status["problems"].as_array().cloned().unwrap_or_default();
    all.iter().map(|problem| format!("{}: {}", problem["object"], problem["message"])).collect()
}

/// Waits for a problem that says all of this.
async fn problem(gateway: &Gateway, parts: &[&str]) -> String {
    let found = |status: &Value| problems(status).into_iter().find(|text| parts.iter().all(|part| text.contains(part)));
    let what = format!("a problem with {parts:?}");
    let status = gateway.wait_for_status(&what, |status| found(status).is_some()).await;
    found(&status).expect("just seen")
}

async fn no_problems(gateway: &Gateway) {
    gateway.wait_for_status("no problems", |status| problems(status).is_empty()).await;
}

#[tokio::test]
async fn files_that_come_change_and_go_are_in_the_traffic() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = Gateway::start(&[http_gateway("")]).await;
    assert_eq!(gateway.who("a.example", "/").await, "404");
    gateway.write("apps/one.yaml", &service("one", &[&one]));
    gateway.write("apps/two.yml", &service("two", &[&two]));
    gateway.write("rule.yaml", &rule_to("all", "one"));
    follows(&gateway, "one").await;
    gateway.write("rule.yaml", &rule_to("all", "two"));
    follows(&gateway, "two").await;
    gateway.write("apps/two.yml", &service("two", &[]));
    follows(&gateway, "502").await;
    gateway.write("apps/two.yml", &service("two", &[&one]));
    follows(&gateway, "one").await;
    gateway.remove("rule.yaml");
    follows(&gateway, "404").await;
    no_problems(&gateway).await;
}

#[tokio::test]
async fn a_folder_of_files_that_moves_away_takes_its_objects_along() {
    let one = Backend::start("one").await;
    let gateway = Gateway::start(&[http_gateway("")]).await;
    let file = gateway.write("apps/web/all.yaml", &[rule_to("all", "one"), service("one", &[&one])].join("\n---\n"));
    follows(&gateway, "one").await;
    let folder = file.parent().and_then(Path::parent).expect("apps");
    fs::rename(folder, folder.with_file_name(".apps")).unwrap();
    follows(&gateway, "404").await;
    fs::rename(folder.with_file_name(".apps"), folder).unwrap();
    follows(&gateway, "one").await;
}

#[tokio::test]
async fn a_file_written_in_place_is_read_when_it_is_whole() {
    let one = Backend::start("one").await;
    let gateway = Gateway::start(&[http_gateway(""), service("one", &[&one])]).await;
    let file = gateway.write("rule.yaml", &rule_to("all", "nobody"));
    follows(&gateway, "502").await;
    fs::write(&file, rule_to("all", "one")).unwrap();
    follows(&gateway, "one").await;
}

#[tokio::test]
async fn a_broken_file_leaves_its_last_good_state() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = Gateway::start(&[http_gateway(""), service("one", &[&one]), service("two", &[&two])]).await;
    gateway.write("rule.yaml", &rule_to("all", "one"));
    follows(&gateway, "one").await;
    let file = gateway.write("rule.yaml", &(rule_to("all", "two") + "  redirect: [unclosed\n"));
    let lines = rule_to("all", "two").lines().count();
    let said = problem(&gateway, &["rule.yaml:"]).await;
    let line: usize = said
        .split("rule.yaml:")
        .nth(1)
        .and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .unwrap_or_else(|| panic!("no line in {said}"));
    assert!((lines..=lines + 2).contains(&line), "line {line}: {said}");
    gateway.process.wait_for_stderr(&format!("{}:{line}", file.display()), DEADLINE).await;
    keeps(&gateway, "one").await;
    // Others are not held up by it.
    gateway.write("more.yaml", &rule("more", "hostNames: [b.example]\nbackend: {services: [{name: two, port: 80}]}"));
    until("the other rule", DEADLINE, || gateway.who("b.example", "/"), |seen| seen == "two").await;
    keeps(&gateway, "one").await;
    gateway.write("rule.yaml", &rule_to("all", "two"));
    follows(&gateway, "two").await;
    no_problems(&gateway).await;
}

#[tokio::test]
async fn an_object_that_the_schema_refuses_keeps_its_last_good_state() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = Gateway::start(&[http_gateway(""), service("one", &[&one]), service("two", &[&two])]).await;
    gateway.write("rule.yaml", &rule_to("all", "one"));
    follows(&gateway, "one").await;
    let refused = rule("all", "priority: 20001\nbackend: {services: [{name: two, port: 80}]}");
    gateway.write("rule.yaml", &format!("# a comment\n{refused}"));
    let said = problem(&gateway, &["rule.yaml:2", "edge/all", "priority", "20001"]).await;
    assert!(said.contains("20000"), "no remedy: {said}");
    keeps(&gateway, "one").await;
    gateway.remove("rule.yaml");
    follows(&gateway, "404").await;
}

#[tokio::test]
async fn an_unknown_field_is_left_out_and_said() {
    let one = Backend::start("one").await;
    let gateway = Gateway::start(&[http_gateway(""), service("one", &[&one])]).await;
    gateway.write("rule.yaml", &rule("all", "prioritty: 3\nbackend: {services: [{name: one, port: 80}]}"));
    follows(&gateway, "one").await;
    problem(&gateway, &["edge/all", "prioritty"]).await;
}

#[tokio::test]
async fn the_first_file_keeps_an_object_that_is_in_two() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = Gateway::start(&[http_gateway(""), service("one", &[&one]), service("two", &[&two])]).await;
    gateway.write("b.yaml", &rule_to("all", "two"));
    follows(&gateway, "two").await;
    gateway.write("c.yaml", &rule_to("all", "one"));
    problem(&gateway, &["edge/all", "c.yaml", "b.yaml"]).await;
    keeps(&gateway, "two").await;
    gateway.write("a.yaml", &rule_to("all", "one"));
    follows(&gateway, "one").await;
    gateway.remove("a.yaml");
    follows(&gateway, "two").await;
    gateway.remove("b.yaml");
    follows(&gateway, "one").await;
    no_problems(&gateway).await;
}

#[tokio::test]
async fn an_empty_folder_is_ready_and_says_so() {
    let gateway = Gateway::start(&[String::new()]).await;
    gateway.process.wait_for_stderr("nothing is listening", DEADLINE).await;
    let status = gateway.status().await;
    assert_eq!((&status["listeners"], &status["problems"]), (&json!([]), &json!([])));
    let one = Backend::start("one").await;
    gateway.replace(&[http_gateway(""), rule_to("all", "one"), service("one", &[&one])]);
    let connect = || async { Connection::open(gateway.addr()).await.map(drop) };
    until("the listener", DEADLINE, connect, Result::is_ok).await.expect("just seen");
    follows(&gateway, "one").await;
    gateway.replace(&[String::new()]);
    until("the listener to go", DEADLINE, connect, Result::is_err).await.expect_err("just seen");
}

#[tokio::test]
async fn lists_and_json_are_read() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = Gateway::start(&[http_gateway("")]).await;
    let rule = |name: &str, host: &str, service: &str| {
        json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "RoutingRule",
            "metadata": {"name": name, "namespace": "edge"},
            "spec": {
                "gatewayRef": {"name": "shop"}, "hostNames": [host],
                "backend": {"services": [{"name": service, "port": 80}]},
            },
        })
    };
    let mut bare = rule("a", "a.example", "one");
    // Entries of a typed list need not say what they are.
    for field in ["apiVersion", "kind"] {
        bare.as_object_mut().expect("an object").remove(field);
    }
    let typed = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "RoutingRuleList", "items": [bare]});
    gateway.write("rules.json", &typed.to_string());
    gateway.write(
        "more.json",
        &json!({"apiVersion": "v1", "kind": "List", "items": [rule("b", "b.example", "two")]}).to_string(),
    );
    let items = [service("one", &[&one]), service("two", &[&two])].join("---\n");
    let items: String = items.split("---\n").map(list_entry).collect();
    gateway.write("services.yaml", &format!("apiVersion: v1\nkind: List\nitems:\n{items}"));
    follows(&gateway, "one").await;
    until("the other rule", DEADLINE, || gateway.who("b.example", "/"), |seen| seen == "two").await;
    no_problems(&gateway).await;
}

/// A document as an entry of a list.
fn list_entry(document: &str) -> String {
    let lines = document.lines().enumerate();
    lines.map(|(n, line)| format!("{} {line}\n", if n == 0 { "-" } else { " " })).collect()
}

#[tokio::test]
async fn hidden_files_and_other_kinds_are_passed_over() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = Gateway::start(&[http_gateway(""), service("one", &[&one]), service("two", &[&two])]).await;
    gateway.write(".a.yaml", &rule_to("all", "two"));
    gateway.write(".hidden/a.yaml", &rule_to("all", "two"));
    gateway.write("a.yaml~", &rule_to("all", "two"));
    gateway.write("a.txt", "this is no manifest: [");
    gateway.write("b.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {}\n");
    gateway.write("c.yaml", &rule_to("all", "one"));
    follows(&gateway, "one").await;
    keeps(&gateway, "one").await;
    no_problems(&gateway).await;
}

#[tokio::test]
async fn no_namespace_means_default() {
    let one = Backend::start("one").await;
    let all = [http_gateway(""), rule_to("all", "one"), service("one", &[&one])];
    let gateway = Gateway::start(&all.map(|yaml| yaml.replace(", namespace: edge", ""))).await;
    assert_eq!(gateway.who("a.example", "/").await, "one");
    assert_eq!(gateway.status().await["listeners"][0]["gateway"], "default/shop");
}

/// Writes a version of a volume as kubelet does: files in a folder of its own, then one link that is swapped.
fn publish(volume: &Path, version: &str, files: &[(&str, &str)]) {
    let folder = volume.join(format!("..{version}"));
    fs::create_dir(&folder).expect("a volume can be written");
    for (name, yaml) in files {
        fs::write(folder.join(name), yaml).expect("a volume can be written");
    }
    let old = fs::read_link(volume.join("..data")).ok();
    symlink(format!("..{version}"), volume.join("..data_tmp")).expect("a volume can be written");
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).expect("a volume can be written");
    for (name, _) in files {
        if fs::symlink_metadata(volume.join(name)).is_err() {
            symlink(Path::new("..data").join(name), volume.join(name)).expect("a volume can be written");
        }
    }
    if let Some(old) = old {
        fs::remove_dir_all(volume.join(old)).expect("a volume can be written");
    }
}

#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let volume = Manifests::new();
    let (port, admin) = (free_port(), free_port());
    let rest = [http_gateway("").replace("$http", &port.to_string()), service("one", &[&one]), service("two", &[&two])];
    let rest = rest.join("\n---\n");
    publish(volume.path(), "1", &[("rest.yaml", &rest), ("rule.yaml", &rule_to("all", "one"))]);
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], admin));
    let mut process = Process::of(env!("CARGO_BIN_EXE_penstock"))
        .args(["run", "--workers", "1", "--bind-address", "127.0.0.1", "--manifests"])
        .arg(volume.path())
        .args(["--admin-address", &admin.to_string()])
        .start();
    process.wait_ready(admin, DEADLINE).await;
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let who = || async {
        let answer = client::get(addr, "a.example", "/").await.ok()?;
        answer.header("x-backend").map(str::to_owned)
    };
    assert_eq!(who().await.as_deref(), Some("one"));
    for (version, name) in [("2", "two"), ("3", "one"), ("4", "two")] {
        publish(volume.path(), version, &[("rest.yaml", &rest), ("rule.yaml", &rule_to("all", name))]);
        until("the new version", DEADLINE, who, |seen| seen.as_deref() == Some(name)).await;
    }
}

#[tokio::test]
async fn a_folder_that_is_a_link_can_be_swapped() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let all = Manifests::new();
    let (port, admin) = (free_port(), free_port());
    let rest = [http_gateway("").replace("$http", &port.to_string()), service("one", &[&one]), service("two", &[&two])];
    for name in ["one", "two"] {
        all.write(&format!("{name}/rest.yaml"), &rest.join("\n---\n"));
        all.write(&format!("{name}/rule.yaml"), &rule_to("all", name));
    }
    let link = |name: &str| {
        symlink(name, all.path().join("next")).unwrap();
        fs::rename(all.path().join("next"), all.path().join("current")).unwrap();
    };
    link("one");
    let admin = std::net::SocketAddr::from(([127, 0, 0, 1], admin));
    let mut process = Process::of(env!("CARGO_BIN_EXE_penstock"))
        .args(["run", "--workers", "1", "--bind-address", "127.0.0.1", "--manifests"])
        .arg(all.path().join("current"))
        .args(["--admin-address", &admin.to_string()])
        .start();
    process.wait_ready(admin, DEADLINE).await;
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let who = || async {
        let answer = client::get(addr, "a.example", "/").await.ok()?;
        answer.header("x-backend").map(str::to_owned)
    };
    assert_eq!(who().await.as_deref(), Some("one"));
    link("two");
    until("the other folder", DEADLINE, who, |seen| seen.as_deref() == Some("two")).await;
}

#[tokio::test]
async fn a_port_that_somebody_else_has_is_taken_once_it_is_free() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("a bound socket has an address");
    let backend = Backend::start("one").await;
    let listeners = format!("listeners: [{{name: http, port: {}, protocol: HTTP}}]", addr.port());
    // It is ready all the same: other listeners may have their ports.
    let gateway =
        Gateway::start(&[support::gateway(&listeners), rule_to("all", "app"), service("app", &[&backend])]).await;
    let error = |status: &Value| status["listeners"][0]["error"].clone();
    gateway.wait_for_status("the port to be taken", |status| error(status).is_string()).await;
    drop(taken);
    let get = || client::get(addr, "a.example", "/");
    until("an answer", DEADLINE, get, |answer| answer.as_ref().is_ok_and(|answer| answer.status == 200))
        .await
        .expect("just seen");
    gateway.wait_for_status("no error any more", |status| error(status).is_null()).await;
}
