//! Bytes over QUIC streams.

use super::{over, tunnel};
use crate::{
    common::{
        gateway::Gateway,
        link::{Link, Path},
        sum::{Seeded, Sum},
    },
    fixture::{Form, GatewayOf, Tunnel},
    origin::Origin,
    wire::{response, within},
};
use std::{sync::Arc, time::Duration};
use tokio::io::AsyncWriteExt;

const MIB: u64 = 1024 * 1024;

/// Serves `/SEED/LENGTH` as that many known bytes, and answers a POST with its checksum.
pub async fn seeds() -> Origin {
    Origin::raw(|mut conn| async move {
        while let Ok(Some(head)) = conn.try_head().await {
            let body = conn.request_body(&head).await;
            if head.first.starts_with("POST") {
                conn.send(response("200 OK", "", Sum::of(&body.bytes).hex()))
                    .await;
                continue;
            }
            let mut parts = head.target().split('/').skip(1).map(|n| n.parse().unwrap());
            let (seed, length): (u64, u64) = (parts.next().unwrap(), parts.next().unwrap());
            conn.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            ))
            .await;
            if conn
                .io
                .write_all(&Seeded::bytes(seed, length))
                .await
                .is_err()
            {
                return;
            }
        }
    })
    .await
}

async fn download(tunnel: &Tunnel, seed: u64, length: u64) {
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get(&format!("/{seed}/{length}"))).await;
    let head = client.head().await;
    assert_eq!(head.status(), 200);
    let body = client.response_body(&head, "GET").await;
    assert!(
        body.complete && body.bytes == Seeded::bytes(seed, length),
        "{seed}"
    );
}

async fn upload(tunnel: &Tunnel, seed: u64, length: u64) {
    let bytes = Seeded::bytes(seed, length);
    let answer = tunnel.ask(tunnel.post("/", &bytes)).await;
    assert_eq!(answer.text(), Sum::of(&bytes).hex(), "{seed}");
}

/// Many at once, of all sizes, in both directions.
async fn crowd(tunnel: Arc<Tunnel>, count: u64, most: u64) {
    let tasks: Vec<_> = (0..count)
        .map(|seed| {
            let tunnel = Arc::clone(&tunnel);
            tokio::spawn(async move {
                let length = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) % most;
                if seed % 2 == 0 {
                    download(&tunnel, seed, length).await;
                } else {
                    upload(&tunnel, seed, length).await;
                }
            })
        })
        .collect();
    for task in tasks {
        within("a transfer", task).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_whole_on_many_streams_at_once() {
    let origin = seeds().await;
    let tunnel = Arc::new(tunnel(&origin));
    download(&tunnel, 1, 64 * MIB).await;
    upload(&tunnel, 2, 32 * MIB).await;
    crowd(tunnel, 200, MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_whole_although_packets_are_lost() {
    let origin = seeds().await;
    let path = Path {
        delay: Duration::from_millis(5),
        loss: 20,
        ..Path::CLEAR
    };
    let gateway = Gateway::start();
    let link = Link::to(gateway.addr, path);
    let tunnel = Arc::new(over(GatewayOf::Test(Box::new(gateway)), &link, &origin));
    crowd(tunnel, 60, MIB).await;
}

/// The agent's address changes, as behind a NAT that forgets: what runs goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_moves_to_another_address() {
    let (origin, mut targets) = Origin::accepting().await;
    let gateway = Gateway::start();
    let link = Link::to(gateway.addr, Path::CLEAR);
    let tunnel = over(GatewayOf::Test(Box::new(gateway)), &link, &origin);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/")).await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.head().await;
    for n in 0..3 {
        link.rebind();
        target.send_chunk(format!("after {n}")).await;
        assert_eq!(
            client.chunk().await.unwrap(),
            format!("after {n}").into_bytes()
        );
    }
    target.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, None);
    let log = tunnel.gateway.process.output();
    assert_eq!(
        log.matches("carrier down").count(),
        0,
        "it is the same carrier"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_stall_hold_up_nobody_else() {
    let origin = seeds().await;
    let tunnel = tunnel(&origin);
    let mut stalled = Vec::new();
    for seed in 0..8 {
        let mut client = tunnel.connect(Form::Host).await;
        client
            .send(tunnel.get(&format!("/{seed}/{}", 64 * MIB)))
            .await;
        client.head().await;
        stalled.push(client);
    }
    for seed in 100..120 {
        within(
            "a download beside stalled ones",
            download(&tunnel, seed, MIB),
        )
        .await;
    }
    drop(stalled);
}

/// Either side of an upgraded connection may end first; the other goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_is_closed_by_halves() {
    const ASKS: &str = "Connection: Upgrade\r\nUpgrade: raw\r\n";
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = tunnel(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.head(Form::Host, "GET", "/", ASKS)).await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send(format!("HTTP/1.1 101 Switching Protocols\r\n{ASKS}\r\n"))
        .await;
    assert_eq!(client.head().await.status(), 101);
    target.send("all that I have").await;
    target.io.shutdown().await.unwrap();
    assert_eq!(client.exactly(15).await, b"all that I have");
    client.send("and more of mine").await;
    assert_eq!(target.exactly(16).await, b"and more of mine");
    client.io.shutdown().await.unwrap();
    within("the end at the target", target.closed()).await;
}
