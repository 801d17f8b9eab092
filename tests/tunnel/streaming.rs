//! Bytes move as they come, in both directions, and no faster than they are read.

use crate::{
    common::sum::{Seeded, Sum},
    fixture::{FORMS, Form, Tunnel, demo, until},
    h2client::{self, H2, empty, frame},
    origin::Origin,
    wire::{response, within},
};
use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Mutex, mpsc};

const MIB: u64 = 1024 * 1024;

/// Events of which each is made only once `/confirm` was asked for the one before.
async fn confirmed_events(count: usize) -> Origin {
    let (confirm, confirmed) = mpsc::channel::<()>(1);
    let confirmed = Arc::new(Mutex::new(confirmed));
    Origin::raw(move |mut conn| {
        let (confirm, confirmed) = (confirm.clone(), Arc::clone(&confirmed));
        async move {
            while let Ok(Some(head)) = conn.try_head().await {
                if head.target() == "/confirm" {
                    confirm.send(()).await.unwrap();
                    conn.send(response("204 No Content", "", "")).await;
                    continue;
                }
                let fields = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n";
                conn.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).await;
                for n in 0..count {
                    conn.send_chunk(format!("data: {n}\n\n")).await;
                    within("a confirmation", async {
                        confirmed.lock().await.recv().await
                    })
                    .await;
                }
                conn.send("0\r\n\r\n").await;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_arrive_one_by_one() {
    let origin = confirmed_events(50).await;
    let tunnel = Tunnel::to(&origin);
    for form in FORMS {
        let mut events = tunnel.connect(form).await;
        let mut other = tunnel.connect(form).await;
        events
            .send(tunnel.head(form, "GET", "/events", "Accept: text/event-stream\r\n"))
            .await;
        assert_eq!(
            events.head().await.get("content-type"),
            Some("text/event-stream")
        );
        for n in 0..50 {
            let event = events.chunk().await.expect("an event");
            assert_eq!(event, format!("data: {n}\n\n").into_bytes());
            let answer = other.ask(tunnel.head(form, "GET", "/confirm", "")).await;
            assert_eq!(answer.status(), 204);
        }
        assert_eq!(events.chunk().await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_sent_events_arrive_one_by_one_over_http2() {
    let origin = confirmed_events(50).await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    let get = |rest| {
        h2client::request(&tunnel, Form::Host, "GET", rest)
            .body(empty())
            .unwrap()
    };
    let mut events = client.ok(get("/events")).await.into_body();
    for n in 0..50 {
        let event = frame(&mut events)
            .await
            .expect("an event")
            .unwrap()
            .into_data()
            .unwrap();
        assert_eq!(event, format!("data: {n}\n\n"));
        assert_eq!(client.send(get("/confirm")).await.unwrap().status(), 204);
    }
    assert!(frame(&mut events).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_a_response_does_not_wait_for_its_body() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/watch")).await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
    target.send_chunk("late").await;
    assert_eq!(client.chunk().await.as_deref(), Some(&b"late"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_single_bytes_arrives_byte_by_byte() {
    for fields in ["Content-Length: 200\r\n", "Transfer-Encoding: chunked\r\n"] {
        let (origin, mut targets) = Origin::accepting().await;
        let tunnel = Tunnel::to(&origin);
        let mut client = tunnel.connect(Form::Host).await;
        client
            .send(tunnel.head(Form::Host, "POST", "/", fields))
            .await;
        let mut target = targets.next().await;
        let sized = !target.head().await.has("transfer-encoding");
        for n in 0..200_u8 {
            let got = if sized {
                client.send([n]).await;
                target.exactly(1).await
            } else {
                client.send_chunk([n]).await;
                target.chunk().await.expect("a chunk")
            };
            assert_eq!(got, [n]);
        }
        if !sized {
            client.send("0\r\n\r\n").await;
            assert_eq!(target.chunk().await, None);
        }
        target.send(response("200 OK", "", "")).await;
        assert_eq!(client.answer("POST").await.status(), 200);
    }
}

/// Waits until a figure stops growing, and answers it.
async fn stalled(figure: &AtomicU64) -> u64 {
    let mut last = 0;
    let mut same = 0;
    within("a stall", async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let now = figure.load(Ordering::SeqCst);
            same = if now == last && now > 0 { same + 1 } else { 0 };
            last = now;
            if same == 10 {
                return now;
            }
        }
    })
    .await
}

const BIG: u64 = 128 * MIB;
/// Windows, socket buffers of three connections that the system grows to 6 MiB, and room.
const HELD: u64 = 64 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn a_target_sends_no_faster_than_its_client_reads() {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let origin = Origin::raw(move |mut conn| {
        let count = Arc::clone(&count);
        async move {
            if conn.head().await.target() != "/big" {
                return conn
                    .send(response("200 OK", "Connection: close\r\n", "small"))
                    .await;
            }
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n"))
                .await;
            for n in 0..BIG / MIB {
                tokio::io::AsyncWriteExt::write_all(&mut conn.io, &Seeded::bytes(n, MIB))
                    .await
                    .unwrap();
                count.fetch_add(MIB, Ordering::SeqCst);
            }
            conn.closed().await;
        }
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/big")).await;
    assert_eq!(client.head().await.status(), 200);
    let held = stalled(&sent).await;
    assert!(
        held < HELD,
        "{held} bytes of {BIG} were taken off the target for a client that reads nothing"
    );
    let other = tunnel.ask(tunnel.get("/small")).await;
    assert_eq!(
        other.text(),
        "small",
        "a stalled reader holds up nobody else"
    );
    let mut sum = Sum::default();
    for n in 0..BIG / MIB {
        let part = client.exactly(usize::try_from(MIB).unwrap()).await;
        assert!(part == Seeded::bytes(n, MIB), "MiB {n} differs");
        sum.write_all(&part).unwrap();
    }
    assert_eq!(sum.len, BIG);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sends_no_faster_than_its_target_reads() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let client = tunnel.connect(Form::Host).await;
    let head = tunnel.head(
        Form::Host,
        "POST",
        "/",
        &format!("Content-Length: {BIG}\r\n"),
    );
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let upload = tokio::spawn(async move {
        let mut client = client;
        client.send(head).await;
        for n in 0..BIG / MIB {
            tokio::io::AsyncWriteExt::write_all(&mut client.io, &Seeded::bytes(n, MIB))
                .await
                .unwrap();
            count.fetch_add(MIB, Ordering::SeqCst);
        }
        tokio::io::AsyncWriteExt::flush(&mut client.io)
            .await
            .unwrap();
        client.answer("POST").await
    });
    let mut target = targets.next().await;
    target.head().await;
    let held = stalled(&sent).await;
    assert!(
        held < HELD,
        "{held} bytes of {BIG} were taken off the client for a target that reads nothing"
    );
    for n in 0..BIG / MIB {
        let part = target.exactly(usize::try_from(MIB).unwrap()).await;
        assert!(part == Seeded::bytes(n, MIB), "MiB {n} differs");
    }
    target.send(response("200 OK", "", "all")).await;
    assert_eq!(upload.await.unwrap().text(), "all");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_stays_open() {
    let (origin, mut targets) = Origin::accepting().await;
    let mut service = demo(&origin);
    service["response_timeout"] = "1s".into();
    let tunnel = Tunnel::with(&[service]);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/watch")).await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.head().await;
    // Longer than every time-out that is not meant for bodies, but for those of a minute.
    tokio::time::sleep(Duration::from_secs(20)).await;
    target.send_chunk("still here").await;
    assert_eq!(client.chunk().await.as_deref(), Some(&b"still here"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_end_of_the_upload_arrives() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    client
        .send(tunnel.head(Form::Host, "POST", "/", "Content-Length: 1000000\r\n"))
        .await;
    client.send("the beginning").await;
    let mut target = targets.next().await;
    target.head().await;
    target.exactly(13).await;
    target
        .send(response(
            "413 Content Too Large",
            "Connection: close\r\n",
            "too much",
        ))
        .await;
    drop(target);
    let answer = client.answer("POST").await;
    assert_eq!((answer.status(), answer.text().as_str()), (413, "too much"));
    until("the request's end in the log", || {
        let log = tunnel.gateway.process.output();
        let cluster = format!("\"cluster\":\"{}\"", tunnel.cluster.id);
        let found = log
            .lines()
            .any(|line| line.contains(&cluster) && line.contains("413"));
        found.then_some(()).ok_or_else(|| "no event".to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_early_answer_the_rest_of_the_upload_is_nobodys_request() {
    let origin = Origin::raw(|mut conn| async move {
        while let Ok(Some(head)) = conn.try_head().await {
            conn.send(response("200 OK", "", head.target())).await;
            if !conn.request_body(&head).await.complete {
                return;
            }
        }
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let smuggled = tunnel.get("/smuggled").repeat(50);
    for fields in [
        format!("Content-Length: {}\r\n", smuggled.len()),
        "Transfer-Encoding: chunked\r\n".to_owned(),
    ] {
        let mut client = tunnel.connect(Form::Host).await;
        client
            .send(tunnel.head(Form::Host, "POST", "/early", &fields))
            .await;
        assert_eq!(client.answer("POST").await.text(), "/early");
        let rest = if fields.starts_with('C') {
            smuggled.clone().into_bytes()
        } else {
            [
                crate::wire::chunk(smuggled.as_bytes()),
                b"0\r\n\r\n".to_vec(),
            ]
            .concat()
        };
        // The connection may be closed by now; if not, it is in order.
        if client.try_send(rest).await.is_ok() && client.try_send(tunnel.get("/next")).await.is_ok()
        {
            let next = client.try_head().await.ok().flatten();
            assert!(
                next.is_none_or(|head| head.status() == 200),
                "the next request"
            );
        }
        assert_eq!(tunnel.ask(tunnel.get("/other")).await.text(), "/other");
    }
    let seen = String::from_utf8(origin.seen()).unwrap();
    let smuggled = seen
        .lines()
        .filter(|line| line.starts_with("GET /smuggled"));
    assert_eq!(smuggled.count(), 0, "a body became requests");
}
