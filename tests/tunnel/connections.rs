//! Many requests: on one connection, and at once.

use crate::{
    common::gateway::Gateway,
    fixture::{Form, Tunnel, demo},
    h2client::{self, H2, empty},
    origin::Origin,
    wire::response,
};
use std::time::Duration;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_pass_on_one_connection() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    for n in 0..10_000 {
        let body = format!("request {n}");
        let answer = client.ask(tunnel.post("/", &body)).await;
        assert_eq!((answer.status(), answer.text()), (200, body));
    }
    assert!(
        origin.connections() <= 8,
        "{} connections to the target",
        origin.connections()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_their_order() {
    let origin = Origin::answering(|head, body| {
        response(
            "200 OK",
            "",
            format!("{} {}", head.target(), String::from_utf8_lossy(&body.bytes)),
        )
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    let mut all = Vec::new();
    let mut wanted = Vec::new();
    for n in 0..200 {
        if n % 3 == 0 {
            let chunked = tunnel.head(
                Form::Host,
                "POST",
                &format!("/{n}"),
                "Transfer-Encoding: chunked\r\n",
            );
            all.extend(format!("{chunked}3\r\nabc\r\n0\r\n\r\n").into_bytes());
        } else {
            all.extend(tunnel.post(&format!("/{n}"), "abc"));
        }
        wanted.push(format!("/{n} abc"));
    }
    client.send(&all).await;
    for wanted in wanted {
        assert_eq!(client.answer("POST").await.text(), wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_clients_are_served() {
    let origin = Origin::raw(|mut conn| async move {
        while let Ok(Some(_)) = conn.try_head().await {
            let fields = "Transfer-Encoding: chunked\r\n";
            conn.send(format!(
                "HTTP/1.1 200 OK\r\n{fields}\r\n5\r\nhello\r\n0\r\n\r\n"
            ))
            .await;
        }
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let request = tunnel.get("/").replace("HTTP/1.1", "HTTP/1.0");
    let answer = tunnel.ask(request).await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hello"));
    assert!(
        !answer.head.has("transfer-encoding"),
        "HTTP/1.0 knows no chunks: {:?}",
        answer.head.fields
    );
    assert!(answer.body.complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_wants_to_close_is_answered_and_closed() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    let fields = "Connection: close\r\nContent-Length: 3\r\n";
    let answer = client
        .ask(tunnel.head(Form::Host, "POST", "/", fields) + "bye")
        .await;
    assert_eq!((answer.status(), answer.text().as_str()), (200, "bye"));
    let end = client.rest().await;
    assert!(end.complete && end.bytes.is_empty(), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_at_once_than_a_carrier_has_room_for_are_served() {
    const COUNT: usize = 1_500;
    let (origin, mut targets) = Origin::accepting().await;
    // One worker, so that all of them share its carriers.
    let gateway = Gateway::start_with(|config| config["threads"] = 1.into());
    let tunnel = Tunnel::own(gateway, &[demo(&origin)]);
    let mut clients = Vec::new();
    for _ in 0..COUNT / 250 {
        clients.push(H2::connect(&tunnel, Form::Host).await);
    }
    let asked: Vec<_> = (0..COUNT)
        .map(|n| {
            let client = clients[n % clients.len()].clone();
            let request = h2client::request(&tunnel, Form::Host, "GET", &format!("/{n}"))
                .body(empty())
                .unwrap();
            tokio::spawn(async move {
                let response = client.send(request).await.expect("a response");
                let status = response.status();
                (status, h2client::whole(response.into_body()).await.0)
            })
        })
        .collect();
    let mut held = Vec::new();
    while held.len() < COUNT {
        let Ok(mut target) = timeout(Duration::from_secs(20), targets.next()).await else {
            let (early, _): (Vec<_>, Vec<_>) = asked.into_iter().partition(|one| one.is_finished());
            let (held, count) = (held.len(), early.len());
            let first = futures_util::future::join_all(early)
                .await
                .into_iter()
                .next();
            panic!("{held} are at the target, {count} were answered by us: {first:?}");
        };
        let head = target.head().await;
        held.push((target, head));
    }
    for (target, head) in &mut held {
        target
            .send(response("200 OK", "Connection: close\r\n", head.target()))
            .await;
    }
    for (n, one) in asked.into_iter().enumerate() {
        assert_eq!(
            one.await.unwrap(),
            (http::StatusCode::OK, format!("/{n}").into())
        );
    }
}
