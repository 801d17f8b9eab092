//! One event for each request, with what an operator needs.

use crate::{
    fixture::{FORMS, Form, Tunnel, until},
    h2client::{self, H2, full},
    origin::Origin,
    wire::response,
};
use serde_json::Value;

/// The events about requests of this test's cluster.
fn events(tunnel: &Tunnel) -> Vec<Value> {
    let log = tunnel.gateway.process.output();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| {
            line["message"] == "request" && line["cluster"] == tunnel.cluster.id.as_str()
        })
        .collect()
}

/// The one event of this request.
async fn event(tunnel: &Tunnel, id: &str) -> Value {
    let find = || -> Vec<Value> {
        events(tunnel)
            .into_iter()
            .filter(|event| event["request_id"] == id)
            .collect()
    };
    until("the request's event", || {
        if find().is_empty() {
            Err(id.to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await; // a second one would be a mistake
    let found = find();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn assert_event(event: &Value, status: u16, sent: u64, received: u64, outcome: &str) {
    let figures = (
        &event["status"],
        &event["bytes_sent"],
        &event["bytes_received"],
        &event["outcome"],
    );
    assert_eq!(
        figures,
        (
            &status.into(),
            &sent.into(),
            &received.into(),
            &outcome.into()
        ),
        "{event}"
    );
    assert!(event["duration_ms"].is_u64(), "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_one_event_with_its_figures() {
    let origin = Origin::answering(|_, _| response("201 Created", "", "x".repeat(1000))).await;
    let tunnel = Tunnel::to(&origin);
    for form in FORMS {
        let id = format!("{}-{form:?}", tunnel.cluster.id);
        let fields = format!("X-Request-Id: {id}\r\nContent-Length: 300\r\n");
        let mut client = tunnel.connect(form).await;
        let request = format!(
            "{}{}",
            tunnel.head(form, "POST", "/path?secret=1", &fields),
            "b".repeat(300)
        );
        client.ask(request).await;
        let event = event(&tunnel, &id).await;
        assert_event(&event, 201, 300, 1000, "complete");
        assert_eq!(
            (&event["service"], &event["method"], &event["path"]),
            (&"demo".into(), &"POST".into(), &"/path".into())
        );
        assert_eq!(event["subject"], tunnel.subject.as_str());
        assert!(
            event["token_id"]
                .as_str()
                .is_some_and(|id| tunnel.token.contains(id)),
            "{event}"
        );
    }
    let client = H2::connect(&tunnel, Form::Host).await;
    let id = format!("{}-h2", tunnel.cluster.id);
    let request = h2client::request(&tunnel, Form::Host, "POST", "/").header("x-request-id", &id);
    let response = client
        .send(request.body(full("b".repeat(70_000))).unwrap())
        .await
        .unwrap();
    h2client::whole(response.into_body()).await;
    assert_event(&event(&tunnel, &id).await, 201, 70_000, 1000, "complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_one_event_that_says_so() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let id = |what: &str| format!("{}-{what}", tunnel.cluster.id);
    let send = async |what: &str, more: &str| {
        let mut client = tunnel.connect(Form::Host).await;
        let method = if more.is_empty() { "GET" } else { "POST" };
        client
            .send(tunnel.head(
                Form::Host,
                method,
                "/",
                &format!("X-Request-Id: {}\r\n{more}", id(what)),
            ))
            .await;
        client
    };
    // A client that leaves in mid-response.
    let client = send("left", "").await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello")
        .await;
    let mut client = client;
    client.head().await;
    client.exactly(5).await;
    drop(client);
    assert_event(&event(&tunnel, &id("left")).await, 200, 0, 5, "client_gone");
    // One that leaves before there is a response.
    let client = send("early", "").await;
    let mut target = targets.next().await;
    target.head().await;
    drop(client);
    let early = event(&tunnel, &id("early")).await;
    assert_eq!(
        (&early["outcome"], early["status"].is_null()),
        (&"client_gone".into(), true),
        "{early}"
    );
    // A target that breaks off.
    let mut client = send("cut", "").await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello")
        .await;
    drop(target);
    client.closed().await;
    assert_event(&event(&tunnel, &id("cut")).await, 200, 0, 5, "cut");
    // One that closes without an answer.
    let mut client = send("silent", "Content-Length: 4\r\n").await;
    client.send("body").await;
    let mut target = targets.next().await;
    target.head().await;
    target.exactly(4).await;
    drop(target);
    assert_eq!(client.answer("POST").await.status(), 502);
    assert_event(&event(&tunnel, &id("silent")).await, 502, 4, 0, "refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_without_a_body_and_upgrades_are_events_too() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let id = format!("{}-upgrade", tunnel.cluster.id);
    let asks = "Connection: Upgrade\r\nUpgrade: raw\r\n";
    let mut client = tunnel.connect(Form::Host).await;
    client
        .send(tunnel.head(
            Form::Host,
            "GET",
            "/",
            &format!("{asks}X-Request-Id: {id}\r\n"),
        ))
        .await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send(format!("HTTP/1.1 101 Switching Protocols\r\n{asks}\r\n"))
        .await;
    client.head().await;
    client.send("12345").await;
    target.exactly(5).await;
    target.send("1234567").await;
    client.exactly(7).await;
    tokio::io::AsyncWriteExt::shutdown(&mut target.io)
        .await
        .unwrap();
    client.closed().await;
    tokio::io::AsyncWriteExt::shutdown(&mut client.io)
        .await
        .unwrap();
    assert_event(&event(&tunnel, &id).await, 101, 5, 7, "complete");

    let id = format!("{}-head", tunnel.cluster.id);
    let mut client = tunnel.connect(Form::Host).await;
    client
        .send(tunnel.head(Form::Host, "HEAD", "/", &format!("X-Request-Id: {id}\r\n")))
        .await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
        .await;
    client.answer("HEAD").await;
    assert_event(&event(&tunnel, &id).await, 200, 0, 0, "complete");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_at_the_door_is_an_event_without_secrets() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let host = tunnel.host(Form::Host);
    let id = format!("{}-door", tunnel.cluster.id);
    tunnel
        .ask(format!(
            "GET /demo/?password=hunter2 HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: {id}\r\n\r\n"
        ))
        .await;
    let find = || {
        let log = tunnel.gateway.process.output();
        let lines: Vec<_> = log
            .lines()
            .filter(|line| line.contains(&id))
            .map(str::to_owned)
            .collect();
        lines
    };
    until("the event", || {
        if find().is_empty() {
            Err("none".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    let lines = find();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let event: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(
        (&event["status"], &event["outcome"]),
        (&401.into(), &"refused".into())
    );
    assert!(!lines[0].contains("hunter2"), "{lines:?}");
}
