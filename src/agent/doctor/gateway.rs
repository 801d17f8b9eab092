//! Whether the gateway would take this agent: the way that an agent goes, as a probe.
//!
//! A probe gets no requests. A gateway that does not know probes takes us for an agent: we leave
//! at once and open no carrier, so that it gives us none either.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Message as WsMessage;

use super::clock::Reading;
use super::network::millis;
use super::report::Finding;
use crate::agent::carrier;
use crate::agent::control::{Caller, Kind, handshake, welcome};
use crate::agent::dial::{DialError, Dialer, Transport};
use crate::http::exchange;
use crate::metrics::{Registry, Tunnel};
use crate::mux::{Budget, Stream};
use crate::wire::carrier::CarrierKind;
use crate::wire::control::{Decoded, Message, OpenCarrier, Welcome, decode};
use crate::wire::frame::Frame;
use crate::wire::head::ResponseHead;

type Socket = WebSocketStream<TlsStream<Transport>>;

/// What a visit to the gateway showed.
pub(super) struct Visit {
    pub(super) token: Finding,
    pub(super) carriers: Vec<Finding>,
    /// Better than one by a `Date`, where there is one.
    pub(super) reading: Option<Reading>,
}

/// Connects as a probe, and opens a carrier of each kind.
pub(super) async fn visit(dialer: &Dialer, cluster_id: Option<&str>) -> Visit {
    let (place, limit) = (dialer.place(), dialer.timeout());
    let greeted = async {
        let caller = Caller {
            kind: Kind::Probe,
            cluster_id,
            carriers: 1,
            instance: None,
            token: &dialer.token()?,
        };
        let mut socket = handshake(dialer, &caller, |_| {}).await?;
        let (written, welcome) = welcome(&mut socket, limit).await?;
        Ok((socket, written, Timestamp::now(), welcome))
    };
    let (mut socket, written, arrived, welcome) = match greeted.await {
        Ok(greeted) => greeted,
        Err(error) => {
            return Visit {
                token: refused(&place, &error),
                carriers: vec![Finding::skipped("carrier", "all", "needs the token")],
                reading: None,
            };
        }
    };
    let token = accepted(&place, &welcome);
    if !welcome.probe {
        // Leaving is all that matters; whether it is heard in good order does not.
        timeout(limit, socket.close(None)).await.ok();
        let why = "this gateway is older and knows no probes: a carrier would take requests from the agent that runs";
        return Visit {
            token,
            carriers: vec![Finding::skipped("carrier", "all", why)],
            reading: None,
        };
    }
    let (open, round_trip) = timeout(limit, listen(&mut socket))
        .await
        .unwrap_or_default();
    let carriers = carriers(dialer, open).await;
    timeout(limit, socket.close(None)).await.ok();
    let reading = round_trip.map(|round_trip| Reading {
        theirs: written,
        arrived,
        round_trip,
        grain: Duration::ZERO,
        trusted: true,
    });
    Visit {
        token,
        carriers,
        reading,
    }
}

fn accepted(place: &str, welcome: &Welcome) -> Finding {
    let details = format!(
        "accepted, for cluster {} ({}), protocol {}",
        welcome.cluster_name, welcome.cluster_id, welcome.protocol_version
    );
    Finding::ok("token", place, details)
}

fn refused(place: &str, error: &DialError) -> Finding {
    let action = match error {
        DialError::Refused(_) => {
            "create a token with `pipeops-gateway token create agent --cluster NAME`, and check that agent.cluster_id is that cluster's or not set"
        }
        DialError::Proxy(_) => "see proxy above",
        DialError::Local(_) => "put the agent's token where pipeops.token_file says",
        DialError::Certificate(_) => "see tls above",
        DialError::Unreachable(_) => {
            "check that pipeops.api_url is the gateway's own address; its log says more. It answers 429 while other probes or agents of this cluster are connected"
        }
    };
    Finding::failed("token", place, error.to_string(), action)
}

/// Waits for a ticket and for the answer to a ping, in any order. A gateway with several kinds of
/// carrier sends a ticket for each, before it reads the ping.
async fn listen(socket: &mut Socket) -> (Vec<OpenCarrier>, Option<Duration>) {
    let (mut open, mut round_trip) = (Vec::new(), None);
    let asked = Instant::now();
    if socket.send(WsMessage::Ping("doctor".into())).await.is_err() {
        return (open, round_trip);
    }
    while open.is_empty() || round_trip.is_none() {
        match socket.next().await {
            Some(Ok(WsMessage::Pong(_))) => round_trip = Some(asked.elapsed()),
            Some(Ok(WsMessage::Text(text))) => {
                if let Ok(Decoded::Known(envelope)) = decode(&text)
                    && let Message::OpenCarrier(ticket) = envelope.message
                    && open.len() < CarrierKind::ALL.len()
                {
                    open.push(ticket);
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break,
        }
    }
    (open, round_trip)
}

async fn carriers(dialer: &Dialer, open: Vec<OpenCarrier>) -> Vec<Finding> {
    if open.is_empty() {
        let action = "see the gateway's log";
        let details = "the gateway asked for no carrier in time";
        return vec![Finding::failed("carrier", "all", details, action)];
    }
    let kinds = open.iter().flat_map(|open| {
        let kinds = open.kinds.iter();
        kinds.map(|kind| (kind.as_str(), open.ticket.as_str()))
    });
    let mut tried = Vec::new();
    for (name, ticket) in kinds {
        let outcome = match CarrierKind::named(name).filter(|kind| carrier::has(dialer, *kind)) {
            Some(kind) => Some(try_one(dialer, kind, ticket).await),
            None => None,
        };
        tried.push((name, outcome));
    }
    let some_work = tried
        .iter()
        .any(|(_, outcome)| matches!(outcome, Some(Ok(_))));
    let found = tried.into_iter().map(|(name, outcome)| match outcome {
        None => Finding::skipped("carrier", name, "this agent can not use it here"),
        Some(Ok(took)) => {
            let details = format!("carried a request there and back, {took} with its handshakes");
            Finding::ok("carrier", name, details)
        }
        Some(Err(why)) if some_work => {
            let action = "nothing has to be done: another kind works, and the agent uses that; what is between here and \
                the gateway does not let this kind pass";
            Finding::warning("carrier", name, why, action)
        }
        Some(Err(why)) => {
            let action = "check that nothing between here and the gateway ends connections that switch protocols \
                (`Upgrade: pipeops-mux`, `Upgrade: websocket`), such as a load balancer for HTTP";
            Finding::failed("carrier", name, why, action)
        }
    });
    found.collect()
}

/// Opens a carrier, and answers the one request that the gateway sends on it. The time that it took.
async fn try_one(dialer: &Dialer, kind: CarrierKind, ticket: &str) -> Result<String, String> {
    let start = Instant::now();
    let link = carrier::dial(dialer, kind, ticket, |_| {});
    let link = link.await.map_err(|error| error.to_string())?;
    // Counts for nobody: the carrier is no agent's.
    let meters = Tunnel::new(&mut Registry::new("unread"), "none")
        .map_err(|error| error.to_string())?
        .session(kind);
    let answered = Rc::new(Cell::new(false));
    let noted = Rc::clone(&answered);
    let budget = Arc::new(Budget::of_mib(1));
    let begun = link.begin(&budget, meters, move |stream| {
        spawn_local(answer(stream, Rc::clone(&noted)));
    });
    // The gateway closes the carrier once it has its answer.
    match timeout(dialer.timeout(), begun.driver).await {
        Ok(Ok(())) if answered.get() => Ok(millis(start.elapsed())),
        Ok(Ok(())) => Err("the gateway closed the carrier without a request".to_owned()),
        Ok(Err(error)) => Err(format!("the carrier broke: {error}")),
        Err(_) => Err("the gateway sends nothing on the carrier".to_owned()),
    }
}

async fn answer(stream: Stream, answered: Rc<Cell<bool>>) {
    let (mut sender, mut receiver) = exchange::split(stream);
    let response = Frame::Response(Box::new(ResponseHead {
        status: StatusCode::NO_CONTENT,
        headers: HeaderMap::new(),
    }));
    if let Ok(Some(Frame::Request(_))) = receiver.next().await {
        for frame in [&Frame::Accept, &response, &Frame::End] {
            if sender.queue(frame).is_err() {
                return;
            }
        }
        answered.set(sender.flush().await.is_ok());
        // Lets go of the stream when the gateway does.
        drop(receiver.next().await);
    }
}
