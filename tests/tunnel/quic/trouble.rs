//! What goes wrong, and how it is noticed.

use super::{by, metric, tunnel};
use crate::{
    common::{free_port, gateway::Gateway, process::log_field},
    fixture::{Form, GatewayOf, Tunnel, demo, shared_gateway, until},
    origin::Origin,
    wire::{Answer, within},
};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// A download whose first byte has come.
macro_rules! begin_download {
    ($tunnel:expr, $targets:expr) => {{
        let mut client = $tunnel.connect(Form::Host).await;
        client.send($tunnel.get("/")).await;
        let mut target = $targets.next().await;
        target.head().await;
        target
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        client.head().await;
        (client, target)
    }};
}

/// An agent whose host is gone says nothing any more: no reset, no goodbye.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_agent_is_noticed() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = tunnel(&origin);
    let (mut client, target) = begin_download!(tunnel, targets);
    tunnel.agent.process.signal("STOP");
    let body = client.rest().await;
    assert!(!body.complete, "what is cut does not look complete");
    until("the carrier's end in the log", || {
        let log = tunnel.gateway.process.output();
        let id = format!("\"{}\"", tunnel.cluster.id);
        // One that carried nothing may have been closed already, with the control channel.
        let mine = |line: &str| line.contains(&id) && line.contains("carrier down");
        let noticed = log
            .lines()
            .any(|line| mine(line) && line.contains("timed out"));
        noticed.then_some(()).ok_or_else(|| "not yet".to_owned())
    })
    .await;
    tunnel.agent.process.signal("CONT");
    drop(target);
}

/// One that was killed is soon replaced, although it could not say goodbye.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_is_replaced() {
    let origin = Origin::echo().await;
    let mut tunnel = tunnel(&origin);
    assert_eq!(tunnel.ask(tunnel.post("/", "x")).await.text(), "x");
    tunnel.agent.process.signal("KILL");
    tunnel.agent = crate::fixture::agent(&tunnel.gateway, &tunnel.cluster, &[demo(&origin)])
        .carriers(&["quic"])
        .start();
    let answer: Answer = tunnel.ask_until(&tunnel.get("/"), 200).await;
    assert_eq!(answer.status(), 200);
}

/// Both say goodbye when they end: nobody has to wait for a time-out to know.
#[tokio::test(flavor = "multi_thread")]
async fn carriers_are_closed_when_a_program_ends() {
    let origin = Origin::echo().await;
    let gateway = Gateway::start();
    let mut tunnel = by(GatewayOf::Test(Box::new(gateway)), &origin);
    assert_eq!(tunnel.ask(tunnel.post("/", "x")).await.text(), "x");
    tunnel.gateway.process.signal("TERM");
    let line = tunnel.agent.process.wait_text("carrier down");
    assert_eq!(log_field(&line, "error"), None, "{line}");
    let status = tunnel
        .own_gateway()
        .process
        .wait_exit(Duration::from_secs(60));
    assert!(status.success(), "{status}");
    tunnel.own_gateway().restart();
    tunnel.ask_until(&tunnel.get("/"), 200).await;
    tunnel.agent.process.signal("TERM");
    let status = tunnel.agent.process.wait_exit(Duration::from_secs(60));
    assert!(status.success(), "{status}");
    let line = tunnel.own_gateway().process.wait_text("carrier down");
    assert_eq!(log_field(&line, "error"), None, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_nobodys_carrier_and_disturbs_none() {
    let (origin, mut targets) = Origin::accepting().await;
    let mut gateway = Gateway::start();
    let face = gateway.face();
    let tunnel = by(GatewayOf::Test(Box::new(gateway)), &origin);
    let (mut client, mut target) = begin_download!(tunnel, targets);
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut random = crate::common::sum::Seeded::new(7, u64::MAX);
    for n in 0..5_000_usize {
        let mut packet = vec![0; n * 31 % 1_473];
        std::io::Read::read_exact(&mut random, &mut packet).unwrap();
        // A third looks like a first packet of version 1, a third like one that is protected.
        if let [first, version @ ..] = &mut packet[..]
            && version.len() > 8
        {
            match n % 3 {
                0 => {
                    *first |= 0xC0;
                    version[..5].copy_from_slice(&[0, 0, 0, 1, 16]);
                }
                1 => *first = *first & 0x3F | 0x40,
                _ => {}
            }
        }
        // What the system does not take is not sent.
        drop(socket.send_to(&packet, tunnel.gateway.addr).await);
    }
    for n in 0..100 {
        target.send_chunk(format!("part {n}")).await;
        assert_eq!(
            client.chunk().await.unwrap(),
            format!("part {n}").into_bytes()
        );
    }
    let carriers = metric(face, "pipeops_gateway_carriers", "quic").await;
    assert!(
        carriers >= 1.0,
        "and the right ones are counted by their kind"
    );
}

async fn answers_by(tunnel: &mut Tunnel, kind: &str) {
    let line = tunnel.agent.process.wait_text("carrier up");
    assert_eq!(log_field(&line, "kind").as_deref(), Some(kind), "{line}");
    assert_eq!(tunnel.ask(tunnel.post("/", "x")).await.text(), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_quic_says_so_and_serves_by_tls() {
    let origin = Origin::echo().await;
    let both = |gateway| {
        Tunnel::having(
            GatewayOf::Test(Box::new(gateway)),
            &[demo(&origin)],
            |agent| agent.carriers(&["quic", "tls"]),
        )
    };
    let off = Gateway::start_with(|config| config["quic"] = json!({"enabled": false}));
    let mut tunnel = both(off);
    answers_by(&mut tunnel, "tls").await;
    let log = tunnel.gateway.process.output();
    assert!(!log.contains("no QUIC"), "it is as configured");

    let taken = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], free_port())))
        .await
        .unwrap();
    let addr = taken.local_addr().unwrap();
    let gateway = Gateway::start_at(addr, |_| {});
    let mut tunnel = both(gateway);
    answers_by(&mut tunnel, "tls").await;
    let line = tunnel.own_gateway().process.wait_text("no QUIC");
    assert!(line.contains("in use") && line.contains("WARN"), "{line}");
}

/// Where UDP does not come through, the next kind is used, with the same ticket.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_udp_passes_the_next_kind_is_used() {
    let origin = Origin::echo().await;
    let gateway = shared_gateway();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let to = gateway.addr;
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            });
        }
    });
    let mut tunnel = Tunnel::having(GatewayOf::All(gateway), &[demo(&origin)], |agent| {
        agent
            .carriers(&["quic", "tls"])
            .edit(|yaml| yaml["pipeops"]["api_url"] = url.into())
    });
    let line = tunnel.agent.process.wait_text("does not work");
    assert!(line.contains("tls"), "{line}");
    within("an answer by TLS", answers_by(&mut tunnel, "tls")).await;
}

/// A certificate that does not convince is named as for TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_streams_refusal_keeps_its_reason() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = closed.local_addr().unwrap();
    drop(closed);
    let tunnel = Tunnel::having(
        GatewayOf::All(shared_gateway()),
        &[json!({"name": "demo", "local_addr": addr.to_string(), "protocol": "http"})],
        |agent| agent.carriers(&["quic"]),
    );
    let answer = tunnel.ask(tunnel.get("/")).await;
    assert_eq!(answer.status(), 502, "{}", answer.text());
    assert!(answer.message().contains("refused"), "{}", answer.message());
}
