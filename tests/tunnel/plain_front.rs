//! The listener without TLS, for a load balancer in front.

use crate::{
    common::{free_port, gateway::Gateway},
    fixture::{FORMS, Tunnel, demo},
    origin::Origin,
    wire::{Wire, within},
};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A tunnel to this target, and its gateway's plain listener.
fn tunnel_to(origin: &Origin) -> (Tunnel, SocketAddr) {
    let plain = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let gateway = Gateway::start_with(|config| config["http_listen"] = plain.to_string().into());
    (Tunnel::own(gateway, &[demo(origin)]), plain)
}

async fn connect(to: SocketAddr) -> Wire<TcpStream> {
    let stream = within("a TCP connection", TcpStream::connect(to)).await;
    Wire::new(stream.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_pass_and_nothing_that_a_load_balancer_adds_is_believed() {
    let origin = Origin::echo().await;
    let (tunnel, plain) = tunnel_to(&origin);
    let mut client = connect(plain).await;
    for form in FORMS {
        let fields =
            "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: evil.example\r\nContent-Length: 5\r\n";
        let head = tunnel.head(form, "POST", "/x", fields);
        let answer = client.ask(head + "hello").await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    }
    assert!(origin.saw("hello") && !origin.saw("192.0.2.7") && !origin.saw("evil.example"));
    let no_token = format!(
        "GET /demo/ HTTP/1.1\r\nHost: {}\r\n\r\n",
        tunnel.cluster.host()
    );
    assert_eq!(client.ask(no_token).await.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_told_to_come_by_tls() {
    let origin = Origin::echo().await;
    let (tunnel, plain) = tunnel_to(&origin);
    let token = tunnel
        .gateway
        .agent_token(&tunnel.cluster.name, &tunnel.cluster.id);
    let upgrades = [
        (
            "connect",
            "websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
        ("carrier", "pipeops-mux"),
    ];
    for (path, protocol) in upgrades {
        let answer = connect(plain)
            .await
            .ask(format!(
                "GET /v1/agent/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\
                 Connection: upgrade\r\nUpgrade: {protocol}\r\n\r\n"
            ))
            .await;
        assert_eq!(answer.status(), 421, "{path}");
        assert!(answer.message().contains("TLS"), "{}", answer.message());
    }
}
