//! CONNECT, by hand and by clients that people have.

use crate::{
    common::gateway::DOMAIN,
    fixture::{Client, Tunnel, connect, tls},
    origin::Origin,
    setup::{demo, tcp},
    wire::{Answer, Wire, response, within},
};
use data_encoding::BASE64;
use std::process::{Command, Stdio};
use tokio::{io::AsyncWriteExt, net::TcpListener};

fn place(tunnel: &Tunnel) -> String {
    format!("demo.{}:5432", tunnel.cluster.host())
}

fn head(place: &str, fields: &str) -> String {
    format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{fields}\r\n")
}

async fn asked(tunnel: &Tunnel, head: &str) -> (u16, Option<String>, Client) {
    let mut client = connect(&tunnel.gateway, "localhost").await;
    client.send(head).await;
    let head = client.head().await;
    (
        head.status(),
        head.get("connection").map(str::to_owned),
        client,
    )
}

async fn refused(tunnel: &Tunnel, head: &str) -> Answer {
    let mut client = connect(&tunnel.gateway, "localhost").await;
    client.send(head).await;
    client.answer("GET").await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_may_be_a_bearer_or_a_proxys_password() {
    let (tunnel, mut targets) = tcp().await;
    let place = place(&tunnel);
    let token = &tunnel.token;
    let basic = BASE64.encode(format!("me:{token}").as_bytes());
    for fields in [
        format!("Authorization: Bearer {token}\r\n"),
        format!("Proxy-Authorization: Bearer {token}\r\n"),
        format!("Proxy-Authorization: Basic {basic}\r\n"),
    ] {
        let (status, connection, mut client) = asked(&tunnel, &head(&place, &fields)).await;
        assert_eq!((status, connection), (200, None));
        let mut target = targets.next().await;
        target.send("hello").await;
        assert_eq!(client.exactly(5).await, b"hello");
        client.send("bye").await;
        client.io.shutdown().await.unwrap();
        assert_eq!(target.rest().await.bytes, b"bye");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why_and_ends_the_connection() {
    let (tunnel, _targets) = tcp().await;
    let right = place(&tunnel);
    let bearer = format!("Proxy-Authorization: Bearer {}\r\n", tunnel.token);
    let other = format!("other.{}:1", tunnel.cluster.host());
    let stranger = format!("demo.tunnel-cls-none.{DOMAIN}:1");
    for (place, fields, status) in [
        (right.as_str(), "", 407),
        (&right, "Proxy-Authorization: Bearer nonsense\r\n", 407),
        (&right, &format!("{bearer}Authorization: Bearer x\r\n"), 400),
        (&other, &bearer, 403),
        (&stranger, &bearer, 403),
        ("example.com:443", &bearer, 400),
        (
            &format!("localhost:{}", tunnel.gateway.addr.port()),
            &bearer,
            400,
        ),
        (&tunnel.cluster.host(), &bearer, 400),
    ] {
        let answer = refused(&tunnel, &head(place, fields)).await;
        assert_eq!(
            answer.status(),
            status,
            "{place} {fields:?}: {}",
            answer.text()
        );
        assert_eq!(answer.head.get("connection"), Some("close"));
        let asks = answer.head.get("proxy-authenticate").is_some();
        assert_eq!(asks, status == 407);
        assert!(!answer.code().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_made_for_another_cluster_is_misdirected() {
    let (tunnel, _targets) = tcp().await;
    let bearer = format!("Proxy-Authorization: Bearer {}\r\n", tunnel.token);
    for (sni, status) in [
        (tunnel.cluster.host(), 200),
        (format!("tunnel-another.{DOMAIN}"), 421),
    ] {
        let stream = tls(tunnel.gateway.addr, &tunnel.gateway.ca(), &sni, b"http/1.1").await;
        let mut client = Wire::new(stream.unwrap());
        client.send(head(&place(&tunnel), &bearer)).await;
        assert_eq!(client.head().await.status(), status, "{sni}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_service_takes_no_connect() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::with(&[demo("http", origin.addr)]);
    let bearer = format!("Proxy-Authorization: Bearer {}\r\n", tunnel.token);
    let answer = refused(&tunnel, &head(&place(&tunnel), &bearer)).await;
    assert_eq!((answer.status(), answer.code().as_str()), (409, "CONFLICT"));
    origin.assert_untouched("CONNECT to an HTTP service");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_goes_through_as_by_any_proxy() {
    let origin = Origin::answering(|_, _| response("200 OK", "", "through")).await;
    let tunnel = Tunnel::with(&[demo("tcp", origin.addr)]);
    let (token, ca) = (tunnel.token.clone(), tunnel.gateway.ca());
    let url = format!("http://demo.{}:80/x", tunnel.cluster.host());
    let proxy = format!("https://localhost:{}", tunnel.gateway.addr.port());
    for credentials in [
        ["--proxy-user".to_owned(), format!("me:{token}")],
        [
            "--proxy-header".to_owned(),
            format!("Proxy-Authorization: Bearer {token}"),
        ],
    ] {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--proxytunnel", "--proxy", &proxy, "--proxy-cacert"])
            .arg(&ca)
            .args(&credentials)
            .arg(&url)
            .env_remove("no_proxy")
            .env_remove("NO_PROXY");
        let out = tokio::task::spawn_blocking(move || curl.output().unwrap())
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(String::from_utf8_lossy(&out.stdout), "through", "{said}");
    }
}

/// ncat speaks no TLS to a proxy: something in front does, as a sidecar would.
#[tokio::test(flavor = "multi_thread")]
async fn ncat_goes_through_as_by_any_proxy() {
    let (tunnel, mut targets) = tcp().await;
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = front.local_addr().unwrap().port();
    let (gateway, ca) = (tunnel.gateway.addr, tunnel.gateway.ca());
    tokio::spawn(async move {
        loop {
            // The first is answered 407, and only then it sends what it has.
            let (mut plain, _) = front.accept().await.unwrap();
            let tls = tls(gateway, &ca, "localhost", b"http/1.1").await;
            let mut tls = tls.unwrap();
            tokio::spawn(async move {
                drop(tokio::io::copy_bidirectional(&mut plain, &mut tls).await);
            });
        }
    });
    let mut ncat = Command::new("ncat");
    ncat.args([
        "--proxy",
        &format!("127.0.0.1:{port}"),
        "--proxy-type",
        "http",
    ])
    .args([
        "--proxy-auth",
        &format!("me:{}", tunnel.token),
        "--proxy-dns",
        "remote",
    ])
    .args([format!("demo.{}", tunnel.cluster.host()).as_str(), "5432"])
    .stdin(Stdio::piped())
    .stdout(Stdio::piped());
    let mut ncat = ncat.spawn().unwrap();
    let mut target = within("ncat", targets.next()).await;
    use std::io::Write;
    ncat.stdin.take().unwrap().write_all(b"question").unwrap();
    assert_eq!(target.exactly(8).await, b"question");
    target.send("answer").await;
    drop(target);
    let out = tokio::task::spawn_blocking(move || ncat.wait_with_output().unwrap())
        .await
        .unwrap();
    assert_eq!(out.stdout, b"answer");
}
