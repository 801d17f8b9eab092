//! Agents that lie: they harm nobody but their own cluster's users, and those
//! not by an answer that is another than it seems.

use crate::{
    fixture::{Client, Cluster, Tunnel, connect, demo, shared_gateway, until},
    liar::{Keep, Lie, data, frames, head, lie},
    origin::Origin,
    wire::{Answer, within},
};
use http::HeaderMap;
use pipeops_tunnel::wire::frame::Frame;
use std::time::Duration;

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
        let (host, port, token) = (
            self.cluster.host(),
            shared_gateway().addr.port(),
            &self.token,
        );
        format!(
            "{method} /demo/x HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
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
            assert!(
                answer.status() >= 500,
                "{:?}: {}",
                &garbage[..12],
                answer.head.first
            );
        }
        assert_others_unharmed(&other).await;
    }
}

/// Bytes that are no whole and lawful answer.
fn no_answers() -> Vec<(&'static str, Vec<u8>)> {
    let ok = || head(200, &[("content-length", "5")]);
    let open = || head(200, &[]);
    vec![
        ("unknown frame", vec![99, 0, 0, 0]),
        ("frame above the limit", vec![2, 0xff, 0xff, 0xff]),
        (
            "data above the limit",
            [frames(&[ok()]), vec![4, 0xff, 0xff, 0xff]].concat(),
        ),
        ("malformed head", vec![2, 0, 0, 3, 0, 200, 9]),
        ("data before the head", frames(&[data(b"hello")])),
        ("an end and no head", frames(&[Frame::End])),
        (
            "trailers and no head",
            frames(&[Frame::Trailers(HeaderMap::new())]),
        ),
        (
            "a switch that nobody asked for",
            frames(&[
                head(101, &[("upgrade", "x"), ("connection", "upgrade")]),
                data(b"raw"),
            ]),
        ),
        (
            "an interim response as the final one",
            frames(&[head(100, &[]), Frame::End]),
        ),
        (
            "another interim one",
            frames(&[head(103, &[("link", "</x>")]), Frame::End]),
        ),
        (
            "an end before the length",
            frames(&[ok(), data(b"hel"), Frame::End]),
        ),
        ("no end", frames(&[open(), data(b"hel")])),
        (
            "half a frame",
            [frames(&[open(), data(b"hel")]), vec![4, 0, 0, 9, b'x']].concat(),
        ),
        ("a second head", frames(&[open(), data(b"hel"), ok()])),
        ("nothing at all", Vec::new()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_is_an_error() {
    let origin = Origin::echo().await;
    let other = Tunnel::with(&[demo(&origin)]);
    let mut wrong = Vec::new();
    for (what, bytes) in no_answers() {
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
    assert!(
        wrong.is_empty(),
        "these look like whole answers:\n{}",
        wrong.join("\n")
    );
}

const FORGED: &[u8] = b"helloHTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Forged: yes\r\n\r\nforged";

/// Answers after whose end another seems to follow.
fn overlong_answers() -> Vec<(&'static str, Vec<u8>)> {
    let forged = || data(FORGED);
    let sized = || head(200, &[("content-length", "5")]);
    let answer = |fields: &[(&'static str, &'static str)]| {
        frames(&[head(200, fields), data(FORGED), Frame::End])
    };
    vec![
        (
            "more than the length",
            frames(&[sized(), forged(), Frame::End]),
        ),
        (
            "more after the end",
            frames(&[sized(), data(b"hello"), Frame::End, forged()]),
        ),
        (
            "two lengths",
            answer(&[("content-length", "5"), ("content-length", "6")]),
        ),
        (
            "a length that is none",
            answer(&[("content-length", "5, 5")]),
        ),
        (
            "chunks",
            frames(&[
                head(200, &[("transfer-encoding", "chunked")]),
                data(b"0\r\n\r\n"),
                forged(),
                Frame::End,
            ]),
        ),
        (
            "chunks and a length",
            answer(&[("transfer-encoding", "chunked"), ("content-length", "5")]),
        ),
        (
            "a body where none belongs",
            frames(&[head(204, &[]), forged(), Frame::End]),
        ),
        (
            "a body of what was not modified",
            frames(&[head(304, &[("content-length", "5")]), forged(), Frame::End]),
        ),
        (
            "an answer to nothing",
            [
                frames(&[head(200, &[]), data(b"hello"), Frame::End]),
                answer(&[]),
            ]
            .concat(),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_past_the_end_are_not_taken_for_another_answer() {
    for (what, bytes) in overlong_answers() {
        for method in ["GET", "HEAD"] {
            let victim = Victim::of(Lie::Stream(bytes.clone(), Keep::Open)).await;
            let mut client = victim.connect().await;
            for _ in 0..3 {
                if client.try_send(victim.request(method)).await.is_err() {
                    break;
                }
                let Ok(Some(head)) = client.try_head().await else {
                    break;
                };
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
    let victim = Victim::of(Lie::Stream(
        frames(&[head(200, &fields), data(b"hello"), Frame::End]),
        Keep::Open,
    ))
    .await;
    let mut client = victim.connect().await;
    for _ in 0..3 {
        let answer = client.ask(victim.request("GET")).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
        for name in [
            "strict-transport-security",
            "x-accel-redirect",
            "clear-site-data",
            "keep-alive",
            "upgrade",
            "connection",
        ] {
            assert!(!answer.head.has(name), "{name}: {:?}", answer.head.fields);
        }
        assert!(
            !answer
                .head
                .get("set-cookie")
                .unwrap_or_default()
                .to_lowercase()
                .contains("domain")
        );
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
        let gone = log
            .lines()
            .filter(|line| line.contains(&id) && line.contains("client_gone"))
            .count();
        if gone == 200 {
            Ok(())
        } else {
            Err(format!("{gone} of 200"))
        }
    })
    .await;
}
