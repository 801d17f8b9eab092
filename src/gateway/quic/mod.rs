//! The UDP side of the public listener: agents' QUIC carriers.
//!
//! All of them share one socket, so that one that moves to another address is still found, and one
//! thread that takes packets off it. The rest of a connection, from its first handshake packet to
//! its streams, is on the worker that the carrier is for: the connection id that an agent begins
//! with says which ([`crate::wire::quic`]).

mod arrival;
mod door;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime, VarInt};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::tls::{self, Certificate, TlsError};
use crate::admin::{Beat, Watchdog};
use crate::mux::quic::{Opens, transport};
use crate::relay;
use crate::wire::limits::MAX_QUIC_HANDSHAKES;
pub(super) use arrival::Arrival;
use door::Door;

/// Bytes that one connection may send before its handshake is taken up, and all of them together.
const EARLY: (u64, u64) = (16 * 1024, 4 * 1024 * 1024);

/// Why there are no QUIC carriers.
#[derive(Debug, thiserror::Error)]
enum QuicError {
    #[error("the UDP port can not be used: {0}")]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("TLS: {0}")]
    Suite(#[from] NoInitialCipherSuite),
}

/// The thread that receives; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Begins to take connections at this address; `None`, with a word in the log, where that is
    /// not wanted or not possible. Agents that ask are then told of no QUIC.
    pub(super) fn start(
        shared: &Arc<Shared>,
        certificate: &Arc<Certificate>,
        address: SocketAddr,
        watchdog: &Watchdog,
    ) -> Option<Self> {
        if !shared.config.quic.enabled {
            return None;
        }
        match Self::open(shared, certificate, address, watchdog) {
            Ok(listener) => {
                shared.has_quic();
                Some(listener)
            }
            Err(error) => {
                tracing::warn!(
                    %error, udp = %address,
                    "no QUIC: agents use carriers over TCP; free the UDP port, or set quic.enabled: false"
                );
                None
            }
        }
    }

    fn open(
        shared: &Arc<Shared>,
        certificate: &Arc<Certificate>,
        address: SocketAddr,
        watchdog: &Watchdog,
    ) -> Result<Self, QuicError> {
        let socket = relay::bind_udp(address)?;
        let crypto = QuicServerConfig::try_from(tls::for_quic(certificate)?)?;
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        config
            .transport_config(transport(Opens::Ticket))
            .max_incoming(MAX_QUIC_HANDSHAKES)
            .incoming_buffer_size(EARLY.0)
            .incoming_buffer_size_total(EARLY.1);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let endpoint = {
            let _inside = runtime.enter();
            let tokio = Arc::new(TokioRuntime);
            Endpoint::new(EndpointConfig::default(), Some(config), socket, tokio)?
        };
        let runtimes = shared.metrics.runtimes();
        runtimes.add("quic", runtime.handle().clone());
        let stop = CancellationToken::new();
        let (door, stopped) = (Door::new(Arc::clone(shared)), stop.clone());
        let beat = watchdog.watch("quic");
        let thread = thread::Builder::new()
            .name("quic".to_owned())
            .spawn(move || receive(&runtime, &endpoint, &door, &stopped, beat))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            drop(thread.join());
        }
    }
}

fn receive(
    runtime: &Runtime,
    endpoint: &Endpoint,
    door: &Door,
    stop: &CancellationToken,
    beat: Beat,
) {
    runtime.block_on(beat.beside(async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = door.tend(endpoint) => {
                tracing::error!("no UDP packets can be received any more: QUIC carriers are lost");
                stop.cancelled().await;
            }
        }
    }));
    endpoint.close(VarInt::from_u32(0), b"");
}
