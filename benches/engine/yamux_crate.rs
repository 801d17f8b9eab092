//! The `yamux` crate, with as many streams as a run may want.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio_util::compat::TokioAsyncReadCompatExt;
use yamux::{Config, Connection, Mode, Stream};

use crate::bulk::{Counter, PIECE, count, measure, piece};
use crate::carrier::{Far, Tls};

type Opener = mpsc::Sender<oneshot::Sender<Stream>>;

fn connection<T>(io: T, mode: Mode, on_stream: impl FnMut(Stream) + 'static) -> Opener
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut config = Config::default();
    config.set_max_connection_receive_window(None);
    config.set_max_num_streams(20_000);
    let connection = Connection::new(io.compat(), config, mode);
    let (opener, wanted) = mpsc::channel(1);
    spawn_local(drive(connection, wanted, on_stream));
    opener
}

async fn drive<T>(
    mut connection: Connection<T>,
    mut wanted: mpsc::Receiver<oneshot::Sender<Stream>>,
    mut on_stream: impl FnMut(Stream),
) where
    T: futures_util::AsyncRead + futures_util::AsyncWrite + Unpin,
{
    let mut waiter: Option<oneshot::Sender<Stream>> = None;
    poll_fn(|cx| {
        loop {
            if waiter.is_none()
                && let Poll::Ready(next) = wanted.poll_recv(cx)
            {
                waiter = next;
            }
            if waiter.is_some()
                && let Poll::Ready(Ok(stream)) = connection.poll_new_outbound(cx)
            {
                drop(waiter.take().map(|waiter| waiter.send(stream)));
                continue;
            }
            match connection.poll_next_inbound(cx) {
                Poll::Ready(Some(Ok(stream))) => on_stream(stream),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

async fn serve(mut stream: Stream) {
    let mut buffer = vec![0; PIECE];
    if stream.read_exact(&mut buffer[..1]).await.is_err() {
        return;
    }
    if buffer[0] == b'b' {
        let piece = piece();
        while stream.write_all(&piece).await.is_ok() {}
        return;
    }
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        if stream.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn far(io: Far) {
    let opener = connection(io, Mode::Server, |stream| drop(spawn_local(serve(stream))));
    opener.closed().await;
}

async fn open(opener: &Opener, what: u8) -> Stream {
    let (sender, receiver) = oneshot::channel();
    opener.send(sender).await.unwrap();
    let mut stream = receiver.await.unwrap();
    stream.write_all(&[what]).await.unwrap();
    stream
}

async fn bulk(opener: &Opener, streams: usize, phases: &(Counter, Counter)) {
    for index in 0..streams {
        let mut stream = open(opener, b'b').await;
        let phases = phases.clone();
        spawn_local(async move {
            let mut buffer = vec![0; PIECE];
            while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                count(&phases, index, read);
            }
        });
    }
}

pub async fn download(tls: &Tls, streams: usize, phases: (Counter, Counter)) -> (f64, f64) {
    let address = tls.listen(1, far);
    let opener = connection(tls.connect(address).await, Mode::Client, drop);
    bulk(&opener, streams, &phases).await;
    measure(&phases).await
}

pub struct Echo {
    stream: Stream,
    _opener: Opener,
}

impl Echo {
    pub async fn new(tls: &Tls, streams: usize, phases: &(Counter, Counter)) -> Self {
        let address = tls.listen(1, far);
        let opener = connection(tls.connect(address).await, Mode::Client, drop);
        bulk(&opener, streams, phases).await;
        let stream = open(&opener, b'e').await;
        Self {
            stream,
            _opener: opener,
        }
    }

    pub async fn ping(&mut self, message: &Bytes) {
        self.stream.write_all(message).await.unwrap();
        let mut back = vec![0; message.len()];
        self.stream.read_exact(&mut back).await.unwrap();
    }
}
