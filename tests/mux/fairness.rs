//! Who gets how much of a full carrier. The peer is a raw one that counts frames as they come, so
//! that nothing here depends on a clock.

use std::collections::HashMap;

use pipeops_tunnel::mux::{RecvHalf, Role, SendHalf, Session};
use tokio::task::spawn_local;

use crate::raw::{ACK, DATA, PING, Peer, SYN, WINDOW_UPDATE, header};
use crate::rig::{keeping, local, send};

const CAPACITY: usize = 64 * 1024;

/// Bytes between a stream's hand-over and the carrier: the send budget, what the duplex and one
/// write hold, and one turn of each bulk stream.
const AHEAD: usize = 512 * 1024 + 2 * CAPACITY + 256 * 1024;

/// Opens streams that send for ever.
async fn bulk(session: &Session, streams: usize) -> Vec<RecvHalf> {
    let mut held = Vec::new();
    for _ in 0..streams {
        let (mut out, inward) = session.open().await.unwrap().split();
        spawn_local(async move { while send(&mut out, vec![0; 100_000]).await.is_ok() {} });
        held.push(inward);
    }
    held
}

/// Reads bytes of payload until there were so many or `stop` says so, and gives back the windows.
async fn take(
    peer: &mut Peer,
    bytes: usize,
    mut stop: impl FnMut(u32, &[u8]) -> bool,
) -> HashMap<u32, usize> {
    let mut shares = HashMap::new();
    let mut sum = 0;
    while sum < bytes {
        let frame = peer.next().await.expect("the session has ended");
        if frame.is(PING, SYN) {
            peer.write(header(PING, ACK, 0, frame.length)).await;
        }
        if frame.kind != DATA || frame.length == 0 {
            continue;
        }
        sum += frame.payload.len();
        *shares.entry(frame.id).or_default() += frame.payload.len();
        if stop(frame.id, &frame.payload) {
            break;
        }
        let accepted = if frame.flags & SYN == 0 { 0 } else { ACK };
        peer.write(header(WINDOW_UPDATE, accepted, frame.id, frame.length))
            .await;
    }
    shares
}

fn shares_are_even(streams: usize, each: usize) {
    local(async {
        let (mut peer, carrier) = Peer::over(CAPACITY);
        let (session, _running, _) = keeping(carrier, Role::Client);
        let _held = bulk(&session, streams).await;
        // Until all are under way.
        take(&mut peer, streams * 300_000, |_, _| false).await;
        let shares = take(&mut peer, streams * each, |_, _| false).await;
        assert_eq!(shares.len(), streams, "streams that got anything");
        let least = *shares.values().min().unwrap() as f64;
        let most = *shares.values().max().unwrap() as f64;
        assert!(
            least / most >= 0.8,
            "the least got {least}, the most {most}"
        );
    });
}

#[test]
fn four_bulk_streams_get_the_same() {
    shares_are_even(4, 4_000_000);
}

#[test]
fn three_hundred_bulk_streams_get_the_same() {
    shares_are_even(300, 600_000);
}

async fn small(session: &Session) -> (SendHalf, RecvHalf) {
    let (mut out, inward) = session.open().await.unwrap().split();
    send(&mut out, vec![0xff; 1_024]).await.unwrap();
    (out, inward)
}

/// A kilobyte handed over while bulk runs is on the carrier after a bounded number of bulk bytes.
#[test]
fn a_small_stream_passes_bulk() {
    local(async {
        let (mut peer, carrier) = Peer::over(CAPACITY);
        let (session, _running, _) = keeping(carrier, Role::Client);
        let _held = bulk(&session, 16).await;
        take(&mut peer, 10_000_000, |_, _| false).await;
        for _ in 0..20 {
            let opening = session.clone();
            let opened = spawn_local(async move { small(&opening).await });
            let mut ahead = 0;
            take(&mut peer, 50_000_000, |_, payload| {
                ahead += payload.len();
                payload[0] == 0xff
            })
            .await;
            assert!(
                ahead <= AHEAD,
                "{ahead} bytes of bulk went before a small stream"
            );
            drop(opened.await.unwrap());
        }
    });
}

/// A stream that is reset while it waits for its turn leaves its share to the others.
#[test]
fn streams_that_go_leave_their_share() {
    local(async {
        let (mut peer, carrier) = Peer::over(CAPACITY);
        let (session, _running, _) = keeping(carrier, Role::Client);
        let held = bulk(&session, 8).await;
        take(&mut peer, 8 * 300_000, |_, _| false).await;
        drop(held);
        for id in (1..8).step_by(2) {
            peer.write(header(WINDOW_UPDATE, crate::raw::RST, id, 0))
                .await;
        }
        take(&mut peer, 4_000_000, |_, _| false).await;
        let shares = take(&mut peer, 8_000_000, |_, _| false).await;
        let ids: Vec<_> = shares.keys().copied().collect();
        assert!(ids.iter().all(|id| *id > 7), "streams {ids:?} send on");
        assert_eq!(ids.len(), 4);
    });
}
