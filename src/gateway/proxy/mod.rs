//! A request on its way to a cluster and its response on the way back.

mod admit;
mod connect;
mod open;
mod upgrade;
mod upload;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::body::{ResponseBody, SenderSlot, TunnelBody, UnderWay, revoked};
use super::carrier::Carrier;
use super::record::Record;
use super::service::{Client, Refusal};
use super::store::ClusterRecord;
use super::worker::Worker;
use crate::http::body::{ExchangeBody, is_bodyless};
use crate::http::exchange::{ExchangeError, Receiver, Sender};
use crate::http::headers::{self, ResponseContext};
use crate::http::path::TunnelPath;
use crate::metrics::Outcome;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::frame::{Frame, FrameError};
use crate::wire::head::{RequestHead, ResponseHead};
use crate::wire::limits::{ANSWER, EXPECT_CONTINUE};
use crate::wire::raw::RawProtocol;
use upload::Upload;

pub(super) use connect::{as_proxy, connect};
pub(super) use open::open;

/// How a cluster was named.
#[derive(Debug, Clone, Copy)]
pub(super) enum ClusterRef<'a> {
    /// By the host form.
    Id(&'a str),
    /// By the path form.
    Name(&'a str),
}

/// Where a request goes, as its host and path say.
pub(super) struct Route<'a> {
    pub(super) cluster: ClusterRef<'a>,
    pub(super) path: &'a TunnelPath<'a>,
    /// The scope that the token needs, where it is not the one of the service's tunnel.
    pub(super) scope: Option<&'a str>,
    /// Host and port by which the client addressed us.
    pub(super) host: &'a str,
    /// The request's id.
    pub(super) id: &'a str,
}

/// Sends a request to its cluster and returns the response's head, with a body that streams.
///
/// # Errors
/// What the client is told when no response has begun.
pub(super) async fn forward(
    worker: &Rc<Worker>,
    client: &Client,
    mut request: Request<Incoming>,
    route: Route<'_>,
) -> Result<Response<ResponseBody>, Refusal> {
    let admitted = admit::admit(worker, request.headers(), &route)?;
    let http1 = client.heads.is_some();
    let connect = request.method() == Method::CONNECT;
    let asked = headers::upgrade_protocol(request.headers()).filter(|_| http1 && !connect);
    let protocol = asked
        .clone()
        .or_else(|| connect.then(|| RawProtocol::Tcp.token().to_owned()));
    let upgrade = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let mut fields = parts.headers;
    let expects = fields
        .get(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    headers::sanitize_request(&mut fields, protocol.as_deref());
    let head = RequestHead {
        method: parts.method,
        service: route.path.service.to_owned(),
        target: route.path.rest.to_owned(),
        prefix: route.path.prefix.to_owned(),
        host: route.host.to_owned(),
        identity: admitted.identity.clone(),
        request_id: route.id.to_owned(),
        upgrade: protocol.clone(),
        end: body.is_end_stream() || upgrade.is_some(),
        headers: fields,
    };
    let mut record = admitted.record(worker, client, &route, &head);
    let context = response_context(&route, asked.as_deref());
    let (method, ended_with_head) = (head.method.clone(), head.end);
    let frame = Frame::Request(Box::new(head));
    let asked = record.counted.begun;
    let begun = Begun::begin(worker, &admitted.cluster, &frame, asked).await;
    let begun = begun.map_err(|error| logged(&mut record, error))?;
    let ended = admitted.grant.ended.clone();
    let exchange = Exchange {
        begun,
        method,
        ended_with_head,
        record,
        ended,
        connection: client.cut.clone(),
    };
    exchange.run(worker, body, expects, upgrade, &context).await
}

fn logged(record: &mut Record, error: ApiError) -> Refusal {
    record.refused(&error);
    Refusal {
        error,
        kubernetes: false,
        logged: true,
    }
}

fn response_context<'a>(route: &Route<'a>, upgrade: Option<&'a str>) -> ResponseContext<'a> {
    ResponseContext {
        prefix: route.path.prefix,
        stripped: true,
        host: route.host,
        shared_origin: matches!(route.cluster, ClusterRef::Name(_)),
        upgrade,
    }
}

/// A stream on which a request's head has been sent.
struct Begun {
    carrier: Rc<Carrier>,
    /// Until the request's body takes it.
    sender: Option<Sender>,
    receiver: Receiver,
}

impl Begun {
    async fn begin(
        worker: &Worker,
        cluster: &ClusterRecord,
        request: &Frame,
        asked: Instant,
    ) -> Result<Self, ApiError> {
        let open = &worker.shared.metrics.open;
        let mut last = None;
        // A carrier that ends between being picked and being written to has seen nothing of it.
        for _ in 0..3 {
            let carrier = worker.agents.carrier(cluster).await?;
            let Ok((mut sender, mut receiver)) = carrier.checkout().await else {
                continue;
            };
            receiver.time_opening(asked, open);
            match sender.send(request).await {
                Ok(()) => {
                    return Ok(Self {
                        carrier,
                        sender: Some(sender),
                        receiver,
                    });
                }
                Err(ExchangeError::Protocol(FrameError::TooLarge { what, max })) => {
                    return Err(ApiError::new(
                        ErrorCode::HeadersTooLarge,
                        format!("the request's head is too large: {what} above {max}"),
                    ));
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(ExchangeError::Cut).into_api_error())
    }
}

/// A request under way.
struct Exchange {
    begun: Begun,
    method: Method,
    /// The request has no body.
    ended_with_head: bool,
    record: Record,
    ended: CancellationToken,
    /// Ends the client's connection, where nobody else shares it.
    connection: Option<CancellationToken>,
}

impl Exchange {
    async fn run(
        mut self,
        worker: &Worker,
        body: Incoming,
        expects: bool,
        upgrade: Option<OnUpgrade>,
        context: &ResponseContext<'_>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let slot: SenderSlot = Rc::new(RefCell::new(None));
        let mut upload = Upload::new(body, Rc::clone(&slot), self.record.counted.sent.clone());
        if self.ended_with_head {
            *slot.borrow_mut() = self.begun.sender.take();
        } else if !expects {
            upload.start(self.begun.sender.take());
        }
        let head = self.response_head(&mut upload).await;
        let head = head.map_err(|error| logged(&mut self.record, error))?;
        self.record.answered(head.status);
        if head.status == StatusCode::SWITCHING_PROTOCOLS || self.method == Method::CONNECT {
            return self.switch(worker, head, upgrade, &slot, context);
        }
        self.respond(head, upload, slot, context).await
    }

    /// Waits for the response's head, and lets the request's body go when it is time.
    async fn response_head(&mut self, upload: &mut Upload) -> Result<ResponseHead, ApiError> {
        let give_in = Instant::now() + EXPECT_CONTINUE;
        let (mut give_up, mut sent) = (Instant::now() + ANSWER, 0);
        loop {
            let withheld = self.begun.sender.is_some();
            tokio::select! {
                frame = self.begun.receiver.next() => match frame.map_err(ExchangeError::into_api_error)? {
                    Some(Frame::Response(head)) if is_final(head.status) => return Ok(*head),
                    Some(Frame::Info(head)) if head.status == StatusCode::CONTINUE => {
                        upload.start(self.begun.sender.take());
                    }
                    // hyper can not send other interim responses; they are optional (RFC 9110, 15.2).
                    Some(Frame::Info(_)) => {}
                    Some(other) => return Err(unexpected(other.name())),
                    None => return Err(ExchangeError::Cut.into_api_error()),
                },
                error = upload.failed() => return Err(error),
                () = sleep_until(give_in), if withheld => upload.start(self.begun.sender.take()),
                () = sleep_until(give_up) => {
                    if self.record.counted.sent.get() == sent {
                        return Err(silent_agent());
                    }
                    (give_up, sent) = (Instant::now() + ANSWER, self.record.counted.sent.get());
                }
                () = self.ended.cancelled() => return Err(revoked().into_api_error()),
            }
        }
    }

    async fn respond(
        mut self,
        head: ResponseHead,
        upload: Upload,
        slot: SenderSlot,
        context: &ResponseContext<'_>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let mut response = response(head, context);
        let status = response.status();
        let bodyless = is_bodyless(&self.method, status);
        if bodyless {
            // hyper would not ask for this body, and so never see its end.
            let ended = self.begun.receiver.next().await;
            self.record.outcome(Outcome::Complete);
            if let (Ok(Some(Frame::End)), Some(sender)) = (ended, slot.take()) {
                self.begun.carrier.give_back(sender, self.begun.receiver);
            }
            return Ok(response);
        }
        let (body, returned) = ExchangeBody::new(
            self.begun.receiver,
            response.headers(),
            self.record.counted.received.clone(),
        );
        *response.body_mut() = ResponseBody::Tunnel(TunnelBody::new(UnderWay {
            body: Some(body),
            returned,
            slot,
            upload: upload.into_task(),
            carrier: self.begun.carrier,
            token_ended: self.ended,
            connection: self.connection,
            record: self.record,
            waiting: None,
        }));
        Ok(response)
    }

    fn switch(
        mut self,
        worker: &Worker,
        head: ResponseHead,
        upgrade: Option<OnUpgrade>,
        slot: &SenderSlot,
        context: &ResponseContext<'_>,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let (Some(upgrade), Some(sender), true) = (upgrade, slot.take(), switches) else {
            return Err(unexpected("RESPONSE").into());
        };
        let mut response = response(head, context);
        if self.method == Method::CONNECT {
            *response.status_mut() = StatusCode::OK;
            self.record.status = Some(StatusCode::OK);
        } else if context.upgrade.and_then(RawProtocol::of) == Some(RawProtocol::Udp) {
            let structured_true = HeaderValue::from_static("?1");
            response
                .headers_mut()
                .insert("capsule-protocol", structured_true);
        }
        let relay = upgrade::relay(
            upgrade,
            sender,
            self.begun.receiver,
            self.ended,
            self.record,
        );
        worker.connections.spawn_local(relay);
        Ok(response)
    }
}

fn response(head: ResponseHead, context: &ResponseContext<'_>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::empty());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    // Only a response that switches names the protocol.
    let upgrade = context
        .upgrade
        .filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS);
    headers::sanitize_response(
        response.headers_mut(),
        &ResponseContext {
            upgrade,
            ..*context
        },
    );
    response
}

fn silent_agent() -> ApiError {
    ApiError::new(
        ErrorCode::TargetTimedOut,
        format!(
            "the cluster's agent did not answer within {} s",
            ANSWER.as_secs()
        ),
    )
}

/// Whether a status ends the wait for a response (101 does too).
fn is_final(status: StatusCode) -> bool {
    !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS
}

fn unexpected(what: &'static str) -> ApiError {
    ExchangeError::from(FrameError::Unexpected(what)).into_api_error()
}

/// What admission found out.
struct Admitted {
    grant: Arc<super::directory::Grant>,
    cluster: Arc<ClusterRecord>,
    identity: crate::wire::head::Identity,
}
