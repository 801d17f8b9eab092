//! A doctor beside an agent that serves: no request fails, and none is the doctor's.

use super::doctor;
use crate::{
    common::agent::AgentConfig,
    connecting::{WEBSOCKET, knock},
    fixture::{Client, Cluster, Form, Tunnel, agent, connect, demo, shared_gateway, until},
    origin::Origin,
    wire::{Wire, chunk},
};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

const PIECE: usize = 64 * 1024;

/// Lines of the gateway's log about this cluster.
fn logged(tunnel: &Tunnel, what: &str) -> usize {
    let id = format!("\"{}\"", tunnel.cluster.id);
    let log = tunnel.gateway.process.output();
    log.lines()
        .filter(|line| line.contains(what) && line.contains(&id))
        .count()
}

/// A doctor of the same cluster.
fn colleague(tunnel: &Tunnel) -> AgentConfig {
    agent(&tunnel.gateway, &tunnel.cluster, &[])
}

/// A target that counts requests, and whose `/long` ends only with the client.
async fn long_and_short(served: Arc<AtomicUsize>) -> Origin {
    Origin::raw(move |mut conn: Wire<_>| {
        let served = Arc::clone(&served);
        async move {
            while let Ok(Some(head)) = conn.try_head().await {
                served.fetch_add(1, Ordering::SeqCst);
                if head.target() != "/long" {
                    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nme")
                        .await;
                    continue;
                }
                conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await;
                while conn.try_send(chunk(&[7; PIECE])).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                return;
            }
        }
    })
    .await
}

/// Requests one after another until `done`; answers how many.
async fn ask_until(tunnel: &Tunnel, done: &AtomicBool) -> usize {
    let mut asked = 0;
    while !done.load(Ordering::SeqCst) {
        let answer = tunnel.ask(tunnel.get("/short")).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "me"));
        asked += 1;
    }
    asked
}

/// Reads a download until `done`; answers how many pieces came.
async fn read_until(download: &mut Client, done: &AtomicBool) -> usize {
    let mut pieces = 0;
    while !done.load(Ordering::SeqCst) {
        let piece = download.chunk().await.expect("the download goes on");
        assert!(piece.iter().all(|byte| *byte == 7));
        pieces += 1;
    }
    pieces
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_agent_is_not_disturbed() {
    let served = Arc::<AtomicUsize>::default();
    let origin = long_and_short(Arc::clone(&served)).await;
    let tunnel = Tunnel::with(&[demo(&origin)]);
    let mut download = tunnel.connect(Form::Host).await;
    download.send(tunnel.get("/long")).await;
    assert_eq!(download.head().await.status(), 200);

    let done = AtomicBool::new(false);
    let looking = async {
        let colleagues = [colleague(&tunnel), colleague(&tunnel)];
        for _ in 0..3 {
            let [one, two] = colleagues.each_ref().map(doctor);
            let (one, two) = tokio::join!(one, two);
            for found in [one, two] {
                found.assert_carries();
            }
        }
        done.store(true, Ordering::SeqCst);
    };
    let (asked, pieces, ()) = tokio::join!(
        ask_until(&tunnel, &done),
        read_until(&mut download, &done),
        looking
    );
    assert!(asked > 0 && pieces > 0, "{asked} requests, {pieces} pieces");
    assert_eq!(
        served.load(Ordering::SeqCst),
        asked + 1,
        "each reached the agent's target"
    );
    until("the last probe's end", || {
        let ended = logged(&tunnel, "a doctor has probed; it served nothing");
        if ended == 6 {
            Ok(())
        } else {
            Err(ended.to_string())
        }
    })
    .await;
    assert_eq!(
        logged(&tunnel, "agent connected"),
        1,
        "no doctor is an agent"
    );
    assert_eq!(logged(&tunnel, "several agents of one cluster"), 0);
    assert_eq!(logged(&tunnel, "carrier down"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_are_few_and_need_a_token_and_are_known_by_name() {
    let gateway = shared_gateway();
    let cluster = Cluster::new();
    let token = gateway.agent_token(&cluster.name, &cluster.id);
    let path = "/v1/agent/connect";
    let fields = |probe: &str, token: &str| {
        format!("{WEBSOCKET}Authorization: Bearer {token}\r\nX-PipeOps-Probe: {probe}\r\n")
    };
    assert_eq!(
        knock(gateway, path, &fields("doctor", "nonsense"))
            .await
            .status(),
        401
    );
    assert_eq!(
        knock(gateway, path, &fields("surgeon", &token))
            .await
            .status(),
        400
    );
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = connect(gateway, "localhost").await;
        let host = format!("localhost:{}", gateway.addr.port());
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\n{}\r\n",
            fields("doctor", &token)
        );
        client.send(head).await;
        assert_eq!(client.head().await.status(), 101);
        held.push(client);
    }
    let answer = knock(gateway, path, &fields("doctor", &token)).await;
    assert_eq!(
        (answer.status(), answer.code().as_str()),
        (429, "TOO_MANY_REQUESTS")
    );
    // An agent is not kept out by them.
    let agent = format!("{WEBSOCKET}Authorization: Bearer {token}\r\n");
    assert_eq!(knock(gateway, path, &agent).await.status(), 101);
    drop(held);
    let end = std::time::Instant::now() + crate::wire::DEADLINE;
    while knock(gateway, path, &fields("doctor", &token))
        .await
        .status()
        != 101
    {
        assert!(
            std::time::Instant::now() < end,
            "those that have gone make room"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_agent_is_away_is_not_served_by_a_doctor() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::with(&[demo(&origin)]);
    tunnel.agent.process.signal("KILL");
    until("the agent to be missed", || {
        match logged(&tunnel, "agent disconnected") {
            0 => Err("it is still there".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    let config = colleague(&tunnel);
    let asking = tunnel.ask(tunnel.get("/x"));
    let (answer, found) = tokio::join!(asking, doctor(&config));
    assert_eq!(
        (answer.status(), answer.code().as_str()),
        (503, "AGENT_NOT_CONNECTED")
    );
    found.assert_carries();
    assert!(fs::read(config.token_file()).is_ok());
}
