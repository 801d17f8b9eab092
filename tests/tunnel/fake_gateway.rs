//! A gateway that is not as it should be: TLS and the control channel by hand.

use crate::{common::temp_dir, wire::Wire};
use futures_util::{SinkExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

/// What is wrong with it.
#[derive(Debug, Clone)]
pub struct Manner {
    /// Its clock is ahead by this.
    pub ahead: SignedDuration,
    /// Whether it knows probes.
    pub probes: bool,
    /// The kinds of carrier that it asks for.
    pub kinds: &'static [&'static str],
    /// The years that its certificate is valid in.
    pub years: (i32, i32),
    /// The name in its certificate.
    pub name: &'static str,
    /// Whether it answers HTTP at all.
    pub silent: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            ahead: SignedDuration::ZERO,
            probes: true,
            kinds: &[],
            years: (2020, 2200),
            name: "localhost",
            silent: false,
        }
    }
}

/// One that runs until the test ends.
#[derive(Debug)]
pub struct FakeGateway {
    pub addr: SocketAddr,
    pub ca: PathBuf,
    seen: Arc<Mutex<Vec<String>>>,
}

impl FakeGateway {
    pub async fn start(manner: Manner) -> Self {
        let (tls, ca) = certify(&manner);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let note = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, note, manner) = (tls.clone(), Arc::clone(&note), manner.clone());
                tokio::spawn(async move {
                    // A client that does not trust the certificate ends the handshake.
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &manner, &note).await;
                    }
                });
            }
        });
        Self { addr, ca, seen }
    }

    /// The heads of all requests, and how control channels ended.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn certify(manner: &Manner) -> (TlsAcceptor, PathBuf) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([manner.name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(manner.years.0, 1, 1);
    params.not_after = date_time_ymd(manner.years.1, 1, 1);
    let cert = params.signed_by(&key, &issuer).unwrap();
    let ca = temp_dir("fake-ca").join("ca.crt");
    fs::write(&ca, issuer.pem()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(tls)), ca)
}

async fn serve(stream: TlsStream<TcpStream>, manner: &Manner, seen: &Mutex<Vec<String>>) {
    let mut wire = Wire::new(stream);
    let Ok(Some(head)) = wire.try_head().await else {
        return;
    };
    seen.lock()
        .unwrap()
        .push(String::from_utf8(head.raw.clone()).unwrap());
    if manner.silent {
        wire.closed().await;
        return;
    }
    let now = Timestamp::now() + manner.ahead;
    let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT");
    let Some(key) = head.get("sec-websocket-key") else {
        let answer = format!("HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n");
        drop(wire.try_send(answer).await);
        return;
    };
    let accept = derive_accept_key(key.as_bytes());
    wire.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
    .await;
    let (early, stream) = wire.into_parts();
    let config = WebSocketConfig::default();
    let socket =
        WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await;
    let end = channel(socket, manner).await;
    seen.lock().unwrap().push(end.to_owned());
}

async fn channel(
    mut socket: WebSocketStream<TlsStream<TcpStream>>,
    manner: &Manner,
) -> &'static str {
    let mut welcome = json!({
        "session_id": "s", "protocol_version": 1, "cluster_id": "cls-f", "cluster_name": "fake",
        "heartbeat_interval_ms": 15_000,
    });
    if manner.probes {
        welcome["probe"] = true.into();
    }
    let open = json!({"ticket": "no-ticket", "kinds": manner.kinds});
    for (kind, payload) in [("welcome", welcome), ("open_carrier", open)] {
        let time = Timestamp::now() + manner.ahead;
        let message: Value =
            json!({"type": kind, "id": kind, "timestamp": time.to_string(), "payload": payload});
        if socket
            .send(Message::text(message.to_string()))
            .await
            .is_err()
        {
            return "lost";
        }
    }
    while let Some(Ok(message)) = socket.next().await {
        if message.is_close() {
            return "closed by the agent";
        }
    }
    "lost"
}
