//! Bodies in every framing, whole and unchanged.

use crate::{
    common::sum::{Seeded, Sum},
    fixture::{Form, Tunnel},
    origin::Origin,
    wire::{chunk, response},
};
use std::fmt::Write;

const MIB: u64 = 1024 * 1024;

/// The SHA-256 of these bytes in hex.
fn sum(bytes: &[u8]) -> String {
    Sum::of(bytes).hex()
}

/// A chunked body in pieces of many sizes.
fn chunked(bytes: &[u8]) -> Vec<u8> {
    let sizes = [1, 2, 100, 4095, 4096, 65_535, 65_537, 300_000];
    let (mut out, mut rest, mut sizes) = (Vec::new(), bytes, sizes.iter().cycle());
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        out.extend(chunk(now));
        rest = later;
    }
    out.extend(b"0\r\n\r\n");
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_download_arrives_whole_in_every_framing() {
    let data = Seeded::bytes(1, 64 * MIB);
    let wanted = sum(&data);
    let origin = Origin::raw(move |mut conn| {
        let data = data.clone();
        async move {
            while let Ok(Some(head)) = conn.try_head().await {
                match head.target() {
                    "/sized" => conn.send(response("200 OK", "", &data)).await,
                    "/chunked" => {
                        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                            .await;
                        conn.send(chunked(&data)).await;
                    }
                    _ => {
                        conn.send("HTTP/1.0 200 OK\r\n\r\n").await;
                        return conn.send(&data).await; // its end is the connection's
                    }
                }
            }
        }
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    for rest in ["/sized", "/chunked", "/closed"] {
        let answer = tunnel.ask(tunnel.get(rest)).await;
        assert_eq!(answer.status(), 200);
        assert!(
            answer.body.complete,
            "{rest} breaks off after {} bytes",
            answer.body.bytes.len()
        );
        assert_eq!(
            sum(&answer.body.bytes),
            wanted,
            "{rest}: {} bytes",
            answer.body.bytes.len()
        );
        let length = answer.head.get("content-length");
        assert_eq!(length.is_some(), rest == "/sized", "{rest}: {length:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_arrives_whole_in_every_framing() {
    let origin = Origin::answering(|_, body| response("200 OK", "", sum(&body.bytes))).await;
    let tunnel = Tunnel::to(&origin);
    let data = Seeded::bytes(2, 64 * MIB);
    let answer = tunnel.ask(tunnel.post("/sized", &data)).await;
    assert_eq!(answer.text(), sum(&data), "by Content-Length");
    let head = tunnel.head(
        Form::Host,
        "POST",
        "/chunked",
        "Transfer-Encoding: chunked\r\n",
    );
    let answer = tunnel
        .ask([head.as_bytes(), &chunked(&data)].concat())
        .await;
    assert_eq!(answer.text(), sum(&data), "by chunks");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_and_a_download_run_at_the_same_time() {
    let origin = Origin::raw(|mut conn| async move {
        let head = conn.head().await;
        assert!(head.has("transfer-encoding"));
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        while let Some(data) = conn.chunk().await {
            conn.send_chunk(data).await;
        }
        conn.send("0\r\n\r\n").await;
        conn.closed().await;
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    client
        .send(tunnel.head(Form::Host, "POST", "/", "Transfer-Encoding: chunked\r\n"))
        .await;
    assert_eq!(
        client.head().await.status(),
        200,
        "the answer begins before the request ends"
    );
    for n in 0..200 {
        let data = Seeded::bytes(n, 1 + n * 37);
        client.send_chunk(&data).await;
        let mut back = Vec::new();
        while back.len() < data.len() {
            back.extend(client.chunk().await.expect("an echo"));
        }
        assert_eq!(back, data);
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways() {
    let origin = Origin::raw(|mut conn| async move {
        while let Ok(Some(head)) = conn.try_head().await {
            let body = conn.request_body(&head).await;
            let got = format!("{:?} {}", body.trailers, body.complete);
            let fields = "Transfer-Encoding: chunked\r\nTrailer: X-Sum, X-Other\r\n";
            let trailers = "X-Sum: down\r\nX-Other: o\r\nContent-Length: 3\r\nSet-Cookie: a=b\r\n";
            conn.send(format!(
                "HTTP/1.1 200 OK\r\n{fields}\r\n{:x}\r\n{got}\r\n0\r\n{trailers}\r\n",
                got.len()
            ))
            .await;
        }
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let fields =
        "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\nTE: trailers\r\nConnection: TE\r\n";
    let head = tunnel.head(Form::Host, "POST", "/", fields);
    let body =
        "5\r\nhello\r\n0\r\nX-Sum: up\r\nAuthorization: Bearer x\r\nImpersonate-User: x\r\n\r\n";
    let mut client = tunnel.connect(Form::Host).await;
    for _ in 0..3 {
        let answer = client.ask(format!("{head}{body}")).await;
        assert!(answer.body.complete);
        assert_eq!(
            answer.text(),
            "[(\"x-sum\", \"up\")] true",
            "what the target saw"
        );
        let mut trailers = answer.body.trailers;
        trailers.sort();
        let wanted =
            [("x-other", "o"), ("x-sum", "down")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(trailers, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_not_touched() {
    // Not even valid: whoever decodes it fails.
    let blob = [&b"\x1f\x8b\x08"[..], &Seeded::bytes(3, 5000)].concat();
    let send = blob.clone();
    let origin = Origin::answering(move |head, body| {
        let mut all = send.clone();
        all.extend(&body.bytes);
        let accepts = head.get("accept-encoding").unwrap_or("nothing");
        response(
            "200 OK",
            &format!("Content-Encoding: gzip\r\nVary: Accept-Encoding\r\nX-Accepts: {accepts}\r\n"),
            all,
        )
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    for accepts in ["", "Accept-Encoding: gzip;q=0.5, br, zstd\r\n"] {
        let fields = format!(
            "Content-Encoding: gzip\r\n{accepts}Content-Length: {}\r\n",
            blob.len()
        );
        let head = tunnel.head(Form::Host, "POST", "/", &fields);
        let answer = tunnel.ask([head.as_bytes(), &blob].concat()).await;
        assert_eq!(answer.head.get("content-encoding"), Some("gzip"));
        let wanted = if accepts.is_empty() {
            "nothing"
        } else {
            "gzip;q=0.5, br, zstd"
        };
        assert_eq!(answer.head.get("x-accepts"), Some(wanted));
        assert_eq!(answer.body.bytes, [&blob[..], &blob].concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_without_a_body_leave_the_connection_usable() {
    let origin = Origin::answering(|head, _| match head.target() {
        "/204" => b"HTTP/1.1 204 No Content\r\nX-Is: 204\r\n\r\n".to_vec(),
        "/304" => b"HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n".to_vec(),
        "/304-sized" => {
            b"HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nContent-Length: 77\r\n\r\n".to_vec()
        }
        "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nETag: \"h\"\r\n\r\n".to_vec(),
        "/head-chunked" => {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: \"h\"\r\n\r\n".to_vec()
        }
        _ => response("200 OK", "", "body"),
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    for round in 0..3 {
        for (method, rest, status) in [
            ("GET", "/204", 204),
            ("DELETE", "/204", 204),
            ("GET", "/304", 304),
            ("GET", "/304-sized", 304),
            ("HEAD", "/head", 200),
            ("HEAD", "/head-chunked", 200),
            ("HEAD", "/204", 204),
            ("GET", "/body", 200),
        ] {
            let answer = client.ask(tunnel.head(Form::Host, method, rest, "")).await;
            assert_eq!(answer.status(), status, "{round} {method} {rest}");
            assert_eq!(
                answer.body.bytes.is_empty(),
                rest != "/body",
                "{round} {method} {rest}"
            );
            if rest == "/head" {
                assert_eq!(
                    answer.head.get("content-length"),
                    Some("12345"),
                    "the length that GET would have"
                );
            }
            if status == 204 {
                assert!(
                    !answer.head.has("content-length") && !answer.head.has("transfer-encoding")
                );
            }
        }
    }
    assert!(
        origin.connections() <= 4,
        "{} connections to the target for 24 requests",
        origin.connections()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_responses_of_a_target_do_not_break_the_final_one() {
    let origin = Origin::answering(|head, _| {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
        let interim = match head.target() {
            "/one" => hints.to_owned(),
            "/many" => format!("HTTP/1.1 102 Processing\r\n\r\n{}", hints.repeat(20)),
            _ => "HTTP/1.1 100 Continue\r\n\r\n".to_owned(), // unasked
        };
        [
            interim.as_bytes(),
            &response("200 OK", "X-Final: yes\r\n", "final"),
        ]
        .concat()
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    for rest in ["/one", "/many", "/continue", "/one"] {
        let answer = client.ask(tunnel.get(rest)).await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "final"),
            "{rest}"
        );
        assert_eq!(answer.head.get("x-final"), Some("yes"), "{rest}");
        let answer = client.ask(tunnel.post(rest, "x")).await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "final"),
            "POST {rest}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_writes_arrive_as_one_body() {
    let origin = Origin::raw(|mut conn| async move {
        while let Ok(Some(_)) = conn.try_head().await {
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            for n in 0..5_000 {
                conn.send_chunk(format!("{n},")).await;
            }
            conn.send("0\r\n\r\n").await;
        }
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let wanted = (0..5_000).fold(String::new(), |mut all, n| {
        write!(all, "{n},").unwrap();
        all
    });
    assert_eq!(tunnel.ask(tunnel.get("/")).await.text(), wanted);
}
