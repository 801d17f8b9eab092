//! SIGTERM: unready at once, and answering until the end.

use crate::{
    client::{get, json, until},
    common::gateway::Gateway,
    fixture::{Client, Form, Tunnel, demo},
    origin::{Accepted, Conn, Origin},
    wire::DEADLINE,
};
use std::net::SocketAddr;

/// A download under way.
async fn download(tunnel: &Tunnel, targets: &mut Accepted) -> (Client, Conn) {
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/")).await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
    (client, target)
}

/// Both ends still pass on bytes, and the program says that it is on its way out.
async fn drains_while_it_flows(at: SocketAddr, check: &str, flow: &mut (Client, Conn)) {
    until(at, "/readyz", 503, |answer| {
        answer.text().contains("drains")
    })
    .await;
    for n in 0..20 {
        let part = format!("part {n}");
        flow.1.send_chunk(&part).await;
        assert_eq!(flow.0.chunk().await.unwrap(), part.into_bytes());
        let answer = get(at, "/readyz").await;
        assert_eq!(answer.status(), 503);
        assert_eq!(
            json(&answer)["checks"][check],
            "failed",
            "{}",
            answer.text()
        );
        assert_eq!(
            get(at, "/livez").await.status(),
            200,
            "a drain is no illness"
        );
        assert_eq!(get(at, "/healthz").await.status(), 200);
    }
    flow.1.send("0\r\n\r\n").await;
    assert_eq!(flow.0.chunk().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_drains_is_unready_and_answers() {
    let (origin, mut targets) = Origin::accepting().await;
    let mut tunnel = Tunnel::to(&origin);
    let at = tunnel.agent.face().admin;
    until(at, "/readyz", 200, |_| true).await;
    let mut flow = download(&tunnel, &mut targets).await;
    tunnel.agent.process.signal("TERM");
    drains_while_it_flows(at, "api_connection", &mut flow).await;
    assert!(tunnel.agent.process.wait_exit(DEADLINE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_is_unready_and_answers() {
    let (origin, mut targets) = Origin::accepting().await;
    let mut tunnel = Tunnel::own(Gateway::start(), &[demo(&origin)]);
    let at = tunnel.own_gateway().face().admin;
    until(at, "/readyz", 200, |_| true).await;
    let mut flow = download(&tunnel, &mut targets).await;
    tunnel.gateway.process.signal("TERM");
    drains_while_it_flows(at, "listener", &mut flow).await;
    assert!(tunnel.own_gateway().process.wait_exit(DEADLINE).success());
}
