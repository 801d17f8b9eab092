//! A token that ends takes everything with it that it let in.

use crate::{
    fixture::{Client, FORMS, Form, Tunnel, until},
    h2client::{self, H2, empty, frame},
    origin::{Accepted, Conn, Origin},
    wire::within,
};
use std::time::{Duration, Instant};

/// What a user had open.
struct Open {
    events: (Client, Conn),
    socket: (Client, Conn),
    waiting: (Client, Conn),
}

const ASKS: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

async fn open(tunnel: &Tunnel, targets: &mut Accepted, form: Form) -> Open {
    let mut events = tunnel.connect(form).await;
    events.send(tunnel.head(form, "GET", "/events", "")).await;
    let mut target = targets.next().await;
    target.head().await;
    target.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    target.send_chunk("data: 1\n\n").await;
    events.head().await;
    events.chunk().await;
    let events = (events, target);

    let mut socket = tunnel.connect(form).await;
    socket.send(tunnel.head(form, "GET", "/socket", ASKS)).await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send(format!("HTTP/1.1 101 Switching Protocols\r\n{ASKS}\r\n"))
        .await;
    assert_eq!(socket.head().await.status(), 101);
    let socket = (socket, target);

    let mut waiting = tunnel.connect(form).await;
    waiting.send(tunnel.head(form, "GET", "/waiting", "")).await;
    let mut target = targets.next().await;
    target.head().await;
    Open {
        events,
        socket,
        waiting: (waiting, target),
    }
}

impl Open {
    /// Waits for the end of everything, on both sides.
    async fn ends(mut self) {
        let body = self.events.0.rest().await;
        assert!(
            !body.bytes.ends_with(b"0\r\n\r\n"),
            "an event stream that is cut does not look complete"
        );
        self.events.1.closed().await;
        self.socket.0.closed().await;
        self.socket.1.closed().await;
        let answer = self.waiting.0.answer("GET").await;
        assert_eq!(
            (answer.status(), answer.code().as_str()),
            (401, "UNAUTHORIZED")
        );
        self.waiting.1.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_tokens_streams_end_at_both_sides() {
    for form in FORMS {
        let (origin, mut targets) = Origin::accepting().await;
        let tunnel = Tunnel::to(&origin);
        let open = open(&tunnel, &mut targets, form).await;
        tunnel.gateway.revoke(&tunnel.subject);
        open.ends().await;
        let answer = tunnel.ask(tunnel.get("/")).await;
        assert_eq!(
            (answer.status(), answer.code().as_str()),
            (401, "UNAUTHORIZED")
        );
        assert!(answer.message().contains("revoked"), "{}", answer.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_tokens_streams_end_at_both_sides() {
    let (origin, mut targets) = Origin::accepting().await;
    let mut tunnel = Tunnel::to(&origin);
    tunnel.token = tunnel.gateway.cli(&[
        "token",
        "create",
        "user",
        "--subject",
        "brief",
        "--role",
        "viewer",
        "--cluster",
        &tunnel.cluster.name,
        "--scope",
        "tunnel:demo",
        "--expires",
        "5s",
    ]);
    open(&tunnel, &mut targets, Form::Host).await.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_at_full_speed_ends_with_its_token() {
    let block = vec![b'x'; 1024 * 1024];
    let origin = Origin::raw(move |mut conn| {
        let block = block.clone();
        async move {
            conn.head().await;
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
                .await;
            while conn.try_send(&block).await.is_ok() {}
        }
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/")).await;
    client.head().await;
    client.exactly(10_000_000).await;
    tunnel.gateway.revoke(&tunnel.subject);
    let begun = Instant::now();
    within("the end of the download", async {
        let mut buffer = vec![0; 1024 * 1024];
        while tokio::io::AsyncReadExt::read(&mut client.io, &mut buffer)
            .await
            .is_ok_and(|n| n > 0)
        {}
    })
    .await;
    assert!(
        begun.elapsed() < Duration::from_secs(30),
        "it ran on for {:?}",
        begun.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_nobody_reads_ends_with_its_token() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/")).await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        .await;
    fill(&mut target).await;
    tunnel.gateway.revoke(&tunnel.subject);
    target.closed().await;
    // And so does the client's connection, behind what had been sent.
    client.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_stream_that_nobody_reads_ends_with_its_token() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    let request = h2client::request(&tunnel, Form::Host, "GET", "/")
        .body(empty())
        .unwrap();
    let (asked, mut target) = client.reach(request, &mut targets).await;
    target
        .send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
        .await;
    let mut unread = asked.await.unwrap().into_body();
    fill(&mut target).await;
    tunnel.gateway.revoke(&tunnel.subject);
    target.closed().await;
    while let Some(piece) = frame(&mut unread).await {
        if piece.is_err() {
            return;
        }
    }
    panic!("a cut body came to a proper end");
}

/// Sends until nobody has taken any for a while.
async fn fill(target: &mut Conn) {
    let block = vec![b'x'; 1024 * 1024];
    let pause = Duration::from_secs(2);
    let mut send = async || {
        let write = tokio::io::AsyncWriteExt::write_all(&mut target.io, &block);
        tokio::time::timeout(pause, write).await
    };
    while send().await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_streams_end_with_their_token_and_the_connection_lives() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let other = tunnel
        .gateway
        .user_token("other", "viewer", &tunnel.cluster.name, "tunnel:demo");
    let client = H2::connect(&tunnel, Form::Host).await;
    let mut bodies = Vec::new();
    for token in [&tunnel.token, &other] {
        let mut request = h2client::request(&tunnel, Form::Host, "GET", "/")
            .body(empty())
            .unwrap();
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
        let (asked, mut target) = client.reach(request, &mut targets).await;
        target
            .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        bodies.push((asked.await.unwrap().into_body(), target));
    }
    tunnel.gateway.revoke(&tunnel.subject);
    let (mut cut, mut cut_target) = bodies.remove(0);
    assert!(frame(&mut cut).await.expect("no proper end").is_err());
    cut_target.closed().await;
    let (mut kept, mut kept_target) = bodies.remove(0);
    kept_target.send_chunk("still here").await;
    let data = frame(&mut kept)
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    assert_eq!(data, "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_agent_is_disconnected_and_its_streams_end() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/")).await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.head().await;
    let listed: serde_json::Value =
        serde_json::from_str(&tunnel.gateway.cli(&["token", "list", "-o", "json"])).unwrap();
    let tokens = listed
        .as_array()
        .or_else(|| listed["tokens"].as_array())
        .unwrap();
    let mine = tokens.iter().find(|t| {
        t["kind"] == "agent"
            && t.to_string()
                .contains(&format!("\"{}\"", tunnel.cluster.id))
    });
    tunnel.gateway.cli(&[
        "token",
        "revoke",
        mine.expect("the agent's token")["id"].as_str().unwrap(),
    ]);
    let body = client.rest().await;
    assert!(!body.bytes.ends_with(b"0\r\n\r\n"));
    target.closed().await;
    until("the agent to say that it is refused", || {
        let log = tunnel.agent.process.output();
        if log.contains("agent refused") {
            Ok(())
        } else {
            Err(tunnel.agent.tail().to_string())
        }
    })
    .await;
    tunnel.ask_until(&tunnel.get("/"), 503).await;
}
