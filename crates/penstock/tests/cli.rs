//! The command line through the built binary: what it prints, where, and with which exit code.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use penstock_testkit::{DEADLINE, Manifests, Process, free_port};

/// What a command left behind.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn penstock(args: &[&str]) -> Ended {
    with_input(args, "")
}

fn with_input(args: &[&str], input: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PENSTOCK_")) {
        command.env_remove(name);
    }
    let pipes = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("the binary starts");
    // A command that does not read its input closes it: that is no failure of the test.
    let _ = child.stdin.take().expect("stdin is piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("the command ends");
    let text = |bytes| String::from_utf8(bytes).expect("the output is text");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn example(name: &str) -> String {
    repository().join("examples").join(name).to_str().expect("a path of text").to_owned()
}

const GATEWAY: &str = "apiVersion: penstock.dev/v1alpha1
kind: ApplicationGateway
metadata: {name: shop}
spec:
  listeners:
  - {name: web, port: 8080, protocol: HTTP, hostNames: [shop.example.com]}
  - {name: rest, port: 8080, protocol: HTTP}
";

const RULE: &str = "apiVersion: penstock.dev/v1alpha1
kind: RoutingRule
metadata: {name: site}
spec:
  gatewayRef: {name: shop}
  listeners: [web]
  backend: {services: [{name: web, port: 80}]}
  paths:
  - {name: docs, paths: [\"/docs/*\"], redirect: {type: Found, url: \"https://docs.example.com\", includePath: true}}
";

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80, targetPort: 8081}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8081}]
endpoints: [{addresses: [192.0.2.7]}]
";

fn shop() -> Manifests {
    let folder = Manifests::new();
    folder.write("gateway.yaml", GATEWAY);
    folder.write("rule.yaml", RULE);
    folder.write("service.yaml", SERVICE);
    folder
}

fn path(folder: &Manifests) -> &str {
    folder.path().to_str().expect("a path of text")
}

#[test]
fn version_names_the_release() {
    let ended = penstock(&["version"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.starts_with(concat!("penstock ", env!("CARGO_PKG_VERSION"), " (")), "{}", ended.stdout);
}

#[test]
fn wrong_usage_is_one_sentence_and_2() {
    for args in [&["run", "--workers", "many"][..], &["check"], &["explain", "--manifests", "x", "GET"], &["nothing"]] {
        let ended = penstock(args);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.starts_with("penstock: ") && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    }
    let ended = penstock(&[]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("no command is given") && ended.stderr.contains("explain"), "{}", ended.stderr);
}

#[test]
fn help_shows_flags_with_environment_and_default() {
    let ended = penstock(&["run", "--help"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    for part in [
        "--manifests <DIR>",
        "PENSTOCK_MANIFESTS",
        "[default: penstock]",
        "127.0.0.1:9090 standalone",
        "30s",
        "RUST_LOG",
    ] {
        assert!(ended.stdout.contains(part), "{part} is missing in:\n{}", ended.stdout);
    }
}

/// The real shell completes with the script.
#[test]
fn completion_completes() {
    let script = penstock(&["completion", "bash"]);
    assert_eq!((script.code, script.stderr.as_str()), (Some(0), ""));
    let ask = |words: &str, at: usize| {
        let program = format!(
            "{}\nCOMP_WORDS=({words}) COMP_CWORD={at}\n_penstock penstock \"${{COMP_WORDS[$COMP_CWORD]}}\" \"${{COMP_WORDS[$COMP_CWORD-1]}}\"\necho \"${{COMPREPLY[@]}}\"",
            script.stdout
        );
        let output = Command::new("bash").args(["-c", &program]).output().expect("bash is there");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ask("penstock stat", 1).trim(), "status");
    assert_eq!(ask("penstock run --drain-d", 2).trim(), "--drain-delay");
    assert_eq!(penstock(&["completion", "csh"]).code, Some(2));
}

#[test]
fn man_pages_have_every_command_and_flag() {
    let page = penstock(&["man"]);
    assert_eq!((page.code, page.stderr.as_str()), (Some(0), ""));
    assert!(page.stdout.contains(".TH penstock 1") && page.stdout.contains("penstock\\-explain(1)"), "{}", page.stdout);
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert_eq!(penstock(&["man", "--dir", pages.to_str().unwrap()]).code, Some(0));
    let run = std::fs::read_to_string(pages.join("penstock-run.1")).unwrap();
    assert!(run.contains("\\-\\-drain\\-timeout") && run.contains("PENSTOCK_DRAIN_TIMEOUT"), "{run}");
}

#[test]
fn crds_are_those_of_the_repository() {
    let ended = penstock(&["crds"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("new/folder");
    assert_eq!(penstock(&["crds", "--dir", into.to_str().unwrap()]).code, Some(0));
    for name in ["applicationgateways.yaml", "routingrules.yaml"] {
        let written = std::fs::read_to_string(into.join(name)).unwrap();
        assert_eq!(written, std::fs::read_to_string(repository().join("crds").join(name)).unwrap(), "{name}");
        assert!(ended.stdout.contains(&written), "{name}");
    }
}

#[test]
fn check_takes_the_examples() {
    for name in ["quickstart", "demo"] {
        let ended = penstock(&["check", "--strict", &example(name)]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
        assert!(ended.stdout.ends_with("0 refused, 0 warnings\n"), "{}", ended.stdout);
    }
}

#[test]
fn check_names_file_line_object_and_field() {
    let folder = shop();
    let file = folder.write("rule.yaml", &RULE.replace("services: [{name: web, port: 80}]", "pool: nowhere"));
    folder.write("gateway.yaml", &format!("# one more line\n{}", GATEWAY.replace("protocol: HTTP,", "protocol: FTP,")));
    let ended = penstock(&["check", path(&folder)]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""));
    let gateway = ended.stdout.lines().find(|line| line.contains("gateway.yaml:2: ")).unwrap_or_default();
    assert!(gateway.contains("ApplicationGateway default/shop: spec.listeners"), "{}", ended.stdout);
    assert!(gateway.contains("\"FTP\""), "{gateway}");

    folder.write("gateway.yaml", GATEWAY);
    let ended = penstock(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(1));
    let line = format!("{}:1: RoutingRule default/site: ", file.display());
    assert!(ended.stdout.lines().any(|l| l.starts_with(&line) && l.contains("nowhere")), "{}", ended.stdout);
    assert!(ended.stdout.ends_with(" 1 refused, 0 warnings\n"), "{}", ended.stdout);
}

#[test]
fn check_refuses_unknown_fields_and_what_is_no_yaml() {
    let ended = with_input(&["check", "-"], &GATEWAY.replace("spec:", "spec:\n  listener: x"));
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains("spec.listener: no such field"), "{}", ended.stdout);
    let ended = with_input(&["check", "-"], "kind: [");
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.starts_with("<stdin>:"), "{}", ended.stdout);
}

#[test]
fn check_warns_of_what_the_cluster_may_have() {
    let folder = shop();
    folder.remove("service.yaml");
    let ended = penstock(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert!(ended.stdout.contains("warning: RoutingRule default/site: "), "{}", ended.stdout);
    assert!(ended.stdout.ends_with(" 0 refused, 1 warning\n"), "{}", ended.stdout);
    assert_eq!(penstock(&["check", "--strict", path(&folder)]).code, Some(1));

    let https = "  - {name: tls, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: missing}]}}\n";
    folder.write("gateway.yaml", &format!("{GATEWAY}{https}"));
    folder.write("service.yaml", SERVICE);
    let ended = penstock(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert!(ended.stdout.contains("warning: ApplicationGateway default/shop: "), "{}", ended.stdout);
    assert!(ended.stdout.contains("default/missing"), "{}", ended.stdout);

    let page = "  customErrorPages: [{statusCode: 502, configMapRef: {name: pages, key: down.html}}]\n";
    folder.write("gateway.yaml", &format!("{GATEWAY}{page}"));
    let ended = penstock(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert!(ended.stdout.contains("warning: ApplicationGateway default/shop: "), "{}", ended.stdout);
    assert!(ended.stdout.contains("ConfigMap default/pages does not exist"), "{}", ended.stdout);
    // A ConfigMap that is among the files and has no such key has none in the cluster either.
    folder.write("pages.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: pages}\ndata: {other.html: x}\n");
    let ended = penstock(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(ended.stdout.contains("has no key \"down.html\""), "{}", ended.stdout);
}

#[test]
fn check_says_what_the_page_for_users_of_azure_shows() {
    let page = std::fs::read_to_string(repository().join("docs/coming-from-azure.md")).unwrap();
    let (_, section) = page.split_once("## First mistakes").expect("the section");
    let block = |kind: &str| {
        let (_, rest) = section.split_once(&format!("```{kind}\n")).expect(kind);
        rest.split_once("```").expect("its end").0
    };
    let ended = with_input(&["check", "-"], block("yaml"));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), block("text")), "the page is to show what check says");
}

#[test]
fn check_takes_the_yaml_that_stands_beside_arm() {
    let page = std::fs::read_to_string(repository().join("docs/coming-from-azure.md")).unwrap();
    let (before, _) = page.split_once("## First mistakes").expect("the section");
    // Rules are whole; of the gateway there are parts, which together are one.
    let mut spec = BTreeMap::from([("listeners:", "- {name: http, port: 80, protocol: HTTP}\n".to_owned())]);
    let mut objects = String::new();
    for block in before.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        if block.starts_with("apiVersion:") {
            objects.push_str(&format!("---\n{block}"));
            continue;
        }
        let mut part = "";
        for line in block.lines() {
            if line.ends_with(':') && !line.starts_with([' ', '-']) {
                part = line;
            } else {
                spec.entry(part).or_default().push_str(&format!("{line}\n"));
            }
        }
    }
    assert!(spec.len() >= 6 && objects.matches("kind: RoutingRule").count() >= 2, "{spec:?}");
    let spec: String = spec
        .iter()
        .map(|(part, lines)| lines.lines().fold(format!("  {part}\n"), |yaml, line| format!("{yaml}  {line}\n")))
        .collect();
    let gateway = "apiVersion: penstock.dev/v1alpha1\nkind: ApplicationGateway\nmetadata: {name: shop}\nspec:\n";
    let ended = with_input(&["check", "-"], &format!("{gateway}{spec}{objects}"));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
}

#[test]
fn check_judges_gateways_of_every_class() {
    let folder = shop();
    folder.write("gateway.yaml", &GATEWAY.replace("spec:", "spec:\n  className: other"));
    folder.write("rule.yaml", &RULE.replace("services: [{name: web, port: 80}]", "pool: nowhere"));
    let ended = penstock(&["check", path(&folder)]);
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
    assert!(ended.stdout.contains("nowhere"), "{}", ended.stdout);
}

#[test]
fn check_of_a_path_that_is_not_there_is_2() {
    let ended = penstock(&["check", "/nowhere/at/all"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    assert!(ended.stderr.contains("/nowhere/at/all") && ended.stderr.lines().count() == 1, "{}", ended.stderr);
}

#[test]
fn explain_follows_a_request_to_its_backend() {
    let folder = shop();
    let explain = |url: &str| penstock(&["explain", "--manifests", path(&folder), "GET", url, "-H", "X-Tenant: a"]);
    let ended = explain("http://SHOP.example.com:8080/cart?x=1");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    assert!(ended.stdout.contains("> default/shop/web: takes the request"), "{}", ended.stdout);
    assert!(ended.stdout.contains("  default/shop/rest: would take it, but comes later"), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("path docs (shop.example.com, /docs/*): does not take this path"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("weight 1: default/web:80 at 192.0.2.7:8081"), "{}", ended.stdout);

    let ended = explain("http://shop.example.com:8080/a/../docs/%61");
    assert_eq!(ended.code, Some(0), "{}", ended.stdout);
    assert!(ended.stdout.contains("redirected with 302 Found to https://docs.example.com"), "{}", ended.stdout);
}

#[test]
fn explain_says_why_nothing_takes_a_request() {
    let folder = shop();
    for (url, why) in [
        ("http://other.example.com:8080/", "404: no rule takes this request"),
        ("http://shop.example.com/", "no listener on port 80 (only on 8080)"),
        ("https://shop.example.com:8080/", "expects plain HTTP, and this is TLS"),
        ("http://shop.example.com:8080/a%2F..%2Fb", "refused with 400: the path hides a dot segment"),
    ] {
        let ended = penstock(&["explain", "--manifests", path(&folder), "GET", url]);
        assert_eq!(ended.code, Some(1), "{url}: {}", ended.stdout);
        assert!(ended.stdout.contains(why), "{url}: {}", ended.stdout);
    }
    let ended = penstock(&["explain", "--manifests", path(&folder), "GET", "/cart"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("must be absolute"), "{}", ended.stderr);
}

#[tokio::test]
async fn status_shows_a_running_instance() {
    let folder = shop();
    let (traffic, admin) = (free_port(), free_port());
    let address = ([127, 0, 0, 1], admin).into();
    let mut process = Process::of(env!("CARGO_BIN_EXE_penstock"))
        .args(["run", "--manifests", path(&folder), "--workers", "1", "--bind-address", "127.0.0.1"])
        .arg(format!("--map-port=8080={traffic}"))
        .env("PENSTOCK_ADMIN_ADDRESS", &format!("127.0.0.1:{admin}"))
        .start();
    process.wait_ready(address, DEADLINE).await;
    let url = format!("http://127.0.0.1:{admin}");
    let ended = penstock(&["status", "--admin", &url]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let row: Vec<&str> =
        ended.stdout.lines().find(|line| line.contains(" web ")).unwrap_or_default().split_whitespace().collect();
    assert_eq!(row, ["default/shop", "web", "8080", &traffic.to_string(), "HTTP", "1", "0", "-"], "{}", ended.stdout);
    assert!(ended.stdout.contains("192.0.2.7:8081"), "{}", ended.stdout);

    let ended = penstock(&["status", "--admin", &url, "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(status["listeners"][0]["gateway"], "default/shop");
    assert!(process.stop(DEADLINE).await.success());
}

#[test]
fn status_of_nobody_says_what_to_do() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let ended = penstock(&["status", "--admin", &url]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains(&url) && ended.stderr.contains("penstock run"), "{}", ended.stderr);
}

#[test]
fn run_says_what_is_missing() {
    let admin = format!("127.0.0.1:{}", free_port());
    let ended =
        penstock(&["run", "--kubeconfig", "/nowhere/config", "--admin-address", &admin, "--log-format", "text"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("penstock: ") && last.contains("--kubeconfig /nowhere/config"), "{}", ended.stderr);

    let ended = penstock(&["run", "--manifests", "/nowhere", "--drain-timeout", "1s", "--drain-spread", "2s"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("--drain-spread 2s is longer than --drain-timeout 1s"), "{}", ended.stderr);
}

#[test]
fn demo_names_a_port_that_is_taken() {
    // Somebody else's will do, too.
    let _held = std::net::TcpListener::bind(("127.0.0.1", 9002));
    let ended = penstock(&["demo"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("cannot listen on 127.0.0.1:"), "{}", ended.stderr);
}
