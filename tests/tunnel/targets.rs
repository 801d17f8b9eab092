//! Targets that fail, and what their users are told.

use crate::{
    common::temp_dir,
    fixture::{Form, Tunnel, demo, until},
    h2client::{self, H2, empty},
    origin::Origin,
    wire::{Answer, response},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An error about `demo` that names the service and not where it is.
fn assert_fault(answer: &Answer, status: u16, code: &str, addr: SocketAddr) {
    assert_eq!(
        (answer.status(), answer.code().as_str()),
        (status, code),
        "{}",
        answer.text()
    );
    assert!(
        answer.message().contains("demo"),
        "which service? {}",
        answer.message()
    );
    let text = answer.text();
    assert!(
        !text.contains(&addr.port().to_string()) && !text.contains("127.0.0.1"),
        "an address leaks: {text}"
    );
}

fn quick(service: &Value) -> Value {
    let mut service = service.clone();
    service["response_timeout"] = json!("2s");
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_down_is_said_to_be_down() {
    let origin = Origin::echo().await;
    let addr = origin.addr;
    let service = demo(&origin);
    drop(origin);
    let tunnel = Tunnel::with(&[service]);
    let mut client = tunnel.connect(Form::Host).await;
    for request in [tunnel.get("/").into_bytes(), tunnel.post("/", "a body")] {
        let answer = client.ask(request).await;
        assert_fault(&answer, 502, "TARGET_REFUSED", addr);
        assert_eq!(answer.head.get("content-type"), Some("application/json"));
    }
    let client = H2::connect(&tunnel, Form::Host).await;
    let request = h2client::request(&tunnel, Form::Host, "GET", "/")
        .body(empty())
        .unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_comes_back_is_used_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let tunnel = Tunnel::with(&[json!({"name": "demo", "local_addr": addr.to_string()})]);
    tunnel.ask_until(&tunnel.get("/"), 502).await;
    let listener = TcpListener::bind(addr).await.unwrap();
    let serve = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut conn = crate::wire::Wire::new(stream);
            conn.head().await;
            conn.send(response("200 OK", "Connection: close\r\n", "back"))
                .await;
        }
    });
    assert_eq!(tunnel.ask_until(&tunnel.get("/"), 200).await.text(), "back");
    serve.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_never_answers_times_out_and_is_let_go() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::with(&[quick(&demo(&origin))]);
    for request in [tunnel.get("/").into_bytes(), tunnel.post("/", "a body")] {
        let answer = tunnel.ask(request).await;
        assert_fault(&answer, 504, "TARGET_TIMED_OUT", origin.addr);
        let mut target = targets.next().await;
        target.head().await;
        target.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_sends_half_a_head_times_out_too() {
    let (origin, mut targets) = Origin::accepting().await;
    let tunnel = Tunnel::with(&[quick(&demo(&origin))]);
    let mut client = tunnel.connect(Form::Host).await;
    client.send(tunnel.get("/")).await;
    let mut target = targets.next().await;
    target.head().await;
    target.send("HTTP/1.1 200 OK\r\nX-Slow: ").await;
    assert_fault(
        &client.answer("GET").await,
        504,
        "TARGET_TIMED_OUT",
        origin.addr,
    );
    target.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_longer_than_the_response_timeout_is_not_cut() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::with(&[quick(&demo(&origin))]);
    let mut client = tunnel.connect(Form::Host).await;
    client
        .send(tunnel.head(Form::Host, "POST", "/", "Content-Length: 5\r\n"))
        .await;
    for byte in *b"hello" {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        client.send([byte]).await;
    }
    let answer = client.answer("POST").await;
    assert_eq!(
        (answer.status(), answer.text().as_str()),
        (200, "hello"),
        "the time counts from the request's end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_does_not_speak_http_is_at_fault() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.6\r\n"[..],
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/1.1 999999 What\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
        b"HTTP/2 200 OK\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
        b"",
    ] {
        let origin = Origin::raw(move |mut conn| async move {
            conn.head().await;
            drop(conn.try_send(garbage).await);
        })
        .await;
        let tunnel = Tunnel::to(&origin);
        let answer = tunnel.ask(tunnel.post("/", "a body")).await;
        assert_fault(&answer, 502, "TARGET_FAILED", origin.addr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_sends_an_endless_head_is_at_fault() {
    let origin = Origin::raw(|mut conn| async move {
        conn.head().await;
        drop(conn.try_send("HTTP/1.1 200 OK\r\n").await);
        while conn
            .try_send(format!("X-More: {}\r\n", "m".repeat(10_000)))
            .await
            .is_ok()
        {}
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let answer = tunnel.ask(tunnel.get("/")).await;
    assert_fault(&answer, 502, "TARGET_FAILED", origin.addr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_a_stale_connection_lost_is_sent_again_if_that_is_safe() {
    // A server that says keep-alive, answers once, and closes a moment later.
    let origin = Origin::raw(|mut conn| async move {
        conn.head().await;
        conn.send(response("200 OK", "", "once")).await;
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    for n in 0..200 {
        let answer = client.ask(tunnel.get("/")).await;
        assert_eq!(
            (answer.status(), answer.text().as_str()),
            (200, "once"),
            "request {n}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_may_have_been_acted_on_is_not_sent_again() {
    // Reads a whole request on a connection that has been used before, and closes without a word.
    let origin = Origin::raw(|mut conn| async move {
        let head = conn.head().await;
        conn.request_body(&head).await;
        conn.send(response("200 OK", "", "first")).await;
        let head = conn.head().await;
        conn.request_body(&head).await;
    })
    .await;
    let tunnel = Tunnel::to(&origin);
    let mut client = tunnel.connect(Form::Host).await;
    assert_eq!(client.ask(tunnel.post("/", "one")).await.status(), 200);
    let answer = client.ask(tunnel.post("/pay", "two")).await;
    assert_fault(&answer, 502, "TARGET_FAILED", origin.addr);
    let seen = String::from_utf8(origin.seen()).unwrap();
    assert_eq!(seen.matches("POST /pay").count(), 1, "{seen}");
}

/// A CA and a server's certificate and key from it, in a folder.
struct Pki {
    ca: PathBuf,
    chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn pki(name: &str) -> Pki {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let ca = temp_dir("pki").join("ca.crt");
    fs::write(&ca, issuer.pem()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    Pki {
        ca,
        chain: vec![cert.der().clone()],
        key,
    }
}

/// A TLS server that answers each request with its path.
async fn tls_target(pki: &Pki) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = config
        .with_no_client_auth()
        .with_single_cert(pki.chain.clone(), pki.key.clone_key())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(stream).await else {
                    return;
                };
                let mut conn = crate::wire::Wire::new(tls);
                while let Ok(Some(head)) = conn.try_head().await {
                    conn.send(response("200 OK", "", head.target())).await;
                }
            });
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_tls_is_checked_and_used() {
    let (good, other) = (pki("grafana.internal"), pki("grafana.internal"));
    let addr = tls_target(&good).await;
    let https = json!({"name": "demo", "local_addr": addr.to_string(), "protocol": "https"});
    let with = |ca: &PathBuf, name: &str| {
        let mut service = https.clone();
        service["ca_file"] = json!(ca);
        service["server_name"] = json!(name);
        Tunnel::with(&[service])
    };
    let tunnel = with(&good.ca, "grafana.internal");
    assert_eq!(tunnel.ask(tunnel.get("/secure")).await.text(), "/secure");
    for (what, tunnel) in [
        ("another CA", with(&other.ca, "grafana.internal")),
        ("another name", with(&good.ca, "other.internal")),
        ("no CA", Tunnel::with(std::slice::from_ref(&https))),
    ] {
        let answer = tunnel.ask(tunnel.get("/secure")).await;
        assert_eq!(answer.status(), 502, "{what}: {}", answer.text());
        assert!(
            answer.message().contains("demo"),
            "{what}: {}",
            answer.message()
        );
        until("the reason in the agent's log", || {
            let log = tunnel.agent.process.output();
            if log.to_lowercase().contains("certificate") {
                Ok(())
            } else {
                Err(tunnel.agent.tail().to_string())
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_can_not_choose_where_a_request_goes() {
    let (origin, secret) = (Origin::mirror().await, Origin::mirror().await);
    let tunnel = Tunnel::to(&origin);
    let addr = secret.addr;
    for rest in [
        format!("/http://{addr}/"),
        format!("//{addr}/"),
        format!("/@{addr}/"),
        format!("?{addr}"),
        format!("/x?url=http://{addr}/"),
    ] {
        let answer = tunnel.ask(tunnel.get(&rest)).await;
        assert_eq!(answer.status(), 200);
    }
    for path in [
        format!("/demo:{}/", addr.port()),
        format!("/demo@{addr}/"),
        format!("/{addr}/"),
        format!("/demo%00{addr}/"),
    ] {
        let (host, token) = (tunnel.host(Form::Host), &tunnel.token);
        let answer = tunnel
            .ask(format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
            ))
            .await;
        assert!(
            [400, 403, 404].contains(&answer.status()),
            "{path}: {}",
            answer.head.first
        );
    }
    for method in ["CONNECT", "TRACE"] {
        let (host, token) = (tunnel.host(Form::Host), &tunnel.token);
        let target = if method == "CONNECT" {
            addr.to_string()
        } else {
            "/demo/".to_owned()
        };
        let answer = tunnel.ask(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
        assert!(
            method == "TRACE" || answer.status() >= 400,
            "{method}: {}",
            answer.head.first
        );
    }
    secret.assert_untouched("a client's choice");
}
