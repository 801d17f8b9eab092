//! Services that speak no HTTP, and raw connections to them.

use crate::{
    fixture::{Client, Form, Tunnel},
    origin::{Accepted, Conn, Origin},
};
use serde_json::{Value, json};
use std::net::SocketAddr;

pub const TCP: &str = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
pub const UDP: &str = "Connection: Upgrade\r\nUpgrade: connect-udp\r\nCapsule-Protocol: ?1\r\n";

/// The service `demo` at this address.
pub fn demo(protocol: &str, addr: SocketAddr) -> Value {
    json!({"name": "demo", "local_addr": addr.to_string(), "protocol": protocol})
}

/// A tunnel to a TCP service whose connections the test takes.
pub async fn tcp() -> (Tunnel, Accepted) {
    let (origin, targets) = Origin::accepting().await;
    let tunnel = Tunnel::with(&[demo("tcp", origin.addr)]);
    std::mem::forget(origin);
    (tunnel, targets)
}

/// Asks for an upgrade and answers the connection behind its 101.
pub async fn upgraded(tunnel: &Tunnel, form: Form, asks: &str) -> Client {
    let mut client = tunnel.connect(form).await;
    client.send(tunnel.head(form, "GET", "", asks)).await;
    let head = client.head().await;
    assert_eq!(head.status(), 101, "{head:?}");
    client
}

/// Both ends of a TCP connection through the tunnel.
pub async fn joined(tunnel: &Tunnel, targets: &mut Accepted) -> (Client, Conn) {
    let client = upgraded(tunnel, Form::Host, TCP).await;
    (client, targets.next().await)
}
