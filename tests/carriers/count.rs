//! Several carriers of one agent.

use crate::{
    common::{gateway::Gateway, process::log_message},
    fixture::{Client, Cluster, Form, GatewayOf, Tunnel, agent, demo, until},
    kinds::{kinds, tunnel},
    origin::Origin,
    pipe::{Pipe, Way},
    wire::{chunk, within},
};
use serde_json::json;
use std::time::Duration;

/// A gateway with so many threads, and an agent that comes by this way.
async fn by(threads: usize, way: Way, count: usize, origin: &Origin) -> (Tunnel, Pipe) {
    let gateway = Gateway::start_with(|config| config["threads"] = json!(threads));
    let pipe = Pipe::start(gateway.addr, way).await;
    let cluster = Cluster::new();
    let config = agent(&gateway, &cluster, &[demo(origin)]).edit(|yaml| {
        yaml["pipeops"]["api_url"] = json!(format!("https://localhost:{}", pipe.addr.port()));
        yaml["tunnel"]["carriers"] = json!({"count": count});
    });
    (
        tunnel(GatewayOf::Test(Box::new(gateway)), cluster, config),
        pipe,
    )
}

/// Sends chunks for as long as anybody takes them.
async fn endless() -> Origin {
    Origin::raw(|mut conn| async move {
        if let Ok(Some(_)) = conn.try_head().await {
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            while conn.try_send(chunk(&[b'x'; 16 * 1024])).await.is_ok() {}
        }
    })
    .await
}

async fn begin(tunnel: &Tunnel) -> Client {
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/")).await;
    assert_eq!(client.head().await.status(), 200);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_is_cut_takes_only_its_own_with_it() {
    let origin = endless().await;
    let (tunnel, pipe) = by(2, Way::default(), 1, &origin).await;
    let mut clients = Vec::new();
    // Until each of the two workers has a carrier, and, as good as certainly, a client.
    while kinds(&tunnel.agent).len() < 2 || clients.len() < 20 {
        assert!(clients.len() < 60, "{}", tunnel.gateway.tail());
        clients.push(begin(&tunnel).await);
    }
    // The first connection is the control channel's.
    let open = pipe.open();
    assert_eq!(open.len(), 3, "{open:?}");
    pipe.cut(open[1]);
    let (mut cut, mut live) = (0, 0);
    for client in &mut clients {
        let mut went_on = 0;
        while went_on < 200 {
            match within("a chunk or the end", client.try_chunk()).await {
                Ok(Some(_)) => went_on += 1,
                Ok(None) => panic!("a body that was cut looks complete"),
                Err(_) => break,
            }
        }
        *if went_on == 200 { &mut live } else { &mut cut } += 1;
    }
    assert!(cut > 0 && live > 0, "{cut} cut, {live} live");
    // Its place is taken as soon as somebody needs it.
    for _ in 0..10 {
        begin(&tunnel).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_full_on_a_long_way_gets_others_beside_it() {
    let origin = endless().await;
    let way = Way {
        delay: Duration::from_millis(20),
        rate: Some(2_000_000),
    };
    let (mut tunnel, _pipe) = by(1, way, 3, &origin).await;
    let mut clients = Vec::new();
    // More than enough: each may have a window of 64 KiB on its way, and the path holds 80.
    for _ in 0..12 {
        clients.push(begin(&tunnel).await);
    }
    let reading: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { while client.chunk().await.is_some() {} }))
        .collect();
    for _ in 0..2 {
        tunnel
            .agent
            .process
            .wait_line("a carrier", log_message("carrier up"));
    }
    until("a second carrier", || {
        let up = kinds(&tunnel.agent).len();
        (up >= 2).then_some(()).ok_or(format!("{up} came up"))
    })
    .await;
    assert!(kinds(&tunnel.agent).len() <= 3);
    reading.iter().for_each(tokio::task::JoinHandle::abort);
}
