//! Connections of one listener: few at once, and those that do nothing make room for new ones.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lru::LruCache;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::router::{Door, Router, refuse};
use crate::http::framing::{Guard, Heads, is_last};
use crate::relay::tune;

/// Connections of one listener. A kubelet, a few Prometheus and a few people need a dozen; both
/// listeners together stay well below the 1024 descriptors that a process has where nobody gave
/// it more.
const MAX_CONNECTIONS: usize = 128;

/// A head must be here whole within this, and an idle connection is closed after it. A probe's head
/// is one packet, and the kubelet waits a second for the answer; whoever needs longer is no client.
const HEAD_READ: Duration = Duration::from_secs(10);

/// Bytes of a head: a probe's has a few hundred, one with a token a few thousand.
const MAX_HEAD: usize = 16 * 1024;

/// Fields of a head.
const MAX_FIELDS: usize = 64;

/// How long to wait where nothing can be accepted: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a listener for ever.
pub(super) async fn serve(listener: TcpListener, door: Door, router: Rc<Router>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let seats = Seats::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, ?door, "can not accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if permits.available_permits() == 0 {
            seats.evict();
        }
        // Comes at once: whoever was sent away has nothing to wait for.
        let permit = Arc::clone(&permits).acquire_owned().await;
        let (seat, evicted) = seats.take();
        let router = Rc::clone(&router);
        spawn_local(async move {
            let served = connection(stream, peer, door, router, seat);
            if let Some(Err(error)) = evicted.run_until_cancelled_owned(served).await {
                tracing::trace!(%error, %peer, "admin connection ended");
            }
            drop(permit);
        });
        // However many wait, each is looked at before it can be sent away.
        yield_now().await;
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    door: Door,
    router: Rc<Router>,
    seat: Seat,
) -> hyper::Result<()> {
    if let Err(error) = tune(&stream) {
        tracing::trace!(%error, %peer, "can not set a socket's options");
    }
    let (guard, heads) = Guard::new(stream);
    let io = Watched {
        io: TokioIo::new(guard),
        seat,
    };
    let service = service_fn(|request| {
        let response = answer(&router, door, peer, &heads, &request);
        async { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_READ)
        .max_headers(MAX_FIELDS)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, service)
        .await
}

fn answer(
    router: &Router,
    door: Door,
    peer: SocketAddr,
    heads: &Heads,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let violation = heads.next();
    let last = violation.is_some() || is_last(request.method(), request.headers());
    let mut response = match violation {
        Some(violation) => refuse(&violation.into()),
        None => router.answer(door, peer.ip(), request),
    };
    if last {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    tracing::trace!(%peer, ?door, path = request.uri().path(), status = response.status().as_u16(), "admin request");
    response
}

/// Who is connected, by when they last took a byte of an answer: half a head, an idle connection
/// and a reader that stalls are all alike.
#[derive(Clone, Default)]
struct Seats(Rc<SeatsInner>);

struct SeatsInner {
    taken: RefCell<LruCache<u64, CancellationToken>>,
    next: Cell<u64>,
}

impl Default for SeatsInner {
    fn default() -> Self {
        Self {
            // The permits bound it.
            taken: RefCell::new(LruCache::unbounded()),
            next: Cell::new(0),
        }
    }
}

impl Seats {
    /// A seat, and what says that it is taken away.
    fn take(&self) -> (Seat, CancellationToken) {
        let id = self.0.next.get();
        self.0.next.set(id + 1);
        let evicted = CancellationToken::new();
        self.0.taken.borrow_mut().put(id, evicted.clone());
        let seats = self.clone();
        (Seat { seats, id }, evicted)
    }

    /// Sends away whoever took nothing for longest.
    fn evict(&self) {
        if let Some((_, evicted)) = self.0.taken.borrow_mut().pop_lru() {
            evicted.cancel();
        }
    }
}

/// A connection's place; free again when dropped.
struct Seat {
    seats: Seats,
    id: u64,
}

impl Seat {
    fn progress(&self) {
        self.seats.0.taken.borrow_mut().promote(&self.id);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.0.taken.borrow_mut().pop(&self.id);
    }
}

/// A connection whose writes count as progress.
struct Watched {
    io: TokioIo<Guard<TcpStream>>,
    seat: Seat,
}

impl Read for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl Write for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, buf));
        self.seat.progress();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, bufs));
        self.seat.progress();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
