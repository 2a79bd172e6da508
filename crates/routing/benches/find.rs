//! What a look-up costs at 10, 5,000 and 50,000 hosts, and what it costs to compile 5,000 of which one changed.
//!
//! `cargo bench -p penstock-routing -- --quick`

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method, StatusCode};
use penstock_model::{
    Action, ClientAddress, Config, GatewayId, HostPattern, Listener, ListenerId, PathMatch, Rank, Route, RuleId,
};
use penstock_routing::{RouteRequest, RouteTable};

/// Two paths and a default for a host.
fn routes(host: usize) -> impl Iterator<Item = Route> {
    let prefix = |text: &str| PathMatch::Prefix { prefix: text.into(), case_sensitive: false };
    let paths = [prefix("/api/v1/"), prefix("/static/"), PathMatch::Any];
    paths.into_iter().zip(0..).map(move |(path, listed)| Route {
        rule: RuleId::new("shop", format!("rule-{host}")),
        path_name: None,
        rank: Rank { listed, ..Rank::default() },
        host: HostPattern::parse(&format!("host-{host}.shop.example.com")).expect("a host"),
        path,
        method: None,
        headers: Vec::new(),
        queries: Vec::new(),
        filters: Vec::new(),
        action: Arc::new(Action::Respond(StatusCode::NO_CONTENT)),
    })
}

fn config(routes: &[Arc<Route>]) -> Config {
    let listener = Listener {
        id: ListenerId { gateway: GatewayId::new("edge", "gate"), name: "http".into() },
        port: 80,
        bind_port: 80,
        tls: None,
        hosts: vec![HostPattern::parse("*.shop.example.com").expect("a pattern")],
        routes: routes.to_vec(),
        client_address: ClientAddress::default(),
        error_pages: Default::default(),
    };
    Config { listeners: vec![Arc::new(listener)], ..Config::default() }
}

fn all(hosts: usize) -> Vec<Arc<Route>> {
    (0..hosts).flat_map(routes).map(Arc::new).collect()
}

fn find(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find");
    for hosts in [10, 5_000, 50_000] {
        let table = RouteTable::compile(&config(&all(hosts)), &RouteTable::default(), |_, _| ());
        let names: Vec<String> = (0..hosts).map(|host| format!("host-{host}.shop.example.com")).collect();
        // Another host each time, or only what is in the cache would be measured.
        let mut host = names.iter().cycle().step_by(7);
        let headers = HeaderMap::new();
        group.bench_function(BenchmarkId::from_parameter(hosts), |bencher| {
            bencher.iter(|| {
                let host = host.next().expect("it goes round and round");
                let path = "/api/v1/items/42";
                let request =
                    RouteRequest { port: 80, host, path, query: None, method: &Method::GET, headers: &headers };
                assert!(table.find(black_box(&request)).is_ok());
            });
        });
    }
    group.finish();
}

fn compile(criterion: &mut Criterion) {
    let mut before = all(5_000);
    let table = RouteTable::compile(&config(&before), &RouteTable::default(), |_, _| ());
    let changed: Vec<Arc<Route>> = routes(2_500)
        .map(|route| Arc::new(Route { action: Arc::new(Action::Respond(StatusCode::ACCEPTED)), ..route }))
        .collect();
    before.splice(7_500..7_503, changed);
    let after = config(&before);
    criterion.bench_function("compile/5000, one host changed", |bencher| {
        bencher.iter(|| RouteTable::compile(black_box(&after), &table, |_, _| ()));
    });
    criterion.bench_function("compile/5000, from nothing", |bencher| {
        bencher.iter(|| RouteTable::compile(black_box(&after), &RouteTable::default(), |_, _| ()));
    });
}

criterion_group!(benches, find, compile);
criterion_main!(benches);
