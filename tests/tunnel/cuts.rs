//! Whoever breaks off, the others hear of it: no short body looks complete, and
//! nobody works for a client that has gone.

use crate::{
    common::{gateway::Gateway, sum::Seeded},
    fixture::{Form, Tunnel, demo, sockets_to, until},
    h2client::{self, H2, channel, empty, frame},
    origin::{Conn, Origin},
    wire::{Body, response, within},
};
use bytes::Bytes;
use hyper::body::Frame;

/// The ways in which a target may frame the body that it does not finish.
const FRAMINGS: [(&str, &str); 3] = [
    (
        "sized",
        "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
    ),
    (
        "chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    ("closed", "HTTP/1.0 200 OK\r\n\r\n"),
];

const PART: usize = 5000;

/// Sends a head and the first part of a body.
async fn begin(target: &mut Conn, framing: &str) {
    let (_, head) = FRAMINGS.iter().find(|(name, _)| *name == framing).unwrap();
    target.send(head).await;
    let part = Seeded::bytes(1, PART as u64);
    if framing == "chunked" {
        target.send_chunk(&part).await;
    } else {
        target.send(&part).await;
    }
}

/// Ends a connection so that a body without any framing does not end well.
fn reset(target: Conn) {
    let (_, stream) = target.into_parts();
    socket2::SockRef::from(&stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
}

fn assert_cut(framing: &str, body: &Body) {
    assert!(
        !body.complete,
        "{framing}: {} bytes look like a whole body",
        body.bytes.len()
    );
    // What was on its way may be lost with the connection.
    let part = Seeded::bytes(1, PART as u64);
    assert!(part.starts_with(&body.bytes), "{framing}: other bytes");
}

/// Has `end` break off a download in each framing, and looks at what the client sees.
async fn breaks_off(end: impl AsyncFn(&Tunnel, Conn)) {
    for (framing, _) in FRAMINGS {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let (origin, mut targets) = Origin::accepting().await;
            let tunnel = Tunnel::to(&origin);
            let mut client = tunnel.connect(Form::Host).await;
            client
                .send(tunnel.get("/").replace("HTTP/1.1", version))
                .await;
            let mut target = targets.next().await;
            target.head().await;
            begin(&mut target, framing).await;
            let head = client.head().await;
            assert_eq!(head.status(), 200);
            end(&tunnel, target).await;
            let body = client.response_body(&head, "GET").await;
            assert_cut(&format!("{framing} to {version}"), &body);
        }
    }
}

/// The same for a client of HTTP/2.
async fn breaks_off_http2(end: impl AsyncFn(&Tunnel, Conn)) {
    for (framing, _) in FRAMINGS {
        let (origin, mut targets) = Origin::accepting().await;
        let tunnel = Tunnel::to(&origin);
        let client = H2::connect(&tunnel, Form::Host).await;
        let request = h2client::request(&tunnel, Form::Host, "GET", "/")
            .body(empty())
            .unwrap();
        let (asked, mut target) = client.reach(request, &mut targets).await;
        begin(&mut target, framing).await;
        let mut body = asked.await.unwrap().into_body();
        end(&tunnel, target).await;
        let mut got = Vec::new();
        let complete = loop {
            match frame(&mut body).await {
                Some(Ok(frame)) => got.extend(frame.into_data().unwrap_or_default()),
                Some(Err(_)) => break false,
                None => break true,
            }
        };
        assert_cut(
            framing,
            &Body {
                bytes: got,
                complete,
                ..Body::default()
            },
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_breaks_off_gives_no_body_that_looks_complete() {
    breaks_off(async |_, target| reset(target)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_breaks_off_gives_no_body_that_looks_complete_to_http2() {
    breaks_off_http2(async |_, target| reset(target)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_gives_no_body_that_looks_complete() {
    breaks_off(async |tunnel, target| {
        tunnel.agent.process.signal("KILL");
        drop(target);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_gives_no_body_that_looks_complete_to_http2() {
    breaks_off_http2(async |tunnel, target| {
        tunnel.agent.process.signal("KILL");
        drop(target);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_ends_early_in_good_order_is_seen_as_cut_too() {
    for framing in ["sized", "chunked"] {
        let (origin, mut targets) = Origin::accepting().await;
        let tunnel = Tunnel::to(&origin);
        let mut client = tunnel.connect(Form::Host).await;
        client.send(tunnel.get("/")).await;
        let mut target = targets.next().await;
        target.head().await;
        begin(&mut target, framing).await;
        drop(target);
        // The end may overtake the beginning: then there is no answer at all.
        if let Ok(Some(head)) = client.try_head().await
            && head.status() == 200
        {
            let body = client.response_body(&head, "GET").await;
            assert!(
                !body.complete,
                "{framing}: {} bytes look like a whole body",
                body.bytes.len()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_a_download_ends_it_at_the_target() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/")).await;
    let mut target = targets.next().await;
    target.head().await;
    begin(&mut target, "chunked").await;
    client.head().await;
    client.chunk().await;
    drop(client);
    target.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_resets_one_http2_stream_ends_it_at_the_target() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    let get = || {
        h2client::request(&tunnel, Form::Host, "GET", "/")
            .body(empty())
            .unwrap()
    };
    let (first, second) = (get(), get());
    let asking = client.clone();
    let asked = tokio::spawn(async move { asking.ok(first).await });
    let mut target = targets.next().await;
    target.head().await;
    begin(&mut target, "chunked").await;
    drop(asked.await.unwrap());
    target.closed().await;
    let asked = tokio::spawn(async move { client.ok(second).await });
    let mut target = targets.next().await;
    target.head().await;
    target.send(response("200 OK", "", "")).await;
    asked.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_wait_for_the_answer_ends_the_request_at_the_target() {
    for rest in ["/", "/again"] {
        let (origin, mut targets) = Origin::accepting().await;
        let tunnel = Tunnel::to(&origin);
        let mut client = tunnel.connect(Form::Host).await;
        client
            .send(if rest == "/" {
                tunnel.get(rest).into_bytes()
            } else {
                tunnel.post(rest, "body")
            })
            .await;
        let mut target = targets.next().await;
        let head = target.head().await;
        target.request_body(&head).await;
        drop(client);
        target.closed().await;
        let answer = {
            let asked = tokio::spawn({
                let (mut client, get) = (tunnel.connect(Form::Host).await, tunnel.get("/next"));
                async move { client.ask(get).await }
            });
            let mut target = targets.next().await;
            target.head().await;
            target.send(response("200 OK", "", "next")).await;
            asked.await.unwrap()
        };
        assert_eq!(answer.text(), "next");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_does_not_look_complete_at_the_target() {
    for fields in [
        "Content-Length: 1000000\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let (origin, mut targets) = Origin::accepting().await;
        let tunnel = Tunnel::to(&origin);
        let mut client = tunnel.connect(Form::Host).await;
        client
            .send(tunnel.head(Form::Host, "POST", "/", fields))
            .await;
        let part = Seeded::bytes(1, PART as u64);
        if fields.contains("chunked") {
            client.send_chunk(&part).await;
        } else {
            client.send(&part).await;
        }
        let mut target = targets.next().await;
        let head = target.head().await;
        drop(client);
        assert_cut(fields, &target.request_body(&head).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_over_http2_that_breaks_off_does_not_look_complete_at_the_target() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    let (parts, body) = channel();
    let request = h2client::request(&tunnel, Form::Host, "POST", "/")
        .body(body)
        .unwrap();
    let asked = tokio::spawn(async move { client.send(request).await });
    let part = Seeded::bytes(1, PART as u64);
    parts.send(Frame::data(Bytes::from(part))).await.unwrap();
    let mut target = targets.next().await;
    let head = target.head().await;
    asked.abort(); // resets the stream, and so does not end it
    drop(asked.await);
    let body = target.request_body(&head).await;
    assert!(
        !body.complete,
        "{} bytes look like a whole body",
        body.bytes.len()
    );
    drop(parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_its_target_does_not_read_ends_with_its_client() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    client
        .send(tunnel.head(Form::Host, "POST", "/", "Content-Length: 1000000000\r\n"))
        .await;
    let mut target = targets.next().await;
    target.head().await;
    let block = Seeded::bytes(1, 1024 * 1024);
    // Until every buffer on the way is full.
    let second = std::time::Duration::from_secs(2);
    while tokio::time::timeout(
        second,
        tokio::io::AsyncWriteExt::write_all(&mut client.io, &block),
    )
    .await
    .is_ok()
    {}
    let pid = tunnel.agent.process.pid();
    assert_eq!(sockets_to(pid, origin.addr), 1);
    drop(client);
    until("the agent to let go of the target", || {
        match sockets_to(pid, origin.addr) {
            0 => Ok(()),
            n => Err(format!("{n} sockets are open")),
        }
    })
    .await;
    assert!(!target.rest().await.complete || origin.seen().len() < 1_000_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_hundred_clients_that_went() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let mut held = Vec::new();
    for n in 0..100 {
        let mut client = tunnel.connect(Form::Host).await;
        client.send(tunnel.get("/")).await;
        let mut target = targets.next().await;
        target.head().await;
        if n % 2 == 0 {
            begin(&mut target, "chunked").await;
            client.head().await;
        }
        held.push((client, target));
    }
    let (clients, held): (Vec<_>, Vec<_>) = held.into_iter().unzip();
    drop(clients);
    for mut target in held {
        within("the target's connection to close", target.closed()).await;
    }
    let pid = tunnel.agent.process.pid();
    until("the agent to let go of the target", || {
        match sockets_to(pid, origin.addr) {
            0 => Ok(()),
            n => Err(format!("{n} sockets are open")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_keeps_no_descriptor_of_clients_that_went() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::own(Gateway::start(), &[demo(&origin)]);
    let pid = tunnel.gateway.process.pid();
    let open = || {
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count()
    };
    let ask = async |count: usize| {
        let mut held = Vec::new();
        for _ in 0..count {
            let mut client = tunnel.connect(Form::Host).await;
            assert_eq!(client.ask(tunnel.post("/", "x")).await.status(), 200);
            held.push(client);
        }
    };
    ask(20).await; // what it opens once it keeps
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let before = open();
    for _ in 0..5 {
        ask(100).await;
    }
    until("its descriptors to be as many as before", || match open() {
        now if now <= before => Ok(()),
        now => Err(format!("{now} where {before} were")),
    })
    .await;
}
