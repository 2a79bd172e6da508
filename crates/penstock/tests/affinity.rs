//! Session affinity by cookie: a client stays on its endpoint for as long as that may get requests, in every replica.

mod support;

use penstock_testkit::client::{self, Handshake};
use penstock_testkit::{Backend, Connection, DEADLINE, Request, Response, WebSocket, until};
use support::{Gateway, http_gateway, rule, service};

const HOST: &str = "a.example";
const COOKIE: &str = "ApplicationGatewayAffinity";
const SETTINGS: &str =
    "cookieAffinity: {}, connectionDraining: {timeout: 1h, spread: 1s}, outlierDetection: {consecutive5xxErrors: 0}";

fn objects(settings: &str, backends: &[&Backend]) -> [String; 3] {
    [
        http_gateway(&format!("backendSettings: [{{name: sticky, {settings}}}]")),
        rule("all", "backend: {services: [{name: app, port: 80}], settings: sticky}"),
        service("app", backends),
    ]
}

async fn backends(count: usize) -> Vec<Backend> {
    let mut all = Vec::new();
    for n in 0..count {
        all.push(Backend::start(&format!("b{n}")).await);
    }
    all
}

/// The value of the cookie that an answer begins a session with.
fn begun(answer: &Response) -> Option<String> {
    let own = format!("{COOKIE}=");
    let cookie =
        answer.all("set-cookie").into_iter().find_map(|cookie| cookie.strip_prefix(&own).map(str::to_owned))?;
    cookie.split(';').next().map(str::to_owned)
}

fn with(name: &str, value: &str) -> Request {
    Request::get(HOST, "/x").with("Cookie", &format!("theme=dark; {name}={value}"))
}

fn who(answer: &Response) -> String {
    answer.header("x-backend").expect("an answer of a backend").to_owned()
}

/// Begins a session: its cookie and its backend.
async fn begin(gateway: &Gateway) -> (String, String) {
    let first = gateway.get(HOST, "/x").await;
    (begun(&first).expect("a cookie"), who(&first))
}

#[tokio::test]
async fn a_session_begins_with_two_cookies_and_stays() {
    let all = backends(3).await;
    let gateway = Gateway::start(&objects(SETTINGS, &all.iter().collect::<Vec<_>>())).await;
    let first = gateway.get(HOST, "/x").await;
    let token = begun(&first).expect("a cookie");
    assert_eq!(token.len(), 32, "{token}");
    assert_eq!(
        first.all("set-cookie"),
        [
            format!("{COOKIE}={token}; Path=/; HttpOnly"),
            format!("{COOKIE}CORS={token}; Path=/; HttpOnly; SameSite=None; Secure"),
        ]
    );
    for name in [COOKIE.to_owned(), format!("{COOKIE}CORS")] {
        for _ in 0..10 {
            let answer = gateway.send(&with(&name, &token)).await;
            assert_eq!((who(&answer), begun(&answer)), (who(&first), None), "{name}");
        }
    }
    // Who has no cookie, or one that means nothing, takes a turn and begins a session.
    for stranger in [Request::get(HOST, "/x"), with(COOKIE, "nonsense"), with(COOKIE, &"0".repeat(32))] {
        assert!(begun(&gateway.send(&stranger).await).is_some());
    }
    assert!(begun(&gateway.send(&with("XApplicationGatewayAffinity", &token)).await).is_some());
}

#[tokio::test]
async fn both_cookies_can_be_for_tls_alone() {
    let all = backends(2).await;
    let settings = SETTINGS.replace("cookieAffinity: {}", "cookieAffinity: {secure: true}");
    let gateway = Gateway::start(&objects(&settings, &all.iter().collect::<Vec<_>>())).await;
    let first = gateway.get(HOST, "/x").await;
    let token = begun(&first).expect("a cookie");
    assert_eq!(
        first.all("set-cookie"),
        [
            format!("{COOKIE}={token}; Path=/; HttpOnly; Secure"),
            format!("{COOKIE}CORS={token}; Path=/; HttpOnly; SameSite=None; Secure"),
        ]
    );
    assert_eq!(who(&gateway.send(&with(COOKIE, &token)).await), who(&first));
}

#[tokio::test]
async fn every_replica_knows_the_session() {
    let all = backends(5).await;
    let objects = objects(SETTINGS, &all.iter().collect::<Vec<_>>());
    let (one, two) = (Gateway::start(&objects).await, Gateway::start(&objects).await);
    for _ in 0..5 {
        let (token, backend) = begin(&one).await;
        let answer = two.send(&with(COOKIE, &token)).await;
        assert_eq!((who(&answer), begun(&answer)), (backend, None));
    }
}

#[tokio::test]
async fn scaling_moves_only_sessions_of_what_left() {
    let all = backends(4).await;
    let of = |some: &[usize]| objects(SETTINGS, &some.iter().map(|n| &all[*n]).collect::<Vec<_>>());
    let gateway = Gateway::start(&of(&[0, 1, 2])).await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(begin(&gateway).await);
    }
    gateway.replace(&of(&[0, 1, 2, 3]));
    let turn = Request::get(HOST, "/x");
    gateway.wait_answer("a turn of the new one", &turn, |answer| who(answer) == "b3").await;
    for (token, backend) in &sessions {
        assert_eq!(&who(&gateway.send(&with(COOKIE, token)).await), backend);
    }
}

#[tokio::test]
async fn an_endpoint_that_drains_keeps_its_sessions_and_begins_none() {
    let all = backends(2).await;
    let gateway = Gateway::start(&objects(SETTINGS, &[&all[0], &all[1]])).await;
    let (token, backend) = begin(&gateway).await;
    let stays = usize::from(backend == "b0");
    gateway.replace(&objects(SETTINGS, &[&all[stays]]));
    let one = |status: &serde_json::Value| status["backends"].as_array().is_some_and(|backends| backends.len() == 1);
    gateway.wait_for_status("one backend", one).await;
    for _ in 0..4 {
        assert_eq!(who(&gateway.send(&with(COOKIE, &token)).await), backend);
        assert_eq!(gateway.who(HOST, "/x").await, format!("b{stays}"));
    }
}

#[tokio::test]
async fn a_drain_that_is_over_moves_the_session() {
    let all = backends(2).await;
    let short = "cookieAffinity: {}, connectionDraining: {timeout: 0s}";
    let gateway = Gateway::start(&objects(short, &[&all[0], &all[1]])).await;
    let (token, backend) = begin(&gateway).await;
    let stays = usize::from(backend == "b0");
    gateway.replace(&objects(short, &[&all[stays]]));
    let moved = gateway.wait_answer("the other backend", &with(COOKIE, &token), |answer| who(answer) != backend).await;
    let (new, now) = (begun(&moved).expect("a new cookie"), who(&moved));
    assert_eq!(who(&gateway.send(&with(COOKIE, &new)).await), now);
}

#[tokio::test]
async fn a_backend_that_refuses_loses_the_session_to_another() {
    let all = backends(1).await;
    let gone = Backend::start("gone").await;
    let gateway = Gateway::start(&objects(SETTINGS, &[&all[0], &gone])).await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        sessions.push(begin(&gateway).await);
    }
    let (token, _) = sessions.into_iter().find(|(_, backend)| backend == "gone").expect("one of two turns");
    drop(gone);
    let answer = gateway.send(&with(COOKIE, &token)).await;
    assert_eq!(who(&answer), "b0");
    assert!(begun(&answer).is_some_and(|new| new != token));
}

#[tokio::test]
async fn handshakes_of_websockets_obey_the_cookie_and_begin_sessions() {
    let all = backends(3).await;
    let gateway = Gateway::start(&objects(SETTINGS, &all.iter().collect::<Vec<_>>())).await;
    let addr = gateway.addr();
    let open = |request: Request| async move {
        let connection = Connection::open(addr).await.expect("a connection");
        WebSocket::handshake(connection, &request).await.and_then(Handshake::opened).expect("an open WebSocket")
    };
    let first = open(Request::get(HOST, "/ws")).await;
    let (token, backend) = (begun(first.response()).expect("a cookie"), who(first.response()));
    for _ in 0..5 {
        let next = open(Request::get(HOST, "/ws").with("Cookie", &format!("{COOKIE}={token}"))).await;
        assert_eq!((who(next.response()), begun(next.response())), (backend.clone(), None));
    }
    let answer = client::send(gateway.addr(), &with(COOKIE, &token)).await.expect("an answer");
    assert_eq!(who(&answer), backend, "requests and WebSockets share the session");
}

#[tokio::test]
async fn the_cookie_has_the_name_that_the_settings_give_it() {
    let all = backends(2).await;
    let gateway = Gateway::start(&objects("cookieAffinity: {cookieName: sticky}", &[&all[0], &all[1]])).await;
    let cookies = gateway.get(HOST, "/x").await;
    assert!(cookies.all("set-cookie")[0].starts_with("sticky="), "{:?}", cookies.all("set-cookie"));
}

#[tokio::test]
async fn a_session_stays_where_its_service_takes_nothing_new() {
    let all = backends(2).await;
    let objects = |weight: u32| {
        let services = format!("[{{name: old, port: 80, weight: {weight}}}, {{name: new, port: 80, weight: 1000}}]");
        [
            http_gateway(&format!("backendSettings: [{{name: sticky, {SETTINGS}}}]")),
            rule("all", &format!("backend: {{services: {services}, settings: sticky}}")),
            service("old", &[&all[0]]),
            service("new", &[&all[1]]),
        ]
    };
    let gateway = Gateway::start(&objects(1000)).await;
    let (token, _) = loop {
        let begun = begin(&gateway).await;
        if begun.1 == "b0" {
            break begun;
        }
    };
    gateway.replace(&objects(0));
    // As often as it takes to see that nobody begins a session there any more.
    let look = || async {
        let mut names = Vec::new();
        for _ in 0..8 {
            names.push(who(&gateway.get(HOST, "/x").await));
        }
        names
    };
    until("new sessions elsewhere", DEADLINE, look, |names| names.iter().all(|name| name == "b1")).await;
    assert_eq!(who(&gateway.send(&with(COOKIE, &token)).await), "b0");
}

#[tokio::test]
async fn rewrites_of_cookies_leave_those_of_the_session_alone() {
    let all = backends(1).await;
    let set = "rewriteRuleSets: [{name: set, rules: [{name: r, actions: {responseHeaders: \
               [{name: Set-Cookie, value: '{http_resp_Set-Cookie}; Secure'}]}}]}]\n";
    let gateway = Gateway::start(&[
        http_gateway(&format!("{set}backendSettings: [{{name: sticky, {SETTINGS}}}]")),
        rule("all", "rewriteRuleSet: set\nbackend: {services: [{name: app, port: 80}], settings: sticky}"),
        service("app", &[&all[0]]),
    ])
    .await;
    let cookies = Request::get(HOST, "/x").behaviour("header=Set-Cookie:a=1,header=Set-Cookie:b=2");
    let answer = gateway.send(&cookies).await;
    let token = begun(&answer).expect("a cookie");
    assert_eq!(
        answer.all("set-cookie"),
        [
            "a=1; Secure".to_owned(),
            "b=2; Secure".to_owned(),
            format!("{COOKIE}={token}; Path=/; HttpOnly"),
            format!("{COOKIE}CORS={token}; Path=/; HttpOnly; SameSite=None; Secure"),
        ]
    );
    let mut socket = WebSocket::open(gateway.addr(), HOST, "/ws").await.expect("an open WebSocket");
    assert!(begun(socket.response()).is_some(), "the handshake's answer, too");
    assert_eq!(socket.echo("hello").await.unwrap(), "hello");
}
