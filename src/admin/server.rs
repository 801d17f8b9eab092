//! The admin thread: one runtime, two listeners.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::connection;
use super::router::{Door, Router};
use super::{AdminConfig, MonitoringConfig, Program, Watchdog};
use crate::config::Listen;

/// Connections that wait to be accepted: a flood must not make a probe's wait for its next try.
const BACKLOG: i32 = 1024;

/// Why the admin server does not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// An address can not be listened on.
    #[error(
        "can not listen on {address}: {source}; set {key} to another address (port 0 takes a free one)"
    )]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// The key that says so.
        key: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The token's file can not be used.
    #[error("can not read admin.token_file {}: {source}", path.display())]
    Token {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The thread or its runtime could not be made.
    #[error("can not start the admin thread: {0}")]
    Thread(#[from] io::Error),
}

/// Where an admin server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdminAddresses {
    /// Probes, `/info`, `/config` and `/version`.
    pub admin: SocketAddr,
    /// `/metrics`, unless it is off.
    pub metrics: Option<SocketAddr>,
}

/// A running admin server. It ends when dropped.
#[derive(Debug)]
pub struct AdminServer {
    addresses: AdminAddresses,
    runtime: Handle,
    stop: CancellationToken,
    ended: oneshot::Receiver<()>,
}

impl AdminServer {
    /// Serves what is said of `program`, and of the threads that `watchdog` knows, on a thread of
    /// its own.
    ///
    /// # Errors
    /// [`AdminError`], which says what to change.
    pub fn start(
        admin: &AdminConfig,
        monitoring: &MonitoringConfig,
        program: Arc<dyn Program>,
        watchdog: Watchdog,
    ) -> Result<Self, AdminError> {
        let access = Access::new(admin).map_err(|source| AdminError::Token {
            path: admin.token_file.clone().unwrap_or_default(),
            source,
        })?;
        let (own, address) = bind(admin.listen, "admin.listen")?;
        let mut addresses = AdminAddresses {
            admin: address,
            metrics: None,
        };
        let mut listeners = vec![(Door::Admin, own)];
        if monitoring.enabled && monitoring.prometheus.enabled {
            let key = "monitoring.prometheus.listen";
            let (metrics, address) = bind(monitoring.prometheus.listen, key)?;
            addresses.metrics = Some(address);
            listeners.push((Door::Metrics, metrics));
        }
        let stop = CancellationToken::new();
        let (ready, started) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let until = stop.clone();
        thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || {
                let router = Router::new(program, watchdog, access);
                run(listeners, router, &until, &ready);
                drop(end);
            })?;
        // The thread says how it went before it does anything else.
        let runtime = started.recv().map_err(io::Error::other)??;
        tracing::info!(
            addr = %address,
            metrics_addr = addresses.metrics.map(tracing::field::display),
            "admin listening"
        );
        Ok(Self {
            addresses,
            runtime,
            stop,
            ended,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> AdminAddresses {
        self.addresses
    }

    /// The runtime of its thread.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Ends it, and waits until its ports are free.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        // Nothing is sent: the thread's end is what is waited for.
        drop((&mut self.ended).await);
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Listens on the first address that can be had.
fn bind(listen: Listen, key: &'static str) -> Result<(TcpListener, SocketAddr), AdminError> {
    let mut refused = None;
    for address in listen.candidates() {
        match listener(address) {
            Ok(bound) => return Ok(bound),
            Err(source) => {
                // The first is the one that was wanted.
                refused.get_or_insert(AdminError::Listen {
                    address,
                    key,
                    source,
                });
            }
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable).into()))
}

fn listener(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn run(
    listeners: Vec<(Door, TcpListener)>,
    router: Router,
    stop: &CancellationToken,
    ready: &mpsc::Sender<io::Result<Handle>>,
) {
    let runtime = match Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
    {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let router = Rc::new(router);
        for (door, listener) in listeners {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    spawn_local(connection::serve(listener, door, Rc::clone(&router)));
                }
                Err(error) => return drop(ready.send(Err(error))),
            }
        }
        spawn_local(async move { router.follow().await });
        drop(ready.send(Ok(Handle::current())));
        stop.cancelled().await;
    });
    // A look at the token's file may hang; nobody waits for it.
    runtime.shutdown_background();
}
