//! Agents that lie: they harm nobody but their own cluster's users, and those
//! not by an answer that is another than it seems.

use crate::{
    common::gateway::Gateway,
    fixture::{Client, Cluster, Tunnel, connect, demo, shared_gateway, until},
    origin::Origin,
    wire::{Answer, within},
};
use bytes::BytesMut;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt, future::poll_fn};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pipeops_tunnel::wire::{frame::Frame, head::ResponseHead};
use std::{io::Cursor, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use tokio_util::compat::TokioAsyncReadCompatExt;

/// What a lying agent does.
#[derive(Debug, Clone)]
enum Lie {
    /// Sends these bytes where a session should begin.
    Carrier(Vec<u8>),
    /// Answers each request with these bytes, and keeps the stream or ends it.
    Stream(Vec<u8>, Keep),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Open,
    Ended,
}

/// Connects as this cluster's agent, and lies until the test ends.
async fn lie(gateway: &'static Gateway, cluster: &Cluster, lie: Lie) {
    let token = gateway.agent_token(&cluster.name, &cluster.id);
    let url = format!("wss://localhost:{}/v1/agent/connect", gateway.addr.port());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (_, stream) = connect(gateway, "localhost").await.into_parts();
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    let lie = Arc::new(lie);
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else { continue };
            let message: serde_json::Value = serde_json::from_str(&text).unwrap();
            if message["type"] == "open_carrier" {
                let ticket = message["payload"]["ticket"].as_str().unwrap().to_owned();
                tokio::spawn(carrier(gateway, ticket, Arc::clone(&lie)));
            }
        }
    });
}

async fn carrier(gateway: &'static Gateway, ticket: String, lie: Arc<Lie>) {
    let mut client = connect(gateway, "localhost").await;
    let host = format!("localhost:{}", gateway.addr.port());
    let asks = "Connection: Upgrade\r\nUpgrade: pipeops-mux\r\n";
    client.send(format!("GET /v1/agent/carrier HTTP/1.1\r\nHost: {host}\r\n{asks}Authorization: Bearer {ticket}\r\n\r\n")).await;
    assert_eq!(client.head().await.status(), 101);
    let (early, mut stream) = client.into_parts();
    let (bytes, keep) = match &*lie {
        Lie::Carrier(bytes) => {
            drop(stream.write_all(bytes).await);
            drop(stream.read_to_end(&mut Vec::new()).await);
            return;
        }
        Lie::Stream(bytes, keep) => (bytes.clone(), *keep),
    };
    let (read, write) = tokio::io::split(stream);
    let io = tokio::io::join(Cursor::new(early).chain(read), write).compat();
    let mut session = yamux::Connection::new(io, yamux::Config::default(), yamux::Mode::Client);
    while let Some(Ok(mut stream)) = poll_fn(|cx| session.poll_next_inbound(cx)).await {
        let bytes = bytes.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                drop(stream.write_all(&bytes).await);
                drop(stream.flush().await);
                if keep == Keep::Ended {
                    drop(stream.close().await);
                    return;
                }
            }
        });
    }
}

/// The bytes of a response with these fields.
fn head(status: u16, fields: &[(&'static str, &'static str)]) -> Frame {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Frame::Response(Box::new(ResponseHead { status: StatusCode::from_u16(status).unwrap(), headers }))
}

fn data(bytes: &'static [u8]) -> Frame {
    Frame::Data(bytes.into())
}

fn frames(frames: &[Frame]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for frame in frames {
        frame.encode(&mut out).unwrap();
    }
    out.to_vec()
}

/// A user of the lying agent's cluster.
struct Victim {
    cluster: Cluster,
    token: String,
}

impl Victim {
    async fn of(what: Lie) -> Self {
        let gateway = shared_gateway();
        let cluster = Cluster::new();
        lie(gateway, &cluster, what).await;
        let token = gateway.user_token("victim", "viewer", &cluster.name, "tunnel:demo");
        Self { cluster, token }
    }

    async fn connect(&self) -> Client {
        connect(shared_gateway(), &self.cluster.host()).await
    }

    fn request(&self, method: &str) -> String {
        let (host, port, token) = (self.cluster.host(), shared_gateway().addr.port(), &self.token);
        format!("{method} /demo/x HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n\r\n")
    }

    /// What is answered, with the body as far as it comes; `None` if nothing is.
    async fn ask(&self, method: &str) -> Option<Answer> {
        let mut client = self.connect().await;
        client.send(self.request(method)).await;
        let head = client.try_head().await.ok().flatten()?;
        let body = client.response_body(&head, method).await;
        Some(Answer { head, body })
    }
}

/// Somebody else is served, by the same gateway.
async fn assert_others_unharmed(tunnel: &Tunnel) {
    let answer = tunnel.ask(tunnel.post("/", "unharmed")).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "unharmed"));
    let log = tunnel.gateway.process.output();
    assert!(!log.contains("panicked"), "{}", tunnel.gateway.tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_carries_garbage_ends_and_harms_nobody_else() {
    let origin = Origin::echo().await;
    let other = Tunnel::with(&[demo(&origin)]);
    for garbage in [
        crate::common::sum::Seeded::bytes(4, 100_000),
        vec![0; 100_000],
        vec![0xff; 12],
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        // A frame for a stream that nobody has, with 4 GiB to come.
        vec![0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff],
        // A window of 4 GiB for the session itself.
        vec![0, 1, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
    ] {
        let victim = Victim::of(Lie::Carrier(garbage.clone())).await;
        // Its own users may wait for ever, as with one that does not answer.
        let answer = tokio::time::timeout(Duration::from_secs(8), victim.ask("GET")).await;
        if let Ok(Some(answer)) = answer {
            assert!(answer.status() >= 500, "{:?}: {}", &garbage[..12], answer.head.first);
        }
        assert_others_unharmed(&other).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_is_an_error() {
    let origin = Origin::echo().await;
    let other = Tunnel::with(&[demo(&origin)]);
    let ok = || head(200, &[("content-length", "5")]);
    let mut wrong = Vec::new();
    for (what, bytes) in [
        ("unknown frame", vec![99, 0, 0, 0]),
        ("frame above the limit", vec![2, 0xff, 0xff, 0xff]),
        ("data above the limit", [frames(&[ok()]), vec![4, 0xff, 0xff, 0xff]].concat()),
        ("malformed head", vec![2, 0, 0, 3, 0, 200, 9]),
        ("data before the head", frames(&[data(b"hello")])),
        ("an end and no head", frames(&[Frame::End])),
        ("trailers and no head", frames(&[Frame::Trailers(HeaderMap::new())])),
        ("a switch that nobody asked for", frames(&[head(101, &[("upgrade", "x"), ("connection", "upgrade")]), data(b"raw")])),
        ("an interim response as the final one", frames(&[head(100, &[]), Frame::End])),
        ("another interim one", frames(&[head(103, &[("link", "</x>")]), Frame::End])),
        ("an end before the length", frames(&[ok(), data(b"hel"), Frame::End])),
        ("no end", frames(&[head(200, &[]), data(b"hel")])),
        ("half a frame", [frames(&[head(200, &[]), data(b"hel")]), vec![4, 0, 0, 9, b'x']].concat()),
        ("a second head", frames(&[head(200, &[]), data(b"hel"), ok()])),
        ("nothing at all", Vec::new()),
    ] {
        let victim = Victim::of(Lie::Stream(bytes, Keep::Ended)).await;
        let answer = within(what, victim.ask("GET")).await;
        if let Some(answer) = answer
            && answer.status() < 500
            && answer.body.complete
        {
            wrong.push(format!("{what}: {} {:?}", answer.head.first, answer.text()));
        }
        assert_others_unharmed(&other).await;
    }
    assert!(wrong.is_empty(), "these look like whole answers:\n{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_past_the_end_are_not_taken_for_another_answer() {
    const FORGED: &[u8] = b"helloHTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Forged: yes\r\n\r\nforged";
    let forged = || data(FORGED);
    for (what, bytes) in [
        ("more than the length", frames(&[head(200, &[("content-length", "5")]), forged(), Frame::End])),
        ("more after the end", frames(&[head(200, &[("content-length", "5")]), data(b"hello"), Frame::End, forged()])),
        ("two lengths", frames(&[head(200, &[("content-length", "5"), ("content-length", "6")]), forged(), Frame::End])),
        ("a length that is none", frames(&[head(200, &[("content-length", "5, 5")]), forged(), Frame::End])),
        ("chunks", frames(&[head(200, &[("transfer-encoding", "chunked")]), data(b"0\r\n\r\n"), forged(), Frame::End])),
        ("chunks and a length", frames(&[head(200, &[("transfer-encoding", "chunked"), ("content-length", "5")]), forged(), Frame::End])),
        ("a body where none belongs", frames(&[head(204, &[]), forged(), Frame::End])),
        ("a body of what was not modified", frames(&[head(304, &[("content-length", "5")]), forged(), Frame::End])),
        ("an answer to nothing", [frames(&[head(200, &[]), data(b"hello"), Frame::End]), frames(&[head(200, &[]), forged(), Frame::End])].concat()),
    ] {
        for method in ["GET", "HEAD"] {
            let victim = Victim::of(Lie::Stream(bytes.clone(), Keep::Open)).await;
            let mut client = victim.connect().await;
            for _ in 0..3 {
                if client.try_send(victim.request(method)).await.is_err() {
                    break;
                }
                let Ok(Some(head)) = client.try_head().await else { break };
                assert!(!head.has("x-forged"), "{what} to {method}: a forged answer");
                let body = client.response_body(&head, method).await;
                if !body.complete {
                    break;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_does_not_rely_on_the_agent_to_clean_a_response() {
    let fields = [
        ("set-cookie", "a=b; Domain=pipeops.localhost"),
        ("strict-transport-security", "max-age=1"),
        ("x-accel-redirect", "/secret"),
        ("clear-site-data", "*"),
        ("connection", "close, x-custom"),
        ("keep-alive", "timeout=1"),
        ("upgrade", "h2c"),
        ("x-request-id", "forged"),
        ("x-custom", "1"),
    ];
    let victim = Victim::of(Lie::Stream(frames(&[head(200, &fields), data(b"hello"), Frame::End]), Keep::Open)).await;
    let mut client = victim.connect().await;
    for _ in 0..3 {
        let answer = client.ask(victim.request("GET")).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
        for name in ["strict-transport-security", "x-accel-redirect", "clear-site-data", "keep-alive", "upgrade", "connection"] {
            assert!(!answer.head.has(name), "{name}: {:?}", answer.head.fields);
        }
        assert!(!answer.head.get("set-cookie").unwrap_or_default().to_lowercase().contains("domain"));
        assert_ne!(answer.head.get("x-request-id"), Some("forged"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_never_answers_holds_only_its_own_users() {
    let origin = Origin::echo().await;
    let other = Tunnel::with(&[demo(&origin)]);
    let victim = Victim::of(Lie::Stream(Vec::new(), Keep::Open)).await;
    let mut held = Vec::new();
    for _ in 0..200 {
        let mut client = victim.connect().await;
        client.send(victim.request("GET")).await;
        held.push(client);
    }
    for _ in 0..20 {
        assert_others_unharmed(&other).await;
    }
    drop(held);
    let id = format!("\"{}\"", victim.cluster.id);
    until("all of them to be let go", || {
        let log = other.gateway.process.output();
        let gone = log.lines().filter(|line| line.contains(&id) && line.contains("client_gone")).count();
        if gone == 200 { Ok(()) } else { Err(format!("{gone} of 200")) }
    })
    .await;
}
