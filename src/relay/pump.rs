//! The two-way pump behind an upgraded connection.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::read::Reader;
use crate::http::exchange::{ExchangeError, Receiver, Sender};
use crate::metrics::Meter;
use crate::wire::frame::{Frame, FrameError};
use crate::wire::limits::HALF_CLOSED_IDLE;

/// How often a write that waits looks whether there is still somebody to write for.
const LOOK: Duration = Duration::from_secs(1);

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
    loop {
        match receiver.next().await? {
            Some(Frame::Data(bytes)) => {
                received.add(bytes.len());
                moved.set(moved.get() + 1);
                unless_cut(write_all(io, bytes), receiver).await?;
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

/// Waits for a write. Nobody reads the tunnel meanwhile, and so nobody would see its end.
async fn unless_cut(
    write: impl Future<Output = io::Result<()>>,
    receiver: &Receiver,
) -> Result<(), RelayError> {
    let mut write = pin!(write);
    loop {
        match timeout(LOOK, write.as_mut()).await {
            Ok(written) => return Ok(written?),
            Err(_) if receiver.is_closed() => return Err(ExchangeError::Cut.into()),
            Err(_) => {}
        }
    }
}

/// Writes all of it, and has TLS hold back none of it: nothing may follow for long.
async fn write_all(io: &RefCell<impl AsyncWrite + Unpin>, mut bytes: Bytes) -> io::Result<()> {
    while bytes.has_remaining() {
        let written = poll_fn(|cx| Pin::new(&mut *io.borrow_mut()).poll_write(cx, &bytes)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes.advance(written);
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
