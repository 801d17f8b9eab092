//! Datagrams between UDP sockets and an exchange. What comes faster than the other side takes it
//! is dropped and counted, as any network would drop it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{Interest, ReadBuf};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::pump::RelayError;
use crate::http::exchange::{ExchangeError, Receiver, Sender};
use crate::metrics::{Dropped, Request};
use crate::wire::capsule::{self, Capsule, Decoder};
use crate::wire::frame::{Frame, FrameError};
use crate::wire::limits::{LINGER, MAX_DATAGRAM, MAX_DATAGRAMS_WAITING};

/// One byte more than any datagram has, so that none is ever cut short.
const ROOM: usize = MAX_DATAGRAM + 1;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Datagrams that wait for the tunnel, as capsules; at most [`MAX_DATAGRAMS_WAITING`].
#[derive(Debug, Default)]
pub struct Queue {
    waiting: RefCell<VecDeque<Bytes>>,
    bytes: Cell<usize>,
    grown: Notify,
}

impl Queue {
    /// Adds a datagram.
    ///
    /// # Errors
    /// Why it is dropped instead.
    pub fn push(&self, datagram: &[u8]) -> Result<(), Dropped> {
        let bytes = self.bytes.get() + datagram.len();
        if bytes > MAX_DATAGRAMS_WAITING {
            return Err(Dropped::Behind);
        }
        let capsule = capsule::encode(datagram).ok_or(Dropped::TooLarge)?;
        self.bytes.set(bytes);
        self.waiting.borrow_mut().push_back(capsule);
        self.grown.notify_one();
        Ok(())
    }

    /// All capsules that wait; at least one.
    pub async fn take(&self) -> VecDeque<Bytes> {
        while self.waiting.borrow().is_empty() {
            self.grown.notified().await;
        }
        self.bytes.set(0);
        self.waiting.take()
    }
}

/// Receives datagrams until the socket fails; `take` gets each with its sender.
///
/// # Errors
/// Those of the socket; that nobody listens at the far end of a connected one is among them.
pub async fn receive(
    socket: &UdpSocket,
    take: impl FnMut(SocketAddr, &[u8]),
) -> io::Result<Infallible> {
    tokio::select! {
        failed = receive_all(socket, take) => failed,
        error = failure(socket) => Err(error?),
    }
}

/// Waits for what an earlier datagram ran into: no read is woken by that.
async fn failure(socket: &UdpSocket) -> io::Result<io::Error> {
    loop {
        socket.ready(Interest::ERROR).await?;
        let looked = socket.try_io(Interest::ERROR, || {
            socket.take_error()?.ok_or(io::ErrorKind::WouldBlock.into())
        });
        match looked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            found => return found,
        }
    }
}

async fn receive_all(
    socket: &UdpSocket,
    mut take: impl FnMut(SocketAddr, &[u8]),
) -> io::Result<Infallible> {
    poll_fn(|cx| {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(ROOM, 0);
            loop {
                let mut buffer = ReadBuf::new(scratch);
                match ready!(socket.poll_recv_from(cx, &mut buffer)) {
                    Ok(sender) => take(sender, buffer.filled()),
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
    })
    .await
}

/// An exchange with datagrams on it.
#[derive(Debug)]
pub struct Datagrams<'a> {
    /// What waits to be sent.
    pub queue: &'a Queue,
    /// Into the tunnel.
    pub sender: &'a mut Sender,
    /// Out of the tunnel.
    pub receiver: &'a mut Receiver,
    /// What counts it.
    pub request: &'a Request,
    /// It ends when nothing came either way for this long.
    pub idle: Duration,
}

impl Datagrams<'_> {
    /// Moves datagrams both ways until one side is done or both are idle; `deliver` gets what comes
    /// out of the tunnel.
    ///
    /// # Errors
    /// [`RelayError`]; the caller drops the stream, which tells the other side.
    pub async fn relay(
        &mut self,
        deliver: impl AsyncFnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), RelayError> {
        let moved = Cell::new(Instant::now());
        let idle = tokio::select! {
            sent = up(self.queue, self.sender, self.request, &moved) => match sent? {},
            received = down(self.receiver, deliver, self.request, &moved) => { received?; false }
            () = idle(&moved, self.idle) => true,
        };
        self.sender.send(&Frame::End).await?;
        if idle {
            // What still comes is as late as if it had come a moment ago.
            while let Ok(Some(Frame::Data(_))) = timeout(LINGER, self.receiver.next())
                .await
                .unwrap_or(Ok(None))
            {}
        }
        Ok(())
    }
}

async fn up(
    queue: &Queue,
    sender: &mut Sender,
    request: &Request,
    moved: &Cell<Instant>,
) -> Result<Infallible, ExchangeError> {
    loop {
        for capsule in queue.take().await {
            request.sent.add(capsule.len());
            sender.queue_data(capsule);
        }
        moved.set(Instant::now());
        sender.flush().await?;
    }
}

async fn down(
    receiver: &mut Receiver,
    mut deliver: impl AsyncFnMut(&[u8]) -> io::Result<()>,
    request: &Request,
    moved: &Cell<Instant>,
) -> Result<(), RelayError> {
    let mut decoder = Decoder::default();
    loop {
        let bytes = match receiver.next().await? {
            Some(Frame::Data(bytes)) => bytes,
            Some(Frame::End) => return Ok(()),
            Some(other) => {
                return Err(ExchangeError::from(FrameError::Unexpected(other.name())).into());
            }
            None => return Err(ExchangeError::Cut.into()),
        };
        request.received.add(bytes.len());
        decoder.push(&bytes);
        while let Some(capsule) = decoder.next_capsule() {
            moved.set(Instant::now());
            let Capsule::Datagram(datagram) = capsule else {
                request.dropped(Dropped::TooLarge);
                continue;
            };
            match deliver(&datagram).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    return Err(error.into());
                }
                Err(_) => request.dropped(Dropped::Undeliverable),
            }
        }
    }
}

async fn idle(moved: &Cell<Instant>, limit: Duration) {
    loop {
        let last = moved.get();
        sleep_until(last + limit).await;
        if moved.get() == last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_queue_that_is_full_drops_until_it_is_taken() {
        let queue = Queue::default();
        let datagram = vec![0; 64 * 1024 - 100];
        for _ in 0..4 {
            queue.push(&datagram).unwrap();
        }
        assert_eq!(queue.push(&datagram), Err(Dropped::Behind));
        assert_eq!(queue.take().now_or_never().unwrap().len(), 4);
        assert!(queue.take().now_or_never().is_none());
        queue.push(&datagram).unwrap();
        assert_eq!(queue.push(&[0; ROOM]), Err(Dropped::TooLarge));
    }

    #[tokio::test]
    async fn that_nobody_listens_is_told_without_another_datagram() {
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(gone.local_addr().unwrap()).await.unwrap();
        drop(gone);
        socket.send(b"x").await.unwrap();
        let told = timeout(Duration::from_secs(60), receive(&socket, |_, _| {})).await;
        let error = told.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn the_largest_datagram_comes_whole() {
        let (a, b) = (
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        );
        let from = a.local_addr().unwrap();
        let largest: Vec<u8> = (0..65_507_u32).map(|n| n.to_le_bytes()[0]).collect();
        a.send_to(&largest, b.local_addr().unwrap()).await.unwrap();
        let got = RefCell::new(None);
        let receive = receive(&b, |peer, datagram| {
            *got.borrow_mut() = Some((peer, datagram.to_vec()));
        });
        drop(timeout(Duration::from_secs(1), receive).await);
        assert!(got.into_inner() == Some((from, largest)));
    }
}
