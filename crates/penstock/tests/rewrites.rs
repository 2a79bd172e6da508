//! Rewrite rule sets: what the backend gets and what the client gets back.

mod support;

use penstock_testkit::{Backend, Request, Response, WebSocket};
use support::{Gateway, http_gateway, rule, service};

const HOST: &str = "a.example";

/// A gateway whose rule `all` has a set of these rules, one a line.
async fn rewriting(backend: &Backend, rules: &[&str]) -> Gateway {
    let rules: String = rules.iter().enumerate().map(|(n, rule)| format!("  - {{name: r{n}, {rule}}}\n")).collect();
    let objects = [
        http_gateway(&format!("rewriteRuleSets:\n- name: set\n  rules:\n{rules}")),
        rule("all", "rewriteRuleSet: set\nbackend: {services: [{name: app, port: 80}]}"),
        service("app", &[backend]),
    ];
    Gateway::start(&objects).await
}

/// The target that the backend received.
fn target(answer: &Response) -> String {
    answer.json()["target"].as_str().expect("the target as received").to_owned()
}

#[tokio::test]
async fn the_url_is_put_together_from_what_a_condition_captured() {
    let backend = Backend::start("one").await;
    let gateway = rewriting(
        &backend,
        &["conditions: [{variable: uri_path, pattern: '^/old/([^/]*)/(.*)', ignoreCase: true}], \
           actions: {url: {path: '/new/{var_uri_path_2}/{var_uri_path_1}', queryString: 'was={var_query_string}'}}"],
    )
    .await;
    assert_eq!(target(&gateway.get(HOST, "/OLD/a/b/c?x=1").await), "/new/b/c/a?was=x=1");
    assert_eq!(target(&gateway.get(HOST, "/other?x=1").await), "/other?x=1", "the condition does not hold");
    let answer = gateway.get(HOST, "/old/a/../b/%41%20").await;
    assert_eq!(target(&answer), "/new/A%20/b?was=", "conditions see the normalized path");
}

#[tokio::test]
async fn an_empty_query_goes_and_an_absent_one_stays() {
    let backend = Backend::start("one").await;
    let empty = rewriting(&backend, &["actions: {url: {queryString: ''}}"]).await;
    assert_eq!(target(&empty.get(HOST, "/a?x=1").await), "/a");
    let absent = rewriting(&backend, &["actions: {url: {path: 'b c?'}}"]).await;
    assert_eq!(target(&absent.get(HOST, "/a?x=1").await), "/b%20c%3F?x=1", "what no path may have is escaped");
}

#[tokio::test]
async fn request_headers_are_set_appended_and_deleted() {
    let backend = Backend::start("one").await;
    let gateway = rewriting(
        &backend,
        &["actions: {requestHeaders: [{name: X-Set, value: '{var_client_ip} {var_http_method} {var_request_uri}'}, \
           {name: X-More, value: ours, append: true}, {name: X-Gone}, {name: Host, value: inner.example}, \
           {name: X-Forwarded-For, value: '{var_add_x_forwarded_for_proxy}, end'}]}"],
    )
    .await;
    let request = Request::get(HOST, "/a/./b?x=1").with("X-Set", "theirs").with("X-More", "theirs").with("X-Gone", "x");
    let answer = gateway.send(&request).await;
    assert_eq!(answer.echoed("x-set"), ["127.0.0.1 GET /a/./b?x=1"]);
    assert_eq!(answer.echoed("x-more"), ["theirs", "ours"]);
    assert_eq!(answer.echoed("x-gone"), [""; 0]);
    assert_eq!(answer.echoed("host"), ["inner.example"]);
    assert_eq!(answer.echoed("x-forwarded-for"), ["127.0.0.1, end"]);
}

#[tokio::test]
async fn variables_are_what_azure_calls_them() {
    let backend = Backend::start("one").await;
    let values = "{var_host}|{var_server_port}|{var_request_scheme}|{var_http_version}|{var_cookie_b}|{var_client_user}|\
                  {http_req_User-Agent}|{var_ssl_enabled}{var_ssl_connection_protocol}|{\"json\": 1}";
    let action = format!("actions: {{requestHeaders: [{{name: X-All, value: '{values}'}}]}}");
    let gateway = rewriting(&backend, &[&action]).await;
    let request = Request::get("A.example:81", "/x")
        .with("Cookie", "a=1; b=two")
        .with("Authorization", "Basic YWxpY2U6c2VjcmV0")
        .with("User-Agent", "test");
    let port = gateway.port("http");
    let expected = format!("A.example|{port}|http|HTTP/1.1|two|alice|test||{{\"json\": 1}}");
    assert_eq!(gateway.send(&request).await.echoed("x-all"), [expected]);
}

#[tokio::test]
async fn rules_go_by_sequence_and_see_what_those_before_have_left() {
    let backend = Backend::start("one").await;
    let gateway = rewriting(
        &backend,
        &[
            "sequence: 30, conditions: [{variable: http_req_X-Step, pattern: '^two$'}], \
             actions: {requestHeaders: [{name: X-Step, value: 'three'}]}",
            "sequence: 20, conditions: [{variable: uri_path, pattern: '^/b$'}], \
             actions: {requestHeaders: [{name: X-Step, value: two}]}",
            "sequence: 10, actions: {url: {path: /b}, requestHeaders: [{name: X-Step, value: '{var_uri_path}'}]}",
        ],
    )
    .await;
    assert_eq!(gateway.get(HOST, "/a").await.echoed("x-step"), ["three"]);
}

#[tokio::test]
async fn a_negated_condition_holds_when_nothing_is_found() {
    let backend = Backend::start("one").await;
    let gateway = rewriting(
        &backend,
        &["conditions: [{variable: http_req_X-Debug, pattern: 'on', negate: true}], \
           actions: {requestHeaders: [{name: X-Quiet, value: 'yes'}]}"],
    )
    .await;
    assert_eq!(gateway.get(HOST, "/").await.echoed("x-quiet"), ["yes"]);
    let loud = gateway.send(&Request::get(HOST, "/").with("X-Debug", "on")).await;
    assert_eq!(loud.echoed("x-quiet"), [""; 0]);
}

#[tokio::test]
async fn the_answer_is_rewritten_by_what_it_says_and_by_what_was_asked() {
    let backend = Backend::start("one").await;
    let gateway = rewriting(
        &backend,
        &[
            "conditions: [{variable: http_resp_Location, pattern: '^http://([^/]*)/(.*)$'}, \
                          {variable: http_status, pattern: '^30'}], \
             actions: {responseHeaders: [{name: Location, value: 'https://{var_host}/{http_resp_Location_2}'}]}",
            "conditions: [{variable: uri_path, pattern: '^/tag/(.*)'}], \
             actions: {url: {path: /x}, responseHeaders: [{name: X-Tag, value: '{var_uri_path_1} {var_http_status}'}, {name: X-Backend}]}",
        ],
    )
    .await;
    let moved = Request::get(HOST, "/x").behaviour("status=302,header=Location: http://inner/a/b");
    assert_eq!(gateway.send(&moved).await.header("location"), Some("https://a.example/a/b"));
    let made = Request::get(HOST, "/x").behaviour("status=201,header=Location: http://inner/a/b");
    assert_eq!(gateway.send(&made).await.header("location"), Some("http://inner/a/b"), "another status");
    let tagged = gateway.get(HOST, "/tag/blue").await;
    assert_eq!((tagged.header("x-tag"), tagged.header("x-backend")), (Some("blue 200"), None));
}

#[tokio::test]
async fn a_path_can_have_a_set_of_its_own() {
    let backend = Backend::start("one").await;
    let set = |name: &str| {
        format!(
            "- name: {name}\n  rules: [{{name: a, actions: {{requestHeaders: [{{name: X-Set, value: {name}}}]}}}}]\n"
        )
    };
    let to = "backend: {services: [{name: app, port: 80}]}";
    let gateway = Gateway::start(&[
        http_gateway(&format!("rewriteRuleSets:\n{}{}", set("all"), set("images"))),
        rule("all", &format!("rewriteRuleSet: all\n{to}\npaths:\n- {{paths: ['/images/*'], rewriteRuleSet: images, {to}}}\n- {{paths: ['/docs/*'], {to}}}")),
        service("app", &[&backend]),
    ])
    .await;
    for (path, set) in [("/images/a", "images"), ("/docs/a", "all"), ("/", "all")] {
        assert_eq!(gateway.get(HOST, path).await.echoed("x-set"), [set], "{path}");
    }
}

#[tokio::test]
async fn reroute_matches_the_paths_of_the_rule_again_and_once() {
    let (one, two) = (Backend::start("one").await, Backend::start("two").await);
    let gateway = Gateway::start(&[
        // Each path rewrites to the other: matched again once, not for ever.
        http_gateway(
            "rewriteRuleSets:\n- name: set\n  rules:\n  - {name: swap, conditions: [{variable: uri_path, pattern: '^/(one|two)/'}], \
             actions: {url: {path: '/two{var_uri_path}', reroute: true}}}\n  \
             - {name: lost, conditions: [{variable: uri_path, pattern: '^/lost'}], actions: {url: {path: /nowhere, reroute: true}}}\n",
        ),
        rule(
            "all",
            "rewriteRuleSet: set\npaths:\n- {paths: ['/one/*', /lost], backend: {services: [{name: one, port: 80}]}}\n\
             - {paths: ['/two/*'], backend: {services: [{name: two, port: 80}], inlineSettings: {path: /inner/}}}",
        ),
        rule("other", "paths:\n- {paths: [/nowhere], backend: {services: [{name: one, port: 80}]}}"),
        service("one", &[&one]),
        service("two", &[&two]),
    ])
    .await;
    let answer = gateway.get(HOST, "/one/x").await;
    assert_eq!((answer.header("x-backend"), target(&answer)), (Some("two"), "/inner/one/x".to_owned()));
    assert_eq!(gateway.who(HOST, "/lost").await, "404", "no path of this rule; another rule's is not asked");
}

#[tokio::test]
async fn the_handshake_of_a_websocket_is_rewritten_as_any_request() {
    let backend = Backend::start("one").await;
    let gateway = rewriting(
        &backend,
        &["actions: {url: {path: '/ws{var_uri_path}'}, requestHeaders: [{name: X-Seen, value: 'yes'}], \
           responseHeaders: [{name: X-Added, value: '{var_http_status}'}]}"],
    )
    .await;
    let mut socket = WebSocket::open(gateway.addr(), HOST, "/chat").await.expect("an open WebSocket");
    assert_eq!(socket.response().header("x-added"), Some("101"));
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
    assert_eq!(backend.count("/ws/chat"), 1);
}

#[tokio::test]
async fn answers_of_the_gateway_itself_and_redirects_stay_as_they_are() {
    let gateway = Gateway::start(&[
        http_gateway("rewriteRuleSets: [{name: set, rules: [{name: r, actions: {responseHeaders: [{name: X-Added, value: 'yes'}, {name: Location}]}}]}]"),
        rule("all", "rewriteRuleSet: set\nredirect: {type: Found, url: 'https://b.example/'}\npaths:\n- {paths: [/none], backend: {services: [{name: app, port: 80}]}}"),
        service("app", &[]),
    ])
    .await;
    let moved = gateway.get(HOST, "/x").await;
    assert_eq!((moved.status, moved.header("x-added")), (302, None));
    assert_eq!(moved.header("location"), Some("https://b.example/"));
    let failed = gateway.get(HOST, "/none").await;
    assert_eq!((failed.status, failed.header("x-added")), (502, None));
}

#[tokio::test]
async fn a_path_that_is_none_after_the_rewrite_is_refused() {
    let backend = Backend::start("one").await;
    let gateway = rewriting(&backend, &["actions: {url: {path: '/{http_req_X-Path}'}}"]).await;
    let bad = gateway.send(&Request::get(HOST, "/").with("X-Path", "a%2F..%2Fb")).await;
    assert_eq!(bad.status, 400);
    let dots = gateway.send(&Request::get(HOST, "/").with("X-Path", "a/../b")).await;
    assert_eq!(target(&dots), "/b");
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn each_cookie_of_an_answer_is_edited_by_itself() {
    let backend = Backend::start("one").await;
    let gateway = rewriting(
        &backend,
        &[
            "conditions: [{variable: http_resp_Set-Cookie, pattern: '; Secure', negate: true}], \
             actions: {responseHeaders: [{name: Set-Cookie, value: '{http_resp_Set-Cookie}; Secure'}]}",
            "conditions: [{variable: http_resp_Set-Cookie, pattern: '^old=([^;]*)'}], \
             actions: {responseHeaders: [{name: Set-Cookie, value: 'new={http_resp_Set-Cookie_1}', append: true}, \
             {name: Set-Cookie}, {name: X-Moved, value: '{http_resp_Set-Cookie_1}'}]}",
        ],
    )
    .await;
    let cookies = "header=Set-Cookie:a=1,header=Set-Cookie:old=x; Path=/,header=Set-Cookie:b=2; Secure";
    let answer = gateway.send(&Request::get(HOST, "/x").behaviour(cookies)).await;
    assert_eq!(answer.all("set-cookie"), ["a=1; Secure", "b=2; Secure", "new=x"]);
    assert_eq!(answer.header("x-moved"), Some("x"));
    let none = gateway.get(HOST, "/x").await;
    assert_eq!((none.all("set-cookie").len(), none.header("x-moved")), (0, None), "no cookie, nothing to edit");
}

#[tokio::test]
async fn a_cookie_in_place_of_all_is_one_and_conditions_ask_all() {
    let backend = Backend::start("one").await;
    let gateway = rewriting(
        &backend,
        &[
            "conditions: [{variable: uri_path, pattern: '^/all'}], \
             actions: {responseHeaders: [{name: Set-Cookie, value: 'only=1'}]}",
            "conditions: [{variable: http_resp_Set-Cookie, pattern: '^seen=', negate: true}], \
             actions: {responseHeaders: [{name: Set-Cookie, value: 'seen=1', append: true}, {name: X-First, value: 'yes'}]}",
        ],
    )
    .await;
    let with = |path: &str, cookies: &str| Request::get(HOST, path).behaviour(cookies);
    let two = gateway.send(&with("/all", "header=Set-Cookie:a=1,header=Set-Cookie:b=2")).await;
    assert_eq!(two.all("set-cookie"), ["only=1", "seen=1"]);
    let known = gateway.send(&with("/x", "header=Set-Cookie:a=1,header=Set-Cookie:seen=1")).await;
    assert_eq!((known.all("set-cookie"), known.header("x-first")), (vec!["a=1", "seen=1"], None));
    let none = gateway.get(HOST, "/x").await;
    assert_eq!((none.all("set-cookie"), none.header("x-first")), (vec!["seen=1"], Some("yes")));
}

#[tokio::test]
async fn a_path_that_no_rule_sets_goes_on_as_received() {
    let backend = Backend::start("one").await;
    let gateway = rewriting(
        &backend,
        &[
            "actions: {requestHeaders: [{name: X-Seen, value: '{var_uri_path}'}]}",
            "conditions: [{variable: query_string, pattern: '^add$'}], actions: {url: {queryString: 'b=2'}}",
        ],
    )
    .await;
    // What a signature was made of.
    let answer = gateway.get(HOST, "/%7Ea%2fb?sig=%2f").await;
    assert_eq!((target(&answer), answer.echoed("x-seen")), ("/%7Ea%2fb?sig=%2f".into(), vec!["/~a%2Fb".into()]));
    assert_eq!(target(&gateway.get(HOST, "/%7Ea%2fb?add").await), "/%7Ea%2fb?b=2");
    assert_eq!(target(&gateway.get(HOST, "/%7Ea/../%7Eb").await), "/~b", "dot segments never reach a backend");
}
