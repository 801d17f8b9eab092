//! Data carriers: dialled when the gateway asks, served until they end.

use std::rc::Rc;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::dial::{DialError, Dialer};
use super::metrics::Endpoint;
use super::run::Shared;
use super::serve;
use crate::metrics::{CarrierEnd, CarrierKind};
use crate::mux::{Role, Session};
use crate::relay::tune_carrier;
use crate::wire::control::{CarrierFailed, Message, OpenCarrier};

/// Dials a carrier as asked; a failure is logged and told, and the gateway asks again.
pub(super) fn open(shared: &Rc<Shared>, open: OpenCarrier, answer: mpsc::Sender<Message>) {
    if !open.kinds.iter().any(|kind| kind == "tls") {
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
        let counted = shared.metrics.api.request(Endpoint::Carrier);
        let answered = |status| counted.answered(status);
        match dial(&shared.dialer, &open.ticket, answered).await {
            Ok(upgraded) => run(&shared, upgraded).await,
            Err(error) => {
                shared.metrics.api.failed(&error);
                tracing::warn!(%error, "can not open a carrier");
                let failed = CarrierFailed {
                    reason: error.to_string(),
                };
                // The control channel may be gone by now, and with it whoever asked.
                drop(answer.send(Message::CarrierFailed(failed)).await);
            }
        }
    });
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
    if let Err(error) = tune_carrier(tls.get_ref().0) {
        tracing::debug!(%error, "can not set a carrier's options");
    }
    let lost = |error: &dyn std::fmt::Display| DialError::Unreachable(error.to_string());
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

async fn run(shared: &Rc<Shared>, upgraded: Upgraded) {
    let for_streams = Rc::clone(shared);
    let io = TokioIo::new(upgraded);
    let tunnel = &shared.metrics.tunnel;
    let meters = tunnel.session(CarrierKind::Tls);
    let (session, driver) = Session::new(io, Role::Client, meters, move |stream| {
        spawn_local(serve::run(Rc::clone(&for_streams), stream));
    });
    let mut up = tunnel.carrier_up(CarrierKind::Tls);
    shared.carrier_up(&session);
    let ended = driver.await;
    if ended.is_err() {
        up.end = CarrierEnd::Failed;
    }
    let stats = session.stats();
    shared.carrier_down();
    tracing::info!(
        bytes_sent = stats.sent,
        bytes_received = stats.received,
        streams = stats.streams,
        error = ended.err().map(tracing::field::display),
        "carrier down"
    );
}
