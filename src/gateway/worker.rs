//! A worker: one thread, one runtime, one listener, and everything that was accepted there.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_local;
use tokio::time::{interval, sleep};
use tokio_util::task::TaskTracker;

use super::agents::Agents;
use super::metrics::Held;
use super::ports::{self, Port};
use super::shared::{Mail, Shared};
use super::{connection, upgrade};
use crate::wire::limits::MAX_CONNECTIONS_PER_WORKER;

/// Connections that the system keeps for a listener that is behind.
const BACKLOG: i32 = 4096;

/// What everything on one worker's thread shares.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) agents: Agents,
    /// Client connections; a drain waits for them.
    pub(super) connections: TaskTracker,
}

/// Finds out whether somebody else listens at an address. With `SO_REUSEPORT` a second program of
/// the same user would otherwise get a share of the connections, and nobody would notice.
///
/// # Errors
/// What the system says: the address is in use, or not ours.
pub(super) fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = socket(address)?;
    socket.bind(&address.into())?;
    socket.listen(1)
}

/// Binds the public address for one worker; the others bind the same (`SO_REUSEPORT`).
///
/// # Errors
/// What the system says: the address is in use, or not ours.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<RawSocket> {
    let domain = Domain::for_address(address);
    let socket = RawSocket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

/// Runs a worker until it has drained or is killed.
pub(super) async fn run(
    index: usize,
    shared: Arc<Shared>,
    listener: std::net::TcpListener,
    ports: Vec<Port>,
    mailbox: mpsc::Receiver<Mail>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let metrics = &shared.metrics;
    metrics
        .runtimes()
        .add(format!("worker-{index}"), Handle::current());
    let agents = Agents::new(index, Arc::clone(&shared.tickets));
    let connections = TaskTracker::new();
    let worker = Rc::new(Worker {
        index,
        shared,
        agents,
        connections,
    });
    let mail = spawn_local(read_mail(Rc::clone(&worker), mailbox));
    let sweep = spawn_local(sweep(Rc::clone(&worker)));
    for port in ports {
        spawn_local(ports::serve(Rc::clone(&worker), port));
    }
    let serve = |stream, peer| connection::serve(Rc::clone(&worker), stream, peer);
    accept(&worker, listener, MAX_CONNECTIONS_PER_WORKER, serve).await;
    worker.connections.close();
    tokio::select! {
        () = worker.connections.wait() => {}
        () = worker.shared.kill.cancelled() => {}
    }
    mail.abort();
    sweep.abort();
    Ok(())
}

/// Accepts connections until the gateway drains, and serves up to `limit` at once.
pub(super) async fn accept<F>(
    worker: &Rc<Worker>,
    listener: TcpListener,
    limit: usize,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + 'static,
{
    let permits = Arc::new(Semaphore::new(limit));
    let metrics = &worker.shared.metrics;
    metrics.connections_limit.add(limit as i64);
    let drain = worker.shared.drain.clone();
    loop {
        // The permit comes first: without one, connections wait in the system's queue.
        let permit = tokio::select! {
            biased;
            () = drain.cancelled() => return,
            permit = Arc::clone(&permits).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            biased;
            () = drain.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let counted = Held::one(&metrics.connections);
                let serve = serve(stream, peer);
                worker.connections.spawn_local(async move {
                    serve.await;
                    drop((permit, counted));
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: let some connections end first.
                tracing::warn!(%error, "can not accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn read_mail(worker: Rc<Worker>, mut mailbox: mpsc::Receiver<Mail>) {
    while let Some(mail) = mailbox.recv().await {
        match mail {
            Mail::AgentUp(handle) => worker.agents.up(handle),
            Mail::AgentDraining(key) => worker.agents.draining(&key),
            Mail::AgentGone(key) => worker.agents.gone(&key),
            Mail::Carrier(key, io) => {
                spawn_local(upgrade::run(Rc::clone(&worker), key, io));
            }
        }
    }
}

async fn sweep(worker: Rc<Worker>) {
    let mut ticks = interval(Duration::from_secs(5));
    loop {
        ticks.tick().await;
        worker.agents.sweep();
    }
}
