//! What is no request, or none that is served.

use crate::{
    client::{ask, connect, get, head},
    common::face::Face,
    fixture::{Cluster, agent, shared_gateway},
    wire::{Answer, within},
};

/// An agent's, without a gateway that it could reach: that does not matter here.
fn alone() -> (crate::common::agent::Agent, Face) {
    let config = agent(shared_gateway(), &Cluster::new(), &[]);
    let mut agent = config
        .edit(|config| config["pipeops"]["api_url"] = "https://127.0.0.1:1".into())
        .spawn();
    let face = agent.face();
    (agent, face)
}

/// The answer to these bytes, after which the connection is closed.
async fn last(face: Face, bytes: &[u8]) -> Answer {
    let mut wire = connect(face.admin).await;
    wire.send(bytes).await;
    let answer = wire.answer("GET").await;
    wire.closed().await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods_are_refused_in_the_documented_form() {
    let (_agent, face) = alone();
    for path in [
        "/",
        "/healthz/",
        "/healthz/x",
        "/HEALTHZ",
        "/config.yaml",
        "//info",
    ] {
        let answer = get(face.admin, path).await;
        assert_eq!(
            (answer.status(), answer.code().as_str()),
            (404, "NOT_FOUND"),
            "{path}"
        );
        assert!(answer.message().contains("/readyz"), "{}", answer.message());
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = ask(face.admin, method, "/config", "Content-Length: 0\r\n").await;
        assert_eq!(answer.status(), 405, "{method}");
        assert_eq!(answer.head.get("allow"), Some("GET, HEAD"));
        assert_eq!(answer.code(), "METHOD_NOT_ALLOWED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_not_read() {
    let (_agent, face) = alone();
    let mut wire = connect(face.admin).await;
    wire.send(head("POST", "/readyz", "Content-Length: 1000000000\r\n"))
        .await;
    assert_eq!(wire.answer("POST").await.status(), 405);
    let mut wire = connect(face.admin).await;
    wire.send(head("GET", "/healthz", "Content-Length: 1000000000\r\n"))
        .await;
    assert_eq!(wire.answer("GET").await.status(), 200);
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_in_two_ways_is_400_and_the_end_of_the_connection() {
    let (_agent, face) = alone();
    for bad in [
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /healthz HTTP/1.1\nHost: a\n\n",
    ] {
        let answer = last(face, bad.as_bytes()).await;
        assert_eq!(answer.status(), 400, "{bad:?}");
        assert_eq!(answer.code(), "INVALID_REQUEST", "{bad:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_400_or_nothing() {
    let (_agent, face) = alone();
    for bad in [
        &b"hello\r\n\r\n"[..],
        b"GET  /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut wire = connect(face.admin).await;
        wire.send(bad).await;
        let said = wire.closed().await;
        let said = String::from_utf8_lossy(&said);
        let refused = said.is_empty() || said.starts_with("HTTP/1.1 4");
        assert!(refused, "{bad:?}: {said}");
    }
    assert_eq!(get(face.admin, "/healthz").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_bounds() {
    let (_agent, face) = alone();
    let large = head(
        "GET",
        "/healthz",
        &format!("X-Large: {}\r\n", "x".repeat(32 * 1024)),
    );
    let many = head("GET", "/healthz", &"X-Many: x\r\n".repeat(100));
    for bad in [large, many] {
        assert_eq!(last(face, bad.as_bytes()).await.status(), 431);
    }
    let fits = format!("X-Fits: {}\r\n", "x".repeat(8 * 1024));
    assert_eq!(
        ask(face.admin, "GET", "/healthz", &fits).await.status(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let (_agent, face) = alone();
    for port in [face.admin, face.metrics] {
        for begun in ["", "GET /healthz HTTP/1.1\r\nHost: a\r\n"] {
            let mut wire = connect(port).await;
            wire.send(begun).await;
            within("the connection to be cut", wire.closed()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_kept_and_requests_may_follow_each_other() {
    let (_agent, face) = alone();
    let mut wire = connect(face.admin).await;
    wire.send(head("GET", "/healthz", "").repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(wire.answer("GET").await.status(), 200);
    }
    wire.send(head("GET", "/version", "Connection: close\r\n"))
        .await;
    assert_eq!(wire.answer("GET").await.status(), 200);
    wire.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for (key, section) in [
        ("admin.listen", "/admin/listen"),
        (
            "monitoring.prometheus.listen",
            "/monitoring/prometheus/listen",
        ),
    ] {
        let config = agent(shared_gateway(), &Cluster::new(), &[]);
        let mut agent = config
            .edit(|config| *config.pointer_mut(section).unwrap() = addr.clone().into())
            .spawn();
        let line = agent.process.wait_text("error: can not listen");
        assert!(
            line.contains(&addr) && line.contains(&format!("set {key} ")),
            "{line}"
        );
        let status = agent.process.wait_exit(crate::wire::DEADLINE);
        assert_eq!(status.code(), Some(1));
    }
}
