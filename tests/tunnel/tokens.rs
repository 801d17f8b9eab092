//! Who gets in, and with what.

use crate::{
    common::gateway::Gateway,
    fixture::{Cluster, FORMS, Form, Tunnel, connect, shared_gateway, until},
    origin::Origin,
    wire::Answer,
};
use futures_util::StreamExt;
use std::time::{Duration, Instant};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

/// The answer to a GET of `demo` with this `Authorization`, if any.
async fn ask(tunnel: &Tunnel, form: Form, authorization: Option<&str>) -> Answer {
    let line = authorization.map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
    let request = format!("GET {}/x HTTP/1.1\r\nHost: {}\r\n{line}\r\n", tunnel.prefix(form), tunnel.host(form));
    tunnel.connect(form).await.ask(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_token_nothing_passes() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let mut wrong_secret = tunnel.token.clone();
    let last = if wrong_secret.pop() == Some('a') { 'b' } else { 'a' };
    wrong_secret.push(last);
    let upper = tunnel.token.to_uppercase();
    let cut = &tunnel.token[..tunnel.token.len() - 1];
    let agent_like = tunnel.token.replace("_user_", "_agent_");
    let tokens = [
        "garbage", &wrong_secret, &upper, cut, &agent_like, &format!("{}a", tunnel.token), &"x".repeat(5000),
        "pipeops_user_aaaaaaaaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    ];
    for form in FORMS {
        let answer = ask(&tunnel, form, None).await;
        assert_eq!((answer.status(), answer.code().as_str()), (401, "UNAUTHORIZED"));
        assert!(answer.head.get("www-authenticate").is_some_and(|v| v.starts_with("Bearer")), "{:?}", answer.head);
        for token in tokens {
            let answer = ask(&tunnel, form, Some(&format!("Bearer {token}"))).await;
            assert_eq!((answer.status(), answer.code().as_str()), (401, "UNAUTHORIZED"), "{token}");
            assert!(answer.head.has("www-authenticate"));
            assert!(!answer.text().contains(token), "an error repeats a token: {}", answer.text());
        }
        for other in [format!("Basic {}", tunnel.token), tunnel.token.clone()] {
            assert_eq!(ask(&tunnel, form, Some(&other)).await.status(), 401, "{other}");
        }
        for odd in ["Bearer".to_owned(), "Bearer ".to_owned(), format!("Bearer {0} {0}", tunnel.token), format!("Bearer {0},{0}", tunnel.token)] {
            let status = ask(&tunnel, form, Some(&odd)).await.status();
            assert!([400, 401].contains(&status), "{odd}: {status}");
        }
    }
    origin.assert_untouched("no valid token");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tokens_are_no_token() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let two = format!("Authorization: Bearer {}\r\n", tunnel.token);
    let answer = tunnel.ask(tunnel.head(Form::Host, "GET", "/", &two)).await;
    assert!([400, 401].contains(&answer.status()), "{}", answer.head.first);
    let answer = tunnel.ask(tunnel.head(Form::Host, "GET", "/", "Authorization: Bearer other\r\n")).await;
    assert!([400, 401].contains(&answer.status()), "{}", answer.head.first);
    origin.assert_untouched("two tokens");
    // A token elsewhere is none at all.
    let host = tunnel.host(Form::Host);
    for (target, line) in [
        (format!("/demo/?access_token={}", tunnel.token), String::new()),
        ("/demo/".to_owned(), format!("Cookie: token={}\r\n", tunnel.token)),
        ("/demo/".to_owned(), format!("Proxy-Authorization: Bearer {}\r\n", tunnel.token)),
        ("/demo/".to_owned(), format!("X-Authorization: Bearer {}\r\n", tunnel.token)),
    ] {
        let answer = tunnel.ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{line}\r\n")).await;
        assert_eq!(answer.status(), 401);
    }
    origin.assert_untouched("a token in the wrong place");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_token_is_no_users_token() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let token = tunnel.gateway.agent_token(&tunnel.cluster.name, &tunnel.cluster.id);
    for form in FORMS {
        let answer = ask(&tunnel, form, Some(&format!("Bearer {token}"))).await;
        assert_eq!((answer.status(), answer.code().as_str()), (403, "FORBIDDEN"), "{}", answer.text());
        assert!(!answer.text().contains(&token));
    }
    origin.assert_untouched("an agent's token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_is_lacking_is_named() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    for scope in ["tunnel:kubernetes", "tunnel:demo2", "tunnel:dem", "logs"] {
        let token = tunnel.gateway.user_token("narrow", "admin", &tunnel.cluster.name, scope);
        for form in FORMS {
            let answer = ask(&tunnel, form, Some(&format!("Bearer {token}"))).await;
            assert_eq!((answer.status(), answer.code().as_str()), (403, "SCOPE_MISSING"), "{scope}");
            assert!(answer.message().contains("tunnel:demo"), "{}", answer.message());
        }
    }
    origin.assert_untouched("no scope");
    let token = tunnel.gateway.user_token("wide", "viewer", &tunnel.cluster.name, "tunnel:*");
    assert_eq!(ask(&tunnel, Form::Host, Some(&format!("bearer {token}"))).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_refused() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let token = tunnel.gateway.cli(&[
        "token", "create", "user", "--subject", "brief", "--role", "viewer", "--cluster", &tunnel.cluster.name, "--scope",
        "tunnel:demo", "--expires", "2s",
    ]);
    let bearer = format!("Bearer {token}");
    let end = Instant::now() + crate::wire::DEADLINE;
    loop {
        let answer = ask(&tunnel, Form::Host, Some(&bearer)).await;
        if answer.status() == 401 {
            assert!(answer.message().contains("expired"), "{}", answer.message());
            break;
        }
        assert_eq!(answer.status(), 200);
        assert!(Instant::now() < end, "the token does not expire");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The answer to an agent's request to connect.
async fn knock(gateway: &Gateway, path: &str, fields: &str) -> Answer {
    let host = format!("localhost:{}", gateway.addr.port());
    let mut client = connect(gateway, "localhost").await;
    client.ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await
}

const WEBSOCKET: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const MUX: &str = "Connection: Upgrade\r\nUpgrade: pipeops-mux\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn only_an_agent_of_its_own_cluster_may_connect() {
    let gateway = shared_gateway();
    let (own, other) = (Cluster::new(), Cluster::new());
    let agent = gateway.agent_token(&own.name, &own.id);
    gateway.agent_token(&other.name, &other.id);
    let user = gateway.user_token("user", "admin", &own.name, "admin");
    let path = "/v1/agent/connect";
    let bearer = |token: &str| format!("{WEBSOCKET}Authorization: Bearer {token}\r\n");
    assert_eq!(knock(gateway, path, WEBSOCKET).await.status(), 401);
    assert_eq!(knock(gateway, path, &bearer("garbage")).await.status(), 401);
    let answer = knock(gateway, path, &bearer(&user)).await;
    assert_eq!((answer.status(), answer.code().as_str()), (403, "FORBIDDEN"), "a user's token");
    for wrong in [other.id.as_str(), "nonsense", ""] {
        let fields = format!("{}X-Cluster-ID: {wrong}\r\n", bearer(&agent));
        let answer = knock(gateway, path, &fields).await;
        assert_eq!((answer.status(), answer.code().as_str()), (403, "FORBIDDEN"), "X-Cluster-ID {wrong:?}");
        assert!(answer.message().contains("cluster"), "{}", answer.message());
    }
    let fields = format!("{}X-Cluster-ID: {}\r\n", bearer(&agent), own.id);
    assert_eq!(knock(gateway, path, &fields).await.status(), 101);
    let plain = format!("Authorization: Bearer {agent}\r\n");
    assert_eq!(knock(gateway, path, &plain).await.status(), 400, "not a WebSocket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_needs_a_ticket_that_is_good_once() {
    let gateway = shared_gateway();
    let cluster = Cluster::new();
    let agent = gateway.agent_token(&cluster.name, &cluster.id);
    let user = gateway.user_token("user", "admin", &cluster.name, "admin");
    let path = "/v1/agent/carrier";
    let bearer = |ticket: &str| format!("{MUX}Authorization: Bearer {ticket}\r\n");
    assert_eq!(knock(gateway, path, MUX).await.status(), 401, "no ticket");
    for ticket in ["garbage", &agent, &user, &"0".repeat(64)] {
        assert_eq!(knock(gateway, path, &bearer(ticket)).await.status(), 401, "{ticket}");
    }
    let ticket = ticket(gateway, &cluster, &agent).await;
    assert_eq!(knock(gateway, path, &format!("Authorization: Bearer {ticket}\r\n")).await.status(), 400, "no upgrade");
    assert_eq!(knock(gateway, path, &bearer(&ticket)).await.status(), 101);
    assert_eq!(knock(gateway, path, &bearer(&ticket)).await.status(), 401, "the second use");
}

/// Connects as an agent and waits for the first ticket.
async fn ticket(gateway: &'static Gateway, cluster: &Cluster, token: &str) -> String {
    let mut request = format!("wss://localhost:{}/v1/agent/connect", gateway.addr.port()).into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    headers.insert("x-cluster-id", cluster.id.parse().unwrap());
    let (_, stream) = connect(gateway, "localhost").await.into_parts();
    let (mut socket, _): (WebSocketStream<_>, _) = client_async(request, stream).await.unwrap();
    loop {
        let message = crate::wire::within("a control message", socket.next()).await.unwrap().unwrap();
        let Message::Text(text) = message else { continue };
        let message: serde_json::Value = serde_json::from_str(&text).unwrap();
        if message["type"] == "open_carrier" {
            // The channel stays open behind the test's back: a ticket ends with it.
            tokio::spawn(async move { while socket.next().await.is_some() {} });
            return message["payload"]["ticket"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_ever_in_a_log() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let agent = tunnel.gateway.agent_token(&tunnel.cluster.name, &tunnel.cluster.id);
    let other = Cluster::new();
    tunnel.gateway.agent_token(&other.name, &other.id);
    let foreign = tunnel.gateway.user_token("foreign", "admin", &other.name, "admin");
    let tokens = [tunnel.token.clone(), agent, foreign, format!("pipeops_user_nobodys_{}", "z".repeat(60))];
    for token in &tokens {
        for form in FORMS {
            ask(&tunnel, form, Some(&format!("Bearer {token}"))).await;
            ask(&tunnel, form, Some(&format!("Basic {token}"))).await;
        }
        let host = tunnel.host(Form::Host);
        tunnel.ask(format!("GET /demo/?token={token} HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: {token}\r\n\r\n")).await;
        drop(tunnel.connect(Form::Host).await.try_send(format!("GET /{token} HTTP/9\r\n\r\n")).await);
        knock(&tunnel.gateway, "/v1/agent/connect", &format!("{WEBSOCKET}Authorization: Bearer {token}\r\n")).await;
        knock(&tunnel.gateway, "/v1/agent/carrier", &format!("{MUX}Authorization: Bearer {token}\r\n")).await;
    }
    until("the requests in the log", || {
        let log = tunnel.gateway.process.output();
        let seen = log.lines().filter(|line| line.contains(&tunnel.cluster.id)).count();
        if seen > 0 { Ok(()) } else { Err("nothing".to_owned()) }
    })
    .await;
    for (who, log) in [("gateway", tunnel.gateway.process.output()), ("agent", tunnel.agent.process.output())] {
        for token in &tokens {
            let secret = token.rsplit('_').next().unwrap();
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "the {who}'s log has a secret");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_tokens_holds_no_secret() {
    let gateway = shared_gateway();
    let cluster = Cluster::new();
    gateway.agent_token(&cluster.name, &cluster.id);
    let token = gateway.user_token("listed", "viewer", &cluster.name, "tunnel:demo");
    let secret = token.rsplit('_').next().unwrap();
    for args in [&["token", "list"][..], &["token", "list", "-o", "json"]] {
        let listed = gateway.cli(args);
        assert!(listed.contains("listed") && !listed.contains(secret), "{listed}");
    }
}
