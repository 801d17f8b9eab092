//! How hard a connection is to write to.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A connection that notes for how long it takes no more. Costs a look at the clock whenever that
/// begins or ends.
#[derive(Debug)]
pub struct Gauged<T> {
    io: T,
    pressure: Rc<Pressure>,
}

/// What was noted.
#[derive(Debug, Default)]
pub struct Pressure {
    /// Since when it takes no more.
    full: Cell<Option<Instant>>,
    /// For how long it took no more, before that.
    sum: Cell<Duration>,
}

impl Pressure {
    /// Whether it takes no more now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.get().is_some()
    }

    /// For how long it took no more since this was last asked.
    pub fn take(&self) -> Duration {
        let now = Instant::now();
        let current = self.full.get().map_or(Duration::ZERO, |since| {
            self.full.set(Some(now));
            now - since
        });
        self.sum.take() + current
    }

    fn note(&self, full: bool) {
        match (self.full.get(), full) {
            (None, true) => self.full.set(Some(Instant::now())),
            (Some(since), false) => {
                self.full.set(None);
                self.sum.set(self.sum.get() + since.elapsed());
            }
            (None, false) | (Some(_), true) => {}
        }
    }
}

impl<T> Gauged<T> {
    /// Begins to note; the second is what is noted.
    pub fn new(io: T) -> (Self, Rc<Pressure>) {
        let pressure = Rc::<Pressure>::default();
        let gauged = Self {
            io,
            pressure: Rc::clone(&pressure),
        };
        (gauged, pressure)
    }

    fn noted<R>(&self, poll: Poll<R>) -> Poll<R> {
        self.pressure.note(poll.is_pending());
        poll
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gauged<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gauged<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write(cx, buf);
        self.noted(poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_flush(cx);
        self.noted(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.noted(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{sleep, timeout};

    #[tokio::test(start_paused = true)]
    async fn the_time_without_room_is_noted_once() {
        let (near, mut far) = duplex(4);
        let (mut gauged, pressure) = Gauged::new(near);
        gauged.write_all(b"1234").await.unwrap();
        assert!(!pressure.is_full());
        let stuck = timeout(Duration::from_secs(3), gauged.write_all(b"5678"));
        assert!(stuck.await.is_err());
        assert!(pressure.is_full());
        assert_eq!(pressure.take(), Duration::from_secs(3));
        sleep(Duration::from_secs(1)).await;
        far.read_exact(&mut [0; 4]).await.unwrap();
        gauged.write_all(b"5678").await.unwrap();
        assert!(!pressure.is_full());
        sleep(Duration::from_secs(5)).await;
        assert_eq!(pressure.take(), Duration::from_secs(1));
        assert_eq!(pressure.take(), Duration::ZERO);
    }
}
