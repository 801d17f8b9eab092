//! Datagrams in capsules, and `pipeops-gateway forward --udp`.

use crate::{
    command::{Forward, command},
    common::free_port,
    fixture::{Form, Tunnel, until},
    scrape,
    setup::{UDP, demo, upgraded},
    wire::within,
};
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use tokio::{io::AsyncWriteExt, net::UdpSocket, time::timeout};

/// A UDP target that the test plays.
async fn target(change: impl FnOnce(&mut Value)) -> (Tunnel, UdpSocket) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut service = demo("udp", socket.local_addr().unwrap());
    change(&mut service);
    (Tunnel::with(&[service]), socket)
}

async fn take(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let got = within("a datagram", socket.recv_from(&mut buffer)).await;
    let (n, from) = got.unwrap();
    buffer.truncate(n);
    (buffer, from)
}

#[tokio::test(flavor = "multi_thread")]
async fn capsules_are_datagrams_on_the_other_side() {
    let (tunnel, socket) = target(|_| {}).await;
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.head(Form::Host, "GET", "", UDP)).await;
    let head = client.head().await;
    let said = (
        head.status(),
        head.get("upgrade"),
        head.get("capsule-protocol"),
    );
    assert_eq!(said, (101, Some("connect-udp"), Some("?1")));
    // A datagram, a capsule of a type that nobody knows, another context's, an empty one.
    client
        .send(b"\x00\x03\x00hi\x29\x02xx\x00\x03\x02no\x00\x01\x00")
        .await;
    let (hi, from) = take(&socket).await;
    assert_eq!(hi, b"hi");
    assert_eq!(take(&socket).await, (Vec::new(), from));
    socket.send_to(b"back", from).await.unwrap();
    assert_eq!(client.exactly(7).await, b"\x00\x05\x00back");
    socket.send_to(b"", from).await.unwrap();
    assert_eq!(client.exactly(3).await, b"\x00\x01\x00");
    // A stranger's datagrams do not reach the socket of this exchange.
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(b"forged", from).await.unwrap();
    socket.send_to(b"true", from).await.unwrap();
    assert_eq!(client.exactly(7).await, b"\x00\x05\x00true");
    client.io.shutdown().await.unwrap();
    assert!(client.rest().await.complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_of_a_forward_are_told_apart_and_sizes_kept() {
    let (tunnel, socket) = target(|_| {}).await;
    let forward = Forward::start(&tunnel, &["--udp"]);
    let mut senders = Vec::new();
    for n in 0..10_u8 {
        let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        sender.connect(forward.addr).await.unwrap();
        for size in [0, 1, 62, 63, 64, 1_400, 16_383, 16_384, 65_507] {
            sender.send(&vec![n; size]).await.unwrap();
            let (got, from) = take(&socket).await;
            assert!(got == vec![n; size], "{size} became {}", got.len());
            socket.send_to(&got, from).await.unwrap();
            assert!(take(&sender).await.0 == got, "{size} of {n}");
        }
        senders.push(sender);
    }
    for (n, sender) in senders.iter().enumerate() {
        sender.send(&[u8::try_from(n).unwrap()]).await.unwrap();
        let (got, from) = take(&socket).await;
        socket.send_to(&got, from).await.unwrap();
        assert_eq!(take(sender).await.0, got);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_an_exchange_and_the_next_datagram_begins_another() {
    let (tunnel, socket) = target(|service| service["idle_timeout"] = "1s".into()).await;
    let mut client = upgraded(&tunnel, Form::Path, UDP).await;
    client.send(b"\x00\x03\x00hi").await;
    take(&socket).await;
    let rest = within("the end", client.rest()).await;
    assert!(rest.complete && rest.bytes.is_empty());

    let forward = Forward::start(&tunnel, &["--udp"]);
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.connect(forward.addr).await.unwrap();
    sender.send(b"1").await.unwrap();
    let (_, first) = take(&socket).await;
    let again = async {
        loop {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            sender.send(b"2").await.unwrap();
            if take(&socket).await.1 != first {
                return;
            }
        }
    };
    within("another socket", again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_target_is_told() {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let tunnel = Tunnel::with(&[demo("udp", addr)]);
    let mut forward = Forward::start(&tunnel, &["--udp"]);
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.connect(forward.addr).await.unwrap();
    sender.send(b"anybody?").await.unwrap();
    forward
        .process
        .wait_text("error: datagrams from 127.0.0.1:");
    until("the log to say whose fault", || {
        let log = tunnel.agent.process.output();
        let told = log.contains("TARGET_REFUSED") && log.contains("check that it runs");
        told.then_some(()).ok_or_else(|| log.clone())
    })
    .await;
    // Once there is somebody, the next datagram finds them.
    let socket = UdpSocket::bind(addr).await.unwrap();
    let found = async {
        loop {
            sender.send(b"now?").await.unwrap();
            let mut buffer = [0; 16];
            let got = timeout(Duration::from_millis(500), socket.recv(&mut buffer)).await;
            if got.is_ok() {
                return;
            }
        }
    };
    within("a datagram", found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_behind_loses_datagrams_and_holds_up_nobody() {
    let (mut tunnel, socket) = target(|_| {}).await;
    let mut client = upgraded(&tunnel, Form::Host, UDP).await;
    client.send(b"\x00\x03\x00hi").await;
    let (_, from) = take(&socket).await;
    // 64 MiB for somebody who reads nothing.
    let datagram = vec![1; 8 * 1024];
    for n in 0..8_192 {
        // Without a slot the system drops it, which is as good.
        drop(socket.send_to(&datagram, from).await);
        if n % 64 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let dropped = r#"pipeops_agent_datagrams_dropped_total{reason="behind"}"#;
    let face = tunnel.agent.face();
    scrape::until(face.metrics, dropped, |count| count > 0.0).await;
    let mut other = upgraded(&tunnel, Form::Host, UDP).await;
    other.send(b"\x00\x03\x00yo").await;
    let yo = async {
        loop {
            let (got, from) = take(&socket).await;
            if got == b"yo" {
                return from;
            }
        }
    };
    let from = within("another's datagram", yo).await;
    socket.send_to(b"ok", from).await.unwrap();
    assert_eq!(other.exactly(5).await, b"\x00\x03\x00ok");
    // What came before the loss is whole.
    let whole = client.exactly(4 * (8 * 1024 + 4)).await;
    for capsule in whole.chunks(8 * 1024 + 4) {
        assert!(capsule[..4] == *b"\x00\x60\x01\x00" && capsule[4..] == datagram);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_for_tcp_alone() {
    let (tunnel, _socket) = target(|_| {}).await;
    let out = command(&tunnel, &["--udp", "--local", "-"])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("--local - goes without --udp"), "{said}");
}
