//! Data carriers: dialled when the gateway asks, served until they end.

pub(super) mod quic;

use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::config::CarrierType;
use super::dial::{DialError, Dialer};
use super::metrics::Endpoint;
use super::run::Shared;
use super::serve;
use crate::metrics::{CarrierEnd, CarrierKind, Label};
use crate::mux::{Role, Session};
use crate::wire::control::{CarrierFailed, Message, OpenCarrier};

/// A kind that does not come about within this gives way to the next.
const FALLBACK: Duration = Duration::from_secs(3);

/// Dials a carrier as asked; a failure is logged and told, and the gateway asks again.
pub(super) fn open(shared: &Rc<Shared>, open: OpenCarrier, answer: mpsc::Sender<Message>) {
    let wanted = shared.config.tunnel.carriers.iter().copied();
    let kinds: Vec<_> = wanted
        .map(CarrierKind::from)
        .filter(|kind| open.kinds.iter().any(|asked| asked == kind.text()))
        .collect();
    if kinds.is_empty() {
        tracing::warn!(kinds = ?open.kinds, "the gateway asks for carriers that this agent does not have");
        return;
    }
    let shared = Rc::clone(shared);
    spawn_local(async move {
        if !shared.config.tunnel.enabled {
            let reason = "tunnel.enabled is false in the agent's configuration".to_owned();
            drop(
                answer
                    .send(Message::CarrierFailed(CarrierFailed { reason }))
                    .await,
            );
            return;
        }
        if let Err(error) = attempt(&shared, &kinds, &open.ticket).await {
            tracing::warn!(%error, "can not open a carrier");
            let failed = CarrierFailed {
                reason: error.to_string(),
            };
            // The control channel may be gone by now, and with it whoever asked.
            drop(answer.send(Message::CarrierFailed(failed)).await);
        }
    });
}

/// Dials by one kind after the other, and serves the first carrier that comes about.
async fn attempt(
    shared: &Rc<Shared>,
    kinds: &[CarrierKind],
    ticket: &str,
) -> Result<(), DialError> {
    let mut failed = DialError::Local("no kind of carrier is configured".to_owned());
    for (at, kind) in kinds.iter().enumerate() {
        let last = at + 1 == kinds.len();
        let limit = if last {
            shared.dialer.timeout()
        } else {
            FALLBACK
        };
        let (kind, opened) = match kind {
            CarrierKind::Tls => {
                let counted = shared.metrics.api.request(Endpoint::Carrier);
                let answered = |status| counted.answered(status);
                (
                    "tls",
                    dial(&shared.dialer, ticket, answered)
                        .await
                        .map(Opened::Tls),
                )
            }
            CarrierKind::Quic => {
                let dialled = quic::dial(&shared.dialer, ticket, limit).await;
                ("quic", dialled.map(Opened::Quic))
            }
        };
        match opened {
            Ok(opened) => {
                opened.run(shared).await;
                return Ok(());
            }
            Err(error) => {
                shared.metrics.api.failed(&error);
                if !last {
                    tracing::info!(%error, kind, "this kind of carrier does not come about; trying the next");
                }
                failed = error;
            }
        }
    }
    Err(failed)
}

/// Opens a carrier by its ticket; `answered` is told the status that the gateway answers with.
///
/// # Errors
/// [`DialError`]; the ticket may be used up.
pub(super) async fn dial(
    dialer: &Dialer,
    ticket: &str,
    answered: impl FnOnce(u16),
) -> Result<Upgraded, DialError> {
    let tls = dialer.connect().await?;
    let lost = |error: &dyn Display| DialError::Unreachable(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls))
        .await
        .map_err(|error| lost(&error))?;
    spawn_local(connection.with_upgrades());
    let request = Request::get("/v1/agent/carrier")
        .header(header::HOST, dialer.authority())
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "pipeops-mux")
        .header(header::AUTHORIZATION, format!("Bearer {ticket}"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| lost(&error))?;
    let response = timeout(dialer.timeout(), sender.send_request(request))
        .await
        .map_err(|_| lost(&"the gateway does not answer"))?
        .map_err(|error| lost(&error))?;
    answered(response.status().as_u16());
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(DialError::Refused(format!(
            "it answers {} to a carrier",
            response.status()
        )));
    }
    hyper::upgrade::on(response)
        .await
        .map_err(|error| lost(&error))
}

/// A carrier's connection.
enum Opened {
    Tls(Upgraded),
    Quic(quinn::Connection),
}

impl Opened {
    async fn run(self, shared: &Rc<Shared>) {
        let for_streams = Rc::clone(shared);
        let on_stream = move |stream| {
            spawn_local(serve::run(Rc::clone(&for_streams), stream));
        };
        let tunnel = &shared.metrics.tunnel;
        match self {
            Self::Tls(upgraded) => {
                let kind = CarrierKind::Tls;
                let (io, meters) = (TokioIo::new(upgraded), tunnel.session(kind));
                let (session, driver) = Session::new(io, Role::Client, meters, on_stream);
                run(shared, kind, &session, driver).await;
            }
            Self::Quic(connection) => {
                let kind = CarrierKind::Quic;
                let meters = tunnel.session(kind);
                let (session, driver) = Session::quic(connection, meters, on_stream);
                run(shared, kind, &session, driver).await;
            }
        }
    }
}

async fn run<E: Display>(
    shared: &Rc<Shared>,
    kind: CarrierKind,
    session: &Session,
    driver: impl Future<Output = Result<(), E>>,
) {
    let mut up = shared.metrics.tunnel.carrier_up(kind);
    shared.carrier_up(session);
    tracing::info!(kind = kind.text(), "carrier up");
    let ended = driver.await;
    if ended.is_err() {
        up.end = CarrierEnd::Failed;
    }
    let stats = session.stats();
    shared.carrier_down();
    tracing::info!(
        kind = kind.text(),
        bytes_sent = stats.sent,
        bytes_received = stats.received,
        streams = stats.streams,
        error = ended.err().map(tracing::field::display),
        "carrier down"
    );
}

impl From<CarrierType> for CarrierKind {
    fn from(configured: CarrierType) -> Self {
        match configured {
            CarrierType::Tls => Self::Tls,
            CarrierType::Quic => Self::Quic,
        }
    }
}
