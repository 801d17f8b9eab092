//! A QUIC connection from its first packet to the carrier that it becomes, on its worker.

use std::rc::Rc;

use quinn::{Connection, ConnectionError, Incoming, ReadToEndError, VarInt, WriteError};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::gateway::carrier::{self, Begun};
use crate::gateway::metrics::{AuthFailure, QuicResult};
use crate::gateway::probe;
use crate::gateway::tickets::{Purpose, Ticket};
use crate::gateway::worker::Worker;
use crate::metrics::SessionMeters;
use crate::mux::{Session, any_driver};
use crate::wire::carrier::CarrierKind;
use crate::wire::limits::TLS_HANDSHAKE;
use crate::wire::quic::{ACCEPTED, REFUSED};

/// Bytes of a ticket as it is sent; ours have 64.
const MAX_TICKET: usize = 128;

/// Why a connection did not become a carrier.
#[derive(Debug, thiserror::Error)]
enum ArrivalError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("the ticket does not come: {0}")]
    Ticket(#[from] ReadToEndError),
    #[error("the answer can not be sent: {0}")]
    Answer(#[from] WriteError),
    #[error("the ticket is unknown, used or too old")]
    Refused,
}

/// A connection that was let in.
#[derive(Debug)]
pub(in crate::gateway) struct Arrival {
    incoming: Incoming,
    /// Held while the handshake is under way.
    permit: OwnedSemaphorePermit,
}

impl Arrival {
    pub(super) fn new(incoming: Incoming, permit: OwnedSemaphorePermit) -> Self {
        Self { incoming, permit }
    }

    /// Does the handshakes, QUIC's and the ticket's, and then runs the carrier until it ends.
    pub(in crate::gateway) async fn run(self, worker: Rc<Worker>) {
        let Self { incoming, permit } = self;
        let peer = incoming.remote_address();
        let handshake = timeout(TLS_HANDSHAKE, greet(&worker, incoming)).await;
        drop(permit);
        let result = match &handshake {
            Ok(Ok(_)) => QuicResult::Ok,
            Ok(Err(_)) => QuicResult::Failed,
            Err(_) => QuicResult::TimedOut,
        };
        worker.shared.metrics.quic_handshakes.get(result).inc();
        let (connection, ticket) = match handshake {
            Ok(Ok(greeted)) => greeted,
            Ok(Err(error)) => {
                tracing::debug!(%error, %peer, "a QUIC connection is no carrier");
                return;
            }
            Err(_) => {
                tracing::debug!(%peer, "QUIC handshake timed out");
                return;
            }
        };
        let meters = worker.shared.metrics.tunnel.session(CarrierKind::Quic);
        let begun = begin(connection, meters);
        match ticket.purpose {
            Purpose::Probe => probe::carry(&ticket.agent, begun).await,
            Purpose::Serve => carrier::run(&worker, &ticket, begun).await,
        }
    }
}

/// Begins the session. The agent opens no more streams; one that does is reset by being dropped.
fn begin(connection: Connection, meters: SessionMeters) -> Begun {
    let (session, driver) = Session::quic(connection, meters, drop);
    Begun {
        kind: CarrierKind::Quic,
        session,
        driver: any_driver(driver),
        pressure: Rc::default(),
    }
}

/// The connection's own task, which this begins, stays on this thread.
async fn greet(worker: &Worker, incoming: Incoming) -> Result<(Connection, Ticket), ArrivalError> {
    let connection = incoming.accept()?.await?;
    let (mut answer, mut stream) = connection.accept_bi().await?;
    let shown = stream.read_to_end(MAX_TICKET).await?;
    let ticket = std::str::from_utf8(&shown)
        .ok()
        .and_then(|shown| worker.shared.tickets.redeem(shown))
        // One whose first packet was for another worker would bring its streams to this one.
        .filter(|ticket| ticket.worker == worker.index);
    let Some(ticket) = ticket else {
        worker.auth_failed(AuthFailure::Ticket);
        let reason = b"the carrier ticket is unknown, used or too old; wait for a new open_carrier";
        connection.close(VarInt::from_u32(REFUSED), reason);
        return Err(ArrivalError::Refused);
    };
    answer.write_all(&[ACCEPTED]).await?;
    // It is finished when it is dropped.
    Ok((connection, ticket))
}
