//! Fixed ports: each leads to one service of one cluster, for whoever its allow-list lets in. Every
//! worker listens on each of them, and keeps what it accepted.

mod carry;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use super::config::{PortConfig, PortProtocol};
use super::worker::{self, Worker};
use crate::relay::Flows;
use crate::wire::limits::MAX_PORT_CONNECTIONS;

/// One port, as one worker has it.
#[derive(Debug)]
pub(super) struct Port {
    config: Arc<PortConfig>,
    socket: Bound,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// Binds all ports for each of so many workers.
///
/// # Errors
/// The address that can not be listened on, and what the system says.
pub(super) fn bind(
    ports: &[PortConfig],
    workers: usize,
) -> Result<Vec<Vec<Port>>, (SocketAddr, io::Error)> {
    let mut all: Vec<Vec<Port>> = (0..workers).map(|_| Vec::new()).collect();
    for config in ports {
        let failed = |error| (config.listen, error);
        let mut config = config.clone();
        probe(&config).map_err(failed)?;
        for own in &mut all {
            let socket = Bound::at(config.protocol, config.listen).map_err(failed)?;
            // Port 0 is chosen once, for all.
            config.listen = socket.address().map_err(failed)?;
            own.push(Port {
                config: Arc::new(config.clone()),
                socket,
            });
        }
        tracing::warn!(
            addr = %config.listen, cluster = config.cluster, service = config.service, allow = ?config.allow,
            "port open: it asks for no token"
        );
    }
    Ok(all)
}

/// As [`worker::probe`].
fn probe(config: &PortConfig) -> io::Result<()> {
    match config.protocol {
        PortProtocol::Tcp => worker::probe(config.listen),
        PortProtocol::Udp => UdpSocket::bind(config.listen).map(drop),
    }
}

impl Bound {
    fn at(protocol: PortProtocol, address: SocketAddr) -> io::Result<Self> {
        if protocol == PortProtocol::Tcp {
            return worker::bind(address).map(Self::Tcp);
        }
        // The system keeps a sender with one socket, and so with one worker.
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(Self::Udp(socket.into()))
    }

    fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            Self::Udp(socket) => socket.local_addr(),
        }
    }
}

/// Serves a port until the gateway drains.
pub(super) async fn serve(worker: Rc<Worker>, port: Port) {
    let address = port.config.listen;
    if let Err(error) = try_serve(&worker, port).await {
        tracing::error!(%error, addr = %address, "a port has failed");
    }
}

async fn try_serve(worker: &Rc<Worker>, port: Port) -> io::Result<()> {
    let config = port.config;
    match port.socket {
        Bound::Tcp(listener) => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let carry = |stream, peer| {
                carry::connection(Rc::clone(worker), Arc::clone(&config), stream, peer)
            };
            let permits = worker::permits(worker, MAX_PORT_CONNECTIONS);
            worker::accept(worker, listener, &permits, carry).await;
        }
        Bound::Udp(socket) => {
            let flows = Flows::new(tokio::net::UdpSocket::from_std(socket)?);
            let open = |flow| {
                let carry = carry::datagrams(Rc::clone(worker), Arc::clone(&config), flow);
                worker.connections.spawn_local(carry);
            };
            let dropped = |why| {
                let metrics = &worker.shared.metrics;
                metrics.tunnel.datagrams_dropped.get(why).inc();
            };
            tokio::select! {
                failed = flows.run(open, dropped) => match failed? {},
                () = worker.shared.drain.cancelled() => {}
            }
        }
    }
    Ok(())
}
