//! The engine of this crate. The first byte of a stream says what it is for.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use pipeops_tunnel::mux::{Budget, RecvHalf, Role, SendHalf, Session, Settings, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_local;

use crate::bulk::{Counter, count, measure, piece};
use crate::carrier::{Far, Tls, meters};

const BULK: u8 = b'b';
const ECHO: u8 = b'e';

/// As many streams as a run may want.
fn settings() -> Settings {
    let budget = 8 << 30;
    Settings {
        max_streams: 20_000,
        max_peer_streams: 20_000,
        session_budget: budget,
        budget: Arc::new(Budget::new(budget)),
        ..Settings::default()
    }
}

fn session<T>(io: T, role: Role, on_stream: impl FnMut(Stream) + Unpin + 'static) -> Session
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (session, driver) = Session::new(io, role, settings(), meters(), on_stream);
    spawn_local(driver);
    session
}

pub async fn send(half: &mut SendHalf, mut bytes: Bytes) -> bool {
    poll_fn(|cx| half.poll_send(cx, &mut bytes)).await.is_ok()
}

pub async fn recv(half: &mut RecvHalf) -> Option<Bytes> {
    poll_fn(|cx| half.poll_recv(cx)).await.ok().flatten()
}

async fn serve(stream: Stream) {
    let (mut out, mut inward) = stream.split();
    let Some(mut first) = recv(&mut inward).await else {
        return;
    };
    if first[0] == BULK {
        let piece = piece();
        while send(&mut out, piece.clone()).await {}
        return;
    }
    let mut next = Some(first.split_off(1));
    while let Some(bytes) = next {
        if !send(&mut out, bytes).await {
            return;
        }
        next = recv(&mut inward).await;
    }
}

/// The side that sends.
pub async fn far(io: Far) {
    let session = session(io, Role::Server, |stream| drop(spawn_local(serve(stream))));
    session.closed().await;
}

async fn open(session: &Session, what: u8) -> (SendHalf, RecvHalf) {
    let (mut out, inward) = session.open().await.unwrap().split();
    assert!(send(&mut out, Bytes::copy_from_slice(&[what])).await);
    (out, inward)
}

async fn bulk(session: &Session, streams: usize, phases: &(Counter, Counter)) {
    for stream in 0..streams {
        let (out, mut inward) = open(session, BULK).await;
        let phases = phases.clone();
        spawn_local(async move {
            while let Some(bytes) = recv(&mut inward).await {
                count(&phases, stream, bytes.len());
            }
            drop(out);
        });
    }
}

pub async fn download(tls: &Tls, streams: usize, phases: (Counter, Counter)) -> (f64, f64) {
    let address = tls.listen(1, far);
    let session = session(tls.connect(address).await, Role::Client, |_| {});
    bulk(&session, streams, &phases).await;
    measure(&phases).await
}

/// A stream that echoes, beside bulk.
pub struct Echo {
    out: SendHalf,
    inward: RecvHalf,
    _session: Session,
}

impl Echo {
    pub async fn new(tls: &Tls, streams: usize, phases: &(Counter, Counter)) -> Self {
        let address = tls.listen(1, far);
        let session = session(tls.connect(address).await, Role::Client, |_| {});
        bulk(&session, streams, phases).await;
        let (out, inward) = open(&session, ECHO).await;
        Self {
            out,
            inward,
            _session: session,
        }
    }

    pub async fn ping(&mut self, message: &Bytes) {
        assert!(send(&mut self.out, message.clone()).await);
        let mut back = 0;
        while back < message.len() {
            back += recv(&mut self.inward).await.unwrap().len();
        }
    }
}
