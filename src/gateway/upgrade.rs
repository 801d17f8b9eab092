//! `GET /v1/agent/carrier`: an agent's HTTP connection becomes a carrier, over TLS directly or over a
//! WebSocket.
//!
//! The connection may have been accepted by any worker; it moves, TLS state and all, to the one
//! that its ticket was issued for.

use std::io;
use std::rc::Rc;

use http::{HeaderMap, HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

use super::carrier::{self, Begun};
use super::metrics::AuthFailure;
use super::service::Client;
use super::shared::{Mail, Shared};
use super::tickets::{Purpose, Ticket};
use super::worker::Worker;
use super::{probe, switch};
use crate::http::framing::Guard;
use crate::http::headers;
use crate::metrics::SessionMeters;
use crate::mux::{Role, Session, Settings, any_driver};
use crate::relay::{Early, Gauged, Socket, WebSocket};
use crate::wire::carrier::{CarrierKind, MUX_PROTOCOL, WINDOW_HEADER, window};
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::limits::FIRST_WINDOW;

/// A carrier's connection that has switched protocols.
type Switched = Early<TlsStream<Socket>>;

/// A carrier's connection, before there is a session on it.
#[derive(Debug)]
pub(super) struct Link {
    kind: CarrierKind,
    io: Box<Switched>,
    /// What the agent takes on a new stream, if it has said so.
    window: Option<u32>,
}

/// A carrier that has come, on its way to its worker.
#[derive(Debug)]
pub(super) struct Arrival {
    ticket: Ticket,
    link: Link,
}

impl Link {
    fn socket(&mut self) -> &mut Socket {
        self.io.get_mut().get_mut().0
    }

    /// Lets go of this worker's runtime.
    fn detach(&mut self) -> io::Result<()> {
        self.socket().detach()
    }

    /// Joins this worker's runtime.
    fn attach(&mut self) -> io::Result<()> {
        let socket = self.socket();
        socket.attach()?;
        if let Err(error) = socket.tune_carrier() {
            tracing::debug!(%error, "can not set a carrier's options");
        }
        Ok(())
    }

    /// Begins the session. The agent opens no streams; one that does is reset by being dropped.
    pub(super) fn begin(self, shared: &Shared) -> Begun {
        let meters = shared.metrics.tunnel.session(self.kind);
        let settings = Settings::agreed(self.window, &shared.budget);
        if self.kind == CarrierKind::WebSocket {
            begin(self.kind, WebSocket::server(self.io), settings, meters)
        } else {
            begin(self.kind, self.io, settings, meters)
        }
    }
}

fn begin<T>(kind: CarrierKind, io: T, settings: Settings, meters: SessionMeters) -> Begun
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (io, pressure) = Gauged::new(io);
    let (session, driver) = Session::new(io, Role::Server, settings, meters, drop);
    Begun {
        kind,
        session,
        driver: any_driver(driver),
        pressure,
    }
}

/// Answers an agent's request for a carrier, and starts it once the connection has switched.
pub(super) fn accept(
    worker: &Rc<Worker>,
    _: &Client,
    mut request: Request<Incoming>,
) -> Result<Response<()>, ApiError> {
    // Before the ticket is used up: what a proxy has made unfit can be tried in another way.
    let (kind, mut response) = answer(request.headers())?;
    let window = window(request.headers());
    if window.is_some() {
        let ours = HeaderValue::from(FIRST_WINDOW);
        response.headers_mut().insert(WINDOW_HEADER, ours);
    }
    let ticket = headers::bearer(request.headers())?
        .and_then(|ticket| worker.shared.tickets.redeem(ticket.expose_secret()))
        .ok_or_else(|| {
            worker.auth_failed(AuthFailure::Ticket);
            ApiError::new(
                ErrorCode::Unauthorized,
                "the carrier ticket is unknown, used or too old; wait for a new open_carrier",
            )
        })?;
    let upgrade = hyper::upgrade::on(&mut request);
    let link = move |io| Link { kind, io, window };
    tokio::task::spawn_local(hand_over(Rc::clone(worker), ticket, link, upgrade));
    Ok(response)
}

/// The kind of carrier that a request asks for, and the answer that switches to it.
fn answer(request: &HeaderMap) -> Result<(CarrierKind, Response<()>), ApiError> {
    let protocol = headers::upgrade_protocol(request);
    if protocol.as_deref() == Some(MUX_PROTOCOL) {
        return Ok((CarrierKind::Tls, switch::to(MUX_PROTOCOL)));
    }
    let subprotocols = request.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let mut subprotocols =
        subprotocols.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if !subprotocols.any(|name| name.trim_ascii() == MUX_PROTOCOL.as_bytes()) {
        return Err(ApiError::new(
            ErrorCode::InvalidRequest,
            "a carrier is opened with `Connection: Upgrade` and `Upgrade: pipeops-mux`, or as a WebSocket with the \
             subprotocol `pipeops-mux`",
        ));
    }
    let mut response = switch::to_websocket(&switch::websocket_key(request)?);
    let protocol = HeaderValue::from_static(MUX_PROTOCOL);
    response
        .headers_mut()
        .insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    Ok((CarrierKind::WebSocket, response))
}

async fn hand_over(
    worker: Rc<Worker>,
    ticket: Ticket,
    link: impl FnOnce(Box<Switched>) -> Link,
    upgrade: OnUpgrade,
) {
    let io = match upgrade.await {
        Ok(upgraded) => Early::<Guard<TlsStream<Socket>>>::new(upgraded),
        Err(error) => {
            tracing::debug!(%error, "a carrier's connection did not switch");
            return;
        }
    };
    let Some(io) = io else { return };
    let mut link = link(Box::new(io.map(Guard::into_inner)));
    if ticket.purpose == Purpose::Probe {
        return probe::carry(&ticket.agent, link.begin(&worker.shared)).await;
    }
    let Some(mailbox) = worker.shared.mailboxes.get(ticket.worker) else {
        return;
    };
    if let Err(error) = link.detach() {
        tracing::warn!(%error, "a carrier's connection can not move to its worker");
        return;
    }
    let arrival = Box::new(Arrival { ticket, link });
    drop(mailbox.send(Mail::Carrier(arrival)).await);
}

/// Runs a carrier on this worker until it ends.
pub(super) async fn run(worker: Rc<Worker>, arrival: Box<Arrival>) {
    let Arrival { ticket, mut link } = *arrival;
    if let Err(error) = link.attach() {
        let cluster = &ticket.agent.cluster;
        tracing::warn!(%error, cluster, "a carrier's connection is lost");
        return;
    }
    carrier::run(&worker, &ticket, link.begin(&worker.shared)).await;
}
