//! Which of a request's headers reach the target, and what is said in their place.

use crate::{
    common::temp_dir,
    fixture::{FORMS, Form, Tunnel, demo, until},
    h2client::{self, H2, empty},
    origin::Origin,
    wire::{Answer, Head, Wire},
};
use serde_json::json;
use std::fs;

/// The head that the mirror at the target saw.
async fn mirrored(answer: Answer) -> Head {
    assert_eq!(answer.status(), 200, "{}", answer.text());
    Wire::new(std::io::Cursor::new(answer.body.bytes))
        .head()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_is_told_where_its_users_are() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    let lies = "X-Forwarded-Prefix: /evil\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: evil\r\n\
        X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Port: evil\r\nX-Forwarded-Server: evil\r\nForwarded: for=6.6.6.6\r\n\
        X-Real-IP: 6.6.6.6\r\nx_forwarded_host: evil\r\n";
    for form in FORMS {
        let mut client = tunnel.connect(form).await;
        let head = mirrored(client.ask(tunnel.head(form, "GET", "/x", lies)).await).await;
        assert_eq!(
            head.get("x-forwarded-prefix"),
            Some(tunnel.prefix(form).as_str())
        );
        assert_eq!(
            head.get("x-forwarded-host"),
            Some(tunnel.host(form).as_str())
        );
        assert_eq!(head.get("x-forwarded-proto"), Some("https"));
        let raw = String::from_utf8(head.raw).unwrap();
        assert!(!raw.contains("evil") && !raw.contains("6.6.6.6"), "{raw}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_is_not_for_the_client_to_say() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    let claims = "Impersonate-User: secret\r\nImpersonate-Group: secret\r\nImpersonate-Uid: secret\r\n\
        Impersonate-Extra-a: secret\r\nX-Remote-User: secret\r\nX-Remote-Group: secret\r\nX-WEBAUTH-USER: secret\r\n\
        Proxy-Authorization: secret\r\nProxy-Connection: secret\r\nX-Pipeops-Role: secret\r\nX_Remote_User: secret\r\n\
        Accept: text/x-kept\r\nCookie: kept=1\r\n";
    let head = mirrored(
        tunnel
            .ask(tunnel.head(Form::Host, "GET", "/", claims))
            .await,
    )
    .await;
    let raw = String::from_utf8(head.raw.clone()).unwrap();
    assert!(!raw.contains("secret"), "{raw}");
    assert!(!raw.to_lowercase().contains("authorization"), "{raw}");
    assert!(!origin.saw(&tunnel.token), "the token reached the target");
    assert_eq!(
        (head.get("accept"), head.get("cookie")),
        (Some("text/x-kept"), Some("kept=1"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_headers_stay_on_their_hop() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    let hops = "Connection: keep-alive, X-Gone, TE\r\nX-Gone: secret\r\nKeep-Alive: secret\r\nTE: trailers, deflate\r\n\
        Upgrade-Insecure-Requests: 1\r\nX-Kept: yes\r\n";
    let head = mirrored(tunnel.ask(tunnel.head(Form::Host, "GET", "/", hops)).await).await;
    let raw = String::from_utf8(head.raw.clone()).unwrap();
    assert!(!raw.contains("secret") && !raw.contains("deflate"), "{raw}");
    assert!(
        !head.has("keep-alive") && !head.has("x-gone") && !head.has("proxy-connection"),
        "{raw}"
    );
    assert_eq!(head.get("x-kept"), Some("yes"));
    assert_eq!(head.get("upgrade-insecure-requests"), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_arrives_framed_as_it_was_sent() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    let none = mirrored(client.ask(tunnel.get("/none")).await).await;
    assert!(
        !none.has("transfer-encoding") && !none.has("content-length"),
        "{none:?}"
    );
    let sized = mirrored(client.ask(tunnel.post("/sized", "hello")).await).await;
    assert_eq!(
        (sized.get("content-length"), sized.has("transfer-encoding")),
        (Some("5"), false)
    );
    let zero = mirrored(client.ask(tunnel.post("/zero", "")).await).await;
    assert_eq!(
        (zero.get("content-length"), zero.has("transfer-encoding")),
        (Some("0"), false)
    );
    let chunked = tunnel.head(
        Form::Host,
        "POST",
        "/chunked",
        "Transfer-Encoding: chunked\r\n",
    ) + "5\r\nhello\r\n0\r\n\r\n";
    let chunked = mirrored(client.ask(chunked).await).await;
    assert_eq!(
        (
            chunked.get("transfer-encoding"),
            chunked.has("content-length")
        ),
        (Some("chunked"), false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_only_headers_are_said_in_http1_words() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    let client = H2::connect(&tunnel, Form::Host).await;
    let request = h2client::request(&tunnel, Form::Host, "GET", "/x");
    // RFC 9113 section 8.2.3: crumbs of a cookie are one field again in HTTP/1.
    let request = request
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers");
    let response = client.ok(request.body(empty()).unwrap()).await;
    let (body, _) = h2client::whole(response.into_body()).await;
    let head = Wire::new(std::io::Cursor::new(body.to_vec())).head().await;
    assert_eq!(
        head.get("x-forwarded-host"),
        Some(tunnel.host(Form::Host).as_str())
    );
    assert_eq!(head.get("cookie"), Some("a=1; b=2"));
    assert!(
        !head.has("transfer-encoding") && !head.has("content-length"),
        "{head:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_targets_own_credentials_are_added_in_the_cluster() {
    let origin = Origin::mirror().await;
    let file = temp_dir("credentials").join("authorization");
    fs::write(&file, "Basic Zmlyc3Q6\n").unwrap();
    let mut service = demo(&origin);
    service["authorization_file"] = json!(file);
    let tunnel = Tunnel::with(&[service]);
    let head = mirrored(tunnel.ask(tunnel.get("/")).await).await;
    assert_eq!(head.get("authorization"), Some("Basic Zmlyc3Q6"));
    fs::write(&file, "Bearer second").unwrap();
    let end = std::time::Instant::now() + crate::wire::DEADLINE;
    loop {
        let head = mirrored(tunnel.ask(tunnel.get("/")).await).await;
        if head.get("authorization") == Some("Bearer second") {
            break;
        }
        assert!(
            std::time::Instant::now() < end,
            "the new credentials are not used: {head:?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_id_everywhere() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    let given = "X-Request-Id: my-id_1.2\r\n";
    let answer = client.ask(tunnel.head(Form::Host, "GET", "/", given)).await;
    assert_eq!(answer.head.get("x-request-id"), Some("my-id_1.2"));
    assert_eq!(
        mirrored(answer).await.get("x-request-id"),
        Some("my-id_1.2")
    );
    let first = client.ask(tunnel.get("/")).await;
    let id = first.head.get("x-request-id").expect("an id").to_owned();
    assert_eq!(mirrored(first).await.get("x-request-id"), Some(id.as_str()));
    let second = client.ask(tunnel.get("/")).await;
    assert_ne!(second.head.get("x-request-id"), Some(id.as_str()));
    for bad in ["a b".to_owned(), "x".repeat(500), "\"}{\"".to_owned()] {
        let given = format!("X-Request-Id: {bad}\r\n");
        let answer = client
            .ask(tunnel.head(Form::Host, "GET", "/", &given))
            .await;
        assert_ne!(answer.head.get("x-request-id"), Some(bad.as_str()));
        assert_ne!(
            mirrored(answer).await.get("x-request-id"),
            Some(bad.as_str())
        );
    }
    for id in ["my-id_1.2", id.as_str()] {
        until("the id in the log", || {
            let log = tunnel.gateway.process.output();
            let found = log
                .lines()
                .any(|line| line.contains(&format!("\"request_id\":\"{id}\"")));
            found.then_some(()).ok_or_else(|| id.to_owned())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_our_own_carry_the_request_id_too() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    let host = tunnel.host(Form::Host);
    let request = format!("GET /demo/ HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: refused-1\r\n\r\n");
    let answer = tunnel.ask(request).await;
    assert_eq!(
        (answer.status(), answer.head.get("x-request-id")),
        (401, Some("refused-1"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_below_the_cap_passes_and_above_it_is_answered_431() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    for (name, length) in [("one", 60 * 1024), ("many", 1024)] {
        let fields: String = (0..60 * 1024 / length)
            .map(|n| format!("X-{name}-{n}: {}\r\n", "v".repeat(length - 40)))
            .collect();
        let answer = tunnel
            .ask(tunnel.head(Form::Host, "GET", "/", &fields))
            .await;
        assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        assert!(
            answer.text().contains(&"v".repeat(length - 40)),
            "{name} did not arrive whole"
        );
    }
    for length in [70 * 1024, 120 * 1024, 300 * 1024] {
        let field = format!("X-Long: {}\r\n", "w".repeat(length));
        let mut client = tunnel.connect(Form::Host).await;
        // It may be refused before it is read to its end.
        drop(
            client
                .try_send(tunnel.head(Form::Host, "GET", "/", &field))
                .await,
        );
        assert_eq!(client.answer("GET").await.status(), 431, "{length}");
    }
    let many: String = (0..400).map(|n| format!("X-{n}: w\r\n")).collect();
    let answer = tunnel.ask(tunnel.head(Form::Host, "GET", "/", &many)).await;
    assert_eq!(answer.status(), 431, "too many fields");
    assert!(!origin.saw("wwww"), "a refused head reached the target");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_pass_as_the_bytes_they_are_and_in_their_order() {
    let origin = Origin::answering(|head, _| {
        let [_, rest] = head.raw.splitn(2, |b| *b == b'\n').collect::<Vec<_>>()[..] else {
            panic!("a request line and fields")
        };
        let mine: Vec<&[u8]> = rest
            .split(|b| *b == b'\n')
            .filter(|l| l.to_ascii_lowercase().starts_with(b"x-m"))
            .collect();
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
        [&head[..], &mine.join(&b'\n'), b"\n\r\n"].concat()
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let fields = b"X-Mine: gr\xc3\xbc\xc3\x9fe\r\nX-Mine: gr\xfc\xdfe\r\nX-Mine: \"a, b\";c\r\nX-Mine:\r\nX-Mine:   many  spaces\tin it  \r\n";
    let head = tunnel.get("/");
    let mut request = head.trim_end_matches("\r\n").as_bytes().to_vec();
    request.extend(b"\r\n");
    request.extend(fields);
    request.extend(b"\r\n");
    let answer = tunnel.ask(request).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    for wanted in [
        &b"gr\xc3\xbc\xc3\x9fe"[..],
        b"gr\xfc\xdfe",
        b"\"a, b\";c",
        b"many  spaces\tin it",
    ] {
        for (who, bytes) in [
            ("target", origin.seen()),
            ("client", answer.head.raw.clone()),
        ] {
            let seen = bytes
                .windows(wanted.len())
                .filter(|window| *window == wanted)
                .count();
            assert_eq!(
                seen,
                1,
                "the {who} and {:?}",
                String::from_utf8_lossy(wanted)
            );
        }
    }
    let order: Vec<_> = answer
        .head
        .all("x-mine")
        .iter()
        .map(|value| value.len())
        .collect();
    assert_eq!(order.len(), 5, "{:?}", answer.head.fields);
    assert_eq!((order[2], order[3]), (8, 0), "{:?}", answer.head.fields);
}
