//! Who may connect as an agent, and open its carriers.

use crate::{
    common::{gateway::Gateway, process::log_field},
    fixture::{Cluster, agent, connect, shared_gateway},
    wire::Answer,
};
use futures_util::StreamExt;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// The answer to an agent's request to connect.
pub async fn knock(gateway: &Gateway, path: &str, fields: &str) -> Answer {
    let host = format!("localhost:{}", gateway.addr.port());
    let mut client = connect(gateway, "localhost").await;
    client
        .ask(format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
        ))
        .await
}

pub const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
pub const MUX: &str = "Connection: Upgrade\r\nUpgrade: pipeops-mux\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn only_an_agent_of_its_own_cluster_may_connect() {
    let gateway = shared_gateway();
    let (own, other) = (Cluster::new(), Cluster::new());
    let agent = gateway.agent_token(&own.name, &own.id);
    gateway.agent_token(&other.name, &other.id);
    let user = gateway.user_token("user", "admin", &own.name, "admin");
    let path = "/v1/agent/connect";
    let bearer = |token: &str| format!("{WEBSOCKET}Authorization: Bearer {token}\r\n");
    assert_eq!(knock(gateway, path, WEBSOCKET).await.status(), 401);
    assert_eq!(knock(gateway, path, &bearer("garbage")).await.status(), 401);
    let answer = knock(gateway, path, &bearer(&user)).await;
    assert_eq!(
        (answer.status(), answer.code().as_str()),
        (403, "FORBIDDEN"),
        "a user's token"
    );
    for wrong in [other.id.as_str(), "nonsense", ""] {
        let fields = format!("{}X-Cluster-ID: {wrong}\r\n", bearer(&agent));
        let answer = knock(gateway, path, &fields).await;
        assert_eq!(
            (answer.status(), answer.code().as_str()),
            (403, "FORBIDDEN"),
            "X-Cluster-ID {wrong:?}"
        );
        assert!(answer.message().contains("cluster"), "{}", answer.message());
    }
    let fields = format!("{}X-Cluster-ID: {}\r\n", bearer(&agent), own.id);
    assert_eq!(knock(gateway, path, &fields).await.status(), 101);
    let plain = format!("Authorization: Bearer {agent}\r\n");
    assert_eq!(
        knock(gateway, path, &plain).await.status(),
        400,
        "not a WebSocket"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_needs_a_ticket_that_is_good_once() {
    let gateway = shared_gateway();
    let cluster = Cluster::new();
    let agent = gateway.agent_token(&cluster.name, &cluster.id);
    let user = gateway.user_token("user", "admin", &cluster.name, "admin");
    let path = "/v1/agent/carrier";
    let bearer = |ticket: &str| format!("{MUX}Authorization: Bearer {ticket}\r\n");
    assert_eq!(knock(gateway, path, MUX).await.status(), 401, "no ticket");
    for ticket in ["garbage", &agent, &user, &"0".repeat(64)] {
        assert_eq!(
            knock(gateway, path, &bearer(ticket)).await.status(),
            401,
            "{ticket}"
        );
    }
    let ticket = ticket(gateway, &cluster, &agent).await;
    assert_eq!(
        knock(
            gateway,
            path,
            &format!("Authorization: Bearer {ticket}\r\n")
        )
        .await
        .status(),
        400,
        "no upgrade"
    );
    assert_eq!(knock(gateway, path, &bearer(&ticket)).await.status(), 101);
    assert_eq!(
        knock(gateway, path, &bearer(&ticket)).await.status(),
        401,
        "the second use"
    );
}

/// Connects as an agent and waits for the first ticket.
pub async fn ticket(gateway: &Gateway, cluster: &Cluster, token: &str) -> String {
    let mut request = format!("wss://localhost:{}/v1/agent/connect", gateway.addr.port())
        .into_client_request()
        .unwrap();
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    headers.insert("x-cluster-id", cluster.id.parse().unwrap());
    let (_, stream) = connect(gateway, "localhost").await.into_parts();
    let (mut socket, _): (WebSocketStream<_>, _) = client_async(request, stream).await.unwrap();
    loop {
        let message = crate::wire::within("a control message", socket.next())
            .await
            .unwrap()
            .unwrap();
        let Message::Text(text) = message else {
            continue;
        };
        let message: serde_json::Value = serde_json::from_str(&text).unwrap();
        if message["type"] == "open_carrier" {
            // The channel stays open behind the test's back: a ticket ends with it.
            tokio::spawn(async move { while socket.next().await.is_some() {} });
            return message["payload"]["ticket"].as_str().unwrap().to_owned();
        }
    }
}

/// A step that takes longer than `pipeops.timeout` is given up, and the log says which and why.
#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_connecting_takes_as_long_as_configured() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let config = agent(shared_gateway(), &Cluster::new(), &[]);
    let mut agent = config
        .edit(|yaml| {
            yaml["pipeops"]["api_url"] = url.into();
            yaml["pipeops"]["timeout"] = "700ms".into();
        })
        .spawn();
    let reason = agent
        .process
        .wait_line("a failed attempt", |line| log_field(line, "reason"));
    assert!(reason.contains("TLS handshake"), "{reason}");
    assert!(reason.contains("700ms"), "{reason}");
}
