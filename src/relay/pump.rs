//! The two-way pump behind an upgraded connection.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Buf;
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_util::io::poll_write_buf;

use super::pieces::Pieces;
use super::read::Reader;
use crate::http::exchange::{ExchangeError, Receiver, Sender};
use crate::metrics::Meter;
use crate::wire::frame::{Frame, FrameError};
use crate::wire::limits::HALF_CLOSED_IDLE;

/// How often a write that waits looks whether there is still somebody to write for.
const LOOK: Duration = Duration::from_secs(1);

/// Bytes from the tunnel that one write takes, where so many are there.
const AT_ONCE: usize = 128 * 1024;

/// What comes next from the tunnel.
type Next = Result<Option<Frame>, ExchangeError>;

/// Why a relay ended before both sides said that they were done.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The socket on this side failed.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    /// The tunnel, or what is behind it, failed.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// One side had ended and the other said nothing for [`HALF_CLOSED_IDLE`].
    #[error("half-closed and silent for {} s", HALF_CLOSED_IDLE.as_secs())]
    Idle,
}

/// Moves bytes both ways until both directions have ended; `sent` and `received` count those to
/// and from the tunnel. An end passes as a half-close, anything else ends both directions.
///
/// # Errors
/// [`RelayError`]; the caller drops the stream, which tells the other side.
pub async fn relay<T>(
    io: T,
    sender: &mut Sender,
    receiver: &mut Receiver,
    sent: &Meter,
    received: &Meter,
) -> Result<(), RelayError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    // Both directions are one task's: no lock is needed.
    let io = RefCell::new(io);
    let moved = Cell::new(0u64);
    let up = pin!(to_tunnel(&io, sender, sent, &moved));
    let down = pin!(from_tunnel(receiver, &io, received, &moved));
    match select(up, down).await {
        Either::Left((ended, down)) => {
            ended?;
            unless_idle(down, &moved).await
        }
        Either::Right((ended, up)) => {
            ended?;
            unless_idle(up, &moved).await
        }
    }
}

async fn to_tunnel(
    io: &RefCell<impl AsyncRead + Unpin>,
    sender: &mut Sender,
    sent: &Meter,
    moved: &Cell<u64>,
) -> Result<(), RelayError> {
    let mut reader = Reader::default();
    loop {
        let bytes = poll_fn(|cx| reader.poll_read(Pin::new(&mut *io.borrow_mut()), cx)).await?;
        moved.set(moved.get() + 1);
        if bytes.is_empty() {
            sender.send(&Frame::End).await?;
            return Ok(());
        }
        sent.add(bytes.len());
        sender.queue_data(bytes);
        sender.flush().await?;
    }
}

async fn from_tunnel(
    receiver: &mut Receiver,
    io: &RefCell<impl AsyncWrite + Unpin>,
    received: &Meter,
    moved: &Cell<u64>,
) -> Result<(), RelayError> {
    let mut looks = looks();
    let mut behind = None;
    loop {
        let frame = match behind.take() {
            Some(frame) => frame,
            None => receiver.next().await,
        };
        match frame? {
            Some(Frame::Data(bytes)) => {
                let mut pieces = Pieces::default();
                pieces.push(bytes);
                behind = gather(receiver, &mut pieces);
                received.add(pieces.remaining());
                moved.set(moved.get() + 1);
                unless_cut(write_all(io, pieces), receiver, &mut looks).await?;
            }
            Some(Frame::End) => {
                poll_fn(|cx| Pin::new(&mut *io.borrow_mut()).poll_shutdown(cx)).await?;
                return Ok(());
            }
            Some(other) => {
                return Err(ExchangeError::from(FrameError::Unexpected(other.name())).into());
            }
            None => return Err(ExchangeError::Cut.into()),
        }
    }
}

/// Adds the bytes that are there already, to [`AT_ONCE`]; gives what came behind them instead.
fn gather(receiver: &mut Receiver, pieces: &mut Pieces) -> Option<Next> {
    while pieces.remaining() < AT_ONCE {
        match receiver.next().now_or_never()? {
            Ok(Some(Frame::Data(bytes))) => pieces.push(bytes),
            other => return Some(other),
        }
    }
    None
}

/// One timer for all writes: a new one for each that waits would cost a system call each.
fn looks() -> Interval {
    let mut looks = interval_at(Instant::now() + LOOK, LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// Waits for a write. Nobody reads the tunnel meanwhile, and so nobody would see its end.
async fn unless_cut(
    write: impl Future<Output = io::Result<()>>,
    receiver: &Receiver,
    looks: &mut Interval,
) -> Result<(), RelayError> {
    let mut write = pin!(write);
    loop {
        tokio::select! {
            biased;
            written = write.as_mut() => return Ok(written?),
            _ = looks.tick() => if receiver.is_closed() {
                return Err(ExchangeError::Cut.into());
            },
        }
    }
}

/// Writes all of it, and has TLS hold back none of it: nothing may follow for long.
async fn write_all(io: &RefCell<impl AsyncWrite + Unpin>, mut pieces: Pieces) -> io::Result<()> {
    while pieces.has_remaining() {
        let written =
            poll_fn(|cx| poll_write_buf(Pin::new(&mut *io.borrow_mut()), cx, &mut pieces)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    poll_fn(|cx| Pin::new(&mut *io.borrow_mut()).poll_flush(cx)).await
}

async fn unless_idle(
    mut rest: impl Future<Output = Result<(), RelayError>> + Unpin,
    moved: &Cell<u64>,
) -> Result<(), RelayError> {
    loop {
        let before = moved.get();
        match timeout(HALF_CLOSED_IDLE, &mut rest).await {
            Ok(ended) => return ended,
            Err(_) if moved.get() == before => return Err(RelayError::Idle),
            Err(_) => {}
        }
    }
}
