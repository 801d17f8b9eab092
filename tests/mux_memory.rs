//! What a session's streams hold of the heap, by an allocator that counts. One test, so that nothing
//! else allocates meanwhile.
#![allow(missing_docs, reason = "tests")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

#[path = "mux/raw.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared")]
mod raw;
#[path = "mux/rig.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared")]
mod rig;

use std::alloc::System;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use pipeops_tunnel::mux::{Budget, RecvHalf, Role, SendHalf, Session, Settings, Stream};
use raw::{DATA, Peer, SYN, WINDOW, data, header};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::io::DuplexStream;
use tokio::task::spawn_local;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const STREAMS: usize = 10_000;

/// Bytes of the heap in use.
fn held() -> usize {
    let stats = HEAP.stats();
    // What grew in place is counted apart.
    stats.bytes_allocated - stats.bytes_deallocated
}

fn allocations() -> usize {
    let stats = HEAP.stats();
    stats.allocations + stats.reallocations
}

fn settings() -> Settings {
    let budget = STREAMS * 2 * WINDOW as usize;
    Settings {
        max_streams: STREAMS,
        max_peer_streams: STREAMS,
        session_budget: budget,
        budget: Arc::new(Budget::new(budget)),
        ..Settings::default()
    }
}

type Kept = Rc<RefCell<Vec<(SendHalf, RecvHalf)>>>;

fn session(io: DuplexStream, role: Role) -> (Session, Kept) {
    let kept = Kept::default();
    kept.borrow_mut().reserve(STREAMS);
    let keep = Rc::clone(&kept);
    let on_stream = move |stream: Stream| keep.borrow_mut().push(stream.split());
    let (session, driver) = Session::new(io, role, settings(), rig::meters(), on_stream);
    spawn_local(driver);
    (session, kept)
}

/// The next stream that the peer opens.
async fn accept(kept: &Kept) -> (SendHalf, RecvHalf) {
    rig::until(|| kept.borrow_mut().pop()).await
}

/// Heap of an idle stream at each end, once a kilobyte has gone there and back.
async fn idle_streams() {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (client, mine) = session(near, Role::Client);
    let (_server, theirs) = session(far, Role::Server);
    let mut idle = Vec::with_capacity(2 * STREAMS);
    let before = held();
    for _ in 0..STREAMS {
        let opened = client.open().await.unwrap().split();
        mine.borrow_mut().push(opened);
    }
    while let Some((mut out, mut inward)) = { mine.borrow_mut().pop() } {
        rig::send(&mut out, vec![1; 1_024]).await.unwrap();
        let (mut far_out, mut far_in) = accept(&theirs).await;
        let bytes = rig::recv(&mut far_in).await.unwrap().unwrap();
        rig::send(&mut far_out, bytes).await.unwrap();
        rig::recv(&mut inward).await.unwrap().unwrap();
        idle.push((out, inward));
        idle.push((far_out, far_in));
    }
    assert_eq!(idle.len(), 2 * STREAMS);
    rig::settle().await;
    let each = (held() - before) / (2 * STREAMS);
    eprintln!("an idle stream holds {each} bytes at each end");
    assert!(each <= 300, "{each} bytes");
}

/// Readers that never read hold what their windows let the peer send, however it is cut, and not
/// the buffers that it came in.
async fn stalled_readers(frame: usize) -> f64 {
    let stalled = 200;
    let (mut peer, carrier) = Peer::over(256 * 1024);
    let (_session, kept) = session(carrier, Role::Server);
    let before = held();
    // Beside them a stream that is read, in the same buffers.
    assert!(peer.write(header(DATA, SYN, 1, 0)).await);
    let (_out, mut inward) = accept(&kept).await;
    spawn_local(async move { while let Ok(Some(_)) = rig::recv(&mut inward).await {} });
    let (mut read, mut write) = peer.split();
    spawn_local(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
    let payload = vec![0; frame];
    let mut spare = WINDOW as usize;
    for stream in 0..stalled {
        let id = 3 + 2 * stream;
        for number in 0..WINDOW as usize / frame {
            let mut bytes = data(if number == 0 { SYN } else { 0 }, id, &payload);
            let beside = (60 * 1024 - frame).min(spare);
            if beside > 0 {
                spare -= beside;
                bytes.extend(data(0, 1, &vec![0; beside]));
            }
            // The other stream's window comes back as it is read; what is lost here is only a bit of
            // the load.
            if spare == 0 && number % 8 == 7 {
                rig::settle().await;
                spare = WINDOW as usize / 2;
            }
            tokio::io::AsyncWriteExt::write_all(&mut write, &bytes)
                .await
                .unwrap();
        }
    }
    rig::settle().await;
    let windows = stalled as usize * WINDOW as usize;
    let ratio = (held() - before) as f64 / windows as f64;
    eprintln!("readers stalled on frames of {frame} bytes hold {ratio:.2} × their windows");
    ratio
}

/// Nothing is allocated for payload on its way out, and one buffer for many frames on its way in.
async fn allocations_of_bulk() {
    let (near, far) = tokio::io::duplex(256 * 1024);
    let (client, _) = session(near, Role::Client);
    let (_server, theirs) = session(far, Role::Server);
    let (mut out, _inward) = client.open().await.unwrap().split();
    let piece = Bytes::from(vec![0; 64 * 1024]);
    rig::send(&mut out, piece.clone()).await.unwrap();
    let (_far_out, mut far_in) = accept(&theirs).await;
    let reader = spawn_local(async move {
        let mut sum = 0;
        while sum < 65 << 20 {
            sum += rig::recv(&mut far_in).await.unwrap().unwrap().len();
        }
    });
    let before = (allocations(), HEAP.stats().bytes_allocated);
    for _ in 0..64 * 16 {
        rig::send(&mut out, piece.clone()).await.unwrap();
    }
    reader.abort();
    let each = (allocations() - before.0) / 64;
    let bytes = (HEAP.stats().bytes_allocated - before.1) as f64 / f64::from(64 << 20);
    eprintln!("{each} allocations a MiB, {bytes:.2} bytes allocated for each byte moved");
    assert!(each <= 100, "{each} allocations a MiB");
    assert!(
        bytes <= 1.5,
        "{bytes:.2} bytes allocated for each that was moved"
    );
}

#[test]
fn streams_hold_what_they_may() {
    rig::local(idle_streams());
    rig::local(allocations_of_bulk());
    // Above 1 is what the first pieces of a stream keep of the buffers that they came in; at worst,
    // with frames as large as the smallest that are not copied.
    let ratios =
        [1_024, 8 * 1024, 16 * 1024, 32 * 1024].map(|frame| rig::local(stalled_readers(frame)));
    assert!(ratios.iter().all(|ratio| *ratio <= 2.0), "{ratios:?}");
}
