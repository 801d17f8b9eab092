//! SIGTERM: what is under way ends well, and nothing new begins.

use crate::{
    common::gateway::Gateway,
    fixture::{Client, Form, Tunnel, agent, demo, until},
    h2client::{self, H2, empty},
    origin::{Accepted, Conn, Origin},
    wire::{response, within},
};
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpStream;

const MINUTE: Duration = Duration::from_secs(60);

/// A download under way.
async fn download(tunnel: &Tunnel, targets: &mut Accepted) -> (Client, Conn) {
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/")).await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.chunk().await.unwrap(), b"hello");
    (client, target)
}

/// Goes on with it for a while, to its end.
async fn finish((mut client, mut target): (Client, Conn)) {
    for n in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        target.send_chunk(format!("part {n}")).await;
        assert_eq!(
            client.chunk().await.unwrap(),
            format!("part {n}").into_bytes()
        );
    }
    target.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, None);
}

fn saying<'a>(log: &'a str, message: &str) -> Option<&'a str> {
    log.lines().find(|line| line.contains(message))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_told_to_end_lets_requests_end_and_takes_no_new_ones() {
    let (origin, mut targets) = Origin::accepting().await;
    let mut tunnel = Tunnel::own(Gateway::start(), &[demo(&origin)]);
    let first = download(&tunnel, &mut targets).await;
    let idle = tunnel.connect(Form::Host).await;
    let client = H2::connect(&tunnel, Form::Host).await;
    let request = h2client::request(&tunnel, Form::Host, "GET", "/")
        .body(empty())
        .unwrap();
    let (asked, mut waiting) = client.reach(request, &mut targets).await;
    let addr = tunnel.gateway.addr;
    tunnel.gateway.process.signal("TERM");
    let end = std::time::Instant::now() + MINUTE;
    while TcpStream::connect(addr).await.is_ok() {
        assert!(
            std::time::Instant::now() < end,
            "new connections are still taken"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut idle = idle;
    within("an idle connection to be closed", idle.closed()).await;
    waiting.send(response("200 OK", "", "late")).await;
    assert_eq!(
        h2client::whole(asked.await.unwrap().into_body()).await.0,
        "late"
    );
    finish(first).await;
    let status = tunnel.own_gateway().process.wait_exit(MINUTE);
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_waits_no_longer_than_it_is_told() {
    let (origin, mut targets) = Origin::accepting().await;
    let gateway = Gateway::start_with(|config| config["drain_timeout"] = json!("2s"));
    let mut tunnel = Tunnel::own(gateway, &[demo(&origin)]);
    let (mut client, mut target) = download(&tunnel, &mut targets).await;
    tunnel.gateway.process.signal("TERM");
    let status = tunnel.own_gateway().process.wait_exit(MINUTE);
    assert!(status.success(), "{status}");
    let rest = client.rest().await;
    assert!(
        !rest.bytes.ends_with(b"0\r\n\r\n"),
        "what is cut does not look complete"
    );
    target.closed().await;
    let log = tunnel.gateway.process.output();
    assert!(
        saying(&log, "they are cut").is_some(),
        "{}",
        tunnel.gateway.tail()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_told_to_end_lets_requests_end() {
    let (origin, mut targets) = Origin::accepting().await;
    let mut tunnel = Tunnel::to(&origin);
    let first = download(&tunnel, &mut targets).await;
    tunnel.agent.process.signal("TERM");
    until("the gateway to hear of it", || {
        let log = tunnel.gateway.process.output();
        let id = format!("\"{}\"", tunnel.cluster.id);
        let found = log
            .lines()
            .any(|line| line.contains(&id) && line.contains("drain"));
        if found {
            Ok(())
        } else {
            Err("nothing in its log".to_owned())
        }
    })
    .await;
    let answer = tunnel.ask(tunnel.get("/")).await;
    assert_eq!(
        (answer.status(), answer.code().as_str()),
        (503, "AGENT_DRAINING"),
        "{}",
        answer.text()
    );
    finish(first).await;
    let status = tunnel.agent.process.wait_exit(MINUTE);
    assert!(status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_ends_at_once() {
    let origin = Origin::echo().await;
    let mut tunnel = Tunnel::to(&origin);
    assert_eq!(tunnel.ask(tunnel.post("/", "x")).await.text(), "x");
    let mut kept = tunnel.connect(Form::Host).await;
    kept.ask(tunnel.post("/", "x")).await;
    tunnel.agent.process.signal("TERM");
    let status = tunnel.agent.process.wait_exit(MINUTE);
    assert!(status.success(), "{status}\n{}", tunnel.agent.tail());
    let log = tunnel.agent.process.output();
    assert!(
        saying(&log, "they are cut").is_none(),
        "an idle agent had nothing to cut"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_one_agent_replaces_another() {
    let origin = Origin::echo().await;
    let mut tunnel = Tunnel::to(&origin);
    for round in 0..3 {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let load: Vec<_> = (0..4)
            .map(|lane| {
                let mut stopped = stopped.clone();
                let (gateway, name, request) = (
                    tunnel.gateway.addr,
                    tunnel.hostname(Form::Host),
                    tunnel.post("/", format!("{round} {lane}")),
                );
                let ca = tunnel.gateway.ca();
                tokio::spawn(async move {
                    let tls = crate::fixture::tls(gateway, &ca, &name, b"http/1.1")
                        .await
                        .unwrap();
                    let mut client = crate::wire::Wire::new(tls);
                    let mut served = 0;
                    while !*stopped.borrow_and_update() {
                        let answer = client.ask(&request).await;
                        assert_eq!(
                            (answer.status(), answer.text()),
                            (200, format!("{round} {lane}"))
                        );
                        served += 1;
                    }
                    served
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let next = agent(&tunnel.gateway, &tunnel.cluster, &[demo(&origin)]).start();
        let mut old = std::mem::replace(&mut tunnel.agent, next);
        old.process.signal("TERM");
        let status = old.process.wait_exit(MINUTE);
        assert!(status.success(), "{status}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        stop.send(true).unwrap();
        for lane in load {
            assert!(lane.await.unwrap() > 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_a_program_at_once() {
    for name in ["agent", "gateway"] {
        let (origin, mut targets) = Origin::accepting().await;
        let mut tunnel = Tunnel::own(Gateway::start(), &[demo(&origin)]);
        let held = download(&tunnel, &mut targets).await;
        let process = if name == "agent" {
            &mut tunnel.agent.process
        } else {
            &mut tunnel.own_gateway().process
        };
        process.signal("TERM");
        process.wait_text("drains");
        process.signal("TERM");
        let status = process.wait_exit(MINUTE);
        assert!(!status.success(), "{name}: {status}");
        drop(held);
    }
}
