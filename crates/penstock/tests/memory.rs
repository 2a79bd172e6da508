//! What hostile clients cost in memory, what they get for it, and how it is counted: `make attack` prints the table.

#[path = "support/attacks.rs"]
mod attacks;
mod support;

use attacks::{Attack, HOST, Site, attacks};
use futures_util::future::join_all;
use penstock_testkit::{Backend, Ca, DEADLINE, Metrics, Request, TlsClient, eventually, until};
use support::tls::listener;
use support::{Gateway, WHILE, gateway, rule, service};
use tokio::time::timeout;

/// A gateway with listeners for both protocols; `/full` goes to a backend that has no place left.
async fn start(backend: &Backend, ca: &Ca) -> (Gateway, Site) {
    let listeners = "listeners:\n- {name: http, port: $http, protocol: HTTP}\n".to_owned()
        + &listener("https", &format!("hostNames: [{HOST}],"), "cert")
        + "backendSettings:\n- {name: full, connectTimeout: 60s, limits: {maxConnections: 1, maxPendingRequests: 100000}}\n";
    let to = "{services: [{name: app, port: 80}]}";
    let full = "{services: [{name: app, port: 80}], settings: full}";
    let rule = rule("all", &format!("backend: {to}\npaths: [{{paths: [/full], backend: {full}}}]"));
    let secret = ca.server(&[HOST]).secret_yaml("edge", "cert");
    let gateway = Gateway::start(&[gateway(&listeners), rule, service("app", &[backend]), secret]).await;
    let site = Site { http: gateway.addr(), https: gateway.addr_of("https"), tls: TlsClient::new(ca) };
    (gateway, site)
}

// On threads of their own: a backend that sends gigabytes must not keep the one that looks from looking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_under_attack_is_bounded() {
    let ca = Ca::new("test");
    println!("the process's own memory in MB before, at most during, and after; KB for each client");
    println!(
        "{:34}{:>8}{:>7}{:>7}{:>7}{:>8}  came back; counted in penstock_refused_total",
        "sent", "clients", "before", "most", "after", "each"
    );
    for Attack { sent, limit, reason, begin, clients: count } in attacks() {
        let backend = Backend::start("one").await;
        let (gateway, site) = start(&backend, &ca).await;
        assert_eq!(gateway.get(HOST, "/x").await.status, 200);
        // The only place of the full backend.
        let mut held = gateway.connect().await;
        held.send(&Request::get(HOST, "/full").behaviour("sse")).await.expect("the gateway reads");
        held.head("GET").await.expect("an answer");
        let metrics = || eventually("metrics", DEADLINE, || Metrics::fetch(gateway.admin()));
        let before = gateway.process.own_memory();
        let mut most = before;
        let mut clients = join_all((0..count).map(|_| begin(site.clone()))).await;
        // Until it grows no more.
        let steady = async {
            let mut still = 0;
            while still < 10 {
                tokio::time::sleep(WHILE / 5).await;
                let now = gateway.process.own_memory();
                still = if now > most * 1.01 { 0 } else { still + 1 };
                most = most.max(now);
            }
        };
        timeout(DEADLINE, steady).await.expect("memory that grows no more");
        assert_eq!(gateway.get(HOST, "/x").await.status, 200, "{sent}: others are served");
        let came = clients.pop().expect("a client").came().await;
        backend.end_events();
        drop((clients, held));
        // The one of the metrics is not a client.
        let open = || async { metrics().await.sum("penstock_connections_open", &[]) };
        until("the clients to be gone", DEADLINE, open, |open| *open < 0.5).await;
        // Memory goes back a second after the last of them.
        tokio::time::sleep(WHILE * 5).await;
        let counted: Vec<String> = metrics()
            .await
            .matching("penstock_refused_total", &[])
            .filter(|sample| sample.value > 0.5)
            .map(|sample| format!("{} {}", sample.labels["reason"], sample.value))
            .collect();
        let each = (most - before) / count as f64;
        let [before, most, after] = [before, most, gateway.process.own_memory()].map(|bytes| bytes / 1e6);
        let counted = if counted.is_empty() { "-".to_owned() } else { counted.join(", ") };
        println!("{sent:34}{count:8}{before:7.1}{most:7.1}{after:7.1}{:8.1}  {came}; {counted}", each / 1e3);
        assert!(each < limit, "{sent}: {each} bytes for each client, more than {limit}");
        assert!(reason.is_none_or(|reason| counted.contains(reason)), "{sent}: counted as {counted}");
    }
}
