//! What can not be opened, and what the client is told.

use crate::{
    common::free_port,
    fixture::{FORMS, Form, Tunnel},
    origin::Origin,
    setup::{TCP, UDP, demo},
    wire::Answer,
};
use serde_json::json;
use std::net::SocketAddr;

async fn asked(tunnel: &Tunnel, form: Form, fields: &str) -> Answer {
    let head = tunnel.head(form, "GET", "", fields);
    tunnel.connect(form).await.ask(head).await
}

fn closed_port() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_refuses_is_told() {
    let tunnel = Tunnel::with(&[demo("tcp", closed_port())]);
    for form in FORMS {
        let answer = asked(&tunnel, form, TCP).await;
        assert_eq!(
            (answer.status(), answer.code().as_str()),
            (502, "TARGET_REFUSED")
        );
        assert!(
            answer.message().contains("refused the connection"),
            "{}",
            answer.message()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_to_what_is_no_http_is_told_what_to_do() {
    let origin = Origin::mirror().await;
    for (protocol, token) in [("tcp", "Upgrade: tcp"), ("udp", "Upgrade: connect-udp")] {
        let tunnel = Tunnel::with(&[demo(protocol, origin.addr)]);
        for fields in ["", "Connection: Upgrade\r\nUpgrade: websocket\r\n"] {
            let answer = asked(&tunnel, Form::Host, fields).await;
            assert_eq!(
                (answer.status(), answer.code().as_str()),
                (426, "UPGRADE_REQUIRED")
            );
            assert!(answer.message().contains(token), "{}", answer.message());
        }
    }
    origin.assert_untouched("HTTP to a raw service");
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_bytes_to_what_is_something_else_are_refused() {
    let origin = Origin::mirror().await;
    for (protocol, asks, says) in [
        ("http", TCP, "speaks HTTP"),
        ("http", UDP, "speaks HTTP"),
        ("tcp", UDP, "is TCP, not UDP"),
        ("udp", TCP, "is UDP, not TCP"),
    ] {
        let tunnel = Tunnel::with(&[demo(protocol, origin.addr)]);
        let answer = asked(&tunnel, Form::Path, asks).await;
        assert_eq!((answer.status(), answer.code().as_str()), (409, "CONFLICT"));
        assert!(answer.message().contains(says), "{}", answer.message());
    }
    origin.assert_untouched("raw bytes to another service");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_there_or_not_allowed_is_told() {
    let origin = Origin::mirror().await;
    let other = json!({"name": "other", "local_addr": origin.addr.to_string(), "protocol": "tcp"});
    let mut tunnel = Tunnel::with(&[demo("tcp", origin.addr), other]);
    let at = |tunnel: &Tunnel, service: &str| {
        tunnel
            .head(Form::Host, "GET", "", TCP)
            .replacen("/demo", &format!("/{service}"), 1)
    };
    let answer = tunnel.ask(at(&tunnel, "other")).await;
    assert_eq!(
        (answer.status(), answer.code().as_str()),
        (403, "SCOPE_MISSING")
    );
    tunnel.token = tunnel
        .gateway
        .user_token("all", "viewer", &tunnel.cluster.name, "tunnel:*");
    let answer = tunnel.ask(at(&tunnel, "nothing")).await;
    assert_eq!(
        (answer.status(), answer.code().as_str()),
        (404, "SERVICE_UNKNOWN")
    );
    tunnel.token = "pipeops_user_nonsense".to_owned();
    let answer = tunnel.ask(at(&tunnel, "demo")).await;
    assert_eq!(answer.status(), 401);
    origin.assert_untouched("a refused forward");
}
