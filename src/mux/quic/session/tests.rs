use super::*;
use crate::metrics::{Registry, Tunnel};
use crate::mux::quic::{Opens, transport};
use crate::wire::carrier::CarrierKind;
use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use rustls::{RootCertStore, crypto::ring};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{LocalSet, spawn_local};

fn server() -> (ServerConfig, RootCertStore) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    config.transport_config(transport(Opens::Exchanges));
    (config, roots)
}

fn client(roots: RootCertStore, peer: Opens) -> ClientConfig {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(transport(peer));
    config
}

/// Two ends of a connection over loopback; the client's end lets the server open `peer`.
async fn connections(peer: Opens) -> (Connection, Connection) {
    let (config, roots) = server();
    let server = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let mut near = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    near.set_default_client_config(client(roots, peer));
    let connecting = near
        .connect(server.local_addr().unwrap(), "localhost")
        .unwrap();
    let accepting = async { server.accept().await.unwrap().await.unwrap() };
    let (client, server) = tokio::join!(connecting, accepting);
    (client.unwrap(), server)
}

fn tunnel() -> (Registry, Arc<Tunnel>) {
    let mut registry = Registry::new("test");
    let tunnel = Tunnel::new(&mut registry, "any").unwrap();
    (registry, tunnel)
}

fn meters() -> SessionMeters {
    tunnel().1.session(CarrierKind::Quic)
}

async fn echo(stream: Stream) {
    let (mut send, mut recv) = stream.split();
    while let Ok(Some(mut bytes)) = poll_fn(|cx| recv.poll_recv(cx)).await {
        if poll_fn(|cx| send.poll_send(cx, &mut bytes)).await.is_err() {
            return;
        }
    }
    send.finish();
    // Until the other side has it.
    while !send.is_closed() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A client, and a server that does this with each stream.
async fn pair<F: Future<Output = ()> + 'static>(
    mut serve: impl FnMut(Stream) -> F + 'static,
) -> (Session, Session) {
    let (near, far) = connections(Opens::Exchanges).await;
    let (client, driver) = Session::new(near, meters(), drop);
    spawn_local(driver);
    let (server, driver) = Session::new(far, meters(), move |stream| {
        spawn_local(serve(stream));
    });
    spawn_local(driver);
    (client, server)
}

async fn read_until(recv: &mut crate::mux::quic::RecvHalf) -> (Vec<u8>, std::io::Result<()>) {
    let mut all = Vec::new();
    loop {
        match poll_fn(|cx| recv.poll_recv(cx)).await {
            Ok(Some(bytes)) => all.extend_from_slice(&bytes),
            Ok(None) => return (all, Ok(())),
            Err(error) => return (all, Err(error)),
        }
    }
}

async fn read_all(recv: &mut crate::mux::quic::RecvHalf) -> Vec<u8> {
    let (all, end) = read_until(recv).await;
    end.unwrap();
    all
}

fn sample(length: u32) -> Bytes {
    (0..length).map(|n| (n % 251) as u8).collect()
}

#[tokio::test]
async fn bytes_come_back_whole_and_in_order_and_an_end_passes() {
    LocalSet::new()
        .run_until(async {
            let (client, _server) = pair(echo).await;
            let (mut send, mut recv) = client.open().await.unwrap().split();
            let sent = sample(20_000_000);
            let mut out = sent.clone();
            let writer = spawn_local(async move {
                poll_fn(|cx| send.poll_send(cx, &mut out)).await.unwrap();
                send.finish();
                send
            });
            assert!(read_all(&mut recv).await == sent);
            let send = writer.await.unwrap();
            assert!(!send.is_closed(), "ended, and not given up");
            assert_eq!(client.stats().sent, sent.len() as u64);
            assert_eq!(client.stats().received, sent.len() as u64);
            assert_eq!(client.live_streams(), 1);
            drop((send, recv));
            assert_eq!(client.live_streams(), 0);
        })
        .await;
}

#[tokio::test]
async fn what_was_sent_arrives_although_the_stream_is_dropped() {
    LocalSet::new()
        .run_until(async {
            let (client, _server) = pair(|stream| async {
                let (mut send, _recv) = stream.split();
                let mut out = sample(100_000);
                poll_fn(|cx| send.poll_send(cx, &mut out)).await.unwrap();
            })
            .await;
            let (mut send, mut recv) = client.open().await.unwrap().split();
            poll_fn(|cx| send.poll_send(cx, &mut Bytes::from_static(b"x")))
                .await
                .unwrap();
            let (all, end) = read_until(&mut recv).await;
            assert!(all == sample(100_000));
            assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
            // And the other direction is known to be of no use.
            while !send.is_closed() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(recv.is_closed());
            let sent = poll_fn(|cx| send.poll_send(cx, &mut Bytes::from_static(b"y"))).await;
            sent.unwrap_err();
        })
        .await;
}

#[tokio::test]
async fn an_excess_stream_is_refused_and_the_session_lives() {
    LocalSet::new()
        .run_until(async {
            let (client, _server) = pair(echo).await;
            let mut held = Vec::new();
            for _ in 0..MAX_STREAMS {
                let (mut send, recv) = client.open().await.unwrap().split();
                poll_fn(|cx| send.poll_send(cx, &mut Bytes::from_static(b"x")))
                    .await
                    .unwrap();
                held.push((send, recv));
            }
            assert_eq!(client.open().await.unwrap_err(), OpenError::TooManyStreams);
            held.truncate(MAX_STREAMS / 2);
            client.open().await.unwrap();
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_grants_no_stream_is_not_waited_for() {
    LocalSet::new()
        .run_until(async {
            let (near, far) = connections(Opens::Ticket).await;
            let (_client, driver) = Session::new(near, meters(), |stream| {
                spawn_local(echo(stream));
            });
            spawn_local(driver);
            let (server, driver) = Session::new(far, meters(), drop);
            spawn_local(driver);
            let held = server.open().await.unwrap();
            assert_eq!(server.open().await.unwrap_err(), OpenError::TooManyStreams);
            assert_eq!(server.live_streams(), 1, "nobody waits any more");
            drop(held);
        })
        .await;
}

#[tokio::test]
async fn closing_ends_both_sides_and_every_stream_after_what_was_handed_over() {
    LocalSet::new()
        .run_until(async {
            let (near, far) = connections(Opens::Exchanges).await;
            let (client, driver) = Session::new(near, meters(), drop);
            let client_ends = spawn_local(driver);
            let (opened, mut accepted) = tokio::sync::mpsc::channel(1);
            let (server, driver) = Session::new(far, meters(), move |stream| {
                opened.try_send(stream).unwrap();
            });
            let server_ends = spawn_local(driver);
            let (mut send, mut recv) = client.open().await.unwrap().split();
            poll_fn(|cx| send.poll_send(cx, &mut Bytes::from_static(b"x")))
                .await
                .unwrap();
            let (mut answer, _request) = accepted.recv().await.unwrap().split();
            let mut out = sample(1_000_000);
            poll_fn(|cx| answer.poll_send(cx, &mut out)).await.unwrap();
            server.close();
            assert!(server.is_closed());
            assert!(read_all(&mut recv).await == sample(1_000_000));
            client.closed().await;
            client_ends.await.unwrap().unwrap();
            server_ends.await.unwrap().unwrap();
            assert!(send.is_closed());
            assert_eq!(client.open().await.unwrap_err(), OpenError::Closed);
            assert_eq!(server.open().await.unwrap_err(), OpenError::Closed);
        })
        .await;
}

#[tokio::test]
async fn a_dropped_driver_cuts_everything() {
    LocalSet::new()
        .run_until(async {
            let (near, far) = connections(Opens::Exchanges).await;
            let (client, driver) = Session::new(near, meters(), drop);
            spawn_local(driver);
            let (server, driver) = Session::new(far, meters(), drop);
            let (_send, mut recv) = client.open().await.unwrap().split();
            drop(driver);
            assert!(server.is_closed());
            let read = poll_fn(|cx| recv.poll_recv(cx)).await;
            assert!(!matches!(read, Ok(Some(_))), "{read:?}");
            client.closed().await;
        })
        .await;
}

#[tokio::test]
async fn a_reader_that_stops_costs_its_window_and_nothing_is_left_of_it() {
    let (registry, tunnel) = tunnel();
    let counted = tunnel.session(CarrierKind::Quic);
    let value = |name: &str| {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        let series = family.unwrap().get_metric();
        let values = series
            .iter()
            .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value());
        values.sum::<f64>()
    };
    LocalSet::new()
        .run_until(async {
            let (near, far) = connections(Opens::Exchanges).await;
            let (client, driver) = Session::new(near, counted, drop);
            spawn_local(driver);
            let held = Rc::new(RefCell::new(Vec::new()));
            let keep = Rc::clone(&held);
            // The first is held and not read, the others are echoed.
            let (_server, driver) = Session::new(far, meters(), move |stream| {
                if keep.borrow().is_empty() {
                    keep.borrow_mut().push(stream);
                } else {
                    spawn_local(echo(stream));
                }
            });
            spawn_local(driver);
            let (mut send, recv) = client.open().await.unwrap().split();
            let mut out = Bytes::from(vec![0; 20_000_000]);
            let sending = poll_fn(|cx| send.poll_send(cx, &mut out));
            timeout(Duration::from_millis(500), sending)
                .await
                .unwrap_err();
            let taken = 20_000_000 - out.len();
            assert_eq!(taken, crate::wire::limits::QUIC_STREAM_WINDOW);
            assert_eq!(value("test_streams_stalled"), 1.0);
            let (mut other, mut back) = client.open().await.unwrap().split();
            let mut all = sample(10_000_000);
            let writer = spawn_local(async move {
                poll_fn(|cx| other.poll_send(cx, &mut all)).await.unwrap();
                other.finish();
                other
            });
            assert!(read_all(&mut back).await == sample(10_000_000));
            drop((writer.await.unwrap(), back));
            drop((send, recv));
        })
        .await;
    for name in ["streams_stalled", "streams", "waiting_bytes"] {
        assert_eq!(value(&format!("test_{name}")), 0.0, "{name}");
    }
}
