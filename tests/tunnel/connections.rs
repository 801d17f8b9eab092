//! One connection, many requests.

use crate::{
    fixture::{Form, Tunnel},
    origin::Origin,
    wire::response,
};

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
