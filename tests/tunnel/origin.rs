//! Targets: servers in the test process that see every byte of the agent.

use crate::wire::{Body, Head, Wire, response};
use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};

/// The target's end of a connection.
pub type Conn = Wire<TcpStream>;

/// A TCP server at a port of its own, until dropped.
#[derive(Debug)]
pub struct Origin {
    pub addr: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Origin {
    /// Serves each connection with `serve`, the bytes as they are.
    pub async fn raw<F>(serve: impl Fn(Conn) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, serve)
    }

    fn on<F>(listener: TcpListener, serve: impl Fn(Conn) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let addr = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<u8>>>::default();
        let connections = Arc::new(AtomicUsize::new(0));
        let (tap, count) = (Arc::clone(&seen), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(Wire::new(stream).tapped(Arc::clone(&tap))));
            }
        });
        Self {
            addr,
            seen,
            connections,
            task,
        }
    }

    /// Hands each connection to the test.
    pub async fn accepting() -> (Self, Accepted) {
        let (give, take) = mpsc::channel(64);
        let origin = Self::raw(move |conn| {
            let give = give.clone();
            async move { give.send(conn).await.expect("the test takes connections") }
        })
        .await;
        (origin, Accepted(take))
    }

    /// Answers each request, read whole, with these bytes; connections are kept.
    pub async fn answering(
        answer: impl Fn(&Head, &Body) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        Self::raw(move |conn| {
            let answer = Arc::clone(&answer);
            async move { serve(conn, &*answer).await }
        })
        .await
    }

    /// Answers each request with its own head, byte for byte.
    pub async fn mirror() -> Self {
        Self::answering(|head, _| response("200 OK", "Content-Type: text/plain\r\n", &head.raw))
            .await
    }

    /// Answers each request with its own body.
    pub async fn echo() -> Self {
        Self::answering(|_, body| response("200 OK", "", &body.bytes)).await
    }

    /// Every byte of all connections so far.
    pub fn seen(&self) -> Vec<u8> {
        self.seen.lock().unwrap().clone()
    }

    /// Whether this text was in any byte so far.
    pub fn saw(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.seen()).contains(text)
    }

    /// How often anything connected.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Fails if anything ever connected.
    pub fn assert_untouched(&self, what: &str) {
        let seen = self.seen();
        let seen = String::from_utf8_lossy(&seen);
        assert_eq!(self.connections(), 0, "{what}: the target saw {seen:?}");
    }
}

async fn serve(mut conn: Conn, answer: &(dyn Fn(&Head, &Body) -> Vec<u8> + Send + Sync)) {
    while let Ok(Some(head)) = conn.try_head().await {
        let body = conn.request_body(&head).await;
        if !body.complete || conn.try_send(answer(&head, &body)).await.is_err() {
            return;
        }
    }
}

/// Connections that an [`Origin::accepting`] got.
#[derive(Debug)]
pub struct Accepted(mpsc::Receiver<Conn>);

impl Accepted {
    pub async fn next(&mut self) -> Conn {
        let next = crate::wire::within("a connection to the target", self.0.recv());
        next.await.expect("the origin lives")
    }
}
