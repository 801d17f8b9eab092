//! Sessions in a test: runtimes, drivers, and futures around the polls of streams.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use pipeops_tunnel::metrics::{CarrierKind, Registry, SessionMeters, Tunnel};
use pipeops_tunnel::mux::{RecvHalf, Role, SendHalf, Session, Settings, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};

/// Long enough for a busy machine; a test that waits this long hangs.
pub const DEADLINE: Duration = Duration::from_secs(300);

/// A driver's task: whether the session ended well, or else the error's text.
pub type Running = JoinHandle<Result<(), String>>;

/// Streams that the peer has opened and the test has not yet taken.
pub type Opened = Rc<RefCell<Vec<Stream>>>;

/// Runs a test on one thread, and fails it when it hangs.
pub fn local<F: Future>(test: F) -> F::Output {
    run(test, false)
}

/// The same by a clock that jumps to the next timer whenever nothing else is to be done.
pub fn paused<F: Future>(test: F) -> F::Output {
    run(test, true)
}

fn run<F: Future>(test: F, paused: bool) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(paused)
        .build()
        .unwrap();
    let deadline = if paused { DEADLINE * 1_000 } else { DEADLINE };
    let test = Box::pin(test);
    let test = async { tokio::time::timeout(deadline, test).await };
    let done = LocalSet::new().block_on(&runtime, test);
    done.expect("a test that hangs")
}

pub fn meters() -> SessionMeters {
    let mut registry = Registry::new("test");
    let tunnel = Tunnel::new(&mut registry, "any").unwrap();
    tunnel.session(CarrierKind::Tls)
}

/// A session whose driver runs.
pub fn session<T>(
    io: T,
    role: Role,
    on_stream: impl FnMut(Stream) + Unpin + 'static,
) -> (Session, Running)
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (session, driver) = Session::new(io, role, Settings::default(), meters(), on_stream);
    let running = spawn_local(async move { driver.await.map_err(|error| error.to_string()) });
    (session, running)
}

/// A session that keeps what the peer opens.
pub fn keeping<T>(io: T, role: Role) -> (Session, Running, Opened)
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let opened = Opened::default();
    let keep = Rc::clone(&opened);
    let (session, running) = session(io, role, move |stream| keep.borrow_mut().push(stream));
    (session, running, opened)
}

/// Client and server over a duplex of so many bytes.
pub fn pair(capacity: usize) -> ((Session, Running, Opened), (Session, Running, Opened)) {
    let (near, far) = tokio::io::duplex(capacity);
    (keeping(near, Role::Client), keeping(far, Role::Server))
}

pub async fn send(half: &mut SendHalf, bytes: impl Into<Bytes>) -> io::Result<()> {
    let mut bytes = bytes.into();
    poll_fn(|cx| half.poll_send(cx, &mut bytes)).await
}

pub async fn recv(half: &mut RecvHalf) -> io::Result<Option<Bytes>> {
    poll_fn(|cx| half.poll_recv(cx)).await
}

/// All bytes up to the stream's end, by whatever cause.
pub async fn read_to_end(half: &mut RecvHalf) -> Vec<u8> {
    let mut all = Vec::new();
    while let Ok(Some(bytes)) = recv(half).await {
        all.extend_from_slice(&bytes);
    }
    all
}

/// Lets everything else run until `probe` has something.
pub async fn until<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = probe() {
            return found;
        }
        yield_now().await;
    }
}

/// Lets everything that can run do so for a while.
pub async fn settle() {
    for _ in 0..1_000 {
        yield_now().await;
    }
}

/// The next stream that the peer opens.
pub async fn accept(opened: &Opened) -> (SendHalf, RecvHalf) {
    until(|| opened.borrow_mut().pop()).await.split()
}

/// Sends back what comes, then the end.
pub async fn echo(stream: Stream) {
    let (mut out, mut inward) = stream.split();
    while let Ok(Some(bytes)) = recv(&mut inward).await {
        if send(&mut out, bytes).await.is_err() {
            return;
        }
    }
    out.finish();
}
