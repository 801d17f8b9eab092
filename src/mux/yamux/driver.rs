//! The task that moves a session's bytes between the engine and its carrier.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::io::poll_read_buf;

use super::batch::{Batch, SLICES};
use super::error::SessionError;
use super::session::Shared;
use super::settings::PING_AFTER;
use super::stream::Stream;
use crate::metrics::Waiting;

/// Bytes read before they are handed to their streams.
const READ: usize = 64 * 1024;

/// A read is not begun with less room than a TLS record has.
const LEAST_READ: usize = 16 * 1024;

/// Turns before other tasks of the thread get theirs.
const TURNS: usize = 8;

thread_local! {
    /// What the thread's sessions read into: a session that waits holds none of it.
    static INPUT: RefCell<BytesMut> = RefCell::default();
}

/// Moves a session's bytes; resolves when the session has ended, with the cause if it failed.
pub struct Driver<T, F> {
    io: T,
    shared: Rc<Shared>,
    on_stream: F,
    batch: Batch,
    /// Bytes may wait in the carrier's own buffers.
    unflushed: bool,
    timer: Pin<Box<Sleep>>,
    waiting: Waiting,
}

impl<T, F> fmt::Debug for Driver<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// What a step has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Moved,
    Waits,
    /// The peer has closed the carrier.
    Closed,
}

impl<T, F> Driver<T, F>
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: FnMut(Stream),
{
    pub(super) fn new(io: T, shared: Rc<Shared>, on_stream: F) -> Self {
        Self {
            io,
            waiting: shared.meters.carrier_queue(),
            shared,
            on_stream,
            batch: Batch::default(),
            unflushed: false,
            timer: Box::pin(sleep_until(Instant::now() + PING_AFTER)),
        }
    }

    fn poll_turns(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.shared.core().begin_run();
        for _ in 0..TURNS {
            let now = Instant::now();
            let read = self.read(cx, now)?;
            self.accept();
            let wrote = self.write(cx, now)?;
            self.shared.core().grant();
            self.shared.wake_tasks();
            if read == Step::Closed {
                let cut = self.shared.core().is_in_frame();
                let end = if cut {
                    Err(io::ErrorKind::UnexpectedEof.into())
                } else {
                    Ok(())
                };
                return Poll::Ready(end.map_err(SessionError::Io));
            }
            if self.shared.is_closing() && wrote == Step::Waits && !self.has_output() {
                return self.poll_close(cx);
            }
            if read == Step::Waits && wrote == Step::Waits && !self.poll_timer(cx)? {
                self.batch.relax();
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn has_output(&self) -> bool {
        !self.batch.is_empty() || self.unflushed || self.shared.core().has_output()
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        Pin::new(&mut self.io).poll_shutdown(cx).map_err(Into::into)
    }

    /// Whether the clock has made something to do.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Result<bool, SessionError> {
        let mut ticked = false;
        while self.timer.as_mut().poll(cx).is_ready() {
            let next = self.shared.core().tick(Instant::now())?;
            self.timer.as_mut().reset(next);
            ticked = true;
        }
        Ok(ticked)
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Step, SessionError> {
        if !self.shared.core().wants_input() {
            return Ok(Step::Waits);
        }
        INPUT.with_borrow_mut(|input| {
            let read = self.fill_input(cx, input);
            if !input.is_empty() {
                self.shared.meters.received.inc_by(input.len() as u64);
                self.shared.core().receive(input.split().freeze(), now)?;
            }
            Ok(read?)
        })
    }

    fn fill_input(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> io::Result<Step> {
        if input.capacity() < LEAST_READ {
            input.reserve(READ);
        }
        while input.len() < READ && input.capacity() - input.len() >= LEAST_READ {
            match poll_read_buf(Pin::new(&mut self.io), cx, input) {
                Poll::Ready(Ok(0)) => return Ok(Step::Closed),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending if input.is_empty() => return Ok(Step::Waits),
                Poll::Pending => break,
            }
        }
        Ok(Step::Moved)
    }

    fn accept(&mut self) {
        loop {
            let Some(key) = self.shared.core().accept() else {
                return;
            };
            (self.on_stream)(Stream::new(Rc::clone(&self.shared), key));
        }
    }

    /// Writes one batch. Only when the carrier has let go of all bytes before: so it takes this one
    /// whole, and cuts it into full records.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Step, SessionError> {
        if self.poll_flush(cx)?.is_pending() {
            return Ok(Step::Waits);
        }
        if self.batch.is_empty() {
            self.shared.core().fill(&mut self.batch, now);
        }
        let moved = self.poll_write(cx);
        self.waiting.set(self.batch.len());
        match moved? {
            Poll::Ready(0) | Poll::Pending => Ok(Step::Waits),
            Poll::Ready(_) => {
                // What is left in the carrier's buffers must not wait for the next turn.
                Ok(self.poll_flush(cx).map(|_| Step::Moved)?)
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        if self.unflushed {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(flushed) => flushed?,
                Poll::Pending => return Ok(Poll::Pending),
            }
            self.unflushed = false;
        }
        Ok(Poll::Ready(()))
    }

    /// Writes what the carrier takes of the batch; says how much that was.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<usize>> {
        let mut total = 0;
        while !self.batch.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.batch.slices(&mut slices);
            let io = Pin::new(&mut self.io);
            let written = match io.poll_write_vectored(cx, &slices[..count]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => written?,
                Poll::Pending if total == 0 => return Ok(Poll::Pending),
                Poll::Pending => break,
            };
            self.unflushed = true;
            self.shared.meters.sent.inc_by(written as u64);
            self.batch.advance(written);
            total += written;
        }
        Ok(Poll::Ready(total))
    }

    /// Tells a peer that broke the protocol, as far as the carrier takes it at once.
    fn say_goodbye(&mut self, cx: &mut Context<'_>) {
        self.shared.core().condemn();
        // The session fails with the violation whatever comes of this; the second write is for what
        // a batch that was under way has kept out of the first.
        drop(self.write(cx, Instant::now()));
        drop(self.write(cx, Instant::now()));
    }
}

impl<T, F> Future for Driver<T, F>
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: FnMut(Stream) + Unpin,
{
    type Output = Result<(), SessionError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.shared.driver_runs(cx.waker());
        let ended = ready!({
            let polled = this.poll_turns(cx);
            if polled.is_pending() {
                this.shared.driver_waits();
            }
            polled
        });
        if matches!(ended, Err(SessionError::Violation(_))) {
            this.say_goodbye(cx);
        }
        Poll::Ready(ended)
    }
}

impl<T, F> Drop for Driver<T, F> {
    fn drop(&mut self) {
        self.shared.end();
    }
}
