//! A worker: one thread, one runtime, its listeners, and everything that was accepted there.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_local;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::agents::Agents;
use super::carrier::SWEEP;
use super::connection::{self, Front};
use super::metrics::Held;
use super::platform;
use super::ports::{self, Port};
use super::shared::{Mail, Shared};
use super::upgrade;
use crate::wire::limits::MAX_CONNECTIONS_PER_WORKER;

/// Connections that the system keeps for a listener that is behind.
const BACKLOG: i32 = 4096;

/// How long a worker that ends waits for its carriers to be closed.
const GOODBYE: Duration = Duration::from_secs(1);

/// What everything on one worker's thread shares.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) agents: Agents,
    /// The platform's API.
    pub(super) platform: Router,
    /// Client connections; a drain waits for them.
    pub(super) connections: TaskTracker,
    carriers: TaskTracker,
    /// Cancelled when the worker is about to end: carriers say goodbye.
    pub(super) over: CancellationToken,
}

/// What one worker accepts connections from.
pub(super) struct Listeners {
    pub(super) tls: std::net::TcpListener,
    /// For a load balancer in front, where there is one.
    pub(super) plain: Option<std::net::TcpListener>,
    pub(super) ports: Vec<Port>,
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
    listeners: Listeners,
    mailbox: mpsc::Receiver<Mail>,
) -> io::Result<()> {
    let tls = TcpListener::from_std(listeners.tls)?;
    let plain = listeners.plain.map(TcpListener::from_std).transpose()?;
    let metrics = &shared.metrics;
    metrics
        .runtimes()
        .add(format!("worker-{index}"), Handle::current());
    let agents = Agents::new(index, Arc::clone(&shared.tickets));
    let worker = Rc::new(Worker {
        index,
        platform: platform::router(&shared),
        shared,
        agents,
        connections: TaskTracker::new(),
        carriers: TaskTracker::new(),
        over: CancellationToken::new(),
    });
    let mail = spawn_local(read_mail(Rc::clone(&worker), mailbox));
    let sweep = spawn_local(sweep(Rc::clone(&worker)));
    for port in listeners.ports {
        spawn_local(ports::serve(Rc::clone(&worker), port));
    }
    let permits = permits(&worker, MAX_CONNECTIONS_PER_WORKER);
    let serve = |front| {
        let worker = Rc::clone(&worker);
        move |stream, peer| connection::serve(Rc::clone(&worker), front, stream, peer)
    };
    let plain = async {
        if let Some(plain) = plain {
            accept(&worker, plain, &permits, serve(Front::Plain)).await;
        }
    };
    tokio::join!(accept(&worker, tls, &permits, serve(Front::Tls)), plain);
    worker.connections.close();
    tokio::select! {
        () = worker.connections.wait() => {}
        () = worker.shared.kill.cancelled() => {}
    }
    worker.over.cancel();
    worker.carriers.close();
    // A peer that does not answer is not waited for any longer.
    drop(timeout(GOODBYE, worker.carriers.wait()).await);
    mail.abort();
    sweep.abort();
    Ok(())
}

/// Permits for so many connections at once.
pub(super) fn permits(worker: &Worker, limit: usize) -> Arc<Semaphore> {
    let metrics = &worker.shared.metrics;
    metrics.connections_limit.add(limit as i64);
    Arc::new(Semaphore::new(limit))
}

/// Accepts connections until the gateway drains, and serves as many at once as there are permits.
pub(super) async fn accept<F>(
    worker: &Rc<Worker>,
    listener: TcpListener,
    permits: &Arc<Semaphore>,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + 'static,
{
    let drain = worker.shared.drain.clone();
    loop {
        // The permit comes first: without one, connections wait in the system's queue.
        let permit = tokio::select! {
            biased;
            () = drain.cancelled() => return,
            permit = Arc::clone(permits).acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            biased;
            () = drain.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let counted = Held::one(&worker.shared.metrics.connections);
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
            Mail::AgentWants(key, want) => worker.agents.want(&key, want),
            Mail::Carrier(arrival) => {
                let run = upgrade::run(Rc::clone(&worker), arrival);
                worker.carriers.spawn_local(run);
            }
            Mail::Quic(arrival) => {
                let run = arrival.run(Rc::clone(&worker));
                worker.carriers.spawn_local(run);
            }
        }
    }
}

async fn sweep(worker: Rc<Worker>) {
    let mut ticks = interval(SWEEP);
    loop {
        ticks.tick().await;
        worker.agents.sweep();
    }
}
