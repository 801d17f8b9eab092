//! What ends a live forward from outside, and that nothing is left of it.

use crate::{
    command::Forward,
    common::{DEADLINE, gateway::Gateway},
    fixture::{Form, Tunnel, sockets_to, until},
    origin::Origin,
    setup::{TCP, demo, joined, tcp, upgraded},
    wire::{Wire, within},
};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends until the other side is gone.
async fn flood(mut to: impl tokio::io::AsyncWrite + Unpin) {
    let block = vec![7; 64 * 1024];
    while to.write_all(&block).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_transfers_within_a_second() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::with(&[demo("tcp", origin.addr)]);
    let forward = Forward::start(&tunnel, &[]);
    let mut all = Vec::new();
    for _ in 0..2 {
        let local = TcpStream::connect(forward.addr).await.unwrap();
        all.push((local, targets.next().await));
    }
    let (direct, target) = joined(&tunnel, &mut targets).await;
    // One is mid-download, one mid-upload, and of one nothing moves.
    let (mut down, from) = all.remove(0);
    let (up, mut to) = all.remove(0);
    tokio::spawn(flood(from.io));
    tokio::spawn(flood(up));
    let mut buffer = vec![0; 1024];
    down.read_exact(&mut buffer).await.unwrap();
    to.exactly(1024).await;
    tunnel.gateway.revoke(&tunnel.subject);
    let revoked = Instant::now();
    let (mut direct, mut target) = (direct, target);
    let ends = async {
        while down.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
        while to.io.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
        assert!(!target.rest().await.complete, "a cut looks like an end");
        direct.closed().await;
    };
    within("the ends", ends).await;
    // The promise is a second; the rest is for a machine that does other things too.
    let took = revoked.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    until("the log to say why", || {
        let log = tunnel.gateway.process.output();
        let mine = |line: &&str| line.contains(&tunnel.cluster.id) && line.contains("\"revoked\"");
        match log.lines().filter(mine).count() {
            3 => Ok(()),
            n => Err(format!("{n} of 3")),
        }
    })
    .await;
    let sockets = || sockets_to(tunnel.agent.process.pid(), origin.addr);
    until("the agent to let go", || match sockets() {
        0 => Ok(()),
        n => Err(format!("{n} sockets are left")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_killed_ends_its_connections() {
    let (tunnel, mut targets) = tcp().await;
    let forward = Forward::start(&tunnel, &[]);
    let mut local = Wire::new(TcpStream::connect(forward.addr).await.unwrap());
    let target = targets.next().await;
    local.send("unread").await;
    let peeked = within("bytes", target.io.peek(&mut [0; 6])).await;
    assert_eq!(peeked.unwrap(), 6);
    // The system resets what a killed process had not read.
    drop(target);
    let rest = within("the end", local.rest()).await;
    assert!(!rest.complete, "a reset looks like an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_lets_forwards_end_and_takes_no_new_ones() {
    let (origin, mut targets) = Origin::accepting().await;
    let mut tunnel = Tunnel::own(Gateway::start(), &[demo("tcp", origin.addr)]);
    let (mut client, mut target) = joined(&tunnel, &mut targets).await;
    let addr = tunnel.gateway.addr;
    tunnel.gateway.process.signal("TERM");
    let gone = async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("the listener to close", gone).await;
    client.send("still").await;
    assert_eq!(target.exactly(5).await, b"still");
    target.send("here").await;
    assert_eq!(client.exactly(4).await, b"here");
    assert!(tunnel.own_gateway().process.is_running());
    client.io.shutdown().await.unwrap();
    target.rest().await;
    drop(target);
    assert!(client.rest().await.complete);
    assert!(tunnel.own_gateway().process.wait_exit(DEADLINE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_takes_too_long_cuts_what_is_left() {
    let (origin, mut targets) = Origin::accepting().await;
    let gateway = Gateway::start_with(|config| config["drain_timeout"] = "1s".into());
    let mut tunnel = Tunnel::own(gateway, &[demo("tcp", origin.addr)]);
    let mut client = upgraded(&tunnel, Form::Path, TCP).await;
    let mut target = targets.next().await;
    tunnel.gateway.process.signal("TERM");
    assert!(!within("the client's end", client.rest()).await.complete);
    assert!(!within("the target's end", target.rest()).await.complete);
    assert!(tunnel.own_gateway().process.wait_exit(DEADLINE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_forwards_are_counted_and_logged() {
    let (tunnel, mut targets) = tcp().await;
    let (mut client, mut target) = joined(&tunnel, &mut targets).await;
    client.send("12345").await;
    target.exactly(5).await;
    target.send("123").await;
    client.exactly(3).await;
    client.io.shutdown().await.unwrap();
    drop(target);
    client.rest().await;
    until("the audit line", || {
        let log = tunnel.gateway.process.output();
        let mine = format!("\"cluster\":\"{}\"", tunnel.cluster.id);
        let line = log
            .lines()
            .find(|line| line.contains(&mine) && line.contains("\"message\":\"request\""))
            .ok_or("none")?;
        for part in [
            "\"service\":\"demo\"",
            "\"bytes_sent\":5",
            "\"bytes_received\":3",
            "\"outcome\":\"complete\"",
            &format!("\"subject\":\"{}\"", tunnel.subject),
        ] {
            assert!(line.contains(part), "no {part} in {line}");
        }
        Ok(())
    })
    .await;
}
