//! Ten thousand connections to each port that are no client's.

use crate::{
    client::{connect, get, head},
    common::process::Process,
    fixture::{Tunnel, demo, until},
    origin::Origin,
    wire::Wire,
};
use std::{fs, net::SocketAddr, time::Duration};
use tokio::net::TcpStream;

/// Connections to one port in all, and at once: four times what a program keeps.
const ALL: usize = 10_000;
const WAVE: usize = 500;

/// A leak of one KiB for each connection would be ten MiB.
const GROWTH_KIB: usize = 8 * 1024;

fn descriptors(process: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.pid()))
        .unwrap()
        .count()
}

fn resident_kib(process: &Process) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// One of the kinds of connections that mean no good.
async fn hostile(addr: SocketAddr, n: usize) -> Wire<TcpStream> {
    let mut wire = connect(addr).await;
    let said = match n % 6 {
        0 => Vec::new(),
        1 => b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: ".to_vec(),
        2 => vec![0xff; 64],
        3 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        // The answers are never read.
        4 => head("GET", "/livez", "").repeat(50).into_bytes(),
        _ => b"x".repeat(20 * 1024),
    };
    // It may be sent away before it has said all.
    drop(wire.try_send(said).await);
    wire
}

/// Opens connections, asks for `path` while they are there, and lets go of them.
async fn wave(addr: SocketAddr, path: &str, count: usize) {
    let open = (0..count).map(|n| hostile(addr, n));
    let held = futures_util::future::join_all(open).await;
    // Metrics have a limit, and an answer that says so is one.
    assert!(matches!(get(addr, path).await.status(), 200 | 429));
    drop(held);
}

async fn flood(process: &Process, addr: SocketAddr, path: &str) {
    wave(addr, path, WAVE).await;
    let settled = |most: usize| {
        until("descriptors to be given back", move || {
            let now = descriptors(process);
            if now <= most {
                Ok(())
            } else {
                Err(format!("{now} of {most}"))
            }
        })
    };
    // What the program has of its own may come and go by a few.
    let before = descriptors_at_rest(process).await;
    let resident = resident_kib(process);
    for _ in 0..ALL / WAVE {
        wave(addr, path, WAVE).await;
    }
    settled(before + 4).await;
    let grown = resident_kib(process).saturating_sub(resident);
    assert!(grown < GROWTH_KIB, "{addr} cost {grown} KiB");
}

/// The descriptors of a program that nobody is connected to any more.
async fn descriptors_at_rest(process: &Process) -> usize {
    let mut last = usize::MAX;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = descriptors(process);
        if now == last {
            return now;
        }
        last = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_either_port_starves_no_probe_and_leaves_nothing() {
    let origin = Origin::echo().await;
    let mut tunnel = Tunnel::own(crate::common::gateway::Gateway::start(), &[demo(&origin)]);
    let (agent, gateway) = (tunnel.agent.face(), tunnel.own_gateway().face());
    for (process, face) in [
        (&tunnel.agent.process, agent),
        (&tunnel.gateway.process, gateway),
    ] {
        flood(process, face.admin, "/healthz").await;
        flood(process, face.metrics, "/metrics").await;
        assert_eq!(get(face.admin, "/readyz").await.status(), 200);
        assert!(!process.output().contains("panicked"), "{}", process.tail());
    }
    let answer = tunnel.ask(tunnel.post("/", "unharmed")).await;
    assert_eq!(answer.text(), "unharmed");
}

/// If each had its ten seconds, one hundred after the other, the last would wait for minutes.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_that_hold_on_do_not_keep_a_probe_out() {
    let origin = Origin::echo().await;
    let mut tunnel = Tunnel::to(&origin);
    let at = tunnel.agent.face().admin;
    let half = futures_util::future::join_all((0..3_000).map(|_| async {
        let mut wire = connect(at).await;
        drop(wire.try_send("GET /healthz HTTP/1.1\r\n").await);
        wire
    }));
    let held = half.await;
    let open = descriptors(&tunnel.agent.process);
    assert!(open < 300, "{open} descriptors are open");
    let mut kept = connect(at).await;
    for _ in 0..20 {
        kept.send(head("GET", "/readyz", "")).await;
        assert_eq!(kept.answer("GET").await.status(), 200);
        assert_eq!(get(at, "/readyz").await.status(), 200);
    }
    drop(held);
}
