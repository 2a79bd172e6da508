//! The API server of the tests itself: only with `--features cluster`, because it needs the cluster's binaries.

use penstock_testkit::ApiServer;

#[test]
fn serves_stops_and_comes_back() {
    let server = ApiServer::start_new().unwrap();
    assert!(server.kubeconfig().exists());
    server.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\ndata: {k: v}\n").unwrap();
    server.stop().unwrap();
    assert!(server.kubectl(&["get", "--raw", "/readyz"], "").is_err());
    server.start().unwrap();
    assert_eq!(server.kubectl(&["get", "configmap", "a", "-o", "jsonpath={.data.k}"], "").unwrap(), "v");
    let port = server.port();
    drop(server);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "taken down with the value");
}
