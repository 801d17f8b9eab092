//! One end of a carrier: a session of ours, or a connection of the `yamux` crate.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use bytes::Bytes;
use futures_util::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use pipeops_tunnel::mux::{OpenError, RecvHalf, Role, SendHalf, Session};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio_util::compat::TokioAsyncReadCompatExt;

use crate::rig::{self, Running};

/// Who speaks at an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    Ours,
    Crate,
}

pub enum End {
    Ours(Session),
    Crate(mpsc::Sender<oneshot::Sender<yamux::Stream>>),
}

pub enum Out {
    Ours(SendHalf),
    Crate(WriteHalf<yamux::Stream>),
}

pub enum In {
    Ours(RecvHalf),
    Crate(ReadHalf<yamux::Stream>),
}

impl End {
    /// An end whose driver runs; it gives each stream that the peer opens to `on_stream`.
    pub fn new<T, F>(speaker: Speaker, io: T, role: Role, mut on_stream: F) -> (Self, Running)
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
        F: FnMut(Out, In) + Unpin + 'static,
    {
        if speaker == Speaker::Ours {
            let (session, running) = rig::session(io, role, move |stream| {
                let (out, inward) = stream.split();
                on_stream(Out::Ours(out), In::Ours(inward));
            });
            return (Self::Ours(session), running);
        }
        let mode = match role {
            Role::Client => yamux::Mode::Client,
            Role::Server => yamux::Mode::Server,
        };
        let connection = yamux::Connection::new(io.compat(), yamux::Config::default(), mode);
        let (wanted, wanting) = mpsc::channel(1);
        (
            Self::Crate(wanted),
            spawn_local(drive(connection, wanting, on_stream)),
        )
    }

    pub async fn open(&self) -> Result<(Out, In), OpenError> {
        match self {
            Self::Ours(session) => {
                let (out, inward) = session.open().await?.split();
                Ok((Out::Ours(out), In::Ours(inward)))
            }
            Self::Crate(wanted) => {
                let (sender, receiver) = oneshot::channel();
                wanted.send(sender).await.map_err(|_| OpenError::Closed)?;
                let stream = receiver.await.map_err(|_| OpenError::Closed)?;
                let (inward, out) = stream.split();
                Ok((Out::Crate(out), In::Crate(inward)))
            }
        }
    }
}

impl Out {
    pub async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        match self {
            Self::Ours(half) => rig::send(half, bytes).await,
            Self::Crate(half) => half.write_all(&bytes).await,
        }
    }

    pub async fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Ours(half) => {
                half.finish();
                Ok(())
            }
            Self::Crate(half) => half.close().await,
        }
    }
}

impl In {
    pub async fn recv(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Ours(half) => rig::recv(half).await,
            Self::Crate(half) => {
                let mut buffer = vec![0; 32 * 1024];
                let read = half.read(&mut buffer).await?;
                buffer.truncate(read);
                Ok((read > 0).then(|| buffer.into()))
            }
        }
    }
}

/// Moves a connection of the crate until it ends, or until nobody can want a stream of it.
async fn drive<T, F>(
    mut connection: yamux::Connection<T>,
    mut wanting: mpsc::Receiver<oneshot::Sender<yamux::Stream>>,
    mut on_stream: F,
) -> Result<(), String>
where
    T: futures_util::AsyncRead + futures_util::AsyncWrite + Unpin,
    F: FnMut(Out, In),
{
    let mut waiter = None;
    let mut closing = false;
    let ended = poll_fn(|cx| {
        loop {
            if waiter.is_none() && !closing {
                match wanting.poll_recv(cx) {
                    Poll::Ready(Some(next)) => waiter = Some(next),
                    Poll::Ready(None) => closing = true,
                    Poll::Pending => {}
                }
            }
            if closing {
                return connection.poll_close(cx);
            }
            if waiter.is_some()
                && let Poll::Ready(stream) = connection.poll_new_outbound(cx)
            {
                drop(waiter.take().map(|waiter| waiter.send(stream.unwrap())));
                continue;
            }
            match connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => {
                    let (inward, out) = stream.split();
                    on_stream(Out::Crate(out), In::Crate(inward));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    ended.await.map_err(|error| error.to_string())
}
