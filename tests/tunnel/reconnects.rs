//! Processes that die and come back.

use crate::{
    common::{agent::Agent, gateway::Gateway, process::log_message},
    fixture::{Cluster, Form, Tunnel, agent, demo, until},
    h2client::{self, H2, empty},
    origin::Origin,
    wire::response,
};
use std::time::{Duration, Instant};

fn ready(agent: &Agent) -> usize {
    let log = agent.process.output();
    log.lines().filter_map(log_message("tunnel ready")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_and_started_again_gets_its_agents_back() {
    let origin = Origin::echo().await;
    let mut tunnel = Tunnel::own(Gateway::start(), &[demo(&origin)]);
    for round in 2..5 {
        assert_eq!(
            tunnel.ask(tunnel.post("/", "before")).await.text(),
            "before"
        );
        tunnel.gateway.process.signal("KILL");
        tunnel
            .own_gateway()
            .process
            .wait_exit(Duration::from_secs(60));
        tunnel.own_gateway().restart();
        let begun = Instant::now();
        // At once: it is held until the agent is back.
        let answer = tunnel.ask_until(&tunnel.get("/"), 200).await;
        assert_eq!(answer.status(), 200);
        until("the agent to be back", || {
            let times = ready(&tunnel.agent);
            if times >= round {
                Ok(())
            } else {
                Err(format!("ready {times} times"))
            }
        })
        .await;
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "back after {:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_right_after_the_restart_waits_for_the_agent() {
    let origin = Origin::echo().await;
    let mut tunnel = Tunnel::own(Gateway::start(), &[demo(&origin)]);
    tunnel.gateway.process.signal("KILL");
    tunnel
        .own_gateway()
        .process
        .wait_exit(Duration::from_secs(60));
    tunnel.own_gateway().restart();
    let answer = tunnel.ask(tunnel.get("/")).await;
    assert!([200, 503].contains(&answer.status()), "{}", answer.text());
    if answer.status() == 503 {
        assert_eq!(answer.code(), "AGENT_NOT_CONNECTED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_be_started_before_its_gateway() {
    let origin = Origin::echo().await;
    let mut gateway = Gateway::start();
    let cluster = Cluster::new();
    let config = agent(&gateway, &cluster, &[demo(&origin)]);
    let token = gateway.user_token("early", "viewer", &cluster.name, "tunnel:demo");
    gateway.process.signal("KILL");
    gateway.process.wait_exit(Duration::from_secs(60));
    let mut agent = config.spawn();
    agent
        .process
        .wait_line("gateway unreachable", log_message("gateway unreachable"));
    gateway.restart();
    agent
        .process
        .wait_line("tunnel ready", log_message("tunnel ready"));
    let tunnel = Tunnel {
        cluster,
        gateway: crate::fixture::GatewayOf::Test(Box::new(gateway)),
        agent,
        token,
        subject: "early".to_owned(),
    };
    assert_eq!(tunnel.ask(tunnel.post("/", "works")).await.text(), "works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_gives_no_body_that_looks_complete() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::own(Gateway::start(), &[demo(&origin)]);
    let mut sized = tunnel.connect(Form::Host).await;
    sized.send(tunnel.get("/")).await;
    let mut sized_target = targets.next().await;
    sized_target.head().await;
    sized_target
        .send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")
        .await;
    let sized_head = sized.head().await;
    let client = H2::connect(&tunnel, Form::Host).await;
    let request = h2client::request(&tunnel, Form::Host, "GET", "/")
        .body(empty())
        .unwrap();
    let (asked, mut target) = client.reach(request, &mut targets).await;
    target
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .await;
    let mut body = asked.await.unwrap().into_body();
    assert_eq!(
        h2client::frame(&mut body)
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap(),
        "hello"
    );
    tunnel.gateway.process.signal("KILL");
    assert!(!sized.response_body(&sized_head, "GET").await.complete);
    assert!(
        h2client::frame(&mut body)
            .await
            .expect("no proper end")
            .is_err()
    );
    sized_target.closed().await;
    target.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_and_started_again_serves_again() {
    let origin = Origin::echo().await;
    let mut tunnel = Tunnel::to(&origin);
    for _ in 0..3 {
        assert_eq!(tunnel.ask(tunnel.post("/", "x")).await.text(), "x");
        tunnel.agent.process.signal("KILL");
        tunnel.agent.process.wait_exit(Duration::from_secs(60));
        tunnel.agent = agent(&tunnel.gateway, &tunnel.cluster, &[demo(&origin)]).start();
    }
    assert_eq!(tunnel.ask(tunnel.post("/", "x")).await.text(), "x");
}

/// Waits until one agent alone serves. The older one may while the newer still
/// connects, since nobody should wait.
async fn served_by(tunnel: &Tunnel, wanted: &str) {
    let end = Instant::now() + crate::wire::DEADLINE;
    let mut in_a_row = 0;
    while in_a_row < 30 {
        let answer = tunnel.ask(tunnel.get("/")).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        in_a_row = if answer.text() == wanted {
            in_a_row + 1
        } else {
            0
        };
        assert!(Instant::now() < end, "still served by {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_agents_the_newest_serves_and_the_other_takes_over() {
    let first = Origin::answering(|_, _| response("200 OK", "", "first")).await;
    let second = Origin::answering(|_, _| response("200 OK", "", "second")).await;
    let mut tunnel = Tunnel::to(&first);
    assert_eq!(tunnel.ask(tunnel.get("/")).await.text(), "first");
    let newest = agent(&tunnel.gateway, &tunnel.cluster, &[demo(&second)]).start();
    served_by(&tunnel, "second").await;
    until("the log to say that there are two", || {
        let log = tunnel.gateway.process.output();
        let id = format!("\"{}\"", tunnel.cluster.id);
        let found = log
            .lines()
            .any(|line| line.contains(&id) && line.contains("WARN") && line.contains("agents"));
        if found {
            Ok(())
        } else {
            Err("no such line".to_owned())
        }
    })
    .await;
    newest.process.signal("KILL");
    let answer = tunnel.ask_until(&tunnel.get("/"), 200).await;
    assert_eq!(answer.text(), "first", "the other takes over");
    for _ in 0..20 {
        assert_eq!(tunnel.ask(tunnel.get("/")).await.text(), "first");
    }
    // The one that stood by is the newest once it is connected anew.
    let third = agent(&tunnel.gateway, &tunnel.cluster, &[demo(&second)]).start();
    served_by(&tunnel, "second").await;
    tunnel.agent = third;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_is_given_up() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    assert_eq!(tunnel.ask(tunnel.post("/", "x")).await.text(), "x");
    tunnel.agent.process.signal("STOP");
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let answer =
            tokio::time::timeout(Duration::from_secs(55), tunnel.ask(tunnel.get("/"))).await;
        if let Ok(answer) = answer
            && answer.status() == 503
            && answer.code() == "AGENT_NOT_CONNECTED"
        {
            break;
        }
        assert!(
            Instant::now() < end,
            "a stopped agent still counts as connected"
        );
    }
    tunnel.agent.process.signal("CONT");
    assert_eq!(tunnel.ask_until(&tunnel.get("/"), 200).await.status(), 200);
}
