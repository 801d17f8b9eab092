//! An HTTP/2 client.

use crate::{
    fixture::{Form, Tunnel, tls},
    origin::{Accepted, Conn},
    wire::within,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, request};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::http2,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use tokio::{sync::mpsc, task::JoinHandle};

pub type Payload = BoxBody<Bytes, Infallible>;

/// One connection, any number of requests at once.
#[derive(Debug, Clone)]
pub struct H2 {
    send: http2::SendRequest<Payload>,
}

/// No body.
pub fn empty() -> Payload {
    http_body_util::Empty::new().boxed()
}

/// A body at once.
pub fn full(bytes: impl Into<Bytes>) -> Payload {
    http_body_util::Full::new(bytes.into()).boxed()
}

/// A body as it is sent.
pub fn channel() -> (mpsc::Sender<Frame<Bytes>>, Payload) {
    let (sender, mut frames) = mpsc::channel::<Frame<Bytes>>(1);
    let stream = futures_util::stream::poll_fn(move |cx| frames.poll_recv(cx).map(|f| f.map(Ok)));
    (sender, BodyExt::boxed(StreamBody::new(stream)))
}

/// The next part of a body; `None` at its proper end.
pub async fn frame<B: Body<Data = Bytes> + Unpin>(
    body: &mut B,
) -> Option<Result<Frame<Bytes>, B::Error>> {
    loop {
        let frame = within("more of a body", body.frame()).await;
        // The end may come as an empty piece.
        let empty = |frame: &Frame<Bytes>| frame.data_ref().is_some_and(Bytes::is_empty);
        if !matches!(&frame, Some(Ok(frame)) if empty(frame)) {
            return frame;
        }
    }
}

/// A whole body and its trailers.
pub async fn whole(body: Incoming) -> (Bytes, Option<HeaderMap>) {
    let collected = within("a whole body", body.collect())
        .await
        .expect("a body to its end");
    let trailers = collected.trailers().cloned();
    (collected.to_bytes(), trailers)
}

impl H2 {
    pub async fn connect(tunnel: &Tunnel, form: Form) -> Self {
        Self::with(tunnel, form, |_| {}).await
    }

    /// With changes to the client's settings.
    pub async fn with(
        tunnel: &Tunnel,
        form: Form,
        change: impl FnOnce(&mut http2::Builder<TokioExecutor>),
    ) -> Self {
        let name = tunnel.hostname(form);
        let tls = tls(tunnel.gateway.addr, &tunnel.gateway.ca(), &name, b"h2").await;
        let tls = tls.expect("a TLS handshake");
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut builder = http2::Builder::new(TokioExecutor::new());
        change(&mut builder);
        let (send, connection) = builder.handshake(TokioIo::new(tls)).await.unwrap();
        tokio::spawn(async move { drop(connection.await) }); // requests report its errors
        Self { send }
    }

    /// Sends a request and waits for the response's head.
    pub async fn send(&self, request: Request<Payload>) -> hyper::Result<Response<Incoming>> {
        let mut send = self.send.clone();
        within("a response", async {
            send.ready().await?;
            send.send_request(request).await
        })
        .await
    }

    pub async fn ok(&self, request: Request<Payload>) -> Response<Incoming> {
        let response = self.send(request).await.expect("a response");
        assert_eq!(response.status(), 200, "{response:?}");
        response
    }

    /// Sends a request as far as its target, which has got the head and has not answered.
    pub async fn reach(
        &self,
        request: Request<Payload>,
        targets: &mut Accepted,
    ) -> (JoinHandle<Response<Incoming>>, Conn) {
        let client = self.clone();
        let asked = tokio::spawn(async move { client.ok(request).await });
        let mut target = targets.next().await;
        target.head().await;
        (asked, target)
    }
}

/// A request to `demo`, with the user's token.
pub fn request(tunnel: &Tunnel, form: Form, method: &str, rest: &str) -> request::Builder {
    let (host, prefix) = (tunnel.host(form), tunnel.prefix(form));
    Request::builder()
        .method(method)
        .uri(format!("https://{host}{prefix}{rest}"))
        .header("authorization", format!("Bearer {}", tunnel.token))
}
