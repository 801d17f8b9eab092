//! One stream from the gateway: requests, one after the other.

mod patience;
mod raw;

use std::future::pending;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Frame as BodyFrame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::sync::{Notify, oneshot};

use patience::Patience;

use super::run::Shared;
use super::target::{Answer, Interim, Target};
use crate::http::body::{ExchangeBody, is_bodyless};
use crate::http::exchange::{self, ExchangeError, Receiver, Sender};
use crate::http::headers;
use crate::metrics::{Outcome, Request};
use crate::mux::Stream;
use crate::relay::relay;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::frame::Frame;
use crate::wire::head::{RequestHead, ResponseHead};
use crate::wire::limits::MAX_DATA_FRAME;
use crate::wire::raw::RawProtocol;

/// Serves a stream until the gateway lets go of it.
pub(super) async fn run(shared: Rc<Shared>, stream: Stream) {
    let (mut sender, mut receiver) = exchange::split(stream);
    if sender.send(&Frame::Accept).await.is_err() {
        return;
    }
    while let Ok(Some(Frame::Request(head))) = receiver.next().await {
        let active = shared.begin();
        // On the heap while it lasts: a stream that waits for its next request holds none of it.
        let Some(ends) = Box::pin(serve(&shared, *head, sender, receiver)).await else {
            return;
        };
        (sender, receiver) = ends;
        drop(active);
    }
}

/// Serves one request; returns the stream's ends when they can be used again.
async fn serve(
    shared: &Shared,
    head: RequestHead,
    mut sender: Sender,
    receiver: Receiver,
) -> Option<(Sender, Receiver)> {
    let request_id = head.request_id.clone();
    let service = head.service.clone();
    let tunnel = &shared.metrics.tunnel;
    let mut request = Request::begin(tunnel, &service);
    let targets = shared.targets();
    let Some(target) = targets.get(&service) else {
        let error = ApiError::new(
            ErrorCode::ServiceUnknown,
            format!(
                "the cluster's agent has no service '{service}'; it serves {}",
                targets.names()
            ),
        );
        request.failed(error.code);
        drop(sender.send(&Frame::Reset(error)).await);
        return None;
    };
    if target.is_kubernetes() {
        shared.metrics.kubernetes_requests.inc();
    }
    let mut exchange = Exchange {
        looks: &shared.looks,
        sender,
        inbound: Inbound::Lost,
        method: head.method.clone(),
        upgrade: head.upgrade.is_some(),
        request,
    };
    let served = match RawProtocol::asked_by(&head) {
        Some(protocol) => Box::pin(exchange.raw(target, protocol, receiver)).await,
        None => exchange.run(target, head, receiver).await,
    };
    exchange.note(&served);
    if let Err(Failure::Told(error)) = &served {
        tracing::info!(
            request_id,
            service,
            code = error.code.as_str(),
            reason = error.message,
            "request failed"
        );
        // A gateway that has gone is told nothing.
        drop(exchange.sender.send(&Frame::Reset(error.clone())).await);
    }
    match (served, exchange.inbound) {
        (Ok(()), Inbound::Held(receiver)) => Some((exchange.sender, receiver)),
        _ => None,
    }
}

/// How a request fails.
enum Failure {
    /// The gateway is to be told.
    Told(ApiError),
    /// The gateway itself has gone, or the stream has.
    Gone,
}

impl From<ExchangeError> for Failure {
    fn from(_: ExchangeError) -> Self {
        Self::Gone
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Told(error)
    }
}

/// Where the stream's receiving end is.
enum Inbound {
    /// Here: the request has come to its end.
    Held(Receiver),
    /// In the request's body, on its way to the target.
    Out(oneshot::Receiver<Receiver>),
    /// Dropped with a body that the target did not take to its end.
    Lost,
}

impl Inbound {
    /// Whether the request's body is still being read.
    fn is_out(&self) -> bool {
        matches!(self, Self::Out(_))
    }

    /// Resolves when the gateway has given the request up; never otherwise.
    async fn given_up(&mut self) {
        loop {
            match self {
                // Nothing may come before the response is complete; the end of the stream does.
                Self::Held(receiver) => {
                    drop(receiver.next().await);
                    return;
                }
                Self::Out(returned) => match returned.await {
                    Ok(receiver) => *self = Self::Held(receiver),
                    Err(_) => *self = Self::Lost,
                },
                Self::Lost => pending().await,
            }
        }
    }
}

struct Exchange<'a> {
    /// When to look at a stream whose request body the target does not read: the gateway may have
    /// given it up behind bytes that nobody takes.
    looks: &'a Notify,
    sender: Sender,
    inbound: Inbound,
    method: Method,
    /// The request asks to switch protocols.
    upgrade: bool,
    /// What is counted of it.
    request: Request,
}

impl Exchange<'_> {
    /// Counts how it went; one that the gateway has given up is the client's doing.
    fn note(&mut self, served: &Result<(), Failure>) {
        match served {
            Ok(()) => self.request.outcome = Outcome::Complete,
            Err(Failure::Told(error)) => self.request.failed(error.code),
            Err(Failure::Gone) => {}
        }
    }

    async fn run(
        &mut self,
        target: &Target,
        head: RequestHead,
        receiver: Receiver,
    ) -> Result<(), Failure> {
        let answer = Box::pin(self.ask(target, head, receiver)).await?;
        self.request.answered(target.name());
        if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            if !self.upgrade {
                return Err(target.broken("it switches protocols unasked").into());
            }
            return Box::pin(self.switch(answer)).await;
        }
        self.respond(target, answer).await
    }

    /// Sends the request and waits for the response's head.
    async fn ask(
        &mut self,
        target: &Target,
        head: RequestHead,
        receiver: Receiver,
    ) -> Result<Answer, Failure> {
        let body = self.body(&head, receiver);
        let interim = Interim::default();
        let mut asked = pin!(target.send(head, body, &interim));
        let mut patience = Patience::new(target.response_timeout());
        loop {
            tokio::select! {
                biased;
                head = interim.next() => self.sender.send(&Frame::Info(Box::new(head))).await?,
                answer = &mut asked => return Ok(answer?),
                () = self.inbound.given_up() => return Err(Failure::Gone),
                () = self.looks.notified() => {
                    if self.sender.is_closed() {
                        return Err(Failure::Gone);
                    }
                    if patience.is_over(self.request.received.get(), self.inbound.is_out()) {
                        return Err(target.timed_out().into());
                    }
                }
            }
        }
    }

    fn body(&mut self, head: &RequestHead, receiver: Receiver) -> ExchangeBody {
        if head.end {
            self.inbound = Inbound::Held(receiver);
            return ExchangeBody::empty();
        }
        let (body, returned) =
            ExchangeBody::new(receiver, &head.headers, self.request.received.clone());
        self.inbound = Inbound::Out(returned);
        body
    }

    async fn respond(&mut self, target: &Target, answer: Answer) -> Result<(), Failure> {
        let Answer { response, lease } = answer;
        let (head, mut body) = response_head(response);
        let bodyless = is_bodyless(&self.method, head.status);
        self.sender.queue(&Frame::Response(Box::new(head)))?;
        let complete = !bodyless && self.pump(target, &mut body).await?;
        if !complete {
            self.sender.queue(&Frame::End)?;
        }
        self.sender.flush().await?;
        if let Inbound::Out(returned) = &mut self.inbound
            && let Ok(receiver) = returned.try_recv()
        {
            self.inbound = Inbound::Held(receiver);
        }
        // After a refused upgrade nobody knows what the target takes the connection for.
        if !self.upgrade && matches!(self.inbound, Inbound::Held(_)) {
            lease.give_back();
        }
        Ok(())
    }

    /// Sends the response's body on; true when trailers have ended it already.
    async fn pump(&mut self, target: &Target, body: &mut Incoming) -> Result<bool, Failure> {
        let mut queued = 0;
        loop {
            // What the target has ready goes in one write with what came before.
            let ready = if queued < MAX_DATA_FRAME {
                body.frame().now_or_never()
            } else {
                None
            };
            let frame = match ready {
                Some(frame) => frame,
                None => {
                    self.flush().await?;
                    queued = 0;
                    self.next_frame(body).await?
                }
            };
            let Some(frame) = frame else { return Ok(false) };
            let frame = frame.map_err(|error| {
                target.broken(&format!("it broke off in mid-response ({error})"))
            })?;
            match frame.into_data() {
                Ok(data) => {
                    queued += data.len();
                    self.request.sent.add(data.len());
                    self.sender.queue_data(data);
                }
                Err(frame) => {
                    let Ok(mut trailers) = BodyFrame::into_trailers(frame) else {
                        continue;
                    };
                    headers::sanitize_trailers(&mut trailers);
                    self.sender.queue(&Frame::Trailers(trailers))?;
                    return Ok(true);
                }
            }
        }
    }

    async fn next_frame(
        &mut self,
        body: &mut Incoming,
    ) -> Result<Option<Result<BodyFrame<Bytes>, hyper::Error>>, Failure> {
        // Where the receiving end is here, it tells at once.
        let must_look = !matches!(self.inbound, Inbound::Held(_));
        tokio::select! {
            biased;
            frame = body.frame() => Ok(frame),
            () = self.inbound.given_up() => Err(Failure::Gone),
            () = closed(&self.sender, self.looks), if must_look => Err(Failure::Gone),
        }
    }

    /// Sends what is queued, unless the gateway gives up meanwhile.
    async fn flush(&mut self) -> Result<(), Failure> {
        let Self {
            sender, inbound, ..
        } = self;
        tokio::select! {
            biased;
            sent = sender.flush() => Ok(sent?),
            () = inbound.given_up() => Err(Failure::Gone),
        }
    }

    async fn switch(&mut self, answer: Answer) -> Result<(), Failure> {
        let mut response = answer.response;
        let upgrade = hyper::upgrade::on(&mut response);
        let (head, _) = response_head(response);
        self.sender.send(&Frame::Response(Box::new(head))).await?;
        let upgraded = upgrade.await.map_err(|_| Failure::Gone)?;
        let Inbound::Held(mut receiver) = std::mem::replace(&mut self.inbound, Inbound::Lost)
        else {
            return Err(Failure::Gone);
        };
        let relayed = relay(
            TokioIo::new(upgraded),
            &mut self.sender,
            &mut receiver,
            &self.request.sent,
            &self.request.received,
        )
        .await;
        if let Err(error) = relayed {
            tracing::debug!(%error, "upgraded connection ended early");
            return Err(Failure::Gone);
        }
        self.inbound = Inbound::Held(receiver);
        Ok(())
    }
}

/// Resolves when the gateway has reset the stream.
async fn closed(sender: &Sender, looks: &Notify) {
    loop {
        looks.notified().await;
        if sender.is_closed() {
            return;
        }
    }
}

fn response_head(response: Response<Incoming>) -> (ResponseHead, Incoming) {
    let (parts, body) = response.into_parts();
    (
        ResponseHead {
            status: parts.status,
            headers: parts.headers,
        },
        body,
    )
}
