//! Peers that mean harm: floods, slow bytes, and what must stay bounded. What one single frame does
//! is in `proto/vectors/mux`, see `vectors.rs`.

use std::cell::Cell;
use std::rc::Rc;

use pipeops_tunnel::mux::{Role, Session};
use pipeops_tunnel::wire::limits::MAX_PEER_STREAMS;
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_local;

use crate::raw::{
    ACK, DATA, FIN, Frame, GO_AWAY, PING, Peer, RST, SYN, WINDOW, WINDOW_UPDATE, data, header,
};
use crate::rig::{
    Running, accept, echo, keeping, local, paused, read_to_end, recv, send, session, settle,
};

/// Frames of a flood: many more than any peer has a reason to send at once.
const FLOOD: usize = 40_000;

/// A session that serves, and beside it on the same thread one that must not notice.
struct Target {
    session: Session,
    running: Running,
    neighbour: Session,
    /// Streams that the application was given.
    given: Rc<Cell<usize>>,
}

fn target() -> (Peer, Target) {
    let (peer, carrier) = Peer::new();
    let given = Rc::new(Cell::new(0));
    let count = Rc::clone(&given);
    let (session, running) = session(carrier, Role::Server, move |stream| {
        count.set(count.get() + 1);
        spawn_local(echo(stream));
    });
    let neighbour = neighbour();
    (
        peer,
        Target {
            session,
            running,
            neighbour,
            given,
        },
    )
}

fn neighbour() -> Session {
    let (near, far) = tokio::io::duplex(4_096);
    let (client, _) = session(near, Role::Client, |_| {});
    session(far, Role::Server, |stream| drop(spawn_local(echo(stream))));
    client
}

impl Target {
    /// The session next door still works.
    async fn others_live(&self) {
        let (mut out, mut inward) = self.neighbour.open().await.unwrap().split();
        send(&mut out, &b"hello"[..]).await.unwrap();
        out.finish();
        assert_eq!(read_to_end(&mut inward).await, b"hello");
    }

    /// The session has ended for what the peer did.
    async fn fails(self) {
        self.session.closed().await;
        self.running.await.unwrap().unwrap_err();
    }
}

/// Writes `frames` of them (or until the session ends) while everything that comes back is read;
/// how many were taken, and what came back.
async fn flood(peer: Peer, frames: impl Iterator<Item = Vec<u8>> + 'static) -> (usize, u64) {
    let (mut read, mut write) = peer.split();
    let writer = spawn_local(async move {
        let mut taken = 0;
        for frame in frames {
            if write.write_all(&frame).await.is_err() {
                break;
            }
            taken += 1;
        }
        drop(write.shutdown().await);
        taken
    });
    let back = tokio::io::copy(&mut read, &mut tokio::io::sink())
        .await
        .unwrap_or(0);
    (writer.await.unwrap(), back)
}

/// Floods a session; it must end before the flood does.
fn ends_on(frame: impl Fn(u32) -> Vec<u8> + 'static) {
    // Paused, so that what a peer may do in a second does not depend on the machine.
    paused(async {
        let (peer, target) = target();
        let frames = (0..FLOOD as u32).map(frame);
        let (taken, _) = flood(peer, frames).await;
        assert!(taken < FLOOD, "all of the flood was taken");
        target.others_live().await;
        target.fails().await;
    });
}

#[test]
fn a_flood_of_pings_ends_the_session() {
    ends_on(|n| header(PING, SYN, 0, n));
}

#[test]
fn a_flood_of_streams_that_are_reset_at_once_ends_the_session() {
    ends_on(|n| {
        let mut frames = header(WINDOW_UPDATE, SYN, n * 2 + 1, 0);
        frames.extend(header(WINDOW_UPDATE, RST, n * 2 + 1, 0));
        frames
    });
}

#[test]
fn a_flood_of_empty_data_ends_the_session() {
    ends_on(|n| header(DATA, if n == 0 { SYN } else { 0 }, 1, 0));
}

/// Opening is no offence: an excess stream is refused, for as long as that is no flood.
#[test]
fn excess_streams_are_refused_one_by_one() {
    local(async {
        let (mut peer, target) = target();
        let excess = 100;
        for n in 0..MAX_PEER_STREAMS as u32 {
            assert!(peer.write(data(SYN, n * 2 + 1, b"x")).await);
        }
        let frames = peer.sync().await.expect("the session has ended");
        assert!(
            !frames.iter().any(|frame| frame.flags & RST != 0),
            "a stream within the limit was refused"
        );
        for n in 0..excess {
            let id = (MAX_PEER_STREAMS as u32 + n) * 2 + 1;
            assert!(peer.write(data(SYN, id, b"x")).await);
        }
        let frames = peer.sync().await.expect("the session has ended");
        let refused = frames.iter().filter(|frame| frame.flags & RST != 0).count();
        assert_eq!(refused, excess as usize);
        assert_eq!(target.given.get(), MAX_PEER_STREAMS);
        // One that ends makes room for one.
        assert!(peer.write(header(DATA, RST, 1, 0)).await);
        settle().await;
        assert!(peer.write(data(SYN, 999_999, b"x")).await);
        let frames = peer.sync().await.expect("the session has ended");
        assert!(!frames.iter().any(|frame| frame.flags & RST != 0));
        target.others_live().await;
    });
}

#[test]
fn a_flood_of_opens_ends_the_session_and_gives_out_no_more_than_the_limit() {
    paused(async {
        let (peer, target) = target();
        let frames = (0..FLOOD as u32).map(|n| header(WINDOW_UPDATE, SYN, n * 2 + 1, 0));
        let (taken, _) = flood(peer, frames).await;
        assert!(taken < FLOOD, "all of the flood was taken");
        assert!(
            target.given.get() <= MAX_PEER_STREAMS,
            "{} streams",
            target.given.get()
        );
        target.others_live().await;
        target.fails().await;
    });
}

/// Answers that nobody reads must not pile up: the session stops reading instead.
#[test]
fn a_peer_that_pings_and_reads_nothing_is_read_no_more() {
    paused(async {
        let (peer, carrier) = Peer::over(1_024);
        let (session, _running, _) = keeping(carrier, Role::Server);
        let (_unread, mut write) = peer.split();
        let mut taken = 0;
        let pings = async {
            loop {
                if write.write_all(&header(PING, SYN, 0, 1)).await.is_err() {
                    break;
                }
                taken += 1;
            }
        };
        drop(tokio::time::timeout(std::time::Duration::from_secs(1), pings).await);
        assert!(taken < 12_000, "{taken} pings were taken");
        drop(session);
    });
}

/// A reader that never reads costs its window and nothing else.
#[test]
fn data_that_nobody_reads_is_bounded_by_the_window() {
    local(async {
        let (mut peer, carrier) = Peer::new();
        let (_session, running, opened) = keeping(carrier, Role::Server);
        let window = vec![0; WINDOW as usize / 4];
        assert!(peer.write(data(SYN, 1, &window)).await);
        for _ in 0..3 {
            assert!(peer.write(data(0, 1, &window)).await);
        }
        let frames = peer.sync().await.expect("a whole window ended the session");
        let given =
            |frame: &Frame| frame.kind == WINDOW_UPDATE && frame.id == 1 && frame.length > 0;
        assert!(
            !frames.iter().any(given),
            "credit for what nobody has read: {frames:?}"
        );
        let (_out, mut inward) = accept(&opened).await;
        let mut read = 0;
        while read < WINDOW as usize {
            read += recv(&mut inward).await.unwrap().unwrap().len();
        }
        settle().await;
        let frames = peer.sync().await.unwrap();
        assert!(frames.iter().any(given), "no credit for what was read");
        drop(peer);
        drop(running.await);
    });
}

/// Every frame of a conversation in pieces of one byte.
#[test]
fn slow_frames_mean_what_whole_ones_do() {
    local(async {
        let (mut peer, target) = target();
        let mut bytes = data(SYN, 1, b"slow");
        bytes.extend(header(PING, SYN, 0, 77));
        bytes.extend(data(FIN, 1, b"ly"));
        for byte in bytes {
            assert!(peer.write([byte]).await);
            settle().await;
        }
        let frames = peer.read_until(|frame| frame.flags & FIN != 0).await;
        let text: Vec<u8> = frames
            .iter()
            .flat_map(|frame| frame.payload.clone())
            .collect();
        assert_eq!(text, b"slowly");
        assert!(
            frames
                .iter()
                .any(|frame| frame.is(PING, ACK) && frame.length == 77)
        );
        assert!(!target.session.is_closed());
    });
}

/// A length that no window allows ends the session before any of it has come.
#[test]
fn an_oversized_length_is_refused_by_its_header() {
    local(async {
        for flags in [SYN, 0] {
            let (mut peer, target) = target();
            assert!(peer.write(header(DATA, flags, 1, u32::MAX)).await);
            let frames = peer.rest().await;
            let last = frames.iter().rfind(|frame| frame.kind == GO_AWAY);
            assert_eq!(last.map(|frame| frame.length), Some(1), "{frames:?}");
            target.others_live().await;
            target.fails().await;
        }
    });
}

/// The carrier's end in the middle of a frame is a failure, and of nobody else.
#[test]
fn a_carrier_that_ends_in_mid_frame_fails_the_session() {
    local(async {
        for cut in [1, 11, 13] {
            let (mut peer, target) = target();
            assert!(peer.write(&data(SYN, 1, b"abcdef")[..cut]).await);
            drop(peer);
            target.others_live().await;
            target.fails().await;
        }
    });
}

/// The rest of a frame whose stream the application has let go of belongs to nobody, whatever was
/// opened since.
#[test]
fn the_rest_of_a_frame_never_reaches_another_stream() {
    local(async {
        let (mut peer, carrier) = Peer::new();
        let (session, _running, opened) = keeping(carrier, Role::Server);
        for next in [1, 3] {
            assert!(peer.write(&data(SYN, next, b"abcdef")[..15]).await);
            let given = accept(&opened).await;
            settle().await;
            drop(given);
            settle().await;
            let (mut out, mut inward) = session.open().await.unwrap().split();
            send(&mut out, &b"x"[..]).await.unwrap();
            settle().await;
            assert!(peer.write(b"def").await);
            let frames = peer.sync().await.unwrap();
            let own = frames.iter().find(|frame| frame.is(DATA, SYN)).unwrap().id;
            assert!(peer.write(data(ACK | FIN, own, b"own")).await);
            out.finish();
            assert_eq!(read_to_end(&mut inward).await, b"own");
        }
    });
}

/// A reset reaches the application after what came before it.
#[test]
fn bytes_before_a_reset_are_readable() {
    local(async {
        let (mut peer, carrier) = Peer::new();
        let (_session, _running, opened) = keeping(carrier, Role::Server);
        assert!(peer.write(data(SYN, 1, b"before")).await);
        assert!(peer.write(header(DATA, RST, 1, 0)).await);
        peer.sync().await.unwrap();
        let (mut out, mut inward) = accept(&opened).await;
        assert!(inward.is_closed() && out.is_closed());
        assert_eq!(recv(&mut inward).await.unwrap().unwrap(), b"before"[..]);
        assert!(matches!(recv(&mut inward).await, Ok(None) | Err(_)));
        send(&mut out, &b"x"[..]).await.unwrap_err();
    });
}

/// A stream that the application lets go: what it wrote, then a reset, and what still comes for
/// it is passed over.
#[test]
fn a_dropped_stream_is_reset_after_its_bytes() {
    local(async {
        let (mut peer, carrier) = Peer::new();
        let (session, _running, _) = keeping(carrier, Role::Client);
        let (mut out, inward) = session.open().await.unwrap().split();
        send(&mut out, vec![1; 100_000]).await.unwrap();
        drop((out, inward));
        let frames = peer.read_until(|frame| frame.flags & RST != 0).await;
        let sent: usize = frames.iter().map(|frame| frame.payload.len()).sum();
        assert_eq!(sent, 100_000);
        assert!(peer.write(data(0, 1, &[0; 5_000])).await);
        let frames = peer
            .sync()
            .await
            .expect("late bytes of a reset stream ended the session");
        assert!(!frames.iter().any(|frame| frame.kind == GO_AWAY));
        assert_eq!(session.live_streams(), 0);
    });
}
