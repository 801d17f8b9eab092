//! From one carrier to a better one, without a byte lost.

use crate::{
    common::{
        gateway::Gateway,
        process::{log_field, log_message},
        sum::Seeded,
    },
    fixture::{Client, Cluster, Form, GatewayOf, Tunnel, until},
    kinds::{behind, kinds, sample, tunnel},
    origin::{Conn, Origin},
    programs::{Mux, nginx},
    wire::{chunk, within},
};
use serde_json::json;
use std::time::Duration;

const PIECE: usize = 64 * 1024;

/// Piece `n` of the download.
fn piece(n: u64) -> Vec<u8> {
    Seeded::bytes(n, PIECE as u64)
}

/// `/long` goes on for as long as somebody reads it; everything else is `ok`.
async fn long(mut conn: Conn) {
    while let Ok(Some(head)) = conn.try_head().await {
        if head.target() != "/long" {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                .await;
            continue;
        }
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        for n in 0.. {
            if conn.try_send(chunk(&piece(n))).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A download of which every byte is looked at.
struct Download {
    client: Client,
    pending: Vec<u8>,
    pieces: u64,
}

impl Download {
    async fn more(&mut self) {
        let next = within("more of the download", self.client.chunk()).await;
        self.pending.extend(next.expect("it goes on"));
        while self.pending.len() >= PIECE {
            let rest = self.pending.split_off(PIECE);
            assert!(self.pending == piece(self.pieces), "piece {}", self.pieces);
            self.pending = rest;
            self.pieces += 1;
        }
    }
}

/// The kinds of the carriers that ended.
fn down(tunnel: &Tunnel) -> Vec<String> {
    let log = tunnel.agent.process.output();
    let down = log
        .lines()
        .filter(|line| log_message("carrier down")(line).is_some());
    down.filter_map(|line| log_field(line, "kind")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_goes_on_while_the_agent_climbs_back() {
    let origin = Origin::raw(long).await;
    let gateway = Gateway::start_with(|config| config["threads"] = json!(1));
    let (to, cluster) = (gateway.addr, Cluster::new());
    let proxy = nginx(to, Mux::Removed);
    let config = behind(&proxy, &gateway, &cluster, &origin);
    let mut tunnel = tunnel(GatewayOf::Test(Box::new(gateway)), cluster, config);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/long")).await;
    client.head().await;
    let mut download = Download {
        client,
        pending: Vec::new(),
        pieces: 0,
    };
    proxy.reload(to, Mux::Passes);
    while kinds(&tunnel.agent).last().is_none_or(|kind| kind != "tls") {
        download.more().await;
        let late = download.pieces > 20_000;
        assert!(!late, "no better carrier came\n{}", tunnel.agent.tail());
    }
    assert_eq!(tunnel.ask(tunnel.get("/")).await.text(), "ok");
    // A good deal more, on the old one still.
    let enough = download.pieces + 100;
    while download.pieces < enough {
        download.more().await;
    }
    assert!(down(&tunnel).is_empty(), "{}", tunnel.agent.tail());
    let log = tunnel.gateway.process.output();
    assert!(
        log.lines()
            .any(|line| log_field(line, "replaces").is_some())
    );
    let climbs = r#"pipeops_agent_carrier_climbs_total{result="ok"}"#;
    assert_eq!(sample(&mut tunnel, climbs).await, 1.0);
    // Once nothing runs on it, it goes.
    drop(download);
    until("the old carrier's end", || match down(&tunnel).as_slice() {
        [kind] if kind == "websocket" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(tunnel.ask(tunnel.get("/")).await.text(), "ok");
}
