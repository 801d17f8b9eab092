//! What it costs to carry bytes over a WebSocket in TLS on loopback, one thread for both ends: our
//! framing, a general library with small buffers, and nothing but TLS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a bench"
)]

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::{SinkExt, StreamExt};
use pipeops_tunnel::relay::WebSocket;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Of one measurement.
const TOTAL: usize = 64 * 1024 * 1024;

trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

async fn pump(mut from: impl AsyncWrite + Unpin, mut to: impl AsyncRead + Unpin, piece: usize) {
    let writing = async move {
        let data = vec![7; piece];
        for _ in 0..TOTAL / piece {
            from.write_all(&data).await.unwrap();
            from.flush().await.unwrap();
        }
        from
    };
    let reading = async move {
        let mut buffer = vec![0; 64 * 1024];
        let mut left = TOTAL;
        while left > 0 {
            left -= to.read(&mut buffer).await.unwrap();
        }
    };
    tokio::join!(writing, reading);
}

async fn library(client: impl Io, server: impl Io, piece: usize) {
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0);
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, Some(config)).await;
    let mut server = WebSocketStream::from_raw_socket(server, Role::Server, Some(config)).await;
    let writing = async move {
        let data = Bytes::from(vec![7; piece]);
        for _ in 0..TOTAL / piece {
            // What a carrier has is no buffer of its own to give away: it is copied.
            let message = Message::binary(data.to_vec());
            client.send(message).await.unwrap();
        }
        client
    };
    let reading = async move {
        let mut left = TOTAL;
        while left > 0 {
            left -= server.next().await.unwrap().unwrap().len();
        }
    };
    tokio::join!(writing, reading);
}

async fn run(framing: &str, client: impl Io, server: impl Io, piece: usize) {
    match framing {
        "none" => pump(client, server, piece).await,
        "ours" => pump(WebSocket::client(client), WebSocket::server(server), piece).await,
        "ours-down" => pump(WebSocket::server(client), WebSocket::client(server), piece).await,
        _ => library(client, server, piece).await,
    }
}

fn tls() -> (TlsConnector, TlsAcceptor) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(client).into(), Arc::new(server).into())
}

async fn once(framing: &str, (connector, acceptor): &(TlsConnector, TlsAcceptor), piece: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    let name = ServerName::try_from("localhost").unwrap();
    let (client, server) = tokio::join!(
        connector.connect(name, near.unwrap()),
        acceptor.accept(far.unwrap().0)
    );
    run(framing, client.unwrap(), server.unwrap(), piece).await;
}

fn websocket(c: &mut Criterion) {
    let secured = tls();
    let mut group = c.benchmark_group("websocket");
    group.throughput(Throughput::Bytes(TOTAL as u64));
    group.sample_size(10);
    for piece in [64 * 1024, 1024] {
        for framing in ["none", "ours", "ours-down", "tungstenite"] {
            let id = BenchmarkId::new(framing, piece);
            group.bench_function(id, |b| {
                let runtime = Builder::new_current_thread().enable_io().build().unwrap();
                b.iter(|| runtime.block_on(once(framing, &secured, piece)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, websocket);
criterion_main!(benches);
