use super::*;
use crate::metrics::{CarrierKind, Registry, Tunnel};
use crate::wire::limits::MAX_STREAMS;
use bytes::Bytes;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::timeout;

async fn echo(stream: Stream) {
    let (mut send, mut recv) = stream.split();
    while let Ok(Some(mut bytes)) = poll_fn(|cx| recv.poll_recv(cx)).await {
        poll_fn(|cx| send.poll_send(cx, &mut bytes)).await.unwrap();
    }
}

fn meters() -> SessionMeters {
    tunnel().1.session(CarrierKind::Tls)
}

fn tunnel() -> (Registry, Arc<Tunnel>) {
    let mut registry = Registry::new("test");
    let tunnel = Tunnel::new(&mut registry, "any").unwrap();
    (registry, tunnel)
}

/// The sum of a family's series.
fn value(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families
        .iter()
        .find(|family| family.name() == name)
        .unwrap();
    let series = family.get_metric().iter();
    series
        .map(|metric| metric.get_counter().get_value() + metric.get_gauge().get_value())
        .sum()
}

fn pair() -> (Session, Session) {
    let (near, far) = tokio::io::duplex(256 * 1024);
    let (client, driver) = Session::new(near, Role::Client, Settings::default(), meters(), |_| {});
    spawn_local(driver);
    let (server, driver) =
        Session::new(far, Role::Server, Settings::default(), meters(), |stream| {
            spawn_local(echo(stream));
        });
    spawn_local(driver);
    (client, server)
}

#[tokio::test]
async fn bytes_come_back_whole_and_in_order() {
    LocalSet::new()
        .run_until(async {
            let (client, _server) = pair();
            let (mut send, mut recv) = client.open().await.unwrap().split();
            let sent: Bytes = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
            let mut out = sent.clone();
            let writer = spawn_local(async move {
                poll_fn(|cx| send.poll_send(cx, &mut out)).await.unwrap();
                send
            });
            let mut back = Vec::new();
            while back.len() < sent.len() {
                let bytes = poll_fn(|cx| recv.poll_recv(cx)).await.unwrap().unwrap();
                back.extend_from_slice(&bytes);
            }
            assert!(back == sent);
            drop(writer.await.unwrap());
            assert_eq!(client.stats().sent, sent.len() as u64);
            assert_eq!(client.stats().received, sent.len() as u64);
        })
        .await;
}

#[tokio::test]
async fn an_excess_stream_is_refused_and_the_session_lives() {
    LocalSet::new()
        .run_until(async {
            let (client, _server) = pair();
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
            // What was handed over leaves first.
            while client.live_streams() >= MAX_STREAMS {
                yield_now().await;
            }
            client.open().await.unwrap();
        })
        .await;
}

#[tokio::test]
async fn closing_ends_both_sides_and_every_stream() {
    LocalSet::new()
        .run_until(async {
            let (client, server) = pair();
            let (mut send, mut recv) = client.open().await.unwrap().split();
            poll_fn(|cx| send.poll_send(cx, &mut Bytes::from_static(b"x")))
                .await
                .unwrap();
            poll_fn(|cx| recv.poll_recv(cx)).await.unwrap().unwrap();
            server.close();
            client.closed().await;
            assert!(!matches!(
                poll_fn(|cx| recv.poll_recv(cx)).await,
                Ok(Some(_))
            ));
            assert_eq!(client.open().await.unwrap_err(), OpenError::Closed);
        })
        .await;
}

#[tokio::test]
async fn a_stream_that_must_wait_is_counted_and_nothing_is_left_of_it() {
    let (registry, tunnel) = tunnel();
    let meters = tunnel.session(CarrierKind::Tls);
    LocalSet::new()
        .run_until(async {
            // The other end never reads, so that first the window and then the carrier is full.
            let (near, _far) = tokio::io::duplex(64 * 1024);
            let (client, driver) =
                Session::new(near, Role::Client, Settings::default(), meters, |_| {});
            let driver = spawn_local(driver);
            let (mut send, recv) = client.open().await.unwrap().split();
            let mut out = Bytes::from(vec![0; 3_000_000]);
            let sending = poll_fn(|cx| send.poll_send(cx, &mut out));
            timeout(Duration::from_millis(50), sending)
                .await
                .unwrap_err();
            assert_eq!(value(&registry, "test_stream_stalls_total"), 1.0);
            assert_eq!(value(&registry, "test_streams_stalled"), 1.0);
            assert_eq!(value(&registry, "test_streams"), 1.0);
            assert!(value(&registry, "test_waiting_bytes") > 0.0);
            assert_eq!(value(&registry, "test_carrier_bytes_total"), 65536.0);
            drop((send, recv));
            driver.abort();
            drop(driver.await);
        })
        .await;
    for name in ["streams_stalled", "streams", "waiting_bytes"] {
        assert_eq!(value(&registry, &format!("test_{name}")), 0.0, "{name}");
    }
    assert!(value(&registry, "test_stream_stalled_seconds_total") > 0.0);
}
