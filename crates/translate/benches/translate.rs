//! What a translation costs: all of 5,000 rules at the start, and one of them that changed, in the memory of the others.
//!
//! `cargo bench -p penstock-translate -- --quick`

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use penstock_api::RoutingRule;
use penstock_translate::{Key, Options, Snapshot, Translator};
use serde::de::DeserializeOwned;

const RULES: usize = 5_000;

fn object<T: DeserializeOwned>(yaml: &str) -> Arc<T> {
    Arc::new(serde_yaml::from_str(yaml).expect("an object"))
}

fn key(name: &str) -> Key {
    Key::new("shop", name)
}

/// A host with two paths of its own and a backend for all others.
fn rule(number: usize, host: &str) -> (Key, Arc<RoutingRule>) {
    let name = format!("rule-{number}");
    let rule = object(&format!(
        "apiVersion: penstock.dev/v1alpha1
kind: RoutingRule
metadata: {{name: {name}, namespace: shop, generation: 1}}
spec:
  gatewayRef: {{name: edge}}
  hostNames: [{host}]
  backend: {{services: [{{name: app, port: 80}}]}}
  paths:
    - {{name: api, paths: [/api/*], backend: {{services: [{{name: app, port: 80}}]}}}}
    - {{name: chat, paths: [/chat/*], backend: {{services: [{{name: app, port: 80}}]}}}}
"
    ));
    (key(&name), rule)
}

/// Rules of one gateway, before one Service of one namespace.
fn snapshot() -> Snapshot {
    let gateway = "apiVersion: penstock.dev/v1alpha1
kind: ApplicationGateway
metadata: {name: edge, namespace: shop, generation: 1}
spec:
  listeners: [{name: http, port: 80, protocol: HTTP}]
";
    let service = "metadata: {name: app, namespace: shop}
spec:
  ports: [{name: http, port: 80}]
";
    let rules = (0..RULES).map(|number| rule(number, &format!("host-{number}.example.com")));
    Snapshot {
        gateways: BTreeMap::from([(key("edge"), object(gateway))]).into(),
        services: BTreeMap::from([(key("app"), object(service))]).into(),
        rules: rules.collect::<BTreeMap<_, _>>().into(),
        ..Snapshot::default()
    }
}

fn options() -> Options {
    Options { class: "penstock".to_owned(), ..Options::default() }
}

fn translate(criterion: &mut Criterion) {
    let (all, options) = (snapshot(), options());
    let made = Translator::default().translate(&all, &options);
    let routes: usize = made.config.listeners.iter().map(|listener| listener.routes.len()).sum();
    assert_eq!(routes, 3 * RULES, "every path of every rule is a route");

    let mut group = criterion.benchmark_group("translate");
    group.bench_function(BenchmarkId::new("all rules", RULES), |bencher| {
        bencher.iter_batched(
            Translator::default,
            |mut fresh| fresh.translate(black_box(&all), &options),
            BatchSize::PerIteration,
        );
    });
    let mut translator = Translator::default();
    translator.translate(&all, &options);
    let (mut now, mut turn) = (all.clone(), 0);
    group.bench_function(BenchmarkId::new("one rule of", RULES), |bencher| {
        bencher.iter_batched(
            || {
                turn += 1;
                let (name, changed) = rule(RULES / 2, &format!("changed-{turn}.example.com"));
                now.rules.insert(name, changed);
                now.clone()
            },
            |snapshot| translator.translate(black_box(&snapshot), &options),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, translate);
criterion_main!(benches);
