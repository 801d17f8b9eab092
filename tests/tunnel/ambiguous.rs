//! Requests that two parsers may read differently reach no target at all.

use crate::{
    fixture::{Form, Tunnel},
    h2client::{self, H2, empty},
    origin::Origin,
    wire::{Answer, response},
};

/// What a client is answered to these bytes; `None` if it is cut without an answer.
pub async fn refused(tunnel: &Tunnel, bytes: &[u8]) -> Option<Answer> {
    let mut client = tunnel.connect(Form::Host).await;
    drop(client.try_send(bytes).await);
    match client.try_head().await {
        Ok(Some(head)) => {
            let body = client.response_body(&head, "GET").await;
            let rest = client.closed().await;
            assert!(
                rest.is_empty(),
                "a second answer: {:?}",
                String::from_utf8_lossy(&rest)
            );
            Some(Answer { head, body })
        }
        Ok(None) | Err(_) => None,
    }
}

/// Sends each request and expects this status, and a target that nobody called.
pub async fn all_refused(status: u16, requests: impl Fn(&Tunnel) -> Vec<(String, Vec<u8>)>) {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let mut wrong = Vec::new();
    for (what, bytes) in requests(&tunnel) {
        let got = refused(&tunnel, &bytes).await.map(|answer| answer.status());
        if got != Some(status) {
            wrong.push(format!("{what}: {got:?}"));
        }
        if origin.connections() > 0 {
            wrong.push(format!(
                "{what}: the target saw {:?}",
                String::from_utf8_lossy(&origin.seen())
            ));
            break;
        }
    }
    assert!(wrong.is_empty(), "wanted {status}:\n{}", wrong.join("\n"));
    // The same client, in good order, is served.
    assert_eq!(tunnel.ask(tunnel.post("/", "x")).await.text(), "x");
}

/// A request with these header lines and this body, both as they are.
fn with(tunnel: &Tunnel, fields: &str, body: &str) -> (String, Vec<u8>) {
    let request = format!("{}{body}", tunnel.head(Form::Host, "POST", "/", fields));
    (format!("{fields:?} {body:?}"), request.into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_framings_of_one_body_are_refused() {
    all_refused(400, |tunnel| {
        let smuggled = "0\r\n\r\nGET /demo/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
        [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: 5\r\ncontent-length: 50\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999999\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: \r\n",
            "Transfer-Encoding:\u{b}chunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "Transfer-Encoding\t: chunked\r\n",
            "Content-Length : 5\r\n",
            "X: y\r\n Transfer-Encoding: chunked\r\n",
            "X: y\r\n\tfolded\r\n",
            " X: y\r\n",
            "X: a\nTransfer-Encoding: chunked\r\n",
            "X: a\rTransfer-Encoding: chunked\r\n",
            "X: a\0b\r\n",
            "X\0: a\r\n",
            ": empty\r\n",
            "X y: z\r\n",
            "no colon\r\n",
            "X(y): z\r\n",
        ]
        .map(|fields| with(tunnel, fields, smuggled))
        .to_vec()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_line_is_refused() {
    all_refused(400, |tunnel| {
        let good = tunnel.get("/x");
        let line = |line: &str| {
            let (_, fields) = good.split_once("\r\n").unwrap();
            (line.to_owned(), format!("{line}\r\n{fields}").into_bytes())
        };
        vec![
            line("GET  /demo/x HTTP/1.1"),
            line("GET /demo/x  HTTP/1.1"),
            line("GET /demo/a b HTTP/1.1"),
            line("GET\t/demo/x\tHTTP/1.1"),
            line(" GET /demo/x HTTP/1.1"),
            line("GET /demo/x"),
            line("GET /demo/x HTTP/1.1 "),
            line("GET /demo/x HTTP/1.2"),
            line("GET /demo/x http/1.1"),
            line("GET /demo/x\0 HTTP/1.1"),
            line("GET /demo/x#y HTTP/1.1"),
            line("GET /demo/\u{e9} HTTP/1.1"),
            line("GET demo/x HTTP/1.1"),
            line("G(T /demo/x HTTP/1.1"),
            (
                "bare LF".to_owned(),
                good.replace("\r\n", "\n").into_bytes(),
            ),
            (
                "LF after the line".to_owned(),
                good.replacen("\r\n", "\n", 1).into_bytes(),
            ),
            (
                "TE in 1.0".to_owned(),
                format!(
                    "{}0\r\n\r\n",
                    tunnel.head(Form::Host, "POST", "/", "Transfer-Encoding: chunked\r\n")
                )
                .replace("HTTP/1.1", "HTTP/1.0")
                .into_bytes(),
            ),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_chunks_end_the_request_and_smuggle_nothing() {
    let origin = Origin::answering(|head, body| {
        response("200 OK", "", format!("{} {}", head.first, body.complete))
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let smuggled = tunnel.get("/smuggled");
    let mut wrong = Vec::new();
    for body in [
        "g\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\nX: y\n\r\n",
        "5\r\nhello\r\n0\r\n X: y\r\n\r\n",
    ] {
        let head = tunnel.head(Form::Host, "POST", "/", "Transfer-Encoding: chunked\r\n");
        let answer = refused(&tunnel, format!("{head}{body}{smuggled}").as_bytes()).await;
        // The head was sound and may be on its way; what follows has no end that anybody knows.
        match answer.map(|answer| (answer.status(), answer.text())) {
            Some((400, _)) => {}
            other => wrong.push(format!("{body:?}: {other:?}")),
        }
    }
    assert!(!origin.saw("/smuggled"), "a request was smuggled");
    assert!(wrong.is_empty(), "wanted 400:\n{}", wrong.join("\n"));
}

/// `.` and `..` in spellings that some reader takes for a step in the path.
const STEPS: [&str; 18] = [
    "/.",
    "/..",
    "/./x",
    "/../x",
    "/x/..",
    "/x/../y",
    "/%2e/x",
    "/%2E%2e/x",
    "/.%2e/x",
    "/%2e./x",
    "/x%2f..%2fy",
    "/..%2fx",
    "/..%5cx",
    "/..\\x",
    "/x\\..\\y",
    "/..;/x",
    "/..;a=b/x",
    "/.;/x",
];

#[tokio::test(flavor = "multi_thread")]
async fn steps_in_the_path_are_refused_in_every_spelling() {
    all_refused(400, |tunnel| {
        let head = |path: &str| {
            let (host, token) = (tunnel.host(Form::Host), &tunnel.token);
            let bytes = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            (path.to_owned(), bytes.into_bytes())
        };
        let inside = STEPS.map(|step| head(&format!("/demo{step}")));
        let before = [
            "/../demo/x",
            "/./demo/x",
            "/%2e%2e/demo/x",
            "/demo/../other/x",
            "/demo/..%2f..%2f..%2fv1/x",
        ];
        inside.into_iter().chain(before.map(head)).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_in_the_path_are_refused_by_the_path_form_and_over_http2() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    for step in STEPS {
        let mut by_path = tunnel.connect(Form::Path).await;
        let answer = by_path.ask(tunnel.head(Form::Path, "GET", step, "")).await;
        assert_eq!(answer.status(), 400, "{step}");
        let request = h2client::request(&tunnel, Form::Host, "GET", step)
            .body(empty())
            .unwrap();
        assert_eq!(
            client.send(request).await.unwrap().status(),
            400,
            "{step} over HTTP/2"
        );
    }
    origin.assert_untouched("steps");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_connection_nominates_does_not_change_where_a_request_ends() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    let body = tunnel.get("/smuggled");
    let length = format!("Content-Length: {}\r\n", body.len());
    for nominated in [
        "content-length",
        "Content-Length, close",
        "host",
        "transfer-encoding",
        "x-forwarded-host",
        "x-request-id",
        "te, content-length",
    ] {
        for framing in [length.as_str(), "Transfer-Encoding: chunked\r\n"] {
            let sent = if framing.starts_with('C') {
                body.clone()
            } else {
                format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
            };
            let fields = format!("Connection: {nominated}\r\n{framing}");
            let mut client = tunnel.connect(Form::Host).await;
            let answer = client
                .ask(format!(
                    "{}{sent}",
                    tunnel.head(Form::Host, "POST", "/outer", &fields)
                ))
                .await;
            let seen = answer.text().to_lowercase();
            assert!(
                answer.status() == 400 || seen.starts_with("post /outer http/1.1\r\n"),
                "{nominated}: {}",
                answer.text()
            );
            if answer.status() == 200 {
                assert_eq!(
                    seen.matches("content-length:").count()
                        + seen.matches("transfer-encoding:").count(),
                    1,
                    "{nominated}: {seen}"
                );
                assert_eq!(seen.matches("\r\nhost:").count(), 1, "{nominated}: {seen}");
                assert!(
                    seen.contains(&format!("x-forwarded-host: {}", tunnel.host(Form::Host))),
                    "{nominated}: {seen}"
                );
            }
        }
    }
    let seen = String::from_utf8(origin.seen()).unwrap();
    let lines = seen
        .lines()
        .filter(|line| line.ends_with("HTTP/1.1"))
        .filter(|line| line.contains("/smuggled"))
        .count();
    let posts = seen.matches("POST /outer").count();
    assert!(
        posts > 0 && lines <= posts,
        "each is a body of its own request"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_request_before_a_bad_one_is_answered_and_the_bad_one_refused() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    let bad = tunnel.head(
        Form::Host,
        "POST",
        "/bad",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    );
    client
        .send(
            [
                &tunnel.post("/good", "good")[..],
                bad.as_bytes(),
                b"0\r\n\r\n",
            ]
            .concat(),
        )
        .await;
    assert_eq!(client.answer("POST").await.text(), "good");
    assert_eq!(client.answer("POST").await.status(), 400);
    assert!(client.closed().await.is_empty());
    assert!(!origin.saw("/bad"));
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_at_the_edge_of_what_can_be_counted_are_refused() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    for length in [
        "18446744073709551615",
        "18446744073709551614",
        "18446744073709551613",
        "9223372036854775808",
    ] {
        let fields = format!("Content-Length: {length}\r\n");
        let mut client = tunnel.connect(Form::Host).await;
        client
            .send(tunnel.head(Form::Host, "POST", "/", &fields) + "x")
            .await;
        // One that can be counted is a body that has not ended.
        let answer =
            tokio::time::timeout(std::time::Duration::from_secs(3), client.try_head()).await;
        if let Ok(Ok(Some(head))) = answer {
            assert!(
                (400..500).contains(&head.status()),
                "{length}: {}",
                head.first
            );
        }
    }
    let log = [
        tunnel.gateway.process.output(),
        tunnel.agent.process.output(),
    ]
    .concat();
    assert!(
        !log.contains("panicked"),
        "{}{}",
        tunnel.gateway.tail(),
        tunnel.agent.tail()
    );
    assert_eq!(tunnel.ask(tunnel.post("/", "x")).await.text(), "x");
}
