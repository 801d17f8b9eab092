//! Which host a request is for: one, ours, and the connection's.

use crate::{
    ambiguous::all_refused,
    fixture::{Form, Tunnel, connect},
    origin::Origin,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_one_is_refused() {
    all_refused(400, |tunnel| {
        let (host, token) = (tunnel.host(Form::Host), &tunnel.token);
        let request = |target: &str, hosts: &str| {
            let bytes =
                format!("GET {target} HTTP/1.1\r\n{hosts}Authorization: Bearer {token}\r\n\r\n");
            (format!("{target} {hosts:?}"), bytes.into_bytes())
        };
        let one = format!("Host: {host}\r\n");
        vec![
            request("/demo/x", ""),
            request("/demo/x", "Host:\r\n"),
            request("/demo/x", &one.repeat(2)),
            request("/demo/x", &format!("{one}Host: other.example\r\n")),
            request("/demo/x", &format!("Host: other.example\r\n{one}")),
            request("/demo/x", &format!("Host: user@{host}\r\n")),
            request("/demo/x", &format!("Host: user:secret@{host}\r\n")),
            request("/demo/x", &format!("Host: {host}, {host}\r\n")),
            request("/demo/x", &format!("Host: {host}/x\r\n")),
            request(
                "/demo/x",
                &format!("Host: {}:x\r\n", tunnel.hostname(Form::Host)),
            ),
            request(
                "/demo/x",
                &format!("Host: {}:99999\r\n", tunnel.hostname(Form::Host)),
            ),
            request(
                "/demo/x",
                &format!("Host: {}..\r\n", tunnel.hostname(Form::Host)),
            ),
            request("https://other.example/demo/x", &one),
            request(&format!("https://user@{host}/demo/x"), &one),
            request(&format!("https://{host}/demo/x"), "Host: other.example\r\n"),
            request(
                &format!("https://{}:1/demo/x", tunnel.hostname(Form::Host)),
                &one,
            ),
        ]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absolute_target_that_agrees_with_the_host_is_served() {
    let origin = Origin::mirror().await;
    let tunnel = Tunnel::to(&origin);
    let (host, token) = (tunnel.host(Form::Host), &tunnel.token);
    let request = format!(
        "GET https://{host}/demo/x%2Fy HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let answer = tunnel.ask(request).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(
        answer.text().starts_with("GET /x%2Fy HTTP/1.1\r\n"),
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_ours_or_not_the_connections_is_misdirected() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let token = &tunnel.token;
    let port = tunnel.gateway.addr.port();
    let ours = tunnel.hostname(Form::Host);
    for (sni, host) in [
        ("localhost", ours.as_str()),
        (ours.as_str(), "localhost"),
        ("tunnel-other.pipeops.localhost", ours.as_str()),
        (ours.as_str(), "tunnel-other.pipeops.localhost"),
        (ours.as_str(), "elsewhere.example"),
        // No name in the handshake: the Host decides, and is not ours.
        ("127.0.0.1", "elsewhere.example"),
        ("127.0.0.1", "tunnel-.pipeops.localhost"),
        ("127.0.0.1", "x.pipeops.localhost"),
        ("127.0.0.1", "tunnel-a.b.pipeops.localhost"),
        ("127.0.0.1", "pipeops.localhost.elsewhere.example"),
    ] {
        let mut client = connect(&tunnel.gateway, sni).await;
        let request = format!(
            "GET /demo/x HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        let answer = client.ask(request).await;
        assert_eq!(
            (answer.status(), answer.code().as_str()),
            (421, "MISDIRECTED_REQUEST"),
            "SNI {sni}, Host {host}"
        );
    }
    origin.assert_untouched("misdirected requests");
    let mut client = connect(&tunnel.gateway, "127.0.0.1").await;
    assert_eq!(
        client.ask(tunnel.post("/", "x")).await.text(),
        "x",
        "without SNI the Host is enough"
    );
}
