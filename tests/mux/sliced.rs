//! A carrier that cuts reads and writes at random sizes and is not ready at random.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use fastrand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub struct Sliced<T> {
    io: T,
    rng: Rng,
    /// Most bytes of one read or write.
    most: usize,
    /// How often in a hundred it is not ready.
    pending: u8,
    scratch: Vec<u8>,
}

impl<T> Sliced<T> {
    pub fn new(io: T, rng: &mut Rng) -> Self {
        let most = *rng
            .choice([5, 12, 13, 40, 500, 4_096, 70_000].iter())
            .unwrap();
        // Small cuts are slow enough.
        let pending = if most < 100 { 5 } else { rng.u8(0..50) };
        Self::with(io, rng.fork(), most, pending)
    }

    pub fn with(io: T, rng: Rng, most: usize, pending: u8) -> Self {
        Self {
            io,
            rng,
            most,
            pending,
            scratch: Vec::new(),
        }
    }

    /// The size of the next cut, if it is ready at all.
    fn cut(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        if self.rng.u8(0..100) < self.pending {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.rng.usize(1..=self.most))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Sliced<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let cut = ready!(self.cut(cx)).min(buf.remaining());
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.resize(cut, 0);
        let mut part = ReadBuf::new(&mut scratch);
        let read = Pin::new(&mut self.io).poll_read(cx, &mut part);
        buf.put_slice(part.filled());
        self.scratch = scratch;
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Sliced<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let cut = ready!(self.cut(cx)).min(buf.len());
        Pin::new(&mut self.io).poll_write(cx, &buf[..cut])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let cut = ready!(self.cut(cx));
        let bytes: Vec<u8> = bufs
            .iter()
            .flat_map(|buf| buf.iter().copied())
            .take(cut)
            .collect();
        Pin::new(&mut self.io).poll_write(cx, &bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
