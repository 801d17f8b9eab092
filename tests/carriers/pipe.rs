//! The network between an agent and a gateway, as bad as a test wants it: TCP connections that are
//! relayed as they are, late, slowly, or not any more.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

/// Bytes that are read at once; each waits out the delay.
const PIECE: usize = 16 * 1024;

/// How a connection's bytes move.
#[derive(Debug, Clone, Copy, Default)]
pub struct Way {
    /// Each way.
    pub delay: Duration,
    /// Bytes a second from the agent, if that is limited.
    pub rate: Option<u32>,
}

/// A network.
#[derive(Debug)]
pub struct Pipe {
    pub addr: SocketAddr,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Pipe {
    pub async fn start(to: SocketAddr, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::<Mutex<Vec<_>>>::default();
        let all = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                all.lock()
                    .unwrap()
                    .push(tokio::spawn(relay(stream, to, way)));
            }
        });
        Self { addr, connections }
    }

    /// Connections that are open, by the order in which they came.
    pub fn open(&self) -> Vec<usize> {
        let connections = self.connections.lock().unwrap();
        let open = connections
            .iter()
            .enumerate()
            .filter(|(_, task)| !task.is_finished());
        open.map(|(at, _)| at).collect()
    }

    /// Cuts a connection.
    pub fn cut(&self, at: usize) {
        self.connections.lock().unwrap()[at].abort();
    }
}

async fn relay(agent: TcpStream, to: SocketAddr, way: Way) {
    let Ok(gateway) = TcpStream::connect(to).await else {
        return;
    };
    agent.set_nodelay(true).unwrap();
    gateway.set_nodelay(true).unwrap();
    let (from_agent, to_agent) = agent.into_split();
    let (from_gateway, to_gateway) = gateway.into_split();
    let down = Way { rate: None, ..way };
    tokio::join!(
        carry(from_agent, to_gateway, way),
        carry(from_gateway, to_agent, down)
    );
}

async fn carry<R, W>(mut from: R, mut to: W, way: Way)
where
    R: AsyncReadExt + Unpin,
    W: AsyncWriteExt + Unpin + Send + 'static,
{
    // Bounded, so that a slow way fills the sender's socket.
    let (send, mut take) = mpsc::channel::<(Instant, Vec<u8>)>(16);
    let writing = async move {
        while let Some((due, bytes)) = take.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        drop(to.shutdown().await);
    };
    let reading = async move {
        let mut piece = vec![0; PIECE];
        while let Ok(read @ 1..) = from.read(&mut piece).await {
            if let Some(rate) = way.rate {
                sleep(Duration::from_secs(1).mul_f64(read as f64 / f64::from(rate))).await;
            }
            let due = Instant::now() + way.delay;
            if send.send((due, piece[..read].to_vec())).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}
