//! Who takes a request: the rows of the meaning table on listeners, rules, hosts, paths and redirects.

mod support;

use penstock_testkit::{Backend, Response, client};
use support::{Gateway, gateway, http_gateway, rule, rule_to, service};

/// Backends by name, each behind a Service of that name.
async fn backends<const N: usize>(names: [&str; N]) -> Vec<Backend> {
    let mut backends = Vec::new();
    for name in names {
        backends.push(Backend::start(name).await);
    }
    backends
}

/// The objects, and a Service for each backend.
async fn serving(backends: &[Backend], objects: impl IntoIterator<Item = String>) -> Gateway {
    let services = backends.iter().map(|backend| service(backend.name(), &[backend]));
    Gateway::start(&objects.into_iter().chain(services).collect::<Vec<_>>()).await
}

/// `backend:` of a Service.
fn to(service: &str) -> String {
    format!("backend: {{services: [{{name: {service}, port: 80}}]}}")
}

/// One entry of `paths:`.
fn path(patterns: &str, service: &str) -> String {
    format!("- paths: [{patterns}]\n  {}\n", to(service))
}

#[tokio::test]
async fn the_best_listener_takes_a_request_alone() {
    let all = backends(["exact", "wild", "basic"]).await;
    let listeners = "listeners:\n\
        - {name: exact, port: $http, protocol: HTTP, hostNames: [a.shop.example]}\n\
        - {name: wild, port: $http, protocol: HTTP, hostNames: ['*.shop.example']}\n\
        - {name: basic, port: $http, protocol: HTTP}\n";
    let gateway = serving(
        &all,
        [
            gateway(listeners),
            rule("exact", &format!("listeners: [exact]\npaths:\n{}", path("/only/*", "exact"))),
            rule("wild", &format!("listeners: [wild]\n{}", to("wild"))),
            rule("basic", &format!("listeners: [basic]\n{}", to("basic"))),
        ],
    )
    .await;
    assert_eq!(gateway.who("a.shop.example", "/only/x").await, "exact");
    assert_eq!(gateway.who("a.shop.example", "/x").await, "404", "rules of the other listeners are not looked at");
    assert_eq!(gateway.who("b.shop.example", "/x").await, "wild");
    assert_eq!(gateway.who("c.b.shop.example", "/x").await, "wild", "any depth below");
    assert_eq!(gateway.who("shop.example", "/x").await, "basic", "not the domain itself");
    assert_eq!(gateway.who("other.example", "/x").await, "basic");
}

#[tokio::test]
async fn hosts_are_compared_without_case_port_and_trailing_dot() {
    let all = backends(["app"]).await;
    let gateway = serving(
        &all,
        [
            http_gateway(""),
            rule("app", &format!("hostNames: [Shop.Example, '*.wild.example', 'eu-?.example']\n{}", to("app"))),
        ],
    )
    .await;
    for host in
        ["shop.example", "SHOP.example", "shop.example:8080", "shop.example.", "Shop.Example.:1", "a.wild.example"]
    {
        assert_eq!(gateway.who(host, "/x").await, "app", "{host}");
    }
    for host in ["a.b.wild.example", "eu-1.example"] {
        assert_eq!(gateway.who(host, "/x").await, "app", "{host}");
    }
    for host in
        ["wild.example", "xshop.example", "shop.example.org", "eu-12.example", "eu-.example", "127.0.0.1", "[::1]"]
    {
        assert_eq!(gateway.who(host, "/x").await, "404", "{host}");
    }
}

#[tokio::test]
async fn no_listener_and_no_rule_are_404() {
    let all = backends(["app"]).await;
    let listeners = "listeners: [{name: http, port: $http, protocol: HTTP, hostNames: [a.example]}]";
    let gateway = serving(&all, [gateway(listeners), rule("app", &format!("paths:\n{}", path("/app/*", "app")))]).await;
    assert_eq!(gateway.who("a.example", "/app/x").await, "app");
    for (host, target) in [("b.example", "/app/x"), ("a.example", "/other")] {
        let answer = gateway.get(host, target).await;
        assert_eq!((answer.status, answer.header("x-backend")), (404, None), "{host}{target}");
        assert!(answer.header("content-length").is_some(), "the connection can go on");
    }
    assert_eq!(all[0].requests().iter().filter(|r| r.path() != "/").count(), 1, "nothing else was forwarded");
}

#[tokio::test]
async fn paths_are_matched_after_normalization_and_sent_as_received() {
    let all = backends(["app", "rest"]).await;
    let rules = format!("paths:\n{}{}", path("/app/*, /exact, /caf%C3%A9/*, /a%2Fb/*", "app"), to("rest"));
    let gateway = serving(&all, [http_gateway(""), rule("all", &rules)]).await;
    // Asked for, who answers, and what that one got.
    for (asked, who, sent) in [
        ("/app/x", "app", "/app/x"),
        ("/APP/x", "app", "/APP/x"),
        ("/app/x?q=/../%2e", "app", "/app/x?q=/../%2e"),
        ("/%61pp/x", "app", "/%61pp/x"),
        ("/app/%7Ex", "app", "/app/%7Ex"),
        ("/app/../y", "rest", "/y"),
        ("/x/%2e%2e/app/z", "app", "/app/z"),
        ("/x/.%2E/app/z?a=1", "app", "/app/z?a=1"),
        ("/app/./a/../b", "app", "/app/b"),
        ("/../../app/x", "app", "/app/x"),
        ("/app%2Fx", "rest", "/app%2Fx"),
        ("//app/x", "rest", "//app/x"),
        ("/app//x", "app", "/app//x"),
        ("/exact", "app", "/exact"),
        ("/exact/", "rest", "/exact/"),
        ("/exact/x", "rest", "/exact/x"),
        ("/app", "rest", "/app"),
        ("/caf%c3%a9/x", "app", "/caf%c3%a9/x"),
        ("/a%2fb/x", "app", "/a%2fb/x"),
        ("/x...", "rest", "/x..."),
    ] {
        let answer = gateway.get("a.example", asked).await;
        assert_eq!(answer.status, 200, "{asked}");
        assert_eq!((answer.header("x-backend"), answer.json()["target"].as_str()), (Some(who), Some(sent)), "{asked}");
    }
}

#[tokio::test]
async fn with_a_priority_the_listed_order_counts() {
    let all = backends(["long", "short", "default", "later"]).await;
    let first = format!(
        "priority: 10\nhostNames: ['*.example']\npaths:\n{}{}{}",
        path("/a*", "short"),
        path("/a/b/*", "long"),
        to("default")
    );
    let later = format!("priority: 20\nhostNames: [a.example]\n{}", to("later"));
    let unranked = format!("hostNames: [a.example]\npaths:\n{}", path("/a/b/c", "later"));
    let gateway =
        serving(&all, [http_gateway(""), rule("z-first", &first), rule("a-later", &later), rule("b-none", &unranked)])
            .await;
    assert_eq!(gateway.who("a.example", "/a/b/c").await, "short", "first match in the listed order");
    assert_eq!(gateway.who("a.example", "/other").await, "default", "a default takes every request for its hosts");
    assert_eq!(gateway.who("example", "/other").await, "404", "no host of any rule");
}

#[tokio::test]
async fn an_equal_priority_goes_by_host_then_age() {
    let all = backends(["exact", "wild", "none", "old"]).await;
    let with = |host: &str, backend: &str| format!("priority: 10\n{host}{}", to(backend));
    let old = rule("z-old", &with("hostNames: [old.example]\n", "old"))
        .replace("{name: z-old,", "{name: z-old, creationTimestamp: '2020-01-01T00:00:00Z',");
    let young = rule("a-young", &with("hostNames: [old.example]\n", "none"))
        .replace("{name: a-young,", "{name: a-young, creationTimestamp: '2021-01-01T00:00:00Z',");
    let gateway = serving(
        &all,
        [
            http_gateway(""),
            rule("a", &with("", "none")),
            rule("b", &with("hostNames: ['*.example']\n", "wild")),
            rule("c", &with("hostNames: [a.example]\n", "exact")),
            old,
            young,
        ],
    )
    .await;
    assert_eq!(gateway.who("a.example", "/").await, "exact");
    assert_eq!(gateway.who("b.example", "/").await, "wild");
    assert_eq!(gateway.who("elsewhere", "/").await, "none");
    assert_eq!(gateway.who("old.example", "/").await, "old");
}

#[tokio::test]
async fn without_priorities_the_most_specific_wins() {
    let all = backends(["exact", "long", "short", "default", "wild", "any"]).await;
    let a = "hostNames: [a.example]\n";
    let gateway = serving(
        &all,
        [
            http_gateway(""),
            // Teams share a host: names say nothing about the order.
            rule("a", &format!("{a}paths:\n{}", path("/a*", "short"))),
            rule("b", &format!("{a}{}", to("default"))),
            rule("c", &format!("{a}paths:\n{}", path("/a/b/*", "long"))),
            rule("d", &format!("{a}paths:\n{}", path("/a/b/c", "exact"))),
            rule("e", &format!("hostNames: ['*.example']\npaths:\n{}{}", path("/a/b/c/d", "wild"), to("wild"))),
            rule("f", &to("any")),
        ],
    )
    .await;
    for (host, target, who) in [
        ("a.example", "/a/b/c", "exact"),
        ("a.example", "/a/b/x", "long"),
        ("a.example", "/a/x", "short"),
        ("a.example", "/x", "default"),
        ("a.example", "/a/b/c/d", "long"),
        ("b.example", "/x", "wild"),
        ("elsewhere", "/x", "any"),
    ] {
        assert_eq!(gateway.who(host, target).await, who, "{host}{target}");
    }
}

#[tokio::test]
async fn a_rule_none_of_whose_paths_fits_lets_the_next_one_try() {
    let all = backends(["first", "second", "wild"]).await;
    let a = "hostNames: [a.example]\n";
    let gateway = serving(
        &all,
        [
            http_gateway(""),
            rule("first", &format!("priority: 1\n{a}paths:\n{}", path("/first/*", "first"))),
            rule("second", &format!("{a}paths:\n{}", path("/second/*", "second"))),
            rule("wild", &format!("hostNames: ['*.example']\npaths:\n{}", path("/*", "wild"))),
        ],
    )
    .await;
    assert_eq!(gateway.who("a.example", "/first/x").await, "first");
    assert_eq!(gateway.who("a.example", "/second/x").await, "second");
    assert_eq!(gateway.who("a.example", "/third").await, "wild", "also to a rule with another host");
    assert_eq!(gateway.who("elsewhere", "/third").await, "404");
}

#[tokio::test]
async fn the_path_of_the_settings_replaces_the_literal_prefix() {
    let all = backends(["app"]).await;
    let with = |path: &str| format!("{{services: [{{name: app, port: 80}}], inlineSettings: {{path: {path}}}}}");
    let rules = [
        rule("whole", &format!("hostNames: [whole.example]\nbackend: {}", with("/v2/"))),
        rule(
            "parts",
            &format!(
                "hostNames: [parts.example]\npaths:\n- {{paths: ['/images/*'], backend: {}}}\n\
                 - {{paths: ['/static*'], backend: {}}}\n- {{paths: [/exact], backend: {}}}",
                with("/v2/"),
                with("/files"),
                with("/"),
            ),
        ),
    ];
    let gateway = serving(&all, [http_gateway("")].into_iter().chain(rules)).await;
    for (host, asked, sent) in [
        ("whole.example", "/a/b?q=1", "/v2/a/b?q=1"),
        ("whole.example", "/", "/v2/"),
        ("parts.example", "/images/a/b?q=1", "/v2/a/b?q=1"),
        ("parts.example", "/IMAGES/a", "/v2/a"),
        ("parts.example", "/images/", "/v2/"),
        ("parts.example", "/static/css", "/files/css"),
        ("parts.example", "/staticx", "/files/x"),
        ("parts.example", "/exact", "/"),
    ] {
        assert_eq!(gateway.get(host, asked).await.json()["target"], sent, "{host}{asked}");
    }
}

#[tokio::test]
async fn redirects_to_a_listener_and_to_a_url() {
    let listeners =
        "listeners: [{name: http, port: $http, protocol: HTTP}, {name: other, port: $other, protocol: HTTP}]";
    let redirect = |pattern: &str, redirect: &str| format!("- {{paths: ['{pattern}'], redirect: {{{redirect}}}}}\n");
    let rules = [
        redirect("/listener/*", "type: Permanent, listener: other"),
        redirect("/bare/*", "type: Temporary, listener: other, includePath: false, includeQueryString: false"),
        redirect("/url/*", "type: Found, url: 'https://docs.example/start'"),
        redirect(
            "/keep/*",
            "type: SeeOther, url: 'https://docs.example/', includePath: true, includeQueryString: true",
        ),
        redirect(
            "/fragment/*",
            "type: Found, url: 'https://docs.example/#/a?b', includePath: true, includeQueryString: true",
        ),
    ]
    .concat();
    let gateway =
        Gateway::start(&[gateway(listeners), rule("all", &format!("listeners: [http]\npaths:\n{rules}"))]).await;
    let other = gateway.port("other");
    for (asked, status, location) in [
        ("/listener/a%20b?x=1", 301, format!("http://A.example:{other}/listener/a%20b?x=1")),
        ("/bare/a?x=1", 307, format!("http://A.example:{other}/")),
        ("/url/a?x=1", 302, "https://docs.example/start".to_owned()),
        ("/keep/a?x=1", 303, "https://docs.example/keep/a?x=1".to_owned()),
        ("/fragment/a?x=1", 302, "https://docs.example/fragment/a?x=1#/a?b".to_owned()),
    ] {
        let answer = gateway.get("A.example:81", asked).await;
        let found = answer.header("location").unwrap_or_default();
        assert_eq!(answer.status, status, "{asked}");
        assert!(found.eq_ignore_ascii_case(&location), "{asked}: {found}, not {location}");
        assert!(answer.body.is_empty(), "{asked}");
    }
    // HTTP/1.0 needs no Host, and then there is no place to send the client to.
    let answer = gateway.raw("GET /listener/a HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("location")), (400, None));
    assert!(answer.text().contains("names no host"), "{}", answer.text());
    let answer = gateway.raw("GET /url/a HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("https://docs.example/start")));
}

#[tokio::test]
async fn a_redirect_to_https_says_the_public_port() {
    let ca = penstock_testkit::Ca::new("test");
    let identity = ca.server(&["shop.example"]);
    let listeners = "listeners:\n- {name: http, port: 80, protocol: HTTP}\n\
         - {name: https, port: 443, protocol: HTTPS, hostNames: [shop.example], tls: {certificateRefs: [{name: shop-tls}]}}\n";
    let objects = [
        gateway(listeners),
        rule("up", "listeners: [http]\nredirect: {type: Permanent, listener: https}"),
        identity.secret_yaml("edge", "shop-tls"),
    ];
    let gateway = Gateway::start_with(&["--map-port", "80=$http,443=$https"], &objects).await;
    let answer = gateway.get("shop.example", "/a?b=1").await;
    assert_eq!((answer.status, answer.header("location")), (301, Some("https://shop.example/a?b=1")));
}

#[tokio::test]
async fn a_change_of_the_objects_is_in_the_traffic() {
    let all = backends(["blue", "green"]).await;
    let services: Vec<String> = all.iter().map(|backend| service(backend.name(), &[backend])).collect();
    let objects = |rules: &[String]| [&[http_gateway("")], rules, &services].concat();
    let gateway = Gateway::start(&objects(&[rule_to("all", "blue")])).await;
    let mut connection = gateway.connect().await;
    let request = penstock_testkit::Request::get("a.example", "/x");
    assert_eq!(connection.exchange(&request).await.unwrap().header("x-backend"), Some("blue"));
    gateway.replace(&objects(&[rule_to("all", "green")]));
    let green = |answer: &Response| answer.header("x-backend") == Some("green");
    gateway.wait_answer("green", &request, green).await;
    assert!(green(&connection.exchange(&request).await.unwrap()), "on the open connection, too");
    gateway.replace(&objects(&[]));
    gateway.wait_status("a.example", "/x", 404).await;
    assert_eq!(connection.exchange(&request).await.unwrap().status, 404);
    // A rule in another file, on another listener port.
    gateway.replace(&[objects(&[])[1..].to_vec(), vec![gateway_with_two_ports()]].concat());
    gateway.write("more.yaml", &rule("more", &format!("listeners: [more]\n{}", to("blue"))));
    let more = || async { client::get(gateway.addr_of("more"), "a.example", "/x").await.ok().map(|a| a.status) };
    penstock_testkit::until("the new port", penstock_testkit::DEADLINE, more, |seen| *seen == Some(200)).await;
    assert_eq!(gateway.who("a.example", "/x").await, "404");
}

fn gateway_with_two_ports() -> String {
    gateway("listeners: [{name: http, port: $http, protocol: HTTP}, {name: more, port: $more, protocol: HTTP}]")
}
