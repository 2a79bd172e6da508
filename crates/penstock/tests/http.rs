//! HTTP/1.1 through the gateway: framing, streaming, keep-alive, what is sent on and what comes back.

mod support;

use penstock_testkit::Backend;
use support::Gateway;

#[tokio::test]
async fn a_request_reaches_the_backend_and_its_answer_the_client() {
    let backend = Backend::start("one").await;
    let gateway = Gateway::to(&backend).await;
    let answer = gateway.get("a.example", "/x?y=1").await;
    assert_eq!((answer.status, answer.header("x-backend")), (200, Some("one")));
    assert_eq!(answer.json()["target"], "/x?y=1");
}
