//! Reads that hold no memory while nothing comes.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

/// The first read, and what a slow source falls back to: one DATA frame.
const LEAST: usize = 64 * 1024;

/// The most that one read takes; more gave nothing.
const MOST: usize = 256 * 1024;

/// A read below this is copied out, so that it never pins a scratch buffer many times its size.
const COPY_BELOW: usize = 8 * 1024;

thread_local! {
    /// Where all relays of a thread read to. What is read leaves it before the poll returns, so
    /// that one that waits holds nothing.
    static SCRATCH: RefCell<BytesMut> = RefCell::default();
}

/// Reads from one source; a read takes more while the source fills it.
#[derive(Debug)]
pub(super) struct Reader {
    want: usize,
    /// What a read ran into behind bytes that it had.
    failed: Option<io::Error>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            want: LEAST,
            failed: None,
        }
    }
}

impl Reader {
    /// The next bytes, as many as are there; empty at the end.
    ///
    /// # Errors
    /// Those of the source, once what came before is read.
    pub(super) fn poll_read(
        &mut self,
        mut io: Pin<&mut (impl AsyncRead + ?Sized)>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.reserve(self.want);
            let mut last = Poll::Pending;
            while scratch.len() < self.want {
                let room = self.want - scratch.len();
                // TLS gives a record at a time.
                last = poll_read_buf(io.as_mut(), cx, &mut (&mut *scratch).limit(room));
                if !matches!(last, Poll::Ready(Ok(1..))) {
                    break;
                }
            }
            let read = scratch.len();
            self.adapt(read);
            match last {
                Poll::Ready(Err(error)) if read > 0 => self.failed = Some(error),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if read == 0 => return Poll::Pending,
                Poll::Ready(Ok(_)) | Poll::Pending => {}
            }
            Poll::Ready(Ok(take(scratch)))
        })
    }

    fn adapt(&mut self, read: usize) {
        if read >= self.want {
            self.want = (self.want * 2).min(MOST);
        } else if read < self.want / 4 {
            self.want = (self.want / 2).max(LEAST);
        }
    }
}

fn take(scratch: &mut BytesMut) -> Bytes {
    if scratch.len() >= COPY_BELOW {
        return scratch.split().freeze();
    }
    let bytes = Bytes::copy_from_slice(scratch);
    scratch.clear();
    bytes
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use futures_util::FutureExt;
    use tokio::io::ReadBuf;

    use super::*;

    /// Gives each item as one read; then it waits for ever.
    struct Script(VecDeque<io::Result<usize>>);

    impl AsyncRead for Script {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.0.pop_front() {
                Some(Ok(size)) => {
                    let now = size.min(buf.remaining());
                    buf.put_slice(&vec![b'x'; now]);
                    if size > now {
                        self.0.push_front(Ok(size - now));
                    }
                    Poll::Ready(Ok(()))
                }
                Some(Err(error)) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            }
        }
    }

    fn read(reader: &mut Reader, script: &mut Script) -> Option<io::Result<Bytes>> {
        poll_fn(|cx| reader.poll_read(Pin::new(script), cx)).now_or_never()
    }

    #[test]
    fn records_are_gathered_and_what_waits_holds_nothing() {
        let mut reader = Reader::default();
        let mut script = Script([Ok(16_384), Ok(16_384), Ok(100)].into());
        let bytes = read(&mut reader, &mut script).unwrap().unwrap();
        assert_eq!(bytes.len(), 32_868);
        assert!(read(&mut reader, &mut script).is_none());
        assert_eq!(SCRATCH.with_borrow(BytesMut::len), 0);
    }

    #[test]
    fn a_small_read_owns_exactly_its_bytes() {
        let mut reader = Reader::default();
        let mut script = Script([Ok(100)].into());
        let bytes = read(&mut reader, &mut script).unwrap().unwrap();
        assert_eq!(bytes.try_into_mut().unwrap().capacity(), 100);
    }

    #[test]
    fn reads_grow_while_the_source_fills_them_and_shrink_again() {
        let mut reader = Reader::default();
        let mut script = Script([Ok(1024 * 1024)].into());
        let sizes: Vec<_> = (0..3)
            .map(|_| read(&mut reader, &mut script).unwrap().unwrap().len())
            .collect();
        assert_eq!(sizes, [LEAST, 2 * LEAST, MOST]);
        for _ in 0..4 {
            let mut trickle = Script([Ok(1)].into());
            drop(read(&mut reader, &mut trickle));
        }
        assert_eq!(reader.want, LEAST);
    }

    #[test]
    fn an_error_behind_bytes_is_no_end() {
        let mut reader = Reader::default();
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        let mut script = Script([Ok(10), Err(reset), Ok(0)].into());
        assert_eq!(read(&mut reader, &mut script).unwrap().unwrap().len(), 10);
        let error = read(&mut reader, &mut script).unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(read(&mut reader, &mut script).unwrap().unwrap().is_empty());
    }
}
