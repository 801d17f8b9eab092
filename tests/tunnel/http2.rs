//! HTTP/2 from the client, HTTP/1.1 to the target.

use crate::{
    common::sum::{Seeded, Sum},
    fixture::{FORMS, Form, Tunnel, sockets_to, until},
    h2client::{self, H2, channel, empty, frame, full},
    origin::Origin,
    wire::{response, within},
};
use bytes::Bytes;
use http::HeaderMap;
use hyper::body::Frame;
use std::io::Write;

const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_at_once_carry_large_bodies_both_ways() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    let asked: Vec<_> = (0..100)
        .map(|n| {
            let data = Seeded::bytes(n, MIB + n);
            let request = h2client::request(&tunnel, Form::Host, "POST", &format!("/{n}"));
            let request = request.body(full(data.clone())).unwrap();
            let client = client.clone();
            tokio::spawn(async move {
                let response = client.ok(request).await;
                let (body, _) = h2client::whole(response.into_body()).await;
                assert!(
                    body == data,
                    "stream {n}: {} bytes of {}",
                    body.len(),
                    data.len()
                );
            })
        })
        .collect();
    for one in asked {
        one.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_are_really_open_at_once() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Path).await;
    let asked: Vec<_> = (0..100)
        .map(|n| {
            let request = h2client::request(&tunnel, Form::Path, "GET", &format!("/{n}"))
                .body(empty())
                .unwrap();
            let client = client.clone();
            tokio::spawn(async move {
                h2client::whole(client.ok(request).await.into_body())
                    .await
                    .0
            })
        })
        .collect();
    let mut held = Vec::new();
    while held.len() < 100 {
        let mut target = targets.next().await;
        let head = target.head().await;
        held.push((target, head));
    }
    for (target, head) in held.iter_mut().rev() {
        target.send(response("200 OK", "", head.target())).await;
    }
    for (n, one) in asked.into_iter().enumerate() {
        assert_eq!(one.await.unwrap(), format!("/{n}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_read_does_not_stall_the_others() {
    let origin = Origin::answering(|head, _| {
        let size = if head.target() == "/big" {
            64 * MIB
        } else {
            3 * MIB
        };
        response("200 OK", "", Seeded::bytes(7, size))
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::with(&tunnel, Form::Host, |builder| {
        builder
            .initial_stream_window_size(64 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024);
    })
    .await;
    let get = |rest| {
        h2client::request(&tunnel, Form::Host, "GET", rest)
            .body(empty())
            .unwrap()
    };
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut body = client.ok(get("/big")).await.into_body();
        frame(&mut body).await.expect("a first part").unwrap();
        stalled.push(body);
    }
    for _ in 0..10 {
        let (body, _) = h2client::whole(client.ok(get("/small")).await.into_body()).await;
        assert!(body == Seeded::bytes(7, 3 * MIB));
    }
    let mut rest = Sum::default();
    let mut body = stalled.pop().unwrap();
    while let Some(part) = frame(&mut body).await {
        rest.write_all(&part.unwrap().into_data().unwrap()).unwrap();
    }
    assert!(
        rest.len > 60 * MIB,
        "the stalled stream goes on: {} bytes",
        rest.len
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_not_taken_does_not_stall_the_others() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    let (parts, body) = channel();
    let request = h2client::request(&tunnel, Form::Host, "POST", "/stalls")
        .body(body)
        .unwrap();
    let sending = client.clone();
    let stalled = tokio::spawn(async move { sending.send(request).await });
    let block = Bytes::from(Seeded::bytes(1, MIB));
    parts.send(Frame::data(block.clone())).await.unwrap();
    let mut target = targets.next().await;
    target.head().await;
    let pause = std::time::Duration::from_secs(2);
    let mut sent = 1;
    while tokio::time::timeout(pause, parts.send(Frame::data(block.clone())))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(
            sent < 64,
            "{sent} MiB were taken for a target that reads nothing"
        );
    }
    for n in 0..20 {
        let request = h2client::request(&tunnel, Form::Host, "POST", "/runs");
        let request = request.body(full(Seeded::bytes(n, 100_000))).unwrap();
        let asking = client.clone();
        let asked = tokio::spawn(async move { asking.ok(request).await });
        let mut other = targets.next().await;
        let head = other.head().await;
        let body = other.request_body(&head).await;
        assert!(body.complete && body.bytes == Seeded::bytes(n, 100_000));
        other
            .send(response("200 OK", "Connection: close\r\n", ""))
            .await;
        asked.await.unwrap();
    }
    stalled.abort();
    drop(parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways() {
    let origin = Origin::answering(|_, body| {
        let got = format!("{:?} {}", body.trailers, body.complete);
        let fields = "Transfer-Encoding: chunked\r\nTrailer: X-Sum, grpc-status\r\n";
        let trailers = "X-Sum: down\r\ngrpc-status: 0\r\n";
        format!(
            "HTTP/1.1 200 OK\r\n{fields}\r\n{:x}\r\n{got}\r\n0\r\n{trailers}\r\n",
            got.len()
        )
        .into_bytes()
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    let (parts, body) = channel();
    let request = h2client::request(&tunnel, Form::Host, "POST", "/")
        .header("te", "trailers")
        .header("trailer", "x-sum");
    let asking = client.clone();
    let request = request.body(body).unwrap();
    let asked = tokio::spawn(async move { asking.ok(request).await });
    parts
        .send(Frame::data(Bytes::from_static(b"hello")))
        .await
        .unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "up".parse().unwrap());
    parts.send(Frame::trailers(trailers)).await.unwrap();
    drop(parts);
    let (body, trailers) = h2client::whole(asked.await.unwrap().into_body()).await;
    assert_eq!(body, "[(\"x-sum\", \"up\")] true", "what the target saw");
    let trailers = trailers.expect("trailers");
    assert_eq!(
        (&trailers["x-sum"], &trailers["grpc-status"]),
        (&"down".parse().unwrap(), &"0".parse().unwrap())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodyless_responses_leave_the_stream_and_its_neighbours_well() {
    let origin = Origin::answering(|head, _| match head.target() {
        "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        "/304" => b"HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\n\r\n".to_vec(),
        "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n".to_vec(),
        _ => response("200 OK", "", "body"),
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    for form in FORMS {
        let client = H2::connect(&tunnel, form).await;
        for (method, rest, status, length) in [
            ("GET", "/204", 204, 0),
            ("GET", "/304", 304, 0),
            ("HEAD", "/head", 200, 0),
            ("GET", "/", 200, 4),
        ] {
            let request = h2client::request(&tunnel, form, method, rest)
                .body(empty())
                .unwrap();
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status(), status, "{method} {rest}");
            if method == "HEAD" {
                assert_eq!(response.headers()["content-length"], "12345");
            }
            assert_eq!(h2client::whole(response.into_body()).await.0.len(), length);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_pass_on_one_http2_connection() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    let lanes: Vec<_> = (0..20)
        .map(|lane| {
            let requests: Vec<_> = (0..500)
                .map(|n| {
                    let body = format!("{lane} {n}");
                    let request = h2client::request(&tunnel, Form::Host, "POST", "/");
                    (request.body(full(body.clone())).unwrap(), body)
                })
                .collect();
            let client = client.clone();
            tokio::spawn(async move {
                for (request, body) in requests {
                    let response = client.ok(request).await;
                    assert_eq!(h2client::whole(response.into_body()).await.0, body);
                }
            })
        })
        .collect();
    for lane in lanes {
        lane.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_above_the_cap_is_answered_431_and_the_connection_lives() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    // A client that does not keep to the server's limit would be refused by its own library.
    let client = H2::with(&tunnel, Form::Host, |builder| {
        builder.max_send_buf_size(1024 * 1024);
    })
    .await;
    let request =
        h2client::request(&tunnel, Form::Host, "GET", "/").header("x-long", "v".repeat(50 * 1024));
    client.ok(request.body(empty()).unwrap()).await;
    let request =
        h2client::request(&tunnel, Form::Host, "GET", "/").header("x-long", "w".repeat(70 * 1024));
    match client.send(request.body(empty()).unwrap()).await {
        Ok(response) => assert_eq!(response.status(), 431),
        Err(error) => assert!(
            error.is_user() || format!("{error:?}").contains("header"),
            "{error:?}"
        ),
    }
    let request = h2client::request(&tunnel, Form::Host, "GET", "/")
        .body(empty())
        .unwrap();
    client.ok(request).await;
    assert!(!origin.saw("www"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_with_all_its_streams_frees_the_targets() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    let asked: Vec<_> = (0..20)
        .map(|n| {
            let request = h2client::request(&tunnel, Form::Host, "GET", &format!("/{n}"))
                .body(empty())
                .unwrap();
            let client = client.clone();
            tokio::spawn(async move { drop(client.send(request).await) })
        })
        .collect();
    drop(client);
    let mut held = Vec::new();
    while held.len() < 20 {
        let mut target = targets.next().await;
        target.head().await;
        held.push(target);
    }
    asked.iter().for_each(tokio::task::JoinHandle::abort);
    for mut target in held {
        within("the target's connection to close", target.closed()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_not_the_bodys_reaches_no_target_as_a_whole() {
    let origin =
        Origin::answering(|head, _| response("200 OK", "", format!("whole {}", head.target())))
            .await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    for (length, body) in [
        ("5", "hello and more"),
        ("5", "hel"),
        ("0", "hello"),
        ("5", ""),
        ("x", "hello"),
        ("-1", "hello"),
    ] {
        let (parts, payload) = channel();
        let request =
            h2client::request(&tunnel, Form::Host, "POST", "/").header("content-length", length);
        let request = request.body(payload).unwrap();
        let asking = client.clone();
        let asked = tokio::spawn(async move {
            let response = asking.send(request).await?;
            Ok::<_, hyper::Error>((
                response.status(),
                h2client::whole(response.into_body()).await.0,
            ))
        });
        if !body.is_empty() {
            drop(parts.send(Frame::data(Bytes::from(body))).await);
        }
        drop(parts);
        if let Ok((status, text)) = asked.await.unwrap() {
            assert!(
                status.is_client_error() || status.is_server_error(),
                "{length} for {body:?}: {status} {text:?}"
            );
        }
    }
    let request = h2client::request(&tunnel, Form::Host, "POST", "/")
        .body(full("x"))
        .unwrap();
    client.ok(request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_reset_at_once_disturb_nobody() {
    let (origin, quiet) = (
        Origin::echo().await,
        Origin::raw(|mut conn| async move { drop(conn.rest().await) }).await,
    );
    let (other, tunnel) = (Tunnel::to(&origin), Tunnel::to(&quiet));
    for _ in 0..20 {
        let client = H2::connect(&tunnel, Form::Host).await;
        for n in 0..200 {
            let request = h2client::request(&tunnel, Form::Host, "GET", &format!("/{n}"))
                .body(empty())
                .unwrap();
            let asking = client.clone();
            let asked = tokio::spawn(async move { drop(asking.send(request).await) });
            tokio::task::yield_now().await;
            asked.abort();
        }
        let answer = other.ask(other.post("/", "unharmed")).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "unharmed"));
    }
    let pid = tunnel.agent.process.pid();
    until("the agent to let go of all of them", || {
        match sockets_to(pid, quiet.addr) {
            0 => Ok(()),
            n => Err(format!("{n} sockets are open")),
        }
    })
    .await;
}
