//! `Expect: 100-continue` (RFC 9110 section 10.1.1).

use crate::{
    fixture::{Client, Form, Tunnel},
    h2client::{self, H2, full},
    origin::{Accepted, Conn, Origin},
    wire::{Head, response},
};

const EXPECTS: &str = "Content-Length: 5\r\nExpect: 100-continue\r\n";

/// A client that has sent its head, and a target that has got it.
async fn expecting(tunnel: &Tunnel, targets: &mut Accepted) -> (Client, Conn, Head) {
    let mut client = tunnel.connect(Form::Host).await;
    client
        .send(tunnel.head(Form::Host, "POST", "/upload", EXPECTS))
        .await;
    let mut target = targets.next().await;
    let head = target.head().await;
    (client, target, head)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_continues_gets_the_body() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let (mut client, mut target, head) = expecting(&tunnel, &mut targets).await;
    assert_eq!(head.get("content-length"), Some("5"));
    assert_eq!(head.get("expect"), Some("100-continue"));
    target.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hello").await;
    assert_eq!(target.exactly(5).await, b"hello");
    target.send(response("200 OK", "", "thanks")).await;
    let answer = client.answer("POST").await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "thanks"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_refuses_is_sent_no_byte_of_the_body() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let (mut client, mut target, head) = expecting(&tunnel, &mut targets).await;
    target
        .send(response("417 Expectation Failed", "", "no"))
        .await;
    let first = client.head().await;
    assert_eq!(first.status(), 417, "no 100 before it: {first:?}");
    assert_eq!(client.response_body(&first, "POST").await.bytes, b"no");
    drop(client);
    drop(target);
    let seen = origin.seen();
    assert_eq!(
        seen.len(),
        head.raw.len(),
        "the target saw more than the head: {:?}",
        String::from_utf8_lossy(&seen)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_refusal_the_body_is_not_taken_for_a_request() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let smuggled = tunnel.get("/smuggled");
    let fields = format!(
        "Content-Length: {}\r\nExpect: 100-continue\r\n",
        smuggled.len()
    );
    let mut client = tunnel.connect(Form::Host).await;
    client
        .send(tunnel.head(Form::Host, "POST", "/upload", &fields))
        .await;
    let mut target = targets.next().await;
    target.head().await;
    target
        .send(response("417 Expectation Failed", "", "no"))
        .await;
    assert_eq!(client.answer("POST").await.status(), 417);
    // A client may send the body after all, or close; we may close, too.
    drop(client.try_send(&smuggled).await);
    let after = client.closed().await;
    assert!(
        after.is_empty(),
        "the body was answered: {:?}",
        String::from_utf8_lossy(&after)
    );
    assert!(!origin.saw("/smuggled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_says_nothing_gets_the_body_all_the_same() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let (mut client, mut target, _) = expecting(&tunnel, &mut targets).await;
    assert_eq!(
        client.head().await.status(),
        100,
        "the gateway must say it in the target's place"
    );
    client.send("hello").await;
    assert_eq!(target.exactly(5).await, b"hello");
    target.send(response("200 OK", "", "thanks")).await;
    assert_eq!(client.answer("POST").await.text(), "thanks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_wait_is_served_too() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    for _ in 0..3 {
        let head = tunnel.head(Form::Host, "POST", "/", EXPECTS);
        let answer = client.ask(format!("{head}hello")).await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_expected_and_chunked_arrives_with_its_trailers() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::to(&origin);
    let fields = "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nTrailer: X-Sum\r\n";
    let mut client = tunnel.connect(Form::Host).await;
    client
        .send(tunnel.head(Form::Host, "PUT", "/", fields))
        .await;
    let mut target = targets.next().await;
    let head = target.head().await;
    target.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 100);
    client.send("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n").await;
    let body = target.request_body(&head).await;
    assert_eq!(
        (body.bytes.as_slice(), body.complete),
        (&b"hello"[..], true)
    );
    assert_eq!(body.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    target.send(response("201 Created", "", "")).await;
    assert_eq!(client.answer("PUT").await.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_our_own_comes_before_the_body() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let host = tunnel.host(Form::Host);
    let mut client = tunnel.connect(Form::Host).await;
    client
        .send(format!(
            "POST /demo/ HTTP/1.1\r\nHost: {host}\r\n{EXPECTS}\r\n"
        ))
        .await;
    assert_eq!(client.head().await.status(), 401, "no 100 before it");
    origin.assert_untouched("no token");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_clients_may_expect_too() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    let request =
        h2client::request(&tunnel, Form::Host, "POST", "/").header("expect", "100-continue");
    let response = client.ok(request.body(full("hello")).unwrap()).await;
    assert_eq!(h2client::whole(response.into_body()).await.0, "hello");
}
