//! The two-way pump behind an upgraded connection.

use std::cell::Cell;
use std::io;

use bytes::BytesMut;
use futures_util::future::{Either, select};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::http::exchange::{ExchangeError, Receiver, Sender};
use crate::metrics::Meter;
use crate::wire::frame::{Frame, FrameError};
use crate::wire::limits::HALF_CLOSED_IDLE;

/// One read; a session's frame holds twice as much.
const READ: usize = 16 * 1024;

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
    T: AsyncRead + AsyncWrite,
{
    let (reader, writer) = tokio::io::split(io);
    let moved = Cell::new(0u64);
    let up = std::pin::pin!(to_tunnel(reader, sender, sent, &moved));
    let down = std::pin::pin!(from_tunnel(receiver, writer, received, &moved));
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
    mut reader: impl AsyncRead + Unpin,
    sender: &mut Sender,
    sent: &Meter,
    moved: &Cell<u64>,
) -> Result<(), RelayError> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(READ);
        let read = reader.read_buf(&mut buffer).await?;
        moved.set(moved.get() + 1);
        if read == 0 {
            sender.send(&Frame::End).await?;
            return Ok(());
        }
        sent.add(read);
        sender.queue_data(buffer.split().freeze());
        sender.flush().await?;
    }
}

async fn from_tunnel(
    receiver: &mut Receiver,
    mut writer: impl AsyncWrite + Unpin,
    received: &Meter,
    moved: &Cell<u64>,
) -> Result<(), RelayError> {
    loop {
        match receiver.next().await? {
            Some(Frame::Data(bytes)) => {
                received.add(bytes.len());
                moved.set(moved.get() + 1);
                writer.write_all(&bytes).await?;
            }
            Some(Frame::End) => {
                writer.shutdown().await?;
                return Ok(());
            }
            Some(other) => {
                return Err(ExchangeError::from(FrameError::Unexpected(other.name())).into());
            }
            None => return Err(ExchangeError::Cut.into()),
        }
    }
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
