//! `GET /v1/agent/carrier`: an agent's HTTP connection becomes a carrier.
//!
//! The connection may have been accepted by any worker; it moves, TLS state and all, to the one
//! that its ticket was issued for.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use secrecy::ExposeSecret;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::carrier::Carrier;
use super::metrics::AuthFailure;
use super::probe;
use super::service::Client;
use super::shared::Mail;
use super::tickets::{AgentKey, Purpose, Ticket};
use super::worker::Worker;
use crate::http::framing::Guard;
use crate::http::headers;
use crate::metrics::{CarrierEnd, CarrierKind};
use crate::mux::{Role, Session};
use crate::relay::Socket;
use crate::wire::error::{ApiError, ErrorCode};

/// The protocol that the connection switches to.
const PROTOCOL: &str = "pipeops-mux";

/// A carrier's connection without HTTP: what it already read, and the rest.
#[derive(Debug)]
pub(super) struct CarrierIo {
    early: Bytes,
    tls: TlsStream<Socket>,
}

impl CarrierIo {
    fn new(upgraded: Upgraded) -> Option<Self> {
        let parts = upgraded
            .downcast::<TokioIo<Guard<TlsStream<Socket>>>>()
            .ok()?;
        let tls = parts.io.into_inner().into_inner();
        if let Err(error) = tls.get_ref().0.tune() {
            tracing::debug!(%error, "can not set a carrier's socket options");
        }
        Some(Self {
            early: parts.read_buf,
            tls,
        })
    }

    fn detach(&mut self) -> io::Result<()> {
        self.tls.get_mut().0.detach()
    }

    fn attach(&mut self) -> io::Result<()> {
        self.tls.get_mut().0.attach()
    }
}

/// Answers an agent's request for a carrier, and starts it once the connection has switched.
pub(super) fn accept(
    worker: &Rc<Worker>,
    _: &Client,
    mut request: Request<Incoming>,
) -> Result<Response<()>, ApiError> {
    let bad = |message: &str| ApiError::new(ErrorCode::InvalidRequest, message);
    if headers::upgrade_protocol(request.headers()).as_deref() != Some(PROTOCOL) {
        return Err(bad(
            "a carrier is opened with `Connection: Upgrade` and `Upgrade: pipeops-mux`",
        ));
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
    tokio::task::spawn_local(hand_over(Rc::clone(worker), ticket, upgrade));
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response
        .headers_mut()
        .insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

async fn hand_over(worker: Rc<Worker>, ticket: Ticket, upgrade: OnUpgrade) {
    let io = match upgrade.await {
        Ok(upgraded) => CarrierIo::new(upgraded),
        Err(error) => {
            tracing::debug!(%error, "a carrier's connection did not switch");
            return;
        }
    };
    let Some(mut io) = io else { return };
    if ticket.purpose == Purpose::Probe {
        let meters = worker.shared.metrics.tunnel.session(CarrierKind::Tls);
        return probe::carry(&ticket.agent, io, meters).await;
    }
    let Some(mailbox) = worker.shared.mailboxes.get(ticket.worker) else {
        return;
    };
    if let Err(error) = io.detach() {
        tracing::warn!(%error, "a carrier's connection can not move to its worker");
        return;
    }
    drop(
        mailbox
            .send(Mail::Carrier(ticket.agent, Box::new(io)))
            .await,
    );
}

/// Runs a carrier on this worker until it ends.
pub(super) async fn run(worker: Rc<Worker>, key: AgentKey, mut io: Box<CarrierIo>) {
    if let Err(error) = io.attach() {
        tracing::warn!(%error, cluster = key.cluster, "a carrier's connection is lost");
        return;
    }
    // The agent opens no streams; one that does is reset by being dropped here.
    let tunnel = &worker.shared.metrics.tunnel;
    let meters = tunnel.session(CarrierKind::Tls);
    let (session, driver) = Session::new(*io, Role::Server, meters, drop);
    let carrier = Rc::new(Carrier::new(session));
    let Some(token_ended) = worker.agents.adopt(&key, &carrier) else {
        return;
    };
    let mut up = tunnel.carrier_up(CarrierKind::Tls);
    tracing::info!(
        cluster = key.cluster,
        generation = key.generation,
        worker = worker.index,
        "carrier up"
    );
    // Dropping the driver cuts every stream at once, whatever is still on its way.
    let ended = tokio::select! {
        ended = driver => ended,
        () = token_ended.cancelled() => {
            up.end = CarrierEnd::Revoked;
            Ok(())
        }
    };
    if ended.is_err() {
        up.end = CarrierEnd::Failed;
    }
    drop(up);
    worker.agents.lost(&key, &carrier);
    let stats = carrier.session.stats();
    tracing::info!(
        cluster = key.cluster,
        generation = key.generation,
        worker = worker.index,
        bytes_sent = stats.sent,
        bytes_received = stats.received,
        streams = stats.streams,
        error = ended.err().map(tracing::field::display),
        "carrier down"
    );
}

impl AsyncRead for CarrierIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.tls).poll_read(cx, buf);
        }
        let now = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..now]);
        self.early.advance(now);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CarrierIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
