//! How long a translation takes when one of many rules changes: `cargo run --release -p penstock-translate --example timing [RULES]`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use penstock_api::RoutingRule;
use penstock_translate::{Key, Options, Snapshot, Translator};

fn object<T: serde::de::DeserializeOwned>(yaml: &str) -> Arc<T> {
    Arc::new(serde_yaml::from_str(yaml).expect("an object"))
}

fn rule(index: usize, path: &str) -> Arc<RoutingRule> {
    object(&format!(
        "{{metadata: {{name: r{index}, namespace: a}}, spec: {{gatewayRef: {{name: g}}, hostNames: [h{index}.example.com], \
         backend: {{services: [{{name: s{index}, port: 80}}]}}, paths: [{{paths: ['{path}'], backend: {{services: [{{name: s{index}, port: 80}}]}}}}]}}}}"
    ))
}

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5000);
    let mut snapshot = Snapshot::default();
    let gateway = "{metadata: {name: g, namespace: a}, spec: {listeners: [{name: http, port: 80, protocol: HTTP}]}}";
    snapshot.gateways.insert(Key::new("a", "g"), object(gateway));
    let namespace: Arc<str> = "a".into();
    for index in 0..count {
        snapshot.rules.insert(Key::new(namespace.clone(), format!("r{index}")), rule(index, "/images/*"));
        let key = Key::new(namespace.clone(), format!("s{index}"));
        let service = format!("{{metadata: {{name: s{index}, namespace: a}}, spec: {{ports: [{{port: 80}}]}}}}");
        snapshot.services.insert(key.clone(), object(&service));
        let address = format!("10.0.{}.{}", index / 250, index % 250 + 1);
        let slice = format!(
            "{{metadata: {{name: s{index}}}, addressType: IPv4, ports: [{{name: '', port: 80}}], endpoints: [{{addresses: ['{address}']}}]}}"
        );
        snapshot.endpoint_slices.insert(key, vec![object(&slice)]);
    }
    let options = Options { class: "penstock".into(), ..Options::default() };
    let mut translator = Translator::default();
    let start = Instant::now();
    let mut last = translator.translate(&snapshot, &options);
    println!("{count} rules, everything new: {:?}", start.elapsed());
    let start = Instant::now();
    let same = translator.translate(&snapshot, &options);
    println!("nothing changed: {:?}", start.elapsed());
    assert!(Arc::ptr_eq(&last.config, &same.config), "nothing changed");
    let changed: Vec<_> = (0..ROUNDS).map(|round| rule(round * 97 % count, &format!("/changed{round}/*"))).collect();
    let mut times = Vec::new();
    let before = processor_time();
    for (round, rule) in changed.into_iter().enumerate() {
        snapshot.rules.insert(Key::new(namespace.clone(), format!("r{}", round * 97 % count)), rule);
        let start = Instant::now();
        let next = translator.translate(&snapshot, &options);
        times.push(start.elapsed());
        assert!(!Arc::ptr_eq(&last.config, &next.config), "a rule changed");
        last = next;
    }
    if let (Some(before), Some(after)) = (before, processor_time()) {
        println!("one rule changed: {:?} of processor time on average", (after - before) / ROUNDS as u32);
    }
    times.sort();
    println!("one rule changed: best {:?}, median {:?}, worst {:?}", times[0], times[ROUNDS / 2], times[ROUNDS - 1]);
}

const ROUNDS: usize = 500;

/// What this thread has had of a processor: on a machine with other work the clock on the wall tells little.
fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
