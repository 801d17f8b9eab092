//! Cluster A's token on cluster B, in every spelling: B's target is never called.

use crate::{
    fixture::{FORMS, Form, Tunnel, connect, tls},
    h2client::{self, H2, empty},
    origin::Origin,
    wire::Answer,
};
use http::Request;

/// Two clusters of one gateway, and what they are reached with.
struct Two {
    a: Tunnel,
    a_origin: Origin,
    b: Tunnel,
    b_origin: Origin,
}

impl Two {
    async fn new() -> Self {
        let (a_origin, b_origin) = (Origin::mirror().await, Origin::mirror().await);
        let (a, b) = (Tunnel::to(&a_origin), Tunnel::to(&b_origin));
        Self {
            a,
            a_origin,
            b,
            b_origin,
        }
    }

    fn port(&self) -> u16 {
        self.a.gateway.addr.port()
    }

    /// Asks with A's token, by a connection for `sni`.
    async fn ask(&self, sni: &str, target: &str, hosts: &[&str], more: &str) -> Answer {
        let mut client = connect(&self.a.gateway, sni).await;
        let hosts: String = hosts
            .iter()
            .map(|host| format!("Host: {host}\r\n"))
            .collect();
        let token = &self.a.token;
        client
            .ask(format!(
                "GET {target} HTTP/1.1\r\n{hosts}Authorization: Bearer {token}\r\n{more}\r\n"
            ))
            .await
    }

    /// Both are served to their own users after all that, and B was called by nobody before.
    async fn assert_apart(&self) {
        self.b_origin.assert_untouched("A's token");
        for tunnel in [&self.a, &self.b] {
            assert_eq!(tunnel.ask(tunnel.get("/mine")).await.status(), 200);
        }
        assert!(!self.b_origin.saw(&self.a.token) && !self.a_origin.saw(&self.a.token));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_host_form_in_every_spelling() {
    let two = Two::new().await;
    let (name, port) = (two.b.cluster.host(), two.port());
    let upper = name.to_uppercase();
    let mixed = name.replace("tunnel", "TuNnEl");
    for sni in [name.as_str(), "127.0.0.1"] {
        for host in [
            format!("{name}:{port}"),
            name.clone(),
            format!("{name}:443"),
            format!("{name}:1"),
            upper.clone(),
            format!("{mixed}:{port}"),
            format!("{name}."),
            format!("{name}.:{port}"),
            format!("{upper}."),
        ] {
            let answer = two.ask(sni, "/demo/x", &[&host], "").await;
            assert_eq!(
                answer.status(),
                403,
                "SNI {sni}, Host {host}: {}",
                answer.text()
            );
            assert!(!answer.text().contains("mine"));
        }
        for host in [
            format!("{name}..:{port}"),
            format!("{name}:0{port}"),
            name.replace('-', "%2d"),
            format!(" {name} x"),
            format!("{name}\t,x"),
        ] {
            let answer = two.ask(sni, "/demo/x", &[&host], "").await;
            assert!(
                [400, 403, 421].contains(&answer.status()),
                "Host {host}: {}",
                answer.head.first
            );
        }
    }
    two.assert_apart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_path_form_in_every_spelling() {
    let two = Two::new().await;
    let (b, host) = (&two.b.cluster.name, format!("localhost:{}", two.port()));
    let first = format!("%{:02x}{}", b.as_bytes()[0], &b[1..]);
    let upper = format!("%{:02X}{}", b.as_bytes()[0], &b[1..]);
    let name = |name: &str| format!("/v1/clusters/{name}/tunnel/demo/x");
    let a = &two.a.cluster.name;
    for target in [
        name(b),
        name(&b.to_uppercase()),
        name(&first),
        name(&upper),
        name(&format!("{b}%00")),
        name(&format!("{b};{a}")),
        name(&format!("{b}%2f")),
        name(&format!("{b}.")),
        name(&format!("{b}%20")),
        name(&two.b.cluster.id),
        format!("/v1/clusters/{a}/../{b}/tunnel/demo/x"),
        format!("/v1/clusters/{a}/..%2f{b}/tunnel/demo/x"),
        format!("/v1/clusters//{b}/tunnel/demo/x"),
        format!("//v1/clusters/{b}/tunnel/demo/x"),
        format!("/v1/clusters/{b}/tunnel/demo?cluster={a}"),
        format!("/v1/clusters/{b}/tunnel//demo/x"),
        format!("/v1/clusters/{b}//tunnel/demo/x"),
        format!("/V1/clusters/{b}/tunnel/demo/x"),
        format!("/v1%2fclusters/{b}/tunnel/demo/x"),
        format!("/v1/clusters/{b}/tunnel/%64emo/x"),
        format!("/v1/clusters/{a}%2f..%2f{b}/tunnel/demo/x"),
        format!("/v1/clusters/{a}/tunnel/demo/../../../{b}/tunnel/demo/x"),
    ] {
        for sni in ["localhost", "127.0.0.1"] {
            let answer = two.ask(sni, &target, &[&host], "").await;
            assert!(
                [400, 403, 404].contains(&answer.status()),
                "{target}: {} {}",
                answer.head.first,
                answer.text()
            );
        }
    }
    two.assert_apart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_an_absolute_target() {
    let two = Two::new().await;
    let (port, a, b) = (two.port(), two.a.cluster.host(), two.b.cluster.host());
    let (a_host, b_host) = (format!("{a}:{port}"), format!("{b}:{port}"));
    for sni in [a.as_str(), b.as_str(), "127.0.0.1"] {
        for (target, host) in [
            (format!("https://{b_host}/demo/x"), b_host.as_str()),
            (format!("https://{b_host}/demo/x"), a_host.as_str()),
            (format!("https://{a_host}/demo/x"), b_host.as_str()),
            (format!("http://{b_host}/demo/x"), b_host.as_str()),
            (format!("https://{a}@{b_host}/demo/x"), b_host.as_str()),
            (format!("https://{b}/demo/x"), a_host.as_str()),
            (
                format!("https://{}/demo/x", b_host.to_uppercase()),
                a_host.as_str(),
            ),
        ] {
            let answer = two.ask(sni, &target, &[host], "").await;
            assert!(
                [400, 403, 421].contains(&answer.status()),
                "SNI {sni}, {target}, Host {host}: {}",
                answer.head.first
            );
        }
    }
    two.assert_apart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_two_hosts_or_a_handshake_for_another() {
    let two = Two::new().await;
    let (port, a, b) = (two.port(), two.a.cluster.host(), two.b.cluster.host());
    let (a_host, b_host) = (format!("{a}:{port}"), format!("{b}:{port}"));
    for sni in [a.as_str(), b.as_str(), "127.0.0.1", "localhost"] {
        for hosts in [
            [a_host.as_str(), &b_host],
            [&b_host, &a_host],
            [&b_host, &b_host],
        ] {
            let answer = two.ask(sni, "/demo/x", &hosts, "").await;
            assert_eq!(answer.status(), 400, "SNI {sni}, {hosts:?}");
        }
    }
    assert_eq!(two.ask(&a, "/demo/x", &[&b_host], "").await.status(), 421);
    assert_eq!(two.ask(&b, "/demo/x", &[&a_host], "").await.status(), 421);
    assert_eq!(
        two.ask("localhost", "/demo/x", &[&b_host], "")
            .await
            .status(),
        421
    );
    two.assert_apart().await;
    assert!(
        !two.a_origin.saw("GET /x"),
        "nor was A's own by a doubtful request"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn by_headers_that_other_proxies_believe() {
    let two = Two::new().await;
    let (port, a, b) = (two.port(), two.a.cluster.host(), two.b.cluster.host());
    let a_host = format!("{a}:{port}");
    let (id, name) = (&two.b.cluster.id, &two.b.cluster.name);
    for more in [
        format!("X-Forwarded-Host: {b}\r\n"),
        format!("X-Forwarded-Host: {b}:{port}\r\nX-Forwarded-Server: {b}\r\n"),
        format!("Forwarded: host={b}\r\n"),
        format!("X-Original-URL: https://{b}/demo/x\r\n"),
        format!("X-Rewrite-URL: /v1/clusters/{name}/tunnel/demo/x\r\n"),
        format!("X-Host: {b}\r\n"),
        format!("X-HTTP-Host-Override: {b}\r\n"),
        format!("X-Cluster-ID: {id}\r\n"),
        format!("X-Pipeops-Cluster: {id}\r\n"),
        format!("Connection: host\r\nX-Forwarded-Host: {b}\r\n"),
        format!("Proxy-Host: {b}\r\n"),
        format!("Host2: {b}\r\n"),
    ] {
        let answer = two.ask(&a, "/demo/x", &[&a_host], &more).await;
        assert_eq!(answer.status(), 200, "{more}: A's own");
        let seen = answer.text();
        assert!(
            seen.contains(&format!("x-forwarded-host: {a_host}")),
            "{more}: {seen}"
        );
    }
    two.assert_apart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_http2() {
    let two = Two::new().await;
    let (port, a, b) = (two.port(), two.a.cluster.host(), two.b.cluster.host());
    let bearer = format!("Bearer {}", two.a.token);
    for form in FORMS {
        let client = H2::connect(&two.b, form).await;
        let mut request = h2client::request(&two.b, form, "GET", "/x")
            .body(empty())
            .unwrap();
        request
            .headers_mut()
            .insert("authorization", bearer.parse().unwrap());
        assert_eq!(
            client.send(request).await.unwrap().status(),
            403,
            "{form:?}"
        );
    }
    for (sni, authority, host) in [
        (&two.a, format!("{a}:{port}"), Some(format!("{b}:{port}"))),
        (&two.a, format!("{b}:{port}"), Some(format!("{a}:{port}"))),
        (&two.b, format!("{b}:{port}"), Some(format!("{a}:{port}"))),
        (&two.b, format!("{a}:{port}"), Some(format!("{b}:{port}"))),
        (&two.a, format!("{b}:{port}"), None),
        (&two.a, b.clone(), None),
        (&two.a, format!("{}.", b.to_uppercase()), None),
        (&two.b, format!("{}.", b.to_uppercase()), None),
        (&two.b, format!("x@{b}"), None),
    ] {
        let client = H2::connect(sni, Form::Host).await;
        let uri = format!("https://{authority}/demo/x");
        let mut request = Request::get(&uri).header("authorization", &bearer);
        if let Some(host) = &host {
            request = request.header("host", host);
        }
        let Ok(request) = request.body(empty()) else {
            continue;
        };
        match client.send(request).await {
            Ok(response) => assert!(
                [400, 403, 421].contains(&response.status().as_u16()),
                "{authority} {host:?}: {response:?}"
            ),
            Err(error) => assert!(!error.is_timeout(), "{error:?}"), // a reset stream is a refusal too
        }
    }
    two.assert_apart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_an_upgrade_and_by_a_browsers_subprotocol() {
    let two = Two::new().await;
    let (port, b) = (two.port(), two.b.cluster.host());
    let asks = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = two
        .ask(&b, "/demo/x", &[&format!("{b}:{port}")], asks)
        .await;
    assert_eq!(answer.status(), 403);
    let token = data_encoding::BASE64URL_NOPAD.encode(two.a.token.as_bytes());
    let protocol =
        format!("Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.{token}\r\n");
    let mut client = connect(&two.a.gateway, &b).await;
    let answer = client
        .ask(format!(
            "GET /demo/x HTTP/1.1\r\nHost: {b}:{port}\r\n{asks}{protocol}\r\n"
        ))
        .await;
    assert_eq!(answer.status(), 403);
    two.assert_apart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_next_request_of_a_good_connection() {
    let two = Two::new().await;
    let (port, a, b) = (two.port(), two.a.cluster.host(), two.b.cluster.host());
    for sni in [a.as_str(), "127.0.0.1"] {
        let mut client = connect(&two.a.gateway, sni).await;
        assert_eq!(client.ask(two.a.get("/mine")).await.status(), 200);
        let request = two
            .a
            .get("/x")
            .replace(&format!("{a}:{port}"), &format!("{b}:{port}"));
        let answer = client.ask(request).await;
        assert_eq!(answer.status(), if sni == a { 421 } else { 403 });
    }
    two.assert_apart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_not_told_apart_from_none_by_who_may_not_use_it() {
    let two = Two::new().await;
    let host = format!("localhost:{}", two.port());
    let theirs = two
        .ask(
            "localhost",
            &format!("/v1/clusters/{}/tunnel/demo/x", two.b.cluster.name),
            &[&host],
            "",
        )
        .await;
    let nobodys = two
        .ask(
            "localhost",
            "/v1/clusters/nobodys/tunnel/demo/x",
            &[&host],
            "",
        )
        .await;
    assert_eq!(
        (theirs.status(), theirs.code()),
        (nobodys.status(), nobodys.code()),
        "{} / {}",
        theirs.text(),
        nobodys.text()
    );
    two.assert_apart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_refused_to_names_without_a_certificate_by_the_client_only() {
    // The server answers any name with its one certificate; a client that checks finds out.
    let two = Two::new().await;
    let refused = tls(
        two.a.gateway.addr,
        &two.a.gateway.ca(),
        "elsewhere.example",
        b"http/1.1",
    )
    .await;
    assert!(refused.is_err());
}
