//! Fixed ports of the gateway.

use crate::{
    common::{DEADLINE, free_port, gateway::Gateway, process::log_field},
    fixture::{Tunnel, until},
    origin::Origin,
    scrape,
    setup::demo,
    wire::{Wire, within},
};
use serde_json::{Value, json};
use std::{net::SocketAddr, process::Command, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

/// A gateway with one port, for the first cluster that the test makes.
fn gateway(port: SocketAddr, change: impl FnOnce(&mut Value)) -> Gateway {
    Gateway::start_with(|config| {
        config["ports"] = json!([{
            "listen": port, "cluster": "none", "service": "demo", "allow": ["127.0.0.2/32", "127.0.0.1/32"],
        }]);
        change(config);
    })
}

/// A tunnel whose gateway has this port for its own cluster.
fn tunnel(port: SocketAddr, protocol: &str, service: &Value, allow: &str) -> Tunnel {
    let cluster = crate::fixture::Cluster::new();
    let gateway = gateway(port, |config| {
        config["ports"][0]["cluster"] = cluster.name.clone().into();
        config["ports"][0]["protocol"] = protocol.into();
        config["ports"][0]["allow"] = json!([allow]);
    });
    Tunnel::of(cluster, gateway, std::slice::from_ref(service))
}

/// Waits for the reset of a connection, which may come before the system says that there is one.
async fn reset(connected: std::io::Result<TcpStream>) {
    match connected {
        Ok(stream) => assert!(!Wire::new(stream).rest().await.complete),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

fn free() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_in_the_list_passes_and_nobody_else() {
    let (origin, mut targets) = Origin::accepting().await;
    let port = free();
    let service = demo("tcp", origin.addr);
    let mut tunnel = tunnel(port, "tcp", &service, "127.0.0.1/32");
    // Both workers listen: some connections go to each.
    for n in 0..20_u8 {
        let stream = TcpStream::connect(port).await.unwrap();
        let mut client = Wire::new(stream);
        let mut target = targets.next().await;
        client.send([n]).await;
        assert_eq!(target.exactly(1).await, [n]);
        client.io.shutdown().await.unwrap();
        assert!(target.rest().await.complete);
        target.send("bye").await;
        drop(target);
        let rest = client.rest().await;
        assert!(rest.complete && rest.bytes == b"bye");
    }
    let before = origin.connections();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    reset(socket.connect(port).await).await;
    assert_eq!(origin.connections(), before);
    let face = tunnel.own_gateway().face();
    let refused = "pipeops_gateway_port_refusals_total";
    scrape::until(face.metrics, refused, |count| count == 1.0).await;
    let log = tunnel.gateway.process.output();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("\"message\":\"request\""))
        .collect();
    assert_eq!(lines.len(), 20);
    for line in lines {
        assert_eq!(log_field(line, "subject").unwrap(), format!("port:{port}"));
        assert_eq!(log_field(line, "outcome").unwrap(), "complete");
    }
    let opened = log
        .lines()
        .find(|line| line.contains("it asks for no token"));
    assert!(opened.is_some_and(|line| line.contains("\"WARN\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_pass_by_a_port_too() {
    let target = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = free();
    let service = demo("udp", target.local_addr().unwrap());
    let _tunnel = tunnel(port, "udp", &service, "127.0.0.1/32");
    let mut buffer = [0; 64];
    for n in 0..10_u8 {
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        sender.connect(port).await.unwrap();
        sender.send(&[n]).await.unwrap();
        let got = within("a datagram", target.recv_from(&mut buffer)).await;
        let (_, from) = got.unwrap();
        target.send_to(&[n, n], from).await.unwrap();
        let got = within("a datagram back", sender.recv(&mut buffer)).await;
        assert_eq!(buffer[..got.unwrap()], [n, n]);
    }
    let stranger = UdpSocket::bind("127.0.0.9:0").await.unwrap();
    stranger.send_to(b"let me in", port).await.unwrap();
    let got = timeout(Duration::from_secs(1), target.recv(&mut buffer)).await;
    assert!(got.is_err(), "a stranger's datagram passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_opened_is_reset_and_logged() {
    let port = free();
    let service = demo("tcp", free());
    let tunnel = tunnel(port, "tcp", &service, "127.0.0.0/8");
    reset(TcpStream::connect(port).await).await;
    until("the log", || {
        let log = tunnel.gateway.process.output();
        let told =
            log.contains("\"outcome\":\"refused\"") && log.contains("refused the connection");
        told.then_some(()).ok_or_else(|| log.clone())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_closes_the_port_and_lets_connections_end() {
    let (origin, mut targets) = Origin::accepting().await;
    let port = free();
    let service = demo("tcp", origin.addr);
    let mut tunnel = tunnel(port, "tcp", &service, "127.0.0.1/32");
    let mut client = Wire::new(TcpStream::connect(port).await.unwrap());
    let mut target = targets.next().await;
    tunnel.gateway.process.signal("TERM");
    let gone = async {
        while TcpStream::connect(port).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the port to close", gone).await;
    client.send("still").await;
    assert_eq!(target.exactly(5).await, b"still");
    drop((client, target));
    assert!(tunnel.own_gateway().process.wait_exit(DEADLINE).success());
}

#[test]
fn a_port_without_an_allow_list_or_taken_twice_is_no_configuration() {
    let base = json!({"tls": {"self_signed": true}});
    let port =
        json!({"listen": "127.0.0.1:7", "cluster": "c", "service": "s", "allow": ["10.0.0.0/8"]});
    let with = |ports: Value| {
        let mut config = base.clone();
        config["ports"] = ports;
        let file = crate::common::temp_dir("ports").join("config.yaml");
        std::fs::write(&file, config.to_string()).unwrap();
        let out = Command::new(env!("CARGO_BIN_EXE_pipeops-gateway"))
            .args(["validate", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        (
            out.status.code(),
            String::from_utf8_lossy(&out.stderr).into_owned(),
        )
    };
    let edit = |key: &str, value: Value| {
        let mut port = port.clone();
        port[key] = value;
        port
    };
    assert_eq!(with(json!([port])).0, Some(0));
    for (ports, says) in [
        (json!([edit("allow", json!([]))]), "ports[0].allow"),
        (
            json!([edit("allow", json!(["10.0.0.0"]))]),
            "must be a network such as 10.0.0.0/8",
        ),
        (
            json!([edit("allow", json!(["10.0.0.0/33"]))]),
            "must be a network such as 10.0.0.0/8",
        ),
        (
            json!([edit("protocol", json!("http"))]),
            "ports[0].protocol",
        ),
        (json!([port, port]), "is listened on already"),
        (
            json!([edit("listen", json!("0.0.0.0:8443"))]),
            "is listened on already",
        ),
    ] {
        let (code, said) = with(ports);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(says), "{said}");
    }
}
